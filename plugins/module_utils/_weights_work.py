# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One file of a transfer: what is known of it, and the process that gets it. Part of `_weights_client`."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils._weights_fetch import FetchError, get
from ansible_collections.sglang.fleet.plugins.module_utils._weights_files import VERIFIED, Layout, Wanted
from ansible_collections.sglang.fleet.plugins.module_utils._weights_scout import child, no_proxy, secret_of

FORK = multiprocessing.get_context("fork")


def parallel(files: int, most: int) -> int:
    """How many files at a time: few where there are few, so that the first is there to be passed on early."""
    return max(2, min(most, files // 8))


def backoff(tries: int) -> float:
    """Seconds to wait before the next try."""
    return float(min(60, 2 ** max(0, tries - 1)))


@dataclass
class Item:
    """A file that is not verified yet."""

    wanted: Wanted
    here: bool  # to be hashed first, as it is
    tries: int = 0
    wrong: int = 0
    not_before: float = 0.0
    avoid: dict[str, float] = field(default_factory=dict)  # host → until when


@dataclass
class Running:
    item: Item
    origin: dict[str, str]
    process: Any
    pipe: Connection


def partial_size(layout: Layout, wanted: Wanted) -> int:
    """Bytes of a file's unfinished download."""
    try:
        return os.stat(layout.partial(wanted)).st_size
    except OSError:
        return 0


def work(layout: Layout, wanted: Wanted, origin: dict[str, str], folder: str, pipe: Connection) -> None:
    """One file, in a process of its own. Sends {outcome: verified, …} or {outcome: <kind of FetchError>, text, after}."""
    child()
    if origin["kind"] == "peer":
        no_proxy()
    secret = {"hub": "token", "peer": "key"}.get(origin["kind"], "")
    before = partial_size(layout, wanted)
    try:
        result = {"outcome": VERIFIED, **get(layout, wanted, origin, secret_of(folder, secret) if secret else "")}
    except FetchError as trouble:
        result = {"outcome": trouble.kind, "text": str(trouble), "after": trouble.after}
    except OSError as error:
        result = {
            "outcome": "fatal",
            "text": f"{wanted.path}: {error.strerror or error} in {layout.directory}",
            "after": 0,
        }
    result.setdefault("got", max(0, partial_size(layout, wanted) - before))
    pipe.send(result)
