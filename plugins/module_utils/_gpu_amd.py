# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the amdgpu driver says about its GPUs: sysfs and KFD's topology, and amd-smi for what is not there.

Runs on hosts: the standard library only, Python 3.9. rocm-smi is never asked: it exits 0 when it fails.
"""

from __future__ import annotations

import json
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
    link_name,
    list_dir,
    read,
)

AMD_SMI: t.Final = ("amd-smi", "static", "--json", "--asic", "--vram", "--bus", "--driver")
#: HSA's number for a link over XGMI (Infinity Fabric); PCIe is 2
_XGMI: t.Final = "11"
_VENDOR: t.Final = "4098"  # 0x1002, as KFD writes it
_KFD: t.Final = "sys/class/kfd/kfd"
RESET_PARTITIONS: t.Final = (
    "run `amd-smi set --gpu all --compute-partition SPX` and `amd-smi set --memory-partition NPS1` on the host"
)


@dataclass(frozen=True)
class AmdSmiRow:
    """One device of amd-smi; None where it says N/A."""

    pci_address: str
    memory_mib: int | None
    driver_version: str | None


@dataclass(frozen=True)
class KfdNode:
    """A compute agent of KFD's topology: a GPU, or a partition of one."""

    number: int
    gpu_id: str
    device_id: str
    pci_address: str
    links: tuple[int, ...]


def read_amd(root: str, gpus: t.Sequence[Pci], loaded: bool, version: str | None, ask: Ask) -> Told:
    """``gpus`` are AMD's; ``version`` is what the module's own file says."""
    addresses = {gpu.address for gpu in gpus}
    memory = {gpu.address: _mib(os.path.join(gpu.path, "mem_info_vram_total")) or None for gpu in gpus}
    problems: list[str] = []
    if loaded and (version is None or None in memory.values()):
        answer = ask(AMD_SMI)
        if answer is not None and answer.rc is None:
            problems.append(hangs("amd-smi", "amdgpu"))
        rows = parse_amd_smi(answer.out) if answer is not None and answer.rc == 0 else []
        for row in rows:
            address = _whole(row.pci_address, addresses)
            if address in memory:
                memory[address] = memory[address] or row.memory_mib
            version = version or _version(row.driver_version)
    nodes = read_kfd(root)
    home = {node.number: _whole(node.pci_address, addresses) for node in nodes}
    links: dict[str, set[str]] = {}
    for node in nodes:
        # Partitions of one GPU are linked, too.
        linked = {home[other] for other in node.links if other in home} - {home[node.number]}
        links.setdefault(home[node.number], set()).update(linked)
    return Told(
        nodes=_render_nodes(root),
        memory_mib=memory,
        used_mib={gpu.address: _mib(os.path.join(gpu.path, "mem_info_vram_used")) for gpu in gpus},
        links=links,
        usages=_usages(root, {node.gpu_id: home[node.number] for node in nodes}),
        partition=_partition(gpus, nodes),
        driver_version=version,
        problems=problems,
    )


def parse_amd_smi(text: str) -> list[AmdSmiRow]:
    """Devices of AMD_SMI's JSON: a list on ROCm 6.x, {"gpu_data": [...]} from 7.x on; what is not JSON has none.

    Warnings can stand before the JSON. A size is {"value": 196592, "unit": "MB"}, where MB are MiB, or "N/A".
    """
    start = re.search(r"^[\[{]", text, re.MULTILINE)
    try:
        data = json.loads(text[start.start() :]) if start else []
    except (ValueError, RecursionError):  # the latter for lists within lists, a thousand deep
        return []
    if isinstance(data, dict):
        data = data.get("gpu_data", [])
    rows: list[AmdSmiRow] = []
    for row in data if isinstance(data, list) else []:
        bdf = str(_inner(row, "bus", "bdf") or "").lower()
        if re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", bdf) is None:
            continue
        size = _inner(row, "vram", "size")
        version = _inner(row, "driver", "version")
        rows.append(AmdSmiRow(bdf, _size_mib(size), version if isinstance(version, str) and version != "N/A" else None))
    return rows


def _inner(row: t.Any, section: str, key: str) -> t.Any:
    inner = row.get(section) if isinstance(row, dict) else None
    return inner.get(key) if isinstance(inner, dict) else None


def _size_mib(size: t.Any) -> int | None:
    if isinstance(size, dict):
        size = f"{size.get('value')} {size.get('unit', 'MB')}"
    match = re.fullmatch(r"(\d+)(?:\.\d+)?(?:\s*(MB|GB|MiB|GiB))?", str(size))
    if match is None:
        return None
    return int(match[1]) * (1024 if match[2] in ("GB", "GiB") else 1) or None


def _version(said: str | None) -> str | None:
    """amd-smi gives the kernel's release where amdgpu is the kernel's own: that is no version of the driver."""
    return said if said and said != os.uname().release and re.fullmatch(r"\d+(\.\d+)+", said) else None


def read_kfd(root: str) -> list[KfdNode]:
    """The compute agents, by number; CPUs and GPUs that KFD refused are left out."""
    base = os.path.join(root, _KFD, "topology/nodes")
    nodes: list[KfdNode] = []
    for name in sorted((name for name in list_dir(base) if name.isdigit()), key=int):
        properties = parse_properties(read(os.path.join(base, name, "properties")))
        if properties.get("vendor_id") != _VENDOR or properties.get("simd_count", "0") == "0":
            continue
        links = []
        folder = os.path.join(base, name, "io_links")
        for link in list_dir(folder):
            found = parse_properties(read(os.path.join(folder, link, "properties")))
            if found.get("type") == _XGMI and found.get("node_to", "").isdigit():
                links.append(int(found["node_to"]))
        nodes.append(
            KfdNode(
                number=int(name),
                gpu_id=read(os.path.join(base, name, "gpu_id")),
                device_id=properties.get("device_id", ""),
                pci_address=_address(properties),
                links=tuple(sorted(links)),
            )
        )
    return nodes


def parse_properties(text: str) -> dict[str, str]:
    """KFD's files of `name value` lines."""
    return dict(line.split(" ", 1) for line in text.splitlines() if " " in line)


def _address(properties: t.Mapping[str, str]) -> str:
    """location_id is bus, device and function in 8, 5 and 3 bits.

    A partition's number stands in the function's place, or from bit 28 on: drivers differ.
    """
    domain, location = (
        int(properties[key]) if properties.get(key, "").isdigit() else 0 for key in ("domain", "location_id")
    )
    return f"{domain:04x}:{location >> 8 & 0xFF:02x}:{location >> 3 & 0x1F:02x}.{location & 7}"


def _whole(address: str, addresses: t.Collection[str]) -> str:
    """The GPU of a device: partitions can bear their number in place of the PCI function's."""
    return address if address in addresses else address[:-1] + "0"


def _usages(root: str, gpus: t.Mapping[str, str]) -> list[Usage]:
    """``gpus`` maps KFD's gpu_id to a PCI address. A process that opened /dev/kfd but holds nothing is left out."""
    usages: list[Usage] = []
    base = os.path.join(root, _KFD, "proc")
    for pid in list_dir(base):
        if not pid.isdigit():
            continue
        for name in list_dir(os.path.join(base, pid)):
            if not name.startswith("vram_"):
                continue
            held = read(os.path.join(base, pid, name))
            if held.isdigit() and int(held):
                usages.append(Usage(int(pid), gpus.get(name[len("vram_") :]), int(held) >> 20))
    return usages


def _render_nodes(root: str) -> dict[str, list[str]]:
    """PCI address -> render node, by the driver's own account.

    GPUs of the MI300 and MI350 families have eight render nodes each, partitioned or not, so GPU 1 is renderD136. The
    seven beside a GPU's own belong to platform devices (amdgpu_xcp_0), which are no address of a GPU.
    Card nodes are left out: ROCm needs none, and their numbers hang on which graphics driver came up first.
    """
    nodes: dict[str, list[str]] = {}
    base = os.path.join(root, "sys/class/drm")
    for name in sorted(list_dir(base)):
        if re.fullmatch(r"renderD\d+", name) is None:
            continue
        address = link_name(os.path.join(base, name, "device"))
        if address:
            nodes.setdefault(address, []).append(f"/dev/dri/{name}")
    return nodes


def _partition(gpus: t.Sequence[Pci], nodes: t.Sequence[KfdNode]) -> str | None:
    modes = sorted(
        {
            mode
            for gpu in gpus
            for file, whole in (("current_compute_partition", "SPX"), ("current_memory_partition", "NPS1"))
            for mode in [read(os.path.join(gpu.path, file))]
            if mode not in ("", whole)
        }
    )
    if modes:
        return f"the GPUs are partitioned ({', '.join(modes)}); a plan needs whole GPUs: {RESET_PARTITIONS}"
    ids = {str(int(gpu.pci_id[5:], 16)) for gpu in gpus}
    agents = sum(node.device_id in ids for node in nodes)
    if agents > len(gpus):
        return f"the GPUs are partitioned ({agents} compute agents on {len(gpus)} GPUs); a plan needs whole GPUs: {RESET_PARTITIONS}"
    return None


def _mib(path: str) -> int | None:
    """A file of bytes in MiB. Partitions each report the whole card: this is per card, never summed."""
    text = read(path)
    return int(text) >> 20 if text.isdigit() else None
