# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller with real playbooks' processes: ends of every kind, a controller that is killed, two operators."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from sglang_fleet import rollout_process
from sglang_fleet.rollout import Job, Outcome
from sglang_fleet.rollout_runner import Files, PlaybookRunner, read_play
from sglang_fleet.rollout_state import STAGES
from tests.unit.sglang_fleet.rollout_controller import BOOKS, QUICK, World

#: Each command here plans, takes the lock and runs playbooks.
pytestmark = pytest.mark.slow


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, 5)


def until(true: Callable[[], Any], process: subprocess.Popen[str] | None = None) -> Any:
    """Waits for something that will come; the limit only ends a test that would hang."""
    for _look in range(4800):
        if found := true():
            return found
        assert process is None or process.poll() is None, process.communicate()[0] if process else ""
        time.sleep(0.05)
    raise AssertionError("it did not come")


def journal(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines() if line.endswith("}")]


def in_stage(world: World, stage: str) -> Callable[[], bool]:
    """Whether some host of the last rollout has come to that stage."""

    def look() -> bool:
        if not (world.folder / ".artifacts").exists() or not world.rollouts:
            return False
        path = world.rollouts[-1] / "journal.jsonl"
        return path.exists() and any(entry.get("stage") == stage for entry in journal(world.rollouts[-1]))

    return look


def test_all_new_with_lock_report_and_states(world: World) -> None:
    lock = {"holder": "bob@gone", "rollout_id": "x", "pid": 1, "started_at": 1.0, "heartbeat_at": 2.0}
    (world.world / "rollout.lock").write_text(json.dumps(lock))
    code, said = world.roll("--events", str(world.folder / "events.jsonl"))
    assert code == 0, said
    assert "note: the lock of bob@gone (rollout x) was taken over: its process is dead" in said
    assert set(world.runs.values()) == {"new"}
    assert not (world.world / "rollout.lock").exists()
    (folder,) = world.rollouts
    told = json.loads((folder / "rollout.json").read_text())
    assert (told["code"], told["result"], told["next"]) == (0, "every host is new", "")
    assert [wave["hosts"] for wave in told["waves"]] == [["n01"], ["n02", "n03", "n04", "n05"]]
    assert json.loads((folder / "states" / "n03.json").read_text())["image"]["reference"] == "sglang:old"
    kinds = {json.loads(line)["event"] for line in (world.folder / "events.jsonl").read_text().splitlines()}
    assert {"wave_begun", "batch", "stage", "outcome", "wave_ended", "ended"} <= kinds
    assert folder.stat().st_mode & 0o777 == 0o700

    code, said = world.run("rollback")
    assert code == 0, said
    assert set(world.runs.values()) == {"old"}
    assert "every host is back as before" in said


def test_what_a_playbook_says_of_each_host(world: World) -> None:
    """One play over hosts of every fate."""
    for host, fate in {"n02": "gate", "n03": "pull", "n04": "gone", "n05": "stuck"}.items():
        world.fate(host, fate)
    runner = PlaybookRunner(world.folder / "r", Files(world.inventory), threading.Event(), playbooks=BOOKS)
    heard: list[Mapping[str, Any]] = []
    job = Job("x", ("n01", "n02", "n03", "n04", "n05"), "forward", 1)
    found = runner.change(job, heard.append)
    assert found["n01"] == Outcome("done")
    assert found["n02"] == Outcome("rolled_back", "chat: no answer")
    assert found["n03"] == Outcome("failed", "there is no such image", False)
    assert (found["n04"].status, "Connection refused" in found["n04"].error) == ("unreachable", True)
    assert found["n05"] == Outcome("failed", "chat: no answer; and the way back: it does not come back", True)
    assert world.runs == {"n01": "new", "n02": "old", "n03": "old", "n04": "old", "n05": "new"}
    stages = [event["stage"] for event in heard if event["event"] == "stage" and event["host"] == "n01"]
    assert stages == [*STAGES, "done"]
    entries = {path.stem: json.loads(path.read_text()) for path in (world.folder / "r" / "hosts").iterdir()}
    assert {name: entry["status"] for name, entry in entries.items()} == {
        "n01": "passed", "n02": "failed", "n03": "failed", "n04": "unreachable", "n05": "failed",
    }  # fmt: skip
    assert runner.keep_out(Job("x", ("n04",), "back", 0)) == {}
    assert (world.world / "out.n04").exists()


def test_a_killed_controller_leaves_a_playbook_that_resume_hears_to_its_end(world: World) -> None:
    """Its host is changed once, whoever is there to see it."""
    secret = world.folder / "secret.yml"
    secret.write_text("hidden: s3cr3t-value\n")
    world.fate("n02", "slow")
    process = world.start("rollout", *QUICK, "-e", f"@{secret}", "-e", "colour=mauve")
    until(lambda: in_stage(world, "draining")() and world.runs["n01"] == "new", process)
    until(
        lambda: any(e.get("host") == "n02" and e.get("stage") == "draining" for e in journal(world.rollouts[0])),
        process,
    )
    process.send_signal(signal.SIGKILL)
    process.wait()
    play = read_play(world.rollouts[0])
    assert play is not None
    assert rollout_process.runs(play["pid"], play["start"])
    commands = "\n".join(_playbooks_of(world))
    assert f"@{secret}" in commands
    assert "mauve" not in commands

    _code, said = world.run("status")
    assert "its playbook still works" in said, said

    again = world.start("resume")
    until(lambda: any(entry["entry"] == "resumed" for entry in journal(world.rollouts[0])), again)
    (world.world / "go").touch()
    said, _errors = again.communicate(timeout=300)
    assert again.returncode == 0, said
    assert set(world.runs.values()) == {"new"}
    assert [(world.world / f"starts.{name}").read_text() for name in world.names] == ["new\n"] * 5
    assert not rollout_process.runs(play["pid"], play["start"])
    assert not (world.world / "rollout.lock").exists()
    texts = [path.read_text() for path in world.rollouts[0].rglob("*") if path.is_file()]
    assert not any("s3cr3t-value" in text for text in [*texts, commands, said])


def test_a_second_operator_is_refused_by_name(world: World) -> None:
    world.fate("n01", "slow")
    first = world.start("rollout", *QUICK)
    until(in_stage(world, "draining"), first)
    code, said = world.roll()
    assert code == 1
    holder = json.loads((world.world / "rollout.lock").read_text())["holder"]
    assert f"sglang-fleet: {holder} is rolling out (rollout {world.rollouts[0].name}, process {first.pid}" in said
    assert len(world.rollouts) == 1
    code, said = world.run("resume")
    assert (code, "is under way in another process here" in said) == (1, True)

    # Ctrl-C ends the playbook, too; nothing is left to hinder others.
    first.send_signal(signal.SIGINT)
    said, _errors = first.communicate(timeout=120)
    assert first.returncode == 3
    assert "INTERRUPTED: SIGINT (Ctrl-C) stopped it" in said
    assert "sglang-fleet resume" in said
    play = read_play(world.rollouts[0])
    assert play is not None
    assert not rollout_process.runs(play["pid"], play["start"])
    assert not (world.world / "rollout.lock").exists()
    assert not _playbooks_of(world)

    world.fate("n01", None)
    code, said = world.run("resume")
    assert (code, set(world.runs.values())) == (0, {"new"}), said


def _playbooks_of(world: World) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_text().split("\0")
        except OSError:
            continue
        if str(world.inventory) in words and "ansible-playbook" in " ".join(words):
            found.append(" ".join(words))
    return found
