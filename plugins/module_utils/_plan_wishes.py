# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What single wishes may be, whatever the model and the GPUs: for the inventory's check and for the planner alike. Pure.

Each function gives what is wrong and what to do, or None.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t

_PART: t.Final = r"[a-z0-9]+([._-]+[a-z0-9]+)*"
_IMAGE: t.Final = re.compile(
    rf"({_PART}:[0-9]+/)?{_PART}(/{_PART})*"
    r"(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}(@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})"
)
_FOLDER: t.Final = re.compile(r"(/[A-Za-z0-9._@+-]+)+/?")
#: No credentials in it: they would show in messages and in lists of processes.
_URL: t.Final = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/%+-]*)?")


def port_problem(port: int, instances: int) -> str | None:
    """instances: how many ports the layout takes from there on."""
    last = 65536 - instances
    if 1024 <= port <= last:
        return None
    more = f" (the layout takes {instances} ports from there on)" if instances > 1 else ""
    return f"fleet_port is {port}: set it between 1024 and {last}{more}"


def one_port_problem(name: str, port: int) -> str | None:
    if 1024 <= port <= 65535:
        return None
    return f"{name} is {port}: set it between 1024 and 65535"


def not_negative_problem(name: str, number: int, zero: str) -> str | None:
    """zero: what 0 means."""
    return None if number >= 0 else f"{name} is {number}: set it to 0 or more, {zero}"


def address_problem(address: str, name: str = "fleet_address") -> str | None:
    if _is_address(address):
        return None
    every = "" if name != "fleet_address" else "to 0.0.0.0 for all, "
    return f"{name} is {address!r}: set it to an IP address of the host, such as 127.0.0.1, {every}or to a host name"


def endpoint_problem(endpoint: str) -> str | None:
    if _URL.fullmatch(endpoint):
        return None
    return (
        f"fleet_hf_endpoint is {_without_user(endpoint)!r}: set it to the URL of a hub, without user or password, such as "
        "https://huggingface.co"
    )


def source_problem(source: str) -> str | None:
    if source == "hub" or _URL.fullmatch(source) or _FOLDER.fullmatch(source):
        return None
    return (
        f"fleet_weights_source is {_without_user(source)!r}: set it to hub, to an http or https URL without user or "
        "password below which the files lie, or to an absolute folder on the host"
    )


def _without_user(url: str) -> str:
    """The URL as it may be shown."""
    return re.sub(r"//[^/@]*@", "//***@", url)


def folder_problem(folder: str) -> str | None:
    if _FOLDER.fullmatch(folder):
        return None
    return (
        f"fleet_weights_dir is {folder!r}: set it to an absolute path of letters, digits and . _ @ + -, for example "
        "/var/lib/sglang-fleet/huggingface"
    )


def image_problem(image: str) -> str | None:
    if _IMAGE.fullmatch(image):
        return None
    return f"fleet_image is {image!r}: set it to NAME:TAG or NAME@sha256:DIGEST, or leave it out for the published one"


def fraction_problem(fraction: float) -> str | None:
    if 0 < fraction < 1:
        return None
    return f"fleet_mem_fraction_static is {fraction:g}: set it above 0 and below 1, for example 0.85"


def ep_problem(ep: int) -> str | None:
    if ep >= 1:
        return None
    return f"fleet_ep is {ep}: set it to 1 for no expert parallelism, to a size that divides tp, or leave it out"


def _is_address(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        # All digits and dots but no address is a mistyped one, not a host name.
        label = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
        return (
            re.fullmatch(rf"{label}(\.{label})*", address) is not None and re.search(r"[A-Za-z]", address) is not None
        )
    return True
