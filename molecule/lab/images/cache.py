"""The build cache: folders and files that are named by a hash of what they were made from.

A part is built under a temporary name and renamed when it is whole, so whatever carries its final name is finished.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

UNUSED_DAYS = 30


def root() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "sglang-fleet" / "envs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def key(*inputs: Path | str) -> str:
    """A short hash of texts and of files or whole folders (relative names and contents)."""
    digest = hashlib.sha256()
    for item in inputs:
        if isinstance(item, str):
            digest.update(item.encode() + b"\0")
            continue
        files = sorted(path for path in item.rglob("*") if path.is_file()) if item.is_dir() else [item]
        for path in files:
            if "__pycache__" in path.parts:
                continue
            digest.update(str(path.relative_to(item.parent)).encode() + b"\0")
            digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def folder(name: str, make: Callable[[Path], None]) -> Path:
    """The finished folder of this name; `make` fills an empty one when there is none yet."""
    final = root() / name
    if final.is_dir():
        os.utime(final)
        return final
    temporary = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=root()))
    try:
        temporary.chmod(0o755)
        make(temporary)
        temporary.rename(final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final


@contextlib.contextmanager
def exclusive() -> Iterator[None]:
    """One build at a time; what a killed build left, and what was long unused, is removed by the next one."""
    with (root() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for entry in root().iterdir():
            old = time.time() - entry.stat().st_mtime > UNUSED_DAYS * 86400
            if entry.is_dir() and (old or entry.name.startswith(".")):
                shutil.rmtree(entry, ignore_errors=True)
        yield
