# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The arithmetic of the memory, against MiniMax's own figures and figures worked out by hand."""

from __future__ import annotations

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._fit import (
    GIB,
    MIB,
    Memory,
    kv_bytes_per_token,
    memory_of,
    weights_bytes,
)

CATALOGUE = load_catalogue()
M2 = CATALOGUE.models["MiniMax-M2.7"].architecture
H200 = CATALOGUE.gpus["H200"]

#: tp, kv-cache-dtype, bytes of one token on one GPU: of 253,952 in BF16 (2 x 8 heads x 128 x 62 layers x 2 bytes)
KV_BYTES: list[tuple[int, str, int]] = [
    (1, "auto", 253952),
    (1, "bfloat16", 253952),
    (2, "auto", 126976),
    (4, "auto", 63488),
    (8, "auto", 31744),
    # Ranks beyond the KV heads hold copies of them.
    (16, "auto", 31744),
    (1, "fp8_e4m3", 126976),
    (4, "fp8_e5m2", 31744),
    (8, "fp8_e4m3", 15872),
]


@pytest.mark.parametrize(("tp", "cache_type", "size"), KV_BYTES)
def test_kv_cache_of_a_token(tp: int, cache_type: str, size: int) -> None:
    assert kv_bytes_per_token(M2, tp, cache_type) == size


@pytest.mark.parametrize(
    ("tp", "size"), [(1, 230100000000), (2, 115148000000), (4, 57672000000), (8, 28934000000), (16, 14565000000)]
)
def test_weights_of_a_gpu_are_its_share_and_what_every_rank_holds(tp: int, size: int) -> None:
    assert weights_bytes(M2, tp) == size


#: GPUs, MiB of each, tokens in all that MiniMax's guide gives them with a BF16 cache and 0.85
CAPACITIES: list[tuple[int, int, int]] = [
    (4, 91553, 400_000),  # 96e9 bytes
    (4, 97871, 400_000),  # what nvidia-smi shows of an H20
    (4, 98304, 400_000),  # 96 GiB
    (8, 137329, 3_000_000),  # 144e9 bytes
    (8, 143771, 3_000_000),  # what nvidia-smi shows of an H200
]


@pytest.mark.parametrize(("count", "memory_mib", "tokens"), CAPACITIES)
def test_published_capacities_within_15_percent(count: int, memory_mib: int, tokens: int) -> None:
    gpu = CATALOGUE.gpus["H20" if count == 4 else "H200"]
    memory = memory_of(M2, gpu, memory_mib, count, 0.85, "auto", 204800)
    assert abs(memory.kv_tokens - tokens) / tokens < 0.15


def test_every_byte_has_its_place() -> None:
    memory = memory_of(M2, H200, 143771, 8, 0.85, "auto", 204800)
    reserved = (1536 + 8 * 205) * MIB
    free = 143771 * MIB - reserved
    assert memory == Memory(
        memory=143771 * MIB,
        reserved=reserved,
        weights=28934000000,
        kv=int(free * 0.85) - 28934000000,
        headroom=free - int(free * 0.85),
        kv_tokens=(int(free * 0.85) - 28934000000) // 31744,
        longest=204800,
    )
    assert memory.memory == memory.reserved + memory.weights + memory.kv + memory.headroom


def test_what_a_plan_says_of_it() -> None:
    assert memory_of(M2, H200, 143771, 8, 0.85, "auto", 204800).to_dict() == {
        "memory_gib_per_gpu": 140.4,
        "reserved_gib_per_gpu": 3.1,
        "weights_gib_per_gpu": 26.9,
        "kv_gib_per_gpu": 89.8,
        "headroom_gib_per_gpu": 20.6,
        "kv_tokens": 3036065,
        "max_context": 204800,
        "full_length_sequences": 14,
    }


def test_a_cache_that_is_shorter_than_the_longest_request() -> None:
    memory = memory_of(M2, H200, 143771, 2, 0.85, "auto", 204800)
    assert (memory.kv_tokens, memory.max_context, memory.full_length_sequences) == (88671, 88671, 0)


def test_full_length_sequences_count_whole_ones_of_the_length_asked_for() -> None:
    memory = memory_of(M2, H200, 143771, 8, 0.85, "auto", 100000)
    assert (memory.max_context, memory.full_length_sequences) == (100000, 30)


def test_weights_that_have_no_room_leave_no_tokens() -> None:
    memory = memory_of(M2, CATALOGUE.gpus["H100"], 81559, 2, 0.85, "auto", 204800)
    assert (round(memory.kv / GIB, 1), memory.kv_tokens, memory.max_context) == (-41.2, 0, 0)


def test_a_gpu_that_is_smaller_than_what_is_reserved() -> None:
    memory = memory_of(M2, H200, 1000, 8, 0.85, "auto", 204800)
    assert (memory.reserved, memory.headroom, memory.kv_tokens) == (1000 * MIB, 0, 0)
    assert memory.memory == memory.reserved + memory.weights + memory.kv + memory.headroom


def test_an_fp8_cache_holds_twice_the_tokens() -> None:
    whole = memory_of(M2, H200, 143771, 4, 0.85, "auto", 204800).kv_tokens
    assert abs(memory_of(M2, H200, 143771, 4, 0.85, "fp8_e4m3", 204800).kv_tokens - 2 * whole) <= 1


@pytest.mark.parametrize(("most", "tokens"), [(100_000, 100_000), (0, 0), (10**9, 3036065), (None, 3036065)])
def test_a_limit_of_the_cache_leaves_the_rest_free(most: int | None, tokens: int) -> None:
    memory = memory_of(M2, H200, 143771, 8, 0.85, "auto", 204800, most)
    whole = memory_of(M2, H200, 143771, 8, 0.85, "auto", 204800)
    assert memory.kv_tokens == tokens
    assert memory.kv == (whole.kv if tokens == whole.kv_tokens else tokens * 31744)
    assert memory.memory == memory.reserved + memory.weights + memory.kv + memory.headroom


def test_a_limit_of_the_cache_makes_no_room() -> None:
    gpu = CATALOGUE.gpus["H100"]
    assert memory_of(M2, gpu, 81559, 2, 0.85, "auto", 204800, 10000) == memory_of(
        M2, gpu, 81559, 2, 0.85, "auto", 204800
    )
