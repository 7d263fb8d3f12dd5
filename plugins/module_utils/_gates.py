# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gates on a server's behaviour: what its answers must look like. Pure; the HTTP is in `smoke_test`.

A gate takes an HTTP answer and gives evidence (a short text) or raises GateError with what was
found and what was wanted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

OPEN, CLOSE = "<think>", "</think>"


class GateError(ValueError):
    """A gate's condition does not hold; the text says what was found and what was wanted."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: status code and body text. Status 0: there was none, body says why."""

    status: int
    body: str

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            raise GateError(f"the answer is not JSON: {self.excerpt()}") from None

    def excerpt(self, limit: int = 200) -> str:
        text = " ".join(self.body.split())
        return text if len(text) <= limit else text[: limit - 1] + "…"


def split_thinking(content: str, reasoning: str | None = None) -> tuple[str, str]:
    """(thinking, answer) of a chat message.

    The parser minimax-append-think leaves `<think>…</think>` in the content; other reasoning parsers
    put the thinking in `reasoning_content`. Text without tags is all answer.

    Raises GateError for a thinking part that never closes or opens twice.
    """
    if reasoning and CLOSE not in content:
        return reasoning.strip(), content.strip()
    opened, closed = content.count(OPEN), content.count(CLOSE)
    if not opened and not closed:
        return "", content.strip()
    # The chat template itself opens the block, so a server may return only the closing tag.
    if opened > 1 or closed > 1:
        raise GateError(f"{OPEN} stands {opened} times and {CLOSE} {closed} times; wanted one block at most")
    if not closed:
        raise GateError(f"{OPEN} never closes, so there is no answer: the token limit may be too low for this prompt")
    thinking, answer = content.split(CLOSE)
    before, _tag, inner = thinking.rpartition(OPEN)
    if before.strip():
        raise GateError(f"there is text before {OPEN}: {before.strip()[:80]!r}")
    return inner.strip(), answer.strip()


def check_health(answer: Answer) -> str:
    """The server is up and generated a token."""
    if answer.status != 200:
        raise GateError(f"/health answered {answer.status or 'nothing'} ({answer.excerpt()}), wanted 200")
    return "200"


def check_models(answer: Answer, model: str) -> str:
    """The model list names the model that the plan serves."""
    if answer.status == 401:
        raise GateError(
            "/v1/models answered 401: the server asks for another key than this inventory's fleet_api_key."
            " Run playbooks/deploy.yml, or set the key that it was deployed with"
        )
    if answer.status != 200:
        raise GateError(f"/v1/models answered {answer.status or 'nothing'} ({answer.excerpt()}), wanted 200")
    served = [str(entry.get("id")) for entry in answer.json().get("data", [])]
    if model not in served:
        raise GateError(f"/v1/models lists {', '.join(served) or 'no model'}, wanted {model}")
    return f"serves {', '.join(served)}"


def check_unauthorised(answer: Answer) -> str:
    """A request without the key is refused."""
    if answer.status != 401:
        raise GateError(f"a request without the API key was answered {answer.status}, wanted 401")
    return "401 without the key"


def check_chat(answer: Answer, thinks: bool) -> dict[str, Any]:
    """One chat turn: {"thinking", "answer", "tokens", "evidence"}.

    thinks: the server runs with a reasoning parser, so that the thinking must be there, split from the answer.
    """
    if answer.status != 200:
        raise GateError(f"/v1/chat/completions answered {answer.status or 'nothing'} ({answer.excerpt()}), wanted 200")
    data = answer.json()
    choices: list[dict[str, Any]] = data.get("choices") or []
    if not choices:
        raise GateError(f"the answer has no choices: {answer.excerpt()}")
    message = choices[0].get("message") or {}
    thinking, text = split_thinking(message.get("content") or "", message.get("reasoning_content"))
    if not text:
        reason = choices[0].get("finish_reason")
        raise GateError(f"the chat turn has no answer (finish_reason {reason}, {len(thinking)} characters of thinking)")
    if thinks and not thinking:
        raise GateError(f"the answer carries no thinking although a reasoning parser is on: {text[:80]!r}")
    tokens = int((data.get("usage") or {}).get("completion_tokens") or 0)
    return {"thinking": thinking, "answer": text, "tokens": tokens, "evidence": text[:200]}
