# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _gates_reasoning
from ansible_collections.sglang.fleet.plugins.module_utils._gates import Answer, GateError
from ansible_collections.sglang.fleet.plugins.module_utils._gates_stream import Streamed

IN_CONTENT = "5 characters of thinking in content, then 'Hello!'"
IN_REASONING = "5 characters of thinking in reasoning_content, then 'Hello!'"
OPEN_ENDED = "<think> never closes, so there is no answer: the token limit may be too low for this prompt"


def whole(content: str, reasoning: str | None = None) -> Answer:
    message = {"content": content, "reasoning_content": reasoning}
    return Answer(200, json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}))


def streamed(*parts: tuple[str, str], **more: Any) -> Streamed:
    timed = [(number / 10, kind, text) for number, (kind, text) in enumerate(parts)]
    return Streamed(parts=timed, **{"finish": "stop", "done": True, **more})


def letters(text: str, kind: str = "content") -> list[tuple[str, str]]:
    return [(kind, letter) for letter in text]


@pytest.mark.parametrize(
    ("answer", "evidence"),
    [
        (whole("<think>\nhm hm\n</think>\n\nHello!"), IN_CONTENT),
        (whole("hm hm</think>Hello!"), IN_CONTENT),
        (whole("Hello!", "hm hm"), IN_REASONING),
    ],
)
def test_thinking_then_answer(answer: Answer, evidence: str) -> None:
    assert _gates_reasoning.check_reasoning(answer) == evidence


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (whole("<think>and on and on"), OPEN_ENDED),
        (whole("Hello!"), "the answer carries no thinking although a reasoning parser is on: 'Hello!'"),
        (
            whole("<think>hm hm</think>"),
            "there is no answer after the thinking (finish_reason stop, 5 characters of thinking)",
        ),
        (
            whole("", "hm hm"),
            "there is no answer after the thinking (finish_reason stop, 5 characters of thinking)",
        ),
        (
            whole("</think>Hello!", "hm hm"),
            "the thinking is in reasoning_content, and a tag of it in the content: '</think>Hello!'",
        ),
        (Answer(500, "boom"), "/v1/chat/completions answered 500 (boom), wanted 200"),
    ],
)
def test_bad_thinking_fails(answer: Answer, message: str) -> None:
    with pytest.raises(GateError) as error:
        _gates_reasoning.check_reasoning(answer)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("answer", "evidence"),
    [
        (streamed(("content", "<think>hm hm</think>Hello!")), f"{IN_CONTENT}, in 1 pieces"),
        (streamed(*letters("<think>hm hm</think>Hello!")), f"{IN_CONTENT}, in 26 pieces"),
        (
            streamed(*letters("hm hm", "reasoning"), ("content", "\n\n"), ("reasoning", " "), ("content", "Hello!")),
            f"{IN_REASONING}, in 8 pieces",
        ),
    ],
)
def test_streamed_thinking_is_put_together(answer: Streamed, evidence: str) -> None:
    assert _gates_reasoning.check_reasoning_stream(answer) == evidence


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (streamed(*letters("<think>hm hm</thinkHello!")), OPEN_ENDED),
        (
            streamed(("content", "Hello!"), ("reasoning", "hm hm")),
            "there is reasoning_content after the answer has begun: 'hm hm'",
        ),
        (
            streamed(("content", "<think>hm</think>Hello!"), broken="reset"),
            "the stream broke off after 1 pieces: reset",
        ),
    ],
)
def test_bad_streamed_thinking_fails(answer: Streamed, message: str) -> None:
    with pytest.raises(GateError) as error:
        _gates_reasoning.check_reasoning_stream(answer)
    assert str(error.value) == message
