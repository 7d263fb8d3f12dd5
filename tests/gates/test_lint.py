# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Style and types: each linter's output is the failure message."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from tests.gates.support import ROOT, Tool

LINKED = Path("collections/ansible_collections/sglang/fleet")


def test_ruff_check(tool: Tool) -> None:
    tool("ruff", "check", ".")


def test_ruff_format(tool: Tool) -> None:
    tool("ruff", "format", "--check", "--diff", ".")


def test_yamllint(tool: Tool) -> None:
    tool("yamllint", "--strict", ".")


def test_ansible_lint(tool: Tool) -> None:
    tool("ansible-lint", "--offline", "--strict", "--profile", "production", "--nocolor")


def test_mypy_strict(tool: Tool) -> None:
    """Pure logic, the command line, the lab and the benchmarks; modules and actions stay thin and untyped."""
    logic = sorted((ROOT / "plugins" / "module_utils").glob("_*.py"))
    # Under the name that Ansible imports them by, so that they find one another.
    through_links = [LINKED / path.relative_to(ROOT) for path in logic]
    folders = [Path(name) for name in ("src", "molecule/lab", "benchmarks") if any((ROOT / name).rglob("*.py"))]
    tool("mypy", *chain(through_links, folders))


def test_shellcheck(tool: Tool) -> None:
    names = tool("git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    scripts = [name for name in names if _is_shell(ROOT / name)]
    assert scripts, "no shell script found, although .ci/run is one"
    tool("shellcheck", "--severity=style", "--exclude=SC1091", *scripts)  # SC1091: sources a file of the host


def _is_shell(path: Path) -> bool:
    """Whether a file says itself that a shell runs it (templates and linked folders do not)."""
    if not path.is_file() or path.is_symlink() or path.suffix == ".j2":
        return False
    with path.open("rb") as file:
        first = file.readline(80)
    return first.startswith(b"#!") and first.rstrip().endswith((b"/sh", b"bash", b"/sh -e", b"/sh -eu"))
