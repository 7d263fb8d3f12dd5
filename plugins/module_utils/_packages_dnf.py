# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages on a host with dnf, RHEL and its family."""

from __future__ import annotations

import configparser
import fnmatch
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils._openpgp import KeyFileError
from ansible_collections.sglang.fleet.plugins.module_utils._package_manager import FetchKey, Manager, Run, read
from ansible_collections.sglang.fleet.plugins.module_utils._packages import (
    PackageError,
    Simulation,
    check_key,
    choose,
    explain,
    offered,
    satisfied,
)

#: versionlock hides every other version of what it holds from all that dnf does, also from who set the lock.
DNF = ("dnf", "--disableplugin=versionlock", "--setopt=install_weak_deps=False")
ROW = r"%{name} | %{epoch}:%{version}-%{release} | %{arch} | %{repoid}\n"
INSTALLED = r"%{NAME} %{EPOCHNUM}:%{VERSION}-%{RELEASE} %{ARCH}\n"


def rpm_key(version: str) -> tuple[tuple[tuple[int, int, str], ...], ...]:
    """What epoch:version-release is compared by, as rpm does: 580.105.08 is newer than 580.95.05, 1.0~rc1 older than 1.0."""
    epoch, _sep, rest = version.partition(":")
    upstream, _sep, release = rest.partition("-")
    return tuple(
        (
            *(
                (-1, 0, "") if part == "~" else (1, int(part), "") if part.isdigit() else (0, 0, part)
                for part in re.findall(r"~|\d+|[A-Za-z]+", text)
            ),
            (-1, 1, ""),  # the end: before anything else, behind a tilde
        )
        for text in (epoch, upstream, release)
    )


def nevra(name: str, version: str, arch: str) -> str:
    """A package by its full name, as `kernel-devel-$(uname -r)` is."""
    return f"{name}-{version.split(':', 1)[-1]}.{arch}"


_NEW = re.compile(r"Installing\b")
_CHANGED = re.compile(r"(Upgrading|Downgrading|Reinstalling)\b")
_GONE = re.compile(r"Removing\b")


def rows(text: str) -> list[tuple[str, str, str, str]]:
    """(section, name, version, architecture) of the table that dnf prints before it asks."""
    found: list[tuple[str, str, str, str]] = []
    section = ""
    # A name that is too long for its column has its line alone.
    for line in re.sub(r"^( \S+)\n {2,}(?=\S+ +\d)", r"\1 ", text, flags=re.MULTILINE).splitlines():
        words = line.split()
        if line.startswith("Transaction Summary"):
            section = ""
        elif re.match(r"[A-Z][\w /]*:$", line):
            section = line
        elif words[:1] == ["replacing"]:
            name, _sep, arch = words[1].rpartition(".")
            found.append(("Removing:", name, words[2], arch))
        elif section and re.match(r" \S", line) and len(words) >= 3:
            found.append((section, words[0], words[2], words[1]))
    return found


def table(text: str) -> Simulation:
    """What dnf would do. What it installs stands under both of its names: the record has that by which it was asked for."""
    installs: dict[str, str] = {}
    removes: list[str] = []
    new: set[str] = set()
    for section, name, version, arch in rows(text):
        if _GONE.match(section):
            removes.append(name)
        elif _NEW.match(section) or _CHANGED.match(section):
            installs.update({name: version, nevra(name, version, arch): version})
            if _NEW.match(section):
                new |= {name, nevra(name, version, arch)}
    return Simulation(installs, tuple(removes), frozenset(new))


class Dnf(Manager):
    """RHEL and its family."""

    KEYS = "/etc/pki/rpm-gpg"
    SOURCES = "/etc/yum.repos.d"
    CONFIGURATION = "/etc/dnf/dnf.conf"

    def __init__(self, params: Mapping[str, Any], run: Run, fetch_key: FetchKey, *, check_mode: bool) -> None:
        super().__init__(params, run, fetch_key, check_mode=check_mode)
        self.words: list[str] = []

    def installed(self) -> tuple[dict[str, str], set[str]]:
        """Versions by name. Of kernels' packages several may be there: one that is asked for by its full name has that."""
        out = self.call("rpm", "--query", "--all", "--queryformat", INSTALLED)
        full = {entry.name for entry in self.wanted} | set(self.record.get("packages", {}))
        found: dict[str, str] = {}
        for row in (line.split() for line in out.splitlines()):
            if len(row) == 3:
                name, version, arch = row
                own = nevra(name, version, arch)
                key = own if own in full else name
                if key not in found or rpm_key(version) > rpm_key(found[key]):
                    found[key] = version
        return found, set()

    def proxy(self, scheme: str) -> str:
        configuration = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            configuration.read(self.CONFIGURATION)
        except configparser.Error:
            return ""
        found = configuration.get("main", "proxy", fallback="")
        return "" if found == "_none_" else found

    def held(self) -> set[str]:
        """dnf's plugin versionlock holds; a host without it holds nothing."""
        code, out, _err = self.run(["dnf", "--quiet", "versionlock", "list"])
        names = (re.sub(r"^[!\s]*(.+?)-\d+:[^-]+-[^-]+$", r"\1", line) for line in out.split()) if code == 0 else ()
        return set(names)

    def set_hold(self, names: Sequence[str], hold: bool) -> None:
        if names:
            if hold and self.run(["dnf", "--quiet", "versionlock", "list"])[0] != 0:
                self.call("dnf", "--assumeyes", "--quiet", "install", "python3-dnf-plugin-versionlock")
            self.call("dnf", "--quiet", "versionlock", "add" if hold else "delete", *names)

    def stale_files(self) -> dict[str, bytes | None]:
        due: dict[str, bytes | None] = {}
        for entry in self.repositories:
            key, path = f"{self.KEYS}/RPM-GPG-KEY-{entry.name}", f"{self.SOURCES}/{entry.name}.repo"
            try:
                check_key(read(key) or b"", entry.key_fingerprints, key)
            except (PackageError, KeyFileError):
                due[key] = None
            if read(path) != entry.yum(key).encode():
                due[path] = entry.yum(key).encode()
        return due

    def take_repositories(self, due: dict[str, bytes | None]) -> None:
        for entry in self.repositories:
            key = f"{self.KEYS}/RPM-GPG-KEY-{entry.name}"
            if key in due:
                due[key] = self.fetch_key(entry)
        for path, data in due.items():
            self.files.write(path, data or b"")
        for entry in self.repositories:
            self.call("dnf", "--quiet", "--assumeyes", "makecache", "--disablerepo=*", f"--enablerepo={entry.name}")

    def prepare(self, before: dict[str, str]) -> None:
        names = [entry.name for entry in self.wanted]
        chosen = choose(self.wanted, self.offered(names), before, upgrade=self.params["upgrade"]) if names else {}
        self.refuse_downgrades(before, chosen)
        self.words = [f"{name}-{version}" if version else name for name, version in chosen.items()]
        if not (self.words or self.outgoing):
            return
        self.plan = self.simulated()
        self.refuse_surprises()
        if self.words:
            # What is to go stands in the way of what comes until then.
            erasing = ["--allowerasing"] if self.outgoing else []
            self.call(*DNF, "--assumeyes", "--quiet", "install", "--downloadonly", *erasing, *self.words)

    def offered(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Versions of each package, the highest first: dnf prints them in the order of their letters."""
        out = self.call(*DNF, "--quiet", "repoquery", f"--queryformat={ROW}", *names)
        ours = {entry.name for entry in self.repositories}
        rows: list[tuple[str, str, bool]] = []
        for line in out.splitlines():
            parts = [part.strip() for part in line.split("|")]
            if len(parts) == 4:
                name, version, arch, repository = parts
                rows += [(key, version, repository in ours) for key in (name, nevra(name, version, arch))]
        return offered(sorted(rows, key=lambda row: rpm_key(row[1]), reverse=True))

    def refuse_downgrades(self, before: Mapping[str, str], chosen: Mapping[str, str]) -> None:
        if self.params["downgrade"]:
            return
        for name, version in chosen.items():
            there = before.get(name)
            if there and version and rpm_key(version) < rpm_key(there):
                raise PackageError(
                    f"{name} is installed as {there}, newer than the {version} that is wanted; it is not taken back"
                )

    def command(self, folder: str, answer: str) -> list[str]:
        """The transaction: an installation, or what is to go and what comes in one, which only dnf's shell has."""
        if not self.outgoing:
            return [*DNF, answer, "install", *self.words]
        script = os.path.join(folder, "script")
        with open(script, "w", encoding="utf-8") as handle:
            handle.write(f"remove {' '.join(self.outgoing)}\n")
            handle.write(f"install {' '.join(self.words)}\n" if self.words else "")
            handle.write("run\n")
        return [*DNF, answer, "--noautoremove", "shell", script]

    def simulated(self) -> Simulation:
        """What dnf would do. That it has said no to itself is no error, and the shell exits with 0 whatever happens."""
        with tempfile.TemporaryDirectory(prefix="sglang-fleet-dnf-") as folder:
            _code, out, err = self.run(self.command(folder, "--assumeno"))
        said = [line for line in (err + "\n" + out).splitlines() if "Operation aborted" not in line]
        if any(line.startswith("Error:") for line in said):
            raise PackageError(explain("\n".join(said)))
        return table(out)

    def refuse_surprises(self) -> None:
        """Nothing may go, and nothing that the host holds may change, that nobody asked for."""
        recorded = self.record.get("packages", {})
        asked = [*self.params["remove"], *self.params["may_remove"]]
        lost = [
            name
            for name in self.plan.removes
            if name not in recorded and not any(fnmatch.fnmatchcase(name, pattern) for pattern in asked)
        ]
        what = " and ".join([*([f"install {', '.join(self.words)}"] if self.words else []),
                             *([f"remove {', '.join(self.outgoing)}"] if self.outgoing else [])])  # fmt: skip
        if lost:
            raise PackageError(
                f"to {what}, dnf would remove {', '.join(sorted(lost))}, which is not asked for. Remove them by hand if they"
                " are to go"
            )
        ours = {*self.hold, *recorded, *self.params["remove"], *self.record.get("held", [])}
        ours |= {entry.name for entry in self.wanted}
        frozen = sorted((self.held() & {*self.plan.installs, *self.plan.removes}) - ours)
        if frozen:
            raise PackageError(
                f"to {what}, dnf would change {', '.join(frozen)}, locked on this host. Release them if that is wanted: dnf"
                f" versionlock delete {' '.join(frozen)}"
            )

    def transaction(self) -> None:
        if not (self.words or self.outgoing):
            return
        with tempfile.TemporaryDirectory(prefix="sglang-fleet-dnf-") as folder:
            code, out, err = self.run(self.command(folder, "--assumeyes"))
        there = self.installed()[0]
        # A lock is of a version.
        locked = sorted(self.held() & {*self.plan.installs, *self.plan.removes})
        self.set_hold(locked, False)
        self.set_hold([name for name in locked if name in there], True)
        if code != 0 or any(name in there for name in self.outgoing) or not satisfied(self.wanted, there):
            raise PackageError(
                f"{explain(err + chr(10) + out)}. The installation broke off; `dnf history info` on the host says where"
            )

    def removal(self, names: Sequence[str]) -> list[str]:
        # Without --quiet, for what is quiet does not print the table.
        _code, out, _err = self.run([*DNF, "--assumeno", "--noautoremove", "remove", *names])
        recorded = self.record.get("packages", {})
        gone = ((name, nevra(name, version, arch)) for _section, name, version, arch in rows(out))
        return [full if full in recorded else name for name, full in gone]

    def uninstall(self, names: Sequence[str]) -> None:
        self.call(*DNF, "--assumeyes", "--quiet", "--noautoremove", "remove", *names)
