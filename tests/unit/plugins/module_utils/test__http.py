# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._gates import Answer, GateError
from ansible_collections.sglang.fleet.plugins.module_utils._gates_stream import BrokenError
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


@pytest.fixture(params=[None])
def dripping(request: pytest.FixtureRequest) -> Iterator[int]:
    """A server that sends a letter each twentieth of a second, without an end or (param) so many and then nothing."""
    listening = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        peer, _address = listening.accept()
        with peer:
            peer.recv(65536)
            peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            sent = 0
            while not over.wait(0.05):
                sent += 1
                try:
                    if request.param is None or sent <= request.param:
                        peer.sendall(b"x")
                except OSError:
                    return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listening.getsockname()[1]
    over.set()
    thread.join()
    listening.close()


def test_the_time_is_for_the_whole_answer(dripping: int) -> None:
    begun = time.monotonic()
    assert Client("127.0.0.1", dripping).call("/x", seconds=0.3) == Answer(0, "no answer within 0.3 s")
    assert time.monotonic() - begun < 1


def test_a_stream_gives_what_came_and_then_breaks(dripping: int) -> None:
    came: list[tuple[float, bytes]] = []
    with pytest.raises(BrokenError) as error:
        came.extend(Client("127.0.0.1", dripping, seconds=9).stream("/x", {}, seconds=0.3))
    assert str(error.value) == "it was not at its end within 0.3 s"
    assert 2 <= len(came) <= 7
    assert [second for second, _bytes in came] == sorted(second for second, _bytes in came)
    assert b"".join(piece for _second, piece in came) == b"x" * sum(len(piece) for _second, piece in came)


@pytest.mark.parametrize("dripping", [6], indirect=True)
def test_what_came_does_not_prolong_the_time(dripping: int) -> None:
    begun = time.monotonic()
    assert Client("127.0.0.1", dripping).call("/x", seconds=0.5).status == 0
    assert time.monotonic() - begun < 0.7


@pytest.mark.parametrize("dripping", [None], indirect=True)
def test_a_reader_that_is_late_itself_ends_too(dripping: int) -> None:
    stream = Client("127.0.0.1", dripping).stream("/x", {}, seconds=0.2)
    next(stream)
    time.sleep(0.3)
    with pytest.raises(BrokenError, match=r"it was not at its end within 0.2 s"):
        next(stream)


def test_a_stream_has_the_key(port: int) -> None:
    ((_seconds, text),) = Client("127.0.0.1", port, "k3y").stream("/x", {"a": 1})
    assert text == b'POST /x Bearer k3y {"a": 1}'


def test_a_stream_that_is_refused(port: int) -> None:
    with pytest.raises(GateError) as error:
        list(Client("127.0.0.1", port).stream("/refused", {}))
    assert str(error.value) == "/refused answered 401 (POST /refused None {}), wanted 200"


def test_a_stream_of_nothing_is_broken() -> None:
    with pytest.raises(BrokenError, match="refused"):
        list(Client("127.0.0.1", 9, seconds=2).stream("/x", {}))
