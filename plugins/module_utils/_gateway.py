# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The SGLang gateway's workers: which it should have, which it has, and what still runs on one.

The role sglang_gateway puts this very file on the gateway's host, where `keep-workers` imports it: it needs the standard
library alone. What the gateway does is measured in docs/decisions/0018-gateway.md, with sglang-router 0.3.2.

The files of a gateway's host:
- config.json: {"args": [str], "api_key": str}, the router's own command line words and the key of clients. Another one is
  a new start of the gateway, which workers.json is not.
- workers.json: {"address": str, "port": int, "metrics_address": str, "metrics_port": int, "worker_key": str,
  "workers": [{"url": str, "host": str, "instance": str}]}.
- out.json: {url: why}, the workers that are to get no requests. It outlives the gateway, which forgets its workers.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

CONFIG = "/etc/sglang-gateway/workers.json"
ADMIN_KEY = "/etc/sglang-gateway/admin-key"
OUT = "/var/lib/sglang-fleet/gateway/out.json"

_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_ACTIVE = re.compile(r'^smg_worker_requests_active\{worker="([^"]+)"\}\s+([0-9.eE+-]+)\s*$', re.MULTILINE)


class GatewayError(Exception):
    """The gateway or a file of it is not as it has to be; the text says what was found and what to do."""


@dataclass(frozen=True)
class Worker:
    """A worker that the gateway has. load: requests that it has given the worker and that are not at their end."""

    id: str
    url: str
    healthy: bool
    load: int


def registered(body: str) -> dict[str, Worker]:
    """By URL, what GET /workers lists. A worker that is still being added is not in it."""
    try:
        found = [
            Worker(entry["id"], entry["url"], bool(entry["is_healthy"]), int(entry["load"]))
            for entry in json.loads(body)["workers"]
        ]
    except (ValueError, KeyError, TypeError):
        raise GatewayError(f"the gateway's list of workers is none: {body[:200]!r}") from None
    return {worker.url: worker for worker in found}


def active(metrics: str) -> dict[str, int]:
    """By URL, the requests in flight to each worker, from the gateway's Prometheus text.

    Not for a worker that was removed: its count is set to 0 then, and to what is left when one of its requests ends.
    """
    return {url: int(float(count)) for url, count in _ACTIVE.findall(metrics)}


def changes(
    wanted: Collection[str], out: Collection[str], has: Collection[str], answers: Callable[[str], bool]
) -> tuple[list[str], list[str]]:
    """(to add, to remove), URLs in order.

    Only a worker that answers is added: the gateway goes on trying one that does not, no removal stops it, and it would get
    requests the moment it is up, gates or no gates.
    """
    right = set(wanted) - set(out)
    return [url for url in sorted(right - set(has)) if answers(url)], sorted(set(has) - right)


def taken_out(before: Mapping[str, str], urls: Collection[str], why: str) -> dict[str, str]:
    """out.json's new content with these taken out. What is out already keeps its reason."""
    return {**dict.fromkeys(urls, why), **before}


def put_in(before: Mapping[str, str], urls: Collection[str]) -> dict[str, str]:
    """out.json's new content with these put back."""
    return {url: why for url, why in before.items() if url not in urls}


def stays_up(has: Mapping[str, Worker], urls: Collection[str], at_least: int) -> str:
    """Why these may not be taken out, or an empty text: so many healthy workers have to be left."""
    if not any(url in has for url in urls):
        return ""  # they get no requests as it is
    left = [worker for worker in has.values() if worker.healthy and worker.url not in urls]
    if len(left) >= at_least:
        return ""
    return (
        f"without {', '.join(sorted(urls))} the gateway would have {len(left)} healthy workers of {len(has)}, and {at_least} have to"
        " stay. Wait until others are back, or allow fewer. Nothing was taken out"
    )


def number(value: Any) -> int:
    """A count out of JSON; what is none raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{value!r} is no number")
    return int(value)


def running(body: str) -> int:
    """Requests that a server runs or has waiting, from its GET /v1/loads (SGLang 0.5.9 and newer) or GET /get_load.

    Raises ValueError for what is neither.
    """
    data = json.loads(body)
    if isinstance(data, dict) and isinstance(data.get("loads"), list) and data["loads"]:
        return sum(number(load["num_running_reqs"]) + number(load["num_waiting_reqs"]) for load in data["loads"])
    if isinstance(data, list) and data:
        return sum(number(load["num_reqs"]) + number(load["num_waiting_reqs"]) for load in data)
    raise ValueError("no loads in it")


def url_of(address: str, port: int) -> str:
    """A worker's URL as the gateway writes it; an IPv6 address stands in brackets."""
    return f"http://{f'[{address}]' if ':' in address else address}:{port}"


def ask(
    url: str, path: str, key: str = "", method: str = "GET", payload: Any = None, seconds: float = 5
) -> tuple[int, str]:
    """(status, body) of one request; status 0 where there was no answer, with the reason as the body."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection = http.client.HTTPConnection(_LOOPBACK.get(host, host), parts.port, timeout=seconds)
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    try:
        connection.request(method, path, None if payload is None else json.dumps(payload), headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error) or type(error).__name__
    finally:
        connection.close()


def answers(url: str) -> bool:
    """Whether a worker says that it is up. SGLang's /health asks for no key and generates a token."""
    return ask(url, "/health", seconds=10)[0] == 200


@dataclass(frozen=True)
class Gateway:
    """One gateway, asked on its own host. config: workers.json's content. admin_key: the one of its /workers."""

    config: Mapping[str, Any]
    admin_key: str

    @property
    def url(self) -> str:
        """The gateway's own URL."""
        return url_of(self.config["address"], self.config["port"])

    @property
    def wanted(self) -> list[str]:
        """The URLs that it is configured with."""
        return [worker["url"] for worker in self.config["workers"]]

    def workers(self) -> dict[str, Worker]:
        """The workers that it has. Raises GatewayError where it does not answer."""
        return registered(self._asked("/workers"))

    def active(self) -> dict[str, int]:
        """The requests in flight to each worker that ever was one."""
        url = url_of(self.config["metrics_address"], self.config["metrics_port"])
        status, body = ask(url, "/metrics")
        if status != 200:
            raise GatewayError(
                f"{url}/metrics answered {status or 'nothing'} ({body[:200]}). Is sglang-gateway running?"
            )
        return active(body)

    def add(self, url: str) -> None:
        """Have it take a worker in. It does so by itself, within seconds of a worker that answers."""
        key = self.config.get("worker_key")
        self._asked("/workers", "POST", {"url": url, **({"api_key": key} if key else {})}, wanted=(200, 202))

    def remove(self, worker: Worker) -> None:
        """Have it give a worker no more requests. Those in flight come to their end."""
        self._asked(f"/workers/{worker.id}", "DELETE", wanted=(200, 202, 404))

    def sync(self, out: Collection[str], alive: Callable[[str], bool] = answers) -> tuple[list[str], list[str]]:
        """Bring it to the workers that it should have. Returns the URLs (added, removed)."""
        has = self.workers()
        add, remove = changes(self.wanted, out, list(has), alive)
        for url in remove:
            self.remove(has[url])
        for url in add:
            self.add(url)
        return add, remove

    def _asked(self, path: str, method: str = "GET", payload: Any = None, wanted: Collection[int] = (200,)) -> str:
        status, body = ask(self.url, path, self.admin_key, method, payload)
        if status not in wanted:
            raise GatewayError(
                f"the gateway at {self.url} answered {method} {path.split('/')[1]} with {status or 'nothing'} ({body[:200]})."
                " `journalctl -u sglang-gateway` says why"
            )
        return body


def wait(true: Callable[[], bool], seconds: float, every: float = 0.5) -> bool:
    """Whether it came true within so many seconds; asked at least once."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() >= end:
            return False
        time.sleep(every)
    return True


def read_json(path: str, otherwise: Any) -> Any:
    """A JSON file's content; `otherwise` where there is no such file. Raises GatewayError for what is not JSON."""
    try:
        with open(path, encoding="utf-8") as handle:
            return json.load(handle)
    except FileNotFoundError:
        return otherwise
    except ValueError as error:
        raise GatewayError(f"{path} is not JSON ({error}). Run playbooks/gateway.yml, which writes it") from None


def write_out(out: Mapping[str, str], path: str = OUT) -> None:
    """Write out.json whole or not at all; on the disk when this returns."""
    new = f"{path}.new"
    with open(new, "w", encoding="utf-8") as handle:
        json.dump(dict(out), handle, indent=1, sort_keys=True)
        handle.write("\n")
        handle.flush()
        os.fsync(handle.fileno())
    os.chmod(new, 0o644)
    os.replace(new, path)


@contextmanager
def alone(path: str = OUT) -> Iterator[None]:
    """No other change to the workers meanwhile. The lock is the folder itself, which anybody who reads may lock."""
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
