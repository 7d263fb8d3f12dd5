# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is sent to a host, and what is not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.sglang.fleet.plugins.plugin_utils import bundle
from ansible_collections.sglang.fleet.plugins.plugin_utils.bundle import SendError, send

FILES = [{"path": name, "source": f"images/{name}", "size": 3, "sha256": name * 32} for name in ("aa", "bb")]


class Action:
    """missing: what the host lacks, look for look."""

    def __init__(self, *missing: list[str]) -> None:
        self.missing = list(missing)
        self.sent: list[tuple[str, str]] = []
        self.asked: list[dict[str, Any]] = []
        self.failures: list[Exception] = []
        self._connection = SimpleNamespace(put_file=self._put)

    def _put(self, local: str, remote: str) -> None:
        for failure in self.failures:
            raise failure
        self.sent.append((local, remote))

    def _low_level_execute_command(self, command: str, sudoable: bool) -> dict[str, str]:
        assert (command, sudoable) == ("id -u", False)
        return {"stdout": "1000\r\n"}

    def _execute_module(self, name: str, module_args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        assert (name, task_vars["inventory_hostname"]) == ("sglang.fleet.bundle_files", "n")
        self.asked.append(module_args)
        missing = self.missing.pop(0)
        return {"failed": True, "msg": "no room"} if missing == ["FULL"] else {"missing": missing}


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(bundle, "Progress", lambda _host, _what: SimpleNamespace(update=lambda *_words: None))
    (tmp_path / "images").mkdir()
    for file in FILES:
        (tmp_path / str(file["source"])).write_text("xyz")
    return tmp_path


def sent(action: Action, source: Path) -> int:
    words: dict[str, Any] = {"source": str(source), "target": "/t", "files": FILES, "what": "image", "verify": True}
    return send(action, {"inventory_hostname": "n"}, **words)


def test_only_what_is_missing_is_sent(source: Path) -> None:
    action = Action(["bb"], [])
    assert sent(action, source) == 3
    assert action.sent == [(str(source / "images/bb"), "/t/bb.part")]
    assert action.asked[0] == {
        "folder": "/t",
        "files": [{key: file[key] for key in ("path", "size", "sha256")} for file in FILES],
        "owner": 1000,
        "verify": True,
    }


def test_nothing_missing_is_one_call(source: Path) -> None:
    action = Action([])
    assert (sent(action, source), action.sent, len(action.asked)) == (0, [], 1)


@pytest.mark.parametrize(
    ("missing", "prepare", "message"),
    [
        pytest.param([["FULL"]], lambda *_: None, "^no room$", id="the host's own words"),
        pytest.param(
            [["aa"], ["aa"]],
            lambda *_: None,
            r"^aa is not on the host as it is in the bundle \(SHA-256 (aa){32}\), although it was sent",
            id="it came with other bytes",
        ),
        pytest.param(
            [["aa"]],
            lambda source, _action: (source / "images/aa").write_text("x"),
            r"images/aa is not there, or not of 3 bytes: see `sglang-fleet bundle --check`, and make it anew$",
            id="the bundle is damaged",
        ),
        pytest.param(
            [["aa"]],
            lambda _source, action: action.failures.append(AnsibleConnectionFailure("broken pipe")),
            r"images/aa could not be sent to /t: broken pipe$",
            id="the connection breaks",
        ),
    ],
)
def test_what_did_not_come_is_said(source: Path, missing: list[list[str]], prepare: Any, message: str) -> None:
    action = Action(*missing)
    prepare(source, action)
    with pytest.raises(SendError, match=message):
        sent(action, source)
