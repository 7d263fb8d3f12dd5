# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run's results as the report reads them: checked, summed up, and as texts for people.

A run is what playbooks leave as JSON; ``run.schema.json`` has its shape. Units are those of the tools: milliseconds,
seconds and tokens a second for speed, percent for accuracy.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from sglang_fleet.planning import FleetError

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"

#: What an unknown or unmeasured figure is shown as.
NONE = "–"

#: The percentiles of a table, by the keys of bench_serving's line.
LATENCIES = {
    "Time to first token": ("mean_ttft_ms", "median_ttft_ms", "p99_ttft_ms"),
    "Time per output token": ("mean_tpot_ms", "median_tpot_ms", "p99_tpot_ms"),
    "Between two tokens": ("mean_itl_ms", "median_itl_ms", "p95_itl_ms", "p99_itl_ms", "max_itl_ms"),
    "Whole request": ("mean_e2e_latency_ms", "median_e2e_latency_ms", "p99_e2e_latency_ms"),
}
_UNITS = {
    "output_throughput": "tokens/s",
    "input_throughput": "tokens/s",
    "total_throughput": "tokens/s",
    "request_throughput": "requests/s",
    "max_output_tokens_per_s": "tokens/s",
    "duration": "s",
}


#: What to do about a file that is no run.
_WHERE = "playbooks/benchmark.yml writes a run's file, and says where (Run recorded)"


@dataclass(frozen=True)
class Finding:
    """What is wrong on a host: where is the instance, the gate or the measurement, text says what."""

    host: str
    where: str
    text: str


@cache
def _validator() -> Draft202012Validator:
    schema = json.loads(Path(__file__).with_name("run.schema.json").read_text(encoding="utf-8"))
    return Draft202012Validator(schema)


def read_run(path: Path) -> dict[str, Any]:
    """The run in a file; figures that are no numbers (NaN, Infinity) are null.

    Raises FleetError, which names the file and the place in it.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FleetError(f"{path}: cannot be read: {error.strerror}. {_WHERE}") from error
    except (ValueError, RecursionError) as error:
        raise FleetError(f"{path}: not JSON: {error}. {_WHERE}") from error
    if not isinstance(found, dict) or not {"run_id", "hosts"} & found.keys():
        raise FleetError(f"{path}: no run: it has neither run_id nor hosts. {_WHERE}")
    try:
        return check_run(found)
    except ValueError as error:
        raise FleetError(f"{path}: {error}") from error


def previous_of(run: Mapping[str, Any], folder: Path) -> dict[str, Any] | None:
    """The run that this one names as the one before it, from its folder; None where it names none, or its file is gone.

    Raises FleetError for a file that is no run.
    """
    name = run["previous"]
    path = folder / f"{name}.json"
    # A name is no path.
    return read_run(path) if name and path.name == f"{name}.json" and path.is_file() else None


def check_run(found: Any) -> dict[str, Any]:
    """The run, where it has the shape of one and its sums are those of its hosts; raises ValueError."""
    found = _finite(found)
    for error in sorted(_validator().iter_errors(found), key=lambda error: [str(part) for part in error.path]):
        raise ValueError(f"{_place(list(error.absolute_path))}: {error.message}")
    run: dict[str, Any] = found
    names = [host["host"] for host in run["hosts"]]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"hosts: {name} is there {names.count(name)} times, wanted once")
    counted = {"hosts": len(names)} | {
        status: sum(host["status"] == status for host in run["hosts"]) for status in (PASSED, FAILED)
    }
    for key, number in counted.items():
        if run["fleet"][key] != number:
            raise ValueError(f"fleet.{key}: {run['fleet'][key]}, while the list of hosts makes it {number}")
    for host in run["hosts"]:
        if host["status"] == PASSED and (wrong := next(_failed_gates(host), None)):
            raise ValueError(f"hosts: {host['host']} has passed, while its {wrong.where} has not: {wrong.text}")
    return run


def gate_result(gate: Mapping[str, Any]) -> str:
    """passed, failed, or skipped: there was nothing to test, which is no fault of the host's, and no proof either."""
    if gate.get("skipped"):
        return SKIPPED
    return PASSED if gate["passed"] else FAILED


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value


def _place(parts: list[str | int]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return text.lstrip(".") or "the run"


# --- Sums -----------------------------------------------------------------------------------------------------------


def findings(run: Mapping[str, Any]) -> list[Finding]:
    """All that is wrong, host by host."""
    return [finding for host in run["hosts"] for finding in host_findings(host)]


def host_findings(host: Mapping[str, Any]) -> list[Finding]:
    """What is wrong on one host; something always is where it has not passed."""
    found = [*_failed_gates(host), *_slow_or_wrong(host)]
    # Where gates failed, the task that ran them has quoted them.
    told = [gate["evidence"] for gate in host["gates"] if not gate["passed"]]
    found += [
        Finding(host["host"], host["status"], error)
        for error in host.get("errors", ())
        if not any(evidence and evidence in error for evidence in told)
    ]
    if not found and host["status"] != PASSED:
        return [Finding(host["host"], "host", f"status: {host['status']}; no gate or measurement says why")]
    return found


def _failed_gates(host: Mapping[str, Any]) -> Iterator[Finding]:
    for gate in host["gates"]:
        if not gate["passed"]:
            yield Finding(host["host"], gate_name(gate, host), gate["evidence"])


def _slow_or_wrong(host: Mapping[str, Any]) -> Iterator[Finding]:
    """Worse than the reference. A host may have passed nevertheless, where a run only measures."""
    for record in (*speed_records(host), *accuracy_records(host)):
        comparison = record.get("comparison")
        if comparison is None or comparison["passed"]:
            continue
        # A performance gate that has failed on it says the same.
        if any(comparison["reference"] in gate["evidence"] for gate in host["gates"] if not gate["passed"]):
            continue
        worse = [row for row in comparison["rows"] if row["verdict"] == "worse"]
        where = record_name(record)
        if len({entry["instance"] for entry in host["benchmarks"]}) > 1:
            where += f", instance {record['instance']}"
        if worse:
            told = ", ".join(row_text(row) for row in worse)
            yield Finding(host["host"], where, f"worse than {comparison['reference']}: {told}")
        elif comparison["like_for_like"]:
            why = "; ".join(comparison["why_not"]) or "no row says why"
            yield Finding(host["host"], where, f"not passed against {comparison['reference']}: {why}")


def row_text(row: Mapping[str, Any]) -> str:
    """A row of a comparison in some words."""
    ratio = "" if row["ratio"] is None else f" ({row['ratio']:.2f}×)"
    return f"{row['metric']} {measure(row['value'], row['unit'])} instead of {figure(row['reference'])}{ratio}"


def lower_is_better(metric: str) -> bool:
    """Whether less of it is better: times are, and what was left unanswered."""
    return metric.endswith(("_ms", "latency", "duration", "no_answer"))


def tolerance_text(row: Mapping[str, Any]) -> str:
    """How far from the reference a figure may be, for people; empty where the row says nothing."""
    tolerance = row["tolerance"]
    if isinstance(tolerance, str):
        return tolerance
    if isinstance(tolerance, list):
        return f"{figure(tolerance[0])} to {measure(tolerance[1], row['unit'])}"
    if tolerance is None:
        return ""
    if row["unit"] == "%":
        return f"−{tolerance:g} points"
    return f"{'+' if lower_is_better(row['metric']) else '−'}{tolerance * 100:g} %"


def speed_records(host: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The speed measurements, by instance, lengths and concurrency."""
    found = [record for record in host["benchmarks"] if record["kind"] == "speed"]
    return sorted(found, key=lambda record: (record["instance"], *lengths(record), concurrency(record)))


def accuracy_records(host: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The accuracy measurements."""
    return [record for record in host["benchmarks"] if record["kind"] == "accuracy"]


def concurrency(record: Mapping[str, Any]) -> int:
    """Requests at once, as asked for; 0 where nothing bounded them."""
    return int(record["settings"].get("max_concurrency") or 0)


def lengths(record: Mapping[str, Any]) -> tuple[int, int]:
    """Tokens asked for: of a prompt, of an answer."""
    settings = record["settings"]
    return int(settings.get("random_input_len") or 0), int(settings.get("random_output_len") or 0)


def at_once(record: Mapping[str, Any]) -> str:
    """The concurrency for people."""
    number = concurrency(record)
    return f"{number} at once" if number else "unbounded"


def record_name(record: Mapping[str, Any]) -> str:
    """A measurement as one calls it."""
    if record["kind"] == "accuracy":
        return str(record["benchmark"])
    asked = lengths(record)
    of_length = f", {asked[0]}/{asked[1]} tokens" if all(asked) else ""
    return f"{record['profile']} ({at_once(record)}{of_length})"


def gate_name(gate: Mapping[str, Any], host: Mapping[str, Any]) -> str:
    """A gate, with its instance where the host has several."""
    several = len({entry.get("instance") for entry in host["gates"]} - {None}) > 1
    told = several and gate.get("instance") is not None
    return f"gate {gate['gate']}" + (f", instance {gate['instance']}" if told else "")


# --- Texts ----------------------------------------------------------------------------------------------------------


def unit_of(metric: str) -> str:
    """The unit of a key of bench_serving's line."""
    return "ms" if metric.endswith("_ms") else _UNITS.get(metric, "")


def figure(value: Any) -> str:
    """A figure with as many digits as one reads: 0.07, 22.2, 383, 37,978."""
    if value is None or isinstance(value, (str, bool)):
        return NONE if value is None else str(value)
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def measure(value: Any, unit: str) -> str:
    """A figure with its unit, in one line."""
    return f"{figure(value)}\u00a0{unit}" if unit else figure(value)


def share(part: int, whole: int) -> str:
    """So many of so many, in one line."""
    return f"{part}\u00a0of\u00a0{whole}"


def seconds(value: float | None) -> str:
    """A duration for people: 412 ms, 4.4 s, 12 s, 3 min 5 s, 2 h 10 min."""
    if value is None:
        return NONE
    if value < 1:
        return f"{value * 1000:.0f}\u00a0ms"
    if value < 60:
        return f"{value:.1f}\u00a0s" if value < 10 else f"{value:.0f}\u00a0s"
    whole = round(value)
    number, part, units = (
        (whole // 60, whole % 60, ("min", "s")) if whole < 3600 else (whole // 3600, whole % 3600 // 60, ("h", "min"))
    )
    return f"{number} {units[0]} {part} {units[1]}" if part else f"{number} {units[0]}"


def moment(text: str) -> str:
    """An ISO 8601 time as one reads it, in UTC where it says its zone."""
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S %Z").strip()
    except ValueError:
        return text


def took(run: Mapping[str, Any]) -> str:
    """How long the run took."""
    try:
        spent = datetime.fromisoformat(run["ended_at"]) - datetime.fromisoformat(run["started_at"])
    except (TypeError, ValueError):
        return NONE
    return seconds(spent.total_seconds())
