# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollout looks like while it runs, and its report."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sglang_fleet import rollout_journal
from sglang_fleet.report_run import check_run
from sglang_fleet.rollout_journal import Journal
from sglang_fleet.rollout_report import run_of, write_summary
from sglang_fleet.rollout_state import Rollout
from sglang_fleet.rollout_view import Progress, batches_left, frame, watching
from tests.unit.sglang_fleet.rollout_standins import Clock, Fate, Fleet, engine, nodes, rolled, spec


@pytest.fixture(autouse=True)
def _fast_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout_journal.os, "fsync", lambda _file: None)


class Watched:
    """A rollout and its view, looked at each time that something happens."""

    def __init__(self, folder: Path, fleet: Fleet, width: int = 120, height: int = 30, **wanted: Any) -> None:
        self.clock = Clock()
        self.journal = Journal.begin(folder, self.clock)
        first = self.journal.add("rollout", **spec(fleet.nodes, **wanted))
        self.progress = Progress(self.journal.state, lambda: self.clock.now)
        self.progress.take(first)
        self.size = width, height
        self.frames: list[str] = []
        self.code = engine(self.journal, fleet, self.clock, listeners=[self.take]).run()

    def take(self, entry: Mapping[str, Any]) -> None:
        self.progress.take(entry)
        console = Console(file=io.StringIO(), width=self.size[0], color_system=None)
        console.print(frame(self.progress, "r1", *self.size))
        self.frames.append(str(console.file.getvalue()))  # type: ignore[attr-defined]

    def with_text(self, text: str) -> list[str]:
        return [one for one in self.frames if text in one]


def test_waves_stages_flight_and_time_left(tmp_path: Path) -> None:
    seen = Watched(tmp_path / "r", Fleet(nodes(8)), waves="1, 50%, 100%", max_unavailable="25%")
    first = seen.with_text("n01   draining")[0]
    assert "rollout r1  0 of 8 hosts are new · 1 changing · out: 1 server, 8 GPUs (at most 25%)" in first
    assert "3 requests in flight" in first
    assert "▶ wave 1  0/1" in first
    assert "about" not in first
    later = seen.with_text("n04   gating")[0]
    assert "✓ wave 1  1/1" in later
    assert "▶ wave 2  2/3" in later
    assert "requests in flight" not in later
    assert "left" in later
    assert "and 3 done, 4 waiting" in later
    assert seen.code == 0


def test_what_has_failed_is_always_shown(tmp_path: Path) -> None:
    fleet = Fleet(nodes(40), {"n03": Fate("undone")})
    seen = Watched(tmp_path / "r", fleet, height=20, waves="100%", max_unavailable="50%", success=50)
    after = seen.with_text("1 failed")
    assert after
    assert all("n03   rolled back" in one and "gating went wrong" in one for one in after[2:])
    assert max(len(one.splitlines()) for one in seen.frames) <= 20
    assert seen.with_text("and 14 more that change or have failed")


def test_a_rollback_is_told(tmp_path: Path) -> None:
    seen = Watched(tmp_path / "r", Fleet(nodes(4), {"n04": Fate("fails")}))
    assert seen.with_text("rolling back r1  1 of 4 hosts are as before")
    assert "STOPPED: wave 3: n04 failed" in seen.frames[-1]


def test_transfers_are_told_until_the_next_stage(tmp_path: Path) -> None:
    class Pulls(Fleet):
        def _stage(self, name: str, stage: str, job: Any, hear: Any) -> None:
            super()._stage(name, stage, job, hear)
            if stage == "applying":
                hear({"event": "progress", "host": name, "what": "image", "done": 5, "total": 20, "left_s": 30})

    seen = Watched(tmp_path / "r", Pulls(nodes(2)), waves="100%")
    assert "image 25%, 30 s left" in seen.with_text("applying")[1]
    assert "image" not in seen.with_text("n01   starting")[0]


def test_batches_left(tmp_path: Path) -> None:
    _code, state = rolled(tmp_path / "r", Fleet(nodes(8)), waves="1, 50%, 100%", max_unavailable="25%")
    assert batches_left(state) == 0
    begun = Rollout()
    begun.apply({"entry": "rollout", "at": 1.0, **spec(nodes(8), waves="1, 50%, 100%", max_unavailable="25%")})
    assert batches_left(begun) == 1 + 2 + 2


def test_plain_lines_elsewhere(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), color_system=None, width=10_000)
    clock = Clock()
    journal = Journal.begin(tmp_path / "r", clock)
    fleet = Fleet(nodes(2), {"n02": Fate("undone")})
    journal.add("rollout", **spec(fleet.nodes, soak_s=60, waves="1,100%"))
    with watching(journal.state, tmp_path / "r", console) as line:
        engine(journal, fleet, clock, listeners=[line]).run()
    lines = [one.partition(" ")[2] for one in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    assert lines[:4] == [
        "wave 1 of 2: n01",
        "n01: to the new version",
        "n01 [0]: out (3 requests in flight)",
        "n01 [0]: draining (3 requests in flight)",
    ]
    for wanted in (
        "wave 1: the canaries serve for 60 s, then the gates once more",
        "n01: gate chat passed",
        "n02: failed: gating went wrong",
        "STOPPED: wave 2: n02 failed, and 1 of 1 hosts must be well. n02: gating went wrong. Now: rollback",
    ):
        assert wanted in lines
    assert any(one.startswith("n02: ROLLED BACK after") for one in lines)


def test_the_report(tmp_path: Path) -> None:
    folder = tmp_path / "20260101-000000-0000"
    fleet = Fleet(nodes(4), {"n03": Fate("fails")}, {"n03": Fate("unreachable", "out")}, soak={})
    rolled(folder, fleet, success=50, waves="100%", unreachable=["n09"])
    gate = {"gate": "chat", "passed": False, "evidence": "no | answer", "seconds": 1.0, "budget_seconds": 5.0}
    entry = {"host": "n03", "status": "failed", "errors": [], "plan": None, "gates": [gate], "benchmarks": [], "changed_since": []}  # fmt: skip
    (folder / "hosts").mkdir()
    (folder / "hosts" / "n03.json").write_text(json.dumps(entry))
    said: list[str] = []
    told = write_summary(folder, said.append)
    assert said[0] == (
        "rollout 20260101-000000-0000: n03, n09 cannot be reached, and are kept out of traffic; new: n01, n02, n04; "
        "not known: n03"
    )
    assert said[1] == (
        "next: sglang-fleet resume 20260101-000000-0000 goes on with it; sglang-fleet rollback --to 20260101-000000-0000 brings "
        "every host back to what it was before"
    )
    assert (told["code"], told["hosts"]["n03"]["in_traffic"], told["hosts"]["n01"]["version"]) == (4, False, "new")
    text = (folder / "rollout.md").read_text()
    assert "- **n03** (unreachable; not known, out of traffic): timed out" in text
    assert "| 1 | n01 | new |  |" in text
    run = check_run(run_of(journal_state(folder), folder))
    assert [(one["host"], one["status"]) for one in run["hosts"]] == [
        ("n01", "not run"), ("n02", "not run"), ("n03", "unreachable"), ("n04", "not run"), ("n09", "unreachable"),
    ]  # fmt: skip
    assert (folder / "report" / "report.html").is_file()


def journal_state(folder: Path) -> Rollout:
    return rollout_journal.read_state(folder)
