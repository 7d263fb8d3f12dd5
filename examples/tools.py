#!/usr/bin/env python3
"""The weather round trip: the model calls a tool, gets the result, answers: tools.py [QUESTION]."""

import json
import os
import sys

from openai import OpenAI

MODEL = os.environ.get("SGLANG_MODEL", "MiniMaxAI/MiniMax-M2.7")
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Get the weather of a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "description": "Name of the city."}},
                "required": ["city"],
            },
        },
    }
]


def get_weather(city: str) -> str:
    """What a real program would look up."""
    return json.dumps({"city": city, "celsius": 22, "sky": "sunny"})


def main() -> None:
    client = OpenAI(
        base_url=os.environ.get("SGLANG_URL", "http://127.0.0.1:30000") + "/v1",
        api_key=os.environ.get("SGLANG_API_KEY", "none"),
    )
    messages = [{"role": "user", "content": " ".join(sys.argv[1:]) or "What is the weather in Paris?"}]
    while True:
        answer = client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS, max_tokens=8192)
        message = answer.choices[0].message
        if not message.tool_calls:
            print(message.content)
            return
        # Back as it came, thinking included; then one result for each call.
        messages.append(message.model_dump(exclude_none=True))
        for call in message.tool_calls:
            print(f"{call.function.name} {call.function.arguments}", file=sys.stderr)
            result = get_weather(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


if __name__ == "__main__":
    main()
