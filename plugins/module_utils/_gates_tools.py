# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gates on tool calls: what is called, with which arguments, streamed or not, and what becomes of the result. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils._gates import (
    CLOSE,
    OPEN,
    Answer,
    GateError,
    excerpt,
    first_choice,
)
from ansible_collections.sglang.fleet.plugins.module_utils._gates_stream import Streamed, check_whole
from ansible_collections.sglang.fleet.plugins.module_utils._schema import schema_problems

Calls = Sequence[Mapping[str, Any]]

#: The tool of the seed's example. The days are no text: their type is lost where a parser does not see to it.
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "minLength": 1, "description": "Name of the city."},
                "days": {"type": "integer", "minimum": 0, "description": "How many days ahead; 0 is today."},
            },
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
ASK_ONE = "What is the weather in Paris today? Use the tool."
ASK_TWO = "What is the weather today in Paris and in London? Call the tool for both at once."
#: What shows that a call was not parsed.
MARKS = ("tool_call>", "<invoke ", "<tool_call")
#: How often a model may call tools before it has to answer.
ROUNDS = 3


class CountsDiffer(GateError):  # noqa: N818 (a kind of GateError)
    """As many calls were not made streamed as unstreamed."""


def visible(content: str) -> str:
    """What a reader sees of a message: the text after the thinking, however that is closed."""
    return content.rpartition(CLOSE)[2].partition(OPEN)[0].strip()


def check_calls(calls: Calls, finish: Any, content: str) -> str:
    """Every call is of a known tool, with an ID of its own and arguments as the tool's schema wants them."""
    text = visible(content)
    unparsed = [mark for mark in MARKS if mark in text]
    if unparsed:
        raise GateError(f"a call stands unparsed in the text: {text[:160]!r}")
    if not calls:
        raise GateError(f"no tool was called (finish_reason {finish}): {text[:160]!r}")
    ids = [call.get("id") for call in calls]
    if not all(ids) or len(set(ids)) < len(ids):
        raise GateError(f"the calls need an ID each, found {ids}")
    told = [_check_call(call.get("function") or {}) for call in calls]
    if finish != "tool_calls":
        raise GateError(f"finish_reason is {finish}, wanted tool_calls")
    return ", ".join(told)


def _check_call(function: Mapping[str, Any]) -> str:
    wanted = WEATHER["function"]
    name, text = function.get("name"), function.get("arguments")
    if name != wanted["name"]:
        raise GateError(f"the tool {name!r} was called, offered was {wanted['name']}")
    try:
        arguments = json.loads(text or "")
    except (TypeError, ValueError):
        raise GateError(f"the arguments of {name} are not JSON: {str(text)[:160]!r}") from None
    problems = schema_problems(arguments, wanted["parameters"], "arguments")
    if problems:
        raise GateError(f"the arguments of {name} are not as its schema says: {'; '.join(problems)}")
    return f"{name} {json.dumps(arguments, ensure_ascii=False)}"


def message_of(answer: Answer) -> tuple[dict[str, Any], Any]:
    """(message, finish_reason) of an unstreamed answer. Raises GateError where it is none."""
    choice = first_choice(answer)
    return choice.get("message") or {}, choice.get("finish_reason")


def check_tools(answer: Answer) -> str:
    """An unstreamed answer calls the tool."""
    message, finish = message_of(answer)
    return check_calls(message.get("tool_calls") or [], finish, message.get("content") or "")


def check_tools_stream(streamed: Streamed) -> str:
    """A streamed answer calls the tool: its arguments, put together, are whole."""
    check_whole(streamed)
    return check_calls(streamed.tool_calls(), streamed.finish, streamed.text("content"))


def check_parallel(streamed: Streamed, whole: Answer) -> str:
    """Two calls asked for at once, streamed and not: as many in both, and none of them twice.

    A model may choose to make one call only; at temperature 0 it mostly chooses the same both times. Raises CountsDiffer where
    the numbers are not the same, GateError for the rest.
    """
    told = check_tools_stream(streamed)
    message, finish = message_of(whole)
    calls = {"streamed": streamed.tool_calls(), "unstreamed": message.get("tool_calls") or []}
    if calls["unstreamed"] or any(mark in visible(message.get("content") or "") for mark in MARKS):
        check_calls(calls["unstreamed"], finish, message.get("content") or "")
    made = {how: [_shown(call) for call in some] for how, some in calls.items()}
    for how, texts in made.items():
        if len(set(texts)) < len(texts):
            raise GateError(f"the same call came twice, {how}: {', '.join(texts)}; asked for were Paris and London")
    if len(made["unstreamed"]) != len(made["streamed"]):
        each = ", ".join(f"{len(texts)} {how} ({', '.join(texts) or 'none'})" for how, texts in made.items())
        raise CountsDiffer(f"the number of calls is not the same: {each}")
    return told if len(made["streamed"]) > 1 else f"{told}; the model made 1 call where two were asked for"


def _shown(call: Mapping[str, Any]) -> str:
    function = call.get("function") or {}
    return f"{function.get('name')} {excerpt(str(function.get('arguments')), 80)}"


def results(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The messages that follow on a message with calls: itself, and a result of each call."""
    calls = message.get("tool_calls") or []
    told = [{"role": "assistant", "content": message.get("content") or "", "tool_calls": calls}]
    for call in calls:
        city = json.loads(call["function"]["arguments"])["city"]
        result = json.dumps({"city": city, "celsius": 22, "sky": "sunny"}, ensure_ascii=False)
        told.append({"role": "tool", "tool_call_id": call["id"], "content": result})
    return told


def check_answered(message: Mapping[str, Any], finish: Any, count: int) -> str:
    """The results of `count` calls led to an answer. message: one without calls."""
    content = message.get("content") or ""
    # A thinking part that never closes is for the gates on reasoning.
    text = content.replace(OPEN, "").strip() if CLOSE not in content else visible(content)
    if any(mark in text for mark in MARKS):
        raise GateError(f"a call stands unparsed in the answer to a tool's result: {text[:160]!r}")
    if not text:
        raise GateError(f"the result of {count} call(s) was sent back, and no answer came (finish_reason {finish})")
    return f"{count} result(s) sent back, answered {text[:80]!r}"
