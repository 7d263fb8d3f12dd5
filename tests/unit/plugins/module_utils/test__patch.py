# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _patch

LINE = "@torch.compile(dynamic=True, backend=get_compiler_backend())"
RENAME = {"name": "rename", "action": "rename", "file": "srt/models/transformers.py", "to": "srt/models/hf.py"}
COMMENT = {"name": "comment", "action": "comment_line", "file": "srt/models/minimax_m2.py", "line": LINE}
SOURCE = f"import torch\n\n\n{LINE}\ndef f(x):\n    return x\n\n\nclass A:\n    y = 1\n"
MISFIT = (
    " This image's SGLang is not the one that the patch was written for: choose the image that the catalogue"
    " pairs with this patch, or correct the patch."
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    models = tmp_path / "srt" / "models"
    models.mkdir(parents=True)
    (models / "transformers.py").write_text("x = 1\n")
    (models / "minimax_m2.py").write_text(SOURCE)
    return tmp_path


def snapshot(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): p.read_text() for p in sorted(root.rglob("*")) if p.is_file()}


def test_both_patches_change_the_tree_and_nothing_else(tree: Path) -> None:
    assert _patch.apply_patches(str(tree), [RENAME, COMMENT]) == [
        {"name": "rename", "outcome": "applied"},
        {"name": "comment", "outcome": "applied"},
    ]
    assert snapshot(tree) == {
        "srt/models/hf.py": "x = 1\n",
        "srt/models/minimax_m2.py": SOURCE.replace(LINE, f"#{LINE}"),
    }


def test_an_indented_line_keeps_its_indent(tree: Path) -> None:
    path = tree / "srt/models/minimax_m2.py"
    path.write_text(f"class A:\n    {LINE}\n    def f(self): ...\n")
    _patch.apply_patches(str(tree), [COMMENT])
    assert path.read_text() == f"class A:\n    #{LINE}\n    def f(self): ...\n"


def test_a_patched_tree_is_left_as_it_is(tree: Path) -> None:
    _patch.apply_patches(str(tree), [RENAME, COMMENT])
    before = snapshot(tree)
    outcome = _patch.apply_patches(str(tree), [RENAME, COMMENT])
    assert [o["outcome"] for o in outcome] == ["already", "already"]
    assert snapshot(tree) == before


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        pytest.param(
            "srt/models/minimax_m2.py",
            SOURCE.replace("dynamic=True", "dynamic=Trur"),
            f"patch comment: expected the line `{LINE}` exactly once in srt/models/minimax_m2.py, found it 0 times."
            + MISFIT,
            id="one byte of the line differs",
        ),
        pytest.param(
            "srt/models/minimax_m2.py",
            SOURCE + f"\n\n{LINE}\ndef g(x): ...\n",
            f"patch comment: expected the line `{LINE}` exactly once in srt/models/minimax_m2.py, found it 2 times."
            + MISFIT,
            id="the line stands twice",
        ),
        pytest.param(
            "srt/models/hf.py",
            "y = 2\n",
            "patch rename: wanted to rename srt/models/transformers.py to srt/models/hf.py below {root},"
            " but both files are there." + MISFIT,
            id="the new name is taken",
        ),
        pytest.param(
            "srt/models/minimax_m2.py",
            None,
            "patch comment: srt/models/minimax_m2.py is not below {root}; nothing was changed.",
            id="the file is missing",
        ),
        pytest.param(
            "srt/models/transformers.py",
            None,
            "patch rename: wanted to rename srt/models/transformers.py to srt/models/hf.py below {root},"
            " but neither file is there." + MISFIT,
            id="nothing to rename",
        ),
    ],
)
def test_a_patch_that_does_not_fit_fails_by_name_and_changes_nothing(
    tree: Path, file: str, text: str | None, message: str
) -> None:
    path = tree / file
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    before = snapshot(tree)
    with pytest.raises(_patch.PatchError) as error:
        _patch.apply_patches(str(tree), [RENAME, COMMENT])
    assert str(error.value) == message.replace("{root}", str(tree))
    assert snapshot(tree) == before


def test_an_unknown_action_names_those_that_exist(tree: Path) -> None:
    with pytest.raises(_patch.PatchError, match=r"action `delete` is not one of comment_line, rename\."):
        _patch.apply_patches(str(tree), [{"name": "x", "action": "delete", "file": "y"}])


def test_a_result_that_is_no_python_is_refused(tree: Path) -> None:
    (tree / "srt/models/minimax_m2.py").write_text(f"def f(:\n{LINE}\n")
    with pytest.raises(SyntaxError):
        _patch.apply_patches(str(tree), [COMMENT])


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        pytest.param({"why": "other prose"}, True, id="prose"),
        pytest.param({"source": "elsewhere"}, True, id="source"),
        pytest.param({"line": LINE + " "}, False, id="line"),
        pytest.param({"name": "other"}, False, id="name"),
    ],
)
def test_the_hash_follows_what_a_patch_does(changed: dict[str, Any], same: bool) -> None:
    assert (_patch.patch_hash([COMMENT]) == _patch.patch_hash([{**COMMENT, **changed}])) is same


def test_order_counts_in_the_hash() -> None:
    assert _patch.patch_hash([RENAME, COMMENT]) != _patch.patch_hash([COMMENT, RENAME])


def test_main_prints_an_outcome_that_is_found_again(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tree / "patches.json"
    file.write_text(json.dumps([RENAME, COMMENT]))
    assert _patch.main(["--root", str(tree), "--patches", str(file)]) == 0
    output = f"Step 4/4 : RUN\n ---> Running in 0123\n{capsys.readouterr().out}Removing 0123\n"
    assert [p["outcome"] for p in _patch.outcome_of(output)["patches"]] == ["applied", "applied"]


def test_main_prints_the_failure(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "srt/models/transformers.py").unlink()
    file = tree / "patches.json"
    file.write_text(json.dumps([RENAME]))
    assert _patch.main(["--root", str(tree), "--patches", str(file)]) == 1
    assert _patch.outcome_of(capsys.readouterr().out)["error"].startswith("patch rename: wanted to rename")


def test_no_outcome_is_an_empty_one() -> None:
    assert _patch.outcome_of("Step 1/4 : FROM x\n") == {}


def test_the_tag_holds_base_and_patches() -> None:
    tag = _patch.patched_tag("sha256:0123456789abcdef", [COMMENT])
    assert tag == f"sglang-fleet/patched:0123456789ab-{_patch.patch_hash([COMMENT])[:12]}"
    assert tag != _patch.patched_tag("sha256:0123456789abcdef", [RENAME])
    assert tag != _patch.patched_tag("sha256:1123456789abcdef", [COMMENT])
