# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP to a server on the same node, with the standard library.

http.client rather than urllib: a proxy in a node's environment has no business between a node and its own server.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils._gates import Answer

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def base_url(address: str, port: int) -> str:
    """The URL of a server on that address; an IPv6 address stands in brackets."""
    return f"http://{f'[{address}]' if ':' in address else address}:{port}"


@dataclass(frozen=True)
class Client:
    """One server's API. address: what it listens on; a wildcard is asked over loopback. seconds: for one request."""

    address: str
    port: int
    key: str | None = None
    seconds: float = 120

    @property
    def base(self) -> str:
        """The server's URL, for messages."""
        return base_url(self.address, self.port)

    def call(self, path: str, payload: Mapping[str, Any] | None = None, with_key: bool = True) -> Answer:
        """GET, or POST where there is a payload. No answer is an Answer of status 0 that says why."""
        headers = {"Content-Type": "application/json"}
        if self.key and with_key:
            headers["Authorization"] = f"Bearer {self.key}"
        body = None if payload is None else json.dumps(payload)
        host = _WILDCARDS.get(self.address, self.address)
        connection = http.client.HTTPConnection(host, self.port, timeout=self.seconds)
        try:
            connection.request("GET" if body is None else "POST", path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read().decode("utf-8", "replace"))
        except (OSError, http.client.HTTPException) as error:
            return Answer(0, str(error) or type(error).__name__)
        finally:
            connection.close()
