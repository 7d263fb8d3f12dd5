# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What engine_facts reads of a host beside Docker's own answers."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.modules import engine_facts


class Module:
    """An AnsibleModule that runs nothing."""

    def __init__(self, output: str = "", paths: dict[str, str] | None = None) -> None:
        self.output, self.paths = output, paths or {}

    def run_command(self, _words: list[str]) -> tuple[int, str, str]:
        return 0, self.output, ""

    def get_bin_path(self, name: str) -> str | None:
        return self.paths.get(name)


def test_os_release() -> None:
    text = '# x\nID=rocky\nVERSION_ID="9.6"\nID_LIKE="rhel centos fedora"\nNAME="Rocky Linux"\n'
    assert engine_facts.os_release(text) == {
        "ID": "rocky",
        "VERSION_ID": "9.6",
        "VERSION_CODENAME": "",
        "ID_LIKE": "rhel centos fedora",
    }


def test_command_line_of_an_engine_that_is_stopped() -> None:
    start = "{ path=/usr/sbin/dockerd ; argv[]=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS ; ignore_errors=no ; pid=0 }"
    module: Any = Module(f"MainPID=0\nExecStart={start}\n")
    assert engine_facts.command_line(module) == (["/usr/sbin/dockerd", "-H", "fd://"], 0)


def test_command_line_of_one_that_runs_is_the_processs() -> None:
    module: Any = Module(f"MainPID={os.getpid()}\nExecStart={{ argv[]=/usr/sbin/dockerd --debug ; }}\n")
    words, pid = engine_facts.command_line(module)
    assert pid == os.getpid()
    assert "--debug" not in words


def test_packages_of_the_toolkit() -> None:
    output = "installed libnvidia-container1 1.18.1-1\nconfig-files nvidia-container-toolkit 1.17.8-1\n"
    module: Any = Module(output, {"dpkg-query": "/usr/bin/dpkg-query"})
    assert engine_facts.toolkit(module) == {"libnvidia-container1": "1.18.1-1"}


def test_hook_that_is_newer_than_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = tmp_path / "hook"
    hook.touch()
    module: Any = Module(paths={engine_facts.NVIDIA_RUNTIME[0]: str(hook)})
    monkeypatch.setattr(engine_facts, "started", lambda _pid: time.time() - 60)
    assert engine_facts.hook_newer(module, 1)
    monkeypatch.setattr(engine_facts, "started", lambda _pid: time.time() + 60)
    assert not engine_facts.hook_newer(module, 1)
    assert not engine_facts.hook_newer(module, 0), "an engine that does not run has found nothing"


def test_start_of_a_process() -> None:
    assert abs(engine_facts.started(os.getpid()) - time.time()) < 24 * 3600
