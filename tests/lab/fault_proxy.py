# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proxies before an SGLang server, each with a fault of its own: fault_proxy.py SERVER_URL FAULT=PORT…

Standard library only: it runs on a node, one port for each fault, on the server's own address. Answers go on as they
come, event by event. The server behind has no key: the proxies ask for KEY in its place and refuse as SGLang does. The
toy model makes one call however many are asked for: where London is, too, the proxies add a second call.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "gates-sentinel-key-0123456789"
TOKEN_SECONDS = 3
CHAT = "/v1/chat/completions"
CLOSE = "</think>"
LONDON = '{"city": "London"}'

Choice = dict[str, Any]


def never_closed(choice: Choice) -> None:
    """The thinking never ends, in a whole answer or an event."""
    for part in (choice.get("message"), choice.get("delta")):
        if part and part.get("content"):
            part["content"] = part["content"].replace(CLOSE, "")


def cut_arguments(choice: Choice) -> None:
    """Tool calls' arguments lack their end where they are streamed, as of sglang#23071."""
    for call in (choice.get("delta") or {}).get("tool_calls") or []:
        function = call.get("function") or {}
        function["arguments"] = (function.get("arguments") or "").replace("}", "")


#: What a fault makes of each choice of an answer or of an event.
CHANGES: dict[str, Callable[[Choice], None]] = {"never-closed": never_closed, "arguments-cut": cut_arguments}
FAULTS = (
    "none",
    "hung",
    "wrong-name",
    "slow",
    "no-key-check",
    "tags-scattered",
    "call-lost",
    *CHANGES,
)


def second_call() -> dict[str, Any]:
    return {"id": "call_london", "index": 1, "function": {"name": "get_weather", "arguments": LONDON}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fault = ""
    server_url: urllib.parse.SplitResult

    def log_message(self, *_words: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, body: bytes | None) -> None:
        self.close_connection = True
        if self._refused():
            self._send(401, b'{"error":"Unauthorized"}')
        elif self.fault == "hung" and self.path == CHAT:
            # /health and /health_generate go on answering 200. SGLang answers both without a token of their own while
            # a batch runs (Scheduler.maybe_send_health_check_signal), and /health where
            # SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION is false.
            self.connection.recv(1)  # until the client goes
        else:
            self._pass_on(body)

    def _refused(self) -> bool:
        if self.path.startswith("/health") or self.fault == "no-key-check":
            return False
        return self.headers.get("Authorization") != f"Bearer {KEY}"

    def _pass_on(self, body: bytes | None) -> None:
        asked = json.loads(body) if body else {}
        connection = http.client.HTTPConnection(self.server_url.hostname or "", self.server_url.port, timeout=300)
        try:
            connection.request(self.command, self.path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            if "event-stream" in answer.headers.get("Content-Type", ""):
                self._stream(asked, answer)
            else:
                self._whole(asked, answer)
        finally:
            connection.close()

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _whole(self, asked: dict[str, Any], answer: http.client.HTTPResponse) -> None:
        body = answer.read()
        if answer.status == 200 and self.path in (CHAT, "/v1/models"):
            told = json.loads(body)
            if self.fault == "wrong-name" and self.path == "/v1/models":
                told["data"][0]["id"] = "MiniMaxAI/MiniMax-M2"
            for choice in told.get("choices") or []:
                calls = choice["message"].get("tool_calls")
                if calls and wants_two(asked):
                    calls.append({"type": "function", **second_call()})
                self._change(choice)
            if self.fault == "slow":
                time.sleep(TOKEN_SECONDS * (told.get("usage") or {}).get("completion_tokens", 0))
            body = json.dumps(told).encode()
        self._send(answer.status, body)

    def _change(self, choice: Choice) -> None:
        if self.fault in CHANGES:
            CHANGES[self.fault](choice)

    def _stream(self, asked: dict[str, Any], answer: http.client.HTTPResponse) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers["Content-Type"])
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        for line in answer:
            if not line.startswith(b"data: {"):
                if line.strip():
                    self._chunk(line.strip() + b"\n\n")
                continue
            for event in self._events(asked, json.loads(line[6:])):
                if self.fault == "slow" and has_token(event):
                    time.sleep(TOKEN_SECONDS)
                self._chunk(f"data: {json.dumps(event)}\n\n".encode())
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        pieces = [data]
        if self.fault == "tags-scattered" and data:
            pieces = [data[start : start + 7] for start in range(0, len(data), 7)]
        for piece in pieces:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()

    def _events(self, asked: dict[str, Any], event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """What goes on in the place of one event."""
        for choice in event.get("choices") or []:
            if choice.get("finish_reason") == "tool_calls" and wants_two(asked) and self.fault != "call-lost":
                added = {"index": 0, "delta": {"tool_calls": [second_call()]}, "finish_reason": None}
                self._change(added)
                yield {**event, "choices": [added]}
            self._change(choice)
            content = (choice.get("delta") or {}).get("content")
            if self.fault == "tags-scattered" and content:
                for letter in content:
                    yield {**event, "choices": [{**choice, "delta": {"content": letter}, "finish_reason": None}]}
                choice["delta"] = {"content": ""}
        yield event


def wants_two(asked: dict[str, Any]) -> bool:
    return "London" in str((asked.get("messages") or [{}])[-1].get("content"))


def has_token(event: dict[str, Any]) -> bool:
    deltas = [choice.get("delta") or {} for choice in event.get("choices") or []]
    return any(delta.get("content") or delta.get("tool_calls") for delta in deltas)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, as it does when its time is up."""


def serve(url: str, ports: dict[str, int]) -> None:
    """Never returns."""
    server_url = urllib.parse.urlsplit(url)
    servers = []
    for fault, port in ports.items():
        if fault not in FAULTS:
            raise SystemExit(f"there is no fault {fault}: known are {', '.join(FAULTS)}")
        handler = type("Faulty", (Handler,), {"fault": fault, "server_url": server_url})
        servers.append(Server((server_url.hostname or "", port), handler))
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    serve(sys.argv[1], {fault: int(port) for fault, _sign, port in (word.partition("=") for word in sys.argv[2:])})
