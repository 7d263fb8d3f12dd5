# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the NVIDIA driver says about its GPUs: procfs, and up to three calls of nvidia-smi.

Runs on hosts: the standard library only, Python 3.9.
"""

from __future__ import annotations

import os
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.sglang.fleet.plugins.module_utils._gpu_common import (
    Ask,
    Pci,
    Told,
    Usage,
    hangs,
    list_dir,
    read,
)

_FORMAT: t.Final = "--format=csv,noheader,nounits"
#: columns asked of nvidia-smi, in this order
SMI_COLUMNS: t.Final = ("pci.bus_id", "index", "memory.total", "memory.used", "mig.mode.current", "uuid")
SMI_QUERY: t.Final = ("nvidia-smi", f"--query-gpu={','.join(SMI_COLUMNS)}", _FORMAT)
SMI_APPS: t.Final = ("nvidia-smi", "--query-compute-apps=pid,used_gpu_memory,gpu_uuid,process_name", _FORMAT)
SMI_TOPOLOGY: t.Final = ("nvidia-smi", "topo", "-m")

RESET_MIG: t.Final = "run `nvidia-smi -mig 0` on the host and reset the GPUs (or reboot)"
_UUID: t.Final = re.compile(r"\bGPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


@dataclass(frozen=True)
class SmiRow:
    """One GPU of nvidia-smi's CSV; None where it says [N/A] or [Not Supported]."""

    pci_address: str
    index: int | None
    memory_mib: int | None
    used_mib: int | None
    mig: bool
    uuid: str | None


@dataclass(frozen=True)
class SmiApp:
    """One process on one GPU."""

    pid: int
    memory_mib: int | None
    uuid: str | None
    name: str


def read_nvidia(root: str, gpus: t.Sequence[Pci], others: t.Sequence[str], loaded: bool, ask: Ask) -> Told:
    """``others`` are the addresses of NVIDIA GPUs that the catalogue does not know.

    nvidia-smi is asked only where the driver is loaded, and no more after it failed or hung.
    """
    rows: dict[str, SmiRow] = {}
    apps: list[SmiApp] = []
    links: dict[int, list[int]] = {}
    answer, problems = _asked(ask, SMI_QUERY) if loaded else (None, [])
    if answer is not None:
        rows = parse_smi(answer)
        answer, hung = _asked(ask, SMI_APPS, needed=False)
        apps = parse_apps(answer or "")
        if len(gpus) > 1 and not hung:
            answer, hung = _asked(ask, SMI_TOPOLOGY, needed=False)
            links = parse_topology(answer or "")
        problems += hung

    nodes, uuids = _nodes(root, gpus, others, rows)
    by_index = {row.index: address for address, row in rows.items() if row.index is not None}
    by_uuid = {uuid: address for address, uuid in uuids.items() if uuid}
    return Told(
        nodes=nodes,
        uuids=uuids,
        memory_mib={address: row.memory_mib for address, row in rows.items()},
        used_mib={address: row.used_mib for address, row in rows.items()},
        links={
            by_index[index]: [by_index[other] for other in linked if other in by_index]
            for index, linked in links.items()
            if index in by_index
        },
        usages=[Usage(app.pid, by_uuid.get(app.uuid or ""), app.memory_mib, app.name) for app in apps],
        listed=set(rows) if rows else None,
        partition=_mig(root, rows),
        problems=problems,
    )


def _asked(ask: Ask, words: t.Sequence[str], needed: bool = True) -> tuple[str | None, list[str]]:
    """What nvidia-smi printed, None where it has no answer, and what is wrong then.

    A call that is not ``needed`` may fail, as with a driver that is too old for it; none may hang.
    """
    answer = ask(words)
    if answer is None:
        return None, []
    if answer.rc is None:
        return None, [hangs("nvidia-smi", "NVRM and Xid")]
    if answer.rc == 0:
        return answer.out, []
    if not needed:
        return None, []
    said = (answer.out + answer.err).strip().splitlines()
    if said and "version mismatch" in said[0]:
        return None, [f"nvidia-smi says: {said[0]}: the loaded driver is not the installed one, reboot the host"]
    why = said[0] if said else "no message"
    return None, [f"nvidia-smi failed with rc {answer.rc}: {why}: mend the driver on the host"]


def parse_smi(text: str) -> dict[str, SmiRow]:
    """nvidia-smi's rows for SMI_QUERY by PCI address; rows that are not of that form are passed over.

    nvidia-smi writes an 8-digit PCI domain in capitals (00000000:C5:00.0), sysfs a 4-digit one in lower case.
    """
    rows: dict[str, SmiRow] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(SMI_COLUMNS):
            continue
        bus, index, total, used, mig, uuid = cells
        match = re.fullmatch(r"0*([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])", bus.lower())
        if match is None:
            continue
        rows[match[1]] = SmiRow(match[1], _number(index), _number(total), _number(used), mig == "Enabled", _uuid(uuid))
    return rows


def parse_apps(text: str) -> list[SmiApp]:
    """Rows of SMI_APPS. The name stands last, since it can have commas; memory is None where it says [N/A]."""
    apps: list[SmiApp] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",", 3)]
        if len(cells) == 4 and cells[0].isdigit():
            apps.append(SmiApp(int(cells[0]), _number(cells[1]), _uuid(cells[2]), cells[3]))
    return apps


def parse_topology(text: str) -> dict[int, list[int]]:
    """GPU number -> the GPUs that `nvidia-smi topo -m` connects it to over NVLink (cells NV1 to NV18).

    PIX, PXB, PHB, NODE and SYS are ways over PCIe. Columns of network cards and of affinities are passed over.
    """
    columns: list[str] = []
    links: dict[int, list[int]] = {}
    for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines():  # the header is underlined
        words = line.split()
        if not columns:
            if words and words[0] == "GPU0" and "X" not in words:
                columns = words
            continue
        match = re.fullmatch(r"GPU(\d+)", words[0]) if words else None
        if match is None:
            continue
        links[int(match[1])] = [
            int(name[3:])
            for name, cell in zip(columns, words[1:])
            if re.fullmatch(r"GPU\d+", name) and re.fullmatch(r"NV\d+", cell)
        ]
    return links


def _nodes(
    root: str, gpus: t.Sequence[Pci], others: t.Sequence[str], rows: t.Mapping[str, SmiRow]
) -> tuple[dict[str, list[str]], dict[str, str | None]]:
    """PCI address -> /dev/nvidia<minor>, and -> UUID.

    Where the driver does not tell the minor number, it is the position among all NVIDIA GPUs.
    """
    nodes: dict[str, list[str]] = {}
    uuids: dict[str, str | None] = {}
    order = sorted([*others, *(gpu.address for gpu in gpus)])
    for gpu in gpus:
        information = read(os.path.join(root, "proc/driver/nvidia/gpus", gpu.address, "information"))
        minor = re.search(r"Device Minor:\s*(\d+)", information)
        nodes[gpu.address] = [f"/dev/nvidia{minor[1] if minor else order.index(gpu.address)}"]
        # The file has question marks for a GPU that was not used since boot; nvidia-smi uses it.
        uuids[gpu.address] = _uuid(information) or (rows[gpu.address].uuid if gpu.address in rows else None)
    return nodes, uuids


def _mig(root: str, rows: t.Mapping[str, SmiRow]) -> str | None:
    capabilities = os.path.join(root, "proc/driver/nvidia/capabilities")
    instances = any(
        name.startswith("gi")
        for gpu in list_dir(capabilities)
        if gpu.startswith("gpu")
        for name in list_dir(os.path.join(capabilities, gpu, "mig"))
    )
    if instances or any(row.mig for row in rows.values()):
        return f"MIG is on; a plan needs whole GPUs: {RESET_MIG}"
    return None


def _number(cell: str) -> int | None:
    match = re.match(r"\d+", cell)
    return int(match[0]) if match else None


def _uuid(text: str) -> str | None:
    match = _UUID.search(text)
    return match[0] if match else None
