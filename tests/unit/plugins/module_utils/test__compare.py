# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When two results may be compared, and what comes of it."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import read_data
from ansible_collections.sglang.fleet.plugins.module_utils._compare import (
    METRICS,
    CompareError,
    compare_accuracy,
    compare_speed,
    difference,
    metrics_with,
    unit,
    verdict,
    why_not,
    wilson,
)

REFERENCES: dict[str, dict[str, Any]] = read_data()["references"]
SPEED = "minimax-m2.1-4xmi300x-speed-c16"
GPQA = "minimax-m2.7-2xgb300-gpqa-diamond"


def like(name: str) -> dict[str, Any]:
    """A record of the same thing, to the figure."""
    reference = copy.deepcopy(REFERENCES[name])
    keys = ("kind", "tool", "settings", "metrics", "model", "gpu", "count", "tp", "ep")
    return {key: reference[key] for key in keys}


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        pytest.param({}, [], id="like"),
        pytest.param(
            {"image": {"reference": "another"}, "driver": {"version": "7"}}, [], id="another image and driver"
        ),
        pytest.param({"model": "MiniMax-M2"}, ["model MiniMax-M2, not MiniMax-M2.1"], id="model"),
        pytest.param({"gpu": "MI325X"}, ["gpu MI325X, not MI300X"], id="gpu"),
        pytest.param({"count": 8, "tp": 8}, ["count 8, not 4", "tp 8, not 4"], id="more of them"),
        pytest.param({"ep": 4}, ["ep 4, not 1"], id="experts"),
        pytest.param({"kind": "accuracy"}, ["kind accuracy, not speed"], id="kind"),
        pytest.param({"tool": "another"}, ["tool another, not sglang.bench_serving"], id="tool"),
        pytest.param({"settings": {"num_prompts": 8}}, ["num_prompts 8, not 80"], id="prompts"),
        pytest.param({"settings": {"seed": None}}, ["seed None, not 1"], id="no seed"),
        pytest.param({"settings": {"more": 1}}, ["more 1, not not set"], id="one more"),
    ],
)
def test_like_with_like(change: dict[str, Any], reasons: list[str]) -> None:
    record = like(SPEED)
    settings = {**record["settings"], **change.pop("settings", {})}
    assert why_not({**record, **change, "settings": settings}, REFERENCES[SPEED]) == reasons


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        pytest.param({"gpu": "H200", "count": 8, "tp": 8, "ep": 8}, [], id="other GPUs"),
        pytest.param({"model": "MiniMax-M2"}, ["model MiniMax-M2, not MiniMax-M2.7"], id="model"),
        pytest.param({"tool": "lm-eval"}, ["tool lm-eval, not nemo-skills"], id="tool"),
        pytest.param({"settings": {"max_tokens": 32768}}, ["max_tokens 32768, not 120000"], id="settings"),
    ],
)
def test_accuracy_is_compared_across_hardware(change: dict[str, Any], reasons: list[str]) -> None:
    record = like(GPQA)
    settings = {**record["settings"], **change.pop("settings", {})}
    assert why_not({**record, **change, "settings": settings}, REFERENCES[GPQA]) == reasons


@pytest.mark.parametrize(
    ("metric", "value", "wanted"),
    [
        # 511.05 tokens/s, 10 %: from 459.945 to 562.155, and half a hundredth on either side
        ("output_throughput", 511.05, "within"),
        ("output_throughput", 459.941, "within"),
        ("output_throughput", 459.939, "worse"),
        ("output_throughput", 562.159, "within"),
        ("output_throughput", 562.161, "better"),
        # 26.93 ms, 10 %: from 24.237 to 29.623
        ("mean_tpot_ms", 29.627, "within"),
        ("mean_tpot_ms", 29.629, "worse"),
        ("mean_tpot_ms", 24.231, "better"),
    ],
)
def test_bands_by_direction(metric: str, value: float, wanted: str) -> None:
    assert verdict(METRICS[metric], value, REFERENCES[SPEED]["metrics"][metric]) == wanted


def test_a_figure_of_two_decimals_may_be_half_a_hundredth_off() -> None:
    """0.07 requests a second was anything from 0.065 up: 0.0600 is 10 % less than that, and a bare band would refuse it."""
    assert verdict(METRICS["request_throughput"], 0.0600, 0.07) == "within"
    assert verdict(METRICS["request_throughput"], 0.0600, 0.07, rounding=0) == "worse"


def test_a_speed_comparison() -> None:
    record = like(SPEED)
    record["metrics"].update(output_throughput=255.525, mean_ttft_ms=100.0, max_itl_ms=9999.0)
    del record["metrics"]["p99_itl_ms"]
    compared = compare_speed(record, SPEED, REFERENCES[SPEED])
    rows = {row["metric"]: row for row in compared.pop("rows")}
    assert compared == {"reference": SPEED, "like_for_like": True, "why_not": [], "passed": False}
    assert rows["output_throughput"] == {
        "metric": "output_throughput",
        "unit": "tokens/s",
        "value": 255.525,
        "reference": 511.05,
        "ratio": 0.5,
        "tolerance": 0.10,
        "verdict": "worse",
    }
    assert rows["mean_ttft_ms"]["verdict"] == "better"
    assert rows["total_throughput"]["verdict"] == "within"
    assert (rows["max_itl_ms"]["verdict"], rows["max_itl_ms"]["tolerance"]) == ("not compared", None)
    assert "p99_itl_ms" not in rows


def test_the_published_results_pass_by_themselves() -> None:
    for name, reference in REFERENCES.items():
        if reference["kind"] == "speed":
            compared = compare_speed(like(name), name, reference)
            assert compared["passed"], name
            assert {row["verdict"] for row in compared["rows"]} <= {"within", "not compared"}


def test_unlike_is_judged_neither_good_nor_bad() -> None:
    compared = compare_speed({**like(SPEED), "gpu": "H200"}, SPEED, REFERENCES[SPEED])
    assert (compared["like_for_like"], compared["passed"]) == (False, False)
    assert {row["verdict"] for row in compared["rows"]} == {"not compared"}


def test_nothing_in_common_is_no_pass() -> None:
    compared = compare_speed({**like(SPEED), "metrics": {}}, SPEED, REFERENCES[SPEED])
    assert compared["passed"] is False
    assert compared["why_not"] == ["no metric that is judged stands on both sides"]


def test_an_operator_s_own_tolerance() -> None:
    record = like(SPEED)
    record["metrics"]["output_throughput"] *= 0.93
    assert compare_speed(record, SPEED, REFERENCES[SPEED])["passed"]
    assert not compare_speed(record, SPEED, REFERENCES[SPEED], {"output_throughput": 0.05})["passed"]


@pytest.mark.parametrize(
    ("tolerances", "message"),
    [
        ({"speed": 0.1}, "speed is no metric that is judged; those are request_throughput, "),
        ({"mean_itl_ms": "10%"}, "the tolerance of mean_itl_ms is '10%': it must be a fraction, such as 0.1"),
        ({"mean_itl_ms": -0.1}, "the tolerance of mean_itl_ms is -0.1: it must be a fraction, such as 0.1"),
        ({"mean_itl_ms": True}, "the tolerance of mean_itl_ms is True: it must be a fraction, such as 0.1"),
        ({"mean_itl_ms": math.nan}, "the tolerance of mean_itl_ms is nan: it must be a fraction, such as 0.1"),
    ],
)
def test_a_tolerance_that_means_nothing(tolerances: dict[str, Any], message: str) -> None:
    with pytest.raises(CompareError) as error:
        metrics_with(tolerances)
    assert str(error.value).startswith(message)


def test_every_metric_of_a_reference_has_its_unit() -> None:
    keys = {key for entry in REFERENCES.values() if entry["kind"] == "speed" for key in entry["metrics"]}
    units = {key: unit(key) for key in keys}
    assert {key for key, found in units.items() if found == "ms"} == {key for key in keys if key.endswith("_ms")}
    assert (units["duration"], units["completed"], units["total_input_tokens"]) == ("s", "requests", "tokens")
    assert set(METRICS) <= keys


# R. G. Newcombe, Statistics in Medicine 17 (1998): of 857-872 the examples of table I, method 3; of 873-890 those of table II,
# method 10.
def test_intervals_are_the_published_ones() -> None:
    assert [round(bound / 100, 4) for bound in wilson(81 / 263 * 100, 263)] == [0.2553, 0.3662]
    assert [round(bound / 100, 4) for bound in wilson(0, 20)] == [0, 0.1611]
    assert [round(bound / 100, 4) for bound in difference((56 / 70 * 100, 70), (48 / 80 * 100, 80))] == [0.0524, 0.3339]
    assert [round(bound / 100, 4) for bound in difference((90, 10), (30, 10))] == [0.1705, 0.8090]


@pytest.mark.parametrize(
    ("percent", "questions", "message"),
    [(50, 0, "0 questions: an interval needs at least one"), (101, 9, "101 is no percentage")],
)
def test_no_interval(percent: float, questions: int, message: str) -> None:
    with pytest.raises(CompareError) as error:
        wilson(percent, questions)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("accuracy", "questions", "wanted"),
    [
        pytest.param(84.91, 198, "within", id="the same"),
        pytest.param(78.0, 198, "within", id="seven points of 198 questions are chance"),
        pytest.param(76.0, 198, "worse", id="nine are not"),
        pytest.param(70.0, 10, "within", id="ten questions show little"),
        pytest.param(93.0, 198, "better", id="eight points better"),
    ],
)
def test_accuracy_by_interval(accuracy: float, questions: int, wanted: str) -> None:
    record = {**like(GPQA), "questions": questions}
    record["metrics"] = {"pass@1[avg-of-8]": {"accuracy": accuracy}}
    compared = compare_accuracy(record, GPQA, REFERENCES[GPQA])
    [row] = compared["rows"]
    assert row["verdict"] == wanted
    assert (row["unit"], row["reference"], compared["passed"]) == ("%", 84.91, wanted != "worse")
    assert (row["value"] < row["reference"] - row["tolerance"]) == (wanted == "worse")
