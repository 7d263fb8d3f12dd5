# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _bundle
from ansible_collections.sglang.fleet.plugins.module_utils._bundle import BundleError

IMAGE, MODEL = "lmsysorg/sglang:v1", "Org/Name"
MANIFEST, CONFIG, LAYER = "sha256:aa", "sha256:bb", "sha256:cc"
AGAIN = "make the bundle anew from this lock with `sglang-fleet bundle`"


def entry(text: str = "x") -> dict[str, Any]:
    return {"size": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}


BUNDLE: dict[str, Any] = {
    "schema": 1,
    "lock": "dd",
    "images": {
        IMAGE: {
            "digest": "sha256:ee",
            "platforms": {"amd64": {"manifest": MANIFEST, "config": CONFIG, "blobs": [MANIFEST, CONFIG, LAYER]}},
        }
    },
    "models": {MODEL: {"revision": "r1", "bytes": 16}},
    "files": {
        **{f"images/blobs/sha256/{name}": entry(name) for name in ("aa", "bb", "cc")},
        **{f"weights/{MODEL}/r1/{name}": entry(name) for name in ("a.json", "sub/b.json")},
    },
}


def test_a_written_bundle_is_read(tmp_path: Path) -> None:
    text = _bundle.render_bundle("dd", BUNDLE["images"], BUNDLE["models"], BUNDLE["files"])
    (tmp_path / "bundle.json").write_text(text)
    assert _bundle.load_bundle(str(tmp_path)) == BUNDLE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "{folder} holds no whole bundle, for bundle.json is not there: make it with `sglang-fleet bundle`, or"),
        ("{", "{folder}/bundle.json is not JSON: "),
        ("[]", "{folder}/bundle.json is not a bundle's: it must have schema, lock, images, models, files; make it"),
        (
            json.dumps({**BUNDLE, "schema": 2}),
            "{folder}/bundle.json has schema 2, and this version of the collection knows 1",
        ),
    ],
)
def test_what_is_no_bundle_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "bundle.json").write_text(text)
    with pytest.raises(BundleError) as error:
        _bundle.load_bundle(str(tmp_path))
    assert str(error.value).startswith(message.replace("{folder}", str(tmp_path)))


def test_an_images_blobs() -> None:
    found = _bundle.image_blobs(BUNDLE, IMAGE, [CONFIG, MANIFEST, "sha256:ee"])
    assert (found["manifest"], found["config"]) == (MANIFEST, CONFIG)
    assert [(blob["digest"], blob["path"], blob["size"]) for blob in found["blobs"]] == [
        (name, f"images/blobs/sha256/{name[7:]}", 2) for name in (MANIFEST, CONFIG, LAYER)
    ]


@pytest.mark.parametrize(
    ("reference", "ids", "message"),
    [
        ("other:v1", [CONFIG], f"the bundle has no image other:v1 (it has {IMAGE}): {AGAIN}"),
        (
            IMAGE,
            ["sha256:11", "sha256:22"],
            f"the bundle has {IMAGE} as amd64 sha256:aa, and the lock wants one of sha256:11, sha256:22: {AGAIN}",
        ),
        # The index is that of another platform too.
        (IMAGE, ["sha256:11", "sha256:22", "sha256:ee"], "the bundle has"),
    ],
)
def test_an_image_that_is_not_in_it(reference: str, ids: list[str], message: str) -> None:
    with pytest.raises(BundleError) as error:
        _bundle.image_blobs(BUNDLE, reference, ids)
    assert str(error.value).startswith(message)


def test_the_files_of_weights() -> None:
    assert _bundle.weights_files(BUNDLE, MODEL, "r1", ["sub/b.json"]) == [
        {"path": "sub/b.json", "source": f"weights/{MODEL}/r1/sub/b.json", **entry("sub/b.json")}
    ]


@pytest.mark.parametrize(("revision", "path"), [("r2", "a.json"), ("r1", "c.json")])
def test_weights_that_are_not_in_it(revision: str, path: str) -> None:
    with pytest.raises(BundleError) as error:
        _bundle.weights_files(BUNDLE, MODEL, revision, [path])
    assert str(error.value) == (
        f"the bundle lacks 1 files of {MODEL} at {revision}, such as {path} (it has weights of {MODEL} at r1): {AGAIN}"
    )


@pytest.mark.parametrize("hashing", [True, False])
def test_problems(tmp_path: Path, hashing: bool) -> None:
    for name, text in (("good", "x"), ("short", ""), ("other", "y")):
        (tmp_path / name).write_text(text)
    files = {name: entry() for name in ("good", "short", "other", "gone")}
    found = list(_bundle.problems(str(tmp_path), {**BUNDLE, "images": {}, "models": {}, "files": files}, hashing))
    wanted = ["gone is not there", "short has 0 bytes, 1 are wanted"]
    if hashing:
        wanted.insert(
            1,
            f"other has another content: its SHA-256 is not {entry()['sha256']}. Delete it, and run sglang-fleet bundle",
        )
    assert found == wanted


def test_the_archives_small_files() -> None:
    manifest = {"mediaType": "m", "config": {"digest": CONFIG}, "layers": [{"digest": LAYER}, {"digest": "sha256:dd"}]}
    texts = {name: json.loads(text) for name, text in _bundle.archive_texts("a/b:t", MANIFEST, 7, manifest).items()}
    assert texts["manifest.json"] == [
        {"Config": "blobs/sha256/bb", "RepoTags": ["a/b:t"], "Layers": ["blobs/sha256/cc", "blobs/sha256/dd"]}
    ]
    assert texts["oci-layout"] == {"imageLayoutVersion": "1.0.0"}
    [described] = texts["index.json"]["manifests"]
    assert (described["mediaType"], described["digest"], described["size"]) == ("m", MANIFEST, 7)
    assert described["annotations"]["io.containerd.image.name"] == "docker.io/a/b:t"


def test_a_folder_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert _bundle.folder_of("b") == str(tmp_path / "b")
    assert _bundle.folder_of("~/b") == "/home/me/b"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda bundle: bundle.update(files={}),
            "bundle.json lists 0 of 3 blobs of lmsysorg/sglang:v1, not sha256:aa: ",
        ),
        (
            lambda bundle: bundle["files"].pop("images/blobs/sha256/cc"),
            "bundle.json lists 2 of 3 blobs of lmsysorg/sglang:v1, not sha256:cc: ",
        ),
        (
            lambda bundle: bundle["files"].pop(f"weights/{MODEL}/r1/a.json"),
            f"bundle.json lists 10 of 16 bytes of {MODEL}: make it anew with `sglang-fleet bundle`",
        ),
    ],
)
def test_a_list_that_lacks_what_it_names(tmp_path: Path, change: Any, message: str) -> None:
    bundle = copy.deepcopy(BUNDLE)
    for path in bundle["files"]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path.rpartition(f"weights/{MODEL}/r1/")[2] if "weights" in path else path[-2:])
    assert list(_bundle.problems(str(tmp_path), bundle, True)) == []
    change(bundle)
    assert next(_bundle.problems(str(tmp_path), bundle, True)).startswith(message)


def lock(**changes: Any) -> dict[str, Any]:
    return {"images": {IMAGE: {}, "other": {}}, "models": {MODEL: {"revision": "r1"}}, **changes}


@pytest.mark.parametrize(
    ("found", "repository", "message"),
    [
        (lock(), MODEL, ""),
        (lock(), None, ""),
        (lock(models={}), MODEL, ""),
        (lock(models={MODEL: {"revision": "r2"}}), MODEL, f"the bundle has {MODEL} at r1, the lock r2: {AGAIN}"),
        (
            lock(models={MODEL: {"revision": "r1"}, "Org/New": {"revision": "r1"}}),
            "Org/New",
            f"the bundle has no weights of Org/New (it has {MODEL}): {AGAIN}",
        ),
        (
            lock(images={"b": {}, "a": {}}),
            MODEL,
            f"the bundle has no image of the lock's (it has {IMAGE}, the lock a, b): {AGAIN}",
        ),
    ],
)
def test_a_bundle_against_the_lock(found: dict[str, Any], repository: str | None, message: str) -> None:
    assert list(_bundle.lock_problems(BUNDLE, found, repository)) == [message] * bool(message)
