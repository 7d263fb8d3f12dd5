# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shows how far a long transfer is, while its task runs: a line on the terminal, an event for programs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable

from ansible.utils.display import Display

from ansible_collections.sglang.fleet.plugins.module_utils._progress import Meter

#: The environment variable that names the file of events.
EVENTS = "SGLANG_FLEET_EVENTS"
#: Seconds between two lines on the terminal, for many hosts share it.
LINE_EVERY = 10.0
#: Seconds until the first line: a rate needs two samples, and what ends sooner needs no line on the way.
FIRST_LINE = 3.0
#: Seconds between two events.
EVENT_EVERY = 1.0


class Progress:
    """One transfer of one host. Make it when the transfer starts, and call `update` as often as there is news."""

    def __init__(
        self,
        host: str,
        what: str,
        clock: Callable[[], float] = time.monotonic,
        show: Callable[[str], None] | None = None,
        start: int | None = None,
    ) -> None:
        """host: the inventory's name. what: a word for the line, such as "weights". start: bytes that are there now; where
        it is not given, those of the first update. clock and show are for tests."""
        self._host, self._what = host, what
        self._clock = clock
        self._show = show or Display().display
        self._meter = Meter()
        if start is not None:
            self._meter.add(clock(), start)
        self._line_at = clock() + FIRST_LINE
        self._event_at = 0.0
        self._ended = False

    def update(self, done: int, total: int | None, note: str = "") -> None:
        """done: bytes that are there, those of earlier runs included. total: bytes in all, None while nobody knows.
        note: more for the line, such as "from nvidia-02"; never a secret. The end (done = total) is shown once, at once."""
        now = self._clock()
        self._meter.add(now, done)
        end = total is not None and done >= total
        if end and self._ended:
            return
        if end or now >= self._line_at:
            self._line_at = now + LINE_EVERY
            self._show(self._meter.line(self._host, self._what, done, total, note))
        if end or now >= self._event_at:
            self._event_at = now + EVENT_EVERY
            self._record(done, total, note)
        self._ended = end

    def _record(self, done: int, total: int | None, note: str) -> None:
        path = os.environ.get(EVENTS)
        if not path:
            return
        left = self._meter.left(total)
        event = {
            "event": "progress",
            "host": self._host,
            "what": self._what,
            "done": done,
            "total": total,
            "rate": round(self._meter.rate),
            "left_s": None if left is None else round(left),
            "note": note,
        }
        try:
            # Opened for each line and written in one piece: several forks share the file.
            with open(path, "a", encoding="utf-8") as handle:
                handle.write(json.dumps(event) + "\n")
        except OSError:
            pass  # a transfer does not fail for want of a spectator
