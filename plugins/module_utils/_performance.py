# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The performance gate: what passes, and which record is the host's last good. Pure; the rest is `_judge`'s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils import _judge
from ansible_collections.sglang.fleet.plugins.module_utils._compare import METRICS, compare_speed
from ansible_collections.sglang.fleet.plugins.module_utils._judge import Record, key_of, slot

#: metrics that a gate's evidence names, the furthest behind first; the comparison has all
SHOWN = 3


def judge(
    records: Sequence[Record],
    references: Mapping[str, Record],
    last_good: Mapping[str, Record],
    against: str = "auto",
    required: bool = False,
    tolerances: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """As `_judge.judge`. Raises CompareError.

    required: a record that nothing can be held against fails; else it passes, and is what the next one is held against.
    """

    def compare(record: Record, name: str, reference: Record) -> dict[str, Any]:
        return compare_speed(record, name, reference, tolerances)

    def verdict(record: Record) -> _judge.Verdict:
        compared = _judge.comparison(record, references, last_good, against, compare)
        return _judge.Verdict(
            gate=f"performance {key_of(record)}",
            passed=compared["passed"] if compared else not required,
            kept=replaces(record, last_good.get(slot(record))),
            evidence=evidence(record, compared),
            seconds=round(record["metrics"].get("duration", 0.0), 2),
            comparison=compared,
            skipped=compared is None and not required,
        )

    return _judge.judge(records, last_good, verdict)


def replaces(record: Record, old: Record | None) -> bool:
    """Whether a record that has passed becomes the host's last good one.

    old: the one like it. It does where there is none, or where it is faster. One a little slower does not, or a host could lose a tenth
    of its speed run after run and pass each time.
    """
    if old is None:
        return True
    return bool(record["metrics"].get("output_throughput", 0) > old["metrics"].get("output_throughput", 0))


def evidence(record: Record, compared: Mapping[str, Any] | None) -> str:
    """What a gate says: the metrics that are worse, or the throughput against what it was held against."""
    metrics = record["metrics"]
    told = f"{key_of(record)}: {metrics.get('output_throughput', 0):.2f} tokens/s out, {metrics.get('median_ttft_ms', 0):.0f} ms to the first token"
    if compared is None:
        return f"{told}; not judged: neither a published result nor a record of this host is of this model, hardware and load"
    worse = [row for row in compared["rows"] if row["verdict"] == "worse"]
    if not worse:
        return f"{told}; none worse than {compared['reference']}"
    worse.sort(key=_share_lost, reverse=True)
    listed = "; ".join(_told(row) for row in worse[:SHOWN])
    more = f"; and {len(worse) - SHOWN} more" if len(worse) > SHOWN else ""
    # Nothing but the operator can tell a fault from a change that is meant.
    own = ". If that is meant: performance_gate_forget=true" if compared["reference"].startswith("own ") else ""
    return f"{key_of(record)}: worse than {compared['reference']}: {listed}{more}{own}"


def _share_lost(row: Mapping[str, Any]) -> float:
    """By how much a metric is worse, as a share of what it should be."""
    value, reference = float(row["value"]), float(row["reference"])
    if METRICS[row["metric"]].better == "lower":
        value, reference = reference, value
    return 1 - value / reference if reference else 0.0


def _told(row: Mapping[str, Any]) -> str:
    lower = METRICS[row["metric"]].better == "lower"
    bound = row["reference"] * (1 + row["tolerance"] if lower else 1 - row["tolerance"])
    by = f"{row['reference']:.2f} {'plus' if lower else 'less'} {row['tolerance']:.0%}"
    return (
        f"{row['metric']} {row['value']:.2f} {row['unit']}, wanted {bound:.2f} at {'most' if lower else 'least'} ({by})"
    )
