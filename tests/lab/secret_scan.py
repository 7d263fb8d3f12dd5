# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks on one machine for texts that must not be there. Standard library only; runs on nodes and on this machine.

`secrets.py` sends this file to a Python's standard input with a last line that calls `main`: neither the file nor the
texts are then in a file, in an argument or in the environment of anything on the machine.
"""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import urllib.parse
from collections.abc import Iterator
from typing import Any

CHUNK = 1 << 20

#: name -> command whose output is looked through; {} is left out where there is nothing to ask about
COMMANDS = {
    "journal": ["journalctl", "--no-pager", "--output=export"],
    "kernel log": ["dmesg"],
    "docker ps": ["docker", "ps", "--all", "--no-trunc"],
    "docker info": ["docker", "info"],
    "systemctl show": ["systemctl", "show", "--all", "*"],
    "systemctl show-environment": ["systemctl", "show-environment"],
    "processes": ["ps", "-eww", "-o", "args"],
}
#: what -> how its names are listed, how each is shown
LISTED = {
    "docker inspect": (["docker", "ps", "--all", "--quiet", "--no-trunc"], ["docker", "inspect"]),
    "docker logs": (["docker", "ps", "--all", "--quiet", "--no-trunc"], ["docker", "logs"]),
    "docker image inspect": (["docker", "images", "--quiet", "--no-trunc"], ["docker", "image", "inspect"]),
    "docker history": (["docker", "images", "--quiet", "--no-trunc"], ["docker", "history", "--no-trunc"]),
    "docker volume": (["docker", "volume", "ls", "--quiet"], ["docker", "volume", "inspect"]),
}


def forms(text: str) -> list[bytes]:
    """A text as it is, as in a URL, and as base64 shows it wherever it begins in what was encoded."""
    found = {text.encode(), urllib.parse.quote(text, safe="").encode()}
    for before in range(3):
        coded = base64.b64encode(b"x" * before + text.encode())
        # What shares its letters with what stands before or after is of no use.
        start, end = (0, 2, 3)[before], len(coded) - (4 if (before + len(text.encode())) % 3 else 0)
        found.add(coded[start:end])
    return sorted(found)


class Scan:
    """wanted: name -> the text's forms. Every place that holds one goes to `found`, without the text."""

    def __init__(self, texts: dict[str, str], allowed: list[str]) -> None:
        self.wanted = {name: forms(text) for name, text in texts.items()}
        self.longest = max(len(form) for some in self.wanted.values() for form in some)
        self.allowed = set(allowed)
        self.found: list[str] = []
        self.looked: dict[str, int] = {}

    def bytes(self, place: str, data: bytes) -> None:
        names = [name for name, some in self.wanted.items() if any(form in data for form in some)]
        self.found += [f"{place} holds {name}" for name in names]

    def file(self, path: str) -> None:
        held = set()
        try:
            with open(path, "rb") as handle:
                rest = b""
                while chunk := handle.read(CHUNK):
                    data = rest + chunk
                    held |= {name for name, some in self.wanted.items() if any(form in data for form in some)}
                    rest = data[-self.longest :]
                mode = os.fstat(handle.fileno())
        except OSError:
            return
        ours = (mode.st_uid, mode.st_gid) == (os.geteuid(), os.getegid())
        if path in self.allowed and stat.S_IMODE(mode.st_mode) == 0o600 and ours:
            return
        how = f"{stat.S_IMODE(mode.st_mode):04o} {mode.st_uid}:{mode.st_gid}"
        self.found += [f"{path} ({how}) holds {name}" for name in sorted(held)]

    def tree(self, root: str) -> None:
        count = 0
        for path in files(root):
            self.file(path)
            count += 1
        self.looked[root] = self.looked.get(root, 0) + count

    def command(self, place: str, command: list[str]) -> None:
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        except OSError:
            return
        self.looked[place] = self.looked.get(place, 0) + len(done.stdout)
        self.bytes(place, done.stdout)

    def each(self, place: str, listing: list[str], shown: list[str]) -> None:
        for name in sorted(set(lines(listing))):
            self.command(f"{place} {name[:19]}", [*shown, name])

    def processes(self) -> None:
        for pid in filter(str.isdecimal, os.listdir("/proc")):
            for kind in ("cmdline", "environ"):
                try:
                    with open(f"/proc/{pid}/{kind}", "rb") as handle:
                        data = handle.read()
                    with open(f"/proc/{pid}/comm") as handle:
                        name = handle.read().strip()
                except OSError:
                    continue
                self.looked[f"/proc/*/{kind}"] = self.looked.get(f"/proc/*/{kind}", 0) + 1
                self.bytes(f"/proc/{pid}/{kind} ({name})", data)

    def containers(self) -> None:
        """What containers have written into themselves."""
        for name in sorted(set(lines(["docker", "ps", "--all", "--quiet", "--no-trunc"]))):
            folder = lines(["docker", "inspect", "--format", "{{with .GraphDriver.Data}}{{.UpperDir}}{{end}}", name])
            for path in folder:
                if os.path.isdir(path):
                    self.tree(path)


def lines(command: list[str]) -> list[str]:
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    except OSError:
        return []
    return [line for line in done.stdout.decode(errors="replace").splitlines() if line.strip()]


def files(root: str) -> Iterator[str]:
    """Regular files at or below a path; links are not followed, other file systems that hold no data are left out."""
    if os.path.isfile(root) and not os.path.islink(root):
        yield root
    for folder, inside, names in os.walk(root):
        inside[:] = [name for name in inside if os.path.join(folder, name) not in ("/run/docker/netns", "/run/netns")]
        for name in names:
            path = os.path.join(folder, name)
            try:
                if stat.S_ISREG(os.lstat(path).st_mode):
                    yield path
            except OSError:
                continue


def main(job: dict[str, Any]) -> None:
    """job: texts (name -> text), paths, allowed (paths that may hold them), commands, processes.

    A path that may hold them must be 0600, and of the user that this runs as: root, on a node.
    """
    scan = Scan(job["texts"], job["allowed"])
    for path in job["paths"]:
        scan.tree(path)
    if job["commands"]:
        for place, command in COMMANDS.items():
            scan.command(place, command)
        for place, (listing, shown) in LISTED.items():
            scan.each(place, listing, shown)
        scan.containers()
    if job["processes"]:
        scan.processes()
    print(json.dumps({"found": sorted(set(scan.found)), "looked": scan.looked}))
