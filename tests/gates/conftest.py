# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gates share: running a tool, and a real copy, tarball and installation of the collection."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.gates.support import BUILD, ROOT, Tool

BIN = Path(sys.executable).parent


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment with the project's tools first and nothing of Ansible's own settings."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    env["PATH"] = os.pathsep.join([str(BIN), *(p for p in env["PATH"].split(os.pathsep) if p != str(BIN))])
    env["NO_COLOR"] = "1"
    env.update(extra)
    return env


@pytest.fixture(scope="session")
def tool() -> Tool:
    """Run a tool of the environment; its output becomes the failure when it exits other than 0."""

    def run(*command: str | Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> str:
        words: Sequence[str] = [str(word) for word in command]
        done = subprocess.run(
            words,
            cwd=cwd,
            env=_environment(env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.fail(f"{' '.join(words)}\nexited {done.returncode}:\n\n{done.stdout}", pytrace=False)
        return done.stdout

    return run


# Not part of the collection: the links back to the root, and programs that ruff, mypy
# and shellcheck look after (the rules of ansible-test are for plugins).
OUTSIDE = {"benchmarks", "collections", "molecule", "src"}


def _tracked() -> list[Path]:
    """Every file of the collection that git tracks or would track."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    paths = {Path(name) for name in listing.split("\0") if name}
    return sorted(p for p in paths if p.parts[0] not in OUTSIDE and (ROOT / p).exists())


@pytest.fixture(scope="session")
def build_folder() -> Iterator[Path]:
    """The folder build/, for this run alone: a second run in the same checkout waits."""
    BUILD.mkdir(exist_ok=True)
    with (BUILD / ".gates.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield BUILD


@pytest.fixture(scope="session")
def collection(tool: Tool, build_folder: Path) -> Path:
    """A real copy of the collection where ansible-test and Galaxy's tools expect it, a git tree of its own.

    They see nothing through the links under collections/: even a syntax error would pass.
    """
    target = build_folder / "ansible_collections" / "sglang" / "fleet"
    shutil.rmtree(target, ignore_errors=True)
    for path in _tracked():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, target / path, follow_symlinks=False)
    tool("git", "init", "--quiet", cwd=target)
    tool("git", "add", "--all", cwd=target)
    return target


@pytest.fixture(scope="session")
def tarball(tool: Tool, build_folder: Path, collection: Path) -> Path:
    """The collection as Galaxy would get it."""
    folder = build_folder / "tarball"
    shutil.rmtree(folder, ignore_errors=True)
    tool("ansible-galaxy", "collection", "build", "--output-path", folder, collection)
    [built] = folder.glob("sglang-fleet-*.tar.gz")
    return built


@pytest.fixture(scope="session")
def installed(tool: Tool, build_folder: Path, tarball: Path) -> Path:
    """A collections folder that holds the installed tarball and nothing else."""
    folder = build_folder / "installed"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "ansible.cfg").touch()  # who works in here gets no settings of this checkout
    # Its dependencies come with the environment, so Galaxy has nothing to add.
    tool("ansible-galaxy", "collection", "install", "--offline", "--no-deps", "-p", folder, tarball, cwd=folder)
    return folder
