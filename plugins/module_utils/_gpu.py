# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What GPUs a host has, from sysfs and procfs by numeric PCI ID, and from the vendor's tool where a driver is there.

Runs on hosts: the standard library only, Python 3.9. Works before a driver is there. Reads only, and reads few files:
two small ones for each PCI device, more for GPUs alone.
"""

from __future__ import annotations

import os
import re
import typing as t
from dataclasses import asdict, dataclass, field

from ansible_collections.sglang.fleet.plugins.module_utils._gpu_amd import read_amd
from ansible_collections.sglang.fleet.plugins.module_utils._gpu_common import (
    Ask,
    Holder,
    Pci,
    Told,
    cdi_nodes,
    holders,
    link_name,
    list_dir,
    no_tool,
    read,
)
from ansible_collections.sglang.fleet.plugins.module_utils._gpu_nvidia import read_nvidia

#: PCI vendor ID -> (vendor, kernel driver)
VENDORS: t.Final = {"1002": ("amd", "amdgpu"), "10de": ("nvidia", "nvidia")}
#: PCI base class and subclass of VGA controllers, 3D controllers and processing accelerators
GPU_CLASSES: t.Final = ("0300", "0302", "1200")

#: Nodes that all GPUs share, by vendor: named whether they are there or not. NVIDIA's nvidia-uvm nodes come with the
#: first use of a GPU, and a plan must not change by that; the service waits for them.
_CONTROL: t.Final = {"amd": ["/dev/kfd"], "nvidia": ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"]}
_CDI_COMMAND: t.Final = {
    "amd": "amd-ctk cdi generate --output=/etc/cdi/amd.json",
    "nvidia": "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml",
}


@dataclass(frozen=True)
class Driver:
    """``name`` is None when no module of that name is installed; ``version`` when the loaded one tells none."""

    name: str | None = None
    version: str | None = None
    loaded: bool = False


@dataclass(frozen=True)
class Device:
    """``uuid`` is NVIDIA's, None where the driver tells none. ``nodes`` need not be there yet.

    memory_used_mib is all that is taken, the driver's own part too (some 300 MiB of an idle AMD GPU), None without a
    driver's word. links are the GPUs that this one reaches over NVLink or XGMI. virtual: a virtual function, seen from
    inside the guest that has it.
    """

    index: int
    pci_address: str
    pci_id: str
    uuid: str | None
    numa_node: int | None
    memory_mib: int
    nodes: list[str]
    memory_used_mib: int | None = None
    links: list[int] = field(default_factory=list)
    virtual: bool = False


@dataclass(frozen=True)
class Hidden:
    """A GPU that a container would not get. ``reason`` says what is wrong and what to do."""

    index: int
    pci_address: str
    reason: str


@dataclass(frozen=True)
class GpuFacts:
    """``ansible_facts.gpu``. memory_mib is per GPU: the smallest, where GPUs of one model differ.

    virtual_functions belong to guests of this host and count nowhere. Memory in use that no holder accounts for is a
    dead process's, or one's of another PID namespace.
    """

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
    virtual_functions: list[dict[str, str | None]] = field(default_factory=list)
    holders: list[Holder] = field(default_factory=list)
    hidden: list[Hidden] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    #: of the host, in a registry's words; whoever reads the facts of a running host fills it in
    architecture: str = ""

    def to_dict(self) -> dict[str, t.Any]:
        return asdict(self)


KnownGpus = t.Mapping[str, t.Mapping[str, t.Any]]


def read_gpus(known: KnownGpus, root: str = "/", ask: Ask = no_tool) -> GpuFacts:
    """Facts of the host whose file system begins at ``root``.

    known: PCI ID -> name, memory_mib, vendor and virtual (Catalogue.known_gpus). ask: runs its tools.
    """
    gpus, unknown, virtual_functions = _find(known, root)
    render, video = (_gid(root, name) for name in ("render", "video"))
    if not gpus:
        return GpuFacts(render_gid=render, video_gid=video, unknown=unknown, virtual_functions=virtual_functions)

    vendors = sorted({str(known[gpu.pci_id]["vendor"]) for gpu in gpus})
    names = [str(known[gpu.pci_id]["name"]) for gpu in gpus]
    problems: list[str] = []
    if len(set(names)) > 1:
        found = ", ".join(f"{names.count(name)} x {name}" for name in sorted(set(names)))
        problems.append(f"different GPU models in one node ({found}): a plan needs one model, take the others out")
    # Where both vendors are there, the first of them is looked into; the plan is refused anyhow.
    vendor = vendors[0]
    ours = [gpu for gpu in gpus if known[gpu.pci_id]["vendor"] == vendor]
    module = dict(VENDORS.values())[vendor]
    driver = _driver(root, module)
    if driver.loaded:
        problems += [
            f"{gpu.address} is bound to {gpu.driver or 'no driver'}, not to {driver.name}: bind it to {driver.name} or "
            "take it out of the host"
            for gpu in ours
            if gpu.driver != driver.name
        ]
    if vendor == "amd":
        told = read_amd(root, ours, driver.loaded, driver.version, ask)
        driver = Driver(driver.name, told.driver_version, driver.loaded)
    else:
        others = [device["pci_address"] for device in unknown if device["pci_id"].startswith("10de:")]
        told = read_nvidia(root, ours, others, driver.loaded, ask)
    problems += [*([told.partition] if told.partition else []), *told.problems]

    index = {gpu.address: position for position, gpu in enumerate(gpus)}
    devices = [
        Device(
            index=position,
            pci_address=gpu.address,
            pci_id=gpu.pci_id,
            uuid=told.uuids.get(gpu.address),
            numa_node=_numa_node(gpu.path),
            memory_mib=told.memory_mib.get(gpu.address) or int(known[gpu.pci_id]["memory_mib"]),
            nodes=told.nodes.get(gpu.address, []) if driver.loaded else [],
            memory_used_mib=told.used_mib.get(gpu.address),
            links=sorted(index[other] for other in told.links.get(gpu.address, ()) if other in index),
            virtual=bool(known[gpu.pci_id].get("virtual")),
        )
        for position, gpu in enumerate(gpus)
    ]
    return GpuFacts(
        vendor=vendor,
        model=names[0] if len(set(names)) == 1 else None,
        count=len(gpus),
        memory_mib=min(device.memory_mib for device in devices),
        memory_source="driver" if all(told.memory_mib.get(gpu.address) for gpu in gpus) else "catalogue",
        driver=driver,
        devices=devices,
        control_nodes=list(_CONTROL[vendor]) if driver.loaded else [],
        render_gid=render,
        video_gid=video,
        partitioned=told.partition is not None,
        unknown=unknown,
        virtual_functions=virtual_functions,
        holders=holders(root, told.usages, index),
        hidden=_hidden(root, vendor, module, driver.loaded, [(devices[index[gpu.address]], gpu) for gpu in ours], told),
        problems=problems,
    )


def _find(known: KnownGpus, root: str) -> tuple[list[Pci], list[dict[str, str]], list[dict[str, str | None]]]:
    """Known GPUs, devices of the GPU vendors that look like GPUs but are not known, and virtual functions of either.

    By PCI address. A function with a link to its physical one is one that this host made for a guest; inside the guest
    it has no such link. It can bear the PCI ID of the whole GPU.
    """
    gpus: list[Pci] = []
    unknown: list[dict[str, str]] = []
    virtual: list[dict[str, str | None]] = []
    base = os.path.join(root, "sys/bus/pci/devices")
    for address in sorted(list_dir(base)):
        path = os.path.join(base, address)
        vendor = read(os.path.join(path, "vendor")).lower().replace("0x", "", 1)
        if vendor not in VENDORS:
            continue
        pci_id = f"{vendor}:{read(os.path.join(path, 'device')).lower().replace('0x', '', 1)}"
        # The class file reads 0x038000: base class, subclass, programming interface. NVSwitches (0680) are bridges.
        pci_class = "" if pci_id in known else read(os.path.join(path, "class")).lower().replace("0x", "", 1)
        if pci_id not in known and pci_class[:4] not in GPU_CLASSES:
            continue
        physical = link_name(os.path.join(path, "physfn"))
        if physical is not None:
            virtual.append({"pci_address": address, "pci_id": pci_id, "physical_address": physical})
        elif pci_id in known:
            gpus.append(Pci(address, pci_id, path, link_name(os.path.join(path, "driver"))))
        else:
            unknown.append({"pci_address": address, "pci_id": pci_id})
    return gpus, unknown, virtual


def _hidden(
    root: str, vendor: str, module: str, loaded: bool, gpus: t.Sequence[tuple[Device, Pci]], told: Told
) -> list[Hidden]:
    specifications, listed = cdi_nodes(root, vendor) if loaded else ([], set())
    found: list[Hidden] = []
    for device, gpu in gpus:
        reason = _unbound(gpu, module, loaded)
        if reason is None and loaded:
            reason = _without_node(root, vendor, device, told)
        if reason is None and specifications and not listed.intersection(device.nodes):
            reason = (
                f"{device.nodes[0]} is not in the CDI specification {', '.join(specifications)}: run "
                f"`{_CDI_COMMAND[vendor]}` on the host"
            )
        if reason is not None:
            found.append(Hidden(device.index, device.pci_address, reason))
    return found


def _unbound(gpu: Pci, module: str, loaded: bool) -> str | None:
    """A GPU without any driver is of note only where the others have theirs: a new host is not a broken one."""
    if gpu.driver == module or (gpu.driver is None and not loaded):
        return None
    if gpu.driver == "vfio-pci":
        why = "it is bound to vfio-pci, which keeps it for a virtual machine"
    else:
        why = f"it is bound to {gpu.driver or 'no driver'}"
    return f"{why}: bind it to {module}, or take it out of the host"


def _without_node(root: str, vendor: str, device: Device, told: Told) -> str | None:
    def missing(node: str) -> bool:
        return not os.path.exists(os.path.join(root, node.lstrip("/")))

    if vendor == "nvidia":
        # NVIDIA's nodes come with the first use of a GPU, which nvidia-smi's answer is; without one nothing is amiss.
        if told.listed is None:
            return None
        if device.pci_address not in told.listed:
            return "nvidia-smi does not list it: look for its address in dmesg (NVRM, Xid) and reboot the host"
        gone = next((node for node in device.nodes if missing(node)), None)
        if gone is not None:
            minor = gone[len("/dev/nvidia") :]
            return f"{gone} is missing although nvidia is loaded: run `nvidia-modprobe -c {minor} -u` on the host"
        return None
    if not device.nodes:
        return "amdgpu made no render node for it: look for its address in dmesg (amdgpu) and reboot the host"
    gone = next((node for node in [*device.nodes, *_CONTROL["amd"]] if missing(node)), None)
    if gone is not None:
        return f"{gone} is missing although amdgpu is loaded: run `udevadm trigger` on the host, or reboot it"
    return None


def _driver(root: str, name: str) -> Driver:
    module = os.path.join(root, "sys/module", name)
    if os.path.isdir(module):
        # The kernel's own amdgpu has no version file; the vendor's package brings one.
        return Driver(name, read(os.path.join(module, "version")) or None, True)
    modules = os.path.join(root, "lib/modules", os.uname().release, "modules.dep")
    installed = re.search(rf"(?m)^\S*/{name}\.ko\b", read(modules)) is not None
    return Driver(name if installed else None, None, False)


def _numa_node(path: str) -> int | None:
    text = read(os.path.join(path, "numa_node"))
    return int(text) if text.isdigit() else None  # -1 says that the firmware named none


def _gid(root: str, group: str) -> int | None:
    for line in read(os.path.join(root, "etc/group")).splitlines():
        cells = line.split(":")
        if len(cells) >= 3 and cells[0] == group and cells[2].isdigit():
            return int(cells[2])
    return None


def architecture_of(machine: str) -> str:
    """The architecture in a registry's words, of what ``uname -m`` says."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
