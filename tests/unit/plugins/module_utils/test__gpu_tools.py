# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What nvidia-smi and amd-smi are asked, and what comes of tools that fail: hosts of fixtures/gpu/host.py."""

from __future__ import annotations

import json
import types

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._gpu import Driver
from ansible_collections.sglang.fleet.plugins.module_utils._gpu_common import Answer
from tests.unit.plugins.module_utils.fixtures.gpu.host import (
    Host,
    Tools,
    fixture,
    smi_csv,
)

HANGS = "nvidia-smi did not answer within 60 s, so the driver hangs: look for NVRM and Xid in dmesg and reboot the host"
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch"


# Tools that are asked


@pytest.mark.parametrize("driver", [None, "vfio-pci"])
@pytest.mark.parametrize("vendor", ["amd", "nvidia"])
def test_no_tool_is_asked_without_a_driver(host: Host, vendor: str, driver: str | None) -> None:
    getattr(host, vendor)(2, driver=driver)
    tools = Tools({"smi": "nonsense"})
    host.facts(ask=tools)
    assert tools.asked == []


NVIDIA_SMI_FAILURES: list[tuple[Answer, str]] = [
    (
        Answer(18, f"{MISMATCH}\nNVML library version: 580.65\n"),
        f"nvidia-smi says: {MISMATCH}: the loaded driver is not the installed one, reboot the host",
    ),
    (Answer(9), "nvidia-smi failed with rc 9: no message: mend the driver on the host"),
    (Answer(9, "", "No devices\n"), "nvidia-smi failed with rc 9: No devices: mend the driver on the host"),
    (Answer(None), HANGS),
]


@pytest.mark.parametrize(("answer", "problem"), NVIDIA_SMI_FAILURES)
def test_nvidia_smi_that_fails_is_asked_once(host: Host, answer: Answer, problem: str) -> None:
    host.nvidia(2)
    tools = Tools({"nvidia-smi": answer})
    facts = host.facts(ask=tools)
    assert (facts.problems, len(tools.asked)) == ([problem], 1)
    assert (facts.count, facts.memory_source, facts.hidden) == (2, "catalogue", [])


def test_nvidia_smi_that_hangs_later_is_left_alone(host: Host) -> None:
    host.nvidia(2)
    tools = Tools({"nvidia-smi --query-gpu": smi_csv(2), "nvidia-smi compute-apps": Answer(None)})
    facts = host.facts(ask=tools)
    assert (facts.problems, len(tools.asked), facts.memory_source) == ([HANGS], 2, "driver")


def test_nvidia_smi_too_old_for_a_question_is_no_problem(host: Host) -> None:
    host.nvidia(2)
    host.nvidia_nodes(2)
    tools = Tools({"nvidia-smi --query-gpu": smi_csv(2), "nvidia-smi": Answer(2, 'Field "x" is not a valid field')})
    facts = host.facts(ask=tools)
    assert (facts.problems, facts.holders, facts.hidden) == ([], [], [])
    assert [device.links for device in facts.devices] == [[], []]


def test_amd_smi_is_not_asked_where_sysfs_tells_all(host: Host) -> None:
    host.amd(2)
    tools = Tools({"amd-smi": fixture("amd_smi_7.json")})
    host.facts(ask=tools)
    assert tools.asked == []


@pytest.mark.parametrize(("shape", "version"), [("amd_smi_6.json", "6.10.5"), ("amd_smi_7.json", "6.16.13")])
def test_amd_smi_tells_what_sysfs_does_not(host: Host, shape: str, version: str) -> None:
    """The kernel's own amdgpu has no version file."""
    for address in ("0000:05:00.0", "0000:26:00.0"):
        host.pci(address, "1002:74a1", "0x120000", "amdgpu")
    host.module("amdgpu", None)
    tools = Tools({"amd-smi": fixture(shape)})
    facts = host.facts(ask=tools)
    assert tools.asked == ["amd-smi static --json --asic --vram --bus --driver"]
    assert facts.driver == Driver("amdgpu", version, True)
    assert (facts.memory_mib, facts.memory_source) == (196592, "driver")


@pytest.mark.parametrize(
    ("answer", "problems"),
    [
        (Answer(0, fixture("amd_smi_not_available.json")), []),
        (Answer(1, fixture("amd_smi_7.json")), []),
        (Answer(0, "Traceback (most recent call last):\n"), []),
        (
            Answer(None),
            ["amd-smi did not answer within 60 s, so the driver hangs: look for amdgpu in dmesg and reboot the host"],
        ),
    ],
)
def test_amd_smi_that_is_of_no_help(host: Host, answer: Answer, problems: list[str]) -> None:
    folder = host.amd(1)[0]
    (host.root / folder / "mem_info_vram_total").unlink()
    (host.root / "sys/module/amdgpu/version").unlink()
    facts = host.facts(ask=Tools({"amd-smi": answer}))
    assert (facts.driver, facts.memory_source, facts.problems) == (Driver("amdgpu", None, True), "catalogue", problems)


@pytest.mark.parametrize("release", ["6.8.0-45-generic", "6.12.41"])
def test_amd_smi_s_word_for_the_kernel_s_own_driver_is_the_kernel_s_release(
    host: Host, release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.amd(1)
    (host.root / "sys/module/amdgpu/version").unlink()
    monkeypatch.setattr("os.uname", lambda: types.SimpleNamespace(release=release))
    said = json.loads(fixture("amd_smi_7.json"))["gpu_data"][:1]
    said[0]["driver"]["version"] = release
    assert host.facts(ask=Tools({"amd-smi": json.dumps(said)})).driver == Driver("amdgpu", None, True)
