# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is new against the previous run."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from sglang_fleet.report_changes import fleet_changes, host_changes
from tests.unit.sglang_fleet.report_runs import gate, host, mi300x, plan_of, record, run_of

BEFORE = mi300x("a", low=1.0, medium=1.0, high=1.0)

Change = Callable[[dict[str, Any]], Any]


def test_the_same_again_is_no_change() -> None:
    assert host_changes(BEFORE, BEFORE) == []


def _measure(number: int, **metrics: float) -> Change:
    return lambda now: now["benchmarks"][number]["metrics"].update(metrics)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda now: now.update(status="failed"), ["status: passed → failed"]),
        (
            lambda now: now.update(plan=plan_of("MiniMax-M2.1", "MI300X", 8, "1x4")),
            ["layout: 2x4 → 1x4"],
        ),
        (lambda now: now["benchmarks"][0]["image"].update(digest="sha256:ff"), [f"image digest: sha256:{'0123456789abcdef' * 4} → sha256:ff"]),
        (lambda now: now["benchmarks"][0].update(driver={"name": "amdgpu", "version": "6.16"}), ["driver: amdgpu 6.14.14 → amdgpu 6.16"]),
        (lambda now: now["benchmarks"][0].update(driver=None), []),
        (lambda now: now["plan"]["instances"][0].update(tp=8, ep=8), ["parallelism: tp 4, ep 1 → tp 8, ep 8"]),
        (lambda now: now["plan"]["instances"][0]["fit"].update(kv_tokens=1000), ["KV cache: 1,818,430 tokens → 1,000 tokens"]),
        (lambda now: now["gates"][3].update(passed=False), ["gate chat: fails now"]),
        (lambda now: now["gates"].pop(3), ["gate chat: not run this time"]),
        (lambda now: now.update(gates=now["gates"][:2]), ["gates auth, chat, reasoning, tool_calls, long_context: not run this time"]),
        (lambda now: now["gates"].append(gate("parallel")), ["gate parallel: was not run before"]),
        # 4.9 % is what servers differ by from run to run.
        (_measure(0, output_throughput=1642.64 * 1.049), []),
        (_measure(0, output_throughput=1642.64 * 0.9), ["high (100 at once, 1000/1000 tokens): output_throughput 1,643 → 1,478 tokens/s (-10 %)"]),
        (_measure(2, median_ttft_ms=294.86), ["medium (16 at once, 1000/1000 tokens): median_ttft_ms 147 → 295 ms (+100 %)"]),
        (_measure(2, mean_ttft_ms=1.0), []),
        (lambda now: now["benchmarks"][0]["settings"].update(num_prompts=7) or _measure(0, output_throughput=1)(now), []),
        (lambda now: now["benchmarks"].clear(), []),
    ],
)  # fmt: skip
def test_changes_of_a_host(change: Change, told: list[str]) -> None:
    now = copy.deepcopy(BEFORE)
    change(now)
    assert host_changes(BEFORE, now) == told


def test_a_gate_that_passes_again() -> None:
    before = host("a", gates=[gate("chat", False), gate("chat")])
    assert host_changes(before, host("a", gates=[gate("chat"), gate("chat")])) == ["gate chat: passes now"]


def test_a_plan_that_is_new_is_no_change_of_what_was_unknown() -> None:
    assert host_changes(host("a"), host("a", plan=plan_of("MiniMax-M2.1", "MI300X", 8))) == []


def test_accuracy_changes_by_any_figure() -> None:
    before = host("a", benchmarks=[record("minimax-m2.7-2xgb300-gsm8k", "a")])
    now = copy.deepcopy(before)
    now["benchmarks"][0]["metrics"]["pass@1"]["accuracy"] = 91.5
    assert host_changes(before, now) == ["gsm8k pass@1: 92.3 → 91.5 % right"]


def test_hosts_that_come_and_go() -> None:
    told = fleet_changes(run_of(host("a"), host("b")), run_of(host("b"), host("c"), host("d")))
    assert told == ["not in the previous run: c, d", "not in this run any more: a"]
    assert fleet_changes(run_of(host("a")), run_of(host("a"))) == []
