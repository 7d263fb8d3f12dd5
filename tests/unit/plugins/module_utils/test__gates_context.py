# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _gates_context
from ansible_collections.sglang.fleet.plugins.module_utils._gates import Answer, GateError


def answer(prompt: int | None, completion: int | None = 3) -> Answer:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    return Answer(200, json.dumps({"choices": [{"message": {"content": "x"}}], "usage": usage}))


@pytest.mark.parametrize(
    ("wanted", "template", "each"), [(16288, 30, 90), (196512, 41, 23), (100, 30, 90), (5, 30, 90)]
)
def test_the_prompt_comes_near_what_is_wanted_and_not_above(wanted: int, template: int, each: int) -> None:
    short, longer = (template + times * each for times in (_gates_context.SHORT, _gates_context.LONGER))
    tokens = template + each * _gates_context.repeats(wanted, short, longer)
    assert wanted - each < tokens <= max(wanted, short)


def test_a_tokenizer_that_counts_nothing_fails() -> None:
    with pytest.raises(GateError) as error:
        _gates_context.repeats(1000, 50, 50)
    assert str(error.value) == "usage says 50 prompt tokens for a short prompt and 50 for a longer one"


def test_a_prompt_begins_with_what_no_cache_has() -> None:
    first, second = (_gates_context.prompt(3, nonce) for nonce in ("a", "b"))
    assert first.startswith("Run a.\nThe grass is green.")
    assert second.startswith("Run b.\n")
    assert first.count(_gates_context.FILLER) == 3


@pytest.mark.parametrize(
    ("planned", "cache", "wanted"), [(10000, None, 9904), (10000, 800000, 9904), (10000, 9000, 8904)]
)
def test_the_target_is_the_limit_less_the_answer(planned: int, cache: int | None, wanted: int) -> None:
    assert _gates_context.target(planned, cache) == wanted
    assert _gates_context.too_small(planned, cache) == ""


@pytest.mark.parametrize(
    ("info", "told"),
    [
        (Answer(200, '{"max_total_num_tokens": 16384}'), (16384, "")),
        (Answer(200, '{"max_total_num_tokens": 16384, "device": "cuda"}'), (16384, "cuda")),
        (Answer(200, "{}"), (None, "")),
        (Answer(200, "[]"), (None, "")),
        (Answer(200, '{"api_key": "k3y", "max_tot'), (None, "")),
        (Answer(404, "{}"), (None, "")),
        (Answer(0, "refused"), (None, "")),
    ],
)
def test_the_servers_own_cache(info: Answer, told: tuple[int | None, str]) -> None:
    assert _gates_context.cache_tokens(info) == told


@pytest.mark.parametrize("device", ["cuda", ""])
def test_a_cache_of_less_than_half_of_what_was_planned_fails(device: str) -> None:
    assert _gates_context.too_small(10000, 5000, device) == ""
    with pytest.raises(GateError, match="holds 4999 tokens, the plan reckons with a context of 10000: something else"):
        _gates_context.too_small(10000, 4999, device)
    assert _gates_context.too_small(10000, 4999, "cpu").endswith("which is a GPU's, and it runs on a CPU")


def test_a_long_prompt_was_answered() -> None:
    assert _gates_context.check_context(answer(9890), 9904) == "a prompt of 9890 tokens was answered"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Answer(400, "too long"), "a prompt of about 9904 tokens was refused: too long"),
        (answer(4096), "the prompt was meant to have 9904 tokens, usage says 4096: was it cut?"),
        (Answer(0, "no answer within 9 s"), "/v1/chat/completions answered nothing (no answer within 9 s), wanted 200"),
    ],
)
def test_a_long_prompt_that_is_not_answered_fails(given: Answer, message: str) -> None:
    with pytest.raises(GateError) as error:
        _gates_context.check_context(given, 9904)
    assert str(error.value) == message


def test_an_answer_without_figures_fails() -> None:
    with pytest.raises(GateError, match="the answer's usage has no prompt_tokens: "):
        _gates_context.prompt_tokens(answer(None))
    with pytest.raises(GateError, match="a prompt of 9890 tokens got no token for an answer: "):
        _gates_context.check_context(answer(9890, 0), 9904)
