# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._progress import Meter, rate_text, size_text, time_text

GB = 10**9


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (2_345, "2 kB"),
        (12_340_000, "12.3 MB"),
        (230_100_000_000, "230.1 GB"),
        (1_500_000_000_000, "1.5 TB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size_text(count) == text


@pytest.mark.parametrize(
    ("rate", "text"), [(0, "0 B/s"), (812_400_000, "812 MB/s"), (1_250_000_000, "1.2 GB/s"), (5_400, "5 kB/s")]
)
def test_rates(rate: float, text: str) -> None:
    assert rate_text(rate) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (268, "4 min 28 s"), (3725, "1 h 02 min")],
)
def test_times(seconds: float, text: str) -> None:
    assert time_text(seconds) == text


@pytest.mark.parametrize(
    ("samples", "rate", "left"),
    [
        pytest.param([], 0, None, id="nothing yet"),
        pytest.param([(0, 5)], 0, None, id="one sample says nothing"),
        pytest.param([(0, 0), (10, 20)], 2, 40, id="two samples"),
        pytest.param([(100, 60), (110, 80)], 2, 10, id="what was there before is no speed"),
        pytest.param([(0, 0), (10, 50), (30, 50), (40, 60)], 10 / 30, 120, id="only the window counts"),
        pytest.param([(0, 0), (10, 50), (20, 10), (30, 20)], 1, 80, id="thrown away: anew"),
        pytest.param([(0, 0), (0, 50)], 0, None, id="no time has passed"),
        pytest.param([(0, 0), (10, 100)], 10, 0, id="all there"),
        pytest.param([(0, 0), (10, 120)], 12, 0, id="more than announced"),
    ],
)
def test_rate_and_time_left(samples: list[tuple[float, int]], rate: float, left: float | None) -> None:
    meter = Meter()
    for now, done in samples:
        meter.add(now, done)
    assert meter.rate == pytest.approx(rate)
    assert meter.left(100) == (None if left is None else pytest.approx(left))
    assert meter.left(None) is None


@pytest.mark.parametrize(
    ("samples", "total", "note", "text"),
    [
        ([(0, 0)], 230 * GB, "", "n: weights 0.0 of 230.0 GB"),
        ([(0, 0)], None, "", "n: weights 0 B"),
        (
            [(0, 0), (10, 8 * GB)],
            230 * GB,
            "from m",
            "n: weights 8.0 of 230.0 GB, 800 MB/s, 4 min 38 s left, from m",
        ),
        ([(0, 0), (10, 8 * GB)], None, "", "n: weights 8.0 GB, 800 MB/s"),
        (
            [(0, 0), (10, 8 * GB), (40, 8 * GB)],
            230 * GB,
            "from m",
            "n: weights 8.0 of 230.0 GB, nothing for 30 s, from m",
        ),
        ([(0, 2 * GB), (10, 12 * GB)], 12 * GB, "", "n: weights 12.0 GB in 10 s, 1.0 GB/s"),
        ([(0, 12 * GB)], 12 * GB, "", "n: weights 12.0 GB in 0 s"),
    ],
)
def test_the_line(samples: list[tuple[float, int]], total: int | None, note: str, text: str) -> None:
    meter = Meter()
    for now, done in samples:
        meter.add(now, done)
    assert meter.line("n", "weights", samples[-1][1], total, note) == text
