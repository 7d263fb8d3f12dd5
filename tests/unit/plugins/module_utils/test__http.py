# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._gates import Answer
from ansible_collections.sglang.fleet.plugins.module_utils._http import Client


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        text = f"{self.command} {self.path} {self.headers.get('Authorization')} {self.rfile.read(length).decode()}"
        self.send_response(401 if self.path == "/refused" else 200)
        self.end_headers()
        self.wfile.write(text.encode())

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *_words: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def test_a_get_and_a_post(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    client = Client("0.0.0.0", port, "k3y")
    assert client.call("/health") == Answer(200, "GET /health Bearer k3y ")
    assert client.call("/x", {"a": 1}, with_key=False) == Answer(200, 'POST /x None {"a": 1}')


def test_a_refusal_is_an_answer(port: int) -> None:
    assert Client("127.0.0.1", port).call("/refused").status == 401


def test_nothing_there_is_status_0() -> None:
    answer = Client("127.0.0.1", 9, seconds=2).call("/health")
    assert answer.status == 0
    assert "refused" in answer.body


@pytest.mark.parametrize(
    ("address", "base"), [("10.0.0.1", "http://10.0.0.1:30000"), ("fd00::1", "http://[fd00::1]:30000")]
)
def test_the_base_is_a_url(address: str, base: str) -> None:
    assert Client(address, 30000).base == base
