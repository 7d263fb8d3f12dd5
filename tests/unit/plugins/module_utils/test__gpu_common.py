# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._gpu_common import Answer, Holder, Usage, holders, run_tool
from tests.unit.plugins.module_utils.fixtures.gpu.host import Host

OUTER, INNER = "ab" * 32, "cd" * 32
GPU = "0000:05:00.0"


def tool(folder: Path, script: str) -> None:
    path = folder / "tool"
    path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    path.chmod(0o755)


def test_run_tool(tmp_path: Path) -> None:
    tool(tmp_path, 'echo "$1 $LC_ALL"; echo no >&2; exit 3')
    assert run_tool(["tool", "a b"], folders=str(tmp_path)) == Answer(3, "a b C\n", "no\n")


def test_tool_that_is_not_installed(tmp_path: Path) -> None:
    assert run_tool(["tool"], folders=str(tmp_path)) is None


def test_tool_that_cannot_run(tmp_path: Path) -> None:
    tool(tmp_path, "")
    (tmp_path / "tool").write_bytes(b"#!/nowhere/sh\n")
    answer = run_tool(["tool"], folders=str(tmp_path))
    assert answer is not None
    assert (answer.rc, answer.err) == (126, f"{tmp_path}/tool: No such file or directory")


def test_tool_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    """It keeps its output open and ignores the polite signal. A pipe's end shows that all of them are gone."""
    fifo = tmp_path / "fifo"
    tool(tmp_path, f"trap '' TERM\nmkfifo {fifo}\nexec 3<>{fifo}\nsleep 600 &\nwait")
    assert run_tool(["tool"], seconds=0.5, folders=str(tmp_path)) == Answer(None)
    living = [path for path in Path("/proc").glob("[0-9]*/fd/3") if _points_to(path, fifo)]
    assert living == []


def _points_to(link: Path, target: Path) -> bool:
    try:
        return link.readlink() == target
    except OSError:
        return False


def test_output_that_is_no_text(tmp_path: Path) -> None:
    tool(tmp_path, r"printf 'a\377b'")
    assert run_tool(["tool"], folders=str(tmp_path)) == Answer(0, "a�b", "")


COMMANDS: list[tuple[str, str]] = [
    ("python3\0-m\0sglang.launch_server\0--api-key\0hush\0", "python3"),
    ("/opt/venv/bin/python3\0", "python3"),
    ("sglang::scheduler_TP0 --api-key hush\0\0\0", "sglang::scheduler_TP0"),  # a title that the process gave itself
    ("", "comm-of-it"),
]


@pytest.mark.parametrize(("cmdline", "command"), COMMANDS)
def test_commands_have_no_arguments(tmp_path: Path, cmdline: str, command: str) -> None:
    host = Host(tmp_path)
    host.process(7, cmdline)
    host.write("proc/7/comm", "comm-of-it\n")
    assert [holder.command for holder in holders(str(tmp_path), [Usage(7, GPU, 1)], {GPU: 0})] == [command]


def test_holders_of_nothing_known(tmp_path: Path) -> None:
    """A process whose files cannot be read, memory that the driver does not tell, a GPU that is not known."""
    (tmp_path / "proc/7").mkdir(parents=True)
    found = holders(str(tmp_path), [Usage(7, GPU, 10), Usage(7, "0000:99:00.0", None, "[Not Found]")], {GPU: 0})
    assert found == [Holder(7, "unknown", None, None, [0])]
    assert holders(str(tmp_path), [Usage(8, GPU, 10)], {GPU: 0}) == []


CGROUPS: list[tuple[str, str | None]] = [
    (f"0::/system.slice/docker-{INNER}.scope\n", "sglang-0"),
    (f"12:memory:/docker/{INNER}\n1:name=systemd:/docker/{INNER}\n0::/\n", "sglang-0"),
    (f"0::/docker/{OUTER}/system.slice/docker-{INNER}.scope/x\n", "sglang-0"),
    (f"0::/kubepods.slice/pod1.slice/cri-containerd-{OUTER}.scope\n", OUTER[:12]),
    ("0::/user.slice/user-0.slice/session-3.scope\n", None),
    (f"0::/x/{INNER}00\n", None),
    ("", None),
]


@pytest.mark.parametrize(("cgroup", "container"), CGROUPS)
@pytest.mark.parametrize("data_root", [None, "/data/docker"])
def test_containers(tmp_path: Path, cgroup: str, container: str | None, data_root: str | None) -> None:
    host = Host(tmp_path)
    host.process(7, "python3\0")
    host.write("proc/7/cgroup", cgroup)
    if data_root:
        host.write("etc/docker/daemon.json", json.dumps({"data-root": data_root}))
    home = (data_root or "/var/lib/docker").lstrip("/")
    host.write(f"{home}/containers/{INNER}/config.v2.json", '{"Name": "/sglang-0"}')
    assert [holder.container for holder in holders(str(tmp_path), [Usage(7, GPU, 1)], {GPU: 0})] == [container]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"Name": 5}', '{"Name": "/"}'])
def test_container_whose_name_cannot_be_read(tmp_path: Path, text: str) -> None:
    host = Host(tmp_path)
    host.process(7, "python3\0", INNER)
    host.write(f"var/lib/docker/containers/{INNER}/config.v2.json", text)
    host.write("etc/docker/daemon.json", text)
    assert [holder.container for holder in holders(str(tmp_path), [Usage(7, GPU, 1)], {GPU: 0})] == [INNER[:12]]
