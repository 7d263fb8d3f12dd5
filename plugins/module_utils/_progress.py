# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a long transfer is: rate, time left, one line of text. Pure; the caller brings the clock.

Sizes are decimal, as networks and disk makers count: 1 GB = 10**9 bytes.
"""

from __future__ import annotations

from collections import deque

#: Seconds that the rate looks back over: short enough to follow a network, long enough not to jump with each file.
WINDOW = 20.0
#: Seconds without one more byte after which the line says so.
STALLED = 20.0

_UNITS = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def _unit(count: float) -> tuple[str, float]:
    return next(((name, size) for name, size in _UNITS if count >= size), ("B", 1))


def _number(count: float, size: float) -> str:
    return f"{count / size:.0f}" if size in (1, 1e3) or count >= 1000 * size else f"{count / size:.1f}"


def size_text(count: float) -> str:
    """Bytes for people.

    Examples:
        >>> size_text(230_100_000_000)
        '230.1 GB'
    """
    name, size = _unit(count)
    return f"{_number(count, size)} {name}"


def rate_text(rate: float) -> str:
    """Bytes per second for people, without a fraction: 812 MB/s.

    Examples:
        >>> rate_text(812_400_000)
        '812 MB/s'
    """
    name, size = _unit(rate)
    return f"{rate / size:.1f} {name}/s" if size == 1e9 else f"{rate / size:.0f} {name}/s"


def time_text(seconds: float) -> str:
    """A time span for people.

    Examples:
        >>> time_text(268)
        '4 min 28 s'
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Meter:
    """Bytes over time. `add` takes samples in the order of time; everything else reads them."""

    def __init__(self, window: float = WINDOW) -> None:
        self._window = window
        self._samples: deque[tuple[float, int]] = deque()
        self._first: tuple[float, int] | None = None
        self._moved = 0.0

    def add(self, now: float, done: int) -> None:
        """now: seconds of a clock that only goes forward. done: bytes so far; what was there before this run counts as
        a start, not as speed. Fewer bytes than before (something was thrown away) begin the measurement anew."""
        if self._first is None or (self._samples and done < self._samples[-1][1]):
            self._samples.clear()
            self._first, self._moved = (now, done), now
        elif done > self._samples[-1][1]:
            self._moved = now
        self._samples.append((now, done))
        # One sample from before the window stays, so that rare samples still span it.
        while len(self._samples) > 2 and self._samples[1][0] <= now - self._window:
            self._samples.popleft()

    @property
    def rate(self) -> float:
        """Bytes per second over the window; 0 where nothing can be said yet."""
        if len(self._samples) < 2:
            return 0.0
        (start, before), (end, after) = self._samples[0], self._samples[-1]
        return (after - before) / (end - start) if end > start else 0.0

    def left(self, total: int | None) -> float | None:
        """Seconds until `total` at this rate; None where nobody can know."""
        if total is None or not self._samples:
            return None
        rest = max(0, total - self._samples[-1][1])
        if rest == 0:
            return 0.0
        return rest / self.rate if self.rate > 0 else None

    @property
    def silence(self) -> float:
        """Seconds since the last byte more."""
        return self._samples[-1][0] - self._moved if self._samples else 0.0

    @property
    def whole(self) -> tuple[int, float]:
        """Bytes and seconds since the measurement began."""
        if self._first is None:
            return 0, 0.0
        return self._samples[-1][1] - self._first[1], self._samples[-1][0] - self._first[0]

    def line(self, host: str, what: str, done: int, total: int | None, note: str = "") -> str:
        """`nvidia-01: weights 12.3 of 230.1 GB, 812 MB/s, 4 min 28 s left, from nvidia-02`.

        At the end: `nvidia-01: weights 230.1 GB in 4 min 43 s, 812 MB/s, from nvidia-02`.
        """
        parts: list[str] = []
        if total is not None and done >= total:
            moved, seconds = self.whole
            parts.append(f"{host}: {what} {size_text(total)} in {time_text(seconds)}")
            if moved and seconds > 0:
                parts.append(rate_text(moved / seconds))
        else:
            parts.append(f"{host}: {what} {_of(done, total)}")
            left = self.left(total)
            if self.silence >= STALLED:
                parts.append(f"nothing for {time_text(self.silence)}")
            elif self.rate > 0:
                parts.append(rate_text(self.rate))
                if left is not None:
                    parts.append(f"{time_text(left)} left")
        if note:
            parts.append(note)
        return ", ".join(parts)


def _of(done: int, total: int | None) -> str:
    if total is None:
        return size_text(done)
    name, size = _unit(total)
    return f"{_number(done, size)} of {_number(total, size)} {name}"
