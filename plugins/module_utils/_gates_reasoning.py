# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gates on reasoning: the thinking is there, ends, and is apart from the answer; streamed or not. Pure."""

from __future__ import annotations

from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils._gates import (
    Answer,
    GateError,
    first_choice,
    split_thinking,
)
from ansible_collections.sglang.fleet.plugins.module_utils._gates_stream import Streamed, check_whole

#: The seed's example: a greeting might be answered without a thought.
ASK = "Solve this step by step: what is 15% of 240?"


def _check(content: str, reasoning: str, finish: Any) -> str:
    thinking, answer = split_thinking(content, reasoning)
    if not answer:
        raise GateError(
            f"there is no answer after the thinking (finish_reason {finish}, {len(thinking)} characters of thinking)"
        )
    if not thinking:
        raise GateError(f"the answer carries no thinking although a reasoning parser is on: {answer[:80]!r}")
    where = "reasoning_content" if reasoning else "content"
    return f"{len(thinking)} characters of thinking in {where}, then {answer[:80]!r}"


def check_reasoning(answer: Answer) -> str:
    """An answer of `/v1/chat/completions` by a server with a reasoning parser."""
    choice = first_choice(answer)
    message = choice.get("message") or {}
    return _check(message.get("content") or "", message.get("reasoning_content") or "", choice.get("finish_reason"))


def check_reasoning_stream(streamed: Streamed) -> str:
    """The same streamed: put together it must say the same, and no thinking may come once the answer has begun."""
    check_whole(streamed)
    begun = False
    for _seconds, kind, text in streamed.parts:
        if kind == "reasoning" and begun:
            raise GateError(f"there is reasoning_content after the answer has begun: {text[:80]!r}")
        begun = begun or (kind == "content" and bool(text.strip()))
    evidence = _check(streamed.text("content"), streamed.text("reasoning"), streamed.finish)
    return f"{evidence}, in {len(streamed.parts)} pieces"
