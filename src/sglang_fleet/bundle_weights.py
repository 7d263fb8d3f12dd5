# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Weights for a bundle: from the hub with its own client, resumed where they were cut, each file verified."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sglang_fleet.bundle_images import size_of
from sglang_fleet.lock_hub import token_for

_TRIES: Final = 6
#: Times that a hub may ask for patience in a row.
_PATIENCE: Final = 100


class WeightsError(Exception):
    """The hub did not give a file; the text says which and why, and holds no token."""


@dataclass(frozen=True)
class _Place:
    """Where the collection's own download puts a file. It asks for no more of a layout."""

    repository: str
    revision: str
    target: Path

    def partial(self, _wanted: Any) -> str:
        return f"{self.target}.part"


def fetch(endpoint: str, token: str | None, repository: str, revision: str, file: dict[str, Any], target: Path) -> None:
    """Has one file of the lock at `target`. file: {"path", "size", "sha256"}. Raises WeightsError."""
    from ansible_collections.sglang.fleet.plugins.module_utils import _weights_fetch
    from ansible_collections.sglang.fleet.plugins.module_utils._weights_files import Wanted

    secret = token_for(endpoint, token) or ""
    wanted = Wanted(file["path"], file["size"], file["sha256"])
    place = _Place(repository, revision, target)
    partial = Path(place.partial(wanted))
    target.parent.mkdir(parents=True, exist_ok=True)
    tries = waits = 0
    while True:
        before = size_of(partial)
        try:
            if before < wanted.size or not partial.exists():
                _weights_fetch.from_hub(place, wanted, endpoint, secret, endpoint)  # type: ignore[arg-type]
            _verify(partial, wanted)
            partial.replace(target)
            return
        except _weights_fetch.FetchError as error:
            came = size_of(partial) - before
            if error.kind == "later" and waits < _PATIENCE:
                waits += 1
                time.sleep(min(error.after, 600))
                continue
            tries = 1 if came > 0 else tries + 1
            if error.kind in ("refused", "fatal") or tries >= _TRIES:
                raise WeightsError(str(error)) from error
            time.sleep(min(2.0**tries / 2, 30))


def _verify(partial: Path, wanted: Any) -> None:
    """Raises the download's own error; wrong bytes are thrown away."""
    from ansible_collections.sglang.fleet.plugins.module_utils._disk import sha256_of
    from ansible_collections.sglang.fleet.plugins.module_utils._weights_fetch import FetchError

    size = size_of(partial)
    if size < wanted.size:
        raise FetchError("again", f"{wanted.path} ended after {size} of {wanted.size} bytes")
    found = sha256_of(str(partial))
    if size != wanted.size or found != wanted.sha256:
        partial.unlink()
        raise FetchError("wrong", f"{wanted.path} came with {size} bytes and SHA-256 {found}, locked {wanted.sha256}")
