# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The doctor's checks: a healthy snapshot gives nothing, and each row breaks one thing in it and gives one finding.

Messages of drivers and tools are real ones; where they come from stands beside them.
"""

from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._doctor import finding_lines
from ansible_collections.sglang.fleet.plugins.module_utils._gpu import GpuFacts
from tests.unit.plugins.module_utils.fixtures.doctor import (
    DRIVER,
    NOW,
    QUERY,
    Change,
    found,
    healthy,
    put,
)


@pytest.mark.parametrize("vendor", ["nvidia", "amd"])
def test_a_healthy_node_gives_nothing(vendor: str) -> None:
    assert found(healthy(vendor)) == []
    assert finding_lines([]) == ["healthy"]


@pytest.mark.parametrize("vendor", ["nvidia", "amd"])
def test_a_node_that_tells_next_to_nothing_gives_no_traceback(vendor: str) -> None:
    """Every probe may come back empty: no tool, no engine, no record."""
    whole = healthy(vendor)
    bare = {name: whole[name] for name in ("now", "gpu", "host", "plan")}
    bare["host"] = {**bare["host"], "nvswitches": 0, "dkms": []}
    bare["gpu"]["holders"] = []
    for device in bare["gpu"]["devices"]:
        device["memory_used_mib"] = None
    assert found(bare) == []


def log(*lines: str) -> Change:
    return put(
        "kernel_log.lines",
        [f"2026-02-14T05:03:4{number}+0000 gpu-1 kernel: {line}" for number, line in enumerate(lines)],
    )


def query(old: str, new: str) -> Change:
    assert old in QUERY
    return put("nvidia.query.out", QUERY.replace(old, new, 1))


def both(*changes: Change) -> Change:
    def change(snapshot: dict[str, t.Any]) -> None:
        for one in changes:
            one(snapshot)

    return change


def b200(snapshot: dict[str, t.Any]) -> None:
    """An HGX B200: its NVSwitches are not on the PCI bus."""
    snapshot["gpu"]["model"] = "B200"
    snapshot["host"].update(nvswitches=0, nvlsm=True)


MISMATCH = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.95\n"
FAILED = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA "
    "driver is installed and running.\n"
)


NVIDIA_ROWS: list[tuple[str, str, Change, str]] = [
    # drivers
    ("driver-mismatch", "error", put("nvidia.query", {"rc": 18, "out": MISMATCH, "err": ""}), "nvidia-smi: Failed to "),
    ("driver-mismatch", "error", put("nvidia.libraries", ["580.95.05"]), f"module is {DRIVER}, libnvidia-ml.so is 580.95.05"),
    ("driver-failed", "error", put("nvidia.query", {"rc": 9, "out": FAILED, "err": ""}), "rc 9: NVIDIA-SMI has failed"),
    ("driver-hangs", "error", put("hung", {"nvidia-smi": 5.0}), "nvidia-smi said nothing within 5 s"),
    ("tool-hangs", "warn", put("hung", {"systemctl": 5.0}), "systemctl said nothing within 5 s"),
    ("engine-down", "error", both(put("hung", {"docker": 5.0}), put("engine.problem", "docker did not answer")), "docker did"),
    ("not-examined", "warn", put("unexamined", {"disks": "it did not end in time"}), "it did not end in time"),
    (
        "driver-branch",
        "error",
        both(
            put("gpu.driver.version", "545.23.08"),
            put("nvidia.libraries", ["545.23.08"]),
            put("nvidia.fabric_manager.version", "545.23.08"),
        ),
        "the nvidia driver is 545.23.08: lmsysorg/sglang:v0.5.10.post1 (CUDA 12.9.1) needs NVIDIA 575 or newer",
    ),
    (
        "fabric-manager-missing",
        "error",
        put("nvidia.fabric_manager", {"unit": {"LoadState": "not-found", "ActiveState": "inactive"}, "version": None}),
        "4 NVSwitches",
    ),
    ("fabric-manager-missing", "error", both(b200, put("nvidia.fabric_manager", {"unit": {}, "version": None})), "NVLink 5"),
    ("nvlsm-missing", "error", both(b200, put("host.nvlsm", False)), "8 x B200; no package nvlsm"),
    ("fabric-manager-version", "error", put("nvidia.fabric_manager.version", "530.30.02"), f"530.30.02, driver {DRIVER}"),
    (
        "fabric-manager-stopped",
        "error",
        put("nvidia.fabric_manager.unit", {"LoadState": "loaded", "ActiveState": "failed", "Result": "exit-code"}),
        "nvidia-fabricmanager.service is failed, result exit-code",
    ),
    ("nouveau-loaded", "error", put("host.modules.nouveau.loaded", "in-tree"), "/sys/module/nouveau"),
    ("kernel-headers", "error", put("host.headers", False), f"DKMS has nvidia {DRIVER}; /lib/modules/6.1.0-40-amd64/build"),
    ("dkms-not-built", "error", put("host.kernel", "6.1.0-41-amd64"), "none installed for 6.1.0-41-amd64"),
    ("gpu-problem", "error", put("gpu.problems", ["MIG is on; a plan needs whole GPUs: run `nvidia-smi -mig 0`"]), "MIG is on"),
    (
        "gpu-hidden",
        "error",
        put("gpu.hidden", [{"index": 3, "pci_address": "0000:61:00.0", "reason": "it is bound to vfio-pci: bind it"}]),
        "0000:61:00.0: it is bound to vfio-pci",
    ),
    ("gpu-hidden", "error", put("gpu.devices.2.nodes", []), "no node under /dev"),
    # GPUs: messages from NVIDIA's own documents on memory errors, NVSentinel#155, gpud#1160
    (
        "xid-errors",
        "error",
        log("NVRM: Xid (PCI:0000:44:00): 79, GPU has fallen off the bus."),
        "1 x at 2026-02-14T05:03:40+0000, at 0000:44:00: GPU has fallen off the bus.",
    ),
    (
        "xid-errors",
        "error",
        log(
            "NVRM: Xid (PCI:0000:01:00): 94, pid=7194, Contained: CE User Channel (0x9). RST: No, D-RST: No",
            "NVRM: Xid (PCI:0000:02:00 GPU-I:05): 94, pid=7194, Contained: CE User Channel (0x9). RST: No, D-RST: No",
        ),
        "2 x from 2026-02-14T05:03:40+0000 to 2026-02-14T05:03:41+0000, at 0000:01:00, 0000:02:00: pid=7194, Contained",
    ),
    ("xid-errors", "warn", log("NVRM: Xid (PCI:0000:01:00): 31, pid=1, name=python3, Ch 00000008"), "name=python3"),
    (
        "xid-errors",
        "error",
        log("NVRM: The NVIDIA GPU 0000:b3:00.0", "NVRM: fallen off the bus and is not responding to commands."),
        "fallen off the bus and is not responding",
    ),
    (
        "xid-errors",
        "error",
        log("nvidia-nvswitch0: SXid (PCI:0000:c1:00.0): 24007, Fatal, Link 44 sourcetrack timeout error"),
        "Fatal, Link 44",
    ),
    (
        "xid-errors",
        "warn",
        log("nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 12028, Non-fatal, Link 32 egress non-posted PRIV error"),
        "Non-fatal, Link 32",
    ),
    (
        "xid-errors",
        "error",
        log(
            "nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 20034, Non-fatal, Link 30 LTSSM Fault Up",
            "nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 20034, Fatal, Link 30 LTSSM Fault Up",
        ),
        "2 x from",
    ),
    ("ecc-errors", "error", query("DRAM Uncorrectable            : 0", "DRAM Uncorrectable            : 3"), "DRAM Uncorrectable 3"),
    (
        "clocks-throttled",
        "error",
        query("HW Thermal Slowdown           : Not Active", "HW Thermal Slowdown           : Active"),
        "HW Thermal Slowdown: 0000:1b:00.0",
    ),
    (
        "clocks-throttled",
        "warn",
        query("SW Thermal Slowdown               : Not Active", "SW Thermal Slowdown               : Active"),
        "SW Thermal Slowdown: 0000:1b:00.0",
    ),
    (
        "power-cap",
        "warn",
        query("Current Power Limit               : 700.00 W", "Current Power Limit               : 450.00 W"),
        "0000:1b:00.0: 450 W of 700 W",
    ),
    ("vram-held", "error", both(put("gpu.holders", []), put("gpu.devices.0.memory_used_mib", 140_000)), "140000 MiB of 143771"),
    ("vram-held", "warn", put("gpu.holders.0.memory_mib", 8 * 60_000), "808000 MiB in use, 480000 MiB held by python3"),
    # servers
    ("engine-down", "error", put("engine.problem", "docker info: Cannot connect to the Docker daemon"), "Cannot connect"),
    (
        "gpus-invisible",
        "error",
        put("containers.0.environment", {"CUDA_VISIBLE_DEVICES": "0,1"}),
        "CUDA_VISIBLE_DEVICES='0,1', and the container was given 8 GPUs",
    ),
    (
        "gpus-invisible",
        "warn",
        put("environments", {"docker.service": {"CUDA_VISIBLE_DEVICES": ""}}),
        "CUDA_VISIBLE_DEVICES='', and the host has 8 GPUs",
    ),
    (
        "gpu-lost",
        "error",
        put("containers.0.nodes", {f"/dev/nvidia{number}": False for number in range(8)} | {"/dev/nvidiactl": False}),
        "systemd was reloaded 60 s ago, after the container's start, and the unit of its cgroup allows no /dev/nvidia0",
    ),
    (
        "gpu-lost",
        "error",
        both(put("containers.0.cgroup", "v1"), put("containers.0.nodes./dev/nvidia3", False), put("reloaded", None)),
        "its device cgroup allows no /dev/nvidia3",
    ),
    ("gpu-lost", "error", put("containers.0.said_lost", "2026-02-14T05:03:41+0000"), "'Failed to initialize NVML: Unknown Error'"),
    ("gpu-lost", "error", put("containers.0.given", ["/dev/nvidia9"]), "/dev/nvidia9 is no longer in its /dev"),
    ("shm-small", "error", put("containers.0.shm_bytes", 64 << 20), "64 MiB; the published run line has 32 GiB"),
    ("shm-small", "error", both(put("containers.0.ipc", "host"), put("shm_bytes", 8 << 30)), "8192 MiB; the published"),
    (
        "unit-failed",
        "error",
        put("instances.0.unit", {"ActiveState": "failed", "Result": "start-limit-hit", "NRestarts": "5"}),
        "sglang@0.service is failed, result start-limit-hit, 5 restarts",
    ),
    (
        "unit-looping",
        "error",
        put("instances.0.unit", {"ActiveState": "activating", "SubState": "auto-restart", "NRestarts": "1"}),
        "is activating (auto-restart) after 1 restart",
    ),
    (
        "unit-looping",
        "error",
        both(put("instances.0.unit.NRestarts", "4"), put("instances.0.since", NOW - 60)),
        "is active (running) after 4 restarts",
    ),
    ("drift", "warn", put("instances.0.written", NOW - 10), "0's configuration was written after its container's start"),
    ("drift", "warn", put("instances.0.image", "sha256:two"), "0.env has the image sha256:two, the record sha256:one"),
    ("drift", "warn", put("instances.0.unit.NeedDaemonReload", "yes"), "has not read the newest unit file of sglang@0"),
    ("drift", "warn", both(put("state", {}), put("state_torn", "/var/lib/state.json")), "/var/lib/state.json is not JSON"),
    # disks
    ("disk-image", "error", put("images", []), "/var/lib/docker: 21.0 GB free on /, 50 GB needed"),
    ("disk-full", "error", put("disks.image.free_mib", 300), "/var/lib/docker: 300 MiB free of 900000 MiB on /"),
]  # fmt: skip


AMD_ROWS: list[tuple[str, str, Change, str]] = [
    (
        "driver-branch",
        "error",
        put("gpu.driver.version", "6.10.5"),
        "the amdgpu driver is 6.10.5: lmsysorg/sglang:v0.5.10.post1-rocm720-mi30x (ROCm 7.2) needs amdgpu 30.10",
    ),
    (
        "render-gid",
        "error",
        both(
            put("gpu.render_gid", 992),
            put("nodes", {f"/dev/dri/renderD{128 + 8 * number}": {"gid": 992, "mode": 0o660} for number in range(8)}),
        ),
        "its container sglang-0 has the groups 105, 44; /dev/dri/renderD128, /dev/dri/renderD136 and 6 more belong to 992",
    ),
    (
        "render-gid",
        "error",
        both(
            put("containers", []),
            put("instances.0.options.-1", "--group-add=44"),
            lambda it: it["instances"][0].update(
                options=[word for word in it["instances"][0]["options"] if word != "--group-add=105"]
            ),
            lambda it: it["state"]["instances"].clear(),
        ),
        "/etc/sglang/0.env has the groups 44",
    ),
    ("render-gid", "warn", put("gpu.render_gid", 106), "group 105; render is 106 in /etc/group"),
    # amdgpu's own words: amdgpu_ras.c; ROCm#4021 for the second
    (
        "ras-errors",
        "error",
        log("amdgpu 0000:c6:00.0: amdgpu: 2 uncorrectable hardware errors detected in umc block"),
        "1 x at 2026-02-14T05:03:40+0000, at 0000:c6:00.0: 2 uncorrectable",
    ),
    (
        "ras-errors",
        "error",
        log("amdgpu 0000:1c:00.0: {1}uncorrectable hardware error(ERREVENT_ATHUB_INTERRUPT) detected!"),
        "at 0000:1c:00.0",
    ),
    ("ras-errors", "error", log("amdgpu 0000:05:00.0: amdgpu: GPU reset begin!"), "GPU reset begin!"),
    ("ecc-errors", "error", put("amd.4.uncorrectable.umc", 2), "uncorrectable: umc 2"),
    ("clocks-forced", "warn", put("amd.0.level", "low"), "low in power_dpm_force_performance_level"),
    ("power-cap", "warn", put("amd.0.cap_w", 500.0), "500 W of 750 W"),
    ("vram-held", "error", both(put("gpu.holders", []), put("gpu.devices.0.memory_used_mib", 190_000)), "190000 MiB of 196592"),
    ("gpus-invisible", "error", put("containers.0.environment", {"HIP_VISIBLE_DEVICES": "0"}), "HIP_VISIBLE_DEVICES='0'"),
    (
        "gpu-missing",
        "error",
        both(put("gpu.count", 0), put("gpu.devices", []), put("gpu.vendor", "none"), put("gpu.holders", []), put("amd", [])),
        "no GPU of AMD or NVIDIA on the PCI bus",
    ),
    (
        "not-examined",
        "error",
        both(
            put("gpu", {**GpuFacts().to_dict(), "vendor": "none"}),
            put("nodes", {}),
            put("amd", []),
            put("containers", []),
            put("unexamined", {"gpu": "it did not end in time"}),
        ),
        "it did not end in time",
    ),
    (
        "driver-missing",
        "error",
        put("gpu.driver", {"name": None, "version": None, "loaded": False}),
        "no /sys/module/amdgpu; the module is not installed",
    ),
]  # fmt: skip


def _check(vendor: str, identity: str, severity: str, change: Change, evidence: str) -> None:
    snapshot = copy.deepcopy(healthy(vendor))
    change(snapshot)
    findings = found(snapshot)
    assert [(item["id"], item["severity"]) for item in findings] == [(identity, severity)], findings
    [finding] = findings
    assert evidence in finding["evidence"]
    assert finding["what"]
    assert finding["remedy"]
    [line] = finding_lines(findings)
    assert line.startswith(f"{severity} {identity}: ")


@pytest.mark.parametrize(("identity", "severity", "change", "evidence"), NVIDIA_ROWS)
def test_nvidia(identity: str, severity: str, change: Change, evidence: str) -> None:
    _check("nvidia", identity, severity, change, evidence)


@pytest.mark.parametrize(("identity", "severity", "change", "evidence"), AMD_ROWS)
def test_amd(identity: str, severity: str, change: Change, evidence: str) -> None:
    _check("amd", identity, severity, change, evidence)


NOTHING: list[tuple[str, str, Change]] = [
    ("a branch that the image takes by its own list", "nvidia", both(
        put("gpu.driver.version", "570.133.20"), put("nvidia.libraries", ["570.133.20"]),
        put("nvidia.fabric_manager.version", "570.133.20"))),
    ("libraries of two drivers side by side, as Debian has", "nvidia", put("nvidia.libraries", [DRIVER, "535.247.01"])),
    ("GPUs without NVSwitches need no Fabric Manager", "nvidia", both(
        put("host.nvswitches", 0), put("nvidia.fabric_manager", {"unit": {}, "version": None}))),
    ("an HGX B200 with its Fabric Manager and subnet manager", "nvidia", b200),
    ("one B200 that was handed to a virtual machine", "nvidia", both(
        b200, put("host.nvlsm", False), put("nvidia.fabric_manager", {"unit": {}, "version": None}), put("gpu.count", 1))),
    ("a Fabric Manager that could not be looked at", "nvidia", lambda snapshot: snapshot["nvidia"].pop("fabric_manager")),
    ("errors of past days that are in no volatile counter", "nvidia", query("Uncorrectable            : 7", "Uncorrectable            : 99")),
    ("a variable that shows all GPUs", "nvidia", put("containers.0.environment", {"CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7"})),
    ("a daemon-reload before the container's start", "nvidia", both(
        put("reloaded", NOW - 9000), put("containers.0.nodes./dev/nvidia0", False))),
    ("a privileged container keeps its devices", "nvidia", both(
        put("containers.0.privileged", True), put("containers.0.nodes./dev/nvidia0", False))),
    ("a server that was restarted long ago", "nvidia", put("instances.0.unit.NRestarts", "4")),
    ("a container that has ended", "nvidia", both(
        put("containers.0.running", False), put("containers.0.shm_bytes", 1))),
    ("the kernel's own amdgpu tells no version", "amd", put("gpu.driver.version", None)),
    ("nodes that everybody may open", "amd", put(
        "nodes", {f"/dev/dri/renderD{128 + 8 * number}": {"gid": 0, "mode": 0o666} for number in range(8)})),
    ("an idle AMD GPU's own memory", "amd", both(put("gpu.holders", []), lambda it: [
        device.update(memory_used_mib=283) for device in it["gpu"]["devices"]])),
    ("weights that are there although no server answers", "nvidia", both(
        put("instances", []), put("containers", []), put("state", {}), put("gpu.holders", []),
        lambda it: [device.update(memory_used_mib=600) for device in it["gpu"]["devices"]],
        put("weights", {"MiniMaxAI/MiniMax-M2.7": 230_200_000_000}))),
]  # fmt: skip


@pytest.mark.parametrize(("vendor", "change"), [row[1:] for row in NOTHING], ids=[row[0] for row in NOTHING])
def test_what_is_no_fault(vendor: str, change: Change) -> None:
    snapshot = healthy(vendor)
    change(snapshot)
    assert found(snapshot) == []
