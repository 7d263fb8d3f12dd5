# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of a node that the doctor reads: the servers' configuration, the record, disks, weights.

Runs on hosts: the standard library only, Python 3.9. A file that is missing or not readable reads as empty.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import typing as t

from ansible_collections.sglang.fleet.plugins.module_utils._gpu_common import list_dir, read

#: How every file begins that this collection writes.
_OURS: t.Final = "# Written by sglang.fleet"
#: What hides GPUs from CUDA and HIP (docs.nvidia.com CUDA environment variables; rocm.docs.amd.com GPU isolation). No
#: other variable of an environment is looked at.
VISIBLE: t.Final = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")


def instances(root: str, config_dir: str) -> list[dict[str, t.Any]]:
    """The configured instances that are ours: name, image, options (one word each), address, port, endpoint, written."""
    folder = os.path.join(root, config_dir.lstrip("/"))
    found: list[dict[str, t.Any]] = []
    for file in sorted(list_dir(folder)):
        if not file.endswith(".env"):
            continue
        text = read(os.path.join(folder, file))
        if not text.startswith(_OURS):
            continue
        name = file[: -len(".env")]
        values = environment_file(text)
        config = server_file(read(os.path.join(folder, f"{name}.yaml")))
        address, port = config.get("host", "127.0.0.1"), config.get("port", "")
        written = [_written(os.path.join(folder, f"{name}{suffix}")) for suffix in (".env", ".yaml")]
        found.append(
            {
                "name": name,
                "image": values.get("SGLANG_IMAGE", ""),
                "options": option_words(values.get("SGLANG_CONTAINER_OPTIONS", "")),
                "address": address,
                "port": int(port) if port.isdigit() else None,
                "endpoint": f"http://{f'[{address}]' if ':' in address else address}:{port}",
                "written": max(written),
            }
        )
    return found


def environment_file(text: str) -> dict[str, str]:
    """A systemd environment file as this collection writes it: quoted once, a variable a line."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        name, sign, value = line.partition("=")
        if not sign or line.startswith("#"):
            continue
        if len(value) >= 2 and value[0] == value[-1] == '"':
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        values[name.strip()] = value
    return values


def option_words(value: str) -> list[str]:
    """The container options, one word each."""
    try:
        return shlex.split(value)
    except ValueError:
        return []


def server_file(text: str) -> dict[str, str]:
    """Address and port of an instance's configuration; its other lines, the key among them, are not read."""
    found = re.findall(r'^(host|port):\s*"?([^"\s#]+)"?\s*$', text, re.MULTILINE)
    return dict(found)


def visible(lines: t.Iterable[str]) -> dict[str, str]:
    """The variables that hide GPUs, out of NAME=value lines."""
    found: dict[str, str] = {}
    for line in lines:
        name, sign, value = line.strip().partition("=")
        name = name[len("export ") :].strip() if name.startswith("export ") else name
        if sign and name in VISIBLE:
            found[name] = value.strip("\"'")
    return found


def read_json(path: str) -> tuple[dict[str, t.Any], bool]:
    """A record's content, and whether it is torn."""
    text = read(path)
    if not text:
        return {}, False
    try:
        data = json.loads(text)
    except ValueError:
        return {}, True
    return (data, False) if isinstance(data, dict) else ({}, True)


def disk(root: str, path: str) -> dict[str, t.Any] | None:
    """The file system that a folder is on or would be on: its mount point, and its room in MiB."""
    here = os.path.join(root, path.lstrip("/"))
    while not os.path.isdir(here) and len(here) > len(root):
        here = os.path.dirname(here)
    try:
        here = os.path.realpath(here)
        status, device = os.statvfs(here), os.stat(here).st_dev
        mount = here
        while mount != "/" and os.stat(os.path.dirname(mount)).st_dev == device:
            mount = os.path.dirname(mount)
    except OSError:
        return None
    unit = status.f_frsize
    return {
        "path": path,
        "mount": mount,
        "free_mib": status.f_bavail * unit >> 20,
        "total_mib": status.f_blocks * unit >> 20,
    }


def repository_bytes(folder: str) -> dict[str, int]:
    """Bytes of each model in a Hugging Face cache, by repository: the blobs count, snapshots only link to them."""
    found: dict[str, int] = {}
    hub = os.path.join(folder, "hub")
    for name in list_dir(hub):
        if name.startswith("models--"):
            blobs = os.path.join(hub, name, "blobs")
            sizes = [_bytes(os.path.join(blobs, blob)) for blob in list_dir(blobs)]
            found[name[len("models--") :].replace("--", "/")] = sum(sizes)
    return found


def _bytes(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _written(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0
