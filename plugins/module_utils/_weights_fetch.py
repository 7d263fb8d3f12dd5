# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gets one file of the weights from one place and verifies it. Runs in the server's image, in a process of its own.

The Hugging Face client does the talking to the hub and to other hosts of the run, which speak like it. Not its
`hf_hub_download`: since version 1 that throws an unfinished file away (huggingface_hub#4228). One step lower the same
client has what resumes: `get_hf_file_metadata` and `http_get`, alike in 0.36 and 1.x.
"""

from __future__ import annotations

import email.utils
import errno
import os
import re
import subprocess
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils._disk import sha256_of
from ansible_collections.sglang.fleet.plugins.module_utils._weights_files import (
    Layout,
    Wanted,
    entry_of,
    link_in,
    throw_away,
)

_CHUNK = 16 << 20
#: Bytes between two writes of a download: what a kill costs. The client's own 10 MB is a whole file of a small model.
_PIECE = 1 << 20
#: What a host that reaches no other can do.
REACH = (
    "The hosts must reach one another there by TCP (fleet_weights_address, fleet_weights_port): open the port, or set"
    " fleet_weights_share to false, so that each asks the source itself"
)
#: What a place may want of whoever asks: the hub, and one of files.
_ASKING_A_HUB = (
    "Give a token that may read it (fleet_hf_token), and accept the model's licence on the hub if it has one"
)
_ASKING_A_SHOP = (
    "No token is sent there: give fleet_weights_source with the user, https://USER:PASSWORD@HOST/…, or with the signature"
    " that the place wants"
)
#: Seconds until a place that says nothing is given up for this try.
_PATIENCE = 30
#: Seconds of a wait that a place asks for without saying how long.
_LATER = 5.0


class FetchError(Exception):
    """A file did not come. kind: later (the place asks for `after` seconds of patience) | again (worth another try) |
    wrong (bytes or sizes that are not the lock's) | refused (this place will not give it) | fatal (no place can help)."""

    def __init__(self, kind: str, text: str, after: float = 0.0) -> None:
        super().__init__(text)
        self.kind, self.after = kind, after


def retry_after(headers: Mapping[str, str], now: float) -> float:
    """Seconds that a 429 asks for: Retry-After as seconds or date, or the hub's `ratelimit: "api";r=0;t=55`."""
    low = {name.lower(): value for name, value in headers.items()}
    given = low.get("retry-after", "").strip()
    if given.isdigit():
        return float(given)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(given).timestamp() - now)
    except (TypeError, ValueError, IndexError):
        pass
    reset = re.search(r"\bt=(\d+)", low.get("ratelimit", ""))
    return float(reset.group(1)) if reset else _LATER


def trouble_of(
    status: int, headers: Mapping[str, str], place: str, what: str, remedy: str = _ASKING_A_HUB
) -> FetchError:
    """What an HTTP status means for the next try. remedy: what opens the place to whoever it refuses."""
    if status == 429:
        seconds = retry_after(headers, time.time())
        return FetchError("later", f"{place} asks for {seconds:.0f} s of patience (HTTP 429)", seconds)
    if status in (401, 403):
        return FetchError("refused", f"{place} refuses {what} (HTTP {status}). {remedy}")
    if status in (404, 410):
        return FetchError("refused", f"{place} does not have {what} (HTTP {status})")
    return FetchError("again", f"{place}: HTTP {status} for {what}")


def _start(layout: Layout, wanted: Wanted) -> int:
    """Bytes of the file that an earlier try left. More than there should be are none."""
    path = layout.partial(wanted)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.exists(path) and os.path.getsize(path) > wanted.size:
        os.unlink(path)
    return os.path.getsize(path) if os.path.exists(path) else 0


def from_hub(layout: Layout, wanted: Wanted, endpoint: str, secret: str, place: str) -> None:
    """Through the Hugging Face client from whatever speaks the hub's HTTP at `endpoint`. secret: token; empty for none."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from huggingface_hub import constants
    from huggingface_hub.file_download import get_hf_file_metadata, hf_hub_url, http_get
    from huggingface_hub.utils._headers import build_hf_headers

    what = f"{wanted.path} of {layout.repository} at {layout.revision}"
    url = hf_hub_url(layout.repository, wanted.path, revision=layout.revision, endpoint=endpoint)
    headers = dict(build_hf_headers(token=secret or False, library_name="sglang-fleet"))
    try:
        found = get_hf_file_metadata(url, token=secret or False, timeout=_PATIENCE)
        etag = (found.etag or "").lower()
        differs = len(etag) == 64 and etag != wanted.sha256
        if differs or (found.size is not None and found.size != wanted.size):
            said = f"SHA-256 {etag}" if differs else f"{found.size} bytes"
            locked = wanted.sha256 if differs else f"{wanted.size} bytes"
            raise FetchError("wrong", f"{place} gives {wanted.path} with {said}, locked {locked}")
        if urllib.parse.urlsplit(found.location).netloc != urllib.parse.urlsplit(url).netloc:
            headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        headers["Accept-Encoding"] = "identity"  # a packed answer has no ranges
        done = _start(layout, wanted)
        constants.DOWNLOAD_CHUNK_SIZE = _PIECE
        with open(layout.partial(wanted), "ab", buffering=0) as handle:
            http_get(found.location, handle, resume_size=done, headers=headers, expected_size=wanted.size)
    except FetchError:
        raise
    except Exception as error:  # two HTTP libraries, one meaning: the answer's status, or no answer
        response = getattr(error, "response", None)
        if response is not None and getattr(response, "status_code", None):
            at = urllib.parse.urlsplit(str(response.url)).netloc
            if response.status_code in (401, 403) and at != urllib.parse.urlsplit(url).netloc:
                # A signed address is good for an hour or so; the next try asks for another one.
                raise FetchError(
                    "again",
                    f"{at}, to which {place} sends for {what}, refuses the address (HTTP {response.status_code})",
                ) from error
            raise trouble_of(response.status_code, response.headers, place, what) from error
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        raise FetchError(
            "again", f"{place}: {type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
        ) from error


def curl_config(url: str, path: str, target: str, resume: bool) -> str:
    """What curl reads on stdin, so that no address with a secret stands on its command line."""
    parts = urllib.parse.urlsplit(url)
    below = parts.path.rstrip("/") + "/" + urllib.parse.quote(path)
    lines = {
        "url": urllib.parse.urlunsplit(parts._replace(path=below)),
        "output": target,
        "dump-header": "-",
        "connect-timeout": str(_PATIENCE),
        "speed-limit": "1",
        "speed-time": "60",
    }
    text = "".join(f'{name} = "{value}"\n' for name, value in lines.items())
    return text + "fail\nlocation\nsilent\nshow-error\n" + ('continue-at = "-"\n' if resume else "")


def last_answer(text: str) -> tuple[int, dict[str, str]]:
    """Status and headers of the last of the answers that curl wrote down (redirects come before it); 0 for none."""
    status = 0
    headers: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("HTTP/"):
            word = line.split(" ", 2)
            status, headers = int(word[1]) if len(word) > 1 and word[1].isdigit() else 0, {}
        elif ":" in line:
            name, _colon, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
    return status, headers


def from_url(layout: Layout, wanted: Wanted, url: str, place: str) -> None:
    """With curl from a plain HTTP or S3-style server."""
    done = _start(layout, wanted)
    if done == wanted.size:
        return
    target = layout.partial(wanted)
    ran = subprocess.run(
        ["curl", "--config", "-"],
        input=curl_config(url, wanted.path, target, done > 0).encode(),
        capture_output=True,
        check=False,
    )
    status, headers = last_answer(ran.stdout.decode(errors="replace"))
    if ran.returncode == 33 or status == 416:  # no ranges there: from the start, the next time
        os.unlink(target)
        raise FetchError("again", f"{place} cannot resume {wanted.path}")
    if status >= 400:
        raise trouble_of(status, headers, place, wanted.path, _ASKING_A_SHOP)
    if ran.returncode == 23:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if ran.returncode:
        said = ran.stderr.decode(errors="replace").strip().splitlines()
        raise FetchError("again", f"{place}: {said[-1] if said else f'curl ended with {ran.returncode}'}")
    if os.path.getsize(target) < wanted.size and done == 0:
        raise FetchError(
            "wrong", f"{place} gives {wanted.path} with {os.path.getsize(target)} bytes, locked {wanted.size}"
        )


def from_folder(layout: Layout, wanted: Wanted, folder: str, place: str) -> None:
    """Copied from a folder of this host."""
    source = os.path.join(folder, *wanted.path.split("/"))
    if not os.path.isfile(source):
        raise FetchError("refused", f"{place} does not have {wanted.path}")
    size = os.path.getsize(source)
    if size != wanted.size:
        raise FetchError("refused", f"{place}: size of {wanted.path} is {size}, locked {wanted.size}")
    done = _start(layout, wanted)
    if done == wanted.size:
        return
    with open(source, "rb") as given, open(layout.partial(wanted), "ab") as handle:
        given.seek(done)
        while chunk := given.read(_CHUNK):
            handle.write(chunk)


def finish(layout: Layout, wanted: Wanted, place: str) -> dict[str, Any]:
    """Hash what came, and only then give it its name. Returns the record's entry; FetchError("wrong") removes the bytes."""
    path = layout.partial(wanted)
    size = os.path.getsize(path)
    if size < wanted.size:
        raise FetchError("again", f"{place}: {wanted.path} ended after {size} of {wanted.size} bytes")
    digest = sha256_of(path) if size == wanted.size else ""
    if digest != wanted.sha256:
        os.unlink(path)
        said = f"SHA-256 is {digest}, locked {wanted.sha256}" if digest else f"size is {size}, locked {wanted.size}"
        raise FetchError("wrong", f"{wanted.path} from {place}: {said}")
    # On the disk before the record says so: after a power cut a name without its bytes would pass for verified.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if os.stat(path).st_nlink == 1:  # else it is somebody's own file, by another name
        os.chmod(path, 0o644)
    os.replace(path, layout.blob(wanted))
    link_in(layout, wanted)
    return entry_of(os.stat(layout.pointer(wanted)), digest)


def present(layout: Layout, wanted: Wanted) -> dict[str, Any]:
    """Hash a file that is here. Returns the record's entry; FetchError("wrong") once it is thrown away."""
    pointer = layout.pointer(wanted)
    path = pointer if os.path.exists(pointer) else layout.blob(wanted)
    digest = sha256_of(path)
    if digest != wanted.sha256:
        throw_away(layout, wanted)
        raise FetchError("wrong", f"SHA-256 is {digest}, locked {wanted.sha256}")
    if path != pointer:
        link_in(layout, wanted)
    return entry_of(os.stat(pointer), digest)


def get(layout: Layout, wanted: Wanted, origin: Mapping[str, str], secret: str) -> dict[str, Any]:
    """Have one file from one origin: {kind: present | hub | peer | http | folder, place, at}. The record's entry, or FetchError.

    "got" of the result is the number of bytes that came over.
    """
    kind, place, at = origin["kind"], origin["place"], origin["at"]
    if kind == "present":
        return {**present(layout, wanted), "got": 0}
    before = _start(layout, wanted)
    with open(layout.partial(wanted), "ab"):
        pass  # an empty file is there by now
    if before < wanted.size:
        if kind in ("hub", "peer"):
            from_hub(layout, wanted, at, secret, place)
        elif kind == "http":
            from_url(layout, wanted, at, place)
        else:
            from_folder(layout, wanted, at, place)
    return {**finish(layout, wanted, place), "got": max(0, wanted.size - before)}
