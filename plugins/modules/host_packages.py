#!/usr/bin/python
# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: host_packages
short_description: Have packages from a vendor's repository on a host, all of them or none
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Trusts a repository's key only when its fingerprint is one that was named, adds the repository and its pin, looks up
    versions, sees that the disk has room, downloads, installs, holds, and records what it did.
  - Whatever fails before the installation itself leaves packages, holds and repositories as they were.
  - A host that is as it should be is found to be so without a network and in one call.
  - What was installed is recorded in C(/var/lib/sglang-fleet/installed.json) under O(owner); O(state=absent) takes away
    what is recorded there, but for packages that others have come to need.
attributes:
  check_mode:
    support: full
    description: Asks the host only, not its repositories. Versions are therefore not known.
  diff_mode:
    support: full
  facts:
    support: none
    description: Returns no facts.
extends_documentation_fragment:
  - sglang.fleet.attributes
options:
  owner:
    description: The role, under whose name the record has what was done.
    type: str
    required: true
  state:
    description: V(absent) undoes what the record says.
    type: str
    choices: [present, absent]
    default: present
  repositories:
    description: Vendors' repositories. One that the host's own sources have already is left to them.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the files that are written.
        type: str
        required: true
      url:
        description: Address.
        type: str
        required: true
      suite:
        description: The suite, V(/) for a flat repository. Not used by dnf.
        type: str
        default: /
      components:
        description: Components of the suite.
        type: list
        elements: str
        default: []
      architectures:
        description: Debian's names of architectures; the host's own where none is named.
        type: list
        elements: str
        default: []
      key_url:
        description: Where the key is. Empty for a repository that apt trusts already, as it does the distribution's own.
        type: str
        required: true
      key_fingerprints:
        description: Every primary key of the key file must have one of these.
        type: list
        elements: str
        required: true
      pin:
        description: Priority of everything in the repository.
        type: int
      pin_by:
        description: "What the pin goes by, such as C(release o=repo.radeon.com); by default the repository's host."
        type: str
        default: ''
      pins:
        description: Further pins, of packages to versions.
        type: list
        elements: dict
        default: []
        suboptions:
          packages:
            description: Names or globs, separated by spaces.
            type: str
            required: true
          version:
            description: Version or glob.
            type: str
            required: true
          priority:
            description: Priority.
            type: int
            required: true
  packages:
    description:
      - "Names, or mappings with C(name), C(version) (a glob over the versions that are offered) and C(group): packages of
        one group get one upstream version, the highest that all of them are offered in."
    type: list
    elements: raw
    default: []
  hold:
    description: Packages that nothing else may upgrade.
    type: list
    elements: str
    default: []
  remove:
    description: Packages to take out in the same transaction.
    type: list
    elements: str
    default: []
  may_remove:
    description: Globs of packages that may go where apt has to take them out. Any other is a failure.
    type: list
    elements: str
    default: []
  upgrade:
    description: Whether a package without a version moves to the newest.
    type: bool
    default: false
  downgrade:
    description: Whether an older version than the installed one may be installed.
    type: bool
    default: false
  keep_configuration:
    description:
      - "With O(state=absent): packages that are removed and not purged, for purging would take data with it, as
        Debian's C(docker.io) does with C(/var/lib/docker)."
    type: list
    elements: str
    default: []
  recommends:
    description: Whether recommended packages are installed too.
    type: bool
    default: false
  cache_valid_seconds:
    description: How old the lists of the host's own sources may be.
    type: int
    default: 3600
"""

EXAMPLES = r"""
- name: Install Docker from its own repository
  sglang.fleet.host_packages:
    owner: container_engine
    repositories:
      - name: docker
        url: https://download.docker.com/linux/debian
        suite: bookworm
        components: [stable]
        key_url: https://download.docker.com/linux/debian/gpg
        key_fingerprints: [9DC858229FC7DD38854AE2D88D81803C0EBFCD88]
    packages: [docker-ce, docker-ce-cli, containerd.io]

- name: Take it away again
  sglang.fleet.host_packages:
    owner: container_engine
    state: absent
"""

RETURN = r"""
installed:
  description: Versions of the packages that were installed, upgraded or downgraded, by name; empty versions in check mode.
  returned: success
  type: dict
removed:
  description: Packages that were removed.
  returned: success
  type: list
  elements: str
kept:
  description: "With O(state=absent): packages that stay, each with those that need it."
  returned: success
  type: dict
files:
  description: Files that were written or removed.
  returned: success
  type: list
  elements: str
held:
  description: Packages that were put on hold or, with O(state=absent), released.
  returned: success
  type: list
  elements: str
"""

import contextlib
import fnmatch
import glob
import os
import re
import shutil
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url

from ansible_collections.sglang.fleet.plugins.module_utils import _installed
from ansible_collections.sglang.fleet.plugins.module_utils._openpgp import KeyFileError, dearmour
from ansible_collections.sglang.fleet.plugins.module_utils._packages import (
    PackageError,
    Repository,
    Source,
    Wanted,
    check_key,
    choose,
    explain,
    keepable,
    madison,
    satisfied,
    simulated,
    sizes,
    sources_of,
)

ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "NEEDRESTART_MODE": "l",  # Ubuntu's needrestart must not restart Docker, and servers with it
    "APT_LISTCHANGES_FRONTEND": "none",
}
LOCK = ["-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=2"]
KEEP_CONFIGURATION = ["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"]
UNCHANGED = "No package was changed."
MARGIN = 64 << 20


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


def human(size: int) -> str:
    for unit, name in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >= 1 << unit:
            return f"{size / (1 << unit):.1f} {name}"
    return f"{size} bytes"


def fetch_key(url: str) -> bytes:
    try:
        return bytes(open_url(url, timeout=30, http_agent="sglang.fleet").read())
    except Exception as error:
        raise PackageError(
            f"the key {url} cannot be fetched ({error}): the repository does not answer. Check its address, the host's way"
            " out and its proxy, or name a mirror"
        ) from error


class Manager:
    """What apt and dnf have in common: deciding what is due, in which order, and what to record."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        p = module.params
        self.owner: str = p["owner"]
        self.repositories = [Repository.of(entry) for entry in p["repositories"]]
        self.wanted = [Wanted.of(entry) for entry in p["packages"]]
        self.hold: list[str] = p["hold"]
        self.files = Files()
        self.record: dict[str, Any] = _installed.load().get(self.owner, {})

    def run(self, command: Sequence[str]) -> tuple[int, str, str]:
        code, out, err = self.module.run_command(list(command), environ_update=ENVIRONMENT)
        return code, out, err

    def call(self, *command: str) -> str:
        """stdout of a command that has to work."""
        code, out, err = self.run(command)
        if code != 0:
            raise PackageError(explain(err + "\n" + out))
        return out

    # What the two package managers do differently.
    def installed(self) -> dict[str, str]:
        raise NotImplementedError

    def held(self) -> set[str]:
        raise NotImplementedError

    def set_hold(self, names: Sequence[str], hold: bool) -> None:
        raise NotImplementedError

    def stale_files(self) -> dict[str, bytes | None]:
        """Files that are not as they should be: their content, None where it needs the key, which is not here yet."""
        raise NotImplementedError

    @staticmethod
    def trusted_by(entry: Repository, own: Sequence[Source]) -> str:
        """The keyring of the host's own entry of the same address and suite: apt wants one answer for both."""
        return next((source.signed_by for source in entry.of_host(own) if source.signed_by), "")

    def take_repositories(self, due: dict[str, bytes | None]) -> None:
        raise NotImplementedError

    def transaction(self, before: dict[str, str]) -> None:
        raise NotImplementedError

    def uninstall(self, names: Sequence[str]) -> None:
        raise NotImplementedError

    def removal(self, names: Sequence[str]) -> list[str]:
        """Everything that would go with these packages."""
        raise NotImplementedError

    # What they share.
    def present(self) -> dict[str, Any]:
        before, held = self.installed(), self.held()
        stale = self.stale_files()
        outgoing = [name for name in self.module.params["remove"] if name in before]
        upgrade = self.module.params["upgrade"]
        packages_due = bool(outgoing) or upgrade or not satisfied(self.wanted, before)
        holds_due = [name for name in self.hold if name not in held]
        let_go = [name for name in self.record.get("held", []) if name not in self.hold and name in held]
        if not (stale or packages_due or holds_due or let_go):
            return {"changed": False, "installed": {}, "removed": [], "files": [], "held": []}
        result: dict[str, Any] = {"installed": {}, "removed": outgoing, "files": sorted(stale), "held": holds_due}
        if self.module.check_mode:
            missing = [w.name for w in self.wanted if not (w.name in before and w.accepts(before[w.name]))]
            names = missing or ([w.name for w in self.wanted if w.group] if packages_due and not upgrade else [])
            result["installed"] = dict.fromkeys(names, "")
            changed = bool(stale or outgoing or names or holds_due or let_go)
            return {**result, "changed": changed, "diff": self.difference(before, result, stale)}
        try:
            if stale:
                self.take_repositories(stale)
            if packages_due:
                self.prepare(before)
        except (PackageError, KeyFileError, OSError) as error:
            self.files.put_back()
            raise PackageError(f"{error}. {UNCHANGED}") from error
        try:
            if packages_due:
                self.transaction(before)
        finally:
            # What an installation that broke off has left is ours too; and apt releases what it changes.
            after = self.installed()
            now = self.held()
            self.set_hold([name for name in self.hold if name in after and name not in now], True)
            self.set_hold([name for name in let_go if name in now], False)
            self.remember(before, after, held)
        result["installed"] = {name: after[name] for name in after if before.get(name) != after[name]}
        result["removed"] = sorted(set(before) - set(after))
        result["held"] = [name for name in holds_due if name in after]
        changed = bool(stale or result["installed"] or result["removed"] or result["held"] or let_go)
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
            was, text = self.files.before.get(path, read(path)), texts[path]
            if "keyrings" in path or "rpm-gpg" in path:
                rows.append((path, "a key\n" if was else "", "the key that is expected\n"))
            else:
                rows.append((path, (was or b"").decode(errors="replace"), (text or b"").decode(errors="replace")))
        return [{"before_header": p, "after_header": p, "before": x, "after": y} for p, x, y in rows]

    def remember(self, before: dict[str, str], after: dict[str, str], held: set[str]) -> None:
        with _installed.locked():
            owners = _installed.load()
            mine = owners.get(self.owner, {})
            packages = {name: after[name] for name in mine.get("packages", {}) if name in after}
            packages.update({name: version for name, version in after.items() if name not in before})
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
        installed, held = self.installed(), self.held()
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
        if changed and not self.module.check_mode:
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


class Apt(Manager):
    """Debian and Ubuntu."""

    KEYS = "/etc/apt/keyrings"
    SOURCES = "/etc/apt/sources.list.d"
    PREFERENCES = "/etc/apt/preferences.d"
    LISTS = "/var/lib/apt/lists"
    ARCHIVES = "/var/cache/apt/archives"

    def __init__(self, module: AnsibleModule) -> None:
        super().__init__(module)
        self.chosen: dict[str, str] = {}
        self.words: list[str] = []
        self.old_lists = self.lists_are_old()  # before a repository of ours is added to them

    def installed(self) -> dict[str, str]:
        out = self.call("dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package} ${Version}\\n")
        rows = (line.split() for line in out.splitlines())
        return {
            row[1]: row[2] for row in rows if len(row) == 3 and row[0] in ("installed", "half-configured", "unpacked")
        }

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
                content = read(key)
                if key in due:
                    content = fetch_key(entry.key_url)
                    check_key(content, entry.key_fingerprints, entry.key_url)
                    due[key] = content = dearmour(content)
                for path, data in (
                    (staged, content or b""),
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
        for path, data in due.items():
            if data is not None:
                self.files.write(path, data)

    def update(self, *options: str) -> None:
        code, out, err = self.run(["apt-get", "update", "-q", *LOCK, *options])
        if code != 0:
            raise PackageError(explain(err + "\n" + out))

    def lists_are_old(self) -> bool:
        """Whether the lists of the host's own sources should be fetched anew; without any they are as old as can be."""
        found = glob.glob(f"{self.LISTS}/*Release")
        stamps = [f"{self.LISTS}/partial", "/var/lib/apt/periodic/update-success-stamp"]
        if len(found) <= len(self.repositories):
            return True
        newest = max((os.stat(path).st_ctime for path in [*found, *stamps] if os.path.exists(path)), default=0.0)
        return time.time() - newest > self.module.params["cache_valid_seconds"]

    def prepare(self, before: dict[str, str]) -> None:
        names = [entry.name for entry in self.wanted]
        # A source of the host that fails is the operator's own matter, as long as the packages are found.
        trouble = ""
        if self.old_lists:
            code, out, err = self.run(["apt-get", "update", "-q", *LOCK])
            trouble = explain(err + "\n" + out) if code != 0 or "Failed to fetch" in err else ""
        try:
            offered = madison(self.call("apt-cache", "madison", *names)) if names else {}
            self.chosen = choose(self.wanted, offered, before, upgrade=self.module.params["upgrade"])
        except PackageError as error:
            raise PackageError(f"{error}{f' (apt-get update: {trouble})' if trouble else ''}") from error
        self.refuse_downgrades(before)
        self.words = [f"{name}={version}" if version else name for name, version in self.chosen.items()]
        self.words += [f"{name}-" for name in self.module.params["remove"] if name in before]
        if not self.words:
            return
        self.refuse_surprises(before)
        self.refuse_full_disk()
        self.call("apt-get", "install", "--yes", "--download-only", "-q", *LOCK, *self.options(), *self.words)

    def options(self) -> list[str]:
        options = [
            "--allow-change-held-packages",
            f"--{'' if self.module.params['recommends'] else 'no-'}install-recommends",
        ]
        return [*options, "--allow-downgrades"] if self.module.params["downgrade"] else options

    def refuse_downgrades(self, before: dict[str, str]) -> None:
        if self.module.params["downgrade"]:
            return
        for name, version in self.chosen.items():
            there = before.get(name)
            if there and version and self.run(["dpkg", "--compare-versions", version, "lt", there])[0] == 0:
                raise PackageError(
                    f"{name} is installed as {there}, newer than the {version} that is wanted; it is not taken back"
                )

    def refuse_surprises(self, before: dict[str, str]) -> None:
        """Nothing may go, and nothing that the host holds may change, that nobody asked for."""
        plan = simulated(self.call("apt-get", "install", "--simulate", *self.options(), *self.words))
        recorded = self.record.get("packages", {})
        asked = [*self.module.params["remove"], *self.module.params["may_remove"]]
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
        ours = {*self.hold, *recorded, *self.chosen, *self.module.params["remove"], *self.record.get("held", [])}
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
            there = os.statvfs(folder)
            free = there.f_bavail * there.f_frsize
            if free < needed:
                raise PackageError(
                    f"the disk is full: {', '.join(self.words)} needs {human(needed)} in {folder}, where {human(free)} is free."
                    " Free space there (apt-get clean empties apt's own cache) and run again"
                )

    def transaction(self, before: dict[str, str]) -> None:
        if not self.words:
            return
        command = ["apt-get", "install", "--yes", "-q", *LOCK, *KEEP_CONFIGURATION, *self.options(), *self.words]
        code, out, err = self.run(command)
        if code != 0:
            tail = " | ".join([line for line in (out + err).splitlines() if line.strip()][-6:])
            after = self.installed()
            changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
            raise PackageError(
                f"{explain(err + chr(10) + out)}. The installation broke off; changed by then: {', '.join(changed) or 'nothing'}."
                f" Mend what it names and run again; `dpkg --audit` on the host says what is left half done. It ended: {tail}"
            )

    def removal(self, names: Sequence[str]) -> list[str]:
        plan = simulated(self.call("apt-get", "purge", "--simulate", "--allow-change-held-packages", *names))
        return list(plan.removes)

    def uninstall(self, names: Sequence[str]) -> None:
        keeping = [name for name in names if name in self.module.params["keep_configuration"]]
        for verb, some in (("remove", keeping), ("purge", [name for name in names if name not in keeping])):
            if some:
                self.call("apt-get", verb, "--yes", "-q", *LOCK, "--allow-change-held-packages", *some)


class Dnf(Manager):
    """RHEL and its family."""

    KEYS = "/etc/pki/rpm-gpg"
    SOURCES = "/etc/yum.repos.d"

    def __init__(self, module: AnsibleModule) -> None:
        super().__init__(module)
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
                due[key] = fetch_key(entry.key_url)
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
        chosen = choose(self.wanted, offered, before, upgrade=self.module.params["upgrade"])
        self.words = [f"{name}-{version}" if version else name for name, version in chosen.items()]
        outgoing = [name for name in self.module.params["remove"] if name in before]
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


def arguments() -> dict[str, Any]:
    strings = {"type": "list", "elements": "str", "default": []}
    pins = {"packages": {"type": "str", "required": True}, "version": {"type": "str", "required": True}}
    repository = {
        "name": {"type": "str", "required": True},
        "url": {"type": "str", "required": True},
        "suite": {"type": "str", "default": "/"},
        "components": strings,
        "architectures": strings,
        "key_url": {"type": "str", "required": True, "no_log": False},
        "key_fingerprints": {"type": "list", "elements": "str", "required": True, "no_log": False},
        "pin": {"type": "int"},
        "pin_by": {"type": "str", "default": ""},
        "pins": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {**pins, "priority": {"type": "int", "required": True}},
        },
    }
    return {
        "owner": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "repositories": {"type": "list", "elements": "dict", "default": [], "options": repository},
        "packages": {"type": "list", "elements": "raw", "default": []},
        "hold": strings,
        "remove": strings,
        "keep_configuration": strings,
        "may_remove": strings,
        "upgrade": {"type": "bool", "default": False},
        "downgrade": {"type": "bool", "default": False},
        "recommends": {"type": "bool", "default": False},
        "cache_valid_seconds": {"type": "int", "default": 3600},
    }


def main() -> None:
    module = AnsibleModule(argument_spec=arguments(), supports_check_mode=True)
    try:
        if module.get_bin_path("apt-get"):
            manager: Manager = Apt(module)
        elif module.get_bin_path("dnf"):
            manager = Dnf(module)
        else:
            module.fail_json(
                msg="this host has neither apt-get nor dnf; the collection installs packages with those two only"
            )
        result = manager.present() if module.params["state"] == "present" else manager.absent()
    except (PackageError, KeyFileError, _installed.RecordError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**{"kept": {}, **result})


if __name__ == "__main__":
    main()
