# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings that hang together, and the words that they are told and read in."""

from __future__ import annotations

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._doctor import diagnose
from ansible_collections.sglang.fleet.plugins.module_utils._doctor_common import gpus_named, numbers, some
from ansible_collections.sglang.fleet.plugins.module_utils._doctor_gpu import parse_query
from ansible_collections.sglang.fleet.plugins.module_utils._doctor_server import docker_bytes, hides
from tests.unit.plugins.module_utils.fixtures.doctor import (
    CATALOGUE,
    NOW,
    QUERY,
    found,
    healthy,
)

# The same of drivers before 530: other names.
OLD_QUERY = """
GPU 00000000:1B:00.0
    Performance State               : P0
    Clocks Throttle Reasons
        Idle                        : Not Active
        HW Slowdown                 : Active
            HW Thermal Slowdown     : Not Active
            HW Power Brake Slowdown : Active
        SW Thermal Slowdown         : Not Active
    Power Readings
        Power Management            : Supported
        Power Limit                 : 250.00 W
        Default Power Limit         : 300.00 W
"""


# --- More than one finding, and words ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("since", "severity", "age"), [(NOW - 300, "warn", "started 5 min ago"), (NOW - 7200, "error", "started 2 h ago")]
)
def test_a_silent_server_may_be_loading(since: float, severity: str, age: str) -> None:
    snapshot = healthy("nvidia")
    snapshot["weights"] = {"MiniMaxAI/MiniMax-M2.7": 240_000_000_000}
    snapshot["instances"][0].update(health=503, since=since)
    [finding] = found(snapshot)
    assert (finding["id"], finding["severity"]) == ("server-silent", severity)
    assert finding["evidence"] == f"GET http://10.0.0.1:30000/health: status 503, {age}"
    assert ("may still be loading" in finding["what"]) == (severity == "warn")


def test_a_stopped_server_is_one_that_the_record_knows() -> None:
    snapshot = healthy("nvidia")
    snapshot["weights"] = {"MiniMaxAI/MiniMax-M2.7": 240_000_000_000}
    snapshot["instances"][0].update(health=None, unit={"ActiveState": "inactive"})
    snapshot["containers"] = []
    assert [item["id"] for item in found(snapshot)] == ["unit-stopped"]
    snapshot["state"] = {}
    assert found(snapshot) == []


def test_an_instance_whose_files_are_gone_drifted() -> None:
    snapshot = healthy("nvidia")
    snapshot["instances"] = []
    findings = {item["id"]: item["evidence"] for item in found(snapshot)}
    assert findings["drift"] == "the record has instance 0, and /etc/sglang/0.env is gone"


def test_image_and_weights_on_one_disk_are_added_up() -> None:
    snapshot = healthy("nvidia")
    snapshot.update(instances=[], containers=[], images=[], state={})
    snapshot["gpu"]["holders"] = []
    for device in snapshot["gpu"]["devices"]:
        device["memory_used_mib"] = 0
    for disk in snapshot["disks"].values():
        disk.update(mount="/", free_mib=250_000)
    findings = {item["id"]: item["evidence"] for item in found(snapshot)}
    assert findings == {
        "disk-image": "/var/lib/docker: 262.1 GB free on /, 50 GB needed, with all that is due there 280 GB",
        "disk-weights": "/srv/weights: 262.1 GB free on /, 230 GB needed, with all that is due there 280 GB",
    }
    for disk in snapshot["disks"].values():
        disk["free_mib"] = 280_000
    assert found(snapshot) == []


def test_the_applied_image_counts_where_nobody_planned() -> None:
    snapshot = healthy("nvidia")
    snapshot["gpu"]["driver"]["version"] = snapshot["nvidia"]["fabric_manager"]["version"] = "545.23.08"
    snapshot["nvidia"]["libraries"] = ["545.23.08"]
    snapshot.pop("plan")
    assert [item["id"] for item in diagnose(snapshot, CATALOGUE)] == ["driver-branch"]
    snapshot["state"] = {}
    assert diagnose(snapshot, CATALOGUE) == []


def test_a_deployment_is_promised_only_where_it_helps() -> None:
    """driver_plan mends Fabric Manager of a driver that stays, and nouveau where it alone is loaded."""
    snapshot = healthy("nvidia")
    snapshot["nvidia"]["fabric_manager"]["version"] = "530.30.02"
    snapshot["host"]["modules"]["nouveau"]["loaded"] = "in-tree"
    remedies = {item["id"]: item["remedy"] for item in found(snapshot)}
    assert remedies["fabric-manager-version"].endswith(
        "; or deploy, which does it where the driver is from packages and fleet_driver is not keep"
    )
    assert remedies["nouveau-loaded"].endswith("build the initramfs anew and reboot")
    snapshot["gpu"]["driver"]["loaded"] = False
    remedies = {item["id"]: item["remedy"] for item in found(snapshot)}
    assert "or deploy, which does it" in remedies["nouveau-loaded"]


def test_a_refused_plan_is_a_finding_unless_another_says_why() -> None:
    snapshot = healthy("nvidia")
    [finding] = found(snapshot, refused="tp 3 is not legal")
    assert (finding["id"], finding["evidence"]) == ("no-plan", "tp 3 is not legal")
    snapshot["gpu"]["problems"] = ["MIG is on; a plan needs whole GPUs: run `nvidia-smi -mig 0`"]
    assert [item["id"] for item in found(snapshot, refused="MIG is on")] == ["gpu-problem"]


def test_errors_come_first() -> None:
    snapshot = healthy("nvidia")
    snapshot["instances"][0]["written"] = NOW
    snapshot["containers"][0]["shm_bytes"] = 1
    assert [item["severity"] for item in found(snapshot)] == ["error", "warn"]


def test_an_old_drivers_words_are_understood() -> None:
    snapshot = healthy("nvidia")
    snapshot["nvidia"]["query"]["out"] = OLD_QUERY
    assert {item["id"]: item["evidence"] for item in found(snapshot)} == {
        "clocks-throttled": "HW Power Brake Slowdown: 0000:1b:00.0; HW Slowdown: 0000:1b:00.0",
        "power-cap": "0000:1b:00.0: 250 W of 300 W",
    }


def test_nvidia_smis_long_answer_is_read_by_its_indentation() -> None:
    gpus = parse_query(QUERY)
    assert set(gpus) == {"0000:1b:00.0", "0000:43:00.0"}
    values = gpus["0000:1b:00.0"]
    assert values["Clocks Event Reasons/HW Slowdown/HW Thermal Slowdown"] == "Not Active"
    assert values["ECC Errors/Volatile/DRAM Uncorrectable"] == "0"
    assert values["ECC Errors/Aggregate/DRAM Uncorrectable"] == "7"
    assert values["GPU Power Readings/Current Power Limit"] == "700.00 W"
    assert values["Module Power Readings/Current Power Limit"] == "N/A"
    assert parse_query("No devices were found") == {}


@pytest.mark.parametrize(
    ("value", "count", "hidden"),
    [
        ("0,1,2,3", 4, False),
        ("0,1,2", 4, True),
        ("", 1, True),
        ("-1", 1, True),
        ("0,-1,1,2,3", 4, True),  # what follows an invalid entry is not seen
        ("0,0,0,0", 4, True),
        ("NoDevFiles", 1, True),
        ("GPU-f15ae561-21b1-6003-c768-861fc285203b", 1, False),
    ],
)
def test_hides(value: str, count: int, hidden: bool) -> None:
    assert hides(value, count) is hidden


@pytest.mark.parametrize(
    ("text", "size"), [("32g", 32 << 30), ("512M", 512 << 20), ("67108864", 67108864), ("1.5gb", 3 << 29), ("?", None)]
)
def test_docker_bytes(text: str, size: int | None) -> None:
    assert docker_bytes(text) == size


def test_words() -> None:
    assert some(["a", "b", "c", "d", "e"]) == "a, b, c, d and 1 more"
    assert numbers([0, 1, 2, 5]) == "0-2,5"
    assert (gpus_named([3]), gpus_named([0, 1])) == ("GPU 3", "GPUs 0-1")
