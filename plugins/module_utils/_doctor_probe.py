# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks at a node for the doctor: everything at once, each tool with a time limit, nothing changed.

Runs on hosts: the standard library only, Python 3.9. What is not there is left out. No secret gets into the snapshot:
of environments only the variables that hide GPUs, of configurations only address and port.
"""

from __future__ import annotations

import os
import re
import threading
import time
import typing as t

from ansible_collections.sglang.fleet.plugins.module_utils._doctor_containers import Containers
from ansible_collections.sglang.fleet.plugins.module_utils._doctor_files import (
    disk,
    instances,
    read_json,
    repository_bytes,
    visible,
)
from ansible_collections.sglang.fleet.plugins.module_utils._gpu import GpuFacts, KnownGpus, read_gpus
from ansible_collections.sglang.fleet.plugins.module_utils._gpu_common import Answer, list_dir, read, run_tool
from ansible_collections.sglang.fleet.plugins.module_utils._host import read_host
from ansible_collections.sglang.fleet.plugins.module_utils._http import Client
from ansible_collections.sglang.fleet.plugins.module_utils._systemd import parse_show

#: seconds that one tool may take, and that all of it together may
TOOL_SECONDS, ALL_SECONDS = 5.0, 8.5
#: drivers of every age know these sections
_QUERY: t.Final = ("nvidia-smi", "-q", "-d", "POWER,PERFORMANCE,ECC")
_UNIT: t.Final = (
    "ActiveState,SubState,LoadState,Result,NRestarts,NeedDaemonReload,ActiveEnterTimestampMonotonic,"
    "InactiveExitTimestampMonotonic"
)
#: Lines of the kernel log that the doctor is told; amdgpu itself says of the others that no action is needed.
_KERNEL: t.Final = re.compile(
    r"NVRM: Xid|SXid \(PCI|fallen off the bus"
    r"|amdgpu.*(?:\buncorrectable hardware error|GPU reset begin|Fatal error during GPU init|ring \S+ timeout)"
)
_FIRST_LINES, _LAST_LINES = 5, 45
_DAYS: t.Final = 7
_LIBRARIES: t.Final = (
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "usr/lib/x86_64-linux-gnu/nvidia/current",
    "usr/lib/aarch64-linux-gnu/nvidia/current",
    "usr/lib64",
)

_NVLSM: t.Final = "opt/nvidia/nvlsm/sbin/nvlsm"

_NO_HOST: t.Final = {
    "kernel": "", "headers": True, "dkms": [], "modules": {}, "nvswitches": 0, "nvlsm": True, "fabric_managers": {},
}  # fmt: skip


class Clock:
    """Runs tools within the time that is left, and notes down those that did not answer in theirs."""

    def __init__(self, root: str = "/", tool: float = TOOL_SECONDS, whole: float = ALL_SECONDS) -> None:
        self.root, self.tool = root, tool
        self.end = time.monotonic() + whole
        self.hung: dict[str, float] = {}
        self._lock = threading.Lock()

    def ask(self, words: t.Sequence[str]) -> Answer | None:
        with self._lock:
            if words[0] in self.hung:
                return Answer(None)  # it would hang again
        seconds = min(self.tool, self.end - time.monotonic())
        if seconds <= 0:
            return Answer(None)
        begun = time.monotonic()
        answer = run_tool(words, seconds=seconds)
        if answer is not None and answer.rc is None and seconds == self.tool:
            with self._lock:
                self.hung[words[0]] = round(time.monotonic() - begun, 1)
        return answer

    def text(self, *words: str) -> str:
        """What a tool printed; nothing where it failed or is not there."""
        answer = self.ask(words)
        return answer.out if answer is not None and answer.rc == 0 else ""

    def run(self, words: list[str]) -> tuple[int, str, str]:
        """As AnsibleModule.run_command."""
        answer = self.ask(words)
        if answer is None:
            return 127, "", f"{words[0]}: not found"
        if answer.rc is None:
            return 124, "", f"{words[0]} did not answer"
        return answer.rc, answer.out, answer.err


def look(
    known: KnownGpus,
    config_dir: str = "/etc/sglang",
    state_file: str = "/var/lib/sglang-fleet/state.json",
    weights_dir: str = "/var/lib/sglang-fleet/huggingface",
    clock: Clock | None = None,
) -> dict[str, t.Any]:
    """The snapshot. known: as for gpu_facts."""
    clock = clock or Clock()
    begun, now = time.monotonic(), time.time()
    booted = now - float((read("/proc/uptime").split() or ["0"])[0])
    root = clock.root
    found, unexamined = at_once(
        {
            "gpu": lambda: read_gpus(known, root, clock.ask).to_dict(),
            "host": lambda: _host(root, clock),
            "nvidia": lambda: _nvidia(root, clock),
            "engine": lambda: Containers(clock, now).look(),
            "kernel_log": lambda: _kernel_log(clock),
            "instances": lambda: _instances(root, config_dir, clock, booted),
            "reloaded": lambda: _reloaded(clock, booted),
            "environments": lambda: _environments(root, clock),
            "weights": lambda: repository_bytes(os.path.join(root, weights_dir.lstrip("/"))),
            "state": lambda: read_json(os.path.join(root, state_file.lstrip("/"))),
        },
        clock.end + 0.5,
    )
    gpu = found.get("gpu") or GpuFacts().to_dict()
    host = found.get("host") or dict(_NO_HOST)
    nvidia = found.get("nvidia") or {}
    engine = found.get("engine") or {"problem": None, "root": None, "images": [], "containers": []}
    state, torn = found.get("state") or ({}, False)
    for version in host.pop("fabric_managers").values():
        manager = nvidia.setdefault("fabric_manager", {"unit": {}, "version": None})
        manager["version"] = manager["version"] or re.sub(r"^\d+:|-[^-]*$", "", version)
    paths = {"image": str(engine["root"] or "/var/lib/docker"), "weights": weights_dir, "configuration": config_dir}
    amd = gpu["vendor"] == "amd"
    then, later = at_once(
        {
            "amd": lambda: [_amd(root, card["pci_address"]) for card in gpu["devices"]] if amd else [],
            "nodes": lambda: _nodes(root) if amd else {},
            "disks": lambda: {name: disk(root, path) for name, path in {**paths, "logs": "/var/log"}.items()},
        },
        clock.end + 1,
    )
    return {
        "now": now,
        "gpu": gpu,
        "host": host,
        "nvidia": nvidia,
        "engine": {"problem": engine["problem"], "root": engine["root"]},
        "images": engine["images"],
        "containers": engine["containers"],
        "kernel_log": found.get("kernel_log") or {"source": None, "lines": []},
        "instances": found.get("instances") or [],
        "reloaded": found.get("reloaded"),
        "environments": found.get("environments") or {},
        "weights": found.get("weights") or {},
        "state": state,
        "state_torn": state_file if torn else "",
        "amd": then.get("amd") or [],
        "nodes": then.get("nodes") or {},
        "disks": {name: value for name, value in (then.get("disks") or {}).items() if value is not None},
        "shm_bytes": _size(os.path.join(root, "dev/shm")),
        "hung": dict(clock.hung),
        "unexamined": {**unexamined, **later},
        "seconds": round(time.monotonic() - begun, 2),
    }


def at_once(jobs: t.Mapping[str, t.Callable[[], t.Any]], end: float) -> tuple[dict[str, t.Any], dict[str, str]]:
    """What the jobs gave, and why others gave nothing.

    A file of a driver or of a network's disk that hangs cannot be given up from within: its thread is left behind.
    """
    found: dict[str, t.Any] = {}
    failed: dict[str, str] = {}

    def run(name: str, job: t.Callable[[], t.Any]) -> None:
        try:
            found[name] = job()
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"

    threads = {name: threading.Thread(target=run, args=(name, job), daemon=True) for name, job in jobs.items()}
    for thread in threads.values():
        thread.start()
    for thread in threads.values():
        thread.join(max(0.0, end - time.monotonic()))
    done = dict(found)
    stuck = {name: "it did not end in time" for name in jobs if name not in done and name not in failed}
    return done, {**failed, **stuck}


def _host(root: str, clock: Clock) -> dict[str, t.Any]:
    host = read_host(root, clock.ask).to_dict()
    kept = ("kernel", "headers", "dkms", "modules", "nvswitches")
    managers = {name: version for name, version in host["packages"].items() if "fabricmanager" in name}
    nvlsm = "nvlsm" in host["packages"] or os.path.exists(os.path.join(root, _NVLSM))
    return {**{name: host[name] for name in kept}, "nvlsm": nvlsm, "fabric_managers": managers}


def _nvidia(root: str, clock: Clock) -> dict[str, t.Any]:
    answer = None
    if os.path.isdir(os.path.join(root, "sys/module/nvidia")):
        answer = clock.ask(_QUERY)
    versions = {
        match[1]
        for folder in _LIBRARIES
        for name in list_dir(os.path.join(root, folder))
        for match in [re.fullmatch(r"libnvidia-ml\.so\.(\d{3}[\d.]*)", name)]
        if match
    }
    return {
        "proc_version": read(os.path.join(root, "proc/driver/nvidia/version")),
        "libraries": sorted(versions),
        "query": None if answer is None else {"rc": answer.rc, "out": answer.out, "err": answer.err},
        "fabric_manager": {
            "unit": _show(clock, "nvidia-fabricmanager.service"),
            "version": fabric_manager_version(clock.text("nv-fabricmanager", "--version")),
        },
    }


def fabric_manager_version(text: str) -> str | None:
    """Of `nv-fabricmanager --version`: Fabric Manager version is : 535.161.08."""
    match = re.search(r"Fabric Manager version is\s*:\s*([\d.]+)", text)
    return match[1] if match else None


def _show(clock: Clock, unit: str) -> dict[str, str]:
    return parse_show(clock.text("systemctl", "show", unit, f"--property={_UNIT}"))


def _amd(root: str, address: str) -> dict[str, t.Any]:
    """A card's power cap and its default in W (hwmon has µW), how its clocks are chosen, errors by block (ras)."""
    folder = os.path.join(root, "sys/bus/pci/devices", address)
    caps: dict[str, float | None] = {"power1_cap": None, "power1_cap_default": None}
    for name in list_dir(os.path.join(folder, "hwmon")):
        for cap in caps:
            text = read(os.path.join(folder, "hwmon", name, cap))
            if text.isdigit():
                caps[cap] = int(text) / 1_000_000
    errors: dict[str, int] = {}
    for name in list_dir(os.path.join(folder, "ras")):
        match = re.search(r"^ue:\s*(\d+)", read(os.path.join(folder, "ras", name)), re.MULTILINE)
        if name.endswith("_err_count") and match:
            errors[name[: -len("_err_count")]] = int(match[1])
    return {
        "pci_address": address,
        "cap_w": caps["power1_cap"],
        "cap_default_w": caps["power1_cap_default"],
        "level": read(os.path.join(folder, "power_dpm_force_performance_level")) or None,
        "uncorrectable": errors,
    }


def _nodes(root: str) -> dict[str, dict[str, int]]:
    """Owner and mode of the nodes that ROCm opens."""
    names = ["kfd", *(f"dri/{name}" for name in sorted(list_dir(os.path.join(root, "dev/dri"))) if "renderD" in name)]
    found: dict[str, dict[str, int]] = {}
    for name in names:
        try:
            status = os.stat(os.path.join(root, "dev", name))
        except OSError:
            continue
        found[f"/dev/{name}"] = {"gid": status.st_gid, "mode": status.st_mode & 0o777}
    return found


def _kernel_log(clock: Clock) -> dict[str, t.Any]:
    """The lines of GPU errors of this boot; a container's journal has none of the kernel, and some hosts keep none."""
    sources = (
        ("journalctl", "--dmesg", "--boot", f"--since=-{_DAYS}d", "--no-pager", "--quiet", "--output=short-iso"),
        ("dmesg", "--time-format=iso"),
        ("dmesg",),
    )
    for words in sources:
        text = clock.text(*words)
        if text.strip():
            lines = [line for line in text.splitlines() if _KERNEL.search(line)]
            if len(lines) > _FIRST_LINES + _LAST_LINES:
                lines = lines[:_FIRST_LINES] + lines[-_LAST_LINES:]
            return {"source": words[0], "lines": [line[:400] for line in lines]}
    return {"source": None, "lines": []}


def _instances(root: str, config_dir: str, clock: Clock, booted: float) -> list[dict[str, t.Any]]:
    found = instances(root, config_dir)
    for item in found:
        unit = _show(clock, f"sglang@{item['name']}.service")
        monotonic = int(unit.get("ActiveEnterTimestampMonotonic") or 0) or int(
            unit.get("InactiveExitTimestampMonotonic") or 0
        )
        item.update(unit=unit, since=booted + monotonic / 1e6 if monotonic else None, health=None, said="")
        if unit.get("ActiveState") == "active" and item["port"]:
            answer = Client(item["address"], item["port"], seconds=3).call("/health")
            item.update(health=answer.status, said=answer.excerpt())
    return found


def _reloaded(clock: Clock, booted: float) -> float | None:
    """When systemd last read its units anew; None where it has not since it started, or does not tell (before 250)."""
    text = parse_show(clock.text("systemctl", "show", "--property=UnitsLoadTimestampMonotonic"))
    value = text.get("UnitsLoadTimestampMonotonic", "")
    return booted + int(value) / 1e6 if value.isdigit() and int(value) else None


def _environments(root: str, clock: Clock) -> dict[str, dict[str, str]]:
    daemon = parse_show(clock.text("systemctl", "show", "docker.service", "--property=Environment")).get(
        "Environment", ""
    )
    found = {
        "systemd (`systemctl show-environment`)": visible(clock.text("systemctl", "show-environment").splitlines()),
        "docker.service": visible(daemon.split()),
        "/etc/environment": visible(read(os.path.join(root, "etc/environment")).splitlines()),
        "/etc/default/docker": visible(read(os.path.join(root, "etc/default/docker")).splitlines()),
    }
    return {where: values for where, values in found.items() if values}


def _size(path: str) -> int | None:
    try:
        status = os.statvfs(path)
    except OSError:
        return None
    return status.f_blocks * status.f_frsize
