# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Weights in a folder: where each file lies, whether it is the locked one, and the record of what was verified.

The layout is the Hugging Face cache's, which SGLang reads offline: `hub/models--Org--Name/snapshots/<revision>/<path>` is a
link to `../../blobs/<SHA-256>`. Standard library only: it runs on hosts (Python 3.9) and inside the server's image.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import struct
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils._disk import sha256_of

#: safetensors refuses a longer header, too (bytes).
HEADER_MAX = 100_000_000

VERIFIED, UNVERIFIED, DAMAGED, MISSING = "verified", "unverified", "damaged", "missing"


@dataclass(frozen=True)
class Wanted:
    """One file of the lock. size in bytes, sha256 in hex."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Found:
    """One file as it is here. state: verified | unverified | damaged | missing. present: its bytes that are here,
    those of an unfinished download included."""

    wanted: Wanted
    state: str
    reason: str = ""
    present: int = 0


def wanted_files(entries: Iterable[Mapping[str, Any]]) -> list[Wanted]:
    """The lock's files. ValueError for a path that would leave the folder, or a checksum that is none."""
    files = []
    for entry in entries:
        path, digest = str(entry["path"]), str(entry["sha256"]).lower()
        parts = path.split("/")
        if path.startswith("/") or "\\" in path or "\0" in path or any(part in ("", ".", "..") for part in parts):
            raise ValueError(
                f"the lock names {path!r}, which is no path below a folder; write it anew: sglang-fleet lock"
            )
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise ValueError(
                f"the lock's SHA-256 of {path} is {digest!r}: 64 hex digits are wanted; run sglang-fleet lock"
            )
        files.append(Wanted(path, int(entry["size"]), digest))
    return files


@dataclass(frozen=True)
class Layout:
    """Paths of one revision of one repository below `directory`, the folder of weights."""

    directory: str
    repository: str
    revision: str

    @property
    def repo(self) -> str:
        return os.path.join(self.directory, "hub", "models--" + self.repository.replace("/", "--"))

    @property
    def blobs(self) -> str:
        return os.path.join(self.repo, "blobs")

    @property
    def snapshot(self) -> str:
        return os.path.join(self.repo, "snapshots", self.revision)

    @property
    def own(self) -> str:
        """What this collection keeps there besides."""
        return os.path.join(self.directory, ".sglang-fleet")

    @property
    def record(self) -> str:
        return os.path.join(self.own, f"{self.repository.replace('/', '--')}@{self.revision}.json")

    @property
    def incoming(self) -> str:
        """Where files of a bundle are put before they are verified; another model's are no start of these."""
        return os.path.join(self.own, "incoming", self.repository.replace("/", "--"), self.revision)

    def pointer(self, wanted: Wanted) -> str:
        return os.path.join(self.snapshot, *wanted.path.split("/"))

    def blob(self, wanted: Wanted) -> str:
        return os.path.join(self.blobs, wanted.sha256)

    def partial(self, wanted: Wanted) -> str:
        """An unfinished download. The hub's own client of before 1.0 gives large files the same name."""
        return self.blob(wanted) + ".incomplete"


def header_problem(path: str, size: int) -> str:
    """What is wrong with the header of a safetensors file of `size` bytes; empty for nothing.

    A file is eight bytes of the header's length (little-endian), the header (JSON), and the tensors, without a gap
    or a byte more. Reads the header only. OSError where the file cannot be read.
    """
    with open(path, "rb") as handle:
        first = handle.read(8)
        if len(first) < 8:
            return "safetensors header: the file ends within its first 8 bytes"
        (length,) = struct.unpack("<Q", first)
        if not 2 <= length <= min(HEADER_MAX, size - 8):
            return f"safetensors header: a length of {length} bytes in a file of {size}"
        raw = handle.read(length)
    try:
        header = json.loads(raw)
        ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return "safetensors header: not readable"
    wanted = 8 + length + max(ends, default=0)
    return "" if wanted == size else f"safetensors header: the tensors need {wanted} bytes, the file has {size}"


def read_record(path: str) -> dict[str, dict[str, Any]]:
    """The record of verified files; empty where there is none or it is torn, which costs a hashing and no more."""
    try:
        with open(path, encoding="utf-8") as handle:
            record = json.load(handle)
    except (OSError, ValueError):
        return {}
    return {str(k): v for k, v in record.items() if isinstance(v, dict)} if isinstance(record, dict) else {}


def write_json(path: str, data: Mapping[str, Any], mode: int = 0o644) -> None:
    """Put a JSON file in place of the old one at once."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{os.getpid()}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        json.dump(data, handle, indent=1, sort_keys=True)
    os.replace(temporary, path)


def entry_of(status: os.stat_result, sha256: str) -> dict[str, Any]:
    """The record of a file that was hashed."""
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino, "sha256": sha256}


def unreadable(error: OSError, path: str) -> OSError:
    """The same error with what to do."""
    text = (
        f"cannot be read ({error.strerror}), and nothing was removed: see to the disk or the share and run again, or remove"
        " the file if it is beyond help"
    )
    return OSError(error.errno, text, path)


def disk_problem(error: OSError, directory: str) -> str:
    """What is wrong with the folder of weights, in words."""
    text = f"{error.strerror or error}: {error.filename or directory}"
    if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM) or "cannot be read" in text:
        return text
    return (
        f"{text}. Root of the host must be able to write to {directory}, where a record of what was verified is kept: mount it"
        " writable (without root_squash), or set fleet_weights to server, which leaves the weights to the server, unverified"
    )


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _not_there(layout: Layout, wanted: Wanted, error: OSError) -> Found:
    """A file whose name in the revision's folder leads nowhere; OSError where that is not sure."""
    if error.errno == errno.ELOOP:
        return Found(wanted, DAMAGED, "is no file")
    if error.errno not in (errno.ENOENT, errno.ENOTDIR):
        raise unreadable(error, layout.pointer(wanted)) from error
    if _size(layout.blob(wanted)) == wanted.size and os.path.isfile(layout.blob(wanted)):
        return Found(wanted, UNVERIFIED, "not in the revision's folder yet", wanted.size)
    return Found(wanted, MISSING, "", min(wanted.size, _size(layout.partial(wanted))))


def look_at(layout: Layout, wanted: Wanted, record: Mapping[str, Mapping[str, Any]], always: bool = False) -> Found:
    """One file as it is here, without hashing it. always: what the record says does not count.

    OSError where it cannot be read: only content condemns a file, for a share that fails for a moment has good ones.
    """
    path = layout.pointer(wanted)
    try:
        status = os.stat(path)
    except OSError as error:
        return _not_there(layout, wanted, error)
    if not stat.S_ISREG(status.st_mode):
        return Found(wanted, DAMAGED, "is no file")
    if status.st_size != wanted.size:
        return Found(
            wanted, DAMAGED, f"size is {status.st_size}, locked {wanted.size}", min(status.st_size, wanted.size)
        )
    if wanted.path.endswith(".safetensors"):
        try:
            problem = header_problem(path, status.st_size)
        except OSError as error:
            raise unreadable(error, path) from error
        if problem:
            return Found(wanted, DAMAGED, problem, wanted.size)
    known = record.get(wanted.path)
    if not known or known.get("sha256") != wanted.sha256:
        return Found(wanted, UNVERIFIED, "never verified", wanted.size)
    now = entry_of(status, wanted.sha256)
    differs = [name for name in ("size", "mtime_ns", "inode") if known.get(name) != now[name]]
    if differs:
        names = {"mtime_ns": "time"}
        text = " and ".join(names.get(name, name) for name in differs)
        return Found(wanted, UNVERIFIED, f"changed since it was verified ({text})", wanted.size)
    if always:
        return Found(wanted, UNVERIFIED, "to be hashed on every run", wanted.size)
    return Found(wanted, VERIFIED, "", wanted.size)


def survey(layout: Layout, files: Iterable[Wanted], always: bool = False) -> list[Found]:
    """Every file as it is here, in the lock's order, without hashing."""
    record = read_record(layout.record)
    with ThreadPoolExecutor(8) as pool:  # a shared filesystem answers slowly, and many at once
        return list(pool.map(lambda wanted: look_at(layout, wanted, record, always), files))


def hashed(layout: Layout, found: Iterable[Found], threads: int) -> list[Found]:
    """The same with every unverified file hashed: verified or damaged. Does not write the record."""

    def check(item: Found) -> Found:
        pointer = layout.pointer(item.wanted)
        if item.state != UNVERIFIED or not os.path.exists(pointer):
            return item
        try:
            digest = sha256_of(pointer)
        except OSError as error:
            raise unreadable(error, pointer) from error
        if digest != item.wanted.sha256:
            reason = f"SHA-256 is {digest}, locked {item.wanted.sha256}"
            return Found(item.wanted, DAMAGED, reason, item.wanted.size)
        return Found(item.wanted, VERIFIED, "", item.wanted.size)

    with ThreadPoolExecutor(threads) as pool:  # hashlib lets go of the interpreter while it hashes
        return list(pool.map(check, found))


def record_of(layout: Layout, found: Iterable[Found]) -> dict[str, dict[str, Any]]:
    """The record that says what is verified in `found`."""
    verified = [item.wanted for item in found if item.state == VERIFIED]
    return {wanted.path: entry_of(os.stat(layout.pointer(wanted)), wanted.sha256) for wanted in verified}


def bytes_needed(found: Iterable[Found]) -> int:
    """Bytes that the disk must still take. A damaged file makes room for its successor."""
    return sum(item.wanted.size - item.present for item in found if item.state in (MISSING, DAMAGED))


def link_in(layout: Layout, wanted: Wanted) -> None:
    """Have the revision's folder name the blob, in place of what stands there."""
    pointer = layout.pointer(wanted)
    os.makedirs(os.path.dirname(pointer), exist_ok=True)
    target = os.path.relpath(layout.blob(wanted), os.path.dirname(pointer))
    if os.path.islink(pointer) and os.readlink(pointer) == target:
        return
    temporary = f"{pointer}.{os.getpid()}.link"
    if os.path.lexists(temporary):
        os.unlink(temporary)
    os.symlink(target, temporary)
    os.replace(temporary, pointer)


def throw_away(layout: Layout, wanted: Wanted) -> None:
    """Remove a damaged file: the name in the revision's folder, what it points at, and an unfinished download."""
    pointer = layout.pointer(wanted)
    target = os.path.realpath(pointer)
    inside = os.path.realpath(layout.repo) + os.sep
    for path in (
        pointer,
        target if target.startswith(inside) else pointer,
        layout.blob(wanted),
        layout.partial(wanted),
    ):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def link_folder(layout: Layout, files: list[Wanted], folder: str) -> None:
    """Where the source folder is on the same filesystem, its files become names of the weights' folder, to be verified
    there. Only whole ones: an unfinished one would be written on."""
    os.makedirs(layout.blobs, exist_ok=True)
    for found in survey(layout, files):
        source = os.path.realpath(os.path.join(folder, *found.wanted.path.split("/")))
        partial = layout.partial(found.wanted)
        if found.state != MISSING or os.path.exists(partial) or not os.path.isfile(source):
            continue
        if os.path.getsize(source) == found.wanted.size:
            try:
                os.link(source, partial)
            except OSError:
                return  # another filesystem, or one without links: the transfer copies
