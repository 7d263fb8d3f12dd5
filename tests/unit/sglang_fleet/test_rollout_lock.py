# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's side of the lock, over the real logic of the lock's file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _rollout_lock
from sglang_fleet.planning import FleetError
from sglang_fleet.rollout import Interrupted
from sglang_fleet.rollout_lock import FleetLock, RefusedLockError, age_text


class Node:
    """The node with the lock, and a clock that both sides look at. down: why it does not answer."""

    def __init__(self, path: Path) -> None:
        self.path, self.now, self.down = str(path), 1000.0, ""

    def __call__(self, action: str, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.down:
            raise FleetError(self.down)
        who = (variables["rollout_lock_holder"], variables["rollout_id"], variables["rollout_lock_pid"])
        if action == "take":
            dead = variables.get("rollout_lock_dead")
            return _rollout_lock.take(*who, self.now, dead=dead, path=self.path)._asdict()
        return getattr(_rollout_lock, action)(*who, self.now, path=self.path)._asdict()  # type: ignore[no-any-return]

    def lock(self, holder: str, rollout: str = "r1", pid: int = 1) -> FleetLock:
        return FleetLock(self, holder, rollout, pid, clock=lambda: self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "rollout.lock")


def test_the_second_is_refused_by_the_firsts_name(node: Node) -> None:
    node.lock("ada@one", "r1", 4711).take()
    node.now += 42
    with pytest.raises(RefusedLockError) as refused:
        node.lock("bob@two", "r2").take()
    assert str(refused.value) == (
        "ada@one is rolling out (rollout r1, process 4711, for 42 s; last sign of life 42 s ago). Wait for it, or have it "
        "stopped; sglang-fleet status shows how far it is. If that process is dead, the lock is free 90 s after its last sign of "
        "life. No host was touched"
    )


def test_a_stale_one_is_taken_over_and_its_holder_stops(node: Node) -> None:
    ada = node.lock("ada@one")
    ada.take()
    node.now += 91
    assert node.lock("bob@two", "r2").take() == ("the lock of ada@one (rollout r1) was taken over: its process is dead")
    ada.renew()
    with pytest.raises(Interrupted, match=r"^the lock of rollouts is lost: bob@two has taken it over \(rollout r2\)$"):
        ada.guard(node.wait)
    assert ada.release() == ""
    assert _rollout_lock.look(node.now, node.path).outcome == "held"


def test_ones_own_dead_process_is_no_hindrance(node: Node) -> None:
    node.lock("ada@one", "r1", 7).take()
    assert node.lock("ada@one", "r1", 8).take({"holder": "ada@one", "rollout_id": "r1", "pid": 7}) == ""


def test_nothing_begins_while_it_cannot_be_renewed(node: Node) -> None:
    lock = node.lock("ada@one")
    lock.take()
    node.down = "gw-1 cannot be reached"
    lock.renew()
    lock.guard(node.wait)  # a heartbeat may be missed
    assert node.now == 1000
    node.now += 91

    def comes_back(seconds: float) -> None:
        node.now += seconds
        if node.now > 1150:
            node.down = ""
            lock.renew()

    lock.guard(comes_back)
    assert node.now == 1151
    node.down = "gw-1 cannot be reached"
    node.now += 91
    lock.renew()
    with pytest.raises(
        Interrupted, match=r"^the lock of rollouts could not be renewed for 10 min: gw-1 cannot be reached$"
    ):
        lock.guard(node.wait)


def test_removed_by_hand(node: Node) -> None:
    lock = node.lock("ada@one")
    lock.take()
    Path(node.path).unlink()
    lock.renew()
    with pytest.raises(Interrupted, match=r"^the lock of rollouts is lost: it was removed$"):
        lock.guard(node.wait)


def test_release(node: Node) -> None:
    lock = node.lock("ada@one")
    lock.take()
    lock.start()
    node.down = "gw-1 cannot be reached"
    assert lock.release() == ("the lock of rollouts could not be released, and is free in 90 s: gw-1 cannot be reached")
    node.down = ""
    assert lock.release() == ""
    assert _rollout_lock.look(node.now, node.path).outcome == "free"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "an unknown time"), (-1, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h")],
)
def test_age(seconds: float | None, text: str) -> None:
    assert age_text(seconds) == text
