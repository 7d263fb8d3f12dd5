# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs for the tests of the report: plans by the planner, measurements from the catalogue's references."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sglang_fleet.planning import plan_single

ROOT = Path(__file__).resolve().parents[3]
REFERENCES = yaml.safe_load((ROOT / "catalogue" / "references.yml").read_text(encoding="utf-8"))["references"]
DIGEST = "sha256:" + "0123456789abcdef" * 4
PROFILES = {1: "low", 16: "medium", 100: "high"}
#: How far a figure may be from its reference; what is not here is shown and not judged.
TOLERANCES = {
    "output_throughput": 0.1, "input_throughput": 0.1, "median_e2e_latency_ms": 0.15, "median_ttft_ms": 0.25,
    "p99_ttft_ms": 1.0, "median_tpot_ms": 0.1, "p99_tpot_ms": 0.25, "median_itl_ms": 0.1, "p99_itl_ms": 0.5,
}  # fmt: skip
#: What no report may take for markup of its own.
HOSTILE = "<script>alert(1)</script> <img src=x onerror=alert(2)> | **bold** `code` [x](http://evil.example) &lt;"


def plan_of(model: str, gpu: str, count: int, layout: str = "auto") -> dict[str, Any]:
    plan: dict[str, Any] = copy.deepcopy(plan_single({"model": model, "layout": layout}, gpu, count).plan)
    plan.pop("lock", None)
    return plan


def gate(name: str, passed: bool = True, evidence: str = "as wanted", spent: float = 0.8) -> dict[str, Any]:
    return {"gate": name, "passed": passed, "evidence": evidence, "seconds": spent, "budget_seconds": 30.0}


GATES = [
    gate("health", evidence="generated 8 tokens", spent=0.41),
    gate("models", evidence="serves MiniMax-M2.1", spent=0.02),
    gate("auth", evidence="401 without the key, 200 with it", spent=0.03),
    gate("chat", evidence="'Paris.' after 12 tokens", spent=1.2),
    gate("reasoning", evidence="212 characters of thinking apart from 35 of answer", spent=4.4),
    gate("tool_calls", evidence='get_weather {"city": "Paris"}, answered with its result', spent=6.2),
    gate("long_context", evidence="194,560 tokens, answered", spent=28.7),
]


def record(reference: str, host: str, factor: float = 1.0, instance: str = "0") -> dict[str, Any]:
    """A measurement that is factor times as fast as a reference of speed, or as right as one of accuracy, compared."""
    entry = REFERENCES[reference]
    speed = entry["kind"] == "speed"
    same = {
        "schema": 1,
        "kind": entry["kind"],
        "tool": entry["tool"],
        "settings": dict(entry["settings"]),
        "host": host,
        "instance": instance,
        **{key: entry[key] for key in ("model", "gpu", "count", "tp", "ep")},
        "image": {
            "reference": f"lmsysorg/sglang:{entry['image']}",
            "digest": DIGEST,
            "sglang_version": entry["sglang_version"],
        },
        "driver": {"name": "amdgpu", "version": "6.14.14"},
        "taken_at": "2026-11-22T16:20:00+00:00",
    }
    if not speed:
        return same | {
            "benchmark": reference.split("gb300-")[-1].split("mi300x-")[-1],
            "questions": entry["settings"]["questions"],
            "metrics": copy.deepcopy(entry["metrics"]),
            "comparison": {
                "reference": reference,
                "like_for_like": True,
                "why_not": [],
                "passed": True,
                "rows": [
                    {
                        "metric": way,
                        "unit": "%",
                        "value": counted["accuracy"],
                        "reference": counted["accuracy"],
                        "ratio": 1.0,
                        "tolerance": 4.2,
                        "verdict": "within",
                    }
                    for way, counted in entry["metrics"].items()
                ],
            },
        }
    metrics = {
        key: value * factor
        if key.endswith("throughput")
        else value / factor
        if key.endswith(("_ms", "duration"))
        else value
        for key, value in entry["metrics"].items()
    }
    rows = [compared(key, metrics[key], reference) for key, reference in entry["metrics"].items()]
    return same | {
        "profile": PROFILES[entry["settings"]["max_concurrency"]],
        "metrics": metrics,
        "comparison": {
            "reference": reference,
            "like_for_like": True,
            "why_not": [],
            "rows": rows,
            "passed": all(row["verdict"] != "worse" for row in rows),
        },
    }


def compared(metric: str, value: float, reference: float) -> dict[str, Any]:
    """A row of a comparison, with the verdict that its figures have."""
    tolerance, ratio = TOLERANCES.get(metric), value / reference if reference else None
    verdict = "not compared"
    if tolerance is not None:
        less = metric.endswith("_ms")
        low, high = reference * (1 - tolerance), reference * (1 + tolerance)
        verdict = "within" if low <= value <= high else "better" if (value < low) == less else "worse"
    unit = "ms" if metric.endswith("_ms") else "tokens/s"
    return {
        "metric": metric, "unit": unit, "value": value, "reference": reference, "ratio": ratio,
        "tolerance": tolerance, "verdict": verdict,
    }  # fmt: skip


def host(name: str, status: str = "passed", **parts: Any) -> dict[str, Any]:
    return {
        "host": name,
        "status": status,
        "plan": None,
        "gates": [],
        "benchmarks": [],
        "changed_since": [],
    } | copy.deepcopy(parts)


def run_of(
    *hosts: Mapping[str, Any], run_id: str = "2026-11-22T16-00-00", previous: str | None = None
) -> dict[str, Any]:
    """A run of these hosts, with their sums."""
    return {
        "schema": 1,
        "run_id": run_id,
        "started_at": "2026-11-22T16:00:00+00:00",
        "ended_at": "2026-11-22T16:47:12+00:00",
        "playbook": "playbooks/benchmark.yml",
        "fleet": {
            "hosts": len(hosts),
            "passed": sum(entry["status"] == "passed" for entry in hosts),
            "failed": sum(entry["status"] == "failed" for entry in hosts),
        },
        "hosts": [copy.deepcopy(dict(entry)) for entry in hosts],
        "previous": previous,
    }


def mi300x(
    name: str, status: str = "passed", low: float = 1.01, medium: float = 1.0, high: float = 0.96
) -> dict[str, Any]:
    """A node of 8 x MI300X with two servers, the first measured."""
    return host(
        name,
        status,
        plan=plan_of("MiniMax-M2.1", "MI300X", 8, "2x4"),
        gates=GATES,
        benchmarks=[
            record(f"minimax-m2.1-4xmi300x-speed-c{at}", name, factor)
            for at, factor in ((100, high), (1, low), (16, medium))
        ],
    )


def everything() -> dict[str, Any]:
    """A run with each thing that a report can show: what passed, is slow, failed, was not reached, has two instances."""
    slow = mi300x("amd-02", "failed", medium=0.71, high=0.46)
    slow["changed_since"] = ["driver amdgpu: 6.12.12 → 6.14.14"]
    wrong = host(
        "gb300-01.rack7.example.internal",
        "failed",
        plan=plan_of("MiniMax-M2.7", "GB300", 4, "2x2"),
        gates=[*GATES[:4], gate("reasoning", False, HOSTILE, 30.02), *GATES[5:]],
        benchmarks=[
            *(
                record(f"minimax-m2.7-2xgb300-speed-c{at}", "gb300-01.rack7.example.internal", factor, instance)
                for instance, factor in (("0", 1.12), ("1", 1.0))
                for at in (1, 100)
            ),
            *(
                record(f"minimax-m2.7-2xgb300-{name}", "gb300-01.rack7.example.internal")
                for name in ("gsm8k", "gpqa-diamond", "aime-2025", "mmlu-pro")
            ),
        ],
    )
    unlike = mi300x("amd-03")
    for entry in unlike["benchmarks"]:
        entry["comparison"] |= {"like_for_like": False, "why_not": ["tp 8, not 4"], "passed": False}
        entry["comparison"]["rows"] = [row | {"verdict": "not compared"} for row in entry["comparison"]["rows"]]
    return run_of(mi300x("amd-01"), slow, unlike, wrong, host("h200-09", "unreachable"), previous="2026-11-21T16-00-00")
