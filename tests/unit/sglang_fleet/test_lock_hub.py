# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the real huggingface_hub makes of a hub in this process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sglang_fleet.lock import HUB
from sglang_fleet.lock_hub import Hub, HubError, git_blob_id, needed, token_for
from tests.unit.sglang_fleet.lock_standins import Answer, HubStandin

MODEL = HubStandin.repository


@pytest.fixture
def standin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubStandin]:
    # The user's own login is not for tests.
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    hub = HubStandin()
    with hub.serving():
        yield hub


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr("sglang_fleet.lock_hub.time.sleep", waited.append)
    return waited


@pytest.mark.parametrize(
    "path",
    [
        "config.json",
        "model-00001-of-00130.safetensors",
        "chat_template.jinja",
        "LICENSE",
        "modeling.py",
        "sub/merges.txt",
        "x.md",
    ],
)
def test_what_a_server_may_need(path: str) -> None:
    assert needed(path)


@pytest.mark.parametrize(
    "path",
    [
        ".gitattributes",
        "sub/.gitignore",
        "README.md",
        "readme",
        "sub/README_zh.md",
        "figures/a.PNG",
        "b.jpeg",
        "c.svg",
        "d.mp4",
    ],
)
def test_what_no_server_needs(path: str) -> None:
    assert not needed(path)


def test_a_model(standin: HubStandin) -> None:
    found = Hub(f"{standin.url}/").entry(MODEL)
    assert found == {
        "revision": "1" * 40,
        "bytes": 1002,
        "files": [
            {"path": "config.json", "size": 2, "sha256": hashlib.sha256(b"{}").hexdigest()},
            {"path": "model.safetensors", "size": 1000, "sha256": hashlib.sha256(b"w" * 1000).hexdigest()},
        ],
    }
    read = {request.path.rsplit("/", 1)[1] for request in standin.requests if "/resolve/" in request.path}
    assert read == {"config.json"}, "large files are not downloaded to be hashed"


def test_a_revision(standin: HubStandin) -> None:
    assert Hub(standin.url).revision(MODEL) == "1" * 40
    assert Hub(standin.url).entry(MODEL, "main")["revision"] == "1" * 40
    with pytest.raises(HubError, match=r"has no such revision: correct fleet_server_args\.revision"):
        Hub(standin.url).entry(MODEL, "v9")


def test_bytes_that_are_not_the_hubs(standin: HubStandin) -> None:
    standin.wrong["config.json"] = b"[]"
    with pytest.raises(
        HubError, match=f"config.json came from .* as git blob {git_blob_id(b'[]')}, and the hub's list says"
    ):
        Hub(standin.url).entry(MODEL)


def test_the_token(standin: HubStandin) -> None:
    standin.token = "hf_s3cr3t"
    assert Hub(standin.url, "hf_s3cr3t").entry(MODEL)
    for token, wanted in (("hf_wr0ng", "fleet_hf_token"), (None, "a token (fleet_hf_token)")):
        with pytest.raises(HubError) as caught:
            Hub(standin.url, token).entry(MODEL)
        assert (
            str(caught.value)
            == f"{standin.url} has no {MODEL}, or does not show it without {wanted} that may see it (HTTP 401)"
        )


def test_the_users_own_login_is_for_hugging_face_alone(standin: HubStandin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    assert [token_for(where, None) for where in (HUB, f"{HUB}/", standin.url)] == ["hf_mine", "hf_mine", None]
    assert token_for(HUB, "hf_ours") == token_for(standin.url, "hf_ours") == "hf_ours"
    Hub(standin.url).entry(MODEL)
    assert not [request for request in standin.requests if "Authorization" in request.headers]
    monkeypatch.setattr("sglang_fleet.lock_hub.HUB", standin.url)
    standin.token = "hf_mine"
    assert Hub(standin.url).entry(MODEL)
    standin.token = "hf_other"
    with pytest.raises(HubError, match=r"without a token \(fleet_hf_token, or `hf auth login`\) that may see it"):
        Hub(standin.url).entry(MODEL)


def test_a_gated_model(standin: HubStandin) -> None:
    standin.gated = True
    with pytest.raises(
        HubError, match=f"{MODEL} on {standin.url} is for those who accepted its terms: accept them there, and give"
    ):
        Hub(standin.url).entry(MODEL)


def test_no_such_model(standin: HubStandin) -> None:
    with pytest.raises(HubError, match="has no me/other, or does not show it without a token"):
        Hub(standin.url).revision("me/other")


def test_an_empty_model(standin: HubStandin) -> None:
    standin.files, standin.lfs = {"README.md": b""}, {}
    with pytest.raises(HubError, match=f"{MODEL} at {'1' * 40} has no files"):
        Hub(standin.url).entry(MODEL)


def test_a_busy_hub_is_asked_again(standin: HubStandin, waits: list[float]) -> None:
    standin.busy = [Answer(429, headers={"Retry-After": "7"}), Answer(502), Answer(500)]
    assert Hub(standin.url).revision(MODEL)
    assert waits == [7.0, 4.0, 8.0]


def test_a_hubs_own_rate_limit(standin: HubStandin, waits: list[float]) -> None:
    standin.busy = [Answer(429, headers={"RateLimit": '"api";r=0;t=280'}), Answer(429)]
    assert Hub(standin.url).revision(MODEL)
    assert waits == [280.0, 4.0]


def test_a_hub_that_stays_busy(standin: HubStandin, waits: list[float]) -> None:
    standin.busy = [Answer(503)] * 4
    with pytest.raises(HubError, match=f"{standin.url} answers HTTP 503 for {MODEL}; try later"):
        Hub(standin.url).revision(MODEL)
    assert len(waits) == 3


def test_a_hub_that_is_not_there(waits: list[float]) -> None:
    with pytest.raises(
        HubError, match=f"http://127.0.0.1:9 does not answer for {MODEL}: .*refused; check fleet_hf_endpoint"
    ):
        Hub("http://127.0.0.1:9").revision(MODEL)
    assert len(waits) == 3


def test_git_names_content_so() -> None:
    assert git_blob_id(b"what is up, doc?") == "bd9dbf5aae1a3862dd1526723246b20206e5fc37"


def test_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is as quiet as it can be: no bars on the terminal, no telemetry."""
    from huggingface_hub import constants

    settings: Any = constants
    assert (settings.HF_HUB_DISABLE_PROGRESS_BARS, settings.HF_HUB_DISABLE_TELEMETRY) == (True, True)
