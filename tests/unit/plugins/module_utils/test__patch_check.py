# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _patch_check
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import Wishes, facts_for
from ansible_collections.sglang.fleet.plugins.module_utils._planner import make_plan

MODEL = "class Toy:\n    pass\n\n\nEntryClass = Toy\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An sglang of two models."""
    source = tmp_path / "sglang"
    (source / "srt/models").mkdir(parents=True)
    for package in (source, source / "srt", source / "srt/models"):
        (package / "__init__.py").write_text("")
    (source / "srt/models/other.py").write_text("class ToyBase:\n    pass\n")
    (source / "srt/models/toy.py").write_text(MODEL)
    (source / "srt/layers.py").write_text("x = 1\n")
    return source


def tried(root: Path, wanted: str = "Toy") -> tuple[int, dict[str, Any]]:
    """The file as an image's Python gets it: on standard input."""
    done = subprocess.run(
        [sys.executable, "-", "--model-class", wanted, "--source-root", str(root)],
        input=inspect.getsource(_patch_check),
        env={"PYTHONPATH": str(root.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, _patch_check.outcome_of(done.stdout)


def test_a_class_that_imports_is_named(root: Path) -> None:
    assert tried(root) == (0, {"class": "sglang.srt.models.toy.Toy"})


@pytest.mark.parametrize("entry", ["EntryClass = [Toy]", "EntryClass = (object, Toy)"])
def test_several_entries(root: Path, entry: str) -> None:
    (root / "srt/models/toy.py").write_text(MODEL.replace("EntryClass = Toy", entry))
    assert tried(root)[0] == 0


@pytest.mark.parametrize(
    ("file", "text", "outcome"),
    [
        pytest.param(
            "srt/models/toy.py",
            "from sglang.srt.layers import gone\n" + MODEL,
            {
                "error": "ImportError: cannot import name 'gone' from 'sglang.srt.layers' ({root}/srt/layers.py)"
                " (srt/models/toy.py, line 1)",
                "files": ["srt/models/toy.py"],
            },
            id="an import that fails",
        ),
        pytest.param(
            "srt/layers.py",
            "import os\nraise SystemExit('no\\nGPU')\n",
            {
                "error": "SystemExit: no GPU (srt/layers.py, line 2)",
                "files": ["srt/models/toy.py", "srt/layers.py"],
            },
            id="what it imports gives up",
        ),
        pytest.param(
            "srt/models/toy.py",
            MODEL.replace("EntryClass = Toy", "EntryClass = object"),
            {"error": "LookupError: sglang.srt.models.toy does not offer Toy as its EntryClass", "files": []},
            id="another entry class",
        ),
        pytest.param(
            "srt/models/toy.py",
            "class ToyBase:\n    pass\n",
            {"error": "LookupError: no file of {root}/srt/models has a class Toy", "files": []},
            id="no such class",
        ),
    ],
)
def test_a_class_that_does_not_import_says_where(root: Path, file: str, text: str, outcome: dict[str, Any]) -> None:
    if file == "srt/layers.py":
        (root / "srt/models/toy.py").write_text("import sglang.srt.layers\n" + MODEL)
    (root / file).write_text(text)
    rc, found = tried(root)
    assert rc == 1
    assert {**found, "error": found["error"].replace(str(root), "{root}")} == outcome


def test_an_import_that_hangs_ends(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "srt/models/toy.py").write_text("import time\ntime.sleep(60)\n" + MODEL)
    source = inspect.getsource(_patch_check).replace("LIMIT = 600", "LIMIT = 1")
    monkeypatch.setattr(inspect, "getsource", lambda _module: source)
    rc, found = tried(root)
    assert (rc, found["error"]) == (1, "TimeoutError: it was not done after 1 s (srt/models/toy.py, line 2)")


def test_no_outcome_is_an_empty_one() -> None:
    assert _patch_check.outcome_of("Killed\n") == {}


PATCHES = [
    {"name": "a", "file": "srt/a.py", "action": "rename", "to": "srt/b.py"},
    {"name": "b", "file": "srt/b.py", "action": "replace"},
    {"name": "c", "file": "srt/c.py", "action": "replace"},
]


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["srt/c.py"], ["c"]),
        (["srt/c.py", "srt/b.py", "srt/x.py"], ["a", "b"]),
        (["srt/x.py"], ["a", "b", "c"]),
        ([], ["a", "b", "c"]),
    ],
)
def test_the_innermost_patched_file_is_to_blame(files: list[str], names: list[str]) -> None:
    assert _patch_check.blamed(PATCHES, files) == names


@pytest.mark.parametrize("profile", ["hardened", "cookbook"])
@pytest.mark.parametrize("gpu", ["MI300X", "H200"])
def test_the_container_is_the_servers_without_network_and_volumes(gpu: str, profile: str) -> None:
    catalogue = load_catalogue()
    plan = make_plan(catalogue, facts_for(catalogue, gpu, 8), Wishes(profile=profile))
    options = plan.instances[0].container_options
    kept = _patch_check.container_words(options)
    gone = [word for word in options if word not in kept]
    assert {word.partition("=")[0] for word in gone} == {"--network", "--volume", "--label"}
    words = _patch_check.check_command("sha256:ab", options, "Toy", "/s")
    assert words[: words.index("sha256:ab")] == [
        *("docker", "run", "--rm", "--interactive", "--network=none", "--log-driver=none", "--entrypoint=python3"),
        *kept,
    ]
    assert words[words.index("sha256:ab") :] == ["sha256:ab", "-", "--model-class", "Toy", "--source-root", "/s"]
    if profile == "hardened":
        assert any(word.startswith(("--device=", "--gpus=")) for word in kept)
