# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the module host_packages fetches keys."""

from __future__ import annotations

import io
import os
import urllib.error
from email.message import Message
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._packages import PackageError
from ansible_collections.sglang.fleet.plugins.modules import host_packages

URL = "https://mirror/key.asc"


@pytest.mark.parametrize(
    ("environment", "proxy", "used"),
    [
        (None, "", None),
        (None, "http://proxy:3128", "http://proxy:3128"),
        ("http://mine:1", "http://proxy", "http://mine:1"),
    ],
)
def test_proxy_of_the_package_manager_is_taken_where_the_environment_has_none(
    environment: str | None, proxy: str, used: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []

    def open_url(_url: str, **_options: Any) -> io.BytesIO:
        seen.append(os.environ.get("https_proxy"))
        return io.BytesIO(b"key")

    monkeypatch.setattr(host_packages, "open_url", open_url)
    monkeypatch.setattr(os, "environ", {} if environment is None else {"https_proxy": environment})
    assert host_packages.fetch_key(URL, proxy) == b"key"
    assert seen == [used]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            urllib.error.HTTPError(URL, 401, "Unauthorized", Message(), None),
            ("401  Unauthorized", "does not let this host"),
        ),
        (urllib.error.HTTPError(URL, 404, "Not Found", Message(), None), ("404  Not Found", "no such path")),
        (urllib.error.URLError("timed out"), ("timed out", "does not answer", "its proxy (http://proxy:3128)")),
    ],
)
def test_key_that_cannot_be_fetched(error: Exception, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    def open_url(_url: str, **_options: Any) -> io.BytesIO:
        raise error

    monkeypatch.setattr(host_packages, "open_url", open_url)
    monkeypatch.setattr(os, "environ", {})
    with pytest.raises(PackageError) as caught:
        host_packages.fetch_key(URL, "http://proxy:3128")
    assert not [word for word in (*words, URL) if word not in str(caught.value)], str(caught.value)
