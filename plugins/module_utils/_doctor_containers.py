# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The servers' containers as the doctor sees them, without a process of its own in them.

Runs on hosts: the standard library only, Python 3.9.
"""

from __future__ import annotations

import datetime
import os
import re
import stat
import typing as t

from ansible_collections.sglang.fleet.plugins.module_utils._docker import Docker, DockerError
from ansible_collections.sglang.fleet.plugins.module_utils._doctor_files import visible
from ansible_collections.sglang.fleet.plugins.module_utils._gpu_common import list_dir, read
from ansible_collections.sglang.fleet.plugins.module_utils._systemd import parse_show

LOST: t.Final = "Failed to initialize NVML: Unknown Error"
_GPU_NODE: t.Final = re.compile(r"/dev/(?:nvidia\d+|nvidiactl|nvidia-uvm|kfd|dri/renderD\d+)")


class Runs(t.Protocol):
    """What of the probe's clock is used here."""

    root: str

    def run(self, words: list[str]) -> tuple[int, str, str]: ...

    def text(self, *words: str) -> str: ...


class Containers:
    """Looks at the engine and at our containers."""

    def __init__(self, clock: Runs, now: float) -> None:
        self.clock, self.now = clock, now

    def look(self) -> dict[str, t.Any]:
        """problem, root, images (references) and containers; nothing is wrong where there is no engine."""
        docker = Docker(self.clock.run)
        nothing: dict[str, t.Any] = {"problem": None, "root": None, "images": [], "containers": []}
        if self.clock.run(["docker", "--version"])[0] == 127:
            return nothing
        try:
            root = docker.call("info", "--format", "{{.DockerRootDir}}").strip()
            found = docker.containers("sglang-")
            images = [image["reference"] for image in docker.images()]
        except DockerError as error:
            return {**nothing, "problem": str(error)}
        except ValueError as error:  # not what docker prints
            return {**nothing, "problem": f"docker's answer was not understood: {error}"}
        return {
            "problem": None,
            "root": root,
            "images": images,
            "containers": [self._container(name, data) for name, data in sorted(found.items())],
        }

    def _container(self, name: str, data: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        state, host = data.get("State") or {}, data.get("HostConfig") or {}
        running = bool(state.get("Running"))
        started = epoch(str(state.get("StartedAt") or "")) if running else None
        cgroup, nodes = self._nodes(str(data.get("Id")), int(state.get("Pid") or 0)) if running else ("", {})
        given = [str(device.get("PathInContainer")) for device in host.get("Devices") or []]
        return {
            "name": name,
            "running": running,
            "image": str(data.get("Image") or ""),
            "started": started,
            "privileged": bool(host.get("Privileged")),
            "ipc": str(host.get("IpcMode") or ""),
            "shm_bytes": host.get("ShmSize"),
            "groups": [str(group) for group in host.get("GroupAdd") or []],
            "environment": visible((data.get("Config") or {}).get("Env") or []),
            "given": [path for path in given if _GPU_NODE.fullmatch(path)] if nodes else [],
            "nodes": nodes,
            "cgroup": cgroup,
            "said_lost": self._said_lost(name, started) if running else None,
        }

    def _nodes(self, container: str, pid: int) -> tuple[str, dict[str, bool | None]]:
        """Version of the device cgroup, and the GPU nodes in the container's /dev with whether it lets them be opened.

        None where that cannot be told: on v2 the rules are a program in the kernel, and only what systemd would load
        anew at a reload can be read.
        """
        dev = os.path.join(self.clock.root, "proc", str(pid), "root/dev")
        found: dict[str, tuple[int, int]] = {}
        for name in [*list_dir(dev), *(f"dri/{name}" for name in list_dir(os.path.join(dev, "dri")))]:
            if _GPU_NODE.fullmatch(f"/dev/{name}"):
                try:
                    status = os.stat(os.path.join(dev, name))
                except OSError:
                    continue
                if stat.S_ISCHR(status.st_mode):
                    found[f"/dev/{name}"] = (os.major(status.st_rdev), os.minor(status.st_rdev))
        version, rules = self._rules(container, pid)
        return version, {path: None if rules is None else allowed(rules, *numbers) for path, numbers in found.items()}

    def _rules(self, container: str, pid: int) -> tuple[str, list[str] | None]:
        text = read(os.path.join(self.clock.root, "proc", str(pid), "cgroup"))
        match = re.search(r"^\d+:devices:(/.+)$", text, re.MULTILINE)
        if match:
            listed = read(f"{self.clock.root.rstrip('/')}/sys/fs/cgroup/devices{match[1]}/devices.list")
            if listed:
                return "v1", listed.splitlines()
        shown = self.clock.text(
            "systemctl", "show", f"docker-{container}.scope", "--property=LoadState,DevicePolicy,DeviceAllow"
        )
        properties = parse_show(shown)
        if properties.get("LoadState") != "loaded" or properties.get("DevicePolicy") in (None, "auto"):
            return "", None  # another cgroup driver than systemd: a reload does not touch it
        return "v2", re.findall(r"^DeviceAllow=(.+)$", shown, re.MULTILINE)

    def _said_lost(self, name: str, started: float | None) -> str | None:
        since = f"--since=@{int(started)}" if started else "--boot"
        unit = f"sglang@{name[len('sglang-') :]}.service"
        text = self.clock.text(
            "journalctl", f"--unit={unit}", since, "--no-pager", "--quiet", "--output=short-iso", "--lines=2000"
        )
        lines = [line for line in text.splitlines() if LOST in line]
        return lines[-1].split(" ", 1)[0] if lines else None


def allowed(rules: t.Sequence[str], major: int, minor: int) -> bool:
    """Whether rules of a device cgroup let a character device be opened for reading and writing.

    rules: `c 195:0 rwm` and `a *:* rwm` of devices.list, or `/dev/char/195:0 rw` and `char-* m` of DeviceAllow.
    A class by name (char-nvidia-frontend) is a driver's; of those any but pts counts as this one.
    """
    for rule in rules:
        *words, access = rule.split()
        if not {"r", "w"} <= set(access):
            continue
        what = " ".join(words)
        if what in ("a *:*", "c *:*", f"c {major}:*", f"c {major}:{minor}", f"/dev/char/{major}:{minor}", "char-*"):
            return True
        if what.startswith("char-") and what != "char-pts":
            return True
        if (
            what.startswith("/dev/")
            and not what.startswith(("/dev/char/", "/dev/block/"))
            and _GPU_NODE.fullmatch(what)
        ):
            return True
    return False


def epoch(stamp: str) -> float | None:
    """Docker's StartedAt (RFC 3339 with nanoseconds, UTC) as seconds since the epoch."""
    match = re.match(r"(\d+-\d+-\d+T\d+:\d+:\d+)(\.\d+)?", stamp)
    if not match:
        return None
    moment = datetime.datetime.strptime(match[1], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=datetime.timezone.utc)
    return moment.timestamp() + float(match[2] or 0)
