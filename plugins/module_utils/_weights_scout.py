# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the other hosts of the run have of the weights. Runs beside `_weights_client`, in a process of its own."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from multiprocessing.connection import Connection
from typing import Any

#: prctl's number for "send me this signal when my parent ends".
_PDEATHSIG = 1
#: What of another host's progress matters here, and what counts where it does not say.
_SIGNS: dict[str, Any] = {"asks_source": False, "updated": 0, "state": "", "error": ""}


def child() -> None:
    """What a forked process starts with: SIGTERM ends it, and so does the end of its parent, whose lock it holds, too."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)


def no_proxy() -> None:
    """Have this process ask other hosts of the run directly: Docker gives every container the proxies of root's
    ~/.docker/config.json, and the weights are not to go through those in clear."""
    os.environ.update(NO_PROXY="*", no_proxy="*")


def secret_of(folder: str, name: str) -> str:
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as handle:
            return handle.read().strip()
    except OSError:
        return ""


def load_job(folder: str) -> dict[str, Any]:
    with open(os.path.join(folder, "job.json"), encoding="utf-8") as handle:
        job: dict[str, Any] = json.load(handle)
    return job


def stalled_for(offers: Mapping[str, Mapping[str, Any]], seen: dict[str, Any], now: float) -> float:
    """Seconds since any other host gave a sign that more will come: a further file, or a sign of life of one that asks
    the source itself. `seen` carries the memory from call to call."""
    signs = {
        host: (len(offer["files"]), offer["updated"] if offer["asks_source"] and offer["state"] != "failed" else 0)
        for host, offer in offers.items()
    }
    if not seen or any(signs[host] != seen["signs"].get(host, (0, 0)) for host in signs):
        seen.update(since=now)
    seen["signs"] = {**seen.get("signs", {}), **signs}
    return float(now - seen["since"])


def ask(peer: Mapping[str, str], job: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    """What one host of the run has: {files, asks_source, updated, state, error}; None where it does not answer."""
    from huggingface_hub.utils._headers import build_hf_headers
    from huggingface_hub.utils._http import get_session

    url = f"{peer['url']}/api/models/{job['repository']}/revision/{job['revision']}"
    try:
        answer = get_session().get(url, headers=dict(build_hf_headers(token=key or False)), timeout=5)
        if answer.status_code != 200:
            return None
        told = answer.json()
        progress = told.get("progress") or {}
        return {
            "files": [entry["rfilename"] for entry in told["siblings"]],
            **{name: progress.get(name, default) for name, default in _SIGNS.items()},
        }
    except Exception:  # whatever it is: it does not answer now
        return None


def scout(folder: str, pipe: Connection) -> None:
    """Tell, again and again, what the other hosts have. A process of its own."""
    child()
    no_proxy()
    with ThreadPoolExecutor(16) as pool:
        job, key = load_job(folder), ""
        while True:
            # Where the playbook has cleared up, what it said last still counts.
            with contextlib.suppress(OSError, ValueError):
                job, key = load_job(folder), secret_of(folder, "key")
            peers = job["peers"]
            answers = pool.map(ask, peers, repeat(job), repeat(key))
            try:
                pipe.send({peer["host"]: answer for peer, answer in zip(peers, answers) if answer is not None})
            except OSError:
                return
            time.sleep(max(0.5, len(peers) / 16))
