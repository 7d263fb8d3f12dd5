# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work on a node that outlives the connection that started it, and that a later call can watch. Standard library only.

A file lock, which the working process holds, says whether it runs: a process ID could be somebody else's by now.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import tempfile
from collections.abc import Mapping
from typing import Any, Callable

Report = Callable[[Mapping[str, Any]], None]


class Job:
    """Work by its name. Its state is a JSON object with "state": running | done | failed, and whatever it reports."""

    def __init__(self, folder: str, name: str) -> None:
        """folder: for lock and state, best on a file system that a reboot empties; made with mode 0700."""
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self._folder = folder
        self._lock = os.path.join(folder, f"{name}.lock")
        self._state = os.path.join(folder, f"{name}.json")

    def start(self, work: Callable[[Report], None]) -> bool:
        """Has `work` run in a process of its own, cut off from this one; False where it runs already.

        `work` gets a function that publishes how far it is. What it raises becomes the state "failed" with "error", and
        "kind" where the exception has one. It must import nothing: the module's files are gone when this call has ended.
        """
        lock = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._write({"state": "running"})
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            os.close(lock)  # the working process holds it on
            return True
        try:
            self._detach(lock)
            self._work(work)
        finally:
            os._exit(0)

    def running(self) -> bool:
        """Whether the process is there."""
        try:
            lock = os.open(self._lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def state(self) -> dict[str, Any]:
        """What it reported last; {} where it never ran or was forgotten. A process that died is "failed", without "error"."""
        alive = self.running()  # before the state is read: it may end in between
        try:
            with open(self._state, encoding="utf-8") as handle:
                state: dict[str, Any] = json.load(handle)
        except FileNotFoundError:
            return {}
        return {**state, "state": "failed"} if state["state"] == "running" and not alive else state

    def forget(self) -> None:
        """Removes the state of work that has ended."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._state)

    def _detach(self, lock: int) -> None:
        """Leaves session, terminal and open files of the caller, which would wait for them to be closed."""
        os.setsid()
        if os.fork():
            os._exit(0)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.chdir("/")
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2 and int(name) != lock:
                with contextlib.suppress(OSError):  # the one that listed them
                    os.close(int(name))

    def _work(self, work: Callable[[Report], None]) -> None:
        last: dict[str, Any] = {}

        def report(values: Mapping[str, Any]) -> None:
            last.update(values)
            self._write({"state": "running", **last})

        try:
            work(report)
            self._write({**last, "state": "done"})
        except BaseException as error:
            text = str(error) or type(error).__name__
            self._write({**last, "state": "failed", "error": text, "kind": getattr(error, "kind", "other")})

    def _write(self, state: Mapping[str, Any]) -> None:
        descriptor, temporary = tempfile.mkstemp(dir=self._folder, prefix=".state.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            json.dump(state, handle)
        os.replace(temporary, self._state)
