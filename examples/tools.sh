#!/usr/bin/env bash
# A tool call with curl: the answer's tool_calls name the tool and its arguments. SGLANG_URL, SGLANG_MODEL, SGLANG_API_KEY: see README.md.
set -euo pipefail

curl --fail-with-body --silent --show-error \
  --header "Content-Type: application/json" \
  --header @<(printf 'Authorization: Bearer %s\n' "${SGLANG_API_KEY:-none}") \
  --data @- "${SGLANG_URL:-http://127.0.0.1:30000}/v1/chat/completions" <<JSON
{
  "model": "${SGLANG_MODEL:-MiniMaxAI/MiniMax-M2.7}",
  "messages": [{"role": "user", "content": "What is the weather in Paris?"}],
  "max_tokens": 8192,
  "tools": [{
    "type": "function",
    "function": {
      "name": "get_weather",
      "description": "Get the weather of a city.",
      "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "Name of the city."}},
        "required": ["city"]
      }
    }
  }]
}
JSON
