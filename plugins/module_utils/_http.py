# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP to a server on the same node, with the standard library.

http.client rather than urllib: a proxy in a node's environment has no business between a node and its own server.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils._gates import Answer, GateError, excerpt
from ansible_collections.sglang.fleet.plugins.module_utils._gates_stream import BrokenError

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_CHUNK = 65536


def base_url(address: str, port: int) -> str:
    """The URL of a server on that address; an IPv6 address stands in brackets."""
    return f"http://{f'[{address}]' if ':' in address else address}:{port}"


class _Late(Exception):  # noqa: N818 - the deadline of a request has passed
    """The time of a request is up."""


@dataclass(frozen=True)
class Client:
    """One server's API. address: what it listens on; a wildcard is asked over loopback. seconds: for one request, whole."""

    address: str
    port: int
    key: str | None = None
    seconds: float = 120

    @property
    def base(self) -> str:
        """The server's URL, for messages."""
        return base_url(self.address, self.port)

    def call(
        self,
        path: str,
        payload: Mapping[str, Any] | None = None,
        with_key: bool = True,
        seconds: float | None = None,
    ) -> Answer:
        """GET, or POST where there is a payload. No answer is an Answer of status 0 that says why.

        seconds: within which the whole answer has to be there; left out, the client's own.
        """
        within = self.seconds if seconds is None else seconds
        try:
            with self._asked(path, payload, with_key, within) as (status, chunks):
                return Answer(status, b"".join(chunk for _seconds, chunk in chunks).decode("utf-8", "replace"))
        except (_Late, TimeoutError):
            return Answer(0, f"no answer within {within:.1f} s")
        except (OSError, http.client.HTTPException) as error:
            return Answer(0, str(error) or type(error).__name__)

    def stream(
        self, path: str, payload: Mapping[str, Any], seconds: float | None = None
    ) -> Iterator[tuple[float, bytes]]:
        """POST, and the answer's bytes as they come, each with the seconds since the request.

        Raises GateError for another status than 200, BrokenError where the time is up or the connection ends before its time.
        """
        within = self.seconds if seconds is None else seconds
        try:
            with self._asked(path, payload, True, within) as (status, chunks):
                if status != 200:
                    body = b"".join(chunk for _seconds, chunk in chunks).decode("utf-8", "replace")
                    raise GateError(f"{path} answered {status} ({excerpt(body)}), wanted 200")
                yield from chunks
        except (_Late, TimeoutError):
            raise BrokenError(f"it was not at its end within {within:.1f} s") from None
        except (OSError, http.client.HTTPException) as error:
            raise BrokenError(str(error) or type(error).__name__) from None

    @contextmanager
    def _asked(
        self, path: str, payload: Mapping[str, Any] | None, with_key: bool, seconds: float
    ) -> Iterator[tuple[int, Iterator[tuple[float, bytes]]]]:
        """(status, chunks of the body) of a request. Chunks come as they do, and end with _Late when the time is up."""
        headers = {"Content-Type": "application/json"}
        if self.key and with_key:
            headers["Authorization"] = f"Bearer {self.key}"
        body = None if payload is None else json.dumps(payload)
        begun = time.monotonic()
        host = _WILDCARDS.get(self.address, self.address)
        connection = http.client.HTTPConnection(host, self.port, timeout=max(seconds, 0.001))
        try:
            connection.request("GET" if body is None else "POST", path, body, headers)
            socket = connection.sock  # the connection may let go of it once the answer has begun
            answer = connection.getresponse()

            def chunks() -> Iterator[tuple[float, bytes]]:
                while True:
                    left = begun + seconds - time.monotonic()
                    if left <= 0:
                        raise _Late
                    socket.settimeout(left)
                    chunk = answer.read1(_CHUNK)
                    if not chunk:
                        return
                    yield time.monotonic() - begun, chunk

            yield answer.status, chunks()
        finally:
            connection.close()
