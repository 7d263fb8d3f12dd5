# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

from ansible_collections.sglang.fleet.plugins.module_utils._bench_corpus import CONVERSATIONS, corpus, sha256
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import read_data

TEXT = corpus()


def test_it_is_the_same_text_everywhere() -> None:
    """Records name it by its hash; another one is another text."""
    assert sha256(TEXT) == "f52336a247ed9134c801fc8d1bf8902cb792df72a0fbae30291db5c62c9eb0b0"


def test_the_tool_has_a_conversation_for_each_prompt() -> None:
    listed = json.loads(TEXT)
    assert len(listed) == CONVERSATIONS
    assert all(len(item["conversations"]) == 2 and item["conversations"][0]["value"] for item in listed)
    assert max(profile["num_prompts"] for profile in read_data()["benchmark_profiles"].values()) <= CONVERSATIONS


def test_no_two_prompts_begin_alike() -> None:
    """Else the prefix cache would answer for the model."""
    starts = {item["conversations"][0]["value"].split(":")[0] for item in json.loads(TEXT)}
    assert len(starts) == CONVERSATIONS
