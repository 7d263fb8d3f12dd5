# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images for a bundle, straight from a registry: each blob by its digest, resumed where it was cut, verified.

No engine is asked: one keeps a single platform of a tag, wants root and three times the room, and begins a layer anew.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from sglang_fleet.lock_registry import (
    INDEXES,
    MANIFESTS,
    Reference,
    Registries,
    RegistryError,
    addresses,
    explained,
)

_TRIES: Final = 6


class Images(Registries):
    """Registries, whose images go into the blobs of an OCI layout."""

    def manifest(self, text: str, digest: str, mirrors: Sequence[str]) -> tuple[bytes, dict[str, Any]]:
        """A manifest as it is in the registry, and what it says. Raises RegistryError."""

        def ask(base: str, name: Reference) -> bytes:
            return self._content(base, name, "manifests", digest, (*INDEXES, *MANIFESTS))

        content = self._first(text, Reference.parse(text), mirrors, ask)
        return content, json.loads(content)

    def blob(self, text: str, digest: str, size: int, target: Path, mirrors: Sequence[str]) -> None:
        """Has one blob at `target`, from the first registry that gives it. Raises RegistryError."""
        reference = Reference.parse(text)
        partial = target.with_name(f"{target.name}.part")
        said: list[str] = []
        tries = 0
        while tries < _TRIES:
            tries += 1
            for base in addresses(reference, mirrors):
                before = size_of(partial)
                try:
                    self._fetch(base, reference, digest, size, partial)
                    partial.replace(target)
                    return
                except (RegistryError, httpx.HTTPError) as error:
                    said.append(f"{base}: {str(error) or type(error).__name__}")
                    if size_of(partial) > before:
                        tries = 0  # it comes on
            time.sleep(min(2.0**tries / 2, 30))
        raise RegistryError(f"no registry gives {digest} of {text}: {'; '.join(dict.fromkeys(said[-4:]))}")

    @contextmanager
    def _stream(self, base: str, reference: Reference, digest: str, start: int) -> Iterator[httpx.Response]:
        """The answer with a blob's bytes from `start` on, or from its beginning where the registry has no ranges."""
        scope = f"repository:{reference.repository}:pull"
        url = f"{base}/v2/{reference.repository}/blobs/{digest}"
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
        for last in (False, True):
            known = self._tokens.get((base, scope))
            given = {**headers, **({"Authorization": known} if known else {})}
            with self.client.stream("GET", url, headers=given) as response:
                if response.status_code in (200, 206):
                    yield response
                    return
                challenges = response.headers.get_list("WWW-Authenticate")
            # A token lasts some minutes, and a layer may take longer than that.
            header = self._authorization(base, scope, challenges) if response.status_code == 401 else None
            if header is None or last:
                raise RegistryError(explained(response.status_code, base))
            self._tokens[base, scope] = header

    def _fetch(self, base: str, reference: Reference, digest: str, size: int, partial: Path) -> None:
        from ansible_collections.sglang.fleet.plugins.module_utils._disk import sha256_of

        start = size_of(partial)
        if start < size or not partial.exists():
            with self._stream(base, reference, digest, start) as response, partial.open("ab") as file:
                if start and response.status_code != 206:
                    file.truncate(0)
                for chunk in response.iter_raw():
                    file.write(chunk)
        held = size_of(partial)
        if held < size:
            raise RegistryError(f"{digest} ended after {held} of {size} bytes")
        found = sha256_of(str(partial))
        if f"sha256:{found}" != digest:
            partial.unlink()
            raise RegistryError(
                f"{digest} was asked for, and what came is sha256:{found}: something on the way changes it"
            )


def size_of(path: Path) -> int:
    """Bytes that are there; 0 for no file. Another thread may give the file its last name meanwhile."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def blobs_of(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Configuration and layers of a manifest, each once, as [{"digest", "size"}]."""
    found: dict[str, int] = {}
    for item in (manifest["config"], *manifest["layers"]):
        found.setdefault(str(item["digest"]), int(item["size"]))
    return [{"digest": digest, "size": size} for digest, size in found.items()]
