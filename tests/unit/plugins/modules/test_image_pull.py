# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What image_pull finds on a node and does with a pull, without an engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _our_images, _pull
from ansible_collections.sglang.fleet.plugins.module_utils._detached import Job
from ansible_collections.sglang.fleet.plugins.module_utils._docker import DockerError
from ansible_collections.sglang.fleet.plugins.modules import image_pull
from ansible_collections.sglang.fleet.plugins.modules.image_pull import Wanted, conclude

LOCKED = {"reference": "r:v1", "digest": "sha256:dd", "ids": ["sha256:aa"], "bytes": 10}
TAGGED = {"r:v1": ("sha256:aa", ["r@sha256:dd"])}
BY_DIGEST = {"r@sha256:dd": ("sha256:aa", ["r@sha256:dd"])}
LOADED = {"sha256:aa": ("sha256:aa", list[str]())}
MOVED = {"r:v1": ("sha256:bb", ["r@sha256:ee"])}


class Module:
    """An AnsibleModule on a node whose engine knows these names: name → ID and digests."""

    def __init__(self, names: dict[str, tuple[str, list[str]]], **params: Any) -> None:
        self.names, self.params = dict(names), {**LOCKED, **params}
        self.calls, self.warnings = list[list[str]](), list[str]()

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def run_command(self, words: list[str]) -> tuple[int, str, str]:
        self.calls.append(words[1:])
        match words[1:]:
            case ["image", "inspect", name]:
                if name not in self.names:
                    return 1, "[]", "Error: No such image: x"
                image_id, digests = self.names[name]
                return 0, json.dumps([{"Id": image_id, "RepoDigests": digests}]), ""
            case ["tag", image_id, name]:
                self.names[name] = (image_id, [])
                return 0, "", ""
        raise AssertionError(words)


def wanted(names: dict[str, tuple[str, list[str]]], **params: Any) -> tuple[Wanted, Module]:
    module = Module(names, **params)
    engine: Any = module
    return Wanted(engine), module


def always(value: Any) -> Callable[..., Any]:
    """A function that gives this, whatever it is asked."""
    return lambda *_arguments: value


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No file of this machine is read or written."""
    monkeypatch.setattr(image_pull, "FOLDER", str(tmp_path / "pull"))
    for function in (_our_images.load, _our_images.save):
        path = str(tmp_path / "images.json")
        monkeypatch.setattr(function, "__defaults__", (path,))
    return tmp_path


@pytest.mark.parametrize(
    ("names", "params", "image_id"),
    [
        pytest.param({}, {}, None, id="nothing"),
        pytest.param(TAGGED, {}, "sha256:aa", id="by its name"),
        pytest.param(BY_DIGEST, {}, "sha256:aa", id="by its digest"),
        pytest.param(LOADED, {}, "sha256:aa", id="by its ID"),
        pytest.param(MOVED, {}, None, id="another under its name"),
        pytest.param({**MOVED, **LOADED}, {}, "sha256:aa", id="another under its name, and itself"),
        pytest.param(MOVED, {"digest": None, "ids": []}, "sha256:bb", id="any"),
        pytest.param(LOADED, {"digest": None}, None, id="without a digest the name counts"),
    ],
)
def test_what_the_node_has(names: dict[str, Any], params: dict[str, Any], image_id: str | None) -> None:
    image = wanted(names, **params)[0].on_node()
    assert (image.id if image else None) == image_id


@pytest.mark.parametrize(
    ("names", "reference", "nameless"),
    [(TAGGED, "r:v1", False), (MOVED, "r:v1", False), (BY_DIGEST, "r:v1", True), (BY_DIGEST, "r@sha256:dd", False)],
)
def test_an_image_without_the_name(names: dict[str, Any], reference: str, nameless: bool) -> None:
    assert wanted(names, reference=reference)[0].nameless() is nameless


def test_what_was_pulled_gets_its_name_and_is_ours() -> None:
    image, module = wanted({**BY_DIGEST, **MOVED})
    image.finish()
    assert module.names["r:v1"][0] == "sha256:aa"
    [record] = _our_images.load()
    assert (record["reference"], record["id"], record["digest"]) == ("r:v1", "sha256:aa", "sha256:dd")


def state(places: Path, image: Wanted, **values: Any) -> Job:
    """A pull that has said so last, and has ended."""
    job = Job(str(places / "pull"), image.key)
    (places / "pull" / f"{image.key}.json").write_text(json.dumps(values))
    return job


def test_a_pull_that_failed_unseen_is_not_begun_again(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _module = wanted({})
    job = state(places, first, state="failed", error="image r:v1: no way", kind="registry")
    image, module = wanted({})
    begun = image.begun(watching=True)
    engine: Any = module
    with pytest.raises(DockerError, match="image r:v1: no way") as error:
        conclude(engine, image, begun, begun.state())
    assert error.value.kind == "registry"
    assert job.state() == {}
    monkeypatch.setattr(Wanted, "start", lambda self: self.key)
    assert image.begun(watching=True) == image.key, "nothing is there to watch any more"
    state(places, first, state="failed")
    assert wanted({})[0].begun(watching=False) == image.key, "a new run tries anew"


def test_a_pull_that_was_killed_says_so(places: Path) -> None:
    state(places, wanted({})[0], state="running")
    image, module = wanted({})
    engine: Any = module
    begun = image.begun(watching=True)
    with pytest.raises(DockerError, match="ended from outside"):
        conclude(engine, image, begun, begun.state())


def test_a_pull_that_ended_unseen_is_concluded(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Wanted, "moved", always("it has moved"))
    assert wanted(BY_DIGEST)[0].unfinished() is None
    state(places, wanted({})[0], state="done")
    image, module = wanted(BY_DIGEST)
    job = image.unfinished()
    assert job is not None
    engine: Any = module
    conclude(engine, image, job, job.state())
    assert module.names["r:v1"][0] == "sha256:aa"
    assert module.warnings == ["it has moved"]
    assert wanted(BY_DIGEST)[0].unfinished() is None


@pytest.mark.parametrize(
    ("reference", "digest", "there", "words"),
    [
        ("r:v1", "sha256:dd", "sha256:dd", None),
        ("r:v1", "sha256:dd", None, None),
        ("r:v1", None, "sha256:ee", None),
        ("r@sha256:dd", "sha256:dd", "sha256:ee", None),
        (
            "r:v1",
            "sha256:dd",
            "sha256:ee",
            "image r:v1: the tag has moved in the registry, to sha256:ee; sha256:dd was pulled",
        ),
    ],
)
def test_a_tag_that_moved(
    monkeypatch: pytest.MonkeyPatch, reference: str, digest: str | None, there: str | None, words: str | None
) -> None:
    def ask(path: str, asked: str, auth: str) -> str | None:
        assert (path, asked, auth) == ("/docker.sock", "r:v1", "")
        return there

    monkeypatch.setattr(image_pull, "socket_of", always("/docker.sock"))
    monkeypatch.setattr(image_pull, "digest_in_registry", ask)
    monkeypatch.setattr(Wanted, "auth", always(""))
    said = wanted({}, reference=reference, digest=digest)[0].moved()
    assert (said or "").startswith(words or "")
    assert (said is None) == (words is None)


def test_room_is_seen_to_first(monkeypatch: pytest.MonkeyPatch) -> None:
    image, _module = wanted({})
    monkeypatch.setattr(image.docker, "info", always({"DockerRootDir": "/var/lib/docker"}))
    monkeypatch.setattr(_pull, "free_bytes", always(29))
    with pytest.raises(
        DockerError, match="no room for it: 29 B are free below /var/lib/docker, 30 B are needed"
    ) as error:
        image.start()
    assert error.value.kind == "space"
