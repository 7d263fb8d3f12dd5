# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What image_prune reads of a node, and what it does there; which images may go is in test__our_images.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._docker import DockerError
from ansible_collections.sglang.fleet.plugins.module_utils._our_images import Ours
from ansible_collections.sglang.fleet.plugins.modules.image_prune import Node, applied_base, created, read_states

IMAGES: dict[str, dict[str, Any]] = {
    "sha256:base": {
        "Id": "sha256:base",
        "RepoTags": ["r:v1"],
        "RepoDigests": ["r@sha256:dd"],
        "Created": "2026-01-01T00:00:00Z",
        "Config": {"Labels": None},
    },
    "sha256:patched": {
        "Id": "sha256:patched",
        "RepoTags": ["p:v1"],
        "RepoDigests": [],
        "Created": "2026-02-01T00:00:00.123456789+01:00",
        "Config": {"Labels": {"sglang.fleet.patch_hash": "x", "sglang.fleet.base": "sha256:base"}},
    },
    "sha256:renamed": {"Id": "sha256:renamed", "RepoTags": ["mine:v1"], "RepoDigests": []},
}


class Module:
    """An AnsibleModule with an engine that has IMAGES and one container; `busy` cannot be removed."""

    def __init__(self, busy: str = "") -> None:
        self.busy, self.calls, self.warnings = busy, list[list[str]](), list[str]()

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def run_command(self, words: list[str]) -> tuple[int, str, str]:
        self.calls.append(words)
        match words[1:]:
            case ["image", "inspect", name]:
                found = IMAGES.get(name)
                return (0, json.dumps([found]), "") if found else (1, "[]", f"Error: No such image: {name}")
            case ["image", "ls", *_options]:
                return 0, "sha256:patched\nsha256:patched\n", ""
            case ["image", "rm", name]:
                if name == self.busy:
                    return 1, "", "conflict: unable to remove: container x is using it"
                return (1, "", f"Error: No such image: {name}") if "@" in name else (0, f"Untagged: {name}", "")
            case ["ps", *_options]:
                return 0, "c1\nc2\n", ""
            case ["container", "inspect", *_options]:
                return 1, "sha256:patched\n", "Error: No such container: c2"
        raise AssertionError(words)


def node(busy: str = "") -> tuple[Node, Module]:
    module = Module(busy)
    engine: Any = module
    return Node(engine), module


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        ("2026-01-01T00:00:00Z", 1767225600),
        ("2026-01-01T01:00:00.123456789+01:00", 1767225600),
        ("0001-01-01T00:00:00Z", -62135596800),
        ("", 0),
        ("yesterday", 0),
    ],
)
def test_when_an_image_was_made(stamp: str, seconds: float) -> None:
    assert created(stamp) == seconds


def test_what_the_records_say(tmp_path: Path) -> None:
    good, torn = tmp_path / "state.json", tmp_path / "previous.json"
    good.write_text('{"image": {"id": "a"}}')
    assert read_states([str(good), str(torn)]) == [{"image": {"id": "a"}}]
    torn.write_text("{")
    with pytest.raises(ValueError, match=r"previous.json is not JSON.*none was removed"):
        read_states([str(good), str(torn)])


def test_what_containers_use() -> None:
    assert node()[0].used() == ["sha256:patched"]


def test_what_was_patched() -> None:
    assert node()[0].patched() == [Ours("sha256:patched", ("p:v1",), 1769900400, "sha256:base")]


def test_what_is_recorded_and_still_ours() -> None:
    record = [
        {"reference": "r:v1", "id": "sha256:base", "digest": "sha256:dd", "since": 7},
        {"reference": "r:v0", "id": "sha256:gone", "digest": None, "since": 6},
        {"reference": "r:v2", "id": "sha256:renamed", "digest": None, "since": 8},
    ]
    assert node()[0].recorded(record) == [(record[0], Ours("sha256:base", ("r:v1", "r@sha256:dd"), 7))]


def test_removing_takes_every_name_of_ours() -> None:
    engine, module = node()
    assert engine.remove(Ours("sha256:base", ("r:v1", "r@sha256:dd")))
    assert engine.remove(Ours("sha256:patched"))
    assert [words[-1] for words in module.calls] == ["r:v1", "r@sha256:dd", "sha256:patched"]
    assert all("--force" not in words for words in module.calls)
    assert not module.warnings


def test_what_the_engine_keeps_stays() -> None:
    engine, module = node(busy="r:v1")
    assert not engine.remove(Ours("sha256:base", ("r:v1", "r@sha256:dd")))
    assert len(module.calls) == 1
    assert "image r:v1 stays: conflict" in module.warnings[0]


@pytest.mark.parametrize(
    ("applied", "base"),
    [
        ({"id": "sha256:base"}, "sha256:base"),
        ({"id": "sha256:patched", "patched": ["x"]}, "sha256:base"),
        ({"id": "sha256:gone", "patched": ["x"]}, None),
        ({"id": "sha256:plain", "patched": []}, "sha256:plain"),
    ],
)
def test_the_base_of_what_is_applied(applied: dict[str, Any], base: str | None) -> None:
    assert applied_base(node()[0], applied) == base


def test_an_engine_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, module = node()

    def refuse(_words: list[str]) -> tuple[int, str, str]:
        return 1, "", "Cannot connect to the Docker daemon"

    monkeypatch.setattr(module, "run_command", refuse)
    for look in (engine.used, engine.patched, lambda: engine.inspect("x")):
        with pytest.raises(DockerError):
            look()
