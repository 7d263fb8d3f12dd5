# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue's patches against the real sources of each SGLang version, patched as an image on a node is.

The tree is a copy of the version's own in a folder that comes first on the path, so that the real Python imports it.
"""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from images import host, versions

from ansible_collections.sglang.fleet.plugins.module_utils import _patch, _patch_check
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import Wishes, facts_for
from ansible_collections.sglang.fleet.plugins.module_utils._planner import make_plan
from ansible_collections.sglang.fleet.plugins.module_utils._user_patches import user_patches

pytestmark = pytest.mark.lab

CATALOGUE = load_catalogue()
VERSIONS = host.sglang_versions()
PATCHES = CATALOGUE.images["v0.5.7-rocm700-mi30x"].patches
RENAME, COMMENT = PATCHES
LINE = COMMENT["line"]
MODEL = "srt/models/minimax_m2.py"
MODEL_CLASS = CATALOGUE.models["MiniMax-M2.7"].architecture.model_class or ""


class Source:
    """One version's tree in a folder of its own, and its Python."""

    def __init__(self, version: str, folder: Path) -> None:
        _common, sglang = host.folders(version)
        self.root = folder / "sglang"
        shutil.copytree(
            sglang / versions.SOURCE_ROOT / "sglang", self.root, ignore=shutil.ignore_patterns("__pycache__")
        )
        self.command, environment = host.sglang_python(version)
        self.environment = {**environment, "PYTHONPATH": os.pathsep.join([str(folder), environment["PYTHONPATH"]])}

    def apply(self, *patches: Any) -> dict[str, Any]:
        """What `_patch.py` prints, run by this Python as it is in the build of an image."""
        data = self.root.parent / "patches.json"
        data.write_text(json.dumps([dict(patch) for patch in patches]))
        done = self.python(inspect.getsource(_patch), "--root", str(self.root), "--patches", str(data))
        return _patch.outcome_of(done.stdout)

    def imported(self) -> dict[str, Any]:
        """What `_patch_check.py` prints, as in a container of the patched image."""
        words = ("--model-class", MODEL_CLASS, "--source-root", str(self.root))
        done = self.python(inspect.getsource(_patch_check), *words)
        return _patch_check.outcome_of(done.stdout) or {"error": done.stderr[-2000:]}

    def python(self, text: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command, "-", *words], input=text, env=self.environment, capture_output=True, text=True, check=False
        )

    def text(self, file: str) -> str:
        return (self.root / file).read_text("utf-8")

    def files(self) -> dict[str, int]:
        """Each Python file with the hash of its content."""
        return {str(path.relative_to(self.root)): hash(path.read_bytes()) for path in self.root.rglob("*.py")}


@pytest.fixture
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    return Source(request.param, tmp_path)


def named(patch: Any) -> dict[str, Any]:
    return {"why": "a test", "source": "a test", **patch}


@pytest.mark.parametrize("source", ["0.5.7"], indirect=True)
def test_the_patches_of_057_change_two_files_and_the_model_imports(source: Source) -> None:
    before, model = source.files(), source.text(MODEL)
    assert source.apply(*PATCHES) == {
        "patches": [
            {"name": "transformers-module-name", "outcome": "applied"},
            {"name": "minimax-m2-torch-compile", "outcome": "applied"},
        ]
    }
    after = source.files()
    assert set(before) - set(after) == {"srt/models/transformers.py"}
    assert set(after) - set(before) == {"srt/models/hf_transformers_model.py"}
    assert after["srt/models/hf_transformers_model.py"] == before["srt/models/transformers.py"]
    assert [file for file in before if file in after and before[file] != after[file]] == [MODEL]
    # The line alone, where it stands.
    assert source.text(MODEL) == model.replace(LINE, f"#{LINE}")
    assert model.count(LINE) == 1
    assert source.imported() == {"class": f"sglang.srt.models.minimax_m2.{MODEL_CLASS}"}
    # A base that is patched already stays as it is.
    assert [patch["outcome"] for patch in source.apply(*PATCHES)["patches"]] == ["already", "already"]
    assert source.files() == after


@pytest.mark.parametrize("source", VERSIONS, indirect=True)
def test_what_the_patches_fit_imports_with_and_without_them(source: Source) -> None:
    """They would fit the later sources too: it is the catalogue that says which images need them."""
    assert source.imported() == {"class": f"sglang.srt.models.minimax_m2.{MODEL_CLASS}"}
    assert [patch["outcome"] for patch in source.apply(*PATCHES)["patches"]] == ["applied", "applied"]
    assert source.imported() == {"class": f"sglang.srt.models.minimax_m2.{MODEL_CLASS}"}


@pytest.mark.parametrize("version", VERSIONS)
def test_only_images_of_057_are_given_patches(version: str) -> None:
    given = {image.name: len(image.patches) for image in CATALOGUE.images.values() if image.sglang_version == version}
    assert given
    assert set(given.values()) == ({2} if version == "0.5.7" else {0})


def test_no_plan_on_another_version_has_them() -> None:
    for gpu in ("MI300X", "MI355X"):
        for version in ("0.5.9", "0.5.10.post1"):
            plan = make_plan(CATALOGUE, facts_for(CATALOGUE, gpu, 8), Wishes(model="M2.7", sglang_version=version))
            assert (plan.image["sglang_version"], plan.patches) == (version, [])


@pytest.mark.parametrize("source", VERSIONS, indirect=True)
def test_a_changed_source_is_refused_by_the_patchs_name(source: Source) -> None:
    """One byte of the line differs: nothing is changed, not even by the patch that fits."""
    path = source.root / MODEL
    path.write_text(path.read_text("utf-8").replace(LINE, LINE.replace("dynamic", "dynamiC")), "utf-8")
    before = source.files()
    error = source.apply(*PATCHES)["error"]
    assert error.startswith(
        f"patch minimax-m2-torch-compile: expected the line `{LINE}` exactly once in {MODEL}, found it 0"
    )
    assert source.files() == before


@pytest.mark.parametrize("source", VERSIONS, indirect=True)
def test_an_operators_patch_of_several_lines(source: Source) -> None:
    text = source.text(MODEL)
    start = text.index("class MiniMaxM2ForCausalLM")
    old = "".join(text[start:].splitlines(True)[:2])
    patch = named({"name": "ours", "file": MODEL, "action": "replace", "old": old, "new": f"OURS = 'x'\n\n\n{old}"})
    assert source.apply(patch) == {"patches": [{"name": "ours", "outcome": "applied"}]}
    assert source.text(MODEL) == text.replace(old, f"OURS = 'x'\n\n\n{old}")
    assert source.imported() == {"class": f"sglang.srt.models.minimax_m2.{MODEL_CLASS}"}


@pytest.mark.parametrize("source", ["0.5.7"], indirect=True)
def test_a_patch_that_breaks_the_syntax_is_refused(source: Source) -> None:
    before = source.files()
    old = f"class {MODEL_CLASS}("
    patch = named({"name": "ours", "file": MODEL, "action": "replace", "old": old, "new": f"class {MODEL_CLASS}(("})
    assert source.apply(RENAME, patch)["error"].startswith(f"patch ours: {MODEL} would not compile any more, line ")
    assert source.files() == before


@pytest.mark.parametrize("source", VERSIONS, indirect=True)
def test_a_patch_that_breaks_the_import_is_found(source: Source) -> None:
    """It compiles; only the import tells."""
    old = "from sglang.srt.layers.logits_processor import LogitsProcessor"
    text = source.text(MODEL)
    assert text.count(old) == 1
    line = text[: text.index(old)].count("\n") + 1
    patch = named({"name": "ours", "file": MODEL, "action": "replace", "old": old, "new": f"{old}Gone"})
    assert "patches" in source.apply(*PATCHES, patch)
    found = source.imported()
    assert found["error"].startswith("ImportError: cannot import name 'LogitsProcessorGone' from")
    assert found["error"].endswith(f"({MODEL}, line {line})")
    assert _patch_check.blamed([*PATCHES, patch], found["files"]) == ["minimax-m2-torch-compile", "ours"]


@pytest.mark.parametrize("source", ["0.5.10.post1"], indirect=True)
def test_the_readmes_patch_fits(source: Source) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    text = readme.partition("```yaml\nfleet_patches:")[2].partition("```")[0]
    patches = user_patches(yaml.safe_load(f"fleet_patches:{text}")["fleet_patches"])
    before = source.text("srt/server_args.py")
    assert source.apply(*patches) == {"patches": [{"name": "longer-watchdog", "outcome": "applied"}]}
    after = source.text("srt/server_args.py")
    assert [(old, new) for old, new in zip(before.splitlines(), after.splitlines(), strict=True) if old != new] == [
        ("    watchdog_timeout: float = 300", "    watchdog_timeout: float = 600")
    ]
