# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.sglang.fleet.plugins.plugin_utils.progress import EVENTS, Progress


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def shown(updates: list[tuple[float, int, int | None]]) -> list[str]:
    """The lines for (seconds since the start, done, total)."""
    clock, lines = Clock(), list[str]()
    progress = Progress("n", "image", clock, lines.append)
    for seconds, done, total in updates:
        clock.now = 100.0 + seconds
        progress.update(done, total)
    return lines


@pytest.mark.parametrize(
    ("updates", "lines"),
    [
        pytest.param([(0, 0, 100), (1, 10, 100), (2, 20, 100)], [], id="too soon for a line"),
        pytest.param(
            [(0, 0, 900), (2, 20, 900), (4, 40, 900), (13, 130, 900), (14, 140, 900)],
            ["n: image 40 of 900 B, 10 B/s, 1 min 26 s left", "n: image 140 of 900 B, 10 B/s, 1 min 16 s left"],
            id="one after three seconds, then every ten",
        ),
        pytest.param(
            [(0, 0, 100), (1, 100, 100), (2, 100, 100), (30, 100, 100)],
            ["n: image 100 B in 1 s, 100 B/s"],
            id="the end at once, and once",
        ),
    ],
)
def test_lines(updates: list[tuple[float, int, int | None]], lines: list[str]) -> None:
    assert shown(updates) == lines


def test_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv(EVENTS, str(path))
    clock = Clock()
    progress = Progress("n", "image", clock, list[str]().append)
    for seconds, done in [(0, 0), (0.5, 5), (1, 10), (1.5, 20)]:
        clock.now = 100.0 + seconds
        progress.update(done, 20, "from m")
    base = {"event": "progress", "host": "n", "what": "image", "total": 20, "note": "from m"}
    assert [json.loads(line) for line in path.read_text("utf-8").splitlines()] == [
        {**base, "done": 0, "rate": 0, "left_s": None},
        {**base, "done": 10, "rate": 10, "left_s": 1},
        {**base, "done": 20, "rate": 13, "left_s": 0},
    ]


def test_a_file_of_events_that_cannot_be_written_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EVENTS, "/nonexistent/folder/events.jsonl")
    assert shown([(0, 1, 1)]) == ["n: image 1 B in 0 s"]


def test_a_start_that_is_known_counts() -> None:
    clock, lines = Clock(), list[str]()
    progress = Progress("n", "image", clock, lines.append, start=0)
    clock.now = 110.0
    progress.update(100, 100)
    assert lines == ["n: image 100 B in 10 s, 10 B/s"]
