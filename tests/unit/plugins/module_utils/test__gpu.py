# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Facts from a tree that has the files of a real host's sysfs, procfs and /dev, with the real shapes of their contents."""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._gpu import Driver, GpuFacts, SmiRow, parse_smi, read_gpus

KNOWN = load_catalogue().known_gpus()
MI300X_BYTES = 206141652992
RESET_AMD = (
    "a plan needs whole GPUs: run `amd-smi set --gpu all --compute-partition SPX` and `amd-smi set --memory-partition NPS1` "
    "on the host"
)
RESET_MIG = "MIG is on; a plan needs whole GPUs: run `nvidia-smi -mig 0` on the host and reset the GPUs (or reboot)"


@dataclass
class Host:
    """A root folder that grows files."""

    root: Path

    def write(self, path: str, text: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")

    def link(self, path: str, to: str) -> None:
        link = self.root / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(to)

    def pci(self, address: str, pci_id: str, pci_class: str, driver: str | None = None, numa: int = 0) -> str:
        vendor, device = pci_id.split(":")
        folder = f"sys/bus/pci/devices/{address}"
        self.write(f"{folder}/vendor", f"0x{vendor}\n")
        self.write(f"{folder}/device", f"0x{device}\n")
        self.write(f"{folder}/class", f"{pci_class}\n")
        self.write(f"{folder}/numa_node", f"{numa}\n")
        if driver:
            self.link(f"{folder}/driver", f"../../../../bus/pci/drivers/{driver}")
        return folder

    def module(self, name: str, version: str | None) -> None:
        (self.root / "sys/module" / name).mkdir(parents=True)
        if version:
            self.write(f"sys/module/{name}/version", f"{version}\n")

    def amd(
        self, count: int, *, pci_id: str = "1002:74a1", driver: str | None = "amdgpu", agents: int = 1
    ) -> list[str]:
        """GPUs as amdgpu shows them; ``agents`` compute nodes and DRM devices each, as partitions are."""
        folders = []
        for node in range(2):
            self.write(
                f"sys/class/kfd/kfd/topology/nodes/{node}/properties", "cpu_cores_count 96\nsimd_count 0\nvendor_id 0\n"
            )
        for index in range(count):
            address = f"0000:{5 + 0x10 * index:02x}:00.0"
            folder = self.pci(address, pci_id, "0x120000", driver, index * 2 // count)
            folders.append(folder)
            if driver != "amdgpu":
                continue
            self.write(f"{folder}/mem_info_vram_total", f"{MI300X_BYTES}\n")
            for part in range(agents):
                minor = index * agents + part
                device = int(pci_id[5:], 16)
                self.write(
                    f"sys/class/kfd/kfd/topology/nodes/{2 + minor}/properties",
                    f"cpu_cores_count 0\nsimd_count {1216 // agents}\ngfx_target_version 90402\nvendor_id 4098\n"
                    f"device_id {device}\ndrm_render_minor {128 + minor}\nlocal_mem_size 0\nnum_xcc {8 // agents}\n",
                )
                home = f"../../../{address}" if part == 0 else f"../../../platform/amdgpu_xcp_{minor}"
                for name in (f"card{minor}", f"renderD{128 + minor}"):
                    self.link(f"sys/class/drm/{name}/device", home)
            # What monitors would hang on; never a device of its own.
            self.link(f"sys/class/drm/card{index * agents}-DP-1/device", f"../../card{index * agents}")
        if driver == "amdgpu":
            self.module("amdgpu", "6.16.13")
        self.write("etc/group", "root:x:0:\nvideo:x:44:\nrender:x:992:op\n")
        return folders

    def nvidia(self, count: int, *, pci_id: str = "10de:2335", driver: str | None = "nvidia") -> None:
        for index in range(count):
            self.pci(f"0000:{0x65 + index:02x}:00.0", pci_id, "0x030200", driver)
        self.pci("0000:f0:00.0", "10de:22a3", "0x068000", "nvidia-nvswitch")
        if driver == "nvidia":
            self.module("nvidia", "580.65.06")
        self.write("etc/group", "video:x:44:\n")

    def facts(self, smi: str | None = None) -> GpuFacts:
        return read_gpus(KNOWN, str(self.root), smi)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def uuid(index: int) -> str:
    return f"GPU-1b5cbdf0-8f1a-44ba-9a6c-{index:012x}"


def smi_csv(count: int, memory: str = "143771", mig: str = "Disabled") -> str:
    return "".join(f"00000000:{0x65 + index:02X}:00.0, {memory}, {mig}, {uuid(index)}\n" for index in range(count))


def test_amd_node(host: Host) -> None:
    host.amd(8)
    facts = host.facts().to_dict()
    devices = facts.pop("devices")
    assert facts == {
        "vendor": "amd",
        "model": "MI300X",
        "count": 8,
        "memory_mib": 196592,
        "memory_source": "driver",
        "driver": {"name": "amdgpu", "version": "6.16.13", "loaded": True},
        "control_nodes": ["/dev/kfd"],
        "render_gid": 992,
        "video_gid": 44,
        "partitioned": False,
        "unknown": [],
        "problems": [],
    }
    assert devices[0] == {
        "index": 0,
        "pci_address": "0000:05:00.0",
        "pci_id": "1002:74a1",
        "numa_node": 0,
        "memory_mib": 196592,
        "uuid": None,
        "nodes": ["/dev/dri/renderD128"],
    }
    assert [device["numa_node"] for device in devices] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert devices[7]["nodes"] == ["/dev/dri/renderD135"]


def test_nvidia_node(host: Host) -> None:
    host.nvidia(8)
    facts = host.facts(smi_csv(8)).to_dict()
    devices = facts.pop("devices")
    assert facts == {
        "vendor": "nvidia",
        "model": "H200",
        "count": 8,
        "memory_mib": 143771,
        "memory_source": "driver",
        "driver": {"name": "nvidia", "version": "580.65.06", "loaded": True},
        "control_nodes": ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"],
        "render_gid": None,
        "video_gid": 44,
        "partitioned": False,
        "unknown": [],
        "problems": [],
    }
    assert [device["nodes"] for device in devices] == [[f"/dev/nvidia{index}"] for index in range(8)]
    assert [device["uuid"] for device in devices] == [uuid(index) for index in range(8)]


def test_nvidia_minor_numbers_need_not_follow_the_bus(host: Host) -> None:
    host.nvidia(2)
    for address, minor in (("0000:65:00.0", 1), ("0000:66:00.0", 0)):
        host.write(
            f"proc/driver/nvidia/gpus/{address}/information", f"Model: \t\t NVIDIA H200\nDevice Minor: \t {minor}\n"
        )
    assert [device.nodes for device in host.facts().devices] == [["/dev/nvidia1"], ["/dev/nvidia0"]]


def test_device_nodes_need_not_be_there_and_change_nothing(host: Host) -> None:
    """nvidia-uvm's nodes come with the first container: a second run must plan what the first did."""
    host.nvidia(2)
    before = host.facts()
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-modeset", "nvidia-uvm", "nvidia-uvm-tools"):
        host.write(f"dev/{name}", "")
    assert host.facts() == before
    assert [device.nodes for device in before.devices] == [["/dev/nvidia0"], ["/dev/nvidia1"]]


@pytest.mark.parametrize("vendor", ["amd", "nvidia"])
def test_no_device_nodes_without_a_driver(host: Host, vendor: str) -> None:
    getattr(host, vendor)(2, driver=None)
    facts = host.facts()
    assert (facts.control_nodes, [device.nodes for device in facts.devices]) == ([], [[], []])


def test_amd_gpu_without_a_render_node(host: Host) -> None:
    host.amd(2)
    (host.root / "sys/class/drm/renderD129/device").unlink()
    assert [device.nodes for device in host.facts().devices] == [["/dev/dri/renderD128"], []]


def test_uuid_of_the_driver_s_file_or_of_nvidia_smi(host: Host) -> None:
    host.nvidia(3)
    unused = "GPU-????????-????-????-????-????????????"
    for index, said in enumerate((uuid(7), unused)):
        host.write(
            f"proc/driver/nvidia/gpus/0000:{0x65 + index:02x}:00.0/information",
            f"Model: \t\t NVIDIA H200\nGPU UUID: \t {said}\nDevice Minor: \t {index}\n",
        )
    assert [device.uuid for device in host.facts().devices] == [uuid(7), None, None]
    assert [device.uuid for device in host.facts(smi_csv(3)).devices] == [uuid(7), uuid(1), uuid(2)]


def test_minor_numbers_count_gpus_that_the_catalogue_does_not_know(host: Host) -> None:
    host.nvidia(2)
    host.pci("0000:01:00.0", "10de:ffff", "0x030200", "nvidia")
    host.pci("0000:02:00.0", "1002:ffff", "0x030000", "amdgpu")
    facts = host.facts()
    assert len(facts.unknown) == 2
    assert [device.nodes for device in facts.devices] == [["/dev/nvidia1"], ["/dev/nvidia2"]]


def test_no_gpu(host: Host) -> None:
    host.pci("0000:00:02.0", "1a03:2000", "0x030000", "ast")  # the BMC's own graphics
    facts = host.facts()
    assert (facts.vendor, facts.model, facts.count, facts.unknown, facts.problems) == ("none", None, 0, [], [])
    assert facts.driver == Driver(None, None, False)


def test_empty_root(host: Host) -> None:
    assert host.facts() == GpuFacts()


def test_memory_from_the_catalogue_without_a_driver(host: Host) -> None:
    host.amd(2, driver=None)
    facts = host.facts()
    assert (facts.count, facts.memory_mib, facts.memory_source) == (2, 196592, "catalogue")
    assert facts.driver == Driver(None, None, False)
    assert facts.problems == []


def test_driver_installed_but_not_loaded(host: Host) -> None:
    host.nvidia(1, driver=None)
    host.write(
        f"lib/modules/{os.uname().release}/modules.dep", "kernel/x.ko:\nupdates/dkms/nvidia.ko.xz: kernel/x.ko\n"
    )
    assert host.facts().driver == Driver("nvidia", None, False)


def test_driver_without_a_version(host: Host) -> None:
    host.amd(1)
    (host.root / "sys/module/amdgpu/version").unlink()
    assert host.facts().driver == Driver("amdgpu", None, True)


@pytest.mark.parametrize(
    ("bound_to", "said"), [("vfio-pci", "vfio-pci"), (None, "no driver")], ids=["vfio-pci", "unbound"]
)
def test_gpu_that_the_driver_does_not_hold(host: Host, bound_to: str | None, said: str) -> None:
    host.nvidia(1)
    host.pci("0000:a1:00.0", "10de:2335", "0x030200", bound_to)
    assert host.facts().problems == [
        f"0000:a1:00.0 is bound to {said}, not to nvidia: bind it to nvidia or take it out of the host"
    ]


def test_mixed_models(host: Host) -> None:
    host.nvidia(2)
    host.pci("0000:a1:00.0", "10de:2330", "0x030200", "nvidia")
    facts = host.facts()
    assert (facts.model, facts.count) == (None, 3)
    assert facts.problems == [
        "different GPU models in one node (1 x H100, 2 x H200): a plan needs one model, take the others out"
    ]


@pytest.mark.parametrize(
    ("pci_class", "unknown"),
    [("0x030200", True), ("0x030000", True), ("0x120000", True), ("0x068000", False), ("0x040300", False)],
)
def test_unknown_devices_of_gpu_class(host: Host, pci_class: str, unknown: bool) -> None:
    host.amd(1)
    host.pci("0000:c1:00.0", "10de:ffff", pci_class)
    expected = [{"pci_address": "0000:c1:00.0", "pci_id": "10de:ffff"}] if unknown else []
    assert host.facts().unknown == expected


def test_cpx_by_the_mode_file(host: Host) -> None:
    for folder in host.amd(2, agents=8):
        host.write(f"{folder}/current_compute_partition", "CPX\n")
        host.write(f"{folder}/current_memory_partition", "NPS1\n")
    facts = host.facts()
    assert (facts.count, facts.memory_mib, facts.partitioned) == (2, 196592, True)
    assert facts.problems == [f"the GPUs are partitioned (CPX); {RESET_AMD}"]


def test_cpx_by_the_compute_agents(host: Host) -> None:
    host.amd(2, agents=8)
    facts = host.facts()
    assert (facts.count, facts.partitioned) == (2, True)
    assert facts.problems == [f"the GPUs are partitioned (16 compute agents on 2 GPUs); {RESET_AMD}"]


def test_whole_gpus_are_not_partitioned(host: Host) -> None:
    for folder in host.amd(2):
        host.write(f"{folder}/current_compute_partition", "SPX\n")
        host.write(f"{folder}/current_memory_partition", "NPS1\n")
    assert host.facts().partitioned is False


def test_mig_by_nvidia_smi(host: Host) -> None:
    host.nvidia(2)
    facts = host.facts(smi_csv(1) + "00000000:66:00.0, 143771, Enabled, [N/A]\n")
    assert facts.partitioned is True
    assert facts.problems == [RESET_MIG]


def test_mig_without_nvidia_smi(host: Host) -> None:
    host.nvidia(1)
    host.write("proc/driver/nvidia/capabilities/gpu0/mig/gi3/access", "DeviceFileMinor: 30\n")
    assert host.facts().problems == [RESET_MIG]


def test_one_gpu_that_tells_no_memory_makes_the_source_the_catalogue(host: Host) -> None:
    host.nvidia(2)
    facts = host.facts("00000000:65:00.0, 140000, Disabled, [N/A]\n00000000:66:00.0, [N/A], [N/A], [N/A]\n")
    assert [device.memory_mib for device in facts.devices] == [140000, 143771]
    assert (facts.memory_mib, facts.memory_source) == (140000, "catalogue")


SMI_ROWS: list[tuple[str, dict[str, SmiRow]]] = [
    ("", {}),
    (
        f"00000000:C5:00.0, 143771, Disabled, {uuid(3)}",
        {"0000:c5:00.0": SmiRow("0000:c5:00.0", 143771, False, uuid(3))},
    ),
    ("00000001:C5:00.0, 81920 MiB, Enabled, ERR!", {"0001:c5:00.0": SmiRow("0001:c5:00.0", 81920, True, None)}),
    ("00000000:C5:00.0, [N/A], [Not Supported], [N/A]", {"0000:c5:00.0": SmiRow("0000:c5:00.0", None, False, None)}),
    ("NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.", {}),
    ("0, NVIDIA H200, 143771", {}),
    ("0, GPU-a, NVIDIA H200, 143771, 580.65.06, 9.0", {}),
]


@pytest.mark.parametrize(("text", "rows"), SMI_ROWS)
def test_parse_smi(text: str, rows: dict[str, SmiRow]) -> None:
    assert parse_smi(text) == rows


def test_reads_only_gpus_closely(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node has hundreds of PCI functions: of one that is no GPU vendor's, one file is read."""
    host.amd(1)
    for index in range(50):
        host.pci(f"0000:00:{index // 8:02x}.{index % 8}", "8086:3420", "0x060400")
    opened: list[str] = []
    real_open = open

    def counting(file: t.Any, *args: t.Any, **kwargs: t.Any) -> t.Any:
        opened.append(str(file))
        return real_open(file, *args, **kwargs)

    monkeypatch.setattr("builtins.open", counting)
    host.facts()
    assert len([path for path in opened if "/devices/0000:00:" in path]) == 50
