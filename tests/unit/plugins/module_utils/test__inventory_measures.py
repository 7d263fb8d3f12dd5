# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._inventory_measures import check_measures

GOOD = {
    "smoke_test_budgets": {"chat": 3, "context": 1200.5},
    "smoke_test_min_tokens_per_second": 0.1,
    "smoke_test_first_token_seconds": 1,
    "smoke_test_context_tokens": 0,
    "smoke_test_request_seconds": 1,
    "benchmark_profiles": ["low", "high-8k"],
    "accuracy_benchmarks": ["gsm8k", "aime-2025"],
    "accuracy_data": {"gsm8k": "gsm8k.jsonl"},
    "accuracy_limit": 0,
    "performance_gate_tolerances": {"output_throughput": 0.05},
    "accuracy_gate_minimums": {"gsm8k": 90},
}


def problems(values: dict[str, Any]) -> list[str]:
    return list(check_measures(values, load_catalogue()))


@pytest.mark.parametrize("values", [{}, GOOD, dict.fromkeys(GOOD)])
def test_what_is_right(values: dict[str, Any]) -> None:
    assert problems(values) == []


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("smoke_test_budgets", {"chatt": 3}, "smoke_test_budgets: there is no gate chatt: known are health, "),
        ("smoke_test_budgets", {"chat": "3"}, "smoke_test_budgets: the budget of chat is '3': it must be a number"),
        ("smoke_test_min_tokens_per_second", -1.0, "smoke_test_min_tokens_per_second is -1.0: it must be more than 0"),
        ("smoke_test_min_tokens_per_second", 0.0, "smoke_test_min_tokens_per_second is 0.0: it must be more than 0"),
        ("smoke_test_min_tokens_per_second", float("nan"), "smoke_test_min_tokens_per_second is nan: it must be "),
        (
            "smoke_test_min_tokens_per_second",
            float("inf"),
            "smoke_test_min_tokens_per_second is inf: it must be a number",
        ),
        ("smoke_test_first_token_seconds", 0, "smoke_test_first_token_seconds is 0: it must be more than 0"),
        ("smoke_test_request_seconds", 0, "smoke_test_request_seconds is 0: it must be more than 0"),
        ("smoke_test_startup_seconds", -1, "smoke_test_startup_seconds is -1: it must be at least 0"),
        ("smoke_test_context_tokens", -5, "smoke_test_context_tokens is -5: it must be at least 0"),
        ("accuracy_limit", -1, "accuracy_limit is -1: it must be at least 0"),
        ("benchmark_profiles", ["lo"], "benchmark_profiles names lo; known: low, "),
        ("accuracy_benchmarks", ["gsm"], "accuracy_benchmarks names gsm; known: gsm8k, "),
        ("accuracy_data", {"gsm": "x"}, "accuracy_data has files of gsm; known benchmarks: gsm8k, "),
        (
            "performance_gate_tolerances",
            {"speed": 1},
            "performance_gate_tolerances: speed is no metric that is judged; ",
        ),
        ("performance_gate_tolerances", {"output_throughput": "10%"}, "performance_gate_tolerances: the tolerance of "),
        (
            "accuracy_gate_minimums",
            {"gsm8k": 900},
            "accuracy_gate_minimums: the minimum of gsm8k is 900: it must be percent",
        ),
        ("accuracy_gate_minimums", {"gsm": 90}, "accuracy_gate_minimums: there is no benchmark gsm; known: gsm8k, "),
    ],
)
def test_what_is_wrong(name: str, value: Any, message: str) -> None:
    [problem] = problems({**GOOD, name: value})
    assert problem.startswith(message)
