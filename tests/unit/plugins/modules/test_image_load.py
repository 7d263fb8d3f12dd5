# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive that the engine gets, and what happens to what it makes of it; the engine is a script that writes down."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _our_images
from ansible_collections.sglang.fleet.plugins.module_utils._docker import Docker, DockerError
from ansible_collections.sglang.fleet.plugins.modules import image_load

MANIFEST, CONFIG, LAYER = (f"sha256:{letter * 64}" for letter in "abc")
REFERENCE = "lmsysorg/sglang:v1"
IDS = [CONFIG, MANIFEST]
CONTENT = json.dumps({"config": {"digest": CONFIG}, "layers": [{"digest": LAYER}, {"digest": LAYER}]})


@pytest.fixture
def sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Blobs as they came; and a docker that keeps the archive it is given, or fails with what `refusal` holds."""
    folder = tmp_path / "incoming"
    folder.mkdir()
    for digest, text in ((MANIFEST, CONTENT), (CONFIG, "config"), (LAYER, "layer")):
        (folder / digest.replace(":", "-")).write_text(text)
    tool = tmp_path / "bin" / "docker"
    tool.parent.mkdir()
    tool.write_text(
        f"#!/bin/sh\n[ -e {tmp_path}/refusal ] && {{ cat {tmp_path}/refusal >&2; exit 1; }}\nexec cat > {tmp_path}/archive.tar\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    return folder


def test_the_archive_holds_each_blob_once(sent: Path) -> None:
    image_load.load(str(sent), MANIFEST, "sglang-fleet/loaded:aa")
    with tarfile.open(sent.parent / "archive.tar") as archive:
        names = archive.getnames()
        held = {name: archive.extractfile(name).read().decode() for name in names}  # type: ignore[union-attr]
    assert names == [
        *("oci-layout", "index.json", "manifest.json"),
        *(f"blobs/{digest.replace(':', '/')}" for digest in (MANIFEST, CONFIG, LAYER)),
    ]
    assert held[f"blobs/{LAYER.replace(':', '/')}"] == "layer"
    assert json.loads(held["manifest.json"])[0]["RepoTags"] == ["sglang-fleet/loaded:aa"]


def test_what_the_engine_says_is_explained(sent: Path) -> None:
    (sent.parent / "refusal").write_text("write /x: no space left on device\n")
    with pytest.raises(
        DockerError, match=r"docker load: .*no space left on device. The disk below Docker's data root is full"
    ):
        image_load.load(str(sent), MANIFEST, "sglang-fleet/loaded:aa")


class Engine:
    """The client's answers. found: the ID that the loaded image has, None for no image."""

    def __init__(self, found: str | None) -> None:
        self.found, self.calls = found, []  # type: ignore[var-annotated]

    def run(self, words: list[str]) -> tuple[int, str, str]:
        self.calls.append(words[1:])
        if words[1:3] != ["image", "inspect"]:
            return 0, "", ""
        if self.found is None:
            return 1, "", "Error: No such image: x"
        return 0, json.dumps([{"Id": self.found}]), ""


def params(sent: Path) -> dict[str, Any]:
    return {
        "reference": REFERENCE,
        "digest": "sha256:dd",
        "ids": IDS,
        "folder": str(sent),
        "blobs": {"manifest": MANIFEST, "sent": True, "bytes": 3},
    }


@pytest.mark.parametrize("found", IDS)
def test_the_locked_image_gets_its_name(sent: Path, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(_our_images, "load", list)
    monkeypatch.setattr(_our_images, "save", kept.extend)
    engine = Engine(found)
    image_load.take(Docker(engine.run), params(sent))
    assert engine.calls[-2:] == [["tag", found, REFERENCE], ["image", "rm", f"sglang-fleet/loaded:{'a' * 12}"]]
    assert [(image["reference"], image["id"], image["digest"]) for image in kept] == [(REFERENCE, found, "sha256:dd")]
    assert not sent.exists()


@pytest.mark.parametrize("found", ["sha256:ff", None])
def test_another_image_gets_none(sent: Path, found: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_our_images, "save", lambda _images: pytest.fail("noted as ours"))
    engine = Engine(found)
    with pytest.raises(DockerError) as error:
        image_load.take(Docker(engine.run), params(sent))
    assert str(error.value).startswith(
        f"image {REFERENCE}: what was loaded is {found or 'no image'}, and the lock wants {CONFIG} or {MANIFEST}."
    )
    assert not [call for call in engine.calls if call[0] == "tag"]
    assert sent.exists()
