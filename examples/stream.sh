#!/usr/bin/env bash
# A streamed chat turn with curl: one event a line, the last is "data: [DONE]". SGLANG_URL, SGLANG_MODEL, SGLANG_API_KEY: see README.md.
set -euo pipefail

curl --fail-with-body --silent --show-error --no-buffer \
  --header "Content-Type: application/json" \
  --header @<(printf 'Authorization: Bearer %s\n' "${SGLANG_API_KEY:-none}") \
  --data @- "${SGLANG_URL:-http://127.0.0.1:30000}/v1/chat/completions" <<JSON
{
  "model": "${SGLANG_MODEL:-MiniMaxAI/MiniMax-M2.7}",
  "messages": [{"role": "user", "content": "Solve this step by step: what is 15% of 240?"}],
  "max_tokens": 8192,
  "stream": true
}
JSON
