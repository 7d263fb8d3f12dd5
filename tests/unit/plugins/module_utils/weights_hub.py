# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hub of some files in this process, for the tests of the weights: what the Hugging Face client asks, and faults.

Large files are given by a second server at another address, as the real hub does, which must never see the token.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REPOSITORY, REVISION = "org/toy", "1" * 40


def safetensors(size: int, letter: bytes = b"x") -> bytes:
    """A safetensors file of one tensor of `size` bytes."""
    header = json.dumps({"t": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + letter * size


FILES = {
    "config.json": b'{"a": 1}',
    "sub/empty.txt": b"",
    **{f"model-{n:05}-of-00004.safetensors": safetensors(3_000_000 + n, b"%d" % n) for n in (1, 2, 3, 4)},
}


def entries(files: dict[str, bytes] | None = None) -> list[dict[str, Any]]:
    """The files as a lock names them."""
    return [
        {"path": path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for path, data in (FILES if files is None else files).items()
    ]


class Hub:
    """files may be changed by a test; faults: {match, times, and status, retry_after | cut | flip}, the first that matches counts."""

    def __init__(self) -> None:
        self.files = dict(FILES)
        self.faults: list[dict[str, Any]] = []
        self.token = ""
        self.ranges = True
        self.bytes = 0
        self.requests: list[tuple[str, str, str, str]] = []  # method, path, Range, Authorization
        self.endpoint = self.cdn = ""

    def fault(self, path: str, kinds: tuple[str, ...]) -> dict[str, Any]:
        for fault in self.faults:
            if fault["times"] > 0 and re.search(fault["match"], path) and any(kind in fault for kind in kinds):
                fault["times"] -= 1
                return fault
        return {}

    def given(self, path: str) -> int:
        """How often a file was asked for with GET where its bytes are."""
        return sum(method == "GET" and asked.endswith(path) for method, asked, _range, _token in self.requests)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_GET(self) -> None:
        hub = self.hub
        said = self.headers.get("Authorization", "")
        hub.requests.append((self.command, self.path, self.headers.get("Range", ""), said))
        fault = hub.fault(self.path, ("status",))
        if fault:
            more = {"Retry-After": str(fault["retry_after"])} if "retry_after" in fault else {}
            return self.answer(fault["status"], more)
        plain = self.path.partition("/plain/")[2].partition("?")[0]
        from_hub = re.fullmatch(rf"/{REPOSITORY}/resolve/{REVISION}/(.+)", self.path)
        from_cdn = re.fullmatch(r"/cdn/(.+)", self.path)
        if from_cdn and said:
            return self.answer(400, {})
        if from_hub and hub.token and said != f"Bearer {hub.token}":
            return self.answer(401, {})
        path = plain or (from_hub or from_cdn or [None, ""])[1]
        if path not in hub.files:
            return self.answer(404, {})
        if from_hub:
            data = hub.files[path]
            sha256, size = hashlib.sha256(data).hexdigest(), str(len(data))
            headers = {"X-Repo-Commit": REVISION, "ETag": f'"{sha256}"'}
            if path.endswith(".safetensors"):
                linked = {"X-Linked-ETag": f'"{sha256}"', "X-Linked-Size": size, "Location": f"{hub.cdn}/cdn/{path}"}
                return self.answer(302, {**headers, **linked})
            return self.give(path, headers)
        return self.give(path, {})

    do_HEAD = do_GET  # noqa: N815

    def give(self, path: str, headers: dict[str, str]) -> None:
        hub, data = self.hub, self.hub.files[path]
        status, start = 200, 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and hub.ranges:
            status, start = 206, int(asked[1])
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        body = data[start:]
        if self.command == "HEAD":
            return self.answer(200, {**headers, "Content-Length": str(len(data))})
        fault = hub.fault(path, ("cut", "flip"))
        if "flip" in fault:
            place = fault["flip"]
            body = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        short = body[: fault["cut"]] if "cut" in fault else body
        hub.bytes += len(short)
        self.answer(status, {**headers, "Content-Length": str(len(body))}, short)
        if len(short) < len(body):
            self.close_connection = True
            self.connection.close()
        return None


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that answers at hub.endpoint, as long as the block runs."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    servers = [ThreadingHTTPServer((address, 0), handler) for address in ("127.0.0.1", "127.0.0.2")]
    hub.endpoint, hub.cdn = (f"http://{server.server_address[0]!s}:{server.server_address[1]}" for server in servers)
    for server in servers:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
