# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`sglang-fleet bundle`, with a registry and a hub in this process that give ranges and break off on demand."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from typer.testing import CliRunner

from ansible_collections.sglang.fleet.plugins.module_utils import _weights_fetch
from ansible_collections.sglang.fleet.plugins.module_utils._bundle import load_bundle
from ansible_collections.sglang.fleet.plugins.module_utils._lock import load_lock, make_lock, render_lock
from sglang_fleet import bundle, cli
from sglang_fleet.bundle import Outcome, check_bundle, make_bundle
from sglang_fleet.bundle_contents import File, Source
from sglang_fleet.planning import FleetError
from tests.unit.sglang_fleet.lock_standins import MANIFEST, Answer, HubStandin, Registry, Request, digest

IMAGE, MODEL, REVISION = "lmsysorg/sglang:v1", HubStandin.repository, "1" * 40
LAYERS = (b"a" * 5000, b"b" * 3000)
WEIGHTS = {"config.json": b"{}", "model-1.safetensors": b"w" * 9000}


def ranged(request: Request, body: bytes, cut: int | None) -> Answer:
    """Part of the body where it is asked for; `cut` bytes of it, although it promises all."""
    start = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
    rest = body[int(start[1]) :] if start else body
    headers = {"Content-Length": str(len(rest)), "Connection": "close"} if cut is not None else {}
    if start:
        headers["Content-Range"] = f"bytes {start[1]}-{len(body) - 1}/{len(body)}"
    return Answer(206 if start else 200, rest if cut is None else rest[:cut], headers)


class Images(Registry):
    """cuts: digest → where its next answers break off."""

    def __init__(self) -> None:
        super().__init__()
        self.cuts: dict[str, list[int]] = {}
        self.changed: dict[str, bytes] = {}

    def image(self, architecture: str, layers: tuple[bytes, ...] = LAYERS) -> tuple[str, str]:
        config = self.put({"architecture": architecture, "os": "linux"}, "application/json")
        for layer in layers:
            self.content[digest(layer)] = ("application/octet-stream", layer)
        listed = [{"digest": digest(layer), "size": len(layer)} for layer in layers]
        size = len(self.content[config][1])
        body = {"schemaVersion": 2, "mediaType": MANIFEST, "config": {"digest": config, "size": size}, "layers": listed}
        return self.put(body, MANIFEST), config

    def answer(self, request: Request) -> Answer:
        name = request.path.rpartition("/")[2]
        if (
            "/blobs/" not in request.path
            or name not in self.content
            or not self._let_in(request.headers.get("Authorization"))
        ):
            return super().answer(request)
        cuts = self.cuts.get(name)
        return ranged(request, self.changed.get(name, self.content[name][1]), cuts.pop(0) if cuts else None)


class Hub(HubStandin):
    """Its files with ranges; cuts: path → where its next answers break off."""

    def __init__(self) -> None:
        super().__init__()
        self.cuts: dict[str, list[int]] = {}
        self.changed: dict[str, bytes] = {}

    def answer(self, request: Request) -> Answer:
        if self.token is not None and request.headers.get("Authorization") != f"Bearer {self.token}":
            return Answer(401, headers={"X-Error-Code": "RepoNotFound"})
        path = request.path.partition(f"/resolve/{REVISION}/")[2]
        if path not in WEIGHTS:
            return Answer(404, headers={"X-Error-Code": "EntryNotFound"})
        body = self.changed.get(path, WEIGHTS[path])
        about = {"ETag": f'"{hashlib.sha256(WEIGHTS[path]).hexdigest()}"', "X-Repo-Commit": REVISION}
        if request.method == "HEAD":
            return Answer(200, b"", {**about, "Content-Length": str(len(body))})
        cuts = self.cuts.get(path)
        answer = ranged(request, body, cuts.pop(0) if cuts else None)
        return Answer(answer.status, answer.body, {**answer.headers, **about})


@dataclass
class World:
    folder: Path
    registry: Images = field(default_factory=Images)
    hub: Hub = field(default_factory=Hub)
    said: list[str] = field(default_factory=list)
    token: str | None = None

    @property
    def output(self) -> Path:
        return self.folder / "bundle"

    @property
    def lock_file(self) -> Path:
        return self.folder / "fleet.lock.yml"

    def lock(self, gpus: tuple[str, ...] = ("H200",), platforms: tuple[str, ...] = ("amd64", "arm64")) -> None:
        images = {}
        for name in platforms:
            manifest, config = self.registry.image(name)
            images[name] = {"manifest": manifest, "config": config, "bytes": 8000}
        files = [
            {"path": path, "size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
            for path, body in WEIGHTS.items()
        ]
        plans = [
            {
                "model": "MiniMax-M2.7",
                "gpu": gpu,
                "count": 8,
                "layout": "1x8",
                "profile": "hardened",
                "image": IMAGE,
                "sglang_version": "1",
                "driver": {"name": "nvidia", "minimum": "575"},
                "patches": {},
                "server_args": {},
                "environment": {},
            }
            for gpu in gpus
        ]
        models = {MODEL: {"revision": REVISION, "files": files}}
        image = {"digest": images["amd64" if "amd64" in images else platforms[0]]["manifest"], "platforms": images}
        self.lock_file.write_text(render_lock(make_lock({IMAGE: image}, models, plans)))

    def make(self) -> Outcome:
        return make_bundle(self.folder, self.output, say=self.said.append)

    def asked(self) -> int:
        return len(self.registry.requests) + len(self.hub.requests)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(tmp_path)

    def source(_inventory: Path, _limit: str | None = None, lock_file: Path | None = None) -> Source:
        return Source(lock_file or made.lock_file, [made.registry.url], made.hub.url, made.token)

    monkeypatch.setattr(bundle, "ask_source", source)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    # No way out: what the mirror does not give is not to be had.
    monkeypatch.setattr("sglang_fleet.bundle_images.addresses", lambda _reference, mirrors: list(mirrors))
    with made.registry.serving(), made.hub.serving():
        made.lock()
        yield made


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_bundle_holds_what_the_lock_names(world: World) -> None:
    done = world.make()
    held = contents(world.output)
    listed = load_bundle(str(world.output))
    assert {name: len(body) for name, body in held.items() if name != "bundle.json"} == {
        name: entry["size"] for name, entry in listed["files"].items()
    }
    assert all(hashlib.sha256(held[name]).hexdigest() == entry["sha256"] for name, entry in listed["files"].items())
    assert held["fleet.lock.yml"] == world.lock_file.read_bytes()
    for path, body in WEIGHTS.items():
        assert held[f"weights/{MODEL}/{REVISION}/{path}"] == body
    # One architecture is enough for H200, which no Grace machine has.
    assert list(listed["images"][IMAGE]["platforms"]) == ["amd64"]
    assert {name for name in held if name.startswith("images/blobs/")} == {
        f"images/blobs/{name.replace(':', '/')}" for name in listed["images"][IMAGE]["platforms"]["amd64"]["blobs"]
    }
    index = json.loads(held["images/index.json"])["manifests"][0]
    assert held[f"images/blobs/{index['digest'].replace(':', '/')}"] == world.registry.content[index["digest"]][1]
    assert (done.problems, done.removed) == ([], [])
    assert done.fetched == sum(
        len(body) for name, body in held.items() if name.startswith(("weights/", "images/blobs/"))
    )


def test_a_second_run_asks_nobody(world: World) -> None:
    world.make()
    before, asked = contents(world.output), world.asked()
    done = world.make()
    assert (done.fetched, world.asked(), contents(world.output)) == (0, asked, before)


@pytest.mark.parametrize(
    ("gpus", "platforms", "wanted"),
    [
        (("H200",), ("amd64", "arm64"), {"amd64"}),
        (("GB300",), ("amd64", "arm64"), {"arm64"}),
        (("H200", "GB300"), ("amd64", "arm64"), {"amd64", "arm64"}),
        (("X1",), ("amd64", "arm64"), {"amd64", "arm64"}),
    ],
)
def test_architectures(world: World, gpus: tuple[str, ...], platforms: tuple[str, ...], wanted: set[str]) -> None:
    world.lock(gpus, platforms)
    world.make()
    assert set(load_bundle(str(world.output))["images"][IMAGE]["platforms"]) == wanted


def test_what_was_cut_goes_on_where_it_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_weights_fetch, "_PIECE", 1000)  # what the hub's client holds back
    layer = digest(LAYERS[0])
    world.registry.cuts[layer] = [3000, 1000]
    world.hub.cuts["model-1.safetensors"] = [4000]
    world.make()
    assert check_bundle(world.output, None, None, None).problems == []
    ranges = [request.headers.get("Range") for request in world.registry.requests if request.path.endswith(layer)]
    assert ranges == [None, "bytes=3000-", "bytes=4000-"]
    got = [
        request.headers.get("Range")
        for request in world.hub.requests
        if request.path.endswith("model-1.safetensors") and request.method == "GET"
    ]
    assert got == [None, "bytes=4000-"]


def test_a_run_that_ended_goes_on_where_it_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = digest(LAYERS[0])
    world.registry.cuts[layer] = [2000, *[0] * 20]
    with pytest.raises(FleetError, match=f"no registry gives {layer} of {IMAGE}"):
        world.make()
    assert not (world.output / "bundle.json").exists()
    world.registry.cuts.clear()
    world.registry.requests.clear()
    world.make()
    asked = {request.path.rpartition("/")[2]: request.headers.get("Range") for request in world.registry.requests}
    assert asked[layer] == "bytes=2000-"
    assert digest(LAYERS[1]) not in asked


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        pytest.param(
            lambda world: world.registry.changed.update({digest(LAYERS[0]): b"x" * 5000}),
            r"no registry gives sha256:\w+ of lmsysorg/sglang:v1: .*what came is sha256:\w+: something on the way changes it",
            id="a layer with other bytes",
        ),
        pytest.param(
            lambda world: world.hub.changed.update({"model-1.safetensors": b"x" * 9000}),
            "model-1.safetensors came with 9000 bytes and SHA-256",
            id="weights with other bytes",
        ),
        pytest.param(
            lambda world: world.hub.changed.update({"model-1.safetensors": b"x"}),
            "gives model-1.safetensors with 1 bytes, locked 9000 bytes",
            id="weights of another size",
        ),
        pytest.param(
            lambda world: setattr(world.hub, "token", "t"), r"refuses config.json|HTTP 401", id="a token is wanted"
        ),
        pytest.param(lambda world: world.registry.content.clear(), "it has no such image", id="an image that is gone"),
        pytest.param(lambda world: world.lock_file.unlink(), "run sglang-fleet lock first", id="no lock"),
    ],
)
def test_what_cannot_be_had_is_said(world: World, break_it: Any, message: str) -> None:
    break_it(world)
    with pytest.raises(FleetError, match=message):
        world.make()
    assert not (world.output / "bundle.json").exists()


def test_a_token_opens_the_hub_and_is_in_no_file(world: World) -> None:
    world.hub.token = world.token = "hf_s3cr3t"
    world.make()
    assert not [name for name, body in contents(world.output).items() if b"s3cr3t" in body]


def test_the_users_own_login_as_for_lock(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    monkeypatch.setattr("sglang_fleet.lock_hub.HUB", world.hub.url)
    world.hub.token = "hf_mine"
    assert world.make().fetched


@pytest.mark.parametrize("failure", [FleetError("HTTP 404"), KeyboardInterrupt()])
def test_a_failure_waits_for_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    """Neither does an interrupt, wherever the main thread is just then, nor does the interpreter at its end."""
    never, started = Event(), Event()

    def hangs(_target: Path) -> None:
        started.set()
        never.wait(60)

    def fails(_target: Path) -> None:
        assert started.wait(10)
        if isinstance(failure, Exception):
            raise failure

    def say(_text: str) -> None:
        raise failure

    before = time.monotonic()
    files = [File("a", 9, "", hangs), File("b", 9, "", fails)]
    monkeypatch.setattr(bundle, "_FIRST_LINE", 0.0)
    with pytest.raises(type(failure)):
        bundle._fetch(tmp_path, files, 18, say if isinstance(failure, KeyboardInterrupt) else str)
    assert time.monotonic() - before < 10
    assert all(thread.daemon for thread in threading.enumerate() if thread.name.endswith("(work)"))
    never.set()


@pytest.mark.parametrize(
    ("endpoints", "refused"),
    [(("https://a", "https://a/"), False), (("https://a", "https://b"), True)],
)
def test_one_hub_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoints: tuple[str, ...], refused: bool
) -> None:
    def run(_playbook: str, _inventory: Path, _limit: str | None, events: Any, _variables: Any) -> None:
        for number, endpoint in enumerate(endpoints):
            events.hosts[str(number)] = {"file": "/l", "mirrors": [], "endpoint": endpoint}

    monkeypatch.setattr(bundle, "run_playbook", run)
    with pytest.raises(FleetError, match=r"several hubs .https://a, https://b.") if refused else nullcontext():
        assert bundle.ask_source(tmp_path).endpoint == "https://a"


def test_an_older_locks_files_are_removed(world: World) -> None:
    world.make()
    lock = load_lock(world.lock_file) or {}
    gone = lock["models"][MODEL]["files"].pop(0)
    lock["models"][MODEL]["bytes"] -= gone["size"]
    world.lock_file.write_text(render_lock(lock))
    (world.output / "notes.txt").write_text("the operator's own")
    asked = world.asked()
    done = world.make()
    assert done.removed == [f"weights/{MODEL}/{REVISION}/{gone['path']}"]
    assert (done.fetched, world.asked()) == (0, asked)
    assert "notes.txt" in contents(world.output)
    assert check_bundle(world.output, world.folder, None, None).problems == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        pytest.param(lambda path: path.unlink(), "{path} is not there", id="gone"),
        pytest.param(lambda path: path.write_bytes(b"w" * 8999), "{path} has 8999 bytes, 9000 are wanted", id="short"),
        pytest.param(
            lambda path: path.write_bytes(b"w" * 8999 + b"x"),
            "{path} has another content: its SHA-256 is not {sha256}. Delete it, and run sglang-fleet bundle",
            id="one byte",
        ),
    ],
)
def test_check_names_what_is_not_as_listed(world: World, change: Any, problem: str) -> None:
    world.make()
    path = f"weights/{MODEL}/{REVISION}/model-1.safetensors"
    change(world.output / path)
    before = contents(world.output)
    wanted = problem.format(path=path, sha256=hashlib.sha256(WEIGHTS["model-1.safetensors"]).hexdigest())
    assert check_bundle(world.output, world.folder, None, None).problems == [wanted]
    assert contents(world.output) == before


@pytest.mark.parametrize(
    ("text", "checked"),
    [
        pytest.param(lambda text: text[:100], "is not JSON", id="torn"),
        pytest.param(
            lambda text: json.dumps({**json.loads(text), "files": {}}), "bundle.json lists 0 of", id="an empty list"
        ),
    ],
)
def test_a_list_that_is_damaged_is_told_of_and_written_anew(world: World, text: Any, checked: str) -> None:
    world.make()
    listed = world.output / "bundle.json"
    whole = listed.read_text()
    listed.write_text(text(whole))
    try:
        said = check_bundle(world.output, None, None, None).problems[0]
    except FleetError as error:
        said = str(error)
    assert checked in said
    done = world.make()
    assert (done.fetched, listed.read_text()) == (0, whole)


def test_check_of_another_lock_and_of_no_bundle(world: World) -> None:
    assert (
        check_bundle(world.output, world.folder, None, None)
        .problems[0]
        .endswith("no whole bundle: run sglang-fleet bundle")
    )
    world.make()
    world.lock(("H200", "H100"))
    assert check_bundle(world.output, world.folder, None, None).problems == [
        "it was made from another lock: run sglang-fleet bundle"
    ]


def test_no_room_is_said_before_the_first_byte(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 5000})
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: usage)
    with pytest.raises(
        FleetError, match=r"no room for the bundle in .*: 5 kB are free, 1[78] kB are needed; nothing was fetched"
    ):
        world.make()
    assert not [name for name in contents(world.output) if not name.endswith(".json")]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--output", "{out}"], 0, "holds 1"),
        (["--output", "{out}", "--check"], 1, "no whole bundle"),
        (["--output", "{out}", "--lock-file", "/nowhere"], 2, "there is no lock /nowhere"),
        ([], 2, ""),
    ],
)
def test_exit_statuses(world: World, words: list[str], status: int, said: str) -> None:
    command = ["bundle", "--inventory", str(world.folder), *(word.format(out=world.output) for word in words)]
    done = CliRunner().invoke(cli.app, command)
    assert (done.exit_code, said in done.output) == (status, True), done.output
