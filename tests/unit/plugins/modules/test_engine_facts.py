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

    def __init__(self, output: str = "", paths: dict[str, str] | None = None, **answers: tuple[int, str, str]) -> None:
        self.output, self.paths, self.answers = output, paths or {}, answers

    def run_command(self, words: list[str]) -> tuple[int, str, str]:
        return self.answers.get(words[1].strip("-"), (0, self.output, ""))

    def get_bin_path(self, name: str) -> str | None:
        return self.paths.get(name)


def test_command_line_of_an_engine_that_is_stopped() -> None:
    start = "{ path=/usr/sbin/dockerd ; argv[]=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS ; ignore_errors=no ; pid=0 }"
    module: Any = Module(f"MainPID=0\nExecStart={start}\nLoadState=loaded\n")
    lines = engine_facts.unit(module)
    assert lines["LoadState"] == "loaded"
    assert engine_facts.command_line(lines) == (["/usr/sbin/dockerd", "-H", "fd://"], 0)


def test_command_line_of_one_that_runs_is_the_processs() -> None:
    lines = {"MainPID": str(os.getpid()), "ExecStart": "{ argv[]=/usr/sbin/dockerd --debug ; }"}
    words, pid = engine_facts.command_line(lines)
    assert pid == os.getpid()
    assert "--debug" not in words


DOCKER, PODMAN = (0, "Docker version 26.1.5+dfsg1, build a72d7cd\n", ""), (0, "podman version 4.9.4-rhel\n", "")
STOPPED = (1, '{"ServerErrors": ["Cannot connect to the Docker daemon at unix:///var/run/docker.sock."]}', "")
DENIED = (1, '{"ServerErrors": ["permission denied while trying to connect to the Docker daemon socket"]}', "")
ANSWERS = (0, '{"ServerVersion": "28.5.2", "ContainersRunning": 1}', "")
HERE, NOT = {"LoadState": "loaded", "UnitFileState": "enabled"}, {"LoadState": "not-found", "UnitFileState": ""}
# Properties of the unit, commands, what docker --version and docker info say → installed, client, running, error.
ENGINES: list[tuple[dict[str, str], str, dict[str, Any], tuple[bool, str, bool, str]]] = [
    (NOT, "", {}, (False, "", False, "")),
    (HERE, "docker dockerd", {"version": DOCKER, "info": ANSWERS}, (True, "docker", True, "")),
    (HERE, "docker dockerd", {"version": DOCKER, "info": STOPPED}, (True, "docker", False, "does not run")),
    (HERE, "docker dockerd", {"version": DOCKER, "info": DENIED}, (True, "docker", True, "may not use Docker")),
    (NOT, "docker", {"version": DOCKER, "info": STOPPED}, (False, "docker", False, "")),  # docker-ce-cli alone
    (NOT, "docker", {"version": PODMAN, "info": ANSWERS}, (False, "podman", False, "")),  # podman-docker
    (NOT, "docker", {"version": DOCKER, "info": ANSWERS}, (True, "docker", True, "")),  # snap
    (HERE, "dockerd", {}, (True, "", False, "")),  # Debian 13 without docker-cli
    (NOT, "dockerd", {}, (True, "", False, "")),
    ({}, "", {}, (False, "", False, "")),
]


@pytest.mark.parametrize(("lines", "commands", "answers", "wanted"), ENGINES)
def test_engine_that_is_there(
    lines: dict[str, str], commands: str, answers: dict[str, Any], wanted: tuple[bool, str, bool, str]
) -> None:
    module: Any = Module(paths={name: f"/usr/bin/{name}" for name in commands.split()}, **answers)
    found = engine_facts.engine(module, lines)
    assert (found["installed"], found["client"], found["running"]) == wanted[:3]
    assert wanted[3] in found["error"]
    assert bool(found["error"]) == bool(wanted[3])


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
