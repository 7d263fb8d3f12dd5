# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of what the roles installed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._installed import RecordError, load, locked, merged, save


def test_record_goes_and_comes(tmp_path: Path) -> None:
    path = tmp_path / "fleet" / "installed.json"
    assert load(str(path)) == {}
    with locked(str(path)):
        save({"rocm": {"files": ["/a"]}, "empty": {}}, str(path))
    assert load(str(path)) == {"rocm": {"files": ["/a"]}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    save({"rocm": {}}, str(path))
    assert not path.parent.exists(), "without owners there is no file, and no folder for it"


def test_folder_with_other_things_stays(tmp_path: Path) -> None:
    (tmp_path / "state.json").touch()
    save({}, str(tmp_path / "installed.json"))
    assert (tmp_path / "state.json").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "is not JSON"), ('{"schema": 2, "owners": {}}', "has schema 2"), ("[]", "has schema None")],
)
def test_record_that_cannot_be_read(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "installed.json"
    path.write_text(text)
    with pytest.raises(RecordError, match=words):
        load(str(path))


def test_merge() -> None:
    old = {"files": ["/a"], "daemon": {"x": 1}, "n": 1}
    assert merged(old, {"files": ["/b", "/a"], "daemon": {"y": 2}, "n": 2}) == {
        "files": ["/a", "/b"],
        "daemon": {"x": 1, "y": 2},
        "n": 2,
    }
    assert old["files"] == ["/a"]


def test_record_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_more: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(RecordError, match=r"this user may not read .*installed.json.*run with become"):
        load(str(tmp_path / "installed.json"))
