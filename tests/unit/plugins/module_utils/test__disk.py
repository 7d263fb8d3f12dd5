# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _disk
from ansible_collections.sglang.fleet.plugins.module_utils._disk import existing, free_bytes, sha256_of


@pytest.mark.parametrize(
    ("content", "digest"),
    [
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (b"a" * 1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ],
    ids=["empty", "FIPS 180-2's first", "a million letters, FIPS 180-2's third"],
)
def test_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, digest: str) -> None:
    monkeypatch.setattr(_disk, "_CHUNK", 4096)  # so that the longest takes many reads
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(str(tmp_path / "file")) == digest


@pytest.mark.parametrize("path", ["", "a/b/c", "file", "file/below"])
def test_the_nearest_folder_that_is_there(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    assert existing(os.path.join(tmp_path, path).rstrip("/")) == str(tmp_path)


def test_what_is_free_is_that_of_the_nearest_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Room:
        free = 7

    monkeypatch.setattr("shutil.disk_usage", lambda folder: asked.append(folder) or Room)
    assert free_bytes(str(tmp_path / "a" / "b")) == 7
    assert asked == [str(tmp_path)]
