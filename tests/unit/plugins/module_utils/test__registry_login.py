# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._registry_login import (
    HUB,
    client_config,
    credentials,
    header,
    registry_of,
)

ADA = {"auth": base64.b64encode(b"ada:pass:word").decode()}


@pytest.mark.parametrize(
    ("reference", "registry"),
    [
        ("lmsysorg/sglang:v1", HUB),
        ("debian", HUB),
        ("docker.io/lmsysorg/sglang", HUB),
        ("registry:5000/lmsysorg/sglang:v1", "registry:5000"),
        ("ghcr.io/a/b@sha256:dd", "ghcr.io"),
        ("localhost/a", "localhost"),
    ],
)
def test_registries(reference: str, registry: str) -> None:
    assert registry_of(reference) == registry


def no_helper(name: str, registry: str) -> str | None:
    raise AssertionError(f"{name} was asked for {registry}")


@pytest.mark.parametrize(
    ("config", "registry", "found"),
    [
        pytest.param({}, HUB, {}, id="nobody has logged in"),
        pytest.param({"auths": {"ghcr.io": ADA}}, HUB, {}, id="somewhere else"),
        pytest.param({"auths": {HUB: ADA}}, HUB, {"username": "ada", "password": "pass:word"}, id="hub"),
        pytest.param(
            {"auths": {"https://r:5000/v2/": ADA}}, "r:5000", {"username": "ada", "password": "pass:word"}, id="address"
        ),
        pytest.param({"auths": {"r:5000": {"identitytoken": "tok"}}}, "r:5000", {"identitytoken": "tok"}, id="token"),
        pytest.param({"auths": {"r:5000": {}}}, "r:5000", {}, id="left to a helper that is gone"),
        pytest.param({"auths": {"r:5000": {"auth": "§"}}}, "r:5000", {}, id="torn"),
        pytest.param({"auths": None, "credHelpers": None}, "r:5000", {}, id="nulls"),
    ],
)
def test_logins_in_the_file(config: dict[str, Any], registry: str, found: dict[str, str]) -> None:
    assert credentials(config, registry, no_helper) == ({**found, "serveraddress": registry} if found else {})


@pytest.mark.parametrize(
    ("config", "printed", "found"),
    [
        ({"credsStore": "pass"}, '{"Username": "ada", "Secret": "s"}', {"username": "ada", "password": "s"}),
        ({"credHelpers": {"r:5000": "pass"}}, '{"Username": "<token>", "Secret": "s"}', {"identitytoken": "s"}),
        ({"credsStore": "pass"}, None, {}),
        ({"credsStore": "pass"}, "credentials not found", {}),
        ({"credsStore": "pass"}, '["credentials not found"]', {}),
        ({"credsStore": "pass", "auths": {"r:5000": ADA}}, None, {"username": "ada", "password": "pass:word"}),
    ],
)
def test_logins_of_a_helper(config: dict[str, Any], printed: str | None, found: dict[str, str]) -> None:
    asked: list[tuple[str, str]] = []

    def helper(name: str, registry: str) -> str | None:
        asked.append((name, registry))
        return printed

    assert credentials(config, "r:5000", helper) == ({**found, "serveraddress": "r:5000"} if found else {})
    assert asked == [("pass", "r:5000")]


def test_the_header() -> None:
    assert header("r:5000/a:v1", {}, no_helper) == ""
    text = header("r:5000/a:v1", {"auths": {"r:5000": ADA}}, no_helper)
    assert json.loads(base64.urlsafe_b64decode(text)) == {
        "username": "ada",
        "password": "pass:word",
        "serveraddress": "r:5000",
    }


@pytest.mark.parametrize(("text", "found"), [(None, {}), ("{", {}), ("[]", {}), ('{"auths": {}}', {"auths": {}})])
def test_the_clients_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, found: dict[str, Any]
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    assert client_config() == found
