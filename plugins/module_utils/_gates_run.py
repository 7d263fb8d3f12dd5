# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gates that a server goes through: which there are, which of them it supports, their time budgets, and the run.

Pure but for what the caller hands in: the server's API, how it is waited for, and a clock.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, Protocol

from ansible_collections.sglang.fleet.plugins.module_utils import (
    _gates,
    _gates_auth,
    _gates_context,
    _gates_reasoning,
    _gates_stream,
    _gates_tools,
)
from ansible_collections.sglang.fleet.plugins.module_utils._gates import Answer, GateError, GateSkipped, excerpt
from ansible_collections.sglang.fleet.plugins.module_utils._gates_stream import Streamed

CHAT = "/v1/chat/completions"
MODELS = "/v1/models"
#: Tokens of the streamed answer whose rate is taken: few, so that a slow server is found out within the gate's budget.
RATE_TOKENS = 32


class Api(Protocol):
    """What a gate asks a server with; `_http.Client` is one."""

    def call(
        self,
        path: str,
        payload: Mapping[str, Any] | None = None,
        with_key: bool = True,
        seconds: float | None = None,
    ) -> Answer: ...

    def stream(
        self, path: str, payload: Mapping[str, Any], seconds: float | None = None
    ) -> Iterator[tuple[float, bytes]]: ...


@dataclass(frozen=True)
class Wishes:
    """What the operator wants of the gates. Times in seconds.

    max_tokens: of an answer, thinking included. context_tokens: of the longest request by the plan's fit; 0 where it is
    not known. least_rate: tokens a second of one streamed answer.
    """

    prompt: str = "Say hello in one short sentence."
    max_tokens: int = 2048
    request_seconds: float = 120
    first_token_seconds: float = 30
    least_rate: float = 1.0
    context_tokens: int = 0


@dataclass
class Session:
    """A server under test. api: asks with its key; stranger: with a wrong one. wait: until it is healthy.

    budget, deadline: seconds of the gate that is run, and the clock's time when they are over.
    """

    api: Api
    stranger: Api
    model: str
    wait: Callable[[], Answer]
    wishes: Wishes = field(default_factory=Wishes)
    clock: Callable[[], float] = time.monotonic
    budget: float = 0.0
    deadline: float = 0.0

    def seconds(self, whole_budget: bool = False) -> float:
        """What a request may take: what is left of the gate's budget, and no more than one request may."""
        left = self.deadline - self.clock()
        if left <= 0:
            raise GateError("its time budget is spent")
        return left if whole_budget else min(left, self.wishes.request_seconds)

    def payload(self, messages: Any, max_tokens: int | None = None, **more: Any) -> dict[str, Any]:
        """A chat request; a text is what the user asks."""
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        tokens = self.wishes.max_tokens if max_tokens is None else max_tokens
        return {"model": self.model, "messages": messages, "max_tokens": tokens, "temperature": 0, **more}

    def chat(self, messages: Any, max_tokens: int | None = None, whole_budget: bool = False, **more: Any) -> Answer:
        return self.api.call(CHAT, self.payload(messages, max_tokens, **more), seconds=self.seconds(whole_budget))

    def streamed(self, messages: Any, max_tokens: int | None = None, **more: Any) -> Streamed:
        payload = self.payload(messages, max_tokens, stream=True, stream_options={"include_usage": True}, **more)
        return _gates_stream.read(self.api.stream(CHAT, payload, seconds=self.seconds()))


def _health(session: Session) -> str:
    """Healthy, and generating: the budget is the first token's, and begins once /health has answered."""
    _gates.check_health(session.wait())
    session.deadline = session.clock() + session.budget
    answer = session.chat("Hello", max_tokens=1, whole_budget=True)
    if answer.status == 0:
        raise GateError(f"/health answered 200, but no token was generated: {answer.excerpt()}")
    _gates.check_key(answer, CHAT)
    return f"200, {_gates.check_generated(answer)}"


def _auth(session: Session) -> str:
    words = session.payload("Hello", max_tokens=1)
    return _gates_auth.check_refused(
        {
            f"{MODELS} without a key": session.api.call(MODELS, with_key=False, seconds=session.seconds()),
            f"{MODELS} with a wrong key": session.stranger.call(MODELS, seconds=session.seconds()),
            f"{CHAT} without a key": session.api.call(CHAT, words, with_key=False, seconds=session.seconds()),
            f"{CHAT} with a wrong key": session.stranger.call(CHAT, words, seconds=session.seconds()),
        }
    )


def _models(session: Session) -> str:
    return _gates.check_models(session.api.call(MODELS, seconds=session.seconds()), session.model)


def _chat(session: Session) -> str:
    return _gates.check_text(session.chat(session.wishes.prompt))


def _stream(session: Session) -> str:
    streamed = session.streamed(session.wishes.prompt, max_tokens=min(RATE_TOKENS, session.wishes.max_tokens))
    return _gates_stream.check_rate(streamed, session.wishes.least_rate, session.wishes.first_token_seconds)


def _reasoning(session: Session) -> str:
    return _gates_reasoning.check_reasoning(session.chat(_gates_reasoning.ASK))


def _reasoning_stream(session: Session) -> str:
    return _gates_reasoning.check_reasoning_stream(session.streamed(_gates_reasoning.ASK))


def _tools(session: Session) -> str:
    return _gates_tools.check_tools(session.chat(_gates_tools.ASK_ONE, tools=[_gates_tools.WEATHER]))


def _tools_stream(session: Session) -> str:
    return _gates_tools.check_tools_stream(session.streamed(_gates_tools.ASK_ONE, tools=[_gates_tools.WEATHER]))


def _tools_parallel(session: Session) -> str:
    """Two calls at once; a parser may get one call right and lose the second, or give both the same arguments."""
    wanted: dict[str, Any] = {"tools": [_gates_tools.WEATHER], "parallel_tool_calls": True}

    def ask() -> str:
        streamed = session.streamed(_gates_tools.ASK_TWO, **wanted)
        return _gates_tools.check_parallel(streamed, session.chat(_gates_tools.ASK_TWO, **wanted))

    try:
        return ask()
    except _gates_tools.CountsDiffer:
        # Other requests in the same batch change a model's last digits, and so its choice at times; a parser's fault stays.
        return ask()


def _tools_result(session: Session) -> str:
    """The weather round trip: asked, called, the result sent back, answered."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": _gates_tools.ASK_ONE}]
    count = 0
    for _turn in range(_gates_tools.ROUNDS):
        answer = session.chat(messages, tools=[_gates_tools.WEATHER])
        message, finish = _gates_tools.message_of(answer)
        if count and not message.get("tool_calls"):
            return _gates_tools.check_answered(message, finish, count)
        _gates_tools.check_tools(answer)
        messages += _gates_tools.results(message)
        count += len(message["tool_calls"])
    raise GateError(f"after {count} results the model still calls tools and does not answer")


def _context(session: Session) -> str:
    planned = session.wishes.context_tokens
    if not planned:
        raise GateSkipped("the plan does not say how long a request may be")
    cache, device = _gates_context.cache_tokens(session.api.call("/server_info", seconds=session.seconds()))
    why = _gates_context.too_small(planned, cache, device)
    if why:
        raise GateSkipped(why)
    nonce = uuid.uuid4().hex
    short, longer = (
        _gates_context.prompt_tokens(session.chat(_gates_context.prompt(times, nonce), max_tokens=1))
        for times in (_gates_context.SHORT, _gates_context.LONGER)
    )
    wanted = _gates_context.target(planned, cache)
    text = _gates_context.prompt(_gates_context.repeats(wanted, short, longer), uuid.uuid4().hex)
    answer = session.chat(text, max_tokens=_gates_context.ANSWER_TOKENS, whole_budget=True)
    evidence = _gates_context.check_context(answer, wanted)
    return f"{evidence}; the plan reckons with {planned}, the KV cache holds {cache or 'an unknown number'}"


@dataclass(frozen=True)
class Gate:
    """budget: seconds that it may take. needs: "key", or the server argument without which it has no sense."""

    run: Callable[[Session], str]
    budget: float
    needs: str = ""


#: In the order that they are run in. The budget of health is the first token's; the wait for /health comes on top.
GATES: dict[str, Gate] = {
    "health": Gate(_health, 60),
    "auth": Gate(_auth, 60, needs="key"),
    "models": Gate(_models, 30),
    "chat": Gate(_chat, 120),
    "stream": Gate(_stream, 120),
    "reasoning": Gate(_reasoning, 120, needs="reasoning-parser"),
    "reasoning_stream": Gate(_reasoning_stream, 120, needs="reasoning-parser"),
    "tools": Gate(_tools, 120, needs="tool-call-parser"),
    "tools_stream": Gate(_tools_stream, 120, needs="tool-call-parser"),
    "tools_parallel": Gate(_tools_parallel, 120, needs="tool-call-parser"),
    "tools_result": Gate(_tools_result, 240, needs="tool-call-parser"),
    "context": Gate(_context, 600),
}
#: Where one of these fails, the others would only say the same again.
FIRST = ("health", "models")
#: What reading an answer of another shape ends in; deep nesting is a RecursionError.
_OTHER_SHAPE = (AttributeError, LookupError, TypeError, ValueError, RecursionError)


def problems(gates: Iterable[str], budgets: Mapping[str, Any] | None = None) -> list[str]:
    """What is wrong with a choice of gates and with the budgets set for them."""
    unknown = sorted({*gates, *(budgets or {})} - set(GATES))
    told = [f"there is no gate {name}: known are {', '.join(GATES)}" for name in unknown]
    for name, seconds in (budgets or {}).items():
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds <= 0:
            told.append(f"the budget of {name} is {seconds!r}: it must be a number of seconds above 0")
    return told


def supported(server_args: Mapping[str, Any], has_key: bool, wanted: Sequence[str] = ()) -> list[str]:
    """The gates that a planned server goes through, in their order; health is always one.

    server_args: of the plan's instance. wanted: the operator's choice; empty for all. Raises ValueError for an unknown one, and for one
    that this server cannot be put through.
    """
    told = problems(wanted)
    if told:
        raise ValueError("; ".join(told))
    given = {name for name, value in server_args.items() if value is not None and value is not False}
    if has_key:
        given.add("key")
    for name in wanted:
        needs = GATES[name].needs
        if needs and needs not in given:
            what = (
                "fleet_api_key, which is not set"
                if needs == "key"
                else f"the server argument {needs}, which the plan lacks"
            )
            raise ValueError(f"{name} needs {what}")
    chosen = {"health", *(wanted or GATES)}
    return [name for name, gate in GATES.items() if name in chosen and (not gate.needs or gate.needs in given)]


def run(
    session: Session, gates: Collection[str], startup_seconds: float, budgets: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """Puts the server through the gates: [{"gate", "passed", "evidence", "seconds", "budget_seconds"}].

    A gate that had nothing to test has passed, and `"skipped": True`.
    budgets: gate -> seconds, for those that differ from the gate's own. A failed gate does not end the run, but for FIRST's.
    """
    results: list[dict[str, Any]] = []
    for name, gate in GATES.items():
        if name not in gates:
            continue
        budget = float((budgets or {}).get(name, gate.budget))
        whole = budget + (startup_seconds if name == "health" else 0)
        begun = session.clock()
        session.budget, session.deadline = budget, begun + whole
        passed, skipped = False, False
        try:
            evidence, passed = gate.run(session), True
        except GateError as error:
            evidence = str(error)
        except GateSkipped as why:
            evidence, passed, skipped = str(why), True, True
        except _OTHER_SHAPE as error:
            # JSON, but not an OpenAI-compatible server's: a list for a mapping, a text for a number.
            evidence = (
                f"the answer has a shape that no such server's has ({type(error).__name__}: {excerpt(str(error))})"
            )
        seconds = session.clock() - begun
        if passed and seconds > whole:
            evidence, passed = f"it took {seconds:.1f} s, its budget is {whole:g} s ({evidence})", False
        results.append(
            {
                "gate": name,
                "passed": passed,
                # A server's text may have halves of characters, which no JSON of ours may.
                "evidence": evidence.encode("utf-8", "replace").decode(),
                "seconds": round(seconds, 2),
                "budget_seconds": whole,
                **({"skipped": True} if skipped else {}),
            }
        )
        if not passed and name in FIRST:
            break
    return results
