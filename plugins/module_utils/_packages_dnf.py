# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages on a host with dnf, RHEL and its family."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils._openpgp import KeyFileError
from ansible_collections.sglang.fleet.plugins.module_utils._package_manager import FetchKey, Manager, Run, read
from ansible_collections.sglang.fleet.plugins.module_utils._packages import (
    PackageError,
    check_key,
    choose,
    explain,
    madison,
)


class Dnf(Manager):
    """RHEL and its family."""

    KEYS = "/etc/pki/rpm-gpg"
    SOURCES = "/etc/yum.repos.d"

    def __init__(self, params: Mapping[str, Any], run: Run, fetch_key: FetchKey, *, check_mode: bool) -> None:
        super().__init__(params, run, fetch_key, check_mode=check_mode)
        self.words: list[str] = []

    def installed(self) -> dict[str, str]:
        out = self.call("rpm", "--query", "--all", "--queryformat", r"%{NAME} %{EPOCHNUM}:%{VERSION}-%{RELEASE}\n")
        return {name: version for name, _sep, version in (line.partition(" ") for line in out.splitlines()) if version}

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
                due[key] = self.fetch_key(entry.key_url)
                check_key(due[key] or b"", entry.key_fingerprints, entry.key_url)
        for path, data in due.items():
            self.files.write(path, data or b"")
        for entry in self.repositories:
            self.call("dnf", "--quiet", "--assumeyes", "makecache", "--disablerepo=*", f"--enablerepo={entry.name}")

    def prepare(self, before: dict[str, str]) -> None:
        names = [entry.name for entry in self.wanted]
        out = self.call(
            "dnf", "--quiet", "repoquery", "--queryformat=%{name} | %{epoch}:%{version}-%{release} | dnf\n", *names
        )
        offered = madison(out)  # the oldest first here
        offered = {name: list(reversed(versions)) for name, versions in offered.items()}
        chosen = choose(self.wanted, offered, before, upgrade=self.params["upgrade"])
        self.words = [f"{name}-{version}" if version else name for name, version in chosen.items()]
        outgoing = [name for name in self.params["remove"] if name in before]
        if outgoing and self.words:
            raise PackageError(f"{', '.join(outgoing)} must be removed first, by hand: dnf remove {' '.join(outgoing)}")
        if self.words:
            self.call(
                "dnf",
                "--assumeyes",
                "--quiet",
                "install",
                "--downloadonly",
                "--setopt=install_weak_deps=False",
                *self.words,
            )

    def transaction(self, before: dict[str, str]) -> None:
        if self.words:
            code, out, err = self.run(
                ["dnf", "--assumeyes", "--quiet", "install", "--setopt=install_weak_deps=False", *self.words]
            )
            if code != 0:
                raise PackageError(
                    f"{explain(err + chr(10) + out)}. The installation broke off; `dnf history info` says where"
                )

    def removal(self, names: Sequence[str]) -> list[str]:
        out = self.call(
            "dnf", "--quiet", "repoquery", "--installed", "--whatrequires", ",".join(names), "--queryformat=%{name}\n"
        )
        return [*names, *out.split()]

    def uninstall(self, names: Sequence[str]) -> None:
        self.call("dnf", "--assumeyes", "--quiet", "--noautoremove", "remove", *names)
