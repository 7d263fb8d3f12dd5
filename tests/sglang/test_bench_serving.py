# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark's command, run by the sglang.bench_serving of each version against a server that answers at once."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from images import host

from ansible_collections.sglang.fleet.plugins.module_utils import _bench, _bench_corpus
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import read_data

pytestmark = pytest.mark.lab

KEY = "s3cret-key-of-the-server"
DATA = read_data()
LOW = {**DATA["benchmark_profiles"]["low"], "name": "low"}
#: the published run of the same load: whoever runs it asks for as many tokens
PUBLISHED = DATA["references"]["minimax-m2.1-4xmi300x-speed-c1"]["metrics"]


class Api(BaseHTTPRequestHandler):
    """The endpoints that the tool asks; its log is in `server.seen`."""

    def _send(self, body: bytes, kind: str = "application/json") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _allowed(self) -> bool:
        self.server.seen.append(self.path)  # type: ignore[attr-defined]
        if self.headers["Authorization"] == f"Bearer {KEY}":
            return True
        self.send_error(401)
        return False

    def do_GET(self) -> None:
        if self._allowed():
            self._send(json.dumps({"data": [{"id": "m"}], "api_key": KEY}).encode())

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if not self._allowed():
            return
        if self.path == "/flush_cache":
            self._send(b"Cache flushed.")
            return
        wanted = json.loads(sent)["sampling_params"]["max_new_tokens"]
        events = [
            json.dumps({"text": " a" * count, "meta_info": {"completion_tokens": count, "prompt_tokens": 1}})
            for count in ((1, wanted) if wanted > 1 else (1,))
        ]
        self._send("".join(f"data: {event}\n\n" for event in [*events, "[DONE]"]).encode(), "text/event-stream")

    def log_message(self, *_words: object) -> None:
        """Quiet."""


@pytest.fixture
def api() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    server.seen = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def run(version: str, api: ThreadingHTTPServer, folder: Path) -> subprocess.CompletedProcess[str]:
    """The words behind `docker exec … timeout …`, in the environment that they set up."""
    corpus = folder / "corpus.json"
    corpus.write_text(_bench_corpus.corpus())
    model = {"path": str(host.checkpoint(version)), "served": "m"}
    words = _bench.command(LOW, "c", f"http://127.0.0.1:{api.server_address[1]}", model, str(corpus), True)
    settings = [word[len("--env=") :] for word in words if word.startswith("--env=")]
    python, environment = host.sglang_python(version)
    environment.update(setting.split("=", 1) for setting in settings if "=" in setting)
    environment["OPENAI_API_KEY"] = KEY
    command = [*python, *words[words.index("python3") + 1 :]]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.parametrize("version", host.sglang_versions())
def test_the_real_tool_takes_the_command_and_its_output_is_read(
    version: str, api: ThreadingHTTPServer, tmp_path: Path
) -> None:
    done = run(version, api, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    settings, metrics = _bench.parse_output(done.stdout)
    _bench.check(LOW, settings, metrics)
    # Our own text gives the published run's numbers of tokens, and what is printed is no more than what is known.
    for key in ("completed", "total_input_tokens", "total_input_text_tokens", "total_output_tokens"):
        assert metrics[key] == PUBLISHED[key], key
    assert set(PUBLISHED) - {"total_input_vision_tokens"} <= set(metrics)
    assert settings["request_rate"] == "inf"
    _block_settings, printed = _bench.parse_blocks(done.stdout[: done.stdout.rindex('{"')])[0]
    assert {key: value for key, value in printed.items() if abs(metrics[key] - value) > 0.0051} == {}
    # The tool's line holds the key, the record does not; and nothing of it lies about.
    assert KEY in done.stdout
    assert KEY not in json.dumps(_bench.record("low", settings, metrics, {}, ""))
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.json"]
    seen: list[Any] = api.seen  # type: ignore[attr-defined]
    # One warm-up, the flush, then the load: none of it was refused.
    generated = [path for path in seen if path in ("/generate", "/flush_cache")]
    assert generated == ["/generate", "/flush_cache", *["/generate"] * LOW["num_prompts"]]
