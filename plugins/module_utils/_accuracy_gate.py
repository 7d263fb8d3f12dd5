# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The accuracy gate: what passes, and which record the host is held against next. Pure; the rest is `_judge`'s.

Chance is all that is granted: a record fails where the 95 % interval of its difference lies below zero (`_compare`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils import _judge
from ansible_collections.sglang.fleet.plugins.module_utils._compare import (
    compare_accuracy,
    wilson,
)
from ansible_collections.sglang.fleet.plugins.module_utils._judge import Record, key_of, slot


def headline(record: Record) -> tuple[str, Mapping[str, Any]]:
    """The way to count that a record is summed up by, and its figures: how often one answer is right."""
    ways = sorted(record["metrics"], key=lambda way: (not way.startswith("pass@1"), way))
    return ways[0], record["metrics"][ways[0]]


def problems(minimums: Mapping[str, Any] | None, known: Iterable[str]) -> list[str]:
    """What is wrong with an operator's minimums, in percent by benchmark. known: the benchmarks that there are."""
    told, names = [], list(known)
    for name, value in (minimums or {}).items():
        if name not in names:
            told.append(f"there is no benchmark {name}; known: {', '.join(names)}")
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 100:
            told.append(f"the minimum of {name} is {value!r}: it must be percent, from 0 to 100")
    return told


def judge(
    records: Sequence[Record],
    references: Mapping[str, Record],
    last_good: Mapping[str, Record],
    against: str = "auto",
    required: bool = False,
    minimums: Mapping[str, Any] | None = None,
    floors: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """As `_judge.judge`. Raises CompareError.

    required: a record that nothing can be held against fails; else it passes, and is what the next one is held against.
    floors: percent by benchmark, which a minimum takes the place of; a record that is held against nothing else is kept only above.
    minimums: percent by benchmark, for which there are no `problems`; a record fails whose whole interval lies below.
    """
    least = {**(floors or {}), **(minimums or {})}

    def verdict(record: Record) -> _judge.Verdict:
        minimum = least.get(record["benchmark"])
        compared = _judge.comparison(record, references, last_good, against, compare_accuracy)
        enough = minimum is None or _interval(record)[1] >= minimum
        held = compared is not None or record["benchmark"] in (minimums or {})
        return _judge.Verdict(
            gate=f"accuracy {key_of(record)}",
            passed=enough and (compared["passed"] if compared else held or not required),
            kept=replaces(record, last_good.get(slot(record))),
            evidence=evidence(record, compared, minimum, enough),
            seconds=record.get("seconds", 0.0),
            comparison=compared,
            skipped=not held and minimum is None and not required,
        )

    return _judge.judge(records, last_good, verdict)


def replaces(record: Record, old: Record | None) -> bool:
    """Whether a record that has passed becomes the host's last good one: where it is better by more than chance.

    old: the one like it, if there is one.

    The best of many runs was lucky, and honest ones would fail by it; the newest lets a host become worse by a little each
    time. One that is better beyond chance says that the old one was of a server in a worse state.
    """
    if old is None:
        return True
    way = headline(record)[0]
    rows = compare_accuracy(record, "own", old)["rows"]
    return any(row["metric"] == way and row["verdict"] == "better" for row in rows)


def _interval(record: Record) -> tuple[float, float]:
    return wilson(headline(record)[1]["accuracy"], int(record["questions"]))


def evidence(record: Record, compared: Mapping[str, Any] | None, minimum: float | None, enough: bool) -> str:
    """What a gate says: what is worse and by how much it could have been, or the score with its interval."""
    way, figures = headline(record)
    low, high = _interval(record)
    told = (
        f"{key_of(record)}: {figures['accuracy']:.2f} % right ({way}, {record['questions']} questions, 95 % interval"
        f" {low:.2f} to {high:.2f}), {figures.get('no_answer', 0):.2f} % without an answer"
    )
    if not enough:
        return f"{told}; wanted {minimum:.2f} at least"
    if compared is None:
        if minimum is not None:
            return f"{told}; not below {minimum:.2f}"
        return f"{told}; not judged: neither a published result nor a record of this host is of this model and these questions"
    worse = [row for row in compared["rows"] if row["verdict"] == "worse"]
    if not worse:
        return f"{told}; not worse than {compared['reference']} by more than chance"
    listed = "; ".join(
        f"{row['metric']} {row['value']:.2f} %, wanted {row['reference']:.2f} less {row['tolerance']:.2f} by chance at most"
        for row in worse
    )
    return f"{told}; worse than {compared['reference']}: {listed}"
