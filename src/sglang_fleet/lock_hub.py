# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Hugging Face hub, or a mirror of it, has of a model: its revision, and size and SHA-256 of each file."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

# Before the library is imported: it reads them once. Nothing is drawn on the terminal or told to anyone, and small files
# come from the hub itself.
for _name in ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_XET"):
    os.environ.setdefault(_name, "1")

import httpx  # noqa: E402
from huggingface_hub import HfApi, get_token, hf_hub_download  # noqa: E402
from huggingface_hub.errors import (  # noqa: E402
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from sglang_fleet.lock import HUB  # noqa: E402
from sglang_fleet.lock_registry import patience  # noqa: E402

#: What no server reads: what a person reads, and what git does.
_NOT_NEEDED: Final = re.compile(
    r"(^|/)(\.git(attributes|ignore|keep)|README[^/]*)$|\.(png|jpe?g|gif|svg|webp|bmp|ico|mp4|mov|webm|pdf)$",
    re.IGNORECASE,
)
_AT_ONCE: Final = 8
_TRIES: Final = 4
#: The hub counts requests in windows of five minutes.
_LONGEST_WAIT: Final = 300.0

T = TypeVar("T")


class HubError(Exception):
    """The hub did not give what was asked for; the text says why and what to do, and holds no token. absent: it has no such
    revision."""

    def __init__(self, text: str, absent: bool = False) -> None:
        super().__init__(text)
        self.absent = absent


def needed(path: str) -> bool:
    """Whether a server may need the file."""
    return _NOT_NEEDED.search(path) is None


def token_for(endpoint: str, token: str | None) -> str | None:
    """The token that an endpoint gets: the inventory's, else the user's own login, which is for Hugging Face alone."""
    return token or (get_token() if endpoint.rstrip("/") == HUB else None)


class Hub:
    """A hub. token: the inventory's; None for the user's own login, where there is one for this hub."""

    def __init__(self, endpoint: str, token: str | None = None) -> None:
        self.endpoint, self.token = endpoint.rstrip("/"), token
        # False, for the library would send the user's login anywhere.
        self._sent = token_for(endpoint, token) or False
        self._api = HfApi(endpoint=self.endpoint, token=self._sent, library_name="sglang-fleet")

    def revision(self, repository: str, wanted: str | None = None) -> str:
        """The commit that a branch or tag, by default main, is at now. Raises HubError."""
        return str(self._asked(repository, lambda: self._api.model_info(repository, revision=wanted)).sha)

    def entry(self, repository: str, wanted: str | None = None) -> dict[str, Any]:
        """The lock's entry of a model: revision, bytes, and path, size and sha256 of each file. Raises HubError."""
        info = self._asked(repository, lambda: self._api.model_info(repository, revision=wanted, files_metadata=True))
        revision = str(info.sha)
        with tempfile.TemporaryDirectory(prefix="sglang-fleet-") as folder, ThreadPoolExecutor(_AT_ONCE) as pool:
            siblings = [sibling for sibling in info.siblings or () if needed(sibling.rfilename)]
            files = list(pool.map(lambda one: self._file(repository, revision, one, Path(folder)), siblings))
        if not files:
            raise HubError(f"{repository} at {revision} has no files on {self.endpoint}")
        return {
            "revision": revision,
            "bytes": sum(file["size"] for file in files),
            "files": sorted(files, key=lambda file: str(file["path"])),
        }

    def _file(self, repository: str, revision: str, sibling: Any, folder: Path) -> dict[str, Any]:
        """One file. What git's large file storage has, the hub knows the SHA-256 of; others are small, and read."""
        path = sibling.rfilename
        if sibling.lfs is not None:
            return {"path": path, "size": int(sibling.lfs.size), "sha256": str(sibling.lfs.sha256)}
        got = self._asked(
            repository,
            lambda: hf_hub_download(
                repository, path, revision=revision, endpoint=self.endpoint, token=self._sent, cache_dir=folder
            ),
        )
        content = Path(got).read_bytes()
        if sibling.blob_id and git_blob_id(content) != sibling.blob_id:
            raise HubError(
                f"{repository}: {path} came from {self.endpoint} as git blob {git_blob_id(content)}, and the hub's list says "
                f"{sibling.blob_id}: something on the way changes it"
            )
        return {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    def _asked(self, repository: str, ask: Callable[[], T]) -> T:
        """The answer, asked for again where the hub is busy."""
        for attempt in range(1, _TRIES + 1):
            try:
                return ask()
            except HfHubHTTPError as error:
                status = error.response.status_code
                if attempt == _TRIES or (status != 429 and status < 500):
                    gone = isinstance(error, RevisionNotFoundError)
                    raise HubError(self._explained(repository, error), gone) from error
                time.sleep(min(patience(error.response, attempt), _LONGEST_WAIT))
            except (httpx.TransportError, OSError) as error:
                if attempt == _TRIES or isinstance(error, OfflineModeIsEnabled):
                    raise HubError(self._explained(repository, error)) from error
                time.sleep(2.0 ** (attempt - 1))
        raise AssertionError("the last try has ended")

    def _explained(self, repository: str, error: Exception) -> str:
        """In an operator's words. The library's own texts are of many lines, with addresses in them."""
        where = self.endpoint
        status = getattr(getattr(error, "response", None), "status_code", None)
        # A login of the user's own goes to Hugging Face alone, so that it is no remedy elsewhere.
        ways = "fleet_hf_token, or `hf auth login`" if where == HUB else "fleet_hf_token"
        token = "fleet_hf_token" if self.token else f"a token ({ways})"
        if isinstance(error, GatedRepoError) or status == 403:
            return (
                f"{repository} on {where} is for those who accepted its terms: accept them there, and give {token} of that "
                "account"
            )
        if isinstance(error, RevisionNotFoundError):
            return f"{repository} on {where} has no such revision: correct fleet_server_args.revision, or take it away"
        if isinstance(error, RepositoryNotFoundError) or status == 401:
            return f"{where} has no {repository}, or does not show it without {token} that may see it (HTTP {status or 404})"
        if isinstance(error, OfflineModeIsEnabled):
            return "HF_HUB_OFFLINE is set here, so that no hub is asked: take it out of the environment"
        if status is not None:
            return f"{where} answers HTTP {status} for {repository}; try later"
        said = (str(error) or type(error).__name__).splitlines()[0]
        return f"{where} does not answer for {repository}: {said}; check fleet_hf_endpoint and the way out"


def git_blob_id(content: bytes) -> str:
    """The name that git gives to a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
