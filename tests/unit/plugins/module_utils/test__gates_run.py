# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _gates_run
from ansible_collections.sglang.fleet.plugins.module_utils._gates import Answer, GateError
from ansible_collections.sglang.fleet.plugins.module_utils._gates_auth import WRONG_KEY
from ansible_collections.sglang.fleet.plugins.module_utils._gates_run import GATES, Session, Wishes
from ansible_collections.sglang.fleet.plugins.module_utils._http import Client
from tests.unit.plugins.module_utils.fixtures.chat_server import CACHE, KEY, MODEL, chat_server

ALL = list(GATES)


def session(port: int, key: str | None = KEY, **wishes: Any) -> Session:
    client = Client("127.0.0.1", port, key)
    wanted = Wishes(**{"context_tokens": CACHE, "least_rate": 15.0, **wishes})
    return Session(client, replace(client, key=WRONG_KEY), MODEL, lambda: client.call("/health"), wanted)


def went(fault: str, **wishes: Any) -> list[dict[str, Any]]:
    with chat_server(fault) as port:
        return _gates_run.run(session(port, **wishes), ALL, 5, {"health": 0.5})


@pytest.mark.parametrize("harmless", ["", "tags broken over chunks", "reasoning_content"])
def test_a_healthy_server_passes_all(harmless: str) -> None:
    results = went(harmless)
    assert [(gate["gate"], gate["passed"], gate["evidence"]) for gate in results if not gate["passed"]] == []
    assert [gate["gate"] for gate in results] == ALL
    for gate in results:
        assert list(gate) == ["gate", "passed", "evidence", "seconds", "budget_seconds"]
        assert gate["evidence"]
        assert gate["seconds"] <= gate["budget_seconds"]


@pytest.mark.parametrize(
    ("fault", "caught"),
    [
        pytest.param(
            "hung generation",
            {"health": "/health answered 200, but no token was generated: no answer within 0.5 s"},
            id="hung",
        ),
        pytest.param("wrong served name", {"models": f"/v1/models lists other, wanted {MODEL}"}, id="name"),
        pytest.param(
            "key check off",
            {
                "auth": "/v1/models without a key was answered 200; /v1/models with a wrong key was answered 200;"
                " /v1/chat/completions without a key was answered 200;"
                " /v1/chat/completions with a wrong key was answered 200: wanted 401"
            },
            id="no key check",
        ),
        pytest.param(
            "any key will do",
            {
                "auth": "/v1/models with a wrong key was answered 200;"
                " /v1/chat/completions with a wrong key was answered 200: wanted 401"
            },
            id="any key",
        ),
        pytest.param("slow tokens", {"stream": "10 tokens came at "}, id="slow"),
        pytest.param(
            "not streamed",
            {"stream": "10 tokens came in one piece, so the answer was not streamed"},
            id="not streamed",
        ),
        pytest.param(
            "never closed",
            dict.fromkeys(
                ["reasoning", "reasoning_stream"],
                "<think> never closes, so there is no answer: the token limit may be too low for this prompt",
            ),
            id="never closed",
        ),
        pytest.param(
            "no thinking",
            dict.fromkeys(
                ["reasoning", "reasoning_stream"],
                "the answer carries no thinking although a reasoning parser is on: 'Hello from the tiny MiniMax-M2!'",
            ),
            id="no thinking",
        ),
        pytest.param(
            "arguments cut in streaming",
            dict.fromkeys(
                ["tools_stream", "tools_parallel"], """the arguments of get_weather are not JSON: '{"city": "Paris'"""
            ),
            id="arguments cut",
        ),
        pytest.param(
            "calls under one index",
            {"tools_parallel": "the tool 'get_weatherget_weather' was called, offered was get_weather"},
            id="one index",
        ),
        pytest.param(
            "calls lost in streaming",
            {
                "tools_parallel": 'the number of calls is not the same: 1 streamed (get_weather {"city": "Paris"}), '
                '2 unstreamed (get_weather {"city": "Paris"}, get_weather {"city": "London"})'
            },
            id="lost in streaming",
        ),
        pytest.param(
            "calls lost",
            {
                "tools_parallel": "the number of calls is not the same: "
                '2 streamed (get_weather {"city": "Paris"}, get_weather {"city": "London"}), '
                '1 unstreamed (get_weather {"city": "Paris"})'
            },
            id="lost",
        ),
        pytest.param(
            "last arguments for all",
            {
                "tools_parallel": "the same call came twice, streamed: "
                'get_weather {"city": "London"}, get_weather {"city": "London"}; asked for were Paris and London'
            },
            id="same call twice",
        ),
        pytest.param(
            "arguments of another type",
            dict.fromkeys(
                ["tools", "tools_parallel", "tools_result"],
                "the arguments of get_weather are not as its schema says: "
                "arguments.days is '0': it must be a whole number",
            ),
            id="type lost",
        ),
        pytest.param(
            "no tool call parser",
            dict.fromkeys(
                ["tools", "tools_parallel", "tools_result"],
                "a call stands unparsed in the text: '<minimax:tool_call>\\n<invoke name=\"get_weather\">'",
            ),
            id="not parsed",
        ),
        pytest.param(
            "no answer to results",
            {"tools_result": "the result of 1 call(s) was sent back, and no answer came (finish_reason stop)"},
            id="result lost",
        ),
        pytest.param("short context", {"context": "a prompt of about 16288 tokens was refused: "}, id="context"),
    ],
)
def test_a_fault_is_caught_by_the_gates_that_should(fault: str, caught: dict[str, str]) -> None:
    failed = {gate["gate"]: gate["evidence"] for gate in went(fault) if not gate["passed"]}
    assert list(failed) == list(caught)
    for gate, evidence in caught.items():
        assert failed[gate].startswith(evidence), failed[gate]


def test_a_stream_that_breaks_off_fails_what_is_streamed() -> None:
    failed = [gate["gate"] for gate in went("stream broken off") if not gate["passed"]]
    assert failed == ["stream", "reasoning_stream", "tools_stream", "tools_parallel"]


def test_what_fails_first_ends_the_run() -> None:
    assert [gate["gate"] for gate in went("wrong served name")] == ["health", "auth", "models"]
    assert [gate["gate"] for gate in went("hung generation")] == ["health"]


def test_a_hung_server_fails_within_its_budget() -> None:
    (health,) = went("hung generation")
    assert health["seconds"] < 1.4  # the server sleeps for 1.5
    assert health["budget_seconds"] == 5.5


@pytest.mark.parametrize("gates", [ALL, ["health"]])
def test_another_key(gates: list[str]) -> None:
    with chat_server() as port:
        [health] = _gates_run.run(session(port, key="another"), gates, 5)
    assert not health["passed"], "no token was generated"
    assert health["evidence"].startswith("/v1/chat/completions answered 401: the server asks for another key")


@pytest.mark.parametrize(
    "body",
    [
        *("[]", "null", '"x"', '{"data": null}', '{"data": [null]}', '{"choices": [null]}', '{"choices": "abc"}'),
        *('{"choices": {"a": 1}}', '{"choices": [{"message": "x"}]}', '{"choices": [{"message": {"content": [1]}}]}'),
        '{"choices": [{"message": {"content": "x", "tool_calls": [null]}, "finish_reason": "tool_calls"}], "usage": "x"}',
        '{"choices": [{"message": {"tool_calls": [{"id": ["1"], "function": "x"}]}, "finish_reason": "tool_calls"}]}',
        pytest.param("[" * 100000, id="deep"),
    ],
)
def test_json_of_another_shape_fails_a_gate_and_ends_no_run(body: str) -> None:
    class Odd:
        """Answers everything with that."""

        def call(self, *_words: Any, **_more: Any) -> Answer:
            return Answer(200, body)

        def stream(self, *_words: Any, **_more: Any) -> Iterator[tuple[float, bytes]]:
            yield 0.1, f"data: {body.replace('message', 'delta')}\n\n".encode()
            yield 0.2, b"data: [DONE]\n\n"

    odd = Odd()
    asked = Session(odd, odd, MODEL, lambda: Answer(200, ""), Wishes(context_tokens=5000))
    for name in ALL:
        gates = _gates_run.run(asked, [name], 5)
        assert [(gate["gate"], gate["passed"]) for gate in gates] == [(name, False)], gates
        assert gates[0]["evidence"]


def test_a_model_that_chose_otherwise_once_is_asked_again() -> None:
    """A model's choice of one call or two may change with the batch that it runs in; a parser's fault does not."""
    with chat_server("a call less once") as port:
        [_health, gate] = _gates_run.run(session(port), ["health", "tools_parallel"], 5)
    assert (gate["gate"], gate["passed"]) == ("tools_parallel", True), gate


@pytest.mark.parametrize(
    ("tokens", "evidence"),
    [
        pytest.param(0, "the plan does not say how long a request may be", id="unknown"),
        pytest.param(
            196608,
            "the server's KV cache holds 16384 tokens, the plan reckons with a context of 196608,"
            " which is a GPU's, and it runs on a CPU",
            id="small cache",
        ),
        pytest.param(150, "a context of 150 tokens is too short to be filled", id="short"),
    ],
)
def test_a_context_that_cannot_be_filled_is_skipped(tokens: int, evidence: str) -> None:
    gate = went("", context_tokens=tokens)[-1]
    assert (gate["gate"], gate["passed"], gate["skipped"], gate["evidence"]) == ("context", True, True, evidence)


def test_the_context_is_filled() -> None:
    gate = went("", context_tokens=12000)[-1]
    words = gate["evidence"].split()
    assert words[:4] == ["a", "prompt", "of", words[3]]
    assert 12000 - 96 - 90 <= int(words[3]) <= 12000 - 96
    assert gate["evidence"].endswith("was answered; the plan reckons with 12000, the KV cache holds 16384")


class Clock:
    """A clock that each look moves on by a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


class Late(Client):
    """Answers well, and late."""

    def call(self, *_words: Any, **_more: Any) -> Answer:
        return Answer(200, f'{{"data": [{{"id": "{MODEL}"}}]}}')


def test_a_gate_that_passes_too_late_fails() -> None:
    api = Late("127.0.0.1", 9)
    late = Session(api, api, MODEL, lambda: Answer(200, ""), clock=Clock())
    (gate,) = _gates_run.run(late, ["models"], 0, {"models": 1.5})
    assert (gate["passed"], gate["seconds"]) == (False, 2)
    assert gate["evidence"] == f"it took 2.0 s, its budget is 1.5 s (serves {MODEL})"


def test_nothing_is_asked_once_the_budget_is_spent() -> None:
    api = Late("127.0.0.1", 9)
    late = Session(api, api, MODEL, lambda: Answer(200, ""), clock=Clock())
    (gate,) = _gates_run.run(late, ["models"], 0, {"models": 0.5})
    assert (gate["passed"], gate["evidence"]) == (False, "its time budget is spent")


def test_a_request_takes_no_longer_than_one_may() -> None:
    api = Late("127.0.0.1", 9)
    some = Session(api, api, MODEL, lambda: Answer(200, ""), Wishes(request_seconds=5), clock=lambda: 0.0, deadline=9.0)
    assert (some.seconds(), some.seconds(whole_budget=True)) == (5, 9)
    with pytest.raises(GateError):
        replace(some, deadline=0.0).seconds()


PARSERS = {"reasoning-parser": "minimax-append-think", "tool-call-parser": "minimax-m2"}
PLAIN = ["health", "models", "chat", "stream", "context"]
REASONING = ["reasoning", "reasoning_stream"]
TOOLS = ["tools", "tools_stream", "tools_parallel", "tools_result"]


@pytest.mark.parametrize(
    ("args", "has_key", "wanted", "gates"),
    [
        pytest.param(PARSERS, True, [], ALL, id="all"),
        pytest.param({}, False, [], PLAIN, id="no parsers, no key"),
        pytest.param({"reasoning-parser": "x"}, False, [], [*PLAIN[:4], *REASONING, "context"], id="reasoning only"),
        pytest.param({"tool-call-parser": "x"}, False, [], [*PLAIN[:4], *TOOLS, "context"], id="tools only"),
        pytest.param({"reasoning-parser": None, "tool-call-parser": False}, False, [], PLAIN, id="taken away"),
        pytest.param(PARSERS, True, ["context", "chat"], ["health", "chat", "context"], id="chosen"),
    ],
)
def test_only_gates_that_the_server_supports(
    args: dict[str, Any], has_key: bool, wanted: list[str], gates: list[str]
) -> None:
    assert _gates_run.supported(args, has_key, wanted) == gates


@pytest.mark.parametrize(
    ("gates", "budgets", "told"),
    [
        (["chat"], {"chat": 5}, []),
        (["chatt"], {}, [f"there is no gate chatt: known are {', '.join(GATES)}"]),
        ([], {"chatt": 5}, [f"there is no gate chatt: known are {', '.join(GATES)}"]),
        ([], {"chat": 0}, ["the budget of chat is 0: it must be a number of seconds above 0"]),
        ([], {"chat": "long"}, ["the budget of chat is 'long': it must be a number of seconds above 0"]),
    ],
)
def test_a_wrong_choice_is_told(gates: list[str], budgets: dict[str, Any], told: list[str]) -> None:
    assert _gates_run.problems(gates, budgets) == told


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["chatt"], "there is no gate chatt: known are health, auth"),
        (["auth"], "auth needs fleet_api_key, which is not set"),
        (["chat", "tools"], "tools needs the server argument tool-call-parser, which the plan lacks"),
    ],
)
def test_a_gate_that_cannot_be_is_refused_where_it_was_chosen(wanted: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _gates_run.supported({}, False, wanted)
