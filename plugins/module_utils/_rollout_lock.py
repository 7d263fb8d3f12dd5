# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock against two operators at once: a file on one node that all of them know, and who holds it.

The file is one JSON object: {"holder": "user@controller", "rollout_id", "pid", "started_at", "heartbeat_at"}, times in
seconds since the epoch by the node's own clock, so that controllers' clocks need not agree. A holder renews it; one whose
last heartbeat is older than STALE seconds is dead, and whoever comes next may take its place.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

PATH = "/var/lib/sglang-fleet/rollout.lock"
#: Seconds without a heartbeat after which a holder counts as dead: three that are missed.
STALE = 90.0
_FIELDS: dict[str, tuple[type, ...]] = {
    "holder": (str,),
    "rollout_id": (str,),
    "pid": (int,),
    "started_at": (int, float),
    "heartbeat_at": (int, float),
}


class LockError(ValueError):
    """The file is not a lock, or cannot be used."""


class Answer(NamedTuple):
    """What became of a request.

    outcome: taken, renewed or released; refused (somebody else holds it) or lost (it is no longer the asker's); free or
    held (of a look). lock: what is in the file then, or what was released; None for none. age: seconds since the last
    heartbeat. replaced: the dead holder's lock that was taken over.
    """

    outcome: str
    lock: dict[str, Any] | None
    age: float | None = None
    replaced: dict[str, Any] | None = None


def read(path: str = PATH) -> dict[str, Any] | None:
    """The lock; None where nobody holds it. Raises LockError."""
    try:
        with open(path, encoding="utf-8") as handle:
            found = json.load(handle)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise LockError(
            f"{path} cannot be read as a rollout's lock ({error}): see who made it, then remove it"
        ) from error
    if not isinstance(found, dict) or not all(
        isinstance(found.get(name), kind) and not isinstance(found.get(name), bool) for name, kind in _FIELDS.items()
    ):
        raise LockError(
            f"{path} is not a rollout's lock: it needs {', '.join(_FIELDS)}. See who made it, then remove it"
        )
    return found


def is_stale(lock: Mapping[str, Any], now: float, stale: float = STALE) -> bool:
    """Whether the holder is dead. A heartbeat from the future is as good as none: the clock was set back since."""
    return abs(now - float(lock["heartbeat_at"])) > stale


def same(lock: Mapping[str, Any] | None, holder: str, rollout_id: str, pid: int) -> bool:
    """Whether that very process holds the lock."""
    return lock is not None and (lock["holder"], lock["rollout_id"], lock["pid"]) == (holder, rollout_id, pid)


def look(now: float, path: str = PATH) -> Answer:
    """Who holds it."""
    lock = read(path)
    return Answer("free", None) if lock is None else Answer("held", lock, _age(lock, now))


def take(
    holder: str,
    rollout_id: str,
    pid: int,
    now: float,
    stale: float = STALE,
    dead: Mapping[str, Any] | None = None,
    path: str = PATH,
) -> Answer:
    """Take the lock where nobody has it, its holder is dead, or it is held by `dead`.

    dead: {"holder", "rollout_id", "pid"} of a process that the asker knows to be gone, such as its own before a crash; the
    lock of any other stays, however alike.
    """
    with _alone(path):
        found = read(path)
        mine = same(found, holder, rollout_id, pid)
        known = dead is not None and same(found, dead["holder"], dead["rollout_id"], int(dead["pid"]))
        if found is not None and not (mine or known or is_stale(found, now, stale)):
            return Answer("refused", found, _age(found, now))
        lock = {"holder": holder, "rollout_id": rollout_id, "pid": pid, "started_at": now, "heartbeat_at": now}
        _write(path, lock)
    return Answer("taken", lock, 0.0, None if mine else found)


def renew(holder: str, rollout_id: str, pid: int, now: float, path: str = PATH) -> Answer:
    """A heartbeat; `lost` where the lock is gone or another's."""
    with _alone(path):
        found = read(path)
        if found is None or not same(found, holder, rollout_id, pid):
            return Answer("lost", found, None if found is None else _age(found, now))
        lock = {**found, "heartbeat_at": now}
        _write(path, lock)
    return Answer("renewed", lock, 0.0)


def release(holder: str, rollout_id: str, pid: int, now: float, path: str = PATH) -> Answer:
    """Let go of it; another's lock stays, and none is no error."""
    with _alone(path):
        found = read(path)
        if found is None or not same(found, holder, rollout_id, pid):
            return Answer("lost", found, None if found is None else _age(found, now))
        os.unlink(path)
        _sync_folder(path)
    return Answer("released", found, _age(found, now))


def _age(lock: Mapping[str, Any], now: float) -> float:
    return round(now - float(lock["heartbeat_at"]), 1)


@contextlib.contextmanager
def _alone(path: str) -> Iterator[None]:
    """One request at a time: two that find the same dead holder must not both take its place.

    The guard's file stays, for a lock on a file that goes away guards nothing.
    """
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    descriptor = os.open(f"{path}.guard", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: str, lock: Mapping[str, Any]) -> None:
    """The file in one step, on the disk before anybody acts on it."""
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".rollout.lock.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            handle.write(json.dumps(lock, sort_keys=True) + "\n")
            handle.flush()
            os.fsync(handle.fileno())
        os.chmod(temporary, 0o644)  # who holds it is no secret, and others are to be told
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_folder(path)


def _sync_folder(path: str) -> None:
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
