# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet's plan: what the events of a run come to, and a run from cached facts, which needs no host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._inventory import read_specs
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import facts_for
from ansible_collections.sglang.fleet.plugins.module_utils._state import applied_state
from sglang_fleet.collection import CHECKOUT
from sglang_fleet.fleet import (
    FAILED,
    PLANNED,
    REFUSED,
    UNREACHABLE,
    Events,
    FleetPlan,
    _variables,
    environment,
    fact_cache,
    plan_fleet,
)
from sglang_fleet.planning import WISHES, FleetError, RefusedError, in_options, plan_single, refuses
from tests.unit.plugins.module_utils.test__drivers_nvidia import host

# --- Events ---------------------------------------------------------------------------------------------------------


def event(kind: str, host: str, action: str, **result: Any) -> dict[str, Any]:
    return {"event": kind, "event_data": {"host": host, "task_action": action, "res": result}}


PLAN = {"model": "MiniMax-M2.7"}
CHANGE = {"action": "none", "summary": "same"}
DRIVER = {"action": "none", "reason": "NVIDIA 580.95.05 is left alone"}
IS_PLANNED = [
    event("runner_on_ok", "a", "sglang.fleet.launch_plan", ansible_facts={"fleet_plan": PLAN}),
    event("runner_on_ok", "a", "ansible.builtin.set_fact", ansible_facts={"plan_driver": DRIVER}),
    event("runner_on_ok", "a", "ansible.builtin.set_fact", ansible_facts={"plan_change": CHANGE}),
]


@pytest.mark.parametrize(
    ("events", "status", "error", "code"),
    [
        (IS_PLANNED, PLANNED, None, 0),
        ([event("runner_on_failed", "a", "sglang.fleet.launch_plan", msg="a: x", rule="memory")], REFUSED, "x", 2),
        ([event("runner_on_failed", "a", "sglang.fleet.launch_plan", msg="a: x", rule="server-args")], FAILED, "x", 1),
        ([event("runner_on_failed", "a", "sglang.fleet.launch_plan", msg="a: x", rule=None)], FAILED, "x", 1),
        ([event("runner_on_failed", "a", "sglang.fleet.launch_plan", msg="a: x")], FAILED, "x", 1),
        ([event("runner_on_failed", "a", "sglang.fleet.validate_inventory", msg="a: x")], FAILED, "x", 1),
        ([event("runner_on_failed", "a", "other.launch_plan", msg="a: x", rule="memory")], FAILED, "x", 1),
        ([event("runner_on_unreachable", "a", "sglang.fleet.gpu_facts", msg="timed out")], UNREACHABLE, "timed out", 1),
        ([event("runner_on_failed", "a", "sglang.fleet.gpu_facts", msg="no Python")], FAILED, "no Python", 1),
        ([*IS_PLANNED[:1], event("runner_on_failed", "a", "sglang.fleet.server_facts", msg="b")], FAILED, "b", 1),
        ([event("runner_on_failed", "a", "x")], FAILED, "it failed without a message", 1),
        (
            [event("runner_on_ok", "a", "sglang.fleet.validate_inventory")],
            FAILED,
            "not planned: the inventory has a problem at another host",
            1,
        ),
    ],
)
def test_what_events_come_to(events: list[dict[str, Any]], status: str, error: str | None, code: int) -> None:
    taken = Events()
    for one in events:
        taken(one)
    fleet = taken.finished()
    assert (fleet.hosts["a"].status, fleet.hosts["a"].error) == (status, error)
    assert fleet.exit_code() == code
    done = status == PLANNED
    told = {"plan": PLAN, "driver": DRIVER, "change": CHANGE}
    assert fleet.to_dict() == {"hosts": {"a": {"error": error, **(told if done else dict.fromkeys(told))}}}


def test_a_driver_that_is_refused_leaves_the_plan() -> None:
    refused = {"action": "refused", "reason": "there is no driver for it"}
    taken = Events()
    for one in (
        IS_PLANNED[0],
        event("runner_on_failed", "a", "sglang.fleet.driver_plan", msg="a: there is no driver for it"),
        event("runner_on_ok", "a", "ansible.builtin.set_fact", ansible_facts={"plan_driver": refused}),
        IS_PLANNED[2],
    ):
        taken(one)
    found = taken.finished().hosts["a"]
    assert (found.status, found.error, found.driver) == (PLANNED, None, refused)


def test_advice_on_variables_is_kept() -> None:
    taken = Events()
    for one in (event("runner_on_ok", "a", "sglang.fleet.validate_inventory", warnings=["a: no key"]), *IS_PLANNED):
        taken(one)
    assert taken.finished().hosts["a"].advice == ["no key"]


# --- Settings -------------------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("ANSIBLE_")]:
        monkeypatch.delenv(name)
    return tmp_path


def test_the_checkouts_settings_count(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/bin")
    settings = environment(CHECKOUT / "collections")
    assert settings["ANSIBLE_CONFIG"] == str(CHECKOUT / "ansible.cfg")
    assert settings["PATH"] == f"{Path(sys.executable).parent}:/bin"
    assert settings["ANSIBLE_COLLECTIONS_PATH"] == str(CHECKOUT / "collections")


def test_the_operators_own_settings_come_first(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere / "ansible.cfg").write_text("[defaults]\n")
    assert "ANSIBLE_CONFIG" not in environment(CHECKOUT / "collections")
    (elsewhere / "ansible.cfg").unlink()
    monkeypatch.setenv("ANSIBLE_CONFIG", "/etc/mine.cfg")
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", "/srv/collections")
    settings = environment(CHECKOUT / "collections")
    assert "ANSIBLE_CONFIG" not in settings
    assert settings["ANSIBLE_COLLECTIONS_PATH"] == f"{CHECKOUT}/collections:/srv/collections"


OFF = b"[defaults]\nhost_key_checking = False\n"


@pytest.mark.parametrize(
    ("config", "checking"),
    [
        (None, "True"),
        (OFF, "False"),
        (b"[defaults]\nhost_key_checking = no\n", "False"),
        (b"[defaults]\nhost_key_checking = True ; be strict\n", "True"),
        (b"[defaults]\nhost_key_checking = no ; a lab\n", "False"),
        (b"[defaults]\nforks = 5\n", "True"),
        (b"no settings\n", "True"),
        (b"# caf\xe9\n" + OFF, "False"),  # Ansible reads it, too
    ],
)
def test_host_keys_are_checked_unless_the_operator_says_no(
    elsewhere: Path, config: bytes | None, checking: str
) -> None:
    """ansible-runner would turn the check off."""
    if config is not None:
        (elsewhere / "ansible.cfg").write_bytes(config)
    settings = environment(CHECKOUT / "collections")
    names = ("ANSIBLE_HOST_KEY_CHECKING", "ANSIBLE_SSH_HOST_KEY_CHECKING", "ANSIBLE_PARAMIKO_HOST_KEY_CHECKING")
    assert [settings[name] for name in names] == [checking] * 3


def test_host_keys_of_a_kind_of_connection(elsewhere: Path) -> None:
    """A variable outweighs every section, so that there must be one for each."""
    (elsewhere / "ansible.cfg").write_bytes(OFF + b"[ssh_connection]\nhost_key_checking = True\n")
    settings = environment(CHECKOUT / "collections")
    assert settings["ANSIBLE_SSH_HOST_KEY_CHECKING"] == "True"
    assert settings["ANSIBLE_HOST_KEY_CHECKING"] == settings["ANSIBLE_PARAMIKO_HOST_KEY_CHECKING"] == "False"


def test_the_operators_variables_on_host_keys_stay(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere / "ansible.cfg").write_bytes(OFF)
    monkeypatch.setenv("ANSIBLE_SSH_HOST_KEY_CHECKING", "True")
    settings = environment(CHECKOUT / "collections")
    assert "ANSIBLE_SSH_HOST_KEY_CHECKING" not in settings
    assert settings["ANSIBLE_HOST_KEY_CHECKING"] == "False"
    monkeypatch.setenv("ANSIBLE_HOST_KEY_CHECKING", "True")
    assert not [name for name in environment(CHECKOUT / "collections") if "HOST_KEY" in name]


def test_a_configuration_where_anyone_may_write_does_not_count(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ansible itself passes over it."""
    public = elsewhere / "public"
    public.mkdir()
    public.chmod(0o777)
    (public / "ansible.cfg").write_bytes(OFF)
    monkeypatch.chdir(public)
    settings = environment(CHECKOUT / "collections")
    assert settings["ANSIBLE_HOST_KEY_CHECKING"] == "True"
    assert settings["ANSIBLE_CONFIG"] == str(CHECKOUT / "ansible.cfg")


def test_two_inventories_have_two_caches(tmp_path: Path) -> None:
    assert fact_cache(tmp_path / "a") != fact_cache(tmp_path / "b")
    assert fact_cache(tmp_path / "a") == fact_cache(tmp_path / "x" / ".." / "a")


# --- From cached facts ----------------------------------------------------------------------------------------------

UP = {
    "unit": "active",
    "enabled": True,
    "needs_reload": False,
    "outdated": False,
    "answers": True,
    "address_problem": "",
    "port_holder": {},
}


def facts(gpu: str, count: int, wishes: dict[str, Any] | None = None) -> dict[str, Any]:
    """What a node's facts are; wishes: those of the plan that was applied, None where none was."""
    servers: dict[str, Any] = {"instances": {}, "unplanned": [], "foreign_unit": False, "state": {}}
    if wishes is not None:
        plan = plan_single(wishes, gpu, count).plan
        servers["instances"] = {item["name"]: UP for item in plan["instances"]}
        servers["state"] = applied_state(plan, {"reference": plan["image"]["reference"], "id": "sha256:1"}, ["health"])
    return {"gpu": facts_for(load_catalogue(), gpu, count), "fleet_servers": servers}


def without_driver(system: str) -> dict[str, Any]:
    """A host whose packages the cache knows, too."""
    found = facts("H200", 8)
    driver = {"name": None, "version": None, "loaded": False}
    return {**found, "gpu": {**found["gpu"], "driver": driver}, "fleet_host": host(system)}


#: None of them can be reached, or has an address at all.
HOSTS: dict[str, dict[str, Any]] = {
    "new-01": facts("H200", 8),
    "same-01": facts("H200", 8, {}),
    "old-01": facts("H200", 8, {"sglang_version": "0.5.9"}),
    "small-01": facts("H100", 2),
    "amd-01": facts("MI300X", 4, {"model": "M2.1"}),
    "bare-01": without_driver("debian-12"),
    "odd-01": without_driver("solaris-11"),
}


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hosts whose facts are in the cache, as an earlier call leaves them, and one that was never asked."""
    folder = tmp_path_factory.mktemp("fleet")
    hosts: dict[str, Any] = {**dict.fromkeys(HOSTS), "unseen-01": None, "amd-01": {"fleet_model": "M2.1"}}
    file = folder / "hosts.yml"
    everything = {"all": {"vars": {"known": HOSTS}, "children": {"gpu_nodes": {"hosts": hosts}}}}
    file.write_text(yaml.safe_dump(everything, sort_keys=False))
    play = folder / "remember.yml"
    remember = {"gpu": "{{ known[inventory_hostname].gpu }}", "cacheable": True}
    remember["fleet_servers"] = "{{ known[inventory_hostname].fleet_servers }}"
    remember["fleet_host"] = "{{ known[inventory_hostname].fleet_host | default(omit) }}"
    tasks = [{"ansible.builtin.set_fact": remember}]
    play.write_text(yaml.safe_dump([{"hosts": "all:!unseen-01", "gather_facts": False, "tasks": tasks}]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        cache = fact_cache(file)
        env = {
            **os.environ,
            "ANSIBLE_CACHE_PLUGIN": "jsonfile",
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(cache),
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        }
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(file), str(play)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        # Nobody listens there: whoever contacts a host is found out.
        everything["all"]["vars"] = {"ansible_host": "127.0.0.1", "ansible_port": 1}
        file.write_text(yaml.safe_dump(everything, sort_keys=False))
        yield file


@pytest.fixture(scope="module")
def cached(inventory: Path) -> FleetPlan:
    return plan_fleet(inventory, cached=True)


def test_cached_facts_plan_every_host_without_asking_one(cached: FleetPlan) -> None:
    statuses = {name: host.status for name, host in cached.hosts.items()}
    assert statuses == {
        "new-01": PLANNED,
        "same-01": PLANNED,
        "old-01": PLANNED,
        "amd-01": PLANNED,
        "bare-01": PLANNED,
        "odd-01": PLANNED,
        "small-01": REFUSED,
        "unseen-01": FAILED,
    }
    assert cached.exit_code() == 2


def test_cached_plans_are_the_planners(cached: FleetPlan) -> None:
    """But for the driver, which a host's plan may lack."""
    for name, wishes in (("new-01", {}), ("amd-01", {"model": "M2.1"})):
        gpu = HOSTS[name]["gpu"]
        assert json.loads(json.dumps(cached.hosts[name].plan)) == plan_single(wishes, gpu["model"], gpu["count"]).plan


def test_changes_against_what_runs(cached: FleetPlan) -> None:
    changes = {name: host.change["summary"] for name, host in cached.hosts.items() if host.change}
    image = HOSTS["old-01"]["fleet_servers"]["state"]["image"]["reference"].partition(":")[2]
    now = cached.hosts["old-01"].plan
    assert now
    assert changes == {
        "new-01": "new",
        "same-01": "same",
        "amd-01": "same",
        "bare-01": "new",
        "odd-01": "new",
        "old-01": f"restart: image {image}→{now['image']['reference'].partition(':')[2]}",
    }


def test_decisions_on_drivers(cached: FleetPlan) -> None:
    """As far as the cache has the host's packages; a driver that cannot be had is no reason against the plan."""
    drivers = {name: host.driver for name, host in cached.hosts.items() if host.driver}
    assert {name: driver["action"] for name, driver in drivers.items()} == {"bare-01": "install", "odd-01": "refused"}
    assert drivers["bare-01"]["reboot_reasons"]
    assert "solaris" in drivers["odd-01"]["reason"]
    assert not drivers["odd-01"]["reason"].startswith("odd-01")


def test_reasons_of_those_without_a_plan(cached: FleetPlan) -> None:
    small, unseen = cached.hosts["small-01"].error, cached.hosts["unseen-01"].error
    assert small is not None
    assert small.startswith("MiniMax-M2.7 does not fit on 2 x H100")
    assert unseen is not None
    assert "cache holds nothing of its GPUs" in unseen


def test_limit_and_overrides(inventory: Path) -> None:
    fleet = plan_fleet(inventory, "same-01", True, {"layout": "2x4", "enable_metrics": True})
    assert list(fleet.hosts) == ["same-01"]
    host = fleet.hosts["same-01"]
    assert host.plan
    assert host.change
    assert host.plan["layout"] == "2x4"
    assert host.change["instances"]["0"]["gpus"] == [list(range(8)), list(range(4))]
    assert host.change["instances"]["0"]["args"]["added"] == {"enable-metrics": True}
    assert host.change["instances"]["1"]["action"] == "start"


def test_without_the_cache_hosts_are_asked(inventory: Path) -> None:
    fleet = plan_fleet(inventory, "same-01")
    assert fleet.hosts["same-01"].status == UNREACHABLE
    assert fleet.exit_code() == 1


def test_a_variable_that_is_wrong_stops_all(inventory: Path) -> None:
    fleet = plan_fleet(inventory, "same-01:new-01", True, {"port": 80})
    assert {host.status for host in fleet.hosts.values()} == {FAILED}
    assert {host.error for host in fleet.hosts.values() if host.error and "fleet_port is 80" in host.error}


@pytest.mark.parametrize(
    ("wishes", "code", "words"),
    [
        ({"model": "M9"}, 1, "unknown model M9"),
        ({"layout": "3x9z"}, 1, "fleet_layout is 3x9z"),
        ({"profile": "no-such"}, 1, "unknown profile no-such"),
        ({"ep": 0}, 1, "fleet_ep is 0"),
        ({"allow_known_issues": ("no-such",)}, 1, "no-such"),
        ({"extra_args": {"no-such-flag": 1}}, 1, "no-such-flag"),
        ({"extra_args": {"api-key": "secret"}}, 1, "fleet_api_key"),
        ({"sglang_version": "0.5.7"}, 2, "there is no image of SGLang 0.5.7"),
        ({"context_length": 300_000}, 2, "fleet_context_length is 300000"),
        ({"layout": "1x8", "ep": 1}, 2, "192"),
    ],
    ids=str,
)
def test_a_wish_fails_as_it_does_without_an_inventory(
    inventory: Path, wishes: dict[str, Any], code: int, words: str
) -> None:
    fleet = plan_fleet(inventory, "same-01", True, wishes)
    error = fleet.hosts["same-01"].error
    assert error is not None
    assert words in error
    assert fleet.exit_code() == code
    with pytest.raises(RefusedError) as caught:
        plan_single(wishes, "H200", 8)
    assert in_options(error) == str(caught.value)
    assert refuses(caught.value.rule) == (code == 2)


# --- What is added to an inventory ----------------------------------------------------------------------------------

MINE = {
    "fleet_catalogue": {"models": {"Mine": {**load_catalogue().data["models"]["MiniMax-M2.7"], "aliases": []}}},
    "fleet_server_args": {"max-running-requests": 64, "schedule-policy": "lpm"},
    "fleet_allow_known_issues": ["streaming-tool-calls"],
}


@pytest.fixture
def mine(inventory: Path) -> Iterator[Path]:
    """The inventory with server arguments, a catalogue and a known issue of its own."""
    before = inventory.read_text()
    data = yaml.safe_load(before)
    data["all"]["vars"].update(MINE)
    inventory.write_text(yaml.safe_dump(data, sort_keys=False))
    yield inventory
    inventory.write_text(before)


def planned(file: Path, **extra: Any) -> dict[str, Any]:
    host = plan_fleet(file, "same-01", True, **extra).hosts["same-01"]
    assert host.plan is not None, host.error
    return host.plan


def test_server_args_and_known_issues_add_to_the_inventorys(mine: Path) -> None:
    more = {"extra_args": {"schedule-policy": "fcfs", "log-level": "debug"}, "allow_known_issues": ("a100-fp8",)}
    args = planned(mine, wishes=more)["instances"][0]["server_args"]
    assert {name: args.get(name) for name in ("max-running-requests", "schedule-policy", "log-level")} == {
        "max-running-requests": 64,
        "schedule-policy": "fcfs",
        "log-level": "debug",
    }
    severities = {item["severity"] for item in planned(mine, wishes=more)["warnings"] if "streaming" in item["id"]}
    assert severities == {"override"}


def test_a_catalogue_file_builds_on_the_inventorys_entries(mine: Path) -> None:
    """And so may a wish build on the file."""
    assert planned(mine, wishes={"model": "Mine"})["model"] == "Mine"
    entries = {"models": {"Mine": {"mem_fraction_static": 0.7}}}
    args = planned(mine, wishes={"model": "Mine"}, catalogue=entries)["instances"][0]["server_args"]
    assert args["mem-fraction-static"] == 0.7
    entries = {"models": {"Other": {**MINE["fleet_catalogue"]["models"]["Mine"], "context_length": 300_000}}}
    wishes = {"model": "Other", "context_length": 250_000}
    assert planned(mine, wishes=wishes, catalogue=entries)["model"] == "Other"


def test_a_wrong_entry_is_found_by_the_plan(mine: Path) -> None:
    fleet = plan_fleet(mine, "same-01", True, catalogue={"models": {"Mine": {"mem_fraction_static": "much"}}})
    assert "models.Mine.mem_fraction_static" in str(fleet.hosts["same-01"].error)
    assert fleet.exit_code() == 1


def test_the_inventorys_own_are_checked_whatever_is_added(mine: Path) -> None:
    data = yaml.safe_load(mine.read_text())
    data["all"]["vars"]["fleet_server_args"] = {"api-key": "x"}
    data["all"]["vars"]["fleet_allow_known_issues"] = ["no-such"]
    mine.write_text(yaml.safe_dump(data, sort_keys=False))
    more = {"extra_args": {"log-level": "debug"}, "allow_known_issues": ("a100-fp8",)}
    fleet = plan_fleet(mine, "same-01", True, more)
    error = str(fleet.hosts["same-01"].error)
    assert "2 problems with its variables" in error
    assert "fleet_server_args.api-key" in error
    assert "unknown issue no-such" in error
    assert fleet.exit_code() == 1


def test_every_variable_of_a_wish_is_one_of_the_roles() -> None:
    """Else an override would be refused as a misspelt variable."""
    specs = read_specs()
    wishes = {wish.field: 1 for wish in WISHES}
    added = {"plan_server_args", "plan_allow_known_issues"}
    assert set(_variables(wishes, None)) - set(specs.variables) == added
    assert not [name for name in (*added, "plan_catalogue") if specs.ours(name)]


# --- The cache ------------------------------------------------------------------------------------------------------


def test_cached_facts_are_the_operators_only(inventory: Path) -> None:
    cache = fact_cache(inventory)
    cache.chmod(0o755)
    for file in cache.iterdir():
        file.chmod(0o644)
    plan_fleet(inventory, "same-01", True)
    assert cache.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in cache.iterdir()} == {0o600}


def test_a_cache_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "hosts.yml").write_text("all: {}")
    with pytest.raises(FleetError, match=r"cannot keep facts in .*: Not a directory"):
        plan_fleet(tmp_path / "hosts.yml")


@pytest.mark.parametrize(
    ("content", "limit", "message"),
    [
        (None, None, "there is no inventory"),
        ("a: b: c", None, "parse"),
        ("all: {hosts: {a: }}", None, "the inventory has no host in gpu_nodes, on which"),
        (
            "all: {hosts: {a: }, children: {gpu_nodes: {hosts: {b: }}}}",
            "a",
            "no host of 'a' (--limit) is in gpu_nodes, on which",
        ),
        ("all: {children: {gpu_nodes: {hosts: {b: }}}}", "a", "no hosts to target"),
    ],
)
def test_no_host_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, limit: str | None, message: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    file = tmp_path / "hosts.yml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(FleetError) as caught:
        plan_fleet(file, limit)
    assert message in str(caught.value)
    assert list(scratch.iterdir()) == [], "the run's own folder is left behind"


def test_nothing_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "hosts.yml").write_text("all: {}")
    with pytest.raises(FleetError, match=r"nothing is cached for .*hosts\.yml: plan once without --cached"):
        plan_fleet(tmp_path / "hosts.yml", cached=True)
