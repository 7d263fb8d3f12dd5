# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's side of the lock against two operators: taken at the start, renewed meanwhile, let go of at the end.

What the lock is, the collection's ``_rollout_lock`` knows; ``playbooks/rollout_lock.yml`` says where it is.
"""

from __future__ import annotations

import getpass
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from sglang_fleet.fleet import Listener, Passed, run_playbook
from sglang_fleet.planning import FleetError
from sglang_fleet.rollout import Interrupted

#: Seconds between two heartbeats: two may be missed before others count the holder as dead.
EVERY: Final = 30.0
STALE: Final = 90.0
#: Seconds that a rollout waits where the lock's node does not answer, before it stops.
PATIENCE: Final = 600.0
_ACTION: Final = "sglang.fleet.rollout_lock"

#: Asks the lock's node: the action and more variables of rollout_lock.yml; gives the module's result. Raises FleetError.
Ask = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]


class RefusedLockError(FleetError):
    """Somebody else is rolling out."""


class _Answers(Listener[dict[str, Any]]):
    """What the run of rollout_lock.yml says."""

    def __init__(self) -> None:
        super().__init__()
        self.error = ""

    def new(self, name: str) -> dict[str, Any]:
        return {"host": name}

    def ok(self, host: dict[str, Any], action: Any, result: Mapping[str, Any]) -> None:
        if action == _ACTION:
            host.update(result)

    def failed(self, host: dict[str, Any], action: Any, result: Mapping[str, Any], message: str) -> None:
        del action, result
        self.error = f"{host['host']} keeps the lock of rollouts, and it cannot be used: {message}"

    def unreachable(self, host: dict[str, Any], message: str) -> None:
        self.error = f"{host['host']} keeps the lock of rollouts, and cannot be reached: {message}"


def asker(inventory: Path, passed: Passed) -> Ask:
    """Asks by the collection's playbook."""

    def ask(action: str, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        answers = _Answers()
        run_playbook("rollout_lock.yml", inventory, None, answers, {"rollout_lock_action": action, **variables}, passed)
        found = next((one for one in answers.hosts.values() if "outcome" in one), None)
        if answers.error or found is None:
            raise FleetError(answers.error or "nobody has answered for the lock of rollouts")
        return found

    return ask


def whoami() -> str:
    """The operator, as others are told: user@controller."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def age_text(seconds: float | None) -> str:
    """Seconds for people: 40 s, 12 min, 3 h."""
    if seconds is None:
        return "an unknown time"
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


class FleetLock:
    """The lock in the hands of one process. clock: seconds that only grow."""

    def __init__(
        self,
        ask: Ask,
        holder: str,
        rollout_id: str,
        pid: int,
        *,
        every: float = EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask, self._every, self._clock = ask, every, clock
        self.who: dict[str, Any] = {"holder": holder, "rollout_id": rollout_id, "pid": pid}
        self._ended = threading.Event()
        self._renewed = threading.Event()
        self._thread: threading.Thread | None = None
        self._at = clock()
        self.lost = ""
        self.trouble = ""

    def _variables(self) -> dict[str, Any]:
        return {
            "rollout_lock_holder": self.who["holder"],
            "rollout_id": self.who["rollout_id"],
            "rollout_lock_pid": self.who["pid"],
        }

    def take(self, dead: Mapping[str, Any] | None = None) -> str:
        """A note on a dead holder whose place was taken, or an empty text. Raises RefusedLockError, FleetError.

        dead: holder, rollout_id and pid of a process that is known to be gone.
        """
        more = {"rollout_lock_dead": dict(dead)} if dead else {}
        answer = self._ask("take", {**self._variables(), **more})
        if answer["outcome"] != "taken":
            raise RefusedLockError(refusal(answer))
        self._at = self._clock()
        old = answer.get("replaced")
        if not old or dead:
            return ""
        return f"the lock of {old['holder']} (rollout {old['rollout_id']}) was taken over: its process is dead"

    def start(self) -> None:
        """Renew it from now on."""
        self._thread = threading.Thread(target=self.renew_until, args=(self._ended,), daemon=True, name="heartbeat")
        self._thread.start()

    def renew_until(self, ended: threading.Event) -> None:
        """Renew it now and then until told otherwise, or until it is lost."""
        while not ended.wait(self._every):
            self.renew()
            if self.lost:
                return

    def renew(self) -> None:
        """One heartbeat. What goes wrong is kept for the guard."""
        try:
            answer = self._ask("renew", self._variables())
        except FleetError as error:
            self.trouble = str(error)
            return
        if answer["outcome"] == "renewed":
            self._at, self.trouble = self._clock(), ""
            self._renewed.set()
            return
        lock = answer.get("lock")
        who = f"{lock['holder']} has taken it over (rollout {lock['rollout_id']})" if lock else "it was removed"
        self.lost = f"the lock of rollouts is lost: {who}"
        self._renewed.set()

    def guard(self, wait: Callable[[float], None]) -> None:
        """Before each step: raises Interrupted where the lock is another's, or was not to be renewed for long.

        Nothing new begins while others may count this process as dead.
        """
        while not self.lost and self._clock() - self._at > STALE:
            if self._clock() - self._at > PATIENCE:
                raise Interrupted(f"the lock of rollouts could not be renewed for {age_text(PATIENCE)}: {self.trouble}")
            wait(1.0)
        if self.lost:
            raise Interrupted(self.lost)

    def release(self) -> str:
        """Let go of it; a note where that failed. It ends by itself then, after 90 s."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(self._every)
        if self.lost:
            return ""
        try:
            self._ask("release", self._variables())
        except FleetError as error:
            return f"the lock of rollouts could not be released, and is free in {STALE:.0f} s: {error}"
        return ""


def refusal(answer: Mapping[str, Any]) -> str:
    """Why somebody else's lock stops a rollout, and what to do."""
    lock = answer["lock"]
    since = age_text(lock["heartbeat_at"] - lock["started_at"] + (answer.get("age") or 0))
    return (
        f"{lock['holder']} is rolling out (rollout {lock['rollout_id']}, process {lock['pid']}, for {since}; last sign of life "
        f"{age_text(answer.get('age'))} ago). Wait for it, or have it stopped; sglang-fleet status shows how far it is. If that "
        f"process is dead, the lock is free {STALE:.0f} s after its last sign of life. No host was touched"
    )


def with_cancel(passed: Passed, cancelled: Callable[[], bool]) -> Passed:
    """The same, for calls beside the rollout's own playbooks."""
    return replace(passed, cancelled=cancelled)
