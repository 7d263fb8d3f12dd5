# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the program finds the collection: each in a process of its own, since an import is for good."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sglang_fleet.collection import CHECKOUT

PLAN = ("-m", "sglang_fleet", "plan", "--gpu", "H200", "--count", "8")


def python(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, env={**kept, **environment}
    )


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """The program as `pip install` puts it into site-packages, on a machine without the collection."""
    shutil.copytree(CHECKOUT / "src" / "sglang_fleet", tmp_path / "site" / "sglang_fleet")
    (tmp_path / "home").mkdir()
    return {"PYTHONPATH": str(tmp_path / "site"), "HOME": str(tmp_path / "home")}


def test_a_plan_imports_nothing_of_ansible() -> None:
    """It would take longer than the plan."""
    script = (
        "import sys\n"
        "from sglang_fleet.planning import plan_single\n"
        "print(plan_single({}, 'H200', 8).plan['layout'])\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('ansible', 'ansible_runner')])\n"
    )
    done = python("-c", script)
    assert done.stdout.splitlines() == ["1x8", "[]"], done.stderr


def test_ansibles_own_finder_after_the_light_one() -> None:
    script = (
        "from sglang_fleet.collection import use_checkout, use_collection\n"
        "use_collection()\n"
        "from ansible_collections.sglang.fleet.plugins.module_utils import _catalogue\n"
        "use_checkout()\n"
        "from ansible_collections.sglang.fleet.plugins.module_utils import _gates\n"
        "from ansible_collections.sglang.fleet.plugins.module_utils import _catalogue as again\n"
        "import ansible_collections\n"
        "print(again is _catalogue, type(ansible_collections).__name__ == '_Light', use_collection().name)\n"
    )
    done = python("-c", script)
    assert done.stdout.split() == ["True", "False", "fleet"], done.stderr


def test_without_the_collection_the_message_says_what_to_do(installed: dict[str, str]) -> None:
    done = python(*PLAN, **installed)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("sglang-fleet: the Ansible collection sglang.fleet is not there")
    assert "ansible-galaxy collection install" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_installed_program_finds_an_installed_collection(installed: dict[str, str]) -> None:
    done = python(*PLAN, "--format", "command", **installed, ANSIBLE_COLLECTIONS_PATH=str(CHECKOUT / "collections"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("python3 -m sglang.launch_server")


def test_a_collection_of_another_version_is_named(installed: dict[str, str], tmp_path: Path) -> None:
    utils = tmp_path / "old" / "ansible_collections" / "sglang" / "fleet" / "plugins" / "module_utils"
    utils.mkdir(parents=True)
    (utils / "_catalogue.py").touch()
    done = python(*PLAN, **installed, ANSIBLE_COLLECTIONS_PATH=str(tmp_path / "old"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "is of another version" in done.stderr
    assert "Traceback" not in done.stderr
