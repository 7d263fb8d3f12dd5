# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The finder of secrets finds them: a test that looks for them would else pass on anything."""

from __future__ import annotations

import base64
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lab import secret_scan
from tests.lab.secrets import on_controller

TOKEN, KEY = "hf_sentinelToken0123456789", "sentinel/key+0123456789=="
SECRETS = {"token": TOKEN, "key": KEY}


@pytest.mark.parametrize("secret", [TOKEN, KEY, TOKEN[:-1], TOKEN[:-2]])
@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "user:"])
@pytest.mark.parametrize("after", ["", "x", "yz", "\n"])
def test_a_secret_in_base64_is_found(secret: str, before: str, after: str) -> None:
    coded = base64.b64encode(f"{before}{secret}{after}".encode())
    assert any(form in coded for form in secret_scan.forms(secret))


def test_another_secret_is_not() -> None:
    coded = base64.b64encode(b"hf_sentinelTokem0123456789")
    assert not any(form in coded for form in secret_scan.forms(TOKEN))


@pytest.mark.parametrize(
    ("name", "content", "mode", "places"),
    [
        pytest.param("log", f"Authorization: Bearer {TOKEN}", 0o644, ["{path} (0644 0:0) holds token"], id="as it is"),
        pytest.param(
            "url", "https://x/?k=sentinel%2Fkey%2B0123456789%3D%3D", 0o644, ["{path} (0644 0:0) holds key"], id="URL"
        ),
        pytest.param(
            "both", f"{TOKEN} {KEY}", 0o600, ["{path} (0600 0:0) holds key", "{path} (0600 0:0) holds token"], id="both"
        ),
        pytest.param(
            "across", "x" * (secret_scan.CHUNK - 5) + TOKEN, 0o600, ["{path} (0600 0:0) holds token"], id="chunks"
        ),
        pytest.param("none", "nothing", 0o644, [], id="none"),
        pytest.param("allowed", TOKEN, 0o600, [], id="where it belongs"),
        pytest.param(
            "allowed", TOKEN, 0o640, ["{path} (0640 0:0) holds token"], id="where it belongs, for all to read"
        ),
    ],
)
def test_files(tmp_path: Path, name: str, content: str, mode: int, places: list[str]) -> None:
    path = tmp_path / "a" / name
    path.parent.mkdir()
    path.write_text(content)
    path.chmod(mode)
    owner = f"{path.stat().st_uid}:{path.stat().st_gid}"
    found = on_controller(SECRETS, [tmp_path], allowed=[tmp_path / "a" / "allowed"])
    assert found == [f"controller: {place.format(path=path).replace('0:0', owner)}" for place in places]


@pytest.mark.parametrize("who", ["geteuid", "getegid"])
def test_a_file_of_somebody_else_may_not_hold_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    """root's own on a node, and this user's on the controller."""
    path = tmp_path / "allowed"
    path.write_text(TOKEN)
    path.chmod(0o600)
    monkeypatch.setattr(secret_scan.os, who, lambda: 4711)
    scan = secret_scan.Scan(SECRETS, [str(path)])
    scan.file(str(path))
    assert [place.rpartition(" holds ")[2] for place in scan.found] == ["token"]


def test_what_a_program_wrote() -> None:
    assert on_controller(SECRETS, texts={"deploy": f"token={TOKEN}", "plan": "ok"}) == [
        "controller: deploy shows token"
    ]


@pytest.mark.parametrize("where", ["cmdline", "environ"])
def test_processes(where: str) -> None:
    words = [sys.executable, "-c", "import time; time.sleep(60)"]
    env = {"HF_TOKEN": TOKEN} if where == "environ" else {}
    process = subprocess.Popen([*words, *([TOKEN] if where == "cmdline" else [])], env=env)
    try:
        time.sleep(0.2)
        assert [place for place in on_controller(SECRETS) if f"/proc/{process.pid}/{where} " in place]
    finally:
        process.kill()
        process.wait()


def test_what_is_not_there_cannot_be_looked_at(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="not there to be looked at"):
        on_controller(SECRETS, [tmp_path / "gone"])
