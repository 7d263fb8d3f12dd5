# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The performance gate: what passes, and which record is the host's last good. Pure; the rest is `_judge`'s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils import _judge
from ansible_collections.sglang.fleet.plugins.module_utils._compare import compare_speed, why_not
from ansible_collections.sglang.fleet.plugins.module_utils._judge import Record


def key_of(record: Record) -> str:
    """The name of a record among its host's: instance/profile."""
    return f"{record['instance']}/{record['profile']}"


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
        key = key_of(record)
        compared = _judge.comparison(record, key, references, last_good, against, compare)
        return _judge.Verdict(
            key=key,
            gate=f"performance {key}",
            passed=compared["passed"] if compared else not required,
            kept=replaces(record, last_good.get(key)),
            evidence=evidence(record, compared),
            seconds=round(record["metrics"].get("duration", 0.0), 2),
            comparison=compared,
        )

    return _judge.judge(records, last_good, verdict)


def replaces(record: Record, old: Record | None) -> bool:
    """Whether a record that has passed becomes the host's last good one.

    It does where there is none of its kind, or where it is faster. One a little slower does not, or a host could lose a tenth
    of its speed run after run and pass each time.
    """
    if old is None or why_not(record, old):
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
    listed = "; ".join(
        f"{row['metric']} {row['value']:.2f} {row['unit']}, wanted {row['reference']:.2f} give or take {row['tolerance']:.0%}"
        for row in worse
    )
    return f"{key_of(record)}: worse than {compared['reference']}: {listed}"
