# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor on nodes of the lab that serve: no finding while they are healthy, and each fault by its name.

Each fault is made alone, and the doctor must find that and nothing else. The nodes are this file's own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fleetlab.settings import AUTO, Node
from tests.lab.support import BIN, Fleet, Ran, eventually, fresh_nodes, run

pytestmark = pytest.mark.lab

OWNER = "doctor"
NV, AMD = "dr-nv", "dr-amd"
NODES = (
    Node(NV, "bookworm", "h200:8", AUTO, ("gpu_nodes", "nvidia"), owner=OWNER),
    Node(AMD, "trixie", "mi300x:8", AUTO, ("gpu_nodes", "amd"), owner=OWNER),
)
#: seconds that a doctor may take for all nodes, the controller's own part included
QUICK = 10


@pytest.fixture(scope="module")
def serving(lab_supply: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A node of each vendor with its server."""
    with fresh_nodes(OWNER, NODES, tmp_path_factory) as fleet:
        fleet.playbook("deploy.yml", "-l", "gpu_nodes").succeeded()
        yield fleet


def doctor(fleet: Fleet, *words: str, inventory: Path | None = None) -> Ran:
    return run(
        BIN / "sglang-fleet",
        *("doctor", "--inventory", inventory or fleet.inventory, *words),
        env={"XDG_CACHE_HOME": str(fleet.scratch / "cache")},
    )


def examined(fleet: Fleet, *words: str, code: int) -> dict[str, Any]:
    done = doctor(fleet, *words, "--json")
    assert done.rc == code, str(done)
    hosts: dict[str, Any] = json.loads(done.out)["hosts"]
    return hosts


# --- Healthy nodes --------------------------------------------------------------------------------------------------


def test_nothing_on_healthy_nodes(serving: Fleet) -> None:
    before = {name: (serving.started(name), serving.written(name)) for name in (NV, AMD)}
    begun = time.monotonic()
    hosts = examined(serving, code=0)
    took = time.monotonic() - begun
    for host in hosts.values():
        assert (host["status"], host["findings"], host["error"]) == ("healthy", [], None)
        assert host["seconds"] < QUICK
    assert set(hosts) == {NV, AMD}
    assert took < 2 * QUICK, f"{took:.1f} s for two nodes"
    assert {name: (serving.started(name), serving.written(name)) for name in (NV, AMD)} == before


@pytest.mark.parametrize("mode", [[], ["--check"]], ids=["run", "check mode"])
def test_the_playbook_says_the_same_and_changes_nothing(serving: Fleet, mode: list[str]) -> None:
    play = serving.playbook("playbooks/doctor.yml", *mode).succeeded()
    assert play.changed() == {NV: 0, AMD: 0}, str(play)
    assert play.out.count("healthy") == 2


# --- Faults ---------------------------------------------------------------------------------------------------------

STATE = "/run/fakegpu/state.json"


def pretend(**options: str) -> str:
    """A script that has the simulated GPUs take options of the lab while the node runs."""
    return f"""cp -n {STATE} /root/state.json
python3 - << 'EOF'
import json
state = json.load(open("/root/state.json"))
state["options"].update({options!r})
state["driver"] = state["options"].get("driver", state["driver"])
json.dump(state, open("{STATE}", "w"))
EOF
"""


AS_BEFORE = f"cp /root/state.json {STATE}\n"
# A container from the node's own files, with a name of ours: there is no small image to pull.
STRAY = """docker image inspect lives:on > /dev/null 2>&1 || \
  tar -C / -c bin lib lib64 usr/bin usr/lib64 usr/lib/x86_64-linux-gnu | docker import - lives:on > /dev/null
docker run --detach --name sglang-stray {} lives:on sleep 3600 > /dev/null
"""
NO_STRAY = "docker rm --force sglang-stray > /dev/null\n"
# The kernel's log of a node is that of the machine which holds the lab: nothing is written to it.
LOG = """cat > /usr/local/sbin/dmesg << 'EOF'
#!/bin/sh
echo '2026-02-14T05:03:41,145363+00:00 {}'
EOF
chmod 755 /usr/local/sbin/dmesg
"""
NO_LOG = "rm /usr/local/sbin/dmesg\n"


@dataclass(frozen=True)
class Fault:
    """id: of the one finding. says: a part of its evidence. begin and end: scripts for a shell of root on the node.

    also: what the fault brings about besides.
    """

    id: str
    host: str
    says: str
    begin: str
    end: str
    severity: str = "error"
    also: tuple[str, ...] = ()


FAULTS = (
    Fault(
        "driver-mismatch",
        NV,
        "Failed to initialize NVML: Driver/library version mismatch; the loaded module is 575.57.08, "
        "libnvidia-ml.so is 580.95.05",
        "mkdir -p /usr/share/fakegpu; echo 'nvidia 580.95.05' > /usr/share/fakegpu/library\n"
        "touch /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.95.05",
        "rm /usr/share/fakegpu/library /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.95.05",
    ),
    Fault(
        "driver-branch",
        NV,
        "the nvidia driver is 545.23.08",
        pretend(driver="545.23.08") + "echo 545.23.08 > /sys/module/nvidia/version",
        AS_BEFORE + "echo 575.57.08 > /sys/module/nvidia/version",
    ),
    Fault("driver-hangs", NV, "nvidia-smi said nothing within", pretend(hang="yes"), AS_BEFORE),
    Fault(
        "fabric-manager-stopped",
        NV,
        "nvidia-fabricmanager.service is inactive; 4 NVSwitches",
        "systemctl stop nvidia-fabricmanager",
        "systemctl start nvidia-fabricmanager",
    ),
    Fault(
        "fabric-manager-version",
        NV,
        "Fabric Manager 570.133.20, driver 575.57.08",
        pretend(fabricmanager="570.133.20"),
        AS_BEFORE,
    ),
    Fault(
        "fabric-manager-missing",
        NV,
        "no unit nvidia-fabricmanager.service",
        "systemctl stop nvidia-fabricmanager\n"
        "mv /run/systemd/system/nvidia-fabricmanager.service /usr/bin/nv-fabricmanager /root; systemctl daemon-reload",
        "mv /root/nvidia-fabricmanager.service /run/systemd/system; mv /root/nv-fabricmanager /usr/bin\n"
        "systemctl daemon-reload; systemctl start nvidia-fabricmanager",
    ),
    Fault("nouveau-loaded", NV, "/sys/module/nouveau", "mkdir /sys/module/nouveau", "rmdir /sys/module/nouveau"),
    Fault(
        "kernel-headers",
        NV,
        "DKMS has nvidia 575.57.08; /lib/modules/",
        "mkdir -p /var/lib/dkms/nvidia/575.57.08/source",
        "rm -r /var/lib/dkms",
    ),
    Fault(
        "gpus-invisible",
        NV,
        "CUDA_VISIBLE_DEVICES='0,1', and the host has 8 GPUs",
        "systemctl set-environment CUDA_VISIBLE_DEVICES=0,1",
        "systemctl unset-environment CUDA_VISIBLE_DEVICES",
        "warn",
    ),
    Fault(
        "gpus-invisible",
        AMD,
        "HIP_VISIBLE_DEVICES='0', and the container was given 2 GPUs",
        STRAY.format(
            "--shm-size=16g --env HIP_VISIBLE_DEVICES=0 --device /dev/kfd --device /dev/dri/renderD160 "
            "--device /dev/dri/renderD168"
        ),
        NO_STRAY,
    ),
    Fault(
        "gpu-lost",
        NV,
        "the unit of its cgroup allows no /dev/nvidia0",
        # The simulated nodes are /dev/null by another name, which every container may open: this one is a GPU's.
        STRAY.format("--shm-size=32g --gpus '\"device=0\"'")
        + "docker exec sglang-stray sh -c 'rm /dev/nvidia0; mknod /dev/nvidia0 c 195 0'\nsystemctl daemon-reload",
        NO_STRAY,
    ),
    Fault(
        "shm-small",
        AMD,
        "64 MiB; the published run line has 16 GiB",
        STRAY.format("--device /dev/kfd --device /dev/dri/renderD160"),
        NO_STRAY,
    ),
    Fault(
        "vram-held",
        AMD,
        "100000 MiB of 196592 MiB in use on each, no holder",
        "sleep 60 & python3 -I /usr/local/lib/fakegpu/hold.py $! 100000 5; kill $!",
        "echo 0 > /sys/bus/pci/devices/0000:a6:00.0/mem_info_vram_used; rm -r /sys/class/kfd/kfd/proc/*",
    ),
    Fault(
        "render-gid",
        AMD,
        "/dev/dri/renderD128, /dev/dri/renderD136 and 2 more belong to 2222",
        "cp -p /etc/group /root/group; groupmod --gid 2222 render; chgrp 2222 /dev/dri/renderD*",
        "cp -p /root/group /etc/group; chgrp render /dev/dri/renderD*",
    ),
    Fault(
        "xid-errors",
        NV,
        "1 x at 2026-02-14T05:03:41,145363+00:00, at 0000:1b:00: pid=7194, Contained: CE User Channel",
        LOG.format("NVRM: Xid (PCI:0000:1b:00): 94, pid=7194, Contained: CE User Channel (0x9). RST: No, D-RST: No"),
        NO_LOG,
    ),
    Fault(
        "ras-errors",
        AMD,
        "2 uncorrectable hardware errors detected in umc block",
        LOG.format("amdgpu 0000:c6:00.0: amdgpu: 2 uncorrectable hardware errors detected in umc block"),
        NO_LOG,
    ),
    Fault("ecc-errors", NV, "0000:1b:00.0: DRAM Uncorrectable 3", pretend(ecc="3"), AS_BEFORE),
    Fault("clocks-throttled", NV, "HW Thermal Slowdown: 0000:1b:00.0", pretend(throttle="yes"), AS_BEFORE),
    Fault("power-cap", NV, "0000:1b:00.0: 450 W of 700 W", pretend(powercap="450"), AS_BEFORE, "warn"),
    Fault(
        "power-cap",
        AMD,
        "0000:05:00.0: 500 W of 750 W",
        "echo 500000000 > /sys/bus/pci/devices/0000:05:00.0/hwmon/hwmon0/power1_cap",
        "echo 750000000 > /sys/bus/pci/devices/0000:05:00.0/hwmon/hwmon0/power1_cap",
        "warn",
    ),
    Fault(
        "drift",
        AMD,
        "0's configuration was written after its container's start",
        "stat --format @%Y /etc/sglang/0.yaml > /root/written; touch /etc/sglang/0.yaml",
        'touch --date "$(cat /root/written)" /etc/sglang/0.yaml',
        "warn",
    ),
    Fault(
        "server-silent",
        AMD,
        "/health: no answer within",
        # The lab's weights are in its images: only an answer tells that they are there, so a small disk shows now.
        "mount -t tmpfs -o size=64m tmpfs /var/lib/sglang-fleet/huggingface; docker pause sglang-0",
        "docker unpause sglang-0; umount /var/lib/sglang-fleet/huggingface",
        "warn",
        ("disk-weights",),
    ),
)


@contextmanager
def broken(fleet: Fleet, fault: Fault) -> Iterator[None]:
    try:
        fleet.sh(fault.host, "set -e\n" + fault.begin)
        yield
    finally:
        fleet.sh(fault.host, fault.end)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.id} {fault.host}")
def test_a_fault_is_found_by_its_name(serving: Fleet, fault: Fault) -> None:
    with broken(serving, fault):
        host = examined(serving, "-l", fault.host, code=1)[fault.host]
    findings = {item["id"]: item for item in host["findings"]}
    assert sorted(findings) == sorted([fault.id, *fault.also]), json.dumps(host["findings"], indent=1)
    finding = findings[fault.id]
    assert set(finding) == {"id", "severity", "what", "evidence", "remedy"}
    assert fault.says in finding["evidence"]
    assert finding["severity"] == fault.severity
    assert finding["what"]
    assert finding["remedy"]
    assert host["seconds"] < QUICK


def test_a_stopped_server_and_no_room_for_its_weights(serving: Fleet) -> None:
    """While a server answers its weights are there; a small disk matters when it does not."""
    weights = "/var/lib/sglang-fleet/huggingface"
    serving.sh(AMD, f"systemctl stop sglang@0; mount -t tmpfs -o size=64m tmpfs {weights}")
    try:
        found = {item["id"]: item for item in examined(serving, "-l", AMD, code=1)[AMD]["findings"]}
    finally:
        serving.sh(AMD, f"umount {weights}; systemctl start sglang@0")
    assert set(found) == {"unit-stopped", "disk-weights"}
    assert f"{weights}: 0.1 GB free on {weights}, 230 GB needed" in found["disk-weights"]["evidence"]
    eventually("the server answers again", lambda: serving.serves(AMD))


def test_a_server_that_crashes_again_and_again(serving: Fleet) -> None:
    script = "/usr/local/lib/sglang-fleet/before-start"
    serving.sh(AMD, f"systemctl stop sglang@0; chmod a-x {script}; systemctl start --no-block sglang@0; sleep 2")
    try:
        found = [item["id"] for item in examined(serving, "-l", AMD, code=1)[AMD]["findings"]]
        assert "unit-looping" in found
        for _again in range(5):
            serving.sh(AMD, "systemctl start sglang@0", check=False)
        found = [item["id"] for item in examined(serving, "-l", AMD, code=1)[AMD]["findings"]]
        assert "unit-failed" in found
    finally:
        serving.sh(AMD, f"chmod a+x {script}; systemctl reset-failed sglang@0; systemctl start sglang@0")
    eventually("the server answers again", lambda: serving.serves(AMD))


def test_a_plan_that_is_not_to_be_had_is_a_finding(serving: Fleet) -> None:
    (serving.inventory / "host_vars").mkdir(exist_ok=True)
    layer = serving.inventory / "host_vars" / f"{NV}.yml"
    layer.write_text("fleet_layout: 1x3\n")
    try:
        hosts = examined(serving, code=1)
    finally:
        layer.unlink()
    [finding] = hosts[NV]["findings"]
    assert finding["id"] == "no-plan"
    assert "legal" in finding["evidence"]
    assert hosts[AMD]["findings"] == []


# --- Exit statuses --------------------------------------------------------------------------------------------------


def test_a_node_that_does_not_answer(serving: Fleet) -> None:
    """Findings elsewhere are told all the same."""
    container = serving.nodes[NV].container
    fault = next(fault for fault in FAULTS if (fault.id, fault.host) == ("power-cap", AMD))
    with broken(serving, fault):
        run("docker", "pause", container).succeeded()
        try:
            hosts = examined(serving, code=2)
        finally:
            run("docker", "unpause", container).succeeded()
    assert (hosts[NV]["status"], hosts[NV]["findings"]) == ("unreachable", [])
    assert hosts[NV]["error"]
    assert [item["id"] for item in hosts[AMD]["findings"]] == ["power-cap"]


def test_a_bad_inventory(serving: Fleet, tmp_path: Path) -> None:
    hosts = serving.inventory / "hosts.yml"
    (tmp_path / "hosts.yml").write_text(hosts.read_text())
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text("fleet_modell: M2.7\n")
    done = doctor(serving, inventory=tmp_path)
    assert done.rc == 2, str(done)
    assert "fleet_modell" in done.out


def test_the_table(serving: Fleet) -> None:
    fault = next(fault for fault in FAULTS if (fault.id, fault.host) == ("power-cap", AMD))
    with broken(serving, fault):
        done = doctor(serving)
    assert done.rc == 1, str(done)
    lines = done.out.splitlines()
    assert lines[:2] == ["dr-amd  1 warning: power-cap", "dr-nv   healthy"]
    assert "warn power-cap  dr-amd" in lines
    assert "  found  0000:05:00.0: 500 W of 750 W" in lines
    assert any(line.startswith("  do     ") for line in lines)


def test_healthy_again(serving: Fleet) -> None:
    """Whatever was broken above was mended, and the doctor itself has left nothing behind."""
    assert {name: host["findings"] for name, host in examined(serving, code=0).items()} == {NV: [], AMD: []}
