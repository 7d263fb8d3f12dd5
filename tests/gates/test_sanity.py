# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every test of ``ansible-test sanity`` that ansible-core enables for a collection; see tests/sanity/README.md."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import virtualenv.seed.wheels.embed

from tests.gates.support import Tool

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sglang-fleet" / "ansible-test"

# Stands where ansible-test keeps the get-pip.py that it would download. It does the
# same, from a wheel that is here already: pip installs the pip that was asked for.
GET_PIP = """\
import runpy
import sys

sys.path.insert(0, {wheel!r})
sys.argv[1:] = ["install", "--quiet", *(word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel"))]
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""


def _seed_pip(home: Path) -> None:
    """Give ansible-test its pip bootstrap, so that it fetches nothing but what it needs from the package index."""
    from ansible_test._internal.host_configs import NativePythonConfig
    from ansible_test._internal.python_requirements import get_venv_packages

    version = get_venv_packages(NativePythonConfig(version=PYTHON))["pip"]
    wheel = virtualenv.seed.wheels.embed.get_embed_wheel("pip", PYTHON)
    script = home / ".ansible" / "test" / "cache" / f"get_pip_{version.replace('.', '_')}.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(GET_PIP.format(wheel=str(wheel.path)))


@pytest.mark.slow
def test_ansible_test_sanity(tool: Tool, collection: Path) -> None:
    _seed_pip(CACHE)
    # A home of its own keeps its virtual environments (some 100 MB) in our cache folder.
    command = ("ansible-test", "sanity", "--python", PYTHON, "--color", "no")
    # Installed apart, so that a failure shows findings and not what pip said.
    tool(*command, "--prime-venvs", cwd=collection, env={"HOME": str(CACHE)})
    output = tool(*command, cwd=collection, env={"HOME": str(CACHE)})
    skipped = [line for line in output.splitlines() if "Skipping sanity test" in line]
    assert not skipped, "\n".join(skipped)
