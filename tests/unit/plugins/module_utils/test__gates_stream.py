# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _gates_stream
from ansible_collections.sglang.fleet.plugins.module_utils._gates import GateError
from ansible_collections.sglang.fleet.plugins.module_utils._gates_stream import BrokenError, Streamed

DONE = "data: [DONE]\n\n"


def event(finish: str | None = None, **delta: Any) -> str:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return f"data: {json.dumps({'choices': choices}, ensure_ascii=False)}\n\n"


def usage(tokens: int) -> str:
    return f"data: {json.dumps({'choices': [], 'usage': {'completion_tokens': tokens}})}\n\n"


def cut(text: str, size: int) -> Iterator[tuple[float, bytes]]:
    """The text's bytes in pieces, each of them a tenth of a second after the one before."""
    data = text.encode()
    for number, start in enumerate(range(0, len(data), size)):
        yield number / 10, data[start : start + size]


TEXT = (
    event(role="assistant", content="")
    + ": a comment\r\n\r\n"
    + event(reasoning_content="hm…")
    + event(content="<thi")
    + event(content="nk>ü</th").replace("\n", "\r\n")
    + event(content="ink>Grüße")
    + event(tool_calls=[{"index": 0, "id": "a", "function": {"name": "get_weather", "arguments": ""}}])
    + event(tool_calls=[{"index": 1, "id": "b", "function": {"name": "get_weather", "arguments": None}}])
    + event(tool_calls=[{"index": 0, "function": {"arguments": '{"city": '}}])
    + event(tool_calls=[{"index": 1, "id": None, "function": {"name": None, "arguments": "{}"}}])
    + event(tool_calls=[{"index": 0, "function": {"arguments": '"Köln"}'}}])
    + event("tool_calls", content=None)
    + usage(12)
    + DONE
)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 100_000])
def test_a_stream_is_put_together_however_it_is_cut(size: int) -> None:
    streamed = _gates_stream.read(cut(TEXT, size))
    assert streamed.text("content") == "<think>ü</think>Grüße"
    assert streamed.text("reasoning") == "hm…"
    assert streamed.tool_calls() == [
        {"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Köln"}'}},
        {"id": "b", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}},
    ]
    assert (streamed.finish, streamed.tokens, streamed.done, streamed.broken) == ("tool_calls", 12, True, "")
    _gates_stream.check_whole(streamed)


def test_an_event_has_the_time_of_its_end() -> None:
    chunks = [(0.5, b"data: a\n"), (1.5, b"\ndata: b\n: comment\ndata:c\n\nda"), (2.5, b"ta: d\n")]
    assert list(_gates_stream.events(chunks)) == [(1.5, "a"), (1.5, "b\nc")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("data: {oops\n\n", "the stream has an event that is not a JSON object: {oops", id="not JSON"),
        pytest.param("data: 7\n\n", "the stream has an event that is not a JSON object: 7", id="no object"),
        pytest.param(
            'data: {"error": {"message": "out of memory"}}\n\n',
            'the stream has an error: {"message": "out of memory"}',
            id="error",
        ),
    ],
)
def test_a_stream_that_is_no_answer_fails(text: str, message: str) -> None:
    with pytest.raises(GateError) as error:
        _gates_stream.read(cut(text, 9))
    assert str(error.value) == message


def broken() -> Iterator[tuple[float, bytes]]:
    yield 0.1, event(content="Hel").encode()
    raise BrokenError("it was not at its end within 60.0 s")


@pytest.mark.parametrize(
    ("streamed", "message"),
    [
        pytest.param(
            _gates_stream.read(broken()),
            "the stream broke off after 1 pieces: it was not at its end within 60.0 s",
            id="broken",
        ),
        pytest.param(
            _gates_stream.read(cut(event(content="a") + DONE, 99)),
            "the stream ended after 1 pieces without a finish_reason",
            id="no finish",
        ),
        pytest.param(
            _gates_stream.read(cut(event("stop", content="a"), 99)),
            "the stream ended without data: [DONE]",
            id="no end",
        ),
    ],
)
def test_a_stream_must_come_to_its_end(streamed: Streamed, message: str) -> None:
    with pytest.raises(GateError) as error:
        _gates_stream.check_whole(streamed)
    assert str(error.value) == message


def streamed(*seconds: float, tokens: int | None = None, **more: Any) -> Streamed:
    parts = [(second, "content", "x") for second in seconds]
    return Streamed(parts=parts, tokens=tokens, **{"finish": "stop", "done": True, **more})


@pytest.mark.parametrize(
    ("answer", "evidence"),
    [
        (streamed(0.5, 0.6, 0.7), "3 tokens, the first after 0.50 s, then 10.0 a second"),
        (streamed(0.5, 0.6, 0.7, tokens=5), "5 tokens, the first after 0.50 s, then 20.0 a second"),
        (streamed(0.5, tokens=3), "3 tokens, the first after 0.50 s; too few for a rate"),
        (streamed(0.5, 0.5), "2 tokens, the first after 0.50 s, then 1000000.0 a second"),
    ],
)
def test_the_rate_is_told(answer: Streamed, evidence: str) -> None:
    assert _gates_stream.check_rate(answer, 5, 2) == evidence


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param(
            streamed(*range(1, 12)), "11 tokens came at 1.00 a second, wanted 5; the first came after 1.0 s", id="slow"
        ),
        pytest.param(
            streamed(1, 4, 7, broken="it was not at its end within 60.0 s", done=False),
            "3 tokens came at 0.33 a second, wanted 5; the first came after 1.0 s",
            id="so slow that it broke off",
        ),
        pytest.param(streamed(2.5, 2.6), "the first token came after 2.5 s, wanted it within 2 s", id="late"),
        pytest.param(
            streamed(0.5, tokens=8), "8 tokens came in one piece, so the answer was not streamed", id="one piece"
        ),
        pytest.param(streamed(), "the stream has no text", id="nothing"),
        pytest.param(
            streamed(0.1, 0.2, done=False), "the stream ended without data: [DONE]", id="fast, but not at its end"
        ),
    ],
)
def test_a_slow_stream_fails(answer: Streamed, message: str) -> None:
    with pytest.raises(GateError) as error:
        _gates_stream.check_rate(answer, 5, 2)
    assert str(error.value) == message
