# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gates on speed and on accuracy have in common: what a record is held against, and which ones a host keeps. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from ansible_collections.sglang.fleet.plugins.module_utils._compare import CompareError, likeness, why_not

#: Raised when the shape of the file of last good records changes.
SCHEMA = 1
#: what a record is held against: published, own, or own where there is one and else published
AGAINST = ("references", "own", "auto")

Record = Mapping[str, Any]
#: (record, name of what it is held against, that) -> the comparison, as `_compare` gives it
Compare = Callable[[Record, str, Record], "dict[str, Any]"]


@dataclass(frozen=True)
class Verdict:
    """What is said of one record. kept: it is the one that the next like it is held against. skipped: it has passed for want of anything to be held against."""

    gate: str
    passed: bool
    kept: bool
    evidence: str
    seconds: float
    comparison: dict[str, Any] | None
    skipped: bool = False


def key_of(record: Record) -> str:
    """The name of a record among its host's, for people: instance/what was measured."""
    return f"{record['instance']}/{record['benchmark' if record.get('kind') == 'accuracy' else 'profile']}"


def slot(record: Record) -> str:
    """Where the last good record like this one is kept: one of other settings or hardware is no measure, and takes no place."""
    return f"{key_of(record)} {likeness(record)}"


def comparison(
    record: Record,
    references: Mapping[str, Record],
    last_good: Mapping[str, Record],
    against: str,
    compare: Compare,
) -> dict[str, Any] | None:
    """The comparison that counts for the record, or None where there is nothing of its kind. Raises CompareError.

    last_good: records by slot. auto: the host's own where there is one like it, else a published one, of the same GPUs first:
    what this hardware has done before says more than what another machine of its kind has.
    """
    if against not in AGAINST:
        raise CompareError(f"records are compared with {' or '.join(AGAINST)}, not with {against!r}")
    own = last_good.get(slot(record))
    if against in ("own", "auto") and own:
        return compare(record, f"own {key_of(record)} of {own['taken_at']}", own)
    if against in ("references", "auto"):
        alike = [(name, entry) for name, entry in references.items() if not why_not(record, entry)]
        for name, entry in sorted(alike, key=lambda pair: pair[1]["gpu"] != record["gpu"]):
            return compare(record, name, entry)
    return None


def judge(
    records: Sequence[Record], last_good: Mapping[str, Record], verdict: Callable[[Record], Verdict]
) -> dict[str, Any]:
    """{"benchmarks": records, each with its comparison, "gates": gate results, "passed", "last_good": what to keep}."""
    told = [(record, verdict(record)) for record in records]
    return {
        "benchmarks": [{**record, "comparison": said.comparison} for record, said in told],
        "gates": [
            {
                "gate": said.gate,
                "passed": said.passed,
                "evidence": said.evidence,
                "seconds": said.seconds,
                "budget_seconds": None,
                **({"skipped": True} if said.skipped else {}),
            }
            for _record, said in told
        ],
        "passed": all(said.passed for _record, said in told),
        "last_good": {
            **last_good,
            **{slot(record): dict(record) for record, said in told if said.passed and said.kept},
        },
    }


def stored(last_good: Mapping[str, Record]) -> dict[str, Any]:
    """The content of the file that keeps the last good records."""
    return {"schema": SCHEMA, "records": {key: last_good[key] for key in sorted(last_good)}}


def read_stored(data: Any) -> dict[str, Any]:
    """The records of that file; of one in another shape there are none. {} stands for no file."""
    if not isinstance(data, Mapping) or data.get("schema") != SCHEMA:
        return {}
    records = data.get("records")
    return dict(records) if isinstance(records, Mapping) else {}
