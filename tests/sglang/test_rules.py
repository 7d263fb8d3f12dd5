# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The planner's rules for tensor and expert parallelism against the code of SGLang that they come from.

No weights are held: SGLang's own layers are made on the meta device, with the shape of the real model.
"""

from __future__ import annotations

import functools
from typing import Any

import pytest
from images import host, worker

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._fit import kv_bytes_per_token
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import Wishes, facts_for
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import PlanError, broken_rule
from ansible_collections.sglang.fleet.plugins.module_utils._planner import make_plan

pytestmark = pytest.mark.lab

VERSIONS = host.sglang_versions()
SIZES = range(1, 17)
EXPERTS = 256
ARCHITECTURE = load_catalogue().models["MiniMax-M2.7"].architecture

# The part of MiniMax-M2.7's config.json that MiniMaxM2Attention reads. The context is the toy's: a rotary table of the
# real length would only take time.
CONFIG: dict[str, Any] = {
    "hidden_size": 3072,
    "num_attention_heads": 48,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "rotary_dim": 64,
    "use_qk_norm": True,
    "qk_norm_type": "per_layer",
    "rms_norm_eps": 1e-6,
    "max_position_embeddings": 4096,
    "rope_theta": 5000000,
    "rope_scaling": None,
    "rope_parameters": {"rope_theta": 5000000, "rope_type": "default"},
}


@functools.cache
def heads(version: str) -> dict[int, dict[str, int] | str]:
    return dict(zip(SIZES, worker.sglang(version).heads(SIZES, CONFIG), strict=True))


@functools.cache
def fp8_blocks(version: str) -> dict[tuple[int, int], str | None]:
    sizes = [(tp, ep) for tp in SIZES for ep in SIZES if tp % ep == 0]
    return dict(zip(sizes, worker.sglang(version).fp8_blocks(sizes), strict=True))


@functools.cache
def experts(version: str) -> dict[int, str | None]:
    return dict(zip(SIZES, worker.sglang(version).experts(EXPERTS, SIZES), strict=True))


def objections(version: str, tp: int, ep: int) -> set[str]:
    """The planner's rules that SGLang's code enforces on this parallelism."""
    found = set()
    shape = heads(version)[tp]
    if isinstance(shape, str):
        found.add("attention-heads" if "num_heads %" in shape else "kv-heads")
    elif shape["k_norm"] != shape["keys"]:
        # Each rank holds a whole KV head but normalises with 1 / tp of the weights of all.
        found.add("tp-above-kv-heads")
    if fp8_blocks(version)[tp, ep] is not None:
        found.add("fp8-block")
    if experts(version)[ep] is not None:
        found.add("experts")
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_the_fp8_block_error_is_sglangs_own(version: str) -> None:
    blocks = fp8_blocks(version)
    error = blocks[8, 1]
    assert error is not None
    assert "192" in error
    assert "block_n = 128" in error
    assert [blocks[size] for size in ((8, 8), (8, 2), (8, 4), (4, 1), (4, 4), (2, 1), (1, 1))] == [None] * 7


@pytest.mark.parametrize("version", VERSIONS)
def test_three_gpus_cannot_share_the_kv_heads(version: str) -> None:
    assert heads(version)[3] == "minimax_m2.py: assert self.total_num_kv_heads % tp_size == 0"
    assert heads(version)[5] == "minimax_m2.py: assert self.total_num_heads % tp_size == 0"
    # 16 ranks are made, but each with half of the weights that its keys are normalised with.
    assert heads(version)[16] == {"heads": 3, "kv_heads": 1, "keys": 128, "k_norm": 64}


@pytest.mark.parametrize("version", VERSIONS)
def test_experts_are_shared_evenly(version: str) -> None:
    refusal = "layer.py: assert (num_experts - num_fused_shared_experts) % self.moe_ep_size == 0"
    assert {ep: error for ep, error in experts(version).items() if error is not None} == dict.fromkeys(
        (3, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15), refusal
    )


@pytest.mark.parametrize("vendor", ["nvidia", "amd"])
@pytest.mark.parametrize("version", VERSIONS)
def test_the_planner_refuses_what_sglang_refuses(version: str, vendor: str) -> None:
    table: list[tuple[int, int, set[str], str | None]] = []
    for tp, ep in fp8_blocks(version):
        rule = broken_rule(ARCHITECTURE, vendor, version, tp, ep)
        table.append((tp, ep, objections(version, tp, ep), rule.id if rule else None))
    # The planner names one rule, SGLang's code may have more against it.
    assert [row for row in table if (row[3] is None) != (not row[2]) or (row[3] and row[3] not in row[2])] == []
    assert {(tp, ep) for tp, ep, _said, rule in table if rule is None} == {
        *((tp, ep) for tp in (1, 2, 4) for ep in (1, 2, 4) if ep <= tp),
        *((8, ep) for ep in (2, 4, 8)),
    }
    assert len(table) == 50


@pytest.mark.parametrize("version", VERSIONS)
def test_the_planner_counts_kv_heads_as_sglang_does(version: str) -> None:
    for tp in (1, 2, 4, 8, 16):
        shape = heads(version)[tp]
        assert isinstance(shape, dict)
        keys_and_values = 2 * shape["keys"] * ARCHITECTURE.layers
        assert kv_bytes_per_token(ARCHITECTURE, tp, "auto") == 2 * keys_and_values
        assert kv_bytes_per_token(ARCHITECTURE, tp, "fp8_e4m3") == keys_and_values


@pytest.mark.parametrize(
    ("gpu", "layout", "ep", "rule"),
    [
        ("H200", "1x8", 1, "fp8-block"),
        ("MI300X", "1x8", 1, "fp8-block"),
        ("H200", "1x3", None, "kv-heads"),
        ("H200", "1x5", None, "attention-heads"),
        ("H200", "1x16", None, "tp-above-kv-heads"),
        ("H200", "1x8", 8, None),
        ("H200", "2x4", 1, None),
    ],
)
def test_a_plan_is_refused_with_that_rule(gpu: str, layout: str, ep: int | None, rule: str | None) -> None:
    catalogue = load_catalogue()
    wishes = Wishes(layout=layout, ep=ep)
    facts = facts_for(catalogue, gpu, 16 if layout == "1x16" else 8)
    if rule is None:
        assert make_plan(catalogue, facts, wishes).instances[0].ep == ep
        return
    with pytest.raises(PlanError) as refused:
        make_plan(catalogue, facts, wishes)
    assert refused.value.rule == rule
