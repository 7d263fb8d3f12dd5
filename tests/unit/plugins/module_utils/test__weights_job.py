# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command lines and the job file of a transfer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _weights_job as job_of

FILES = [{"path": "a", "size": 1, "sha256": "0" * 64}]
HUB = {"kind": "hub", "at": "https://huggingface.co", "name": "huggingface.co"}
OPTIONS: dict[str, Any] = {
    "repository": "org/toy",
    "revision": "1" * 40,
    "files": FILES,
    "directory": "/w",
    "ask": True,
    "fallback": False,
    "rank": 0,
    "peers": [],
    "jobs": 8,
    "stall_seconds": 60,
    "verify": "changed",
    "token": "hf_secret",
    "key": "secret key",
}


@pytest.mark.parametrize(
    ("wish", "source"),
    [
        ("hub", HUB),
        ("", HUB),
        ("http://shop:8080/x/", {"kind": "http", "at": "http://shop:8080/x", "name": "shop:8080"}),
        ("https://u:p@shop/x?sig=1", {"kind": "http", "at": "https://u:p@shop/x?sig=1", "name": "shop"}),
        ("/srv/weights/", {"kind": "folder", "at": "/srv/weights", "name": "/srv/weights/"}),
    ],
)
def test_source(wish: str, source: dict[str, str]) -> None:
    assert job_of.source_of(wish, "https://huggingface.co/") == source


@pytest.mark.parametrize(
    ("folder", "mount", "inside"),
    [
        ("/srv/m", "/srv/m", "/source"),
        ("/w/.sglang-fleet/incoming", "", "/root/.cache/huggingface/.sglang-fleet/incoming"),
        ("/weights", "/weights", "/source"),  # not below /w
        ("/hf/hub/models--a--b/snapshots/123", "/hf/hub/models--a--b", "/source/snapshots/123"),
    ],
)
def test_folder(folder: str, mount: str, inside: str) -> None:
    assert job_of.folder_mount(folder, "/w") == (mount, inside)


def test_work_is_the_same_for_the_same_files_alone() -> None:
    def work(**changes: Any) -> str:
        values: dict[str, Any] = {
            "repository": "org/toy",
            "revision": "1",
            "files": FILES,
            "directory": "/w",
            "source": HUB,
            **changes,
        }
        return job_of.work_of(**values)

    assert work() == work(files=[dict(FILES[0])])
    others = [
        work(repository="x"),
        work(revision="2"),
        work(files=[]),
        work(directory="/v"),
        work(source={**HUB, "at": "http://mirror"}),
    ]
    assert work() not in others
    assert len(set(others)) == len(others)


def test_job_holds_no_secret() -> None:
    made = job_of.job(OPTIONS, HUB, "work")
    assert "secret" not in json.dumps(made)
    assert (made["directory"], made["asks_source"], made["source"]) == ("/root/.cache/huggingface", True, HUB)


def test_job_of_a_folder_names_the_place_in_the_container() -> None:
    source = job_of.source_of("/srv/m", "")
    assert job_of.job(OPTIONS, source, "work")["source"]["at"] == "/source"


@pytest.mark.parametrize(
    "words", [job_of.client_command("img", "/w", HUB, "l"), job_of.peer_command("img", "/w", 30090, "l")]
)
def test_commands(words: list[str]) -> None:
    assert words[:2] == ["run", "--detach"]
    assert {
        "--pull=never",
        "--cap-drop=ALL",
        "--entrypoint=python3",
        "--env=HF_HUB_OFFLINE=0",
        "--env=HF_HUB_DISABLE_XET=1",
    } <= {*words}
    assert words[words.index("img") + 1] == "-m"
    job = next(word for word in words if word.startswith(f"--mount=type=bind,src={job_of.JOB},dst=/job"))
    assert job.endswith(",readonly") is (f"--name={job_of.PEER}" in words)  # the client takes the token away
    assert not any(word.startswith("--gpus") or "TOKEN" in word.replace("IMPLICIT_TOKEN", "") for word in words)


def test_server_cannot_write() -> None:
    mounts = [word for word in job_of.peer_command("img", "/w", 30090, "l") if word.startswith("--mount")]
    assert len(mounts) == 3
    assert all(word.endswith(",readonly") for word in mounts)


def test_folder_is_mounted_for_the_client() -> None:
    words = job_of.client_command("img", "/w", job_of.source_of("/srv/m", ""), "l")
    assert "--mount=type=bind,src=/srv/m,dst=/source,readonly" in words
    inside = job_of.client_command("img", "/w", job_of.source_of("/w/.sglang-fleet/incoming", ""), "l")
    assert not any("dst=/source" in word for word in inside)


@pytest.mark.parametrize(
    ("address", "listens"),
    [("10.0.0.1", "10.0.0.1"), ("fd00::1", "fd00::1"), ("[fd00::1]", "fd00::1"), ("node-01", ""), ("", "")],
)
def test_server_listens_on_the_address_that_it_offers(address: str, listens: str) -> None:
    assert job_of.listening(address) == listens
    words = job_of.peer_command("img", "/w", 30090, "l", listens)
    assert words[-2 if listens else -1 :] == ["30090", listens][: 2 if listens else 1]
