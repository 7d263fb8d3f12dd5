# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text for a benchmark without the network: conversations in ShareGPT's form, always the same ones. Pure.

sglang.bench_serving's dataset `random` cuts or repeats a conversation's first turn to the length that it has drawn, so
the text decides neither how many prompts there are nor how long they are. It needs more conversations than prompts, with
beginnings that differ, or the prefix cache would answer for the model.
"""

from __future__ import annotations

import hashlib
import json
import random

#: more than any profile has prompts
CONVERSATIONS = 2000

_PEOPLE = (
    "the engineer",
    "a student",
    "our neighbour",
    "the archivist",
    "an old sailor",
    "the committee",
    "a doctor",
    "the gardener",
    "my colleague",
    "the translator",
)
_VERBS = (
    "described",
    "measured",
    "questioned",
    "rebuilt",
    "compared",
    "forgot",
    "photographed",
    "explained",
    "repaired",
    "sold",
    "remembered",
    "counted",
)
_THINGS = (
    "the bridge",
    "a broken clock",
    "the northern harbour",
    "twelve letters",
    "the water supply",
    "an orchard",
    "the second proof",
    "a small telescope",
    "the night train",
    "a recipe for bread",
    "the parser",
    "an empty theatre",
    "the tax records",
    "a map of the coast",
)
_ENDS = (
    "before the winter",
    "without saying why",
    "in three different ways",
    "because nobody else would",
    "on a rainy Tuesday",
    "while the others argued",
    "with surprising patience",
    "after the second attempt",
    "against all advice",
    "for the first time in years",
)
_ASKS = (
    "Summarise this.",
    "What happened next?",
    "Rewrite it as a letter.",
    "List the open questions.",
    "Explain it to a child.",
)


def corpus(conversations: int = CONVERSATIONS) -> str:
    """The JSON text: [{"conversations": [{"from", "value"}, {"from", "value"}]}, …]; the same text in every Python."""
    draw = random.Random(20260101)  # noqa: S311 (no secret); only random() is the same in every version

    def one(choices: tuple[str, ...]) -> str:
        return choices[int(draw.random() * len(choices))]

    def prose(sentences: int) -> str:
        return " ".join(
            f"{one(_PEOPLE).capitalize()} {one(_VERBS)} {one(_THINGS)} {one(_ENDS)}." for _sentence in range(sentences)
        )

    listed = []
    for count in range(conversations):
        # Number first: no two prompts begin alike.
        asked = f"{count * 7919 % 100003}: {prose(2 + int(draw.random() * 60))} {one(_ASKS)}"
        listed.append({"conversations": [{"from": "human", "value": asked}, {"from": "gpt", "value": prose(4)}]})
    return json.dumps(listed)


def sha256(text: str) -> str:
    """Hex digest of the text, which a record names."""
    return hashlib.sha256(text.encode()).hexdigest()
