# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollout from wish to exit status, over a fleet that is made up; what a play's events come to."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sglang_fleet import rollout_drive, rollout_journal, rollout_process
from sglang_fleet.planning import FleetError
from sglang_fleet.rollout import Job, Outcome
from sglang_fleet.rollout_drive import Desk, begin, resume, rollback
from sglang_fleet.rollout_fleet import KNOWN, Found
from sglang_fleet.rollout_options import Wishes
from sglang_fleet.rollout_play import Cancel, Reporter
from sglang_fleet.rollout_runner import Files, PlaybookRunner, Tail, _Hosts
from tests.unit.sglang_fleet.rollout_standins import Fate, Fleet, nodes

WISHES = Wishes("1,100%", "50%", (), 0, 600, ("smoke",), "rollback", 100)


class Stage:
    """The fleet, as a look at it finds it, and as the runner changes it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        monkeypatch.setattr(rollout_journal.os, "fsync", lambda _file: None)
        monkeypatch.setattr(rollout_drive, "look", self.look)
        monkeypatch.setattr(rollout_drive, "asker", lambda *_args: self.ask)
        monkeypatch.setattr(rollout_drive, "PlaybookRunner", self.runner)
        numbers = iter(range(10))
        monkeypatch.setattr(rollout_drive, "new_id", lambda _now: f"20260101-00000{next(numbers)}-abcd")
        self.fleet = Fleet(nodes(4))
        self.gone: set[str] = set()
        self.target, self.asked, self.jobs = "new", list[str](), list[Job]()
        self.said: list[str] = []
        inventory = folder / "hosts.yml"
        inventory.touch()
        self.desk = Desk(folder / "rollouts", Files(inventory), self.said.append, self.watch)

    @contextmanager
    def watch(self, *_args: Any) -> Iterator[Any]:
        yield lambda _entry: None

    def ask(self, action: str, _variables: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append(action)
        return {"outcome": {"take": "taken", "renew": "renewed", "release": "released"}[action]}

    def look(self, _inventory: Path, limit: str | None, *_args: Any, **_more: Any) -> Any:
        names = limit.split(":") if limit else list(self.fleet.version)
        found = {name: self.found(name) for name in names}

        class Looked:
            @staticmethod
            def nodes() -> dict[str, Found]:
                return found

        return Looked()

    def found(self, name: str) -> Found:
        if name in self.gone:
            return Found(name, "unreachable", error="timed out")
        runs = self.fleet.version[name]
        item = {"name": "0", "gpus": list(range(8)), "address": "0.0.0.0", "port": 30000}
        state = {"model": "m", "image": {"reference": runs}, "instances": {"0": {"plan": item}}}
        plan = {"model": "m", "gpu": "H200", "count": 8, "image": {"reference": self.target}, "instances": [item]}
        action = "none" if runs == self.target else "restart"
        change = {"action": action, "summary": action, "problems": [], "instances": {"0": {"action": action}}}
        return Found(name, KNOWN, state, plan, change, {"0": {"unit": "active"}})

    def runner(self, _folder: Path, *_args: Any, **_more: Any) -> Any:
        self.fleet.adopt = lambda _hear: {}  # type: ignore[attr-defined]
        return self.fleet


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    return Stage(monkeypatch, tmp_path)


def test_there_and_back_and_there_again(stage: Stage) -> None:
    assert begin(stage.desk, WISHES, None) == 0
    assert set(stage.fleet.version.values()) == {"new"}
    assert stage.asked == ["take", "release"]
    first = stage.desk.rollouts / "20260101-000000-abcd"
    assert json.loads((first / "states" / "n02.json").read_text())["image"]["reference"] == "old"

    assert begin(stage.desk, WISHES, None) == 0
    assert stage.said[-1] == "nothing to do: every host that was reached runs what the inventory says"
    assert len(list(stage.desk.rollouts.iterdir())) == 1

    assert rollback(stage.desk, first.name, "n01:n02", "50%") == 0
    assert list(stage.fleet.version.values()) == ["old", "old", "new", "new"]
    second = stage.desk.rollouts / "20260101-000002-abcd"
    assert json.loads((second / "before" / "n02.json").read_text())["image"]["reference"] == "new"
    assert sorted(path.name for path in (second / "states").iterdir()) == ["n01.json", "n02.json"]

    assert rollback(stage.desk, first.name, "n01", "100%") == 0
    assert stage.said[-1] == f"nothing to do: every host that was reached runs what it ran before rollout {first.name}"


def test_what_cannot_be_reached_is_kept_out(stage: Stage) -> None:
    stage.gone = {"n04"}
    assert begin(stage.desk, WISHES, None) == 4
    assert list(stage.fleet.version.values()) == ["new", "new", "new", "old"]
    assert stage.fleet.serving["n04"] is False
    assert stage.said[-3].endswith("n04 cannot be reached, and is kept out of traffic; new: n01, n02, n03")


def test_resume_goes_on_to_the_same_plans_only(stage: Stage) -> None:
    stage.fleet.forward = {"n03": Fate("fails")}
    held = Wishes("1,100%", "25%", (), 0, 600, ("smoke",), "hold", 100)
    assert begin(stage.desk, held, None) == 3
    (folder,) = stage.desk.rollouts.iterdir()
    assert stage.said[-2].startswith(f"next: sglang-fleet resume {folder.name} goes on with it; ")
    stage.fleet.forward = {}
    stage.target = "newer"
    with pytest.raises(FleetError, match="the inventory plans something else for n01, n02, n03, n04 than when"):
        resume(stage.desk, folder.name)
    stage.target = "new"
    assert resume(stage.desk, folder.name) == 0
    assert set(stage.fleet.version.values()) == {"new"}
    assert resume(stage.desk, folder.name) == 0
    assert stage.said[-1] == f"rollout {folder.name} has ended, every host is new: nothing to resume"


def test_what_went_back_is_not_resumed(stage: Stage) -> None:
    stage.fleet.forward = {"n03": Fate("fails")}
    assert begin(stage.desk, WISHES, None) == 2
    assert stage.said[-2] == "next: put right what failed, and begin a new rollout"
    (folder,) = stage.desk.rollouts.iterdir()
    assert resume(stage.desk, folder.name) == 2


def test_a_rollback_needs_states(stage: Stage) -> None:
    assert begin(stage.desk, WISHES, None) == 0
    (folder,) = stage.desk.rollouts.iterdir()
    for path in (folder / "states").iterdir():
        path.unlink()
    with pytest.raises(FleetError, match=r"holds no host's state: rollout .* has changed none that had one$"):
        rollback(stage.desk, folder.name, None, None)


# --- A play's events ------------------------------------------------------------------------------------------------


def runner_event(kind: str, action: str = "x", **result: Any) -> dict[str, Any]:
    return {"event": kind, "pid": 7, "event_data": {"host": "a", "task": "T", "task_action": action, "res": result}}


GATE = {"gate": "chat", "passed": False, "evidence": "no answer", "seconds": 1.5, "budget_seconds": 30}


def test_gates_and_drops_are_told_at_once() -> None:
    told: list[Mapping[str, Any]] = []
    log: list[str] = []
    reporter = Reporter(3, told.append, log.append)
    reporter(runner_event("runner_item_on_failed", "sglang.fleet.smoke_test", item="1", gates=[GATE], msg="a: no"))
    reporter(runner_event("runner_on_ok", "set_fact", ansible_facts={"performance_gate_result": {"gates": [GATE]}}))
    delegated = {"msg": "no route", "_ansible_delegated_vars": {"ansible_delegated_host": "gw-1"}}
    reporter(runner_event("runner_on_unreachable", **delegated))
    reporter({"event": "playbook_on_stats", "event_data": {"dark": {"a": 1}, "failures": {}, "processed": {"a": 1}}})
    assert told == [
        {"event": "play_began", "play": 3, "pid": 7},
        {"event": "gate", "host": "a", "instance": "1", **GATE},
        {"event": "gate", "host": "a", "instance": "", **GATE},
        {"event": "unreachable", "host": "a", "elsewhere": "gw-1", "error": "no route"},
    ]
    end = reporter.ended("failed", 4, ["a", "b"])
    assert end["hosts"]["a"] == {"ran": True, "failed": False, "dark": True, "error": "no route"}
    assert end["hosts"]["b"] == {"ran": False, "failed": False, "dark": False, "error": ""}


def stage_event(stage: str, instance: str = "0", detail: str = "") -> dict[str, Any]:
    return {"event": "stage", "host": "a", "instance": instance, "stage": stage, "detail": detail}


def ended(**host: Any) -> dict[str, Any]:
    usual = {"ran": True, "failed": False, "dark": False, "error": ""}
    return {"event": "play_ended", "rc": 2, "status": "failed", "said": "", "hosts": {"a": {**usual, **host}}}


@pytest.mark.parametrize(
    ("events", "outcome"),
    [
        ([stage_event("in"), stage_event("done", "")], Outcome("done")),
        # A server of several that is done says nothing of the host.
        ([stage_event("done"), ended(dark=True, error="gone")], Outcome("unreachable", "gone")),
        (
            [stage_event("applying"), ended()],
            Outcome("failed", "the playbook ended in the middle of its change", True),
        ),
        ([stage_event("applying")], Outcome("failed", "the playbook ended in the middle of its change", True)),
        ([stage_event("waiting", ""), ended(failed=True, error="no image")], Outcome("failed", "no image", False)),
        ([ended()], Outcome("untouched", "ansible-playbook ended with 2", False)),
        ([], Outcome("untouched", "the playbook's process has died", False)),
        (
            [
                stage_event("out"),
                {"event": "unreachable", "host": "a", "elsewhere": "gw-1", "error": "no route"},
                ended(dark=True),
            ],
            Outcome("failed", "gw-1 cannot be reached: no route", True),
        ),
        (
            [stage_event("failed", "", "chat"), stage_event("rolled_back", ""), ended(failed=True)],
            Outcome("rolled_back", "chat"),
        ),
        (
            [stage_event("failed", "", "chat"), stage_event("held", "", "it hangs"), ended(failed=True)],
            Outcome("failed", "chat; and the way back: it hangs", True),
        ),
    ],
)
def test_what_a_play_comes_to(events: list[dict[str, Any]], outcome: Outcome) -> None:
    hosts = _Hosts()
    for event in events:
        hosts.take(event)
    assert hosts.outcome("a") == outcome


def test_a_file_that_grows_is_read_by_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    tail = Tail(path, 0)
    assert list(tail.news()) == []
    path.write_text('{"event": "stage"}\nno JSON\n{"event": "ga')
    assert list(tail.news()) == [{"event": "stage"}]
    with path.open("a") as file:
        file.write('te"}\n')
    assert list(tail.news()) == [{"event": "gate"}]


def test_a_playbook_is_asked_to_end_before_it_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr("sglang_fleet.rollout_play.os.kill", lambda pid, number: sent.append((pid, number)))
    cancel = Cancel(lambda: 7, patience=2)
    assert not cancel.overdue()
    cancel.take(15, None)
    assert [cancel.overdue() for _look in range(3)] == [False, False, True]
    assert sent == [(7, 15)]
    early = Cancel(lambda: None)
    early.take(15, None)
    assert early.overdue()


def followed(folder: Path, *events: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What is heard of a play that is over."""
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    heard: list[Mapping[str, Any]] = []
    runner = PlaybookRunner(folder, Files(folder), threading.Event())
    runner._follow(0, lambda: False, heard.append, (0, None))
    return heard


def test_a_gate_that_is_told_twice_is_heard_once(tmp_path: Path) -> None:
    gate = {"event": "gate", "host": "a", "instance": "0", **GATE}
    heard = followed(tmp_path, gate, {**gate, "at": 1.0}, {**gate, "instance": "1"}, {**gate, "passed": True})
    assert [(event["instance"], event["passed"]) for event in heard] == [("0", False), ("1", False), ("0", True)]


def test_what_is_said_of_a_host_does_not_begin_with_its_name(tmp_path: Path) -> None:
    assert followed(tmp_path, stage_event("failed", "", "a: no answer"))[0]["detail"] == "no answer"


def test_a_playbook_whose_process_has_died_does_not_go_on_alone(tmp_path: Path) -> None:
    playbook = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        followed(tmp_path, {"event": "play_began", "play": 1, "pid": playbook.pid})
        assert playbook.wait(60) != 0
    finally:
        playbook.kill()


def test_a_process_is_known_by_its_start(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        start = rollout_process.started(process.pid)
        assert rollout_process.runs(process.pid, start)
        assert not rollout_process.runs(process.pid, "another")
        rollout_process.end(process.pid, "another")
        assert process.poll() is None
        rollout_process.end(process.pid, start)
        assert process.wait(60) == -15
    assert rollout_process.started(process.pid) is None
