# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Constant streaming load on a gateway, every request of which is counted: what a rollout may not lose."""

from __future__ import annotations

import http.client
import json
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

WHOLE, CUT, FAILED = "whole", "cut", "failed"
#: Seconds without a byte that end a request: a server that hangs is a lost request, too.
SILENCE = 120
#: Seconds between two requests of one client.
PAUSE = 0.5


@dataclass(frozen=True)
class Counted:
    """started: requests sent. whole: answered to the last word. cut: begun to be answered and not ended. failed: never begun.
    waiting: neither yet. why: of what was lost, the reasons, and how often each."""

    started: int
    whole: int
    cut: int
    failed: int
    waiting: int
    why: Mapping[str, int] = field(default_factory=dict)

    @property
    def lost(self) -> int:
        return self.cut + self.failed


class Load:
    """So many clients that ask one stream after the other, for as long as the block lasts."""

    def __init__(self, url: str, model: str, key: str = "", clients: int = 2, tokens: int = 200) -> None:
        self._url, self._key, self.clients = urlsplit(url), key, clients
        # A random model that would like to stop after a word goes on to the full length, so that streams last.
        self._body = {
            "model": model,
            "stream": True,
            "max_tokens": tokens,
            "ignore_eos": True,
            "temperature": 0,
        }
        self._lock = threading.Lock()
        self._started = 0
        self._ended: Counter[str] = Counter()
        self._why: Counter[str] = Counter()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._go_on, args=(n,), daemon=True) for n in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(SILENCE + 5)

    def counted(self) -> Counted:
        with self._lock:
            ended = {name: self._ended[name] for name in (WHOLE, CUT, FAILED)}
            return Counted(self._started, **ended, waiting=self._started - sum(ended.values()), why=dict(self._why))

    def _go_on(self, number: int) -> None:
        turn = 0
        while not self._stop.is_set():
            turn += 1
            with self._lock:
                self._started += 1
            end, why = self._ask(f"client {number}, turn {turn}: count slowly")
            with self._lock:
                self._ended[end] += 1
                if why:
                    self._why[why] += 1
            self._stop.wait(PAUSE)

    def _ask(self, question: str) -> tuple[str, str]:
        """(how one request ended, why)."""
        connection = http.client.HTTPConnection(self._url.hostname or "", self._url.port, timeout=SILENCE)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"}
        body = {**self._body, "messages": [{"role": "user", "content": question}]}
        answered = False
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            answer = connection.getresponse()
            if answer.status != 200:
                return FAILED, f"{answer.status} {answer.read(300).decode('utf-8', 'replace')}"
            answered = True
            return self._read(answer)
        except (OSError, http.client.HTTPException) as error:
            return CUT if answered else FAILED, str(error) or type(error).__name__

    def _read(self, answer: http.client.HTTPResponse) -> tuple[str, str]:
        """Whole is a stream with a reason for its end, SGLang's last line, and the end of the chunks."""
        reason, done = "", False
        for raw in answer:
            line = raw.decode("utf-8").strip()
            if line == "data: [DONE]":
                done = True
            elif line.startswith("data: "):
                event = json.loads(line[len("data: ") :])
                if "error" in event:
                    return CUT, f"an error in the stream: {line[:300]}"
                reason = next((one["finish_reason"] for one in event["choices"] if one["finish_reason"]), reason)
        if done and reason == "length":
            return WHOLE, ""
        return CUT, f"it ended with {reason or 'no reason'}, {'with' if done else 'without'} [DONE]"


def main() -> None:
    """`python -m tests.lab.stream_load URL MODEL KEY`: until its standard input ends, then the counts."""
    url, model, key = sys.argv[1:4]
    with Load(url, model, key) as load:
        sys.stdin.read()
    sys.stdout.write(f"{load.counted()}\n")


if __name__ == "__main__":
    main()
