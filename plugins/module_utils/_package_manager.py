# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages on a host, all of them or none: what apt and dnf have in common. `_packages_apt` and `_packages_dnf` have the rest.

Runs on hosts: the standard library only, Python 3.9. Commands and downloads are the caller's.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Callable

from ansible_collections.sglang.fleet.plugins.module_utils import _installed
from ansible_collections.sglang.fleet.plugins.module_utils._openpgp import KeyFileError
from ansible_collections.sglang.fleet.plugins.module_utils._packages import (
    PackageError,
    Repository,
    Simulation,
    Wanted,
    check_key,
    explain,
    keepable,
    masked,
    satisfied,
)

#: Runs a command: its exit status, stdout and stderr.
Run = Callable[[Sequence[str]], "tuple[int, str, str]"]
#: The content of the key file at an address, through a proxy if one is named. Raises PackageError.
FetchKey = Callable[[str, str], bytes]

UNCHANGED = "No package was changed."
FINISHED = (
    "Earlier installations had broken off and were brought to their end as far as that went; else nothing was changed."
)


class Files:
    """Files that are written, and put back as they were when something fails."""

    def __init__(self) -> None:
        self.before: dict[str, bytes | None] = {}

    def write(self, path: str, content: bytes) -> None:
        if path not in self.before:
            self.before[path] = read(path)
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=f".{os.path.basename(path)}.")
        try:
            with os.fdopen(descriptor, "wb") as handle:
                handle.write(content)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise

    def put_back(self) -> None:
        for path, content in self.before.items():
            if content is None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
            else:
                with open(path, "wb") as handle:
                    handle.write(content)


def read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as handle:
            return handle.read()
    except FileNotFoundError:
        return None


def whole(there: Mapping[str, str], broken: Collection[str]) -> dict[str, str]:
    """The packages whose installation came to its end."""
    return {name: version for name, version in there.items() if name not in broken}


class Manager:
    """What apt and dnf have in common: deciding what is due, in which order, and what to record."""

    def __init__(self, params: Mapping[str, Any], run: Run, fetch_key: FetchKey, *, check_mode: bool) -> None:
        self.params = params
        self.run = run
        self.fetch = fetch_key
        self.check_mode = check_mode
        self.owner: str = params["owner"]
        self.repositories = [Repository.of(entry) for entry in params["repositories"]]
        self.wanted = [Wanted.of(entry) for entry in params["packages"]]
        self.hold: list[str] = params["hold"]
        self.files = Files()
        self.outgoing: list[str] = []
        self.broken: set[str] = set()
        self.plan = Simulation()
        self.record: dict[str, Any] = _installed.load().get(self.owner, {})

    def fetch_key(self, entry: Repository) -> bytes:
        """The repository's key, once its fingerprint is the expected one."""
        content = self.fetch(entry.key_url, self.proxy(entry.key_url.split(":", 1)[0]))
        check_key(content, entry.key_fingerprints, entry.key_url)
        return content

    def call(self, *command: str) -> str:
        """stdout of a command that has to work."""
        code, out, err = self.run(command)
        if code != 0:
            raise PackageError(explain(err + "\n" + out))
        return out

    # What the two package managers do differently.
    def installed(self) -> tuple[dict[str, str], set[str]]:
        """Versions of what is there, and the names of those whose installation broke off."""
        raise NotImplementedError

    def proxy(self, scheme: str) -> str:
        """What the package manager's own configuration has as proxy, empty where it has none."""
        raise NotImplementedError

    def finish(self) -> None:
        """Bring installations that broke off to their end, as far as that goes."""

    def held(self) -> set[str]:
        raise NotImplementedError

    def set_hold(self, names: Sequence[str], hold: bool) -> None:
        raise NotImplementedError

    def stale_files(self) -> dict[str, bytes | None]:
        """Files that are not as they should be: their content, None where it needs the key, which is not here yet."""
        raise NotImplementedError

    def take_repositories(self, due: dict[str, bytes | None]) -> None:
        raise NotImplementedError

    def transaction(self) -> None:
        raise NotImplementedError

    def uninstall(self, names: Sequence[str]) -> None:
        raise NotImplementedError

    def removal(self, names: Sequence[str]) -> list[str]:
        """Everything that would go with these packages."""
        raise NotImplementedError

    # What they share.
    def present(self) -> dict[str, Any]:
        (there, self.broken), held = self.installed(), self.held()
        before = whole(there, self.broken)
        stale = self.stale_files()
        self.outgoing = outgoing = [name for name in self.params["remove"] if name in there]
        upgrade = self.params["upgrade"]
        packages_due = bool(outgoing) or upgrade or not satisfied(self.wanted, before)
        holds_due = [name for name in self.hold if name not in held]
        let_go = [name for name in self.record.get("held", []) if name not in self.hold and name in held]
        if not (stale or packages_due or holds_due or let_go):
            return {"changed": False, "installed": {}, "removed": [], "files": [], "held": []}
        result: dict[str, Any] = {"installed": {}, "removed": outgoing, "files": sorted(stale), "held": holds_due}
        if self.check_mode:
            missing = [w.name for w in self.wanted if not (w.name in before and w.accepts(before[w.name]))]
            names = missing or ([w.name for w in self.wanted if w.group] if packages_due and not upgrade else [])
            result["installed"] = dict.fromkeys(names, "")
            changed = bool(stale or outgoing or names or holds_due or let_go)
            return {**result, "changed": changed, "diff": self.difference(before, result, stale)}
        ready = before
        if packages_due and self.broken:
            self.finish()
            ready = whole(*self.installed())
            packages_due = bool(outgoing) or upgrade or not satisfied(self.wanted, ready)
        try:
            if stale:
                self.take_repositories(stale)
            if packages_due:
                self.prepare(ready)
        except (PackageError, KeyFileError, OSError) as error:
            self.files.put_back()
            raise PackageError(f"{error}. {FINISHED if self.broken else UNCHANGED}") from error
        # Others may have installed packages while this waited for them: what is there by now is not ours.
        there = self.installed()[0] if packages_due else there
        try:
            if packages_due:
                self.transaction()
        finally:
            # What an installation that broke off has left is ours too; and apt releases what it changes.
            after, left = self.installed()
            now = self.held()
            self.set_hold([name for name in self.hold if name in after and name not in now], True)
            self.set_hold([name for name in let_go if name in now], False)
            self.remember(there, after, held)
        touched = {*self.plan.installs, *self.broken}
        result["files"] = sorted({*stale, *self.files.before})
        result["installed"] = {
            name: version
            for name, version in whole(after, left).items()
            if name in touched and before.get(name) != version
        }
        result["removed"] = sorted(name for name in self.plan.removes if name in there and name not in after)
        result["held"] = [name for name in holds_due if name in after]
        changed = bool(result["files"] or result["installed"] or result["removed"] or result["held"] or let_go)
        return {**result, "changed": changed, "diff": self.difference(before, result, stale)}

    def prepare(self, before: dict[str, str]) -> None:
        """Everything that can fail without a package being touched."""
        raise NotImplementedError

    def difference(
        self, before: dict[str, str], result: dict[str, Any], texts: dict[str, bytes | None]
    ) -> list[dict[str, str]]:
        names = sorted({*result["installed"], *result["removed"]})
        old = "".join(f"{name} {before[name]}\n" for name in names if name in before)
        new = "".join(
            f"{name} {result['installed'][name]}".rstrip() + "\n" for name in names if name in result["installed"]
        )
        rows = [("packages", old, new)] if names else []
        for path in result["files"]:
            was, text = self.files.before.get(path, read(path)), texts.get(path)
            if "keyrings" in path or "rpm-gpg" in path:
                rows.append((path, "a key\n" if was else "", "the key that is expected\n"))
            else:
                rows.append((path, (was or b"").decode(errors="replace"), (text or b"").decode(errors="replace")))
        return [
            {"before_header": path, "after_header": path, "before": masked(old), "after": masked(new)}
            for path, old, new in rows
        ]

    def remember(self, there: dict[str, str], after: dict[str, str], held: set[str]) -> None:
        with _installed.locked():
            owners = _installed.load()
            mine = owners.get(self.owner, {})
            packages = {name: after[name] for name in mine.get("packages", {}) if name in after}
            packages.update({name: after[name] for name in after if name in self.plan.new and name not in there})
            files = [path for path in mine.get("files", []) if os.path.exists(path)]
            files += [p for p, content in self.files.before.items() if content is None and p not in files]
            holds = [name for name in mine.get("held", []) if name in self.hold and name in after]
            holds += [name for name in self.hold if name not in held and name not in holds and name in after]
            owners[self.owner] = {**mine, "packages": packages, "files": files, "held": holds}
            if not (packages or files or holds):
                for key in ("packages", "files", "held"):
                    del owners[self.owner][key]
            _installed.save(owners)

    def absent(self) -> dict[str, Any]:
        installed, held = self.installed()[0], self.held()
        recorded = [name for name in self.record.get("packages", {}) if name in installed]
        files = [path for path in self.record.get("files", []) if os.path.exists(path)]
        release = [name for name in self.record.get("held", []) if name in held]
        there = any(key in self.record for key in ("packages", "files", "held"))
        kept: dict[str, list[str]] = {}
        if recorded and set(self.removal(recorded)) - set(recorded):
            with_each = {name: self.removal([name]) for name in recorded}
            recorded, kept = keepable(recorded, installed, with_each)
        result: dict[str, Any] = {"removed": recorded, "kept": kept, "files": files, "held": release, "installed": {}}
        changed = bool(recorded or files or release or there)
        if changed and not self.check_mode:
            self.set_hold(release, False)
            if recorded:
                self.uninstall(recorded)
            for path in files:
                os.unlink(path)
            with _installed.locked():
                owners = _installed.load()
                mine = owners.get(self.owner, {})
                owners[self.owner] = {k: v for k, v in mine.items() if k not in ("packages", "files", "held")}
                _installed.save(owners)
        return {**result, "changed": changed}
