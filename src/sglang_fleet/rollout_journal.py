# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of a rollout on the controller: one JSON object a line, only ever added to, each on the disk before it counts.

``{artifacts}/rollouts/<id>/``: ``journal.jsonl``; ``before/<host>.json``, the state that a host had before and goes back to;
``plans.json``, what is to come; ``lock.yml``, the lock that it brings; ``events.jsonl``, what the playbooks tell.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Final

from sglang_fleet.planning import FleetError
from sglang_fleet.rollout_state import Rollout

JOURNAL: Final = "journal.jsonl"
SCHEMA: Final = 1
_ID: Final = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")

Clock = Callable[[], float]


def new_id(now: float) -> str:
    """A name that sorts by time, such as 20260114-093000-1f2e (UTC)."""
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime(now)) + f"-{secrets.token_hex(2)}"


def rollouts_folder(inventory: Path, artifacts: Path | None = None) -> Path:
    """Where the rollouts of an inventory are kept: in its own folder, unless another place is given. Hidden there, as Ansible
    takes each other file of an inventory's folder for a part of it."""
    beside = inventory if inventory.is_dir() else inventory.parent
    return (artifacts or beside / ".artifacts") / "rollouts"


def rollout_ids(folder: Path) -> list[str]:
    """The rollouts that were begun, the oldest first."""
    try:
        return sorted(path.name for path in folder.iterdir() if _ID.fullmatch(path.name) and (path / JOURNAL).is_file())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise FleetError(f"cannot look into {folder}: {error.strerror}") from error


def pick(folder: Path, wanted: str | None) -> str:
    """The rollout of that name, or of that beginning of a name; the latest without one. Raises FleetError."""
    known = rollout_ids(folder)
    if not known:
        raise FleetError(f"there is no rollout in {folder}: begin one with sglang-fleet rollout")
    if wanted is None:
        return known[-1]
    found = [name for name in known if name.startswith(wanted)]
    if len(found) != 1:
        what = "several rollouts begin" if found else "no rollout's name begins"
        raise FleetError(f"{what} with {wanted!r} in {folder}; there are: {', '.join(known[-8:])}")
    return found[0]


class Journal:
    """The journal of one rollout, open for more. ``state`` is what all its entries come to."""

    def __init__(self, folder: Path, file: IO[bytes], state: Rollout, clock: Clock) -> None:
        self.folder, self.state = folder, state
        self._file, self._clock = file, clock
        self._one = threading.Lock()

    @classmethod
    def begin(cls, folder: Path, clock: Clock = time.time) -> Journal:
        """A new one; raises FleetError."""
        try:
            folder.mkdir(parents=True)
            file = (folder / JOURNAL).open("xb")
            _sync(folder.parent)
        except OSError as error:
            raise FleetError(f"cannot keep a journal in {folder}: {error.strerror}") from error
        _only_one(file, folder)
        return cls(folder, file, Rollout(), clock)

    @classmethod
    def reopen(cls, folder: Path, clock: Clock = time.time) -> Journal:
        """That of a rollout that was begun, to go on with it; raises FleetError, too where another process is at it."""
        path = folder / JOURNAL
        try:
            file = path.open("r+b")
        except OSError as error:
            raise FleetError(f"cannot open {path}: {error.strerror}") from error
        _only_one(file, folder)
        whole = file.read()
        kept = whole[: whole.rfind(b"\n") + 1]  # a line that was being written when its writer died says nothing
        try:
            state = _state(kept, path)
        except FleetError:
            file.close()
            raise
        file.seek(len(kept))
        file.truncate()
        return cls(folder, file, state, clock)

    def add(self, kind: str, **values: Any) -> dict[str, Any]:
        """An entry, on the disk and in the state when this returns. Raises FleetError where it cannot be written."""
        with self._one:
            entry = {"entry": kind, "at": round(self._clock(), 3), **values}
            try:
                self._file.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError as error:
                raise FleetError(f"cannot write {self.folder / JOURNAL}: {error.strerror}") from error
            self.state.apply(entry)
            return entry

    def now(self) -> float:
        """Seconds since the epoch, as entries have them."""
        return self._clock()

    def close(self) -> None:
        self._file.close()


def read_state(folder: Path) -> Rollout:
    """What a rollout has come to, which may still be under way; raises FleetError."""
    path = folder / JOURNAL
    try:
        whole = path.read_bytes()
    except OSError as error:
        raise FleetError(f"cannot read {path}: {error.strerror}") from error
    return _state(whole[: whole.rfind(b"\n") + 1], path)


def is_alive(folder: Path) -> bool:
    """Whether a process of this controller is at it."""
    try:
        with (folder / JOURNAL).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def write_file(path: Path, value: Any) -> None:
    """JSON that later steps need, on the disk; the operator's only, as it tells of the fleet. Raises FleetError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise FleetError(f"cannot write {path}: {error.strerror}") from error


def _state(text: bytes, path: Path) -> Rollout:
    state = Rollout()
    for number, line in enumerate(text.splitlines(), 1):
        try:
            entry = json.loads(line)
            if not isinstance(entry, Mapping):
                raise ValueError(f"a {type(entry).__name__}")
            if number == 1 and (entry.get("entry"), entry.get("schema")) != ("rollout", SCHEMA):
                raise ValueError(f"it begins with {entry.get('entry')} of schema {entry.get('schema')}")
            state.apply(entry)
        except (ValueError, KeyError, TypeError) as error:
            raise FleetError(f"{path}, line {number}: not an entry of a rollout's journal: {error}") from error
    if not state.spec:
        raise FleetError(f"{path} is empty: its rollout ended before it began, and touched no host; begin a new one")
    return state


def _only_one(file: IO[bytes], folder: Path) -> None:
    """Two processes at one rollout would each know half of it. The lock goes with the process."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise FleetError(
            f"rollout {folder.name} is under way in another process here: wait for it, or end it"
        ) from error


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
