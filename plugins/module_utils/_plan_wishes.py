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


def port_problem(port: int, instances: int) -> str | None:
    """instances: how many ports the layout takes from there on."""
    last = 65536 - instances
    if 1024 <= port <= last:
        return None
    more = f" (the layout takes {instances} ports from there on)" if instances > 1 else ""
    return f"fleet_port is {port}: set it between 1024 and {last}{more}"


def address_problem(address: str) -> str | None:
    if _is_address(address):
        return None
    return (
        f"fleet_address is {address!r}: set it to an IP address of the host, such as 127.0.0.1, to 0.0.0.0 for all, "
        "or to a host name"
    )


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
