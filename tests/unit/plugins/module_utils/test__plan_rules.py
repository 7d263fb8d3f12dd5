# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""SGLang's rules of parallelism, each alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import (
    PlanError,
    Rule,
    any_of,
    broken_rule,
    gpus_text,
    numbers,
    version_key,
)

M2 = load_catalogue().models["MiniMax-M2.7"].architecture
OLD, NEW = "0.5.10.post1", "0.5.11"

#: vendor, SGLang, tp, ep, id of the rule that is broken and its text; None for a legal one
RULES: list[tuple[str, str, int, int, str | None, str]] = [
    *[(vendor, OLD, tp, 1, None, "") for vendor in ("amd", "nvidia") for tp in (1, 2, 4)],
    *[("nvidia", OLD, tp, ep, None, "") for tp, ep in ((2, 2), (4, 2), (4, 4), (8, 2), (8, 4), (8, 8))],
    ("nvidia", OLD, 8, 3, "ep-divides-tp", "tp 8 is not divisible by ep 3"),
    ("nvidia", OLD, 4, 8, "ep-divides-tp", "tp 4 is not divisible by ep 8"),
    ("nvidia", OLD, 3, 3, "experts", "256 experts are not divisible by ep 3"),
    ("nvidia", OLD, 12, 6, "experts", "256 experts are not divisible by ep 6"),
    *[
        ("nvidia", OLD, tp, 1, "attention-heads", f"48 attention heads are not divisible by tp {tp}")
        for tp in (5, 7, 9, 10, 32)
    ],
    *[("nvidia", NEW, tp, 1, "kv-heads", f"8 KV heads and tp {tp} do not divide one another") for tp in (3, 6, 12)],
    (
        "nvidia",
        OLD,
        16,
        16,
        "tp-above-kv-heads",
        "tp 16 is above the 8 KV heads, which needs SGLang 0.5.11 or newer (the image has 0.5.10.post1)",
    ),
    ("nvidia", NEW, 16, 16, None, ""),
    ("nvidia", "0.5.11.post1", 16, 4, None, ""),
    ("nvidia", "0.6", 16, 4, None, ""),
    (
        "nvidia",
        OLD,
        8,
        1,
        "fp8-block",
        "1536 / (tp 8 / ep 1) = 192 is not a multiple of the FP8 block size 128",
    ),
    (
        "nvidia",
        NEW,
        16,
        1,
        "fp8-block",
        "1536 / (tp 16 / ep 1) = 96 is not a multiple of the FP8 block size 128",
    ),
    ("nvidia", NEW, 16, 2, "fp8-block", "1536 / (tp 16 / ep 2) = 192 is not a multiple of the FP8 block size 128"),
    # ROCm skips the block check from 0.5.11 on; before that it is as strict as CUDA.
    ("amd", OLD, 8, 1, "fp8-block", "1536 / (tp 8 / ep 1) = 192 is not a multiple of the FP8 block size 128"),
    ("amd", NEW, 8, 1, None, ""),
    ("amd", NEW, 16, 1, None, ""),
    ("nvidia", NEW, 8, 1, "fp8-block", "1536 / (tp 8 / ep 1) = 192 is not a multiple of the FP8 block size 128"),
]


@pytest.mark.parametrize(("vendor", "version", "tp", "ep", "rule", "text"), RULES)
def test_rules(vendor: str, version: str, tp: int, ep: int, rule: str | None, text: str) -> None:
    assert broken_rule(M2, vendor, version, tp, ep) == (None if rule is None else Rule(rule, text))


def test_an_architecture_without_a_date_takes_more_ranks_than_kv_heads() -> None:
    assert broken_rule(replace(M2, tp_above_kv_heads_since=None), "nvidia", OLD, 16, 16) is None


def test_an_architecture_without_a_date_is_never_let_off_the_block_check() -> None:
    strict = replace(M2, fp8_block_check_skipped_on_amd_since=None)
    found = broken_rule(strict, "amd", "9.9", 8, 1)
    assert found is not None
    assert found.id == "fp8-block"


def test_a_dense_architecture_takes_no_ep() -> None:
    dense = replace(M2, experts=None, moe_intermediate_size=None)
    assert broken_rule(dense, "nvidia", OLD, 8, 1) is None
    assert broken_rule(dense, "nvidia", OLD, 8, 8) == Rule("experts", "the model has no experts to spread, and ep is 8")


def test_weights_without_fp8_blocks_may_be_cut_anywhere() -> None:
    assert broken_rule(replace(M2, fp8_block_size=None), "nvidia", OLD, 8, 1) is None


VERSIONS = ["0.5.7", "0.5.9", "0.5.10", "0.5.10.post1", "0.5.11", "0.6", "1.0"]


def test_versions_are_compared_by_their_numbers() -> None:
    assert sorted(VERSIONS, key=version_key) == VERSIONS
    assert version_key("0.5.10.post1") == (0, 5, 10, 1)
    assert version_key("535.309.01") == (535, 309, 1)


def test_an_error_bears_its_rule() -> None:
    assert (PlanError("x").rule, PlanError("x", "memory").rule, str(PlanError("x", "memory"))) == (None, "memory", "x")


@pytest.mark.parametrize(
    ("indexes", "text"),
    [
        ([2], "GPU 2"),
        ([2, 3], "GPUs 2, 3"),
        ([2, 3, 4], "GPUs 2 to 4"),
        ([0, 2, 4], "GPUs 0, 2, 4"),
        ([1, 4], "GPUs 1, 4"),
        ((0, 1, 2, 3), "GPUs 0 to 3"),
    ],
)
def test_gpus_in_words(indexes: list[int], text: str) -> None:
    assert gpus_text(indexes) == text


def test_lists_in_words() -> None:
    assert numbers([1, 2, 8]) == "1, 2, 8"
    assert [any_of(["2"]), any_of(["2", "4"]), any_of(["2", "4", "8"])] == ["2", "2 or 4", "2, 4 or 8"]
