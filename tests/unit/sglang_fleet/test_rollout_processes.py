# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller with real playbooks' processes: ends of every kind, a controller that is killed, two operators."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sglang_fleet import rollout_process
from sglang_fleet.rollout_runner import read_play
from tests.unit.sglang_fleet.rollout_controller import QUICK, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def until(true: Callable[[], Any], process: subprocess.Popen[str] | None = None) -> Any:
    """Waits for something that will come; the limit only ends a test that would hang."""
    for _ in range(1200):
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
    code, said = world.roll("--events", str(world.folder / "events.jsonl"))
    assert code == 0, said
    assert set(world.runs.values()) == {"new"}
    assert not (world.world / "rollout.lock").exists()
    (folder,) = world.rollouts
    told = json.loads((folder / "rollout.json").read_text())
    assert (told["code"], told["result"], told["next"]) == (0, "every host is new", "")
    assert [wave["hosts"] for wave in told["waves"]] == [["n01"], ["n02", "n03", "n04"]]
    assert json.loads((folder / "states" / "n03.json").read_text())["image"]["reference"] == "sglang:old"
    kinds = {json.loads(line)["entry"] for line in (world.folder / "events.jsonl").read_text().splitlines()}
    assert {"wave_begun", "batch", "stage", "outcome", "wave_ended", "ended"} <= kinds
    assert folder.stat().st_mode & 0o777 == 0o700

    code, said = world.roll()
    assert (code, len(world.rollouts)) == (0, 1)
    assert "nothing to do: every host that was reached runs what the inventory says" in said

    code, said = world.run("rollback")
    assert code == 0, said
    assert set(world.runs.values()) == {"old"}
    assert "every host is back as before" in said
    # And a rollback is undone in the same way.
    code, said = world.run("rollback", "-l", "n02")
    assert (code, world.runs["n02"], world.runs["n01"]) == (0, "new", "old"), said


@pytest.mark.parametrize(
    ("fates", "options", "code", "runs", "said", "out"),
    [
        pytest.param({"n03": "gate"}, (), 2, "oooo", "failed, and every host is back as before", "", id="gate"),
        pytest.param(
            {"n03": "gate"}, ("--on-failure", "hold", "--max-unavailable", "1"), 3, "nnoo", "failed, and the fleet is mixed: new: n01, n02; as before: n03, n04", "", id="hold",
        ),
        pytest.param({"n01": "pull"}, (), 2, "oooo", "n01: there is no such image", "", id="before anything is changed"),
        pytest.param({"n03": "gone"}, (), 4, "oooo", "n03 cannot be reached, and is kept out of traffic", "n03", id="unreachable"),
        pytest.param({"n01": "stuck"}, (), 2, "oooo", "chat: no answer; and the way back: it does not come back", "", id="held, and back at once"),
    ],
)  # fmt: skip
def test_how_it_ends(
    world: World, fates: dict[str, str], options: tuple[str, ...], code: int, runs: str, said: str, out: str
) -> None:
    for host, fate in fates.items():
        world.fate(host, fate)
    found, text = world.roll(*options)
    assert (found, "".join(version[0] for version in world.runs.values())) == (code, runs), text
    assert said in text
    assert sorted(path.name for path in world.world.glob("out.*")) == [f"out.{name}" for name in out.split()]


def test_a_killed_controller_leaves_a_playbook_that_resume_hears_to_its_end(world: World) -> None:
    """Its host is changed once, whoever is there to see it."""
    world.fate("n02", "slow")
    process = world.start("rollout", *QUICK)
    until(lambda: in_stage(world, "draining")() and world.runs["n01"] == "new", process)
    until(lambda: any(e.get("host") == "n02" and e.get("stage") == "draining" for e in journal(world.rollouts[0])), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    play = read_play(world.rollouts[0])
    assert play is not None
    assert rollout_process.runs(play["pid"], play["start"])

    code, said = world.run("status")
    assert "its playbook still works" in said, said

    again = world.start("resume")
    until(lambda: any(entry["entry"] == "resumed" for entry in journal(world.rollouts[0])), again)
    (world.world / "go").touch()
    said, _ = again.communicate(timeout=300)
    assert again.returncode == 0, said
    assert set(world.runs.values()) == {"new"}
    assert [(world.world / f"starts.{name}").read_text() for name in world.names] == ["new\n"] * 4
    assert not rollout_process.runs(play["pid"], play["start"])
    assert not (world.world / "rollout.lock").exists()


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
    said, _ = first.communicate(timeout=120)
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


def test_a_dead_operators_lock_is_taken_over(world: World) -> None:
    lock = {"holder": "bob@gone", "rollout_id": "x", "pid": 1, "started_at": 1.0, "heartbeat_at": 2.0}
    (world.world / "rollout.lock").write_text(json.dumps(lock))
    code, said = world.roll("-l", "n01,n02")
    assert code == 0, said
    assert "note: the lock of bob@gone (rollout x) was taken over: its process is dead" in said
    assert list(world.runs.values()) == ["new", "new", "old", "old"]


def test_secrets_are_in_no_command_line_and_no_journal(world: World) -> None:
    secret = world.folder / "secret.yml"
    secret.write_text("hidden: s3cr3t-value\n")
    world.fate("n01", "slow")
    process = world.start("rollout", *QUICK, "-e", f"@{secret}", "-e", "colour=mauve")
    until(in_stage(world, "draining"), process)
    commands = "\n".join(_playbooks_of(world))
    assert f"@{secret}" in commands
    (world.world / "go").touch()
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    texts = [path.read_text() for path in world.rollouts[0].rglob("*") if path.is_file()]
    assert not any("s3cr3t-value" in text for text in [*texts, commands, said])
    assert "mauve" not in commands
    modes = {path.stat().st_mode & 0o077 for path in world.rollouts[0].glob("*.jsonl")} | {
        (world.rollouts[0] / name).stat().st_mode & 0o077 for name in ("variables.json", "options.json", "ansible.log")
    }
    assert os.getuid() >= 0
    assert modes <= {0, 0o044}
