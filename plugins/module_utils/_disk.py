# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files and room on a disk: the checksum of a file, and what is free where a folder is or would be. Standard library only."""

from __future__ import annotations

import hashlib
import os
import shutil

_CHUNK = 4 << 20


def sha256_of(path: str) -> str:
    """SHA-256 in hex of a file's content. OSError where it cannot be read."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as handle:
        while chunk := handle.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def existing(path: str) -> str:
    """The absolute path, where it is a folder, or the nearest folder above it."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def free_bytes(folder: str) -> int:
    """Bytes that are free to every user below a folder, or below the nearest one above it that is there."""
    return shutil.disk_usage(existing(folder)).free
