# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who holds GPUs, and which of them a container would not see: hosts of fixtures/gpu/host.py."""

from __future__ import annotations

import json

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._gpu import Hidden
from ansible_collections.sglang.fleet.plugins.module_utils._gpu_common import Holder
from tests.unit.plugins.module_utils.fixtures.gpu.host import (
    IDLE_BYTES,
    Host,
    fixture,
    nvidia_smi,
    smi_csv,
    uuid,
)

CONTAINER = "4f" * 32


# Links


def test_links_of_nvidia_follow_nvidia_smi_s_own_numbers(host: Host) -> None:
    """GPU0 and GPU1 of nvidia-smi, which are linked, are the third and the first by PCI address."""
    host.nvidia(3)
    rows = "".join(
        f"00000000:{bus}:00.0, {number}, 143771, 0, Disabled, {uuid(number)}\n"
        for bus, number in (("65", 1), ("66", 2), ("67", 0))
    )
    topology = "\tGPU0\tGPU1\tGPU2\nGPU0\t X \tNV4\tSYS\nGPU1\tNV4\t X \tSYS\nGPU2\tSYS\tSYS\t X \n"
    assert [device.links for device in host.facts(ask=nvidia_smi(rows, "", topology)).devices] == [[2], [], [0]]


def test_links_of_an_nvswitch_node(host: Host) -> None:
    host.nvidia(8)
    tools = nvidia_smi(smi_csv(8), "", fixture("topo_b200.txt"))
    assert [device.links for device in host.facts(ask=tools).devices] == [
        [other for other in range(8) if other != index] for index in range(8)
    ]
    assert len(tools.asked) == 3


def test_a_single_gpu_s_links_are_not_asked_for(host: Host) -> None:
    host.nvidia(1)
    tools = nvidia_smi(smi_csv(1))
    assert host.facts(ask=tools).devices[0].links == []
    assert [line for line in tools.asked if "topo" in line] == []


# Who holds memory


def test_holders_on_nvidia(host: Host) -> None:
    host.nvidia(2)
    host.process(4163, "sglang::scheduler_TP0\0\0\0", CONTAINER)
    host.process(4164, "sglang::scheduler_TP1\0", CONTAINER)
    host.process(4201, "/usr/bin/python3\0train.py\0--token=hush\0")
    host.process(5005, "")
    host.write("proc/5005/comm", "")
    host.write(
        f"var/lib/docker/containers/{CONTAINER}/config.v2.json",
        json.dumps({"ID": CONTAINER, "Config": {"Env": ["HF_TOKEN=hush"]}, "Name": "/sglang-0"}),
    )
    facts = host.facts(ask=nvidia_smi(smi_csv(2, used="132000"), fixture("smi_apps.csv")))
    assert facts.holders == [
        Holder(4163, "sglang::scheduler_TP0", "sglang-0", 131072, [0]),
        Holder(4164, "sglang::scheduler_TP1", "sglang-0", 130948, [1]),
        Holder(4201, "python3", None, 512, [0]),
        Holder(5005, "a,b", None, 20, [1]),
    ]
    assert [device.memory_used_mib for device in facts.devices] == [132000, 132000]
    assert "hush" not in json.dumps(facts.to_dict())


def test_holders_on_amd(host: Host) -> None:
    """A process that opened every GPU holds memory on those alone whose file is not 0."""
    folders = host.amd(4)
    host.process(8123, "python3\0-m\0sglang.launch_server\0", CONTAINER)
    host.process(9001, "/opt/rocm/bin/rocm-bandwidth-test\0")
    host.vram(8123, {28000: 150 << 30, 28001: 150 << 30, 28002: 0, 28003: 0})
    host.vram(9001, {28000: 0, 28001: 0})
    host.write(f"{folders[0]}/mem_info_vram_used", f"{(150 << 30) + IDLE_BYTES}\n")
    facts = host.facts()
    # No config of Docker's names the container: an engine of another kind.
    assert facts.holders == [Holder(8123, "python3", CONTAINER[:12], 2 * 150 * 1024, [0, 1])]
    assert facts.devices[0].memory_used_mib == 150 * 1024 + (IDLE_BYTES >> 20)


def test_memory_that_nobody_alive_holds(host: Host) -> None:
    host.amd(1)
    host.vram(666, {28000: 150 << 30})
    facts = host.facts()
    assert facts.holders == []
    host = Host(host.root / "other")
    host.nvidia(1)
    facts = host.facts(ask=nvidia_smi(smi_csv(1, used="140000"), fixture("smi_apps.csv")))
    assert (facts.holders, facts.devices[0].memory_used_mib) == ([], 140000)


# Hidden GPUs


def test_gpu_kept_for_a_virtual_machine_is_hidden(host: Host) -> None:
    host.nvidia(1)
    host.pci("0000:a1:00.0", "10de:2335", "0x030200", "vfio-pci")
    reason = (
        "it is bound to vfio-pci, which keeps it for a virtual machine: bind it to nvidia, or take it out of the host"
    )
    assert host.facts().hidden == [Hidden(1, "0000:a1:00.0", reason)]


@pytest.mark.parametrize("vendor", ["amd", "nvidia"])
def test_vfio_hides_without_a_driver_but_a_new_host_hides_nothing(host: Host, vendor: str) -> None:
    getattr(host, vendor)(2, driver=None)
    assert host.facts().hidden == []
    other = Host(host.root / "other")
    getattr(other, vendor)(2, driver="vfio-pci")
    assert [hidden.index for hidden in other.facts().hidden] == [0, 1]


def test_gpu_without_a_driver_beside_one_with_it_is_hidden(host: Host) -> None:
    host.nvidia(1)
    host.pci("0000:a1:00.0", "10de:2335", "0x030200")
    assert host.facts().hidden == [
        Hidden(1, "0000:a1:00.0", "it is bound to no driver: bind it to nvidia, or take it out of the host")
    ]


def test_gpu_that_nvidia_smi_does_not_list_is_hidden(host: Host) -> None:
    host.nvidia(2)
    host.nvidia_nodes(2)
    reason = "nvidia-smi does not list it: look for its address in dmesg (NVRM, Xid) and reboot the host"
    assert host.facts(smi_csv(1)).hidden == [Hidden(1, "0000:66:00.0", reason)]


def test_missing_node_of_a_used_nvidia_gpu(host: Host) -> None:
    host.nvidia(2)
    host.nvidia_nodes(1)
    reason = "/dev/nvidia1 is missing although nvidia is loaded: run `nvidia-modprobe -c 1 -u` on the host"
    assert host.facts(smi_csv(2)).hidden == [Hidden(1, "0000:66:00.0", reason)]


def test_missing_nodes_of_amd(host: Host) -> None:
    host.amd(3)
    (host.root / "dev/dri/renderD136").unlink()
    (host.root / "sys/class/drm/renderD144/device").unlink()
    assert host.facts().hidden == [
        Hidden(
            1,
            "0000:15:00.0",
            "/dev/dri/renderD136 is missing although amdgpu is loaded: run `udevadm trigger` on the host, or reboot it",
        ),
        Hidden(
            2,
            "0000:25:00.0",
            "amdgpu made no render node for it: look for its address in dmesg (amdgpu) and reboot the host",
        ),
    ]
    (host.root / "dev/kfd").unlink()
    assert host.facts().hidden[0].reason.startswith("/dev/kfd is missing")


CDI_NVIDIA = """---
cdiVersion: 0.5.0
containerEdits:
  deviceNodes:
  - path: /dev/nvidiactl
devices:
- containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
  name: "0"
kind: nvidia.com/gpu
"""


CDI_AMD = {
    "cdiVersion": "0.6.0",
    "kind": "amd.com/gpu",
    "devices": [{"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/dri/renderD128"}]}}],
}


@pytest.mark.parametrize("folder", ["etc/cdi", "var/run/cdi"])
def test_gpu_that_the_cdi_specification_lacks(host: Host, folder: str) -> None:
    host.nvidia(2)
    host.write(f"{folder}/nvidia.yaml", CDI_NVIDIA)
    assert host.facts().hidden == [
        Hidden(
            1,
            "0000:66:00.0",
            f"/dev/nvidia1 is not in the CDI specification /{folder}/nvidia.yaml: run "
            "`nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml` on the host",
        )
    ]


def test_cdi_specification_of_amd_in_json(host: Host) -> None:
    host.amd(2)
    host.write("etc/cdi/amd.json", json.dumps(CDI_AMD))
    assert [hidden.index for hidden in host.facts().hidden] == [1]
    assert "amd-ctk cdi generate" in host.facts().hidden[0].reason


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("other.yaml", "kind: vendor.com/nic\ndevices: []\n"),
        ("imex.yaml", "kind: nvidia.com/imex-channel\ndevices: []\n"),
        ("amd.json", json.dumps(CDI_AMD)),
        ("nvidia.yaml.bak", CDI_NVIDIA),
    ],
)
def test_cdi_specifications_of_something_else_hide_nothing(host: Host, name: str, text: str) -> None:
    host.nvidia(2)
    host.write(f"etc/cdi/{name}", text)
    assert host.facts().hidden == []
