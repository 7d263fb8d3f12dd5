# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs as a report reads them: what is refused and how it is told, what is wrong, and figures as texts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sglang_fleet import report_run
from sglang_fleet.planning import FleetError
from sglang_fleet.report_run import (
    Finding,
    check_run,
    figure,
    findings,
    moment,
    previous_of,
    read_run,
    seconds,
    tolerance_text,
)
from tests.unit.sglang_fleet.report_runs import everything, gate, host, mi300x, run_of

RUN = run_of(mi300x("a"), mi300x("b", "failed", high=0.5))

Change = Callable[[dict[str, Any]], Any]


def test_a_run_is_read_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(json.dumps(RUN))
    assert read_run(file) == RUN
    assert check_run(everything()) == everything()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda run: run.update(schema=2), "schema: 1 was expected"),
        (lambda run: run.pop("hosts"), "the run: 'hosts' is a required property"),
        (lambda run: run["hosts"][1].pop("gates"), "hosts[1]: 'gates' is a required property"),
        (lambda run: run["hosts"][0]["gates"][2].update(passed="yes"), "hosts[0].gates[2].passed: 'yes' is not of type 'boolean'"),
        (
            lambda run: run["hosts"][0]["benchmarks"][1]["metrics"].update(duration="long"),
            "hosts[0].benchmarks[1].metrics.duration: 'long' is not of type 'number', 'null'",
        ),
        (lambda run: run["hosts"][0]["benchmarks"][0].pop("profile"), "hosts[0].benchmarks[0]: 'profile' is a required property"),
        (lambda run: run["hosts"][1].update(host="a"), "hosts: a is there 2 times, wanted once"),
        (lambda run: run["fleet"].update(hosts=3), "fleet.hosts: 3, while the list of hosts makes it 2"),
        (lambda run: run["fleet"].update(passed=2), "fleet.passed: 2, while the list of hosts makes it 1"),
        (lambda run: run["fleet"].update(failed=0), "fleet.failed: 0, while the list of hosts makes it 1"),
        (
            lambda run: run["hosts"][0]["gates"].append(gate("chat", False, "said nothing")),
            "hosts: a has passed, while its gate chat has not: said nothing",
        ),
    ],
)  # fmt: skip
def test_what_is_no_run_is_refused_with_its_place(tmp_path: Path, change: Change, told: str) -> None:
    wrong = json.loads(json.dumps(RUN))
    change(wrong)
    file = tmp_path / "run.json"
    file.write_text(json.dumps(wrong))
    with pytest.raises(FleetError) as raised:
        read_run(file)
    assert str(raised.value) == f"{file}: {told}"


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    with pytest.raises(FleetError, match="cannot be read: No such file"):
        read_run(file)
    file.write_text("{")
    with pytest.raises(FleetError, match=r"run\.json: not JSON: Expecting"):
        read_run(file)
    file.write_bytes(b"\xff\xfe{}")
    with pytest.raises(FleetError, match=r"run\.json: not JSON"):
        read_run(file)


def test_figures_that_are_no_numbers_are_unknown() -> None:
    wild = json.loads(json.dumps(RUN))
    wild["hosts"][0]["benchmarks"][0]["metrics"] |= {"p99_ttft_ms": float("inf"), "mean_itl_ms": float("nan")}
    metrics = check_run(wild)["hosts"][0]["benchmarks"][0]["metrics"]
    assert (metrics["p99_ttft_ms"], metrics["mean_itl_ms"]) == (None, None)


def test_findings_are_what_is_wrong_and_nothing_else() -> None:
    found = findings(everything())
    assert [(entry.host, entry.where) for entry in found] == [
        ("amd-02", "medium (16 at once, 1000/1000 tokens)"),
        ("amd-02", "high (100 at once, 1000/1000 tokens)"),
        ("gb300-01.rack7.example.internal", "gate reasoning"),
        ("h200-09", "host"),
    ]
    assert found[0].text.startswith(
        "worse than minimax-m2.1-4xmi300x-speed-c16: input_throughput 353\u00a0tokens/s instead of 497 (0.71×), "
    )
    assert found[3] == Finding("h200-09", "host", "status: unreachable; no gate or measurement says why")
    assert findings(run_of(mi300x("a"))) == []


def test_of_one_server_no_gate_names_the_instance() -> None:
    alone = host("a", "failed", gates=[gate("chat", False, "no") | {"instance": "0"}, gate("performance 0/low")])
    assert [entry.where for entry in findings(run_of(alone))] == ["gate chat"]


def test_what_a_task_said_is_a_finding_where_no_gate_says_it() -> None:
    refused = host("a", "failed", errors=["Plan: does not fit"])
    assert findings(run_of(refused)) == [Finding("a", "failed", "Plan: does not fit")]
    slow = host("a", "failed", gates=[gate("chat", False, "said nothing")], errors=["Test: chat failed: said nothing"])
    assert [entry.where for entry in findings(run_of(slow))] == ["gate chat"]


def test_the_run_before_is_found_in_the_folder(tmp_path: Path) -> None:
    now = run_of(mi300x("a"), run_id="two", previous="one")
    assert previous_of(now, tmp_path) is None
    before = run_of(mi300x("a"), run_id="one")
    (tmp_path / "one.json").write_text(json.dumps(before))
    assert previous_of(now, tmp_path) == before
    assert previous_of(before, tmp_path) is None
    # A name that leads elsewhere is none.
    (tmp_path / "sub").mkdir()
    assert previous_of(now | {"previous": "../one"}, tmp_path / "sub") is None


def test_a_performance_gate_and_its_comparison_are_one_finding() -> None:
    slow = mi300x("a", "failed", high=0.5)
    slow["gates"] = [gate("performance high", False, "worse than minimax-m2.1-4xmi300x-speed-c100: output_throughput")]
    assert [entry.where for entry in findings(run_of(slow))] == ["gate performance high"]


def test_an_instance_is_named_where_there_are_several() -> None:
    slow = mi300x("a", "failed", high=0.5)
    slow["benchmarks"].append(slow["benchmarks"][1] | {"instance": "1"})
    slow["gates"] = [gate("chat", False, "no") | {"instance": "1"}, gate("chat") | {"instance": "0"}]
    assert [entry.where for entry in findings(run_of(slow))] == [
        "gate chat, instance 1", "high (100 at once, 1000/1000 tokens), instance 0",
    ]  # fmt: skip


def test_a_comparison_that_failed_without_a_worse_figure_says_why() -> None:
    comparison = {"reference": "r", "like_for_like": True, "why_not": ["no metric"], "rows": [], "passed": False}
    odd = mi300x("a")["benchmarks"][1] | {"comparison": comparison}
    [found] = findings(run_of(host("a", "failed", benchmarks=[odd])))
    assert found.text == "not passed against r: no metric"
    comparison["like_for_like"] = False  # nothing was judged: no fault of the host's
    assert findings(run_of(host("a", benchmarks=[odd]))) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (0.07, "0.07"), (1.0, "1.00"), (22.21, "22.2"), (382.24, "382"), (37978.2, "37,978"), (500, "500"),
        (1642.64, "1,643"), ("inf", "inf"), (0.0, "0.00"), (12345, "12,345"),
    ],
)  # fmt: skip
def test_figures(value: Any, text: str) -> None:
    assert figure(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (0.412, "412 ms"), (4.4, "4.4 s"), (12.3, "12 s"), (60, "1 min"), (185.2, "3 min 5 s"),
        (3600, "1 h"), (7800, "2 h 10 min"),
    ],
)  # fmt: skip
def test_durations(value: float | None, text: str) -> None:
    assert seconds(value).replace("\u00a0", " ") == text


@pytest.mark.parametrize(
    ("tolerance", "metric", "unit", "text"),
    [
        (0.1, "output_throughput", "tokens/s", "−10 %"),
        (0.25, "median_ttft_ms", "ms", "+25 %"),
        (1.0, "p99_ttft_ms", "ms", "+100 %"),
        (4.2, "pass@1", "%", "−4.2 points"),
        ([91.0, 97.5], "pass@1", "%", "91.0 to 97.5\u00a0%"),
        ("as the page says", "pass@1", "%", "as the page says"),
        (None, "duration", "s", ""),
    ],
)
def test_tolerances(tolerance: Any, metric: str, unit: str, text: str) -> None:
    assert tolerance_text({"tolerance": tolerance, "metric": metric, "unit": unit}) == text


def test_times() -> None:
    assert moment("2026-11-22T16:00:00+00:00") == "2026-11-22 16:00:00 UTC"
    assert moment("2026-11-22T16:00:00Z") == "2026-11-22 16:00:00 UTC"
    assert moment("soon") == "soon"
    assert report_run.took(RUN) == "47 min 12 s"
    assert report_run.took(RUN | {"ended_at": "2026-11-22T16:00:00"}) == "–"
