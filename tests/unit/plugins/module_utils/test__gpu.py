# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Facts of whole hosts: the tree of fixtures/gpu/host.py, with the tools' answers of fixtures/gpu."""

from __future__ import annotations

import os
import typing as t

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._gpu import Driver, GpuFacts, architecture_of
from ansible_collections.sglang.fleet.plugins.module_utils._gpu_amd import parse_properties
from ansible_collections.sglang.fleet.plugins.module_utils._gpu_common import Holder
from tests.unit.plugins.module_utils.fixtures.gpu.host import (
    IDLE_BYTES,
    KNOWN,
    Host,
    smi_csv,
    uuid,
)

RESET_AMD = (
    "a plan needs whole GPUs: run `amd-smi set --gpu all --compute-partition SPX` and `amd-smi set --memory-partition NPS1` "
    "on the host"
)


RESET_MIG = "MIG is on; a plan needs whole GPUs: run `nvidia-smi -mig 0` on the host and reset the GPUs (or reboot)"


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
        "virtual_functions": [],
        "holders": [],
        "hidden": [],
        "problems": [],
        "architecture": "",
    }
    assert devices[0] == {
        "index": 0,
        "pci_address": "0000:05:00.0",
        "pci_id": "1002:74a1",
        "numa_node": 0,
        "memory_mib": 196592,
        "uuid": None,
        "nodes": ["/dev/dri/renderD128"],
        "memory_used_mib": IDLE_BYTES >> 20,
        "links": [1, 2, 3, 4, 5, 6, 7],
        "virtual": False,
    }
    assert [device["numa_node"] for device in devices] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert devices[7]["nodes"] == ["/dev/dri/renderD184"]


def test_whole_amd_gpus_have_eight_render_nodes_each(host: Host) -> None:
    """One compute agent for each GPU; the seven nodes beside a GPU's own are platform devices, of no use to a plan."""
    host.amd(8)
    drm = host.root / "sys/class/drm"
    owners = {minor: (drm / f"renderD{minor}/device").readlink().name for minor in range(128, 192)}
    assert len(list((host.root / "dev/dri").glob("renderD*"))) == len(list(drm.glob("renderD*"))) == 64
    assert (owners[128], owners[129], owners[135]) == ("0000:05:00.0", "amdgpu_xcp_0", "amdgpu_xcp_6")
    assert (owners[136], owners[137], owners[191]) == ("0000:15:00.0", "amdgpu_xcp_7", "amdgpu_xcp_55")
    agents = sorted((host.root / "sys/class/kfd/kfd/topology/nodes").iterdir(), key=lambda path: int(path.name))[2:]
    minors = [parse_properties((agent / "properties").read_text("utf-8"))["drm_render_minor"] for agent in agents]
    assert minors == [str(128 + 8 * index) for index in range(8)]
    facts = host.facts()
    assert (facts.count, facts.partitioned, facts.problems, facts.hidden) == (8, False, [], [])
    assert [device.nodes for device in facts.devices] == [[f"/dev/dri/renderD{minor}"] for minor in minors]
    assert [device.links for device in facts.devices] == [
        [other for other in range(8) if other != index] for index in range(8)
    ]


def test_nodes_beside_a_gpu_s_own_do_not_stand_in_for_it(host: Host) -> None:
    host.amd(2)
    (host.root / "sys/class/drm/renderD136/device").unlink()
    (host.root / "dev/dri/renderD136").unlink()
    facts = host.facts()
    assert [device.nodes for device in facts.devices] == [["/dev/dri/renderD128"], []]
    assert [hidden.index for hidden in facts.hidden] == [1]


def test_nvidia_node(host: Host) -> None:
    host.nvidia(8)
    host.nvidia_nodes(8)
    facts = host.facts(smi_csv(8, used="4")).to_dict()
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
        "virtual_functions": [],
        "holders": [],
        "hidden": [],
        "problems": [],
        "architecture": "",
    }
    assert [device["nodes"] for device in devices] == [[f"/dev/nvidia{index}"] for index in range(8)]
    assert [device["uuid"] for device in devices] == [uuid(index) for index in range(8)]
    assert [device["memory_used_mib"] for device in devices] == [4] * 8
    assert not any(device["virtual"] for device in devices)


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


@pytest.mark.parametrize(
    ("modes", "agents", "said"),
    [(("CPX", "NPS1"), 8, "CPX"), (("QPX", "NPS4"), 4, "NPS4, QPX"), (("DPX", "NPS2"), 2, "DPX, NPS2")],
    ids=["CPX", "QPX", "DPX"],
)
def test_partitions_by_the_mode_files(host: Host, modes: tuple[str, str], agents: int, said: str) -> None:
    for folder in host.amd(2, agents=agents):
        host.write(f"{folder}/current_compute_partition", f"{modes[0]}\n")
        host.write(f"{folder}/current_memory_partition", f"{modes[1]}\n")
    facts = host.facts()
    assert (facts.count, facts.memory_mib, facts.partitioned) == (2, 196592, True)
    assert facts.problems == [f"the GPUs are partitioned ({said}); {RESET_AMD}"]


def test_cpx_is_eight_gpus_of_one_memory_each(host: Host) -> None:
    """64 render nodes and 64 compute agents; the mode files are those of older kernels, which have none."""
    host.amd(8, agents=8)
    host.process(700, "python3\0")
    # On the fourth partition of GPU 0 and of GPU 1, and on none of the others.
    host.vram(700, {28000 + minor: 2 << 30 if minor in (3, 11) else 0 for minor in range(64)})
    assert len(list((host.root / "dev/dri").glob("renderD*"))) == 64  # as many as of whole GPUs
    assert len(list((host.root / "sys/class/kfd/kfd/topology/nodes").iterdir())) == 64 + 2
    facts = host.facts()
    assert (facts.count, len(facts.devices), facts.memory_mib, facts.partitioned) == (8, 8, 196592, True)
    assert [device.nodes for device in facts.devices] == [[f"/dev/dri/renderD{128 + 8 * index}"] for index in range(8)]
    assert facts.devices[3].links == [0, 1, 2, 4, 5, 6, 7]  # and not itself, whose partitions are linked
    assert facts.holders == [Holder(700, "python3", None, 2 * 2048, [0, 1])]
    assert facts.hidden == []
    assert facts.problems == [f"the GPUs are partitioned (64 compute agents on 8 GPUs); {RESET_AMD}"]


def test_whole_gpus_are_not_partitioned(host: Host) -> None:
    for folder in host.amd(2):
        host.write(f"{folder}/current_compute_partition", "SPX\n")
        host.write(f"{folder}/current_memory_partition", "NPS1\n")
    assert host.facts().partitioned is False


def test_mig_by_nvidia_smi(host: Host) -> None:
    host.nvidia(2)
    facts = host.facts(smi_csv(1) + "00000000:66:00.0, 1, 143771, 0, Enabled, [N/A]\n")
    assert facts.partitioned is True
    assert facts.problems == [RESET_MIG]


def test_mig_without_nvidia_smi(host: Host) -> None:
    host.nvidia(1)
    host.write("proc/driver/nvidia/capabilities/gpu0/mig/gi3/access", "DeviceFileMinor: 30\n")
    assert host.facts().problems == [RESET_MIG]


def test_one_gpu_that_tells_no_memory_makes_the_source_the_catalogue(host: Host) -> None:
    host.nvidia(2)
    rows = "00000000:65:00.0, 0, 140000, 2, Disabled, [N/A]\n00000000:66:00.0, 1, [N/A], [N/A], [N/A], [N/A]\n"
    facts = host.facts(rows)
    assert [device.memory_mib for device in facts.devices] == [140000, 143771]
    assert [device.memory_used_mib for device in facts.devices] == [2, None]
    assert (facts.memory_mib, facts.memory_source) == (140000, "catalogue")


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


# Virtual functions


def test_virtual_functions_of_guests_are_not_counted(host: Host) -> None:
    """AMD's bear an ID of their own, NVIDIA's that of the whole GPU; one that the catalogue does not know is no GPU."""
    host.amd(1)
    for address, pci_id in (
        ("0000:05:02.0", "1002:74b5"),
        ("0000:05:02.1", "1002:74a1"),
        ("0000:05:02.2", "1002:ffff"),
    ):
        host.link(f"{host.pci(address, pci_id, '0x120000', 'vfio-pci')}/physfn", "../0000:05:00.0")
    facts = host.facts()
    assert (facts.count, facts.unknown, facts.problems, facts.hidden) == (1, [], [], [])
    assert facts.virtual_functions == [
        {"pci_address": "0000:05:02.0", "pci_id": "1002:74b5", "physical_address": "0000:05:00.0"},
        {"pci_address": "0000:05:02.1", "pci_id": "1002:74a1", "physical_address": "0000:05:00.0"},
        {"pci_address": "0000:05:02.2", "pci_id": "1002:ffff", "physical_address": "0000:05:00.0"},
    ]


def test_host_whose_gpus_are_all_given_away(host: Host) -> None:
    host.link(f"{host.pci('0000:05:02.0', '1002:74b5', '0x120000')}/physfn", "../0000:05:00.0")
    facts = host.facts()
    assert (facts.vendor, facts.count, len(facts.virtual_functions)) == ("none", 0, 1)


def test_inside_a_guest_the_virtual_function_is_the_gpu(host: Host) -> None:
    host.amd(2, pci_id="1002:74b5")
    facts = host.facts()
    assert (facts.model, facts.count, [device.virtual for device in facts.devices]) == ("MI300X", 2, [True, True])
    assert facts.virtual_functions == []


def test_virtual_ids_of_the_catalogue() -> None:
    catalogue = load_catalogue()
    for name, gpu in catalogue.data["gpus"].items():
        assert set(gpu.get("virtual_pci_ids", ())) < set(gpu["pci_ids"]), name
    virtual = sorted(pci_id for pci_id, gpu in KNOWN.items() if gpu["virtual"])
    assert virtual == ["1002:74b5", "1002:74b9", "1002:75b0", "1002:75b3"]


NEAR: list[tuple[str, str, int]] = [
    ("10de:2329", "H20", 97871),
    ("10de:232c", "H20-141GB", 143771),
    ("10de:2322", "H800", 81559),
    ("10de:2324", "H800", 81559),
    ("10de:20bd", "A800-40GB", 40960),
    ("10de:20f6", "A800-40GB", 40960),
    ("10de:20f3", "A800", 81920),
    ("10de:20f5", "A800", 81920),
]


@pytest.mark.parametrize(("pci_id", "name", "memory"), NEAR)
def test_near_gpus_have_a_name(host: Host, pci_id: str, name: str, memory: int) -> None:
    host.nvidia(1, pci_id=pci_id, driver=None)
    facts = host.facts()
    assert (facts.model, facts.memory_mib, facts.unknown) == (name, memory, [])


def test_architectures() -> None:
    assert [architecture_of(name) for name in ("x86_64", "aarch64", "amd64", "ppc64le")] == [
        "amd64",
        "arm64",
        "amd64",
        "ppc64le",
    ]
