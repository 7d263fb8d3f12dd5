"""`lab.py doctor`: whether this machine can run the lab, and what to do where it cannot."""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from .engine import engine_problem, is_root, missing_packages
from .network import inspect
from .settings import NETWORK, REGISTRY, REGISTRY_FOR_HOST, SUBNET
from .shell import cache_dir, docker, run, say

NEEDED_GIB = 20


def _python() -> str:
    return "" if sys.version_info >= (3, 11) else f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}"


def _system() -> str:
    return "" if sys.platform == "linux" else "nodes need a Linux kernel; use a Linux machine or virtual machine"


def _engine() -> str:
    remedy = {
        "denied": "this user may not use Docker: join the docker group (usermod -aG docker USER), then log in again",
        "missing": "Docker is not installed: `lab.py up` as root installs it, or apt-get install docker.io",
        "stopped": "Docker does not run: `lab.py up` as root starts it, or systemctl start docker",
    }
    problem = engine_problem()
    if problem:
        return remedy[problem]
    version = docker("version", "--format", "{{.Server.Version}}").stdout.strip()
    old = tuple(int(part) for part in version.split(".")[:2]) < (20, 10)
    return f"Docker {version} is too old, 20.10 or newer is needed" if old else ""


def _tools() -> str:
    packages = missing_packages(building=True)
    if not packages:
        return ""
    names = " ".join(packages)
    return f"missing: {names}; " + ("`lab.py up` installs them" if is_root() else f"ask for: apt-get install {names}")


def _disk() -> str:
    free = shutil.disk_usage(cache_dir()).free >> 30
    return "" if free >= NEEDED_GIB else f"{free} GiB free in {cache_dir()}, {NEEDED_GIB} GiB wanted"


def _memory() -> str:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) >> 20
            return "" if free >= 4 else f"{free} GiB of memory available; each node with a server takes about 1.5 GiB"
    return ""


def _overlay() -> str:
    if "overlay" in Path("/proc/filesystems").read_text():
        return ""
    return "the kernel offers no overlay file system: load it with modprobe overlay"


def _port() -> str:
    if not engine_problem() and inspect("container", REGISTRY):
        return ""
    host, port = REGISTRY_FOR_HOST.split(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError:
            return f"another program listens on {REGISTRY_FOR_HOST}; the registry needs it"
    return ""


def _addresses() -> str:
    if engine_problem() or inspect("network", NETWORK):
        return ""
    routes = run(["ip", "-json", "route", "show", "root", SUBNET], check=False)
    taken = json.loads(routes.stdout or "[]") if routes.returncode == 0 else []
    return f"{SUBNET} is routed already ({taken[0].get('dev')}); the lab needs it for its nodes" if taken else ""


CHECKS: dict[str, Callable[[], str]] = {
    "Linux": _system,
    "Python": _python,
    "Docker engine": _engine,
    "programs to build with": _tools,
    "overlay file system": _overlay,
    "disk": _disk,
    "memory": _memory,
    "registry port": _port,
    "network addresses": _addresses,
}


def main(_arguments: argparse.Namespace) -> int:
    """Run every check; exit status 1 when one fails."""
    bad = 0
    for name, check in CHECKS.items():
        problem = check()
        say(name, problem or "ok")
        bad += bool(problem)
    return 1 if bad else 0
