# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run's record: each host's status, what of its facts goes in and what never does, names and order of runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _run_record as record
from sglang_fleet.planning import plan_single
from sglang_fleet.report_run import check_run
from tests.unit.sglang_fleet.report_runs import record as measured

SECRET = "sk-very-secret"
PASSED = {"gate": "chat", "passed": True, "evidence": "said hello", "seconds": 0.1, "budget_seconds": 120.0}
FAILED = {**PASSED, "passed": False, "evidence": "said nothing"}


def plan() -> dict[str, Any]:
    found: dict[str, Any] = plan_single({"model": "M2.1"}, "MI300X", 8).plan
    found["instances"][0]["environment"] = {"SGLANG_API_KEY": SECRET}
    found["lock"] = {"key": SECRET}
    return found


def of(*results: dict[str, Any]) -> record.Host:
    host = record.Host("gpu-01")
    for result in results:
        host.take(result)
    return host


def facts(**found: Any) -> dict[str, Any]:
    return {"ansible_facts": found}


def speed() -> dict[str, Any]:
    return {
        key: value for key, value in measured("minimax-m2.1-4xmi300x-speed-c1", "gpu-01").items() if key != "comparison"
    }


def run_of(*hosts: dict[str, Any]) -> dict[str, Any]:
    times = ("2026-11-22T19:50:12Z", "2026-11-22T19:51:12Z")
    return record.run_document("20261122T195012Z-benchmark", times, "benchmark.yml", hosts, None)


def test_a_host_that_went_through_all_of_it() -> None:
    judged = {"benchmarks": [{**speed(), "comparison": None}], "gates": [{**PASSED, "gate": "performance 0/low"}]}
    host = of(
        facts(fleet_plan=plan(), fleet_api_key=SECRET),
        facts(smoke_test_results={"0": [PASSED], "1": [PASSED]}),
        facts(fleet_benchmarks=[speed()]),
        facts(performance_gate_result=judged | {"stored": {}, "last_good": {}}),
        {"invocation": {"module_args": {"api_key": SECRET}}},
    )
    entry = record.host_entry(host, failed=False, unreachable=False)
    run = check_run(run_of(entry))
    assert (entry["status"], entry["errors"], run["fleet"]) == ("passed", [], {"hosts": 1, "passed": 1, "failed": 0})
    assert [(gate["gate"], gate.get("instance")) for gate in entry["gates"]] == [
        ("chat", "0"),
        ("chat", "1"),
        ("performance 0/low", None),
    ]
    assert len(entry["benchmarks"]) == 1
    assert SECRET not in json.dumps(run)


@pytest.mark.parametrize(
    ("ran", "failed", "unreachable", "gates", "status"),
    [
        (True, False, False, [PASSED], "passed"),
        (True, True, False, [PASSED], "failed"),
        (True, False, False, [FAILED], "failed"),
        (True, True, True, [PASSED], "unreachable"),
        (False, False, False, [], "not run"),
        (False, False, True, [], "unreachable"),
    ],
)
def test_status(ran: bool, failed: bool, unreachable: bool, gates: list[dict[str, Any]], status: str) -> None:
    host = record.Host("gpu-01", {"smoke_test_results": {"0": gates}}, [("Pull", "no route")], ran)
    entry = record.host_entry(host, failed, unreachable)
    assert entry["status"] == status
    # A failure that was rescued is none.
    assert entry["errors"] == ([] if status in ("passed", "not run") else ["Pull: no route"])
    check_run(run_of(entry))


def test_what_was_measured_before_a_load_failed_is_kept() -> None:
    host = of(facts(fleet_plan=plan()))
    host.fail("Measure", {"msg": "instance 0: profile high: 3 of 500 requests succeeded", "records": [speed()]})
    entry = record.host_entry(host, failed=True, unreachable=False)
    assert [found["profile"] for found in entry["benchmarks"]] == ["low"]
    assert entry["benchmarks"][0]["comparison"] is None
    assert entry["errors"] == ["Measure: instance 0: profile high: 3 of 500 requests succeeded"]


def test_a_message_is_kept_to_a_length() -> None:
    host = record.Host("gpu-01")
    host.fail("Install", {"msg": "x" * 5000})
    host.fail("Remove", {})
    assert len(host.failures[0][1]) == record.MESSAGE_LENGTH
    assert host.failures[1] == ("Remove", "it failed without a message")


def test_accuracy_is_taken_beside_speed() -> None:
    right = measured("minimax-m2.7-2xgb300-gsm8k", "gpu-01")
    host = of(
        facts(fleet_benchmarks=[speed()]),
        facts(accuracy_gate_result={"gates": [{**PASSED, "gate": "accuracy 0/gsm8k"}], "benchmarks": [right]}),
    )
    entry = record.host_entry(host, failed=False, unreachable=False)
    assert [found["kind"] for found in entry["benchmarks"]] == ["speed", "accuracy"]
    assert entry["benchmarks"][1]["comparison"] == right["comparison"]
    check_run(run_of(entry))
    bare = record.host_entry(of(facts(fleet_accuracy=[right])), failed=False, unreachable=False)
    assert [found["benchmark"] for found in bare["benchmarks"]] == ["gsm8k"]


@pytest.mark.parametrize(
    ("started", "playbook", "name"),
    [
        ("2026-11-22T19:50:12Z", "benchmark.yml", "20261122T195012Z-benchmark"),
        ("2026-11-22T19:50:12+00:00", "my play/all.yaml", "20261122T195012Z-my_play_all"),
    ],
)
def test_names(started: str, playbook: str, name: str) -> None:
    assert record.run_id(started, playbook) == name


@pytest.mark.parametrize(
    ("names", "last"),
    [
        ([], None),
        (["20261122T195012Z-verify.json", "notes.json", "20261122T195012Z-benchmark"], None),
        (["20261121T000000Z-benchmark.json", "20261122T000000Z-benchmark.json", "20261123T000000Z-benchmark-x.json"], "20261122T000000Z-benchmark"),
        ([f"20261122T000000Z-benchmark{again}.json" for again in ("-10", "-9", "")], "20261122T000000Z-benchmark-10"),
    ],
)  # fmt: skip
def test_the_last_run_of_a_playbook(names: list[str], last: str | None) -> None:
    assert record.last_of("benchmark.yml", names) == last
