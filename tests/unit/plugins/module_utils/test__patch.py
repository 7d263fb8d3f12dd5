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
    with pytest.raises(_patch.PatchError, match=r"action `delete` is not one of comment_line, rename, replace\."):
        _patch.apply_patches(str(tree), [{"name": "x", "action": "delete", "file": "y"}])


MODEL = "srt/models/minimax_m2.py"


def replace(old: str, new: str, name: str = "swap", file: str = MODEL) -> dict[str, Any]:
    return {"name": name, "action": "replace", "file": file, "old": old, "new": new}


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        pytest.param(
            "return x", "return x + 1", SOURCE.replace("return x", "return x + 1"), id="the new text has the old"
        ),
        pytest.param("return x\n", "return 2\n", SOURCE.replace("return x", "return 2"), id="another text"),
        pytest.param(
            f"{LINE}\ndef f(x):\n",
            "def f(x):\n    x = 2\n",
            SOURCE.replace(f"{LINE}\n", "").replace("(x):\n", "(x):\n    x = 2\n"),
            id="several lines",
        ),
        pytest.param(f"{LINE}\n", "", SOURCE.replace(f"{LINE}\n", ""), id="a text taken out"),
        pytest.param(
            "y = 1", r"y = r'\1 \g<0> \0'", SOURCE.replace("y = 1", r"y = r'\1 \g<0> \0'"), id="to the letter"
        ),
    ],
)
def test_a_text_is_replaced(tree: Path, old: str, new: str, wanted: str) -> None:
    assert _patch.apply_patches(str(tree), [replace(old, new)]) == [{"name": "swap", "outcome": "applied"}]
    assert snapshot(tree) == {"srt/models/transformers.py": "x = 1\n", MODEL: wanted}


def test_an_added_text_is_added_once(tree: Path) -> None:
    patch = replace("import torch\n", "import torch\nimport math\n")
    _patch.apply_patches(str(tree), [patch])
    before = snapshot(tree)
    assert _patch.apply_patches(str(tree), [patch]) == [{"name": "swap", "outcome": "already"}]
    assert snapshot(tree) == before


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        pytest.param(
            "return z", "return 1", "the text `return z` exactly once in {file}, found it 0 times.", id="not there"
        ),
        pytest.param("x", "z", "the text `x` exactly once in {file}, found it 2 times.", id="twice"),
        pytest.param(
            "return z\n\nclass B",
            "pass",
            "the text `return z …` exactly once in {file}, found it 0 times.",
            id="two lines",
        ),
        # Not taken for a patched file: any file of another version may have the new text.
        pytest.param(
            "return z",
            "return x",
            "the text `return z` exactly once in {file}, found it 0 times.",
            id="the new text is there",
        ),
        pytest.param(
            "x", "(x)", "the text `x` exactly once in {file}, found it 2 times.", id="once in the new, once alone"
        ),
    ],
)
def test_a_text_that_is_not_there_once_is_refused(tree: Path, old: str, new: str, found: str) -> None:
    before = snapshot(tree)
    with pytest.raises(_patch.PatchError) as error:
        _patch.apply_patches(str(tree), [replace(old, new)])
    hint = " Its new text is there." if new in SOURCE and new.strip() else ""
    assert str(error.value) == "patch swap: expected " + found.replace("{file}", MODEL) + hint + MISFIT
    assert snapshot(tree) == before


def test_patches_build_on_those_before_them(tree: Path) -> None:
    """A renamed file by its new name, a changed one as it is changed; neither is there when the first is looked at."""
    patches = [
        RENAME,
        replace("x = 1", "x = 2", "one", "srt/models/hf.py"),
        replace("x = 2", "x = 3", "two", "srt/models/hf.py"),
    ]
    _patch.apply_patches(str(tree), patches)
    assert snapshot(tree) == {"srt/models/hf.py": "x = 3\n", MODEL: SOURCE}


def test_a_renamed_file_keeps_its_mode(tree: Path) -> None:
    (tree / "srt/models/transformers.py").chmod(0o755)
    _patch.apply_patches(str(tree), [RENAME, replace("x = 1", "x = 2", "one", "srt/models/hf.py")])
    assert (tree / "srt/models/hf.py").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("patches", "message"),
    [
        pytest.param(
            [RENAME, replace("return x", "return (x")],
            f"patch swap: {MODEL} would not compile any more, line 6: '(' was never closed."
            " Correct the patch; nothing was changed.",
            id="one patch",
        ),
        pytest.param(
            [COMMENT, replace("return x", "return )x")],
            f"patch comment, swap: {MODEL} would not compile any more, line 6: unmatched ')'."
            " Correct the patch; nothing was changed.",
            id="all patches of the file are named",
        ),
        pytest.param(
            [replace("x = 1", "x = = 1", file="srt/models/transformers.py"), RENAME],
            "patch swap, rename: srt/models/hf.py would not compile any more, line 1: invalid syntax."
            " Correct the patch; nothing was changed.",
            id="under its new name",
        ),
    ],
)
def test_a_result_that_is_no_python_is_refused_by_name(tree: Path, patches: list[dict[str, Any]], message: str) -> None:
    before = snapshot(tree)
    with pytest.raises(_patch.PatchError) as error:
        _patch.apply_patches(str(tree), patches)
    assert str(error.value) == message
    assert snapshot(tree) == before


def test_what_is_no_python_is_not_compiled(tree: Path) -> None:
    (tree / "kernel.cu").write_text("int x = 1;\n")
    _patch.apply_patches(str(tree), [replace("x = 1", "x = 2", file="kernel.cu")])
    assert (tree / "kernel.cu").read_text() == "int x = 2;\n"


def test_a_file_that_is_no_text_is_refused(tree: Path) -> None:
    (tree / "blob.bin").write_bytes(b"\xff\xfe")
    with pytest.raises(_patch.PatchError, match=r"^patch swap: blob.bin is no UTF-8 text; nothing was changed\.$"):
        _patch.apply_patches(str(tree), [replace("a", "b", file="blob.bin")])


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
