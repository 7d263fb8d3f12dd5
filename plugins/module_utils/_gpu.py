# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What GPUs a host has, from sysfs and procfs by numeric PCI ID.

Runs on hosts: the standard library only, Python 3.9. Works before a driver is there. Reads only, and reads few files:
two small ones for each PCI device, more for GPUs alone.
"""

from __future__ import annotations

import os
import re
import typing as t
from dataclasses import asdict, dataclass, field

#: PCI vendor ID -> (vendor, kernel driver)
VENDORS: t.Final = {"1002": ("amd", "amdgpu"), "10de": ("nvidia", "nvidia")}
#: PCI base class and subclass of VGA controllers, 3D controllers and processing accelerators
GPU_CLASSES: t.Final = ("0300", "0302", "1200")
#: columns asked of nvidia-smi, in this order
SMI_QUERY: t.Final = ("pci.bus_id", "memory.total", "mig.mode.current", "uuid")

#: Nodes that all GPUs share, by vendor: named whether they are there or not. NVIDIA's nvidia-uvm nodes come with the
#: first use of a GPU, and a plan must not change by that; the service waits for them.
_CONTROL: t.Final = {"amd": ["/dev/kfd"], "nvidia": ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"]}
_RESET_AMD: t.Final = (
    "run `amd-smi set --gpu all --compute-partition SPX` and `amd-smi set --memory-partition NPS1` on the host"
)
_RESET_MIG: t.Final = "run `nvidia-smi -mig 0` on the host and reset the GPUs (or reboot)"


@dataclass(frozen=True)
class Driver:
    """``name`` is None when no module of that name is installed; ``version`` when the loaded one tells none."""

    name: str | None = None
    version: str | None = None
    loaded: bool = False


@dataclass(frozen=True)
class Device:
    """``uuid`` is NVIDIA's, None where the driver tells none. ``nodes`` need not be there yet."""

    index: int
    pci_address: str
    pci_id: str
    uuid: str | None
    numa_node: int | None
    memory_mib: int
    nodes: list[str]


@dataclass(frozen=True)
class GpuFacts:
    """``ansible_facts.gpu``. memory_mib is per GPU: the smallest, where GPUs of one model differ."""

    vendor: str = "none"
    model: str | None = None
    count: int = 0
    memory_mib: int = 0
    memory_source: str = "catalogue"
    driver: Driver = field(default_factory=Driver)
    devices: list[Device] = field(default_factory=list)
    control_nodes: list[str] = field(default_factory=list)
    render_gid: int | None = None
    video_gid: int | None = None
    partitioned: bool = False
    unknown: list[dict[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, t.Any]:
        return asdict(self)


@dataclass(frozen=True)
class SmiRow:
    """One GPU of nvidia-smi's CSV; None where it says [N/A] or [Not Supported]."""

    pci_address: str
    memory_mib: int | None
    mig: bool
    uuid: str | None


@dataclass(frozen=True)
class _Pci:
    address: str
    pci_id: str
    path: str
    driver: str | None


KnownGpus = t.Mapping[str, t.Mapping[str, t.Any]]


def read_gpus(known: KnownGpus, root: str = "/", smi_csv: str | None = None) -> GpuFacts:
    """Facts of the host whose file system begins at ``root``.

    known: PCI ID -> name, memory_mib, vendor (Catalogue.known_gpus). smi_csv: what nvidia-smi printed for SMI_QUERY
    (csv,noheader,nounits), where it ran.
    """
    gpus, unknown = _find(known, root)
    render, video = (_gid(root, name) for name in ("render", "video"))
    if not gpus:
        return GpuFacts(render_gid=render, video_gid=video, unknown=unknown)

    vendors = sorted({str(known[gpu.pci_id]["vendor"]) for gpu in gpus})
    names = [str(known[gpu.pci_id]["name"]) for gpu in gpus]
    problems: list[str] = []
    if len(set(names)) > 1:
        found = ", ".join(f"{names.count(name)} x {name}" for name in sorted(set(names)))
        problems.append(f"different GPU models in one node ({found}): a plan needs one model, take the others out")
    # Where both vendors are there, the first of them is looked into; the plan is refused anyhow.
    vendor = vendors[0]
    driver = _driver(root, "amdgpu" if vendor == "amd" else "nvidia")
    if driver.loaded:
        problems += [
            f"{gpu.address} is bound to {gpu.driver or 'no driver'}, not to {driver.name}: bind it to {driver.name} or "
            "take it out of the host"
            for gpu in gpus
            if gpu.driver != driver.name and known[gpu.pci_id]["vendor"] == vendor
        ]
    smi = parse_smi(smi_csv or "")
    uuids: dict[str, str | None] = {}
    if vendor == "amd":
        nodes = _amd_nodes(root)
        partition = _amd_partition(root, gpus, known)
    else:
        others = [device["pci_address"] for device in unknown if device["pci_id"].startswith("10de:")]
        nodes, uuids = _nvidia_gpus(root, gpus, others, smi)
        partition = _mig(root, smi)
    if partition:
        problems.append(partition)

    memory = [_driver_memory(gpu, smi.get(gpu.address)) for gpu in gpus]
    devices = [
        Device(
            index=index,
            pci_address=gpu.address,
            pci_id=gpu.pci_id,
            uuid=uuids.get(gpu.address),
            numa_node=_numa_node(gpu.path),
            memory_mib=memory[index] or int(known[gpu.pci_id]["memory_mib"]),
            nodes=nodes.get(gpu.address, []) if driver.loaded else [],
        )
        for index, gpu in enumerate(gpus)
    ]
    return GpuFacts(
        vendor=vendor,
        model=names[0] if len(set(names)) == 1 else None,
        count=len(gpus),
        memory_mib=min(device.memory_mib for device in devices),
        memory_source="driver" if all(memory) else "catalogue",
        driver=driver,
        devices=devices,
        control_nodes=list(_CONTROL[vendor]) if driver.loaded else [],
        render_gid=render,
        video_gid=video,
        partitioned=partition is not None,
        unknown=unknown,
        problems=problems,
    )


def parse_smi(text: str) -> dict[str, SmiRow]:
    """nvidia-smi's rows for SMI_QUERY by PCI address; rows that are not of that form are passed over.

    nvidia-smi writes an 8-digit PCI domain in capitals (00000000:C5:00.0), sysfs a 4-digit one in lower case.
    """
    rows: dict[str, SmiRow] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(SMI_QUERY):
            continue
        match = re.fullmatch(r"0*([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])", cells[0].lower())
        if match is None:
            continue
        memory = re.match(r"(\d+)", cells[1])
        rows[match[1]] = SmiRow(match[1], int(memory[1]) if memory else None, cells[2] == "Enabled", _uuid(cells[3]))
    return rows


def _find(known: KnownGpus, root: str) -> tuple[list[_Pci], list[dict[str, str]]]:
    """Known GPUs, and devices of the GPU vendors that look like GPUs but are not known; by PCI address."""
    gpus: list[_Pci] = []
    unknown: list[dict[str, str]] = []
    base = os.path.join(root, "sys/bus/pci/devices")
    for address in sorted(_listdir(base)):
        path = os.path.join(base, address)
        vendor = _read(os.path.join(path, "vendor")).lower().replace("0x", "", 1)
        if vendor not in VENDORS:
            continue
        pci_id = f"{vendor}:{_read(os.path.join(path, 'device')).lower().replace('0x', '', 1)}"
        if pci_id in known:
            gpus.append(_Pci(address, pci_id, path, _link_name(os.path.join(path, "driver"))))
        # The class file reads 0x038000: base class, subclass, programming interface. NVSwitches (0680) are bridges.
        elif _read(os.path.join(path, "class")).lower().replace("0x", "", 1)[:4] in GPU_CLASSES:
            unknown.append({"pci_address": address, "pci_id": pci_id})
    return gpus, unknown


def _driver(root: str, name: str) -> Driver:
    module = os.path.join(root, "sys/module", name)
    if os.path.isdir(module):
        # The kernel's own amdgpu has no version file; the vendor's package brings one.
        return Driver(name, _read(os.path.join(module, "version")) or None, True)
    modules = os.path.join(root, "lib/modules", os.uname().release, "modules.dep")
    installed = re.search(rf"(?m)^\S*/{name}\.ko\b", _read(modules)) is not None
    return Driver(name if installed else None, None, False)


def _driver_memory(gpu: _Pci, row: SmiRow | None) -> int | None:
    """MiB by the driver's own account. AMD partitions each report the whole card: this is per card, never summed."""
    if row is not None:
        return row.memory_mib
    total = _read(os.path.join(gpu.path, "mem_info_vram_total"))
    return int(total) // 2**20 or None if total.isdigit() else None


def _numa_node(path: str) -> int | None:
    text = _read(os.path.join(path, "numa_node"))
    return int(text) if text.isdigit() else None  # -1 says that the firmware named none


def _amd_nodes(root: str) -> dict[str, list[str]]:
    """PCI address -> render node, by the driver's own account. Partitions' platform devices drop out.

    Card nodes are left out: ROCm needs none, and their numbers hang on which graphics driver came up first.
    """
    nodes: dict[str, list[str]] = {}
    base = os.path.join(root, "sys/class/drm")
    for name in sorted(_listdir(base)):
        if re.fullmatch(r"renderD\d+", name) is None:
            continue
        address = _link_name(os.path.join(base, name, "device"))
        if address:
            nodes.setdefault(address, []).append(f"/dev/dri/{name}")
    return nodes


def _nvidia_gpus(
    root: str, gpus: t.Sequence[_Pci], others: t.Sequence[str], smi: t.Mapping[str, SmiRow]
) -> tuple[dict[str, list[str]], dict[str, str | None]]:
    """PCI address -> /dev/nvidia<minor>, and -> UUID.

    Where the driver does not tell the minor number, it is the position among all NVIDIA GPUs: ``others`` are the
    addresses of those that the catalogue does not know.
    """
    nodes: dict[str, list[str]] = {}
    uuids: dict[str, str | None] = {}
    order = sorted([*others, *(gpu.address for gpu in gpus)])
    for gpu in gpus:
        information = _read(os.path.join(root, "proc/driver/nvidia/gpus", gpu.address, "information"))
        minor = re.search(r"Device Minor:\s*(\d+)", information)
        nodes[gpu.address] = [f"/dev/nvidia{minor[1] if minor else order.index(gpu.address)}"]
        uuid = _uuid(information)
        # The file has question marks for a GPU that was not used since boot; nvidia-smi uses it.
        uuids[gpu.address] = uuid or (smi[gpu.address].uuid if gpu.address in smi else None)
    return nodes, uuids


def _uuid(text: str) -> str | None:
    match = re.search(r"\bGPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", text)
    return match[0] if match else None


def _amd_partition(root: str, gpus: t.Sequence[_Pci], known: KnownGpus) -> str | None:
    modes = sorted(
        {
            mode
            for gpu in gpus
            for file, whole in (("current_compute_partition", "SPX"), ("current_memory_partition", "NPS1"))
            for mode in [_read(os.path.join(gpu.path, file))]
            if mode not in ("", whole)
        }
    )
    if modes:
        return f"the GPUs are partitioned ({', '.join(modes)}); a plan needs whole GPUs: {_RESET_AMD}"
    ids = {str(int(gpu.pci_id[5:], 16)) for gpu in gpus if known[gpu.pci_id]["vendor"] == "amd"}
    base = os.path.join(root, "sys/class/kfd/kfd/topology/nodes")
    agents = 0
    for node in _listdir(base):
        text = _read(os.path.join(base, node, "properties"))
        if "vendor_id 4098" not in text:
            continue  # a CPU
        properties = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
        agents += properties.get("simd_count", "0") != "0" and properties.get("device_id") in ids
    if agents > len(gpus):
        return f"the GPUs are partitioned ({agents} compute agents on {len(gpus)} GPUs); a plan needs whole GPUs: {_RESET_AMD}"
    return None


def _mig(root: str, smi: t.Mapping[str, SmiRow]) -> str | None:
    capabilities = os.path.join(root, "proc/driver/nvidia/capabilities")
    instances = any(
        name.startswith("gi")
        for gpu in _listdir(capabilities)
        if gpu.startswith("gpu")
        for name in _listdir(os.path.join(capabilities, gpu, "mig"))
    )
    if instances or any(row.mig for row in smi.values()):
        return f"MIG is on; a plan needs whole GPUs: {_RESET_MIG}"
    return None


def _gid(root: str, group: str) -> int | None:
    for line in _read(os.path.join(root, "etc/group")).splitlines():
        cells = line.split(":")
        if len(cells) >= 3 and cells[0] == group and cells[2].isdigit():
            return int(cells[2])
    return None


def _listdir(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _link_name(path: str) -> str | None:
    try:
        return os.path.basename(os.readlink(path))
    except OSError:
        return None


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read().strip()
    except OSError:
        return ""
