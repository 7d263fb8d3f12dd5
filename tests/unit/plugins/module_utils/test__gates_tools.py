# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _gates_tools
from ansible_collections.sglang.fleet.plugins.module_utils._gates import Answer, GateError
from ansible_collections.sglang.fleet.plugins.module_utils._gates_stream import Streamed
from ansible_collections.sglang.fleet.plugins.module_utils._schema import KEYWORDS

PARIS = '{"city": "Paris"}'


def call(arguments: Any = PARIS, name: str = "get_weather", identity: str | None = "a") -> dict[str, Any]:
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_the_schema_checker_understands_the_tools_schema() -> None:
    parameters = _gates_tools.WEATHER["function"]["parameters"]
    used = set(parameters) | {key for entry in parameters["properties"].values() for key in entry}
    assert used <= KEYWORDS


@pytest.mark.parametrize(
    ("calls", "content", "evidence"),
    [
        ([call()], "", 'get_weather {"city": "Paris"}'),
        ([call('{"city": "Köln", "days": 0}')], "", 'get_weather {"city": "Köln", "days": 0}'),
        ([call()], "<think>I could write <invoke name=x>.</think>\n", 'get_weather {"city": "Paris"}'),
        (
            [call(), call('{"city": "London"}', identity="b")],
            "Both at once.",
            'get_weather {"city": "Paris"}, get_weather {"city": "London"}',
        ),
    ],
)
def test_good_calls(calls: list[dict[str, Any]], content: str, evidence: str) -> None:
    assert _gates_tools.check_calls(calls, "tool_calls", content) == evidence


@pytest.mark.parametrize(
    ("calls", "finish", "content", "message"),
    [
        pytest.param([], "stop", "Sunny!", "no tool was called (finish_reason stop): 'Sunny!'", id="none"),
        pytest.param(
            [],
            "stop",
            '<think>hm</think><minimax:tool_call>\n<invoke name="get_weather">',
            "a call stands unparsed in the text: '<minimax:tool_call>\\n<invoke name=\"get_weather\">'",
            id="unparsed",
        ),
        pytest.param(
            [call(), call()], "tool_calls", "", "the calls need an ID each, found ['a', 'a']", id="one ID twice"
        ),
        pytest.param([call(identity=None)], "tool_calls", "", "the calls need an ID each, found [None]", id="no ID"),
        pytest.param(
            [call(name="weather")],
            "tool_calls",
            "",
            "the tool 'weather' was called, offered was get_weather",
            id="name",
        ),
        pytest.param(
            [call('{"city": "Par')],
            "tool_calls",
            "",
            """the arguments of get_weather are not JSON: '{"city": "Par'""",
            id="cut",
        ),
        pytest.param([call("")], "tool_calls", "", "the arguments of get_weather are not JSON: ''", id="empty"),
        pytest.param([call(None)], "tool_calls", "", "the arguments of get_weather are not JSON: 'None'", id="null"),
        pytest.param(
            [call('["Paris"]')],
            "tool_calls",
            "",
            "the arguments of get_weather are not as its schema says: arguments is ['Paris']: it must be a mapping",
            id="a list",
        ),
        pytest.param(
            [call('{"place": "Paris"}')],
            "tool_calls",
            "",
            "the arguments of get_weather are not as its schema says: "
            "arguments has no city; arguments.place is unknown: known are city, days",
            id="other arguments",
        ),
        pytest.param([call()], "stop", "", "finish_reason is stop, wanted tool_calls", id="finish_reason"),
    ],
)
def test_bad_calls_fail(calls: list[dict[str, Any]], finish: str, content: str, message: str) -> None:
    with pytest.raises(GateError) as error:
        _gates_tools.check_calls(calls, finish, content)
    assert str(error.value) == message


def test_streamed_and_not() -> None:
    message = {"content": None, "tool_calls": [call()]}
    answer = Answer(200, json.dumps({"choices": [{"message": message, "finish_reason": "tool_calls"}]}))
    assert _gates_tools.check_tools(answer) == 'get_weather {"city": "Paris"}'
    calls = {0: {"id": "a", "name": "get_weather", "arguments": PARIS}}
    streamed = Streamed(calls=calls, finish="tool_calls", done=True)
    assert _gates_tools.check_tools_stream(streamed) == 'get_weather {"city": "Paris"}'
    streamed.done = False
    with pytest.raises(GateError, match=r"the stream ended without data: \[DONE\]"):
        _gates_tools.check_tools_stream(streamed)


@pytest.mark.parametrize(
    ("message", "finish", "error"),
    [
        ({"content": '<minimax:tool_call>\n<invoke name="get_weather">'}, "stop", "a call stands unparsed in the text"),
        ({"tool_calls": [call(), {**call(), "id": "a"}]}, "tool_calls", "the calls need an ID each"),
        (
            {"content": "Sunny."},
            "stop",
            'the number of calls is not the same: 1 streamed (get_weather {"city": "Paris"}), 0',
        ),
    ],
)
def test_what_is_wrong_with_the_unstreamed_calls_counts(message: dict[str, Any], finish: str, error: str) -> None:
    answer = Answer(200, json.dumps({"choices": [{"message": message, "finish_reason": finish}]}))
    streamed = Streamed(
        calls={0: {"id": "a", "name": "get_weather", "arguments": PARIS}}, finish="tool_calls", done=True
    )
    with pytest.raises(GateError) as raised:
        _gates_tools.check_parallel(streamed, answer)
    assert str(raised.value).startswith(error)


def test_one_call_where_two_were_asked_for_passes() -> None:
    answer = Answer(
        200, json.dumps({"choices": [{"message": {"tool_calls": [call()]}, "finish_reason": "tool_calls"}]})
    )
    calls = {0: {"id": "a", "name": "get_weather", "arguments": PARIS}}
    streamed = Streamed(calls=calls, finish="tool_calls", done=True)
    told = 'get_weather {"city": "Paris"}; the model made 1 call where two were asked for'
    assert _gates_tools.check_parallel(streamed, answer) == told


def test_each_call_gets_its_result() -> None:
    calls = [call(), call('{"city": "London"}', identity="b")]
    assert _gates_tools.results({"content": None, "tool_calls": calls}) == [
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "a", "content": '{"city": "Paris", "celsius": 22, "sky": "sunny"}'},
        {"role": "tool", "tool_call_id": "b", "content": '{"city": "London", "celsius": 22, "sky": "sunny"}'},
    ]


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        ("<think>a</think>\nb", "b"),
        ("a</think>b", "b"),
        ("b", "b"),
        ("<think>a", ""),
        ("<think>a</think>b<think>c", "b"),
        ("", ""),
    ],
)
def test_what_a_reader_sees(content: str, seen: str) -> None:
    assert _gates_tools.visible(content) == seen


@pytest.mark.parametrize("content", ["<think>a</think>22 degrees", "22 degrees", "<think>22 degrees"])
def test_an_answer_to_a_result(content: str) -> None:
    told = _gates_tools.check_answered({"content": content}, "stop", 2)
    assert told == "2 result(s) sent back, answered '22 degrees'"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "the result of 1 call(s) was sent back, and no answer came (finish_reason stop)"),
        ("<think>a</think>", "the result of 1 call(s) was sent back, and no answer came (finish_reason stop)"),
        ("<minimax:tool_call>", "a call stands unparsed in the answer to a tool's result: '<minimax:tool_call>'"),
    ],
)
def test_no_answer_to_a_result_fails(content: str | None, message: str) -> None:
    with pytest.raises(GateError) as error:
        _gates_tools.check_answered({"content": content}, "stop", 1)
    assert str(error.value) == message
