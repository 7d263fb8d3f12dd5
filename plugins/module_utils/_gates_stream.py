# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gates on a streamed answer: server-sent events read into one message, and how fast it came. Pure; the HTTP is in `_http`."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils._gates import GateError, excerpt

#: An answer of so many tokens that comes in one piece was not streamed.
ONE_PIECE_TOKENS = 8


class BrokenError(GateError):
    """A stream that ended, or gave nothing more in time; the text says which."""


@dataclass
class Streamed:
    """A chat answer as it was streamed.

    parts: (seconds since the request, "content" | "reasoning" | "call", text), in their order. calls: index ->
    {"id", "name", "arguments"}, put together. tokens: usage's completion_tokens; None where the stream gave no usage.
    done: whether `[DONE]` came. broken: why the stream ended before its time; empty where it did not.
    """

    parts: list[tuple[float, str, str]] = field(default_factory=list)
    calls: dict[int, dict[str, str]] = field(default_factory=dict)
    finish: str | None = None
    tokens: int | None = None
    done: bool = False
    broken: str = ""

    def text(self, kind: str) -> str:
        """All of one kind, put together: a tag that was broken over events is whole again."""
        return "".join(text for _seconds, of, text in self.parts if of == kind)

    def tool_calls(self) -> list[dict[str, Any]]:
        """The calls as an unstreamed message has them."""
        return [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": call["arguments"]},
            }
            for _index, call in sorted(self.calls.items())
        ]

    def rate(self) -> float | None:
        """Tokens a second after the first; None where fewer than two pieces came."""
        if len(self.parts) < 2:
            return None
        seconds = max(self.parts[-1][0] - self.parts[0][0], 1e-6)
        return (max(self.tokens or 0, len(self.parts)) - 1) / seconds


def events(chunks: Iterable[tuple[float, bytes]]) -> Iterator[tuple[float, str]]:
    """(seconds, data) of each server-sent event. chunks: (seconds, bytes) as they came, cut anywhere.

    Source: the HTML standard's "Interpreting an event stream", less a lone carriage return as a line's end. An event
    that no empty line ends does not count.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    held, data = "", []
    for seconds, chunk in chunks:
        held += decoder.decode(chunk)
        *lines, held = held.split("\n")
        for line in (line.rstrip("\r") for line in lines):
            if line.startswith("data:"):
                data.append(line[5:].removeprefix(" "))
            elif not line and data:
                yield seconds, "\n".join(data)
                data = []


def read(chunks: Iterable[tuple[float, bytes]]) -> Streamed:
    """The answer that the chunks of a `/v1/chat/completions` stream make up.

    A BrokenError of the chunks ends it and stands in `broken`. Raises GateError for an event that is no JSON or an error.
    """
    streamed = Streamed()
    try:
        for seconds, data in events(chunks):
            if data == "[DONE]":
                streamed.done = True
                break
            _add(streamed, seconds, _event(data))
    except BrokenError as error:
        streamed.broken = str(error)
    return streamed


def _event(data: str) -> dict[str, Any]:
    try:
        event = json.loads(data)
    except ValueError:
        event = None
    if not isinstance(event, dict):
        raise GateError(f"the stream has an event that is not a JSON object: {excerpt(data)}")
    if event.get("error"):
        raise GateError(f"the stream has an error: {excerpt(json.dumps(event['error']))}")
    return event


def _add(streamed: Streamed, seconds: float, event: dict[str, Any]) -> None:
    usage = event.get("usage") or {}
    if usage.get("completion_tokens") is not None:
        streamed.tokens = int(usage["completion_tokens"])
    for choice in event.get("choices") or []:
        delta = choice.get("delta") or {}
        for key, kind in (("reasoning_content", "reasoning"), ("content", "content")):
            if delta.get(key):
                streamed.parts.append((seconds, kind, delta[key]))
        for piece in delta.get("tool_calls") or []:
            _add_call(streamed, seconds, piece)
        streamed.finish = choice.get("finish_reason") or streamed.finish


def _add_call(streamed: Streamed, seconds: float, piece: dict[str, Any]) -> None:
    """One piece of a call: the first has its ID and name, all have some of the arguments' text."""
    call = streamed.calls.setdefault(int(piece.get("index") or 0), {"id": "", "name": "", "arguments": ""})
    function = piece.get("function") or {}
    call["id"] = call["id"] or piece.get("id") or ""
    call["name"] += function.get("name") or ""
    call["arguments"] += function.get("arguments") or ""
    streamed.parts.append((seconds, "call", function.get("arguments") or ""))


def check_whole(streamed: Streamed) -> None:
    """The stream came to its proper end. Raises GateError where it did not."""
    if streamed.broken:
        raise GateError(f"the stream broke off after {len(streamed.parts)} pieces: {streamed.broken}")
    if streamed.finish is None:
        raise GateError(f"the stream ended after {len(streamed.parts)} pieces without a finish_reason")
    if not streamed.done:
        raise GateError("the stream ended without data: [DONE]")


def check_rate(streamed: Streamed, least: float, first_seconds: float) -> str:
    """The answer was streamed, and fast enough.

    least: tokens a second. first_seconds: within which the first piece has to be there.
    """
    rate = streamed.rate()
    slow = rate is not None and rate < least
    if not slow:
        check_whole(streamed)
    if not streamed.parts:
        raise GateError("the stream has no text")
    first = streamed.parts[0][0]
    if first > first_seconds:
        raise GateError(f"the first token came after {first:.1f} s, wanted it within {first_seconds:g} s")
    tokens = max(streamed.tokens or 0, len(streamed.parts))
    if rate is None:
        if tokens >= ONE_PIECE_TOKENS:
            raise GateError(f"{tokens} tokens came in one piece, so the answer was not streamed")
        return f"{tokens} tokens, the first after {first:.2f} s; too few for a rate"
    if slow:
        raise GateError(
            f"{tokens} tokens came at {rate:.2f} a second, wanted {least:g}; the first came after {first:.1f} s"
        )
    return f"{tokens} tokens, the first after {first:.2f} s, then {rate:.1f} a second"
