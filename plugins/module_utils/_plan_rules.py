# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which tensor and expert parallel sizes SGLang takes for a model's shape. Pure arithmetic, no memory in it."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass
from functools import lru_cache

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import Architecture


class PlanError(ValueError):
    """There is no such plan; the text says what was found, what is allowed and what to do.

    rule: the name of the rule that it breaks (a Rule's id, or context, driver, gpus, image, known-issue, lock,
    memory, server-args); None for a wish that means nothing on any hardware, such as a name that nobody has.
    """

    def __init__(self, text: str, rule: str | None = None) -> None:
        super().__init__(text)
        self.rule = rule


@dataclass(frozen=True)
class Rule:
    """A rule of SGLang's that a parallelism breaks."""

    id: str
    text: str


@lru_cache(maxsize=4096)
def broken_rule(architecture: Architecture, vendor: str, sglang_version: str, tp: int, ep: int) -> Rule | None:
    """The first rule that this parallelism breaks, or None.

    tp: GPUs of an instance. ep: 1 for none; the experts are spread over ep groups of tp / ep ranks, and each expert is
    cut into slices over the ranks of its group. Source: SGLang's own checks (srt/models/minimax_m2.py,
    srt/layers/quantization/fp8.py), as the catalogue dates them.
    """
    if tp % ep:
        return Rule("ep-divides-tp", f"tp {tp} is not divisible by ep {ep}")
    if ep > 1 and architecture.experts is None:
        return Rule("experts", f"the model has no experts to spread, and ep is {ep}")
    if architecture.experts is not None and architecture.experts % ep:
        return Rule("experts", f"{architecture.experts} experts are not divisible by ep {ep}")
    if architecture.attention_heads % tp:
        return Rule("attention-heads", f"{architecture.attention_heads} attention heads are not divisible by tp {tp}")
    if architecture.kv_heads % tp and tp % architecture.kv_heads:
        return Rule("kv-heads", f"{architecture.kv_heads} KV heads and tp {tp} do not divide one another")
    since = architecture.tp_above_kv_heads_since
    if tp > architecture.kv_heads and since is not None and version_key(sglang_version) < version_key(since):
        return Rule(
            "tp-above-kv-heads",
            f"tp {tp} is above the {architecture.kv_heads} KV heads, which needs SGLang {since} or newer (the image has {sglang_version})",
        )
    skipped = architecture.fp8_block_check_skipped_on_amd_since
    if vendor == "amd" and skipped is not None and version_key(sglang_version) >= version_key(skipped):
        return None
    if architecture.moe_intermediate_size is None or architecture.fp8_block_size is None:
        return None
    size = architecture.moe_intermediate_size * ep / tp
    if size % architecture.fp8_block_size:
        return Rule(
            "fp8-block",
            f"{architecture.moe_intermediate_size} / (tp {tp} / ep {ep}) = {size:g} is not a multiple of the FP8 block "
            f"size {architecture.fp8_block_size}",
        )
    return None


@lru_cache(maxsize=256)
def version_key(text: str) -> tuple[int, ...]:
    """The numbers of a version, to compare by: 0.5.10.post1 is (0, 5, 10, 1)."""
    return tuple(int(number) for number in re.findall(r"\d+", text))


def numbers(values: t.Iterable[int]) -> str:
    return ", ".join(str(value) for value in values)


def any_of(entries: t.Sequence[str]) -> str:
    """``2``, ``2 or 4`` or ``2, 4 or 8``."""
    return entries[0] if len(entries) == 1 else f"{', '.join(entries[:-1])} or {entries[-1]}"


def gpus_text(indexes: t.Sequence[int]) -> str:
    """``GPU 2``, ``GPUs 1, 4`` or ``GPUs 2 to 7``."""
    if len(indexes) == 1:
        return f"GPU {indexes[0]}"
    if len(indexes) > 2 and indexes[-1] - indexes[0] == len(indexes) - 1:
        return f"GPUs {indexes[0]} to {indexes[-1]}"
    return f"GPUs {numbers(indexes)}"
