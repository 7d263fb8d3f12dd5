# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gates on a server's behaviour: what its answers must look like. Pure; the HTTP is in `_http`.

A gate takes an HTTP answer and gives evidence (a short text) or raises GateError with what was
found and what was wanted. Each subject has its own `_gates_*`; `_gates_run` puts a server through them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

OPEN, CLOSE = "<think>", "</think>"


class GateError(ValueError):
    """A gate's condition does not hold; the text says what was found and what was wanted."""


class GateSkipped(Exception):  # noqa: N818 (it is no error)
    """There is nothing to be tested; the message says why."""


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
        return excerpt(self.body, limit)


def excerpt(text: str, limit: int = 200) -> str:
    """The text in one line, cut to `limit` characters."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def split_thinking(content: str, reasoning: str | None = None) -> tuple[str, str]:
    """(thinking, answer) of a chat message.

    The parser minimax-append-think leaves `<think>…</think>` in the content; other reasoning parsers
    put the thinking in `reasoning_content`. Text without tags is all answer.

    Raises GateError for a thinking part that never closes, opens twice, or stands in both places.
    """
    if reasoning:
        if OPEN in content or CLOSE in content:
            raise GateError(
                f"the thinking is in reasoning_content, and a tag of it in the content: {excerpt(content, 80)!r}"
            )
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


def check_key(answer: Answer, path: str) -> None:
    """The server takes our key."""
    if answer.status == 401:
        raise GateError(
            f"{path} answered 401: the server asks for another key than this inventory's fleet_api_key."
            " Run playbooks/deploy.yml, or set the key that it was deployed with"
        )


def check_models(answer: Answer, model: str) -> str:
    """The model list names the model that the plan serves."""
    check_key(answer, "/v1/models")
    if answer.status != 200:
        raise GateError(f"/v1/models answered {answer.status or 'nothing'} ({answer.excerpt()}), wanted 200")
    served = [str(entry.get("id")) for entry in answer.json().get("data", [])]
    if model not in served:
        raise GateError(f"/v1/models lists {', '.join(served) or 'no model'}, wanted {model}")
    return f"serves {', '.join(served)}"


def first_choice(answer: Answer) -> dict[str, Any]:
    """The first choice of an answer of `/v1/chat/completions`. Raises GateError where there is none."""
    if answer.status != 200:
        raise GateError(f"/v1/chat/completions answered {answer.status or 'nothing'} ({answer.excerpt()}), wanted 200")
    data = answer.json()
    choices = data.get("choices") if isinstance(data, dict) else None
    if not choices:
        raise GateError(f"the answer has no choices: {answer.excerpt()}")
    choice: dict[str, Any] = choices[0]
    return choice


def check_generated(answer: Answer) -> str:
    """A token was generated, whatever it says: a server may answer /health and yet hang."""
    first_choice(answer)
    tokens = int((answer.json().get("usage") or {}).get("completion_tokens") or 0)
    if tokens < 1:
        raise GateError(f"no token was generated: {answer.excerpt()}")
    return "a token was generated"


def check_text(answer: Answer) -> str:
    """One chat turn came to its end and says something. What of it is thinking is for other gates."""
    choice = first_choice(answer)
    message, finish = choice.get("message") or {}, choice.get("finish_reason")
    text = (message.get("content") or message.get("reasoning_content") or "").strip()
    if finish != "stop":
        raise GateError(f"the chat turn did not come to its end: finish_reason {finish}, wanted stop ({text[:80]!r})")
    if not text.replace(OPEN, "").replace(CLOSE, "").strip():
        raise GateError("the chat turn says nothing")
    return excerpt(text.rpartition(CLOSE)[2])
