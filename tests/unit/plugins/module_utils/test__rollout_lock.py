# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may hold the lock of a rollout, and what is in its file."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _rollout_lock
from ansible_collections.sglang.fleet.plugins.module_utils._rollout_lock import (
    STALE,
    Answer,
    LockError,
    look,
    read,
    release,
    renew,
    take,
)

ADA = ("ada@one", "r1", 11)
BOB = ("bob@two", "r2", 22)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "state" / "rollout.lock")


def held(who: tuple[str, str, int], since: float, beat: float) -> dict[str, Any]:
    return {"holder": who[0], "rollout_id": who[1], "pid": who[2], "started_at": since, "heartbeat_at": beat}


def test_a_free_lock_is_taken_and_seen(path: str) -> None:
    assert look(100, path) == Answer("free", None)
    assert take(*ADA, now=100, path=path) == Answer("taken", held(ADA, 100, 100), 0.0)
    assert json.loads(Path(path).read_text()) == held(ADA, 100, 100)
    assert look(130, path) == Answer("held", held(ADA, 100, 100), 30.0)


def test_the_second_operator_is_refused_with_the_firsts_name(path: str) -> None:
    take(*ADA, now=100, path=path)
    assert take(*BOB, now=100 + STALE, path=path) == Answer("refused", held(ADA, 100, 100), STALE)
    assert read(path) == held(ADA, 100, 100)


@pytest.mark.parametrize("now", [100 + STALE + 0.1, 100 - STALE - 0.1], ids=["old", "the clock was set back"])
def test_a_dead_holders_lock_is_taken_over(path: str, now: float) -> None:
    take(*ADA, now=100, path=path)
    assert take(*BOB, now=now, path=path) == Answer("taken", held(BOB, now, now), 0.0, held(ADA, 100, 100))


def test_heartbeats_keep_it(path: str) -> None:
    take(*ADA, now=100, path=path)
    assert renew(*ADA, now=180, path=path) == Answer("renewed", held(ADA, 100, 180), 0.0)
    assert take(*BOB, now=250, path=path).outcome == "refused"


def test_who_has_lost_it_learns_so(path: str) -> None:
    assert renew(*ADA, now=100, path=path) == Answer("lost", None)
    take(*ADA, now=100, path=path)
    take(*BOB, now=300, path=path)
    assert renew(*ADA, now=310, path=path) == Answer("lost", held(BOB, 300, 300), 10.0)
    assert release(*ADA, now=310, path=path) == Answer("lost", held(BOB, 300, 300), 10.0)
    assert read(path) == held(BOB, 300, 300)


def test_release_lets_the_next_one_in(path: str) -> None:
    take(*ADA, now=100, path=path)
    assert release(*ADA, now=101, path=path).outcome == "released"
    assert read(path) is None
    assert release(*ADA, now=102, path=path) == Answer("lost", None)
    assert take(*BOB, now=103, path=path).outcome == "taken"


def test_the_same_process_may_take_it_twice(path: str) -> None:
    take(*ADA, now=100, path=path)
    assert take(*ADA, now=110, path=path) == Answer("taken", held(ADA, 110, 110), 0.0)


@pytest.mark.parametrize(
    ("dead", "outcome"),
    [
        ({"holder": "ada@one", "rollout_id": "r1", "pid": 11}, "taken"),
        ({"holder": "ada@one", "rollout_id": "r1", "pid": 12}, "refused"),
        ({"holder": "ada@one", "rollout_id": "r0", "pid": 11}, "refused"),
        ({"holder": "bob@two", "rollout_id": "r1", "pid": 11}, "refused"),
    ],
)
def test_only_the_one_that_is_known_to_be_dead_gives_way_at_once(path: str, dead: dict[str, Any], outcome: str) -> None:
    take(*ADA, now=100, path=path)
    assert take("ada@one", "r1", 99, now=101, dead=dead, path=path).outcome == outcome


@pytest.mark.parametrize(
    "text", ["", "[]", '{"holder": "ada@one"}', json.dumps({**held(ADA, 1, 1), "pid": True})], ids=str
)
def test_what_is_no_lock_is_nobodys(path: str, text: str) -> None:
    Path(path).parent.mkdir()
    Path(path).write_text(text)
    for ask in (lambda: look(1, path), lambda: take(*BOB, now=1, path=path), lambda: release(*BOB, now=1, path=path)):
        with pytest.raises(LockError, match="ee who made it"):
            ask()
    assert Path(path).read_text() == text


def test_of_many_that_find_a_dead_holder_one_gets_it(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All have read the dead lock before the first writes, unless they wait for one another."""
    take(*ADA, now=0, path=path)
    barrier = threading.Barrier(8, timeout=1)
    write = _rollout_lock._write

    def slow(where: str, lock: dict[str, Any]) -> None:
        with pytest.raises(threading.BrokenBarrierError):  # nobody else comes that far at the same time
            barrier.wait(timeout=0.2)
        write(where, lock)

    monkeypatch.setattr(_rollout_lock, "_write", slow)
    answers: list[Answer] = []
    threads = [
        threading.Thread(target=lambda n=n: answers.append(take(f"op{n}@x", f"r{n}", n, now=1000, path=path)))
        for n in range(1, 9)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outcomes = sorted(answer.outcome for answer in answers)
    assert outcomes == ["refused"] * 7 + ["taken"]
    winner = next(answer for answer in answers if answer.outcome == "taken")
    assert read(path) == winner.lock


def test_a_cut_write_leaves_the_lock_as_it_was(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    take(*ADA, now=100, path=path)

    def full(*_args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_rollout_lock.os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        renew(*ADA, now=150, path=path)
    assert read(path) == held(ADA, 100, 100)
    assert sorted(item.name for item in Path(path).parent.iterdir()) == ["rollout.lock", "rollout.lock.guard"]
