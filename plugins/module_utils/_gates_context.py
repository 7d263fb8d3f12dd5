# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate on a long context: a prompt that fills nearly all that the plan allows. Pure.

How many tokens a text has, the server says itself: two short prompts tell what a repeat of the filler costs with this
model's tokenizer, and what the chat template adds.
"""

from __future__ import annotations

from ansible_collections.sglang.fleet.plugins.module_utils._gates import Answer, GateError, first_choice

FILLER = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.\n"
#: How often the filler stands in the two short prompts.
SHORT, LONGER = 1, 21
#: Tokens of the answer, and what is left free beside it (SGLang itself keeps 6: max_req_input_len).
ANSWER_TOKENS, MARGIN_TOKENS = 32, 64
#: A server whose KV cache holds less than this share of the plan's figure is not the one that was planned.
LEAST_SHARE = 0.5


def prompt(repeats: int, nonce: str) -> str:
    """A prompt with so many repeats of the filler. nonce: makes it one that no prefix cache has."""
    return f"Run {nonce}.\n{FILLER * repeats}Say in one word whether you have read all of it."


def prompt_tokens(answer: Answer) -> int:
    """usage's prompt_tokens. Raises GateError where the answer has none."""
    first_choice(answer)
    tokens = (answer.json().get("usage") or {}).get("prompt_tokens")
    if not tokens:
        raise GateError(f"the answer's usage has no prompt_tokens: {answer.excerpt()}")
    return int(tokens)


def cache_tokens(info: Answer) -> tuple[int | None, str]:
    """(tokens in the server's KV cache, what it runs on: cuda, cpu, …), out of `/server_info`; None, "" where it does not say.

    What else is in there stays out of every message: the server's arguments, and with them its key.
    """
    if info.status != 200:
        return None, ""
    try:
        told = info.json()
    except GateError:
        return None, ""
    if not isinstance(told, dict):
        return None, ""
    tokens = told.get("max_total_num_tokens")
    return (tokens if isinstance(tokens, int) and tokens > 0 else None), str(told.get("device") or "")


def too_small(planned: int, cache: int | None, device: str = "") -> str:
    """Why there is nothing to be tested near the plan's limit; empty where there is.

    planned: tokens of the longest request by the plan's fit. cache: tokens of the server's KV cache, where it is known.
    Raises GateError where it holds much less than was planned, unless the server runs on no GPU at all.
    """
    if cache is not None and cache < planned * LEAST_SHARE:
        found = f"the server's KV cache holds {cache} tokens, the plan reckons with a context of {planned}"
        if device == "cpu":
            return f"{found}, which is a GPU's, and it runs on a CPU"
        raise GateError(f"{found}: something else may hold the GPUs' memory (sglang-fleet doctor looks)")
    if planned <= 2 * (ANSWER_TOKENS + MARGIN_TOKENS):
        return f"a context of {planned} tokens is too short to be filled"
    return ""


def target(planned: int, cache: int | None) -> int:
    """Tokens that the prompt should have."""
    return min(planned, cache or planned) - ANSWER_TOKENS - MARGIN_TOKENS


def repeats(wanted: int, short: int, longer: int) -> int:
    """How often the filler must stand for a prompt of `wanted` tokens at most.

    short, longer: tokens of the prompts with SHORT and LONGER repeats.
    """
    each = (longer - short) / (LONGER - SHORT)
    if each <= 0:
        raise GateError(f"usage says {short} prompt tokens for a short prompt and {longer} for a longer one")
    return max(int((wanted - short) // each) + SHORT, SHORT)


def check_context(answer: Answer, wanted: int) -> str:
    """The long prompt was taken whole, and answered."""
    if answer.status == 400:
        raise GateError(f"a prompt of about {wanted} tokens was refused: {answer.excerpt()}")
    taken = prompt_tokens(answer)
    if taken < wanted * 0.95:
        raise GateError(f"the prompt was meant to have {wanted} tokens, usage says {taken}: was it cut?")
    if not (answer.json().get("usage") or {}).get("completion_tokens"):
        raise GateError(f"a prompt of {taken} tokens got no token for an answer: {answer.excerpt()}")
    return f"a prompt of {taken} tokens was answered"
