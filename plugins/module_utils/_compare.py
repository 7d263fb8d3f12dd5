# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A result against a reference: what may be compared, how far apart two figures may be, and which one is better. Pure.

A reference is an entry of catalogue/references.yml or a record of the host's own; both have the same keys.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: what must be the same on both sides, beside the settings
HARDWARE = ("model", "gpu", "count", "tp", "ep")
#: published figures have two decimals, so that one of them stands for half a hundredth more or less
ROUNDING = 0.005
#: two-sided 95 % of the normal distribution
Z95 = 1.959963984540054


@dataclass(frozen=True)
class Metric:
    """better: higher | lower. tolerance: the fraction by which a figure may be worse, or better, and still be the same."""

    unit: str
    better: str
    tolerance: float


#: Bands. A mean or median moves by a few percent from run to run; the first token of ten requests and what one request in a
#: hundred takes move by more, as one slow start decides it. What is not here is shown and not judged: durations and token
#: counts say again what throughput does, and a single largest value says nothing.
METRICS: dict[str, Metric] = {
    "request_throughput": Metric("requests/s", "higher", 0.10),
    "input_throughput": Metric("tokens/s", "higher", 0.10),
    "output_throughput": Metric("tokens/s", "higher", 0.10),
    "total_throughput": Metric("tokens/s", "higher", 0.10),
    "mean_e2e_latency_ms": Metric("ms", "lower", 0.10),
    "median_e2e_latency_ms": Metric("ms", "lower", 0.15),
    "p90_e2e_latency_ms": Metric("ms", "lower", 0.20),
    "p99_e2e_latency_ms": Metric("ms", "lower", 0.25),
    "mean_ttft_ms": Metric("ms", "lower", 0.50),
    "median_ttft_ms": Metric("ms", "lower", 0.25),
    "p99_ttft_ms": Metric("ms", "lower", 1.00),
    "mean_tpot_ms": Metric("ms", "lower", 0.10),
    "median_tpot_ms": Metric("ms", "lower", 0.10),
    "p99_tpot_ms": Metric("ms", "lower", 0.25),
    "mean_itl_ms": Metric("ms", "lower", 0.10),
    "median_itl_ms": Metric("ms", "lower", 0.10),
    "p95_itl_ms": Metric("ms", "lower", 0.25),
    "p99_itl_ms": Metric("ms", "lower", 0.50),
}

_UNITS = {
    "duration": "s",
    "max_output_tokens_per_s": "tokens/s",
    "completed": "requests",
    "concurrency": "requests",
    "max_concurrent_requests": "requests",
    "accept_length": "tokens",
}


class CompareError(ValueError):
    """A comparison cannot be made; the text says why."""


def unit(metric: str) -> str:
    """The unit of a metric, by its name."""
    if metric in METRICS:
        return METRICS[metric].unit
    if metric in _UNITS:
        return _UNITS[metric]
    return "ms" if metric.endswith("_ms") else "tokens"


def why_not(record: Mapping[str, Any], reference: Mapping[str, Any]) -> list[str]:
    """What makes the two no match, a line each; nothing where like is compared with like.

    Neither image nor driver counts: a comparison is there to find what they do. Nor does the text of the prompts: settings
    and seed decide how many tokens are asked for. Hardware counts for speed alone: a model that answers worse on other GPUs
    is just what an accuracy benchmark is to find.
    """
    keys = [key for key in _compared_by(record) if key != "settings"]
    reasons = [
        f"{key} {record.get(key)}, not {reference.get(key)}" for key in keys if record.get(key) != reference.get(key)
    ]
    own, other = record["settings"], reference["settings"]
    return reasons + [
        f"{key} {own.get(key, 'not set')}, not {other.get(key, 'not set')}"
        for key in (*other, *(key for key in own if key not in other))
        if own.get(key) != other.get(key)
    ]


def likeness(record: Mapping[str, Any]) -> str:
    """Eight hex digits, the same for records between which `why_not` finds nothing."""
    return hashlib.sha256(json.dumps(_compared_by(record), sort_keys=True).encode()).hexdigest()[:8]


def _compared_by(record: Mapping[str, Any]) -> dict[str, Any]:
    keys: tuple[str, ...] = ("kind", "tool", *(HARDWARE if record.get("kind") == "speed" else ("model",)))
    return {**{key: record.get(key) for key in keys}, "settings": dict(record["settings"])}


def metrics_with(tolerances: Mapping[str, Any] | None) -> dict[str, Metric]:
    """METRICS with an operator's own tolerances. Raises CompareError for one that means nothing."""
    judged = dict(METRICS)
    for name, value in (tolerances or {}).items():
        if name not in judged:
            raise CompareError(f"{name} is no metric that is judged; those are {', '.join(METRICS)}")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
            raise CompareError(f"the tolerance of {name} is {value!r}: it must be a fraction, such as 0.1")
        judged[name] = Metric(judged[name].unit, judged[name].better, float(value))
    return judged


def verdict(metric: Metric, value: float, reference: float, rounding: float = ROUNDING) -> str:
    """better | within | worse. rounding: how far the reference's printed figure may be from what was measured."""
    low, high = reference * (1 - metric.tolerance) - rounding, reference * (1 + metric.tolerance) + rounding
    if low <= value <= high:
        return "within"
    return "better" if (value > high) == (metric.better == "higher") else "worse"


def compare_speed(
    record: Mapping[str, Any],
    name: str,
    reference: Mapping[str, Any],
    tolerances: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The comparison of a benchmark record with a reference: {"reference", "like_for_like", "why_not", "rows", "passed"}.

    A row: {"metric", "unit", "value", "reference", "ratio" (value / reference), "tolerance" (a fraction), "verdict"}. Where like
    is not compared with like nothing is judged, and it has not passed. Metrics that one side lacks have no row.
    """
    judged = metrics_with(tolerances)
    reasons = why_not(record, reference)
    rows = []
    for key, wanted in reference["metrics"].items():
        value = record["metrics"].get(key)
        if value is None:
            continue
        metric = judged.get(key)
        compared = metric is not None and not reasons
        rows.append(
            {
                "metric": key,
                "unit": unit(key),
                "value": value,
                "reference": wanted,
                "ratio": round(value / wanted, 4) if wanted else None,
                "tolerance": metric.tolerance if metric else None,
                "verdict": verdict(metric, value, wanted) if metric and compared else "not compared",
            }
        )
    return _comparison(name, reasons, rows)


def wilson(percent: float, questions: int, z: float = Z95) -> tuple[float, float]:
    """The Wilson score interval, in percent, of a share of that many questions.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927) 209-212.
    Raises CompareError for no questions or what is no percentage.
    """
    if questions < 1:
        raise CompareError(f"{questions} questions: an interval needs at least one")
    if not 0 <= percent <= 100:
        raise CompareError(f"{percent} is no percentage")
    share, squared = percent / 100, z * z
    middle = (share + squared / (2 * questions)) / (1 + squared / questions)
    half = z / (1 + squared / questions) * math.sqrt(share * (1 - share) / questions + squared / (4 * questions**2))
    return max(0.0, middle - half) * 100, min(1.0, middle + half) * 100


def difference(own: tuple[float, int], other: tuple[float, int]) -> tuple[float, float]:
    """The interval, in points of percent, of own less other; each is (percent, questions).

    Newcombe's hybrid score interval. Source: R. G. Newcombe, Interval estimation for the difference between independent
    proportions, Statistics in Medicine 17 (1998) 873-890, method 10.
    """
    (low, high), (other_low, other_high) = wilson(*own), wilson(*other)
    gap = own[0] - other[0]
    return (
        gap - math.sqrt((own[0] - low) ** 2 + (other_high - other[0]) ** 2),
        gap + math.sqrt((high - own[0]) ** 2 + (other[0] - other_low) ** 2),
    )


def compare_accuracy(record: Mapping[str, Any], name: str, reference: Mapping[str, Any]) -> dict[str, Any]:
    """The comparison of an accuracy record with a reference, of the same shape as compare_speed's.

    Each way to count (pass@1 …) is a row in percent, worse or better where the 95 % interval of the difference leaves out
    zero. tolerance: how many points of percent below the reference the record may be before it is worse. A run of several
    seeds counts its questions once: the answers to one question are not independent, so that the interval is rather too wide.
    """
    reasons = why_not(record, reference)
    rows = []
    questions, published = int(record["questions"]), int(reference["settings"]["questions"])
    for key, wanted in reference["metrics"].items():
        value = record["metrics"].get(key, {}).get("accuracy")
        if value is None:
            continue
        low, high = difference((value, questions), (wanted["accuracy"], published))
        judged = "worse" if high < 0 else "better" if low > 0 else "within"
        rows.append(
            {
                "metric": key,
                "unit": "%",
                "value": value,
                "reference": wanted["accuracy"],
                "ratio": round(value / wanted["accuracy"], 4) if wanted["accuracy"] else None,
                "tolerance": round(high - (value - wanted["accuracy"]), 2),
                "verdict": "not compared" if reasons else judged,
            }
        )
    return _comparison(name, reasons, rows)


def _comparison(name: str, reasons: list[str], rows: list[dict[str, Any]]) -> dict[str, Any]:
    judged = [row for row in rows if row["verdict"] != "not compared"]
    if not reasons and not judged:
        reasons = ["no metric that is judged stands on both sides"]
    return {
        "reference": name,
        "like_for_like": not reasons,
        "why_not": reasons,
        "rows": rows,
        "passed": not reasons and not any(row["verdict"] == "worse" for row in judged),
    }
