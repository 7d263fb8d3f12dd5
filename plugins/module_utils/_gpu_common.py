# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the readers of both GPU vendors share: small files, tools with a time limit, processes, CDI specifications.

Runs on hosts: the standard library only, Python 3.9. A file that is missing or not readable reads as empty.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import typing as t
from dataclasses import dataclass, field

#: seconds that a tool may take; without persistence mode nvidia-smi first wakes every GPU, which takes tens of seconds
TOOL_SECONDS: t.Final = 60
#: where amd-smi is when no package linked it into /usr/bin
_TOOL_FOLDERS: t.Final = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/opt/rocm/bin")
_CDI_FOLDERS: t.Final = ("etc/cdi", "var/run/cdi")


@dataclass(frozen=True)
class Pci:
    """A GPU's PCI function: its folder in sysfs and the driver that holds it."""

    address: str
    pci_id: str
    path: str
    driver: str | None


@dataclass(frozen=True)
class Answer:
    """What a tool said. ``rc`` is None when it did not end in time."""

    rc: int | None
    out: str = ""
    err: str = ""


class Ask(t.Protocol):
    """Runs a tool of the host; None where the tool is not installed."""

    def __call__(self, words: t.Sequence[str]) -> Answer | None: ...


@dataclass(frozen=True)
class Usage:
    """Memory that one process holds on one GPU; address None where the driver named a GPU that is not known."""

    pid: int
    address: str | None
    memory_mib: int | None
    name: str = ""


@dataclass(frozen=True)
class Holder:
    """A live process of the host that holds GPU memory. ``container`` is its name, or its short ID if nameless."""

    pid: int
    command: str
    container: str | None
    memory_mib: int | None
    gpus: list[int]


@dataclass(frozen=True)
class Told:
    """What a vendor's driver and tool say, each by PCI address; what they do not say is left out.

    listed: the GPUs that the tool named, None where it was not asked or had no answer. partition: why the GPUs are not
    whole, with the remedy.
    """

    nodes: t.Mapping[str, list[str]] = field(default_factory=dict)
    uuids: t.Mapping[str, str | None] = field(default_factory=dict)
    memory_mib: t.Mapping[str, int | None] = field(default_factory=dict)
    used_mib: t.Mapping[str, int | None] = field(default_factory=dict)
    links: t.Mapping[str, t.Collection[str]] = field(default_factory=dict)
    usages: t.Sequence[Usage] = ()
    listed: t.Collection[str] | None = None
    partition: str | None = None
    driver_version: str | None = None
    problems: t.Sequence[str] = ()


def no_tool(words: t.Sequence[str]) -> Answer | None:
    """An Ask for a host without any tool."""
    del words
    return None


def run_tool(words: t.Sequence[str], seconds: float = TOOL_SECONDS, folders: str | None = None) -> Answer | None:
    """An Ask for this host; ``folders`` stands in for PATH.

    A tool whose driver hangs cannot even be killed: it sits in the kernel. So it is not waited for after the kill.
    """
    path = shutil.which(words[0], path=folders or os.pathsep.join([os.environ.get("PATH", ""), *_TOOL_FOLDERS]))
    if path is None:
        return None
    try:
        process = subprocess.Popen(
            [path, *words[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C"},
            start_new_session=True,
        )
    except OSError as exc:
        return Answer(126, "", f"{path}: {exc.strerror}")
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        try:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=1)
        except (OSError, subprocess.TimeoutExpired):
            pass
        return Answer(None)
    return Answer(process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))


def hangs(tool: str, lines: str) -> str:
    """The problem of a tool that did not end in time; ``lines`` is what to look for in the kernel's log."""
    return (
        f"{tool} did not answer within {TOOL_SECONDS} s, so the driver hangs: look for {lines} in dmesg and reboot the "
        "host"
    )


def holders(root: str, usages: t.Iterable[Usage], index: t.Mapping[str, int]) -> list[Holder]:
    """One entry for each process, by PID. ``index`` maps a PCI address to the GPU's position.

    A PID that is not in /proc is left out: it died, or the driver counts it in a namespace that is not the host's.
    """
    found: list[Holder] = []
    by_pid: dict[int, list[Usage]] = {}
    for usage in usages:
        by_pid.setdefault(usage.pid, []).append(usage)
    for pid, rows in sorted(by_pid.items()):
        if not os.path.isdir(os.path.join(root, "proc", str(pid))):
            continue
        memory = [row.memory_mib for row in rows]
        found.append(
            Holder(
                pid=pid,
                command=_command(root, pid) or _first_word(rows[0].name) or "unknown",
                container=_container(root, pid),
                memory_mib=None if None in memory else sum(mib for mib in memory if mib is not None),
                gpus=sorted({index[row.address] for row in rows if row.address is not None and row.address in index}),
            )
        )
    return found


def _command(root: str, pid: int) -> str:
    """The program's name. Never more of the command line than its first word: the rest can hold keys."""
    base = os.path.join(root, "proc", str(pid))
    # comm is cut off after 15 characters, but it is there for a process that has no command line.
    return _first_word(read(os.path.join(base, "cmdline"))) or read(os.path.join(base, "comm"))


def _first_word(text: str) -> str:
    words = text.split("\0")[0].split()
    # nvidia-smi writes [Not Found] and [Insufficient Permissions] where it has no name.
    return os.path.basename(words[0]) if words and not words[0].startswith("[") else ""


def _container(root: str, pid: int) -> str | None:
    """Name of the Docker container that a process is in, by its control group; the short ID of any other engine's."""
    ids = re.findall(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])", read(os.path.join(root, "proc", str(pid), "cgroup")))
    if not ids:
        return None
    data_root = _json(os.path.join(root, "etc/docker/daemon.json")).get("data-root")
    data_root = data_root if isinstance(data_root, str) else "/var/lib/docker"
    for container in reversed(ids):
        config = os.path.join(root, data_root.lstrip("/"), "containers", container, "config.v2.json")
        name = _json(config).get("Name")
        if isinstance(name, str) and name.strip("/"):
            return name.strip("/")
    return str(ids[-1])[:12]


def _json(path: str) -> dict[str, t.Any]:
    try:
        data = json.loads(read(path))
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def cdi_nodes(root: str, vendor: str) -> tuple[list[str], set[str]]:
    """CDI specifications of a vendor's GPUs, and the GPU nodes that they name.

    Hosts have no YAML parser; a specification's kind and its device paths can be found without one.
    """
    files: list[str] = []
    nodes: set[str] = set()
    for folder in _CDI_FOLDERS:
        for name in sorted(list_dir(os.path.join(root, folder))):
            if not name.endswith((".yaml", ".yml", ".json")):
                continue
            text = read(os.path.join(root, folder, name))
            if re.search(rf"\bkind[\"']?\s*:\s*[\"']?{vendor}\.com/gpu\b", text):
                files.append(f"/{folder}/{name}")
                nodes.update(re.findall(r"/dev/(?:nvidia\d+|dri/renderD\d+)\b", text))
    return files, nodes


def list_dir(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def link_name(path: str) -> str | None:
    """Last part of what a symbolic link points to."""
    try:
        return os.path.basename(os.readlink(path))
    except OSError:
        return None


def read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read().strip()
    except OSError:
        return ""
