#!/usr/bin/env python3
"""The thinking apart from the answer, as they are streamed: reasoning.py [QUESTION]."""

import os
import sys
from collections.abc import Iterator

from openai import OpenAI

MODEL = os.environ.get("SGLANG_MODEL", "MiniMaxAI/MiniMax-M2.7")
OPEN, CLOSE = "<think>", "</think>"


class Splitter:
    """Tells thinking from answer in a text that comes in pieces; a tag may be spread over several."""

    def __init__(self) -> None:
        self.thinking = False
        self._held = ""

    def feed(self, piece: str) -> Iterator[tuple[bool, str]]:
        """(whether it is thinking, text) of what is certain by now."""
        self._held += piece
        while True:
            tag = CLOSE if self.thinking else OPEN
            before, found, after = self._held.partition(tag)
            if not found:
                break
            if before:
                yield self.thinking, before
            self.thinking, self._held = not self.thinking, after
        # The end may be the beginning of a tag: it is held back until more is known.
        kept = next((n for n in range(len(tag) - 1, 0, -1) if self._held.endswith(tag[:n])), 0)
        certain, self._held = self._held[: len(self._held) - kept], self._held[len(self._held) - kept :]
        if certain:
            yield self.thinking, certain

    def end(self) -> Iterator[tuple[bool, str]]:
        """What was held back, once nothing more comes."""
        if self._held:
            yield self.thinking, self._held
            self._held = ""


def show(thinking: bool, text: str) -> None:
    """Thinking goes to stderr, so that `reasoning.py > answer.txt` has the answer alone."""
    print(text, end="", flush=True, file=sys.stderr if thinking else sys.stdout)


def main() -> None:
    client = OpenAI(
        base_url=os.environ.get("SGLANG_URL", "http://127.0.0.1:30000") + "/v1",
        api_key=os.environ.get("SGLANG_API_KEY", "none"),
    )
    question = " ".join(sys.argv[1:]) or "Solve this step by step: what is 15% of 240?"
    stream = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": question}], max_tokens=8192, stream=True
    )
    splitter = Splitter()
    for event in stream:
        if not event.choices:
            continue
        delta = event.choices[0].delta
        if getattr(delta, "reasoning_content", None):
            show(True, delta.reasoning_content)
        for thinking, text in splitter.feed(delta.content or ""):
            show(thinking, text)
    for thinking, text in splitter.end():
        show(thinking, text)
    print()


if __name__ == "__main__":
    main()
