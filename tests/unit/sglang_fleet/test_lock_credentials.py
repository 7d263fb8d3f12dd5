# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from sglang_fleet.lock_credentials import Credentials, Login


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


AUTH = encoded("me:s3cr3t")
BASIC = Login(basic=f"Basic {AUTH}")


@pytest.mark.parametrize(
    ("config", "host", "login"),
    [
        ({}, "r:5000", None),
        ({"auths": {"r:5000": {"auth": AUTH}}}, "r:5000", BASIC),
        ({"auths": {"r:5000": {"auth": AUTH}}}, "r", None),
        ({"auths": {"https://r:5000/v1/": {"auth": AUTH}}}, "r:5000", BASIC),
        ({"auths": {"https://index.docker.io/v1/": {"auth": AUTH}}}, "registry-1.docker.io", BASIC),
        ({"auths": {"https://index.docker.io/v1/": {"auth": AUTH}}}, "r", None),
        ({"auths": {"r": {"auth": AUTH, "identitytoken": "t"}}}, "r", Login(identity="t")),
        ({"auths": {"r": {"auth": encoded("<token>:t")}}}, "r", Login(identity="t")),
        ({"auths": {"r": {"auth": encoded("me:with:colon")}}}, "r", Login(basic=f"Basic {encoded('me:with:colon')}")),
        ({"auths": {"r": {}}}, "r", None),
        ({"auths": {"r": {"auth": "%%"}}}, "r", None),
        ({"auths": {"r": None}}, "r", None),
        ({"credsStore": "not-there", "auths": {"r": {"auth": AUTH}}}, "r", BASIC),
    ],
)
def test_logins(config: dict[str, Any], host: str, login: Login | None) -> None:
    assert Credentials(config).of(host) == login


def helper(folder: Path, said: str) -> None:
    program = folder / "docker-credential-mine"
    program.write_text(f"#!/bin/sh\ncat > {folder}/asked\necho '{said}'\n", "utf-8")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("config", "host", "asked"),
    [
        ({"credsStore": "mine"}, "r:5000", "r:5000"),
        ({"credHelpers": {"r:5000": "mine"}}, "r:5000", "r:5000"),
        ({"credsStore": "mine"}, "registry-1.docker.io", "https://index.docker.io/v1/"),
        # As Docker itself writes it.
        (
            {"credHelpers": {"https://index.docker.io/v1/": "mine"}},
            "registry-1.docker.io",
            "https://index.docker.io/v1/",
        ),
    ],
)
def test_a_helper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], host: str, asked: str
) -> None:
    helper(tmp_path, json.dumps({"ServerURL": host, "Username": "me", "Secret": "s3cr3t"}))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert Credentials(config).of(host) == BASIC
    assert (tmp_path / "asked").read_text() == asked


def test_a_helper_is_a_name_and_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docker-credential-x").mkdir()
    helper(tmp_path, json.dumps({"Username": "me", "Secret": "s3cr3t"}))
    (tmp_path / "docker-credential-mine").rename(tmp_path / "docker-credential-x" / "mine")
    monkeypatch.chdir(tmp_path)
    assert Credentials({"credsStore": "x/mine"}).of("r") is None
    assert not (tmp_path / "asked").exists()


def test_a_helper_that_knows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper(tmp_path, "credentials not found in native keychain")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert Credentials({"credsStore": "mine"}).of("r") is None


@pytest.mark.parametrize(
    ("content", "login"), [(json.dumps({"auths": {"r": {"auth": AUTH}}}), BASIC), ("{", None), ("[]", None)]
)
def test_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, login: Login | None) -> None:
    (tmp_path / "config.json").write_text(content, "utf-8")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert Credentials.of_user().of("r") == login


def test_no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Credentials.of_user().config == {}


def test_nothing_shows_a_login() -> None:
    for thing in (BASIC, Login(identity="s3cr3t"), Credentials({"auths": {"r": {"auth": AUTH}}})):
        assert "s3cr3t" not in repr(thing)
        assert AUTH not in repr(thing)
