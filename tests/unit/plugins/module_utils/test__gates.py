# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _gates
from ansible_collections.sglang.fleet.plugins.module_utils._gates import Answer, GateError


def chat(content: str | None, **message: Any) -> Answer:
    choice = {"message": {"role": "assistant", "content": content, **message}, "finish_reason": "stop"}
    return Answer(200, json.dumps({"choices": [choice], "usage": {"completion_tokens": 7}}))


@pytest.mark.parametrize(
    ("content", "reasoning", "split"),
    [
        pytest.param("<think>\nhm.\n</think>\n\nHello!", None, ("hm.", "Hello!"), id="block"),
        pytest.param("hm.\n</think>\nHello!", None, ("hm.", "Hello!"), id="opened by the template"),
        pytest.param("Hello!", None, ("", "Hello!"), id="no thinking"),
        pytest.param("Hello!", "hm.", ("hm.", "Hello!"), id="reasoning_content"),
        pytest.param("<think></think>Hello!", None, ("", "Hello!"), id="empty block"),
        pytest.param("", None, ("", ""), id="nothing"),
    ],
)
def test_thinking_is_split_from_the_answer(content: str, reasoning: str | None, split: tuple[str, str]) -> None:
    assert _gates.split_thinking(content, reasoning) == split


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(
            "<think>and on and on",
            "<think> never closes, so there is no answer: the token limit may be too low for this prompt",
            id="never closes",
        ),
        pytest.param(
            "<think>a</think>b<think>c</think>d",
            "<think> stands 2 times and </think> 2 times; wanted one block at most",
            id="two blocks",
        ),
        pytest.param("Hi <think>a</think>b", "there is text before <think>: 'Hi'", id="text before"),
    ],
)
def test_a_broken_thinking_part_fails(content: str, message: str) -> None:
    with pytest.raises(GateError) as error:
        _gates.split_thinking(content)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param(Answer(500, "boom"), "/v1/chat/completions answered 500 (boom), wanted 200", id="server error"),
        pytest.param(
            Answer(0, "Connection refused"),
            "/v1/chat/completions answered nothing (Connection refused), wanted 200",
            id="no connection",
        ),
        pytest.param(Answer(200, "<html>"), "the answer is not JSON: <html>", id="not JSON"),
        pytest.param(Answer(200, "{}"), "the answer has no choices: {}", id="no choices"),
    ],
)
def test_an_answer_without_a_choice_fails(answer: Answer, message: str) -> None:
    with pytest.raises(GateError) as error:
        _gates.first_choice(answer)
    assert str(error.value) == message


def test_health_wants_200() -> None:
    assert _gates.check_health(Answer(200, "")) == "200"
    with pytest.raises(GateError, match=r"/health answered 503 \(\), wanted 200"):
        _gates.check_health(Answer(503, ""))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param(
            Answer(200, '{"data": [{"id": "other"}]}'),
            "/v1/models lists other, wanted MiniMaxAI/MiniMax-M2.7",
            id="other",
        ),
        pytest.param(
            Answer(200, '{"data": []}'), "/v1/models lists no model, wanted MiniMaxAI/MiniMax-M2.7", id="none"
        ),
        pytest.param(Answer(500, "{}"), "/v1/models answered 500 ({}), wanted 200", id="server error"),
        pytest.param(
            Answer(401, "{}"),
            "/v1/models answered 401: the server asks for another key than this inventory's fleet_api_key."
            " Run playbooks/deploy.yml, or set the key that it was deployed with",
            id="another key",
        ),
    ],
)
def test_the_model_list_must_name_the_model(answer: Answer, message: str) -> None:
    with pytest.raises(GateError) as error:
        _gates.check_models(answer, "MiniMaxAI/MiniMax-M2.7")
    assert str(error.value) == message


def test_the_model_list_names_the_model() -> None:
    listed = Answer(200, '{"data": [{"id": "MiniMaxAI/MiniMax-M2.7"}]}')
    assert _gates.check_models(listed, "MiniMaxAI/MiniMax-M2.7") == "serves MiniMaxAI/MiniMax-M2.7"


def test_a_token_must_be_generated() -> None:
    assert _gates.check_generated(chat("")) == "a token was generated"
    with pytest.raises(GateError, match="no token was generated: "):
        _gates.check_generated(Answer(200, '{"choices": [{"message": {}}], "usage": {"completion_tokens": 0}}'))


@pytest.mark.parametrize(
    ("answer", "evidence"),
    [
        pytest.param(chat("<think>a</think>\nHello"), "Hello", id="thinking in the content"),
        pytest.param(chat("Hello"), "Hello", id="no thinking"),
        # Whether thinking is right is for the gates on reasoning.
        pytest.param(chat("<think>never closed"), "<think>never closed", id="never closed"),
        pytest.param(chat(None, reasoning_content="hm"), "hm", id="thinking only"),
    ],
)
def test_a_text_is_an_answer(answer: Answer, evidence: str) -> None:
    assert _gates.check_text(answer) == evidence


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param(chat(""), "the chat turn says nothing", id="nothing"),
        pytest.param(chat("<think></think>"), "the chat turn says nothing", id="tags only"),
        pytest.param(
            Answer(200, '{"choices": [{"message": {"content": "Hel"}, "finish_reason": "length"}]}'),
            "the chat turn did not come to its end: finish_reason length, wanted stop ('Hel')",
            id="cut",
        ),
        pytest.param(Answer(200, "[]"), "the answer has no choices: []", id="a list"),
    ],
)
def test_a_turn_that_says_nothing_fails(answer: Answer, message: str) -> None:
    with pytest.raises(GateError) as error:
        _gates.check_text(answer)
    assert str(error.value) == message


def test_an_excerpt_is_short_and_in_one_line() -> None:
    assert Answer(500, "a\n  b").excerpt() == "a b"
    assert Answer(500, "x" * 300).excerpt() == "x" * 199 + "…"
