#!/usr/bin/env bash
# One chat turn with curl. SGLANG_URL, SGLANG_MODEL, SGLANG_API_KEY: see README.md.
set -euo pipefail

curl --fail-with-body --silent --show-error \
  --header "Content-Type: application/json" \
  --header @<(printf 'Authorization: Bearer %s\n' "${SGLANG_API_KEY:-none}") \
  --data @- "${SGLANG_URL:-http://127.0.0.1:30000}/v1/chat/completions" <<JSON
{
  "model": "${SGLANG_MODEL:-MiniMaxAI/MiniMax-M2.7}",
  "messages": [{"role": "user", "content": "Say hello in one short sentence."}],
  "max_tokens": 2048
}
JSON
