#!/usr/bin/env python3
"""One chat turn: chat.py [QUESTION]."""

import os
import sys

from openai import OpenAI

MODEL = os.environ.get("SGLANG_MODEL", "MiniMaxAI/MiniMax-M2.7")


def main() -> None:
    client = OpenAI(
        base_url=os.environ.get("SGLANG_URL", "http://127.0.0.1:30000") + "/v1",
        api_key=os.environ.get("SGLANG_API_KEY", "none"),
    )
    question = " ".join(sys.argv[1:]) or "Say hello in one short sentence."
    answer = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": question}], max_tokens=2048
    )
    # With a reasoning parser the thinking comes first; reasoning.py shows how to tell it apart.
    print(answer.choices[0].message.content)


if __name__ == "__main__":
    main()
