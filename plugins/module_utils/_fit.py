# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a model fits on an instance's GPUs, and how much KV cache is left. Pure arithmetic.

Source: SGLang's profile_max_num_token (srt/model_executor/model_runner_kv_cache_mixin.py, the same in 0.5.7, 0.5.9 and
0.5.10.post1): tokens = (mem_fraction_static x memory that is free before loading - weights) / bytes of a token.
"""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import Architecture, Gpu

GIB: int = 2**30
MIB: int = 2**20

#: A server whose KV cache holds less than this is of no use to this family of models (thinking alone takes more).
MIN_KV_TOKENS: int = 8192
#: Less head-room than this (bytes) is worth a warning: SGLang's request table for 2048 requests of 200K tokens takes 1.5
#: GiB, CUDA graphs take 1.5 to 3 (SGLang's own choice never leaves less than 10 GiB on a GPU of 60 GiB or more).
MIN_HEADROOM: int = 6 * GIB


@dataclass(frozen=True)
class Memory:
    """One GPU of an instance, in bytes, and what the instance's KV cache holds, in tokens of all requests together.

    memory = reserved + weights + kv + headroom; kv is negative where the weights alone are too much. longest: the longest
    request asked for, in tokens.
    """

    memory: int
    reserved: int
    weights: int
    kv: int
    headroom: int
    kv_tokens: int
    longest: int

    @property
    def max_context(self) -> int:
        return min(self.kv_tokens, self.longest)

    @property
    def full_length_sequences(self) -> int:
        """How many requests of the longest length can run at the same time."""
        return self.kv_tokens // self.longest

    def to_dict(self) -> dict[str, float | int]:
        """``fit`` of a plan's instance."""
        return {
            "memory_gib_per_gpu": round(self.memory / GIB, 1),
            "reserved_gib_per_gpu": round(self.reserved / GIB, 1),
            "weights_gib_per_gpu": round(self.weights / GIB, 1),
            "kv_gib_per_gpu": round(self.kv / GIB, 1),
            "headroom_gib_per_gpu": round(self.headroom / GIB, 1),
            "kv_tokens": self.kv_tokens,
            "max_context": self.max_context,
            "full_length_sequences": self.full_length_sequences,
        }


def kv_bytes_per_token(architecture: Architecture, tp: int, cache_type: str) -> int:
    """Bytes of one token's keys and values on one GPU. cache_type: SGLang's kv-cache-dtype, auto being 16 bits."""
    # Ranks beyond the KV heads hold copies of them.
    heads = max(architecture.kv_heads // tp, 1)
    return 2 * heads * architecture.head_dim * architecture.layers * (1 if cache_type.startswith("fp8") else 2)


def weights_bytes(architecture: Architecture, tp: int) -> int:
    """Bytes of weights on one GPU: all is spread over the ranks, but for what each holds whole."""
    whole = architecture.replicated_weights_bytes
    return (architecture.weights_bytes - whole) // tp + whole


def memory_of(
    architecture: Architecture,
    gpu: Gpu,
    memory_mib: int,
    tp: int,
    fraction: float,
    cache_type: str,
    longest: int,
    most_tokens: int | None = None,
) -> Memory:
    """The memory of an instance of ``tp`` GPUs of ``memory_mib`` MiB each.

    fraction: mem_fraction_static. most_tokens: max-total-tokens, which leaves the rest of the memory free.
    """
    memory = memory_mib * MIB
    reserved = min((gpu.reserved_mib + gpu.reserved_mib_per_rank * tp) * MIB, memory)
    budget = int((memory - reserved) * fraction)
    weights = weights_bytes(architecture, tp)
    cache = budget - weights
    bytes_per_token = kv_bytes_per_token(architecture, tp, cache_type)
    tokens = max(cache // bytes_per_token, 0)
    if most_tokens is not None and most_tokens < tokens:
        tokens, cache = most_tokens, most_tokens * bytes_per_token
    return Memory(
        memory=memory,
        reserved=reserved,
        weights=weights,
        kv=cache,
        headroom=memory - reserved - weights - cache,
        kv_tokens=tokens,
        longest=longest,
    )
