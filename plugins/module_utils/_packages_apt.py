# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages on a host with apt, Debian and Ubuntu."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils._disk import free_bytes
from ansible_collections.sglang.fleet.plugins.module_utils._openpgp import KeyFileError, dearmour
from ansible_collections.sglang.fleet.plugins.module_utils._package_manager import FetchKey, Manager, Run, read
from ansible_collections.sglang.fleet.plugins.module_utils._packages import (
    PackageError,
    Repository,
    Source,
    check_key,
    choose,
    explain,
    madison,
    simulated,
    sizes,
    sources_of,
)

RETRY = ["-o", "Acquire::Retries=2"]
LOCK = ["-o", "DPkg::Lock::Timeout=300", *RETRY]
KEEP_CONFIGURATION = ["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"]
MARGIN = 64 << 20
#: Seconds that another program may hold a lock, and between two attempts.
PATIENCE, PAUSE = 300, 5
LOCKED = re.compile("could not get lock|was locked by another process", re.IGNORECASE)
#: dpkg's states of packages whose files are there; all but the first are of an installation that broke off.
THERE = ("installed", "half-installed", "unpacked", "half-configured", "triggers-awaiting", "triggers-pending")


def human(size: int) -> str:
    for unit, name in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >= 1 << unit:
            return f"{size / (1 << unit):.1f} {name}"
    return f"{size} bytes"


class Apt(Manager):
    """Debian and Ubuntu."""

    KEYS = "/etc/apt/keyrings"
    SOURCES = "/etc/apt/sources.list.d"
    PREFERENCES = "/etc/apt/preferences.d"
    LISTS = "/var/lib/apt/lists"
    ARCHIVES = "/var/cache/apt/archives"

    def __init__(self, params: Mapping[str, Any], run: Run, fetch_key: FetchKey, *, check_mode: bool) -> None:
        super().__init__(params, run, fetch_key, check_mode=check_mode)
        self.chosen: dict[str, str] = {}
        self.words: list[str] = []
        self.old_lists = self.lists_are_old()  # before a repository of ours is added to them

    def installed(self) -> tuple[dict[str, str], set[str]]:
        out = self.call("dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package} ${Version}\\n")
        rows = [row for row in (line.split() for line in out.splitlines()) if len(row) == 3 and row[0] in THERE]
        return {row[1]: row[2] for row in rows}, {row[1] for row in rows if row[0] != "installed"}

    def proxy(self, scheme: str) -> str:
        out = self.call("apt-config", "shell", "own", f"Acquire::{scheme}::Proxy", "http", "Acquire::http::Proxy")
        found = dict(word.split("=", 1) for word in shlex.split(out) if "=" in word)
        value = found.get("own") or found.get("http") or ""
        return "" if value.upper() == "DIRECT" else value

    def finish(self) -> None:
        # One that fails now may do with what comes with the installation, such as a kernel's headers.
        self.patiently("dpkg", "--force-confdef", "--force-confold", "--configure", "-a")

    def patiently(self, *command: str) -> tuple[int, str, str]:
        """A command, again while another program holds a lock. DPkg::Lock::Timeout is not for those of lists and archives, so
        that no command here has it: one wait is enough."""
        end = time.monotonic() + PATIENCE
        while True:
            code, out, err = self.run(command)
            if code == 0 or time.monotonic() >= end or not LOCKED.search(err + out):
                return code, out, err
            time.sleep(PAUSE)

    def held(self) -> set[str]:
        return {name.split(":", 1)[0] for name in self.call("apt-mark", "showhold").split()}

    def set_hold(self, names: Sequence[str], hold: bool) -> None:
        if names:
            self.call("apt-mark", "hold" if hold else "unhold", *names)

    def own_sources(self) -> list[Source]:
        """What the host's own sources have."""
        architecture = self.call("dpkg", "--print-architecture").strip()
        ours = {f"{self.SOURCES}/{entry.name}.sources" for entry in self.repositories}
        found: list[Source] = []
        for path in ["/etc/apt/sources.list", *sorted(glob.glob(f"{self.SOURCES}/*"))]:
            content = read(path) if path not in ours and path.endswith((".list", ".sources")) else None
            if content:
                found += sources_of(content.decode(errors="replace"), architecture, deb822=path.endswith(".sources"))
        return found

    @staticmethod
    def trusted_by(entry: Repository, own: Sequence[Source]) -> str:
        """The keyring of the host's own entry of the same address and suite: apt wants one answer for both."""
        return next((source.signed_by for source in entry.of_host(own) if source.signed_by), "")

    def stale_files(self) -> dict[str, bytes | None]:
        due: dict[str, bytes | None] = {}
        if not self.repositories:
            return due
        own = self.own_sources()
        for entry in self.repositories:
            key = f"{self.KEYS}/{entry.name}.gpg"
            texts = {f"{self.PREFERENCES}/{entry.name}": entry.preferences()}
            if not entry.is_in(own) and not entry.key_url:
                texts[f"{self.SOURCES}/{entry.name}.sources"] = entry.sources(self.trusted_by(entry, own))
            elif not entry.is_in(own):
                texts[f"{self.SOURCES}/{entry.name}.sources"] = entry.sources(key)
                try:
                    check_key(read(key) or b"", entry.key_fingerprints, key)
                except (PackageError, KeyFileError):
                    due[key] = None
            for path, text in texts.items():
                if text and read(path) != text.encode():
                    due[path] = text.encode()
        return due

    def take_repositories(self, due: dict[str, bytes | None]) -> None:
        """Fetch and check keys, see that apt takes the repositories, and only then put their files in place."""
        staging = tempfile.mkdtemp(prefix="sglang-fleet-apt-")
        try:
            os.chmod(staging, 0o755)  # noqa: S103 (apt reads as the user _apt; keys and addresses are no secrets)
            parts = os.path.join(staging, "sources")
            os.mkdir(parts)
            for entry in self.repositories:
                key, sources = f"{self.KEYS}/{entry.name}.gpg", f"{self.SOURCES}/{entry.name}.sources"
                if key not in due and sources not in due:
                    continue
                if not entry.key_url:
                    with open(f"{parts}/{entry.name}.sources", "wb") as handle:
                        handle.write(due[sources] or b"")
                    os.chmod(f"{parts}/{entry.name}.sources", 0o644)
                    continue
                staged = os.path.join(staging, f"{entry.name}.gpg")
                # Also where the key is there: it may have been renewed.
                content = dearmour(self.fetch_key(entry))
                if read(key) != content:
                    due[key] = content
                for path, data in (
                    (staged, content),
                    (f"{parts}/{entry.name}.sources", entry.sources(staged).encode()),
                ):
                    with open(path, "wb") as handle:
                        handle.write(data)
                    os.chmod(path, 0o644)
            if os.listdir(parts):
                self.update("-o", "Dir::Etc::sourcelist=/dev/null", "-o", f"Dir::Etc::sourceparts={parts}",
                            "-o", "APT::Get::List-Cleanup=false", "-o", "APT::Update::Error-Mode=any")  # fmt: skip
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        for path, wanted in due.items():
            if wanted is not None:
                self.files.write(path, wanted)

    def update(self, *options: str) -> None:
        code, out, err = self.patiently("apt-get", "update", "-q", *RETRY, *options)
        if code != 0:
            raise PackageError(explain(err + "\n" + out))

    def renewed_keys(self, said: str) -> bool:
        """Fetch anew the keys of repositories that apt names: a vendor prolongs one under the fingerprint that it has.
        Whether one has changed."""
        changed = False
        for entry in self.repositories:
            path = f"{self.KEYS}/{entry.name}.gpg"
            there = read(path)
            if entry.key_url and entry.url in said and there is not None:
                content = dearmour(self.fetch_key(entry))
                if content != there:
                    self.files.write(path, content)
                    changed = True
        return changed

    def lists_are_old(self) -> bool:
        """Whether the lists of the host's own sources should be fetched anew; without any they are as old as can be."""
        found = glob.glob(f"{self.LISTS}/*Release")
        stamps = [f"{self.LISTS}/partial", "/var/lib/apt/periodic/update-success-stamp"]
        if len(found) <= len(self.repositories):
            return True
        newest = max((os.stat(path).st_ctime for path in [*found, *stamps] if os.path.exists(path)), default=0.0)
        return time.time() - newest > float(self.params["cache_valid_seconds"])

    def prepare_lists(self) -> str:
        """What is wrong with the host's sources. One that fails is the operator's own matter, if the packages are found."""
        code, out, err = self.patiently("apt-get", "update", "-q", *RETRY)
        if "GPG error" in err + out and self.renewed_keys(err + out):
            code, out, err = self.patiently("apt-get", "update", "-q", *RETRY)
        return explain(err + "\n" + out) if code != 0 or "Failed to fetch" in err or "GPG error" in err else ""

    def prepare(self, before: dict[str, str]) -> None:
        names = [entry.name for entry in self.wanted]
        trouble = self.prepare_lists() if self.old_lists else ""
        try:
            offered = madison(self.call("apt-cache", "madison", *names), self.repositories) if names else {}
            self.chosen = choose(self.wanted, offered, before, upgrade=self.params["upgrade"])
        except PackageError as error:
            raise PackageError(f"{error}{f' (apt-get update: {trouble})' if trouble else ''}") from error
        self.refuse_downgrades(before)
        self.words = [f"{name}={version}" if version else name for name, version in self.chosen.items()]
        self.words += [f"{name}-" for name in self.outgoing]
        if not self.words:
            return
        self.refuse_surprises()
        self.refuse_full_disk()
        command = ["apt-get", "install", "--yes", "--download-only", "-q", *RETRY, *self.options(), *self.words]
        code, out, err = self.patiently(*command)
        if code != 0:
            raise PackageError(explain(err + "\n" + out))

    def options(self) -> list[str]:
        options = [
            "--allow-change-held-packages",
            f"--{'' if self.params['recommends'] else 'no-'}install-recommends",
        ]
        options += ["--fix-broken"] if self.broken else []
        return [*options, "--allow-downgrades"] if self.params["downgrade"] else options

    def refuse_downgrades(self, before: dict[str, str]) -> None:
        if self.params["downgrade"]:
            return
        for name, version in self.chosen.items():
            there = before.get(name)
            if there and version and self.run(["dpkg", "--compare-versions", version, "lt", there])[0] == 0:
                raise PackageError(
                    f"{name} is installed as {there}, newer than the {version} that is wanted; it is not taken back"
                )

    def refuse_surprises(self) -> None:
        """Nothing may go, and nothing that the host holds may change, that nobody asked for."""
        self.plan = plan = simulated(self.call("apt-get", "install", "--simulate", *self.options(), *self.words))
        recorded = self.record.get("packages", {})
        asked = [*self.params["remove"], *self.params["may_remove"]]
        lost = [
            name
            for name in plan.removes
            if name not in recorded and not any(fnmatch.fnmatchcase(name, pattern) for pattern in asked)
        ]
        if lost:
            raise PackageError(
                f"to install {', '.join(self.words)}, apt would remove {', '.join(sorted(lost))}, which is not asked for."
                " Remove them by hand if they are to go"
            )
        ours = {*self.hold, *recorded, *self.chosen, *self.params["remove"], *self.record.get("held", [])}
        frozen = sorted((self.held() & {*plan.installs, *plan.removes}) - ours)
        if frozen:
            raise PackageError(
                f"to install {', '.join(self.words)}, apt would change {', '.join(frozen)}, on hold on this host. Release"
                f" them if that is wanted: apt-mark unhold {' '.join(frozen)}"
            )

    def refuse_full_disk(self) -> None:
        out = self.call("apt-get", "install", "--yes", "--print-uris", *self.options(), *self.words)
        download, unpacked = sizes(out)
        for folder, needed in ((self.ARCHIVES, download), ("/usr", unpacked + MARGIN if unpacked else 0)):
            free = free_bytes(folder)
            if free < needed:
                raise PackageError(
                    f"the disk is full: {', '.join(self.words)} needs {human(needed)} in {folder}, where {human(free)} is free."
                    " Free space there (apt-get clean empties apt's own cache) and run again"
                )

    def transaction(self) -> None:
        if not self.words:
            return
        before = self.installed()[0]
        command = ["apt-get", "install", "--yes", "-q", *RETRY, *KEEP_CONFIGURATION, *self.options(), *self.words]
        code, out, err = self.patiently(*command)
        if code != 0:
            tail = " | ".join([line for line in (out + err).splitlines() if line.strip()][-6:])
            after = self.installed()[0]
            changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
            raise PackageError(
                f"{explain(err + chr(10) + out)}. The installation broke off; changed by then: {', '.join(changed) or 'nothing'}."
                f" Mend what it names and run again; `dpkg --audit` on the host says what is left half done. It ended: {tail}"
            )

    def removal(self, names: Sequence[str]) -> list[str]:
        plan = simulated(self.call("apt-get", "purge", "--simulate", "--allow-change-held-packages", *names))
        return list(plan.removes)

    def uninstall(self, names: Sequence[str]) -> None:
        keeping = [name for name in names if name in self.params["keep_configuration"]]
        for verb, some in (("remove", keeping), ("purge", [name for name in names if name not in keeping])):
            if some:
                self.call("apt-get", verb, "--yes", "-q", *LOCK, "--allow-change-held-packages", *some)
