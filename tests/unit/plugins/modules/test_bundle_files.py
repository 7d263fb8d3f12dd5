# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import os
import pwd
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.modules.bundle_files import path_problem, prepare, take

TEXT = b"content"


def wanted(path: str = "sub/a", content: bytes = TEXT) -> dict[str, Any]:
    return {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@pytest.fixture(autouse=True)
def owner(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """Who was given what: only root may give files away."""
    given: list[tuple[str, int, int]] = []
    monkeypatch.setattr(os, "chown", lambda path, user, group: given.append((str(path), user, group)))
    return given


@pytest.mark.parametrize(
    ("name", "content", "verify", "there", "left"),
    [
        pytest.param("a", TEXT, True, True, ["a"], id="there by its name"),
        pytest.param("a", b"short", True, False, ["a"], id="another size by its name"),
        pytest.param("a.part", TEXT, True, True, ["a"], id="came whole"),
        pytest.param("a.part", b"short", True, False, ["a.part"], id="came in part"),
        pytest.param("a.part", b"CONTENT", True, False, [], id="came with other bytes"),
        pytest.param("a.part", b"CONTENT", False, True, ["a"], id="other bytes that somebody else verifies"),
        pytest.param("", b"", True, False, [], id="not there"),
    ],
)
def test_a_file_gets_its_name_when_it_is_whole(
    tmp_path: Path, name: str, content: bytes, verify: bool, there: bool, left: list[str]
) -> None:
    (tmp_path / "sub").mkdir()
    if name:
        (tmp_path / "sub" / name).write_bytes(content)
    assert take(str(tmp_path), wanted(), verify) is there
    assert sorted(path.name for path in (tmp_path / "sub").iterdir()) == left


def test_what_came_is_roots(tmp_path: Path, owner: list[tuple[str, int, int]]) -> None:
    (tmp_path / "a.part").write_bytes(TEXT)
    take(str(tmp_path), wanted("a"), True)
    assert owner == [(str(tmp_path / "a.part"), 0, 0)]
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_the_folders_are_the_senders_alone(tmp_path: Path, owner: list[tuple[str, int, int]]) -> None:
    folder = tmp_path / "incoming"
    prepare(str(folder), [wanted("a"), wanted("sub/deep/b")], 54321)
    made = [folder, folder / "sub", folder / "sub" / "deep"]
    assert all(path.is_dir() and path.stat().st_mode & 0o777 == 0o700 for path in made)
    assert {path for path, user, _group in owner if user == 54321} == {str(path) for path in made}


@pytest.mark.parametrize(
    ("path", "right"), [("a/b.c", True), ("/a", False), ("a/../b", False), ("a//b", False), ("", False)]
)
def test_paths_stay_below_the_folder(path: str, right: bool) -> None:
    assert (path_problem(path) is None) is right


def test_folders_above_are_open_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        prepare(str(tmp_path / "x/y/incoming"), [wanted("a")], 0)
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("x", "x/y", "x/y/incoming")] == [0o755, 0o755, 0o700]


def test_folder_that_the_sender_cannot_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked of `test -x` as that user, which only root may do."""
    shut = str(tmp_path / "shut")
    asked: list[tuple[str, int]] = []

    def run(words: list[str], *, user: int, **_more: Any) -> Any:
        asked.append((words[2], user))
        return subprocess.CompletedProcess(words, int(words[2] == shut))

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    uid = next(user.pw_uid for user in pwd.getpwall() if user.pw_uid)
    with pytest.raises(PermissionError, match=rf"{shut} lets no other user through .*\(uid {uid}\): chmod o\+x {shut}"):
        prepare(f"{shut}/incoming", [wanted("a")], uid)
    assert asked[0] == ("/", uid)
    prepare(f"{shut}/incoming", [wanted("a")], 0)  # root gets through
