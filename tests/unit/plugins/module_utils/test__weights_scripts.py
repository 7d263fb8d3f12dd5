# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ast
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._weights_job import PACKAGE
from ansible_collections.sglang.fleet.plugins.module_utils._weights_scripts import SCRIPTS, write_private, write_scripts

NAMES = [script.__name__.rpartition(".")[2] for script in SCRIPTS]


def ours(source: str) -> Iterator[str]:
    """The modules of this collection that a program imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ansible_collections"):
            package, _dot, name = (node.module or "").rpartition(".")
            yield from [name] if package == PACKAGE else [alias.name for alias in node.names]


@pytest.mark.parametrize("name", NAMES)
def test_what_a_program_imports_travels_with_it(tmp_path: Path, name: str) -> None:
    write_scripts(str(tmp_path))
    written = tmp_path.joinpath(*PACKAGE.split("."), f"{name}.py")
    missing = [other for other in ours(written.read_text()) if not written.with_name(f"{other}.py").exists()]
    assert not missing, f"{name} imports {', '.join(missing)}, which is not in SCRIPTS"


def test_files_are_for_root_alone(tmp_path: Path) -> None:
    write_scripts(str(tmp_path))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.stem for path in files} == {*NAMES, "__init__"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_a_private_file_takes_the_place_of_an_open_one(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old")
    path.chmod(0o644)
    write_private(str(path), "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]
