# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole fleet's plan and its difference from what runs, on nodes of the lab: these tests build on one another."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from tests.lab.support import BIN, GPU_NODES, Fleet, Ran, run

pytestmark = pytest.mark.lab

PLAYBOOK = "playbooks/plan.yml"
SERVED = "nvidia-01"


def plan(fleet: Fleet, *words: str) -> Ran:
    return run(
        BIN / "sglang-fleet",
        *("plan", "--inventory", fleet.inventory, *words),
        env={"XDG_CACHE_HOME": str(fleet.scratch / "cache")},
    )


def planned(fleet: Fleet, *words: str, code: int = 0) -> dict[str, Any]:
    """What `--format json` says of each host; there is nothing beside it."""
    done = plan(fleet, *words, "--format", "json")
    assert done.rc == code, str(done)
    hosts: dict[str, Any] = json.loads(done.out)["hosts"]
    return hosts


def changes(hosts: dict[str, Any]) -> dict[str, str]:
    return {name: host["change"]["summary"] for name, host in hosts.items() if host["change"]}


@contextmanager
def frozen(fleet: Fleet, hosts: Sequence[str]) -> Iterator[None]:
    """Nodes that answer nobody."""
    containers = [fleet.nodes[host].container for host in hosts]
    run("docker", "pause", *containers).succeeded()
    try:
        yield
    finally:
        run("docker", "unpause", *containers).succeeded()


# --- Virgin nodes ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def virgin(fleet: Fleet) -> dict[str, Any]:
    """Without a limit: the group gpu_nodes, as a deploy takes it."""
    return planned(fleet)


def test_the_whole_fleet_is_planned(virgin: dict[str, Any]) -> None:
    assert {name: (host["plan"]["gpu"], host["plan"]["count"]) for name, host in virgin.items()} == {
        "amd-01": ("MI300X", 8),
        "nvidia-01": ("H200", 8),
        "grace-01": ("GB300", 4),
    }
    assert changes(virgin) == dict.fromkeys(GPU_NODES, "new")
    assert not [host["error"] for host in virgin.values() if host["error"]]


def test_planning_changes_nothing(fleet: Fleet, virgin: dict[str, Any]) -> None:
    for host in GPU_NODES:
        assert fleet.written(host) == ""


@pytest.mark.parametrize("mode", [[], ["--check"]], ids=["run", "check mode"])
def test_the_playbook_says_the_same(fleet: Fleet, virgin: dict[str, Any], mode: list[str]) -> None:
    play = fleet.playbook(PLAYBOOK, "-l", "gpu_nodes", *mode)
    play.succeeded()
    assert play.changed() == dict.fromkeys(GPU_NODES, 0), str(play)
    for host in GPU_NODES:
        found = virgin[host]["plan"]
        assert f"{found['model']} on {found['count']} x {found['gpu']}: layout {found['layout']}, " in play.out
        assert f"{found['instances'][0]['fit']['kv_tokens']} KV tokens" in play.out
        assert fleet.written(host) == ""
    assert play.out.count("change: new") == len(GPU_NODES)


def test_a_host_without_its_driver_is_planned(fleet: Fleet) -> None:
    play = fleet.playbook(PLAYBOOK, "-l", "bare-01", "-e", "fleet_target=spare_nodes").succeeded()
    assert "change: new" in play.out
    assert re.search(r"driver: (install|refused): ", play.out), f"nothing says what becomes of the driver\n{play}"


def test_the_table_has_a_row_a_host(fleet: Fleet, virgin: dict[str, Any]) -> None:
    done = plan(fleet).succeeded()
    for host in GPU_NODES:
        [row] = [line for line in done.out.splitlines() if line.startswith(f"{host} ")]
        assert row.endswith("  new")
        assert f"{virgin[host]['plan']['instances'][0]['fit']['kv_tokens']:,}" in row


def test_refused_hosts_are_named_with_the_reason(fleet: Fleet) -> None:
    hosts = planned(fleet, "-l", "amd-01,nvidia-01", "--layout", "1x3", code=2)
    assert set(hosts) == {"amd-01", "nvidia-01"}
    for host in hosts.values():
        assert (host["plan"], host["change"]) == (None, None)
        assert "3" in host["error"]
        assert "legal" in host["error"]


def test_unreachable_hosts_and_cached_facts(fleet: Fleet, virgin: dict[str, Any]) -> None:
    with frozen(fleet, ["grace-01"]):
        hosts = planned(fleet, code=1)
        assert (hosts["grace-01"]["plan"], hosts["grace-01"]["change"]) == (None, None)
        assert hosts["grace-01"]["error"]
        assert changes(hosts) == {"amd-01": "new", "nvidia-01": "new"}
    with frozen(fleet, GPU_NODES):
        assert planned(fleet, "--cached") == virgin
        other = planned(fleet, "--cached", "-l", "nvidia-01", "--layout", "2x4")
        assert [item["gpus"] for item in other["nvidia-01"]["plan"]["instances"]] == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_a_cache_that_does_not_know_a_host_says_so(fleet: Fleet) -> None:
    play = fleet.playbook(PLAYBOOK, "-l", "amd-01", extra={"plan_cached": True})
    assert play.rc != 0
    assert play.errors() == ["amd-01"]
    [message] = play.messages()
    assert "amd-01: the fact cache holds nothing of its GPUs" in message


# --- A node that serves ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(fleet: Fleet, virgin: dict[str, Any]) -> tuple[str, str]:
    """One node with its server; what changes whenever something is done to it."""
    fleet.playbook("deploy.yml", "-l", SERVED).succeeded()
    return fleet.started(SERVED), fleet.written(SERVED)


@pytest.mark.parametrize(
    ("words", "summary"),
    [
        ([], "same"),
        (["--enable-metrics"], "restart: +--enable-metrics"),
        (["--context-length", "65536"], "restart: +--context-length 65536"),
        (["--no-thinking"], "restart: −--reasoning-parser minimax-append-think"),
        (["--port", "30005"], "restart: port 30000→30005"),
        (["--sglang-version", "0.5.9"], "restart: image v0.5.10.post1→"),
        (["--layout", "2x4"], "restart instance 0: GPUs 0-7→0-3, "),
    ],
    ids=lambda value: " ".join(value) or "as it is" if isinstance(value, list) else "",
)
def test_difference_from_what_runs(fleet: Fleet, served: tuple[str, str], words: list[str], summary: str) -> None:
    hosts = planned(fleet, "-l", SERVED, *words)
    found = changes(hosts)[SERVED]
    if summary[-1] in "→ ":
        assert found.startswith(summary)
    else:
        assert found == summary
    assert (fleet.started(SERVED), fleet.written(SERVED)) == served, "planning changed the node"


def test_a_new_instance_beside_one_that_shrinks(fleet: Fleet, served: tuple[str, str]) -> None:
    change = planned(fleet, "-l", SERVED, "--layout", "2x4")[SERVED]["change"]
    assert {name: item["action"] for name, item in change["instances"].items()} == {"0": "restart", "1": "start"}


def test_a_deploy_does_what_the_plan_says(fleet: Fleet, served: tuple[str, str]) -> None:
    """Nothing, where the plan says the same."""
    assert changes(planned(fleet, "-l", SERVED)) == {SERVED: "same"}
    play = fleet.playbook("deploy.yml", "-l", SERVED).succeeded()
    assert play.changed() == {SERVED: 0}, str(play)


def test_drift_is_seen(fleet: Fleet, served: tuple[str, str]) -> None:
    fleet.sh(SERVED, "systemctl stop sglang@0")
    try:
        found = changes(planned(fleet, "-l", SERVED))[SERVED]
        assert found == "start: not running (inactive)"
        fleet.sh(SERVED, "systemd-run --unit=squatter --quiet python3 -m http.server 30000 --bind 0.0.0.0")
        fleet.sh(SERVED, "for i in $(seq 50); do ss -Hltn | grep -q :30000 && break; sleep 0.2; done")
        found = changes(planned(fleet, "-l", SERVED))[SERVED]
        assert "; in the way: port 30000 is held by python3 " in found
    finally:
        fleet.sh(SERVED, "systemctl stop squatter", check=False)


def test_an_instance_that_is_no_longer_planned_is_stopped(fleet: Fleet, served: tuple[str, str]) -> None:
    """Its environment file is what makes it one of ours."""
    fleet.sh(SERVED, "cp -p /etc/sglang/0.env /etc/sglang/1.env")
    try:
        assert "stop: instance 1" in changes(planned(fleet, "-l", SERVED))[SERVED]
    finally:
        fleet.sh(SERVED, "rm /etc/sglang/1.env")
