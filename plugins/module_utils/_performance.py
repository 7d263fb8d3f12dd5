# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The performance gate: which reference a record is held against, what passes, and which record is the host's last good. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils._compare import CompareError, compare_speed, why_not

#: Raised when the shape of the file of last good records changes.
SCHEMA = 1
#: what a record is held against: published, own, or own where nothing is published
AGAINST = ("references", "own", "auto")

_Record = Mapping[str, Any]


def key_of(record: _Record) -> str:
    """The name of a record among its host's: instance/profile."""
    return f"{record['instance']}/{record['profile']}"


def comparison(
    record: _Record,
    references: Mapping[str, _Record],
    last_good: Mapping[str, _Record],
    against: str = "auto",
    tolerances: Mapping[str, Any] | None = None,
) -> dict[str, Any] | None:
    """The comparison that counts for the record, or None where there is nothing of its kind.

    last_good: records by key_of. auto: the host's own where there is one like it, else a published one: what this hardware has
    done before says more than what another machine of its kind has.
    """
    if against not in AGAINST:
        raise CompareError(f"records are compared with {' or '.join(AGAINST)}, not with {against!r}")
    own = last_good.get(key_of(record))
    if against in ("own", "auto") and own and not why_not(record, own):
        return compare_speed(record, f"own {key_of(record)} of {own['taken_at']}", own, tolerances)
    if against in ("references", "auto"):
        for name, reference in references.items():
            if not why_not(record, reference):
                return compare_speed(record, name, reference, tolerances)
    return None


def judge(
    records: Sequence[_Record],
    references: Mapping[str, _Record],
    last_good: Mapping[str, _Record],
    against: str = "auto",
    required: bool = False,
    tolerances: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """{"benchmarks": records, each with its comparison, "gates": gate results, "passed", "last_good": what to keep}.

    required: a record that nothing can be held against fails; else it passes, and is what the next one is held against.
    """
    benchmarks, gates, kept = [], [], dict(last_good)
    for record in records:
        compared = comparison(record, references, last_good, against, tolerances)
        passed = compared["passed"] if compared else not required
        benchmarks.append({**record, "comparison": compared})
        gates.append(
            {
                "gate": f"performance {key_of(record)}",
                "passed": passed,
                "evidence": evidence(record, compared),
                "seconds": round(record["metrics"].get("duration", 0.0), 2),
                "budget_seconds": None,
            }
        )
        if passed and replaces(record, last_good.get(key_of(record))):
            kept[key_of(record)] = dict(record)
    return {
        "benchmarks": benchmarks,
        "gates": gates,
        "passed": all(gate["passed"] for gate in gates),
        "last_good": kept,
    }


def replaces(record: _Record, old: _Record | None) -> bool:
    """Whether a record that has passed becomes the host's last good one.

    It does where there is none of its kind, or where it is faster. One a little slower does not, or a host could lose a tenth
    of its speed run after run and pass each time.
    """
    if old is None or why_not(record, old):
        return True
    return bool(record["metrics"].get("output_throughput", 0) > old["metrics"].get("output_throughput", 0))


def evidence(record: _Record, compared: Mapping[str, Any] | None) -> str:
    """What a gate says: the metrics that are worse, or the throughput against what it was held against."""
    metrics = record["metrics"]
    told = f"{key_of(record)}: {metrics.get('output_throughput', 0):.2f} tokens/s out, {metrics.get('median_ttft_ms', 0):.0f} ms to the first token"
    if compared is None:
        return f"{told}; not judged: neither a published result nor a record of this host is of this model, hardware and load"
    worse = [row for row in compared["rows"] if row["verdict"] == "worse"]
    if not worse:
        return f"{told}; none worse than {compared['reference']}"
    listed = "; ".join(
        f"{row['metric']} {row['value']:.2f} {row['unit']}, wanted {row['reference']:.2f} give or take {row['tolerance']:.0%}"
        for row in worse
    )
    return f"{key_of(record)}: worse than {compared['reference']}: {listed}"


def stored(last_good: Mapping[str, _Record]) -> dict[str, Any]:
    """The content of the file that keeps the last good records."""
    return {"schema": SCHEMA, "records": {key: last_good[key] for key in sorted(last_good)}}


def read_stored(data: Any) -> dict[str, Any]:
    """The records of that file; of one in another shape there are none. {} stands for no file."""
    if not isinstance(data, Mapping) or data.get("schema") != SCHEMA:
        return {}
    records = data.get("records")
    return dict(records) if isinstance(records, Mapping) else {}
