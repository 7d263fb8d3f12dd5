# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._accuracy_gate import headline, judge, problems, replaces
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import read_data
from ansible_collections.sglang.fleet.plugins.module_utils._judge import slot

REFERENCES: dict[str, dict[str, Any]] = read_data()["references"]
GPQA = "minimax-m2.7-2xgb300-gpqa-diamond"
PASS = "pass@1[avg-of-8]"


def record(accuracy: float = 84.91, **more: Any) -> dict[str, Any]:
    """GPQA Diamond on other GPUs than the published run's, right that often."""
    made = copy.deepcopy(REFERENCES[GPQA])
    made["metrics"][PASS]["accuracy"] = accuracy
    same = {
        "benchmark": "gpqa-diamond",
        "questions": 198,
        "instance": "0",
        "host": "a",
        "gpu": "H200",
        "count": 8,
        "tp": 8,
    }
    return {**made, **same, "seconds": 60.5, "taken_at": "2026-01-02T00:00:00Z", **more}


def kept_by(*records: dict[str, Any]) -> dict[str, Any]:
    """The host's last good records."""
    return {slot(entry): entry for entry in records}


def compared(*arguments: Any) -> dict[str, Any] | None:
    """The comparison of the one record."""
    found: dict[str, Any] | None = judge(*arguments)["benchmarks"][0]["comparison"]
    return found


def gsm8k(correct: int, taken_at: str = "2026-01-02T00:00:00Z", questions: int = 1319) -> dict[str, Any]:
    return {
        "kind": "accuracy",
        "benchmark": "gsm8k",
        "tool": "lm-eval",
        "model": "MiniMax-M2.7",
        "gpu": "H200",
        "settings": {"dataset": "GSM8K", "questions": questions, "shots": 8},
        "metrics": {"pass@1": {"accuracy": 100 * correct / questions, "correct": correct, "no_answer": 0.5}},
        "questions": questions,
        "instance": "0",
        "taken_at": taken_at,
    }


# 198 questions, 84.91 % published: the interval of a difference of 9 points leaves out zero, that of 7 does not.
@pytest.mark.parametrize(("accuracy", "passed"), [(84.91, True), (78.0, True), (76.0, False), (95.0, True)])
def test_published_result_on_other_gpus(accuracy: float, passed: bool) -> None:
    judged = judge([record(accuracy)], REFERENCES, {})
    [gate] = judged["gates"]
    assert (gate["gate"], gate["passed"], judged["passed"]) == ("accuracy 0/gpqa-diamond", passed, passed)
    assert (gate["seconds"], gate["budget_seconds"]) == (60.5, None)
    assert judged["benchmarks"][0]["comparison"]["reference"] == GPQA
    assert bool(judged["last_good"]) == passed, "what has failed is no measure for the next"


def test_what_a_failure_says() -> None:
    [gate] = judge([record(76.0)], REFERENCES, {})["gates"]
    assert gate["evidence"] == (
        "0/gpqa-diamond: 76.00 % right (pass@1[avg-of-8], 198 questions, 95 % interval 69.59 to 81.42), 3.54 % without an answer;"
        f" worse than {GPQA}: {PASS} 76.00 %, wanted 84.91 less 7.83 by chance at most"
    )


@pytest.mark.parametrize(
    ("against", "reference"),
    [
        ("auto", "own 0/gpqa-diamond of 2026-01-01T00:00:00Z"),
        ("own", "own 0/gpqa-diamond of 2026-01-01T00:00:00Z"),
        ("references", GPQA),
    ],
)
def test_the_host_s_own_comes_first(against: str, reference: str) -> None:
    own = kept_by(record(80.0, taken_at="2026-01-01T00:00:00Z"))
    found = compared([record()], REFERENCES, own, against)
    assert found is not None
    assert found["reference"] == reference


def test_of_several_published_results_that_of_the_same_gpus() -> None:
    other = {**copy.deepcopy(REFERENCES[GPQA]), "gpu": "H200"}
    found = compared([record()], {**REFERENCES, "on-h200": other}, {})
    assert found is not None
    assert found["reference"] == "on-h200"


def test_other_settings_are_not_compared() -> None:
    other = record()
    other["settings"]["max_tokens"] = 32768
    assert compared([other], REFERENCES, kept_by(record())) is None


def test_fewer_questions_are_not_compared_with_all() -> None:
    few = record(questions=20)
    few["settings"]["questions"] = 20
    assert compared([few], REFERENCES, {}) is None


@pytest.mark.parametrize("required", [False, True])
def test_nothing_to_hold_it_against(required: bool) -> None:
    judged = judge([gsm8k(1218)], REFERENCES, {}, required=required)
    assert judged["passed"] is not required
    assert "not judged: neither a published result nor a record of this host" in judged["gates"][0]["evidence"]
    assert bool(judged["last_good"]) is not required


# 1218 of 1319 against 90 %: 92.34 %, whose interval ends at 93.65. 1165 are 88.32 % to 89.95; 1166 end at 90.02.
@pytest.mark.parametrize(("correct", "passed"), [(1218, True), (1166, True), (1165, False)])
def test_minimum(correct: int, passed: bool) -> None:
    judged = judge([gsm8k(correct)], REFERENCES, {}, required=True, minimums={"gsm8k": 90})
    assert judged["passed"] is passed
    assert judged["gates"][0]["evidence"].endswith("; not below 90.00" if passed else "; wanted 90.00 at least")


@pytest.mark.parametrize(
    ("minimums", "found"),
    [
        (None, []),
        ({"gsm8k": 90, "aime-2025": 0.5}, []),
        ({"gsm8k": 101}, ["the minimum of gsm8k is 101: it must be percent, from 0 to 100"]),
        ({"gsm8k": True}, ["the minimum of gsm8k is True: it must be percent, from 0 to 100"]),
        ({"gsm8k": "90%"}, ["the minimum of gsm8k is '90%': it must be percent, from 0 to 100"]),
        ({"gsm": 90}, ["there is no benchmark gsm; known: gsm8k, aime-2025"]),
    ],
)
def test_a_minimum_that_means_nothing(minimums: dict[str, Any] | None, found: list[str]) -> None:
    assert problems(minimums, ["gsm8k", "aime-2025"]) == found


def test_a_minimum_of_what_is_not_measured_now() -> None:
    assert judge([gsm8k(1218)], {}, {}, minimums={"aime-2025": 90, "gsm8k": 90})["passed"]


def test_a_host_cannot_become_worse_by_a_little_each_time() -> None:
    """Each run is within chance of the one before; held against the first, the third is not."""
    kept: dict[str, Any] = {}
    passed = []
    for correct in (1218, 1195, 1172):
        judged = judge([gsm8k(correct, f"2026-01-0{len(passed) + 1}T00:00:00Z")], REFERENCES, kept)
        passed.append(judged["passed"])
        kept = judged["last_good"]
    assert passed == [True, True, False]
    assert next(iter(kept.values()))["metrics"]["pass@1"]["correct"] == 1218
    assert judge([gsm8k(1172)], REFERENCES, kept_by(gsm8k(1195)))["passed"]


def test_a_lucky_run_is_no_measure() -> None:
    assert not replaces(gsm8k(1230), gsm8k(1218))


def test_a_run_of_few_questions_takes_no_record_s_place() -> None:
    """Else a try of twenty questions would end the watch over all of them."""
    kept: dict[str, Any] = {}
    passed = []
    for run in (gsm8k(1218), gsm8k(19, questions=20), gsm8k(1100)):
        judged = judge([run], {}, kept)
        passed.append(judged["passed"])
        kept = judged["last_good"]
    assert passed == [True, True, False]


def test_a_server_that_was_worse_beyond_chance_is_no_measure_either() -> None:
    """Else a host whose first run was of a broken server would never be found out again."""
    assert replaces(gsm8k(1218), gsm8k(700))
    kept: dict[str, Any] = {}
    passed = []
    for correct in (1100, 1218, 1100):
        judged = judge([gsm8k(correct)], {}, kept)
        passed.append(judged["passed"])
        kept = judged["last_good"]
    assert passed == [True, True, False]


# 80 % of 1319 are 1055.2; the interval of 1025, 77.71 %, ends at 79.87, that of 1030 at 80.23.
@pytest.mark.parametrize(("correct", "passed"), [(1218, True), (1030, True), (1025, False), (0, False)])
@pytest.mark.parametrize("required", [False, True])
def test_a_floor_under_what_nothing_else_is_held_against(correct: int, passed: bool, required: bool) -> None:
    judged = judge([gsm8k(correct)], {}, {}, floors={"gsm8k": 80}, required=required)
    assert judged["passed"] is (passed and not required), "a floor is no reference"
    assert bool(judged["last_good"]) is judged["passed"]
    assert "skipped" not in judged["gates"][0]


def test_a_minimum_takes_the_place_of_a_floor() -> None:
    assert judge([gsm8k(100)], {}, {}, floors={"gsm8k": 80}, minimums={"gsm8k": 1})["passed"]


def test_headline() -> None:
    assert headline(record())[0] == PASS
    assert headline({"metrics": {"majority@8": {"accuracy": 1.0}, "pass@1": {"accuracy": 2.0}}})[0] == "pass@1"
