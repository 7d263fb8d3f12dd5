# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`sglang-fleet lock`, over an inventory whose hosts nobody can reach, a registry and a hub in this process."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._lock import load_lock
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import facts_for
from sglang_fleet import cli, fleet, lock
from sglang_fleet.collection import CHECKOUT
from sglang_fleet.fleet import PLANNED, REFUSED, fact_cache, plan_fleet
from sglang_fleet.lock import Outcome, Update, Wanted, make_outcome
from sglang_fleet.planning import FleetError, plan_single
from tests.unit.sglang_fleet.lock_standins import HubStandin, Registry

MODEL = HubStandin.repository
IMAGE = "lmsysorg/sglang:v0.5.10.post1"
TOKEN = "hf_s3cr3t"


@dataclass
class World:
    """A registry, a hub, and where the lock is."""

    file: Path
    registry: Registry = field(default_factory=Registry)
    hub: HubStandin = field(default_factory=HubStandin)

    def wanted(self, gpu: str = "H200", count: int = 8, weights: str = "auto", **wishes: Any) -> Wanted:
        plan = plan_single(wishes, gpu, count).plan
        return Wanted(plan, (self.registry.url,), self.hub.url, weights, TOKEN)

    def made(self, *wanted: Wanted, keep: bool = False, **update: bool) -> Outcome:
        return make_outcome(self.file, list(wanted or (self.wanted(),)), Update(**update), keep=keep)

    def written(self, *wanted: Wanted, **how: bool) -> dict[str, Any]:
        self.made(*wanted, **how).write()
        found = load_lock(self.file)
        assert found is not None
        return found


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for module in ("lock_hub", "lock_registry"):
        monkeypatch.setattr(f"sglang_fleet.{module}.time.sleep", lambda _seconds: None)
    made = World(tmp_path / "fleet.lock.yml")
    made.hub.token = TOKEN
    for tag in ("v0.5.10.post1", "v0.5.9", "v0.5.7-rocm700-mi30x"):
        made.registry.tags[tag] = made.registry.manifest(sizes=(len(tag),))[0]
    with made.registry.serving(), made.hub.serving():
        yield made


def test_a_first_lock(world: World) -> None:
    outcome = world.made()
    assert (outcome.stale, outcome.before, outcome.notes) == (True, "", [])
    assert outcome.diff().splitlines()[:2] == ["--- /dev/null", f"+++ {world.file}"]
    assert not world.file.exists()
    found = world.written()
    assert found["images"][IMAGE]["digest"] == world.registry.tags["v0.5.10.post1"]
    assert found["models"][MODEL]["revision"] == "1" * 40
    assert [plan["gpu"] for plan in found["plans"]] == ["H200"]
    assert world.file.stat().st_mode & 0o777 == 0o644
    assert list(world.file.parent.glob(".fleet*")) == []


def test_the_second_time_nothing_changes(world: World) -> None:
    world.written()
    again = world.made()
    assert (again.stale, again.diff(), again.notes) == (False, "", [])


def test_a_file_laid_out_otherwise_is_not_stale(world: World) -> None:
    world.file.write_text(json.dumps(world.written()), "utf-8")
    assert not world.made().stale


def test_the_files_mode_stays(world: World) -> None:
    world.written()
    world.file.chmod(0o600)
    world.written(world.wanted(layout="2x4"))
    assert world.file.stat().st_mode & 0o777 == 0o600


def moved(world: World) -> tuple[str, str]:
    """The tag and the branch are elsewhere now: the old digest and revision."""
    before = world.registry.tags["v0.5.10.post1"], world.hub.main
    world.registry.tags["v0.5.10.post1"] = world.registry.manifest(sizes=(99,))[0]
    world.hub.main = "3" * 40
    return before


def test_what_moved_is_said_and_not_taken(world: World) -> None:
    world.written()
    digest, _revision = moved(world)
    outcome = world.made()
    assert not outcome.stale
    assert outcome.notes == [
        f"{IMAGE}: the tag has moved to {world.registry.tags['v0.5.10.post1']}; the lock keeps {digest} (--update-image takes "
        "the new one)",
        f"{MODEL}: the branch main has moved to {'3' * 40}; the lock keeps {'1' * 40} (--update-weights takes the new one)",
    ]


@pytest.mark.parametrize(("images", "weights"), [(True, False), (False, True), (True, True)])
def test_updates(world: World, images: bool, weights: bool) -> None:
    world.written()
    digest, revision = moved(world)
    found = world.written(images=images, weights=weights)
    assert (found["images"][IMAGE]["digest"] != digest) is images
    assert (found["models"][MODEL]["revision"] != revision) is weights


def test_registry_and_hub_down(world: World) -> None:
    """What the lock has, it keeps; what it lacks, it cannot get."""
    world.written()
    away = world.wanted()
    away = Wanted(away.plan, ("http://127.0.0.1:9",), "http://127.0.0.1:9", token=TOKEN)
    outcome = world.made(away)
    assert not outcome.stale
    assert [
        note.startswith(name) for note, name in zip(outcome.notes, (f"{IMAGE}@sha256:", f"{MODEL} at "), strict=True)
    ]
    assert all("whether it is as locked is not known" in note for note in outcome.notes)
    for update in ("images", "weights"):
        with pytest.raises(FleetError, match=r"no registry gives|does not answer"):
            world.made(away, **{update: True})


def test_all_hosts_and_some_of_them(world: World) -> None:
    old = world.wanted(sglang_version="0.5.9")
    world.written(world.wanted(), old)
    one = world.written(world.wanted(mem_fraction_static=0.8), keep=True)
    assert [plan["server_args"]["mem-fraction-static"] for plan in one["plans"]] == [0.8, 0.85, 0.85]
    assert len(one["images"]) == 2
    everything = world.written(world.wanted(mem_fraction_static=0.8))
    assert [plan["server_args"]["mem-fraction-static"] for plan in everything["plans"]] == [0.8]
    assert list(everything["images"]) == [IMAGE]


def test_some_hosts_keep_the_weights_of_the_others(world: World) -> None:
    world.written()
    amd = world.wanted("MI300X", 4, "server", model="M2.1")
    found = world.written(amd, keep=True)
    assert (list(found["models"]), len(found["plans"])) == ([MODEL], 2)


def test_weights_that_are_the_servers_own_are_not_locked(world: World) -> None:
    assert world.written(world.wanted(weights="server"))["models"] == {}
    assert world.hub.requests == []


def test_a_revision_of_the_operators_own(world: World) -> None:
    world.written(world.wanted(extra_args={"revision": "1" * 40}))
    world.hub.main = "3" * 40
    # It is what was asked for, so that nothing has moved.
    assert world.made(world.wanted(extra_args={"revision": "1" * 40})).notes == []
    found = world.written(world.wanted(extra_args={"revision": "3" * 40}))
    assert found["models"][MODEL]["revision"] == "3" * 40
    with pytest.raises(FleetError, match=f"several revisions of {MODEL} .{'3' * 40}, None.: a lock holds one"):
        world.made(world.wanted(), world.wanted(extra_args={"revision": "3" * 40}))


def test_hosts_of_several_hubs(world: World) -> None:
    """The token of one is not for another."""
    other = replace(world.wanted(), endpoint="https://hub.example.org")
    with pytest.raises(FleetError, match=r"several hubs .*https://hub\.example\.org.*: choose hosts of one"):
        world.made(world.wanted(), other)
    assert world.hub.requests == []


def test_an_image_by_its_digest(world: World) -> None:
    digest = world.registry.tags["v0.5.9"]
    reference = f"{world.registry.host.replace('127.0.0.1', 'localhost')}/lmsysorg/sglang:v0.5.9@{digest}"
    found = world.written(world.wanted(image=reference))
    assert found["images"][reference]["digest"] == digest
    world.registry.requests.clear()
    assert world.made(world.wanted(image=reference)).notes == []
    assert not [request.path for request in world.registry.requests if "v0.5.9" in request.path]


@pytest.mark.parametrize(
    ("edit", "shown"),
    [
        pytest.param(
            lambda text: re.sub(r"(config\.json.*sha256: )\w{64}", r"\g<1>" + "a" * 64, text),
            hashlib.sha256(b"{}").hexdigest(),
            id="a checksum",
        ),
        pytest.param(lambda text: re.sub(r"bytes: (\d+)", r"bytes: \g<1>7", text, count=1), "bytes: ", id="a size"),
    ],
)
def test_a_line_that_was_edited_shows_and_is_mended(world: World, edit: Any, shown: str) -> None:
    world.written()
    whole = world.file.read_text("utf-8")
    edited = edit(whole)
    assert edited != whole
    world.file.write_text(edited, "utf-8")
    outcome = world.made()
    assert outcome.stale
    assert shown in outcome.diff()
    outcome.write()
    assert world.file.read_text("utf-8") == whole


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        pytest.param(
            lambda text, _digest: text.replace("1" * 40, "9" * 40),
            f"the lock has {MODEL} at {'9' * 40}, which is not there: .* has no such revision.* lock --update",
            id="revision",
        ),
        pytest.param(
            lambda text, digest: text.replace(digest, f"sha256:{'9' * 64}"),
            f"the lock has {IMAGE}@sha256:{'9' * 64}, which is not there: no registry gives .*it has no such image",
            id="digest",
        ),
    ],
)
def test_what_is_nowhere_is_refused(world: World, edit: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sglang_fleet.lock_registry.addresses", lambda _reference, mirrors: list(mirrors))
    world.written()
    digest = world.registry.tags["v0.5.10.post1"]
    world.file.write_text(edit(world.file.read_text("utf-8"), digest), "utf-8")
    with pytest.raises(FleetError, match=message):
        world.made()


def test_a_lock_that_is_not_right_is_not_overwritten(world: World) -> None:
    world.file.write_text("schema: 1", "utf-8")
    with pytest.raises(FleetError, match="is not right: the file has no plugin"):
        world.made()
    assert world.file.read_text("utf-8") == "schema: 1"


def test_a_folder_that_takes_no_file(world: World) -> None:
    outcome = world.made()
    outcome.path = world.file.parent / "nowhere" / "fleet.lock.yml"
    with pytest.raises(FleetError, match=f"cannot write {outcome.path}: No such file or directory"):
        outcome.write()


def test_nothing_shows_the_token(world: World) -> None:
    assert TOKEN not in repr(world.wanted())


# The whole program, from the inventory on.


@pytest.fixture
def inventory(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with hosts whose GPUs are in the fact cache, and no way to reach them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "inventory"
    folder.mkdir()
    world.file = folder / "fleet.lock.yml"
    everything = {
        "vars": {
            "ansible_host": "127.0.0.1",
            "ansible_port": 1,
            "fleet_registry_mirrors": [world.registry.url],
            "fleet_hf_endpoint": world.hub.url,
            "the_token": TOKEN,
            "fleet_hf_token": "{{ the_token }}",
        },
        "children": {"gpu_nodes": {"hosts": {"h200-01": None, "h200-02": None, "mi300x-01": AMD}}},
    }
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": everything}), "utf-8")
    known = {name: facts_for(load_catalogue(), "MI300X" if name == "mi300x-01" else "H200", 8) for name in HOSTS}
    remember = {"gpu": "{{ known[inventory_hostname] }}", "cacheable": True}
    play = tmp_path / "remember.yml"
    play.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [{"set_fact": remember}]}]))
    env = {
        **os.environ,
        "ANSIBLE_CACHE_PLUGIN": "jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(fact_cache(folder)),
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
    }
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(folder), str(play)]
    done = subprocess.run(
        [*command, "-e", json.dumps({"known": known})], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return folder


HOSTS = ("h200-01", "h200-02", "mi300x-01")
AMD = {"fleet_model": "M2.1", "fleet_layout": "2x4", "fleet_weights": "server"}


def run(*words: str) -> Result:
    return CliRunner().invoke(cli.app, ["lock", *words])


def test_from_the_inventory_to_a_plan(inventory: Path, world: World) -> None:
    done = run("-i", str(inventory), "--cached")
    assert (done.exit_code, done.stderr) == (
        0,
        f"{world.file} is written; servers that run without a lock start anew once, as sglang-fleet plan shows\n",
    )
    assert f"+    revision: '{'1' * 40}'" in done.stdout

    # Ansible reads the folder, and takes nothing of the lock for a group.
    listed = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-inventory"), "-i", str(inventory), "--list"],
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
            "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1",
        },
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (listed.returncode, listed.stderr) == (0, "")
    assert set(json.loads(listed.stdout)) == {"_meta", "all", "gpu_nodes"}

    # Of the hosts that are planned then, one differs from what is locked.
    hosts = yaml.safe_load((inventory / "hosts.yml").read_text("utf-8"))
    hosts["all"]["children"]["gpu_nodes"]["hosts"]["h200-02"] = {"fleet_layout": "2x4"}
    (inventory / "hosts.yml").write_text(yaml.safe_dump(hosts), "utf-8")
    plans = plan_fleet(inventory, cached=True)
    assert {name: host.status for name, host in plans.hosts.items()} == {
        "h200-01": PLANNED,
        "h200-02": REFUSED,
        "mi300x-01": PLANNED,
    }
    assert "layout 2x4, locked 1x8" in str(plans.hosts["h200-02"].error)
    locks = {name: host.plan["lock"] for name, host in plans.hosts.items() if host.plan}
    assert locks["h200-01"]["weights"]["revision"] == "1" * 40
    assert locks["mi300x-01"]["weights"] is None

    # Of the token nothing stays: not in what was said, not in a file.
    assert TOKEN not in done.stdout + done.stderr
    files = [
        file for file in inventory.parent.rglob("*") if file.is_file() and TOKEN in file.read_text("utf-8", "replace")
    ]
    assert files == [inventory / "hosts.yml"]
    assert any(request.headers.get("Authorization") == f"Bearer {TOKEN}" for request in world.hub.requests)


def test_one_file_for_some_hosts(inventory: Path, world: World, tmp_path: Path) -> None:
    file = tmp_path / "other.yml"
    done = run("-i", str(inventory), "--cached", "-l", "mi300x-01", "--lock-file", str(file))
    assert done.exit_code == 0, done.stderr
    found = load_lock(file)
    assert found is not None
    assert [plan["model"] for plan in found["plans"]] == ["MiniMax-M2.1"]
    assert not world.file.exists()


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({""}, "fleet_lock_file is empty, which is no lock on purpose: set it, or give --lock-file"),
        ({"/a", "/b"}, "the hosts name several lock files (/a, /b): choose hosts with -l, or a file with --lock-file"),
    ],
)
@pytest.mark.parametrize("words", [[], ["--check"]])
def test_what_is_wrong_exits_2(
    monkeypatch: pytest.MonkeyPatch, named: set[str], message: str, words: list[str]
) -> None:
    monkeypatch.setattr(lock, "ask_inventory", lambda *_words, **_more: ([], named))
    done = run("-i", "x", *words)
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"sglang-fleet: {message}\n")


def test_a_host_without_a_plan_locks_nothing(inventory: Path, world: World) -> None:
    hosts = yaml.safe_load((inventory / "hosts.yml").read_text("utf-8"))
    hosts["all"]["children"]["gpu_nodes"]["hosts"]["h200-02"] = {"fleet_layout": "16x1"}
    (inventory / "hosts.yml").write_text(yaml.safe_dump(hosts), "utf-8")
    done = run("-i", str(inventory), "--cached")
    assert done.exit_code == 2
    assert done.stderr.startswith(
        "sglang-fleet: nothing was locked, for there is no plan of h200-02: fleet_layout 16x1"
    )
    assert done.stderr.endswith(". Without: -l 'all:!h200-02'\n")
    assert not world.file.exists()


def test_an_option_that_is_wrong_exits_2_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sglang_fleet", "lock", "--nonsense"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("words", "code", "said"), [([], 0, "is written"), (["--check"], 1, "is stale: run sglang-fleet lock")]
)
def test_a_difference_is_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    file = tmp_path / "fleet.lock.yml"
    monkeypatch.setattr(lock, "lock_fleet", lambda *_words, **_more: Outcome(file, "a\n", "b\n", []))
    done = run("-i", "x", *words)
    assert (done.exit_code, done.stderr) == (code, f"{file} {said}\n")
    assert done.stdout == f"--- {file}\n+++ {file}\n@@ -1 +1 @@\n-a\n+b\n"
    assert file.exists() is (code == 0)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], Update()),
        (["--update"], Update(images=True, weights=True)),
        (["--update-image"], Update(images=True)),
        (["--update-weights"], Update(weights=True)),
    ],
)
def test_what_is_updated(monkeypatch: pytest.MonkeyPatch, words: list[str], wanted: Update) -> None:
    asked: list[Any] = []

    def keep(*given: Any, cached: bool) -> None:
        asked.extend([*given, cached])
        raise FleetError("enough")

    monkeypatch.setattr(lock, "lock_fleet", keep)
    assert run("-i", "x", "-l", "a*", "--lock-file", "f", *words).exit_code == 2
    assert asked == [Path("x"), "a*", Path("f"), wanted, False]


def test_a_plan_without_the_lock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: list[Any] = []
    monkeypatch.setattr(fleet, "run_playbook", lambda *words: given.append(words[-1]))
    plan_fleet(tmp_path, locked=False)
    plan_fleet(tmp_path)
    assert given == [{"launch_plan_lock": ""}, {}]


def test_notes_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lock, "lock_fleet", lambda *_words, **_more: Outcome(tmp_path / "f", "a", "a", ["it moved"]))
    done = run("-i", "x")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", f"note: it moved\n{tmp_path}/f is up to date\n")
