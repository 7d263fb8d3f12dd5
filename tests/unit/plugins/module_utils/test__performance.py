# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which reference counts, who passes, and what a host keeps."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import read_data
from ansible_collections.sglang.fleet.plugins.module_utils._judge import slot
from ansible_collections.sglang.fleet.plugins.module_utils._performance import judge, replaces

REFERENCES: dict[str, dict[str, Any]] = read_data()["references"]
NAME = "minimax-m2.1-4xmi300x-speed-c16"
KEYS = ("kind", "tool", "settings", "metrics", "model", "gpu", "count", "tp", "ep")


def record(speed: float = 1.0, **other: Any) -> dict[str, Any]:
    """A record of the published run, with so much of its throughput."""
    made = {key: copy.deepcopy(REFERENCES[NAME][key]) for key in KEYS}
    for key in ("request_throughput", "input_throughput", "output_throughput", "total_throughput"):
        made["metrics"][key] *= speed
    return {**made, "instance": "0", "profile": "medium", "taken_at": "2026-01-01T00:00:00Z", **other}


def kept_by(*records: dict[str, Any]) -> dict[str, Any]:
    """The host's last good records."""
    return {slot(entry): entry for entry in records}


OWN = "own 0/medium of 2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("against", "own", "other", "reference"),
    [
        pytest.param("auto", {}, {}, NAME, id="a published one"),
        pytest.param("auto", kept_by(record()), {}, OWN, id="the host's own before it"),
        pytest.param("references", kept_by(record()), {}, NAME, id="published only"),
        pytest.param("own", {}, {}, None, id="no own one"),
        pytest.param("auto", kept_by(record(profile="low")), {}, NAME, id="an own one of another load"),
        pytest.param("auto", kept_by(record(gpu="H200")), {}, NAME, id="own, before the GPUs were changed"),
        pytest.param("auto", {}, {"gpu": "H200"}, None, id="nothing published"),
        pytest.param("auto", kept_by(record(gpu="H200")), {"gpu": "H200"}, OWN, id="own alone"),
    ],
)
def test_what_counts(against: str, own: dict[str, Any], other: dict[str, Any], reference: str | None) -> None:
    compared = judge([record(**other)], REFERENCES, own, against)["benchmarks"][0]["comparison"]
    assert (compared and compared["reference"]) == reference


def test_a_gate_that_passes_and_one_that_does_not() -> None:
    slow = record(0.5, profile="slow")
    judged = judge([record(), slow], REFERENCES, {})
    assert judged["passed"] is False
    assert [gate["passed"] for gate in judged["gates"]] == [True, False]
    assert judged["gates"][0] == {
        "gate": "performance 0/medium",
        "passed": True,
        "evidence": f"0/medium: 511.05 tokens/s out, 147 ms to the first token; none worse than {NAME}",
        "seconds": 79.85,
        "budget_seconds": None,
    }
    assert judged["gates"][1]["evidence"] == (
        f"0/slow: worse than {NAME}: request_throughput 0.50 requests/s, wanted 0.90 at least (1.00 less 10%); input_throughput "
        "248.41 tokens/s, wanted 447.13 at least (496.81 less 10%); output_throughput 255.53 tokens/s, wanted 459.94 at least "
        "(511.05 less 10%); and 1 more"
    )
    assert [item["comparison"]["passed"] for item in judged["benchmarks"]] == [True, False]
    assert judged["last_good"] == kept_by(record())


def test_the_furthest_behind_come_first_and_the_way_out_is_named() -> None:
    late = record(0.85)
    late["metrics"]["median_ttft_ms"] *= 10
    [gate] = judge([late], REFERENCES, kept_by(record()))["gates"]
    assert gate["evidence"].startswith(
        f"0/medium: worse than {OWN}: median_ttft_ms 1474.30 ms, wanted 184.29 at most (147.43 plus 25%); "
    )
    assert gate["evidence"].endswith("; and 2 more. If that is meant: performance_gate_forget=true")


@pytest.mark.parametrize(("required", "passed"), [(False, True), (True, False)])
def test_nothing_to_compare_with(required: bool, passed: bool) -> None:
    judged = judge([record(gpu="H200")], REFERENCES, {}, required=required)
    assert judged["passed"] is passed
    assert judged["benchmarks"][0]["comparison"] is None
    assert "not judged" in judged["gates"][0]["evidence"]
    assert bool(judged["last_good"]) is passed


def test_a_host_does_not_get_slower_by_a_little_each_time() -> None:
    kept: dict[str, Any] = {}
    outcomes = []
    for speed in (1.0, 0.95, 0.92, 0.88, 1.05, 0.96):
        judged = judge([record(speed, gpu="H200")], REFERENCES, kept)
        kept = judged["last_good"]
        outcomes.append(
            (judged["passed"], round(next(iter(kept.values()))["metrics"]["output_throughput"] / 511.05, 2))
        )
    assert outcomes == [(True, 1.0), (True, 1.0), (True, 1.0), (False, 1.0), (True, 1.05), (True, 1.05)]


@pytest.mark.parametrize(
    ("old", "wanted"),
    [
        pytest.param(None, True, id="the first"),
        pytest.param(record(0.9), True, id="faster"),
        pytest.param(record(), False, id="no faster"),
    ],
)
def test_who_takes_whose_place(old: dict[str, Any] | None, wanted: bool) -> None:
    assert replaces(record(), old) is wanted


def test_a_run_on_other_gpus_leaves_the_record_of_these() -> None:
    own = kept_by(record())
    judged = judge([record(2.0, gpu="H200")], REFERENCES, own)
    assert judged["last_good"] == {**own, **kept_by(record(2.0, gpu="H200"))}
