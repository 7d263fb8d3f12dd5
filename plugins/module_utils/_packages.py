# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Vendors' package repositories and the packages from them: files to write, versions to choose, apt's answers read.

Nothing here asks the host: the module host_packages does, and hands in what apt and dpkg print.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.sglang.fleet.plugins.module_utils._openpgp import fingerprints


class PackageError(ValueError):
    """It cannot be done; the text says what was found, what is wanted, and what to do."""


@dataclass(frozen=True)
class Pin:
    """A further stanza of a repository's preferences: names or globs, and the version that they stay at."""

    packages: str
    version: str
    priority: int


@dataclass(frozen=True)
class Repository:
    """A vendor's repository. suite "/": a flat one, without components. key_url empty: apt trusts it already, as it does
    the distribution's own, whose further components are asked for. signs: what of a repository of rpms the vendor signs,
    packages, metadata or both; apt's are signed by their metadata always."""

    name: str
    url: str
    suite: str = "/"
    signs: str = "packages"
    components: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    key_url: str = ""
    key_fingerprints: tuple[str, ...] = ()
    pin: int | None = None
    pin_by: str = ""
    pins: tuple[Pin, ...] = ()

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Repository:
        for url in (data["url"], data["key_url"]):
            if "@" in urlsplit(url).netloc:
                raise PackageError(
                    f"the address {masked(url)} of the repository {data['name']} has a user name or a password in it, which"
                    " would be shown in logs and stand in a file that all may read. Take it out; apt reads it from"
                    " /etc/apt/auth.conf.d/, and the download of the key from /root/.netrc; for dnf, name a mirror that asks for none"
                )
        return cls(
            name=data["name"],
            url=data["url"].rstrip("/"),
            suite=data.get("suite") or "/",
            signs=data.get("signs") or "packages",
            components=tuple(data.get("components") or ()),
            architectures=tuple(data.get("architectures") or ()),
            key_url=data["key_url"],
            key_fingerprints=tuple(plain_fingerprint(text) for text in data["key_fingerprints"]),
            pin=data.get("pin"),
            pin_by=data.get("pin_by") or "",
            pins=tuple(Pin(entry["packages"], entry["version"], entry["priority"]) for entry in data.get("pins") or ()),
        )

    def sources(self, key_path: str) -> str:
        """The file of sources, in apt's deb822 format."""
        fields = [("Types", "deb"), ("URIs", self.url + "/"), ("Suites", self.suite)]
        if self.suite != "/":
            fields.append(("Components", " ".join(self.components)))
        if self.architectures:
            fields.append(("Architectures", " ".join(self.architectures)))
        if key_path:
            fields.append(("Signed-By", key_path))
        return MANAGED + "".join(f"{key}: {value}\n" for key, value in fields)

    def preferences(self) -> str:
        """The file of preferences, empty where nothing is pinned."""
        stanzas: list[str] = []
        if self.pin is not None:
            by = self.pin_by or f'origin "{urlsplit(self.url).hostname or ""}"'
            stanzas.append(f"Package: *\nPin: {by}\nPin-Priority: {self.pin}\n")
        stanzas += [
            f"Package: {pin.packages}\nPin: version {pin.version}\nPin-Priority: {pin.priority}\n" for pin in self.pins
        ]
        return MANAGED + "\n".join(stanzas) if stanzas else ""

    def yum(self, key_path: str) -> str:
        """The repository's file for dnf."""
        lines = [f"[{self.name}]", f"name={self.name}", f"baseurl={self.url}", "enabled=1"]
        # dnf refuses what it is to check and is not signed; one of the two is signed always.
        lines.append(f"gpgcheck={int(self.signs != 'metadata')}")
        lines.append(f"repo_gpgcheck={int(self.signs != 'packages')}")
        lines.append(f"gpgkey=file://{key_path}")
        if self.pin is not None:
            # dnf prefers the lower number and knows 1 to 99 (99 is what others have): what apt is to prefer comes first.
            lines.append(f"priority={90 if self.pin > 500 else 99}")
        return MANAGED + "\n".join(lines) + "\n"

    def of_host(self, sources: Iterable[Source]) -> list[Source]:
        """The host's own sources of this address and suite, whatever their components."""
        wanted = (self.url.rstrip("/"), self.suite.rstrip("/"))
        return [entry for entry in sources if (entry.uri.rstrip("/"), entry.suite.rstrip("/")) == wanted]

    def is_in(self, sources: Iterable[Source]) -> bool:
        """Whether the host's own sources have this repository with every component of it."""
        there = self.of_host(sources)
        return bool(there) and set(self.components) <= {name for entry in there for name in entry.components}


@dataclass(frozen=True)
class Wanted:
    """A package. version: a glob over the versions offered, or empty; group: packages of one upstream version."""

    name: str
    version: str = ""
    group: str = ""

    @classmethod
    def of(cls, data: Any) -> Wanted:
        if isinstance(data, str):
            return cls(data)
        if not isinstance(data, Mapping) or not data.get("name"):
            raise PackageError(f"a package is a name, or a mapping with name, version and group; found {data!r}")
        unknown = sorted(set(data) - {"name", "version", "group"})
        if unknown:
            raise PackageError(
                f"the package {data['name']} has {', '.join(unknown)}; known are name, version and group"
            )
        return cls(str(data["name"]), str(data.get("version") or ""), str(data.get("group") or ""))

    def accepts(self, version: str) -> bool:
        """Whether a version will do, with or without its epoch."""
        return not self.version or any(
            fnmatch.fnmatchcase(text, self.version) for text in (version, version.split(":", 1)[-1])
        )


MANAGED = "# Written by sglang.fleet; changes are overwritten.\n"
_USER = re.compile(r"(?<=//)[^/@\s'\"]+@")
_LINE_SOURCE = re.compile(r"^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)([^#]*)")


def masked(text: str) -> str:
    """A text without the users and passwords of the addresses in it.

    Examples:
        >>> masked("from http://me:secret@mirror/x")
        'from http://…@mirror/x'
    """
    return _USER.sub("…@", text)


def plain_fingerprint(text: str) -> str:
    """A fingerprint without spaces, in upper case."""
    return re.sub(r"\s", "", text).upper()


def check_key(data: bytes, wanted: Sequence[str], where: str) -> None:
    """See that a key file holds keys with these fingerprints and no other. Raises PackageError or KeyFileError."""
    found = fingerprints(data)
    strange = [text for text in found if text not in wanted]
    if strange:
        raise PackageError(
            f"the key from {where} has the fingerprint {', '.join(strange)}; expected is {' or '.join(wanted)}. It is not"
            " trusted. If the vendor has a new key, compare it with what the vendor publishes and set the fingerprint"
        )


@dataclass(frozen=True)
class Source:
    """A source that the host has of its own. signed_by: the keyring that its entry names, empty where it names none."""

    uri: str
    suite: str
    components: frozenset[str]
    signed_by: str = ""


def sources_of(text: str, architecture: str, *, deb822: bool) -> list[Source]:
    """Each entry of a sources file of the host that is not disabled."""
    found: list[Source] = []
    if not deb822:
        for line in text.splitlines():
            match = _LINE_SOURCE.match(line.strip())
            if match:
                signed = re.search(r"signed-by=(\S+)", match[1] or "")
                components = frozenset(match[4].split())
                found.append(Source(match[2], match[3], components, signed[1] if signed else ""))
    else:
        for stanza in re.split(r"\n\s*\n", text):
            fields = _deb822(stanza)
            if fields.get("enabled", "yes").lower() in ("no", "false", "0"):
                continue
            components, signed_by = frozenset(fields.get("components", "").split()), fields.get("signed-by", "")
            for uri in fields.get("uris", "").split():
                found += [Source(uri, suite, components, signed_by) for suite in fields.get("suites", "").split()]
    return [
        replace(
            entry, uri=entry.uri.replace("$(ARCH)", architecture), suite=entry.suite.replace("$(ARCH)", architecture)
        )
        for entry in found
    ]


def _deb822(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    key = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1] in (" ", "\t"):
            fields[key] = f"{fields.get(key, '')} {line.strip()}"
        elif ":" in line:
            key, value = line.split(":", 1)
            key = key.strip().lower()
            fields[key] = value.strip()
    return fields


# --- Versions -------------------------------------------------------------------------------------------------------


def upstream(version: str) -> str:
    """A version without epoch and without the distribution's revision.

    Examples:
        >>> upstream("1:580.95.05-0ubuntu1")
        '580.95.05'
    """
    return version.split(":", 1)[-1].rsplit("-", 1)[0]


def madison(text: str, repositories: Sequence[Repository] = ()) -> dict[str, list[str]]:
    """What `apt-cache madison` prints: the versions of each package, the highest first.

    What one of the vendors' repositories has comes from there: an explicit version overrides every pin, and the
    distribution's archive has drivers of the same branches.
    """
    rows: list[tuple[str, str, bool]] = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.split("|")]
        if len(parts) == 3 and not parts[2].endswith("Sources"):
            place = parts[2].split()
            vendors = any(entry.key_url and _is_at(entry, place) for entry in repositories)
            rows.append((parts[0], parts[1], vendors))
    return offered(rows)


def _is_at(entry: Repository, place: Sequence[str]) -> bool:
    """place: `http://x/debian bookworm/main amd64 Packages`, of a flat one `http://x Packages`."""
    suite = "" if entry.suite == "/" or len(place) < 3 else place[1]
    return place[0].rstrip("/") == entry.url and (entry.suite == "/" or suite.startswith(entry.suite + "/"))


def offered(rows: Iterable[tuple[str, str, bool]]) -> dict[str, list[str]]:
    """Versions of each package, from (name, version, whether it is one of the vendors' repositories that has it)."""
    all_rows = list(rows)
    of_vendors = {name for name, _version, vendors in all_rows if vendors}
    versions: dict[str, list[str]] = {}
    for name, version, vendors in all_rows:
        known = versions.setdefault(name, [])
        if version not in known and (vendors or name not in of_vendors):
            known.append(version)
    return versions


def satisfied(wanted: Sequence[Wanted], installed: Mapping[str, str]) -> bool:
    """Whether the packages are installed, in versions that will do, and groups are at one version."""
    if not all(entry.name in installed and entry.accepts(installed[entry.name]) for entry in wanted):
        return False
    return all(len({upstream(installed[entry.name]) for entry in group}) == 1 for group in _groups(wanted).values())


def _groups(wanted: Sequence[Wanted]) -> dict[str, list[Wanted]]:
    groups: dict[str, list[Wanted]] = {}
    for entry in wanted:
        if entry.group:
            groups.setdefault(entry.group, []).append(entry)
    return groups


def choose(
    wanted: Sequence[Wanted],
    offered: Mapping[str, Sequence[str]],
    installed: Mapping[str, str],
    *,
    upgrade: bool = False,
) -> dict[str, str]:
    """The version to install of each package; "" leaves it to apt, and what is installed and will do is not named.

    Raises PackageError where a package or a version is not offered.
    """
    chosen: dict[str, str] = {}
    for entry in wanted:
        if entry.group:
            continue
        there = installed.get(entry.name, "")
        if there and entry.accepts(there) and not upgrade:
            continue
        versions = offered.get(entry.name, ())
        if not versions:
            raise PackageError(f"no repository of this host offers the package {entry.name}")
        fitting = [version for version in versions if entry.accepts(version)]
        if not fitting:
            raise PackageError(
                f"no repository of this host offers {entry.name} in version {entry.version}; offered: {_some(versions)}"
            )
        if fitting[0] != there:
            chosen[entry.name] = fitting[0] if entry.version else ""
    for group in _groups(wanted).values():
        chosen.update(_one_version(group, offered, installed, upgrade))
    return chosen


def _one_version(
    group: Sequence[Wanted], offered: Mapping[str, Sequence[str]], installed: Mapping[str, str], upgrade: bool
) -> dict[str, str]:
    """Versions for packages that must be of one upstream version: the installed one, or the highest that all have."""
    lists = {
        entry.name: [version for version in offered.get(entry.name, ()) if entry.accepts(version)] for entry in group
    }
    for entry in group:
        there = installed.get(entry.name)
        if there and entry.accepts(there) and there not in lists[entry.name]:
            lists[entry.name].append(there)
    common = [
        version
        for version in dict.fromkeys(upstream(text) for text in lists[group[0].name])
        if all(any(upstream(text) == version for text in versions) for versions in lists.values())
    ]
    if not common:
        has = "; ".join(f"{entry.name}: {_some(offered.get(entry.name, ())) or 'nothing'}" for entry in group)
        version = group[0].version
        raise PackageError(
            f"no version{' like ' + version if version else ''} is offered of all of"
            f" {', '.join(entry.name for entry in group)}, which must be of one version. Offered: {has}"
        )
    there_now = {upstream(installed[entry.name]) for entry in group if entry.name in installed}
    keep = [version for version in common if version in there_now]
    version = keep[0] if keep and len(there_now) == 1 and not upgrade else common[0]
    chosen: dict[str, str] = {}
    for entry in group:
        there = installed.get(entry.name, "")
        if there and upstream(there) == version and there in lists[entry.name]:
            continue
        chosen[entry.name] = next(text for text in lists[entry.name] if upstream(text) == version)
    return chosen


def _some(versions: Sequence[str]) -> str:
    more = len(versions) - 6
    return ", ".join(versions[:6]) + (f" and {more} more" if more > 0 else "")


# --- What apt says --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Simulation:
    """What apt or dnf would do: versions of what it would install, names of what it would remove, and those of the
    installed that were not there in any version."""

    installs: Mapping[str, str] = field(default_factory=dict)
    removes: tuple[str, ...] = ()
    new: frozenset[str] = frozenset()


_INST = re.compile(r"^Inst (\S+) (\[[^\]]*\] )?\((\S+) ")
_REMV = re.compile(r"^(?:Remv|Purg) (\S+)")


def simulated(text: str) -> Simulation:
    """What `apt-get --simulate` prints."""
    installs: dict[str, str] = {}
    removes: list[str] = []
    new: set[str] = set()
    for line in text.splitlines():
        match = _INST.match(line)
        if match:
            name = match[1].split(":", 1)[0]
            installs[name] = match[3]
            if not match[2]:
                new.add(name)
        match = _REMV.match(line)
        if match:
            removes.append(match[1].split(":", 1)[0])
    return Simulation(installs, tuple(removes), frozenset(new))


_URI = re.compile(r"^'[^']+' \S+ (\d+) ")
_AFTER = re.compile(r"^After this operation, ([\d.,]+) (B|kB|MB|GB) of additional disk space", re.MULTILINE)
_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}


def sizes(text: str) -> tuple[int, int]:
    """Bytes to download and bytes to unpack, from `apt-get --print-uris install`."""
    download = sum(int(match[1]) for match in (_URI.match(line) for line in text.splitlines()) if match)
    after = _AFTER.search(text)
    return download, int(float(after[1].replace(",", "")) * _UNITS[after[2]]) if after else 0


#: What apt or dpkg prints, in small letters → what that means and what to do.
_EXPLANATIONS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("not enough free space", "no space left on device", "don't have enough free space"),
        "the disk is full. Free space there (apt-get clean empties apt's own cache) and run again",
    ),
    # Ahead of the signature: apt calls whatever it got no index of `not signed` too.
    (
        (" 401  ", " 403  ", " 407  ", "status code: 401", "status code: 403", "status code: 407"),
        "the repository, or the proxy before it, does not let this host in. A repository's user and password stand in"
        " /etc/apt/auth.conf.d/, a proxy's in apt's or dnf's own configuration",
    ),
    (
        (" 404  ", "status code: 404", "does not have a release file"),
        "the repository has no such path: check its address and suite",
    ),
    (
        ("expkeysig", "not live"),
        "the key that signs the repository has expired, and its address has no renewed one. Until the vendor has renewed it,"
        " a mirror of your own, or the distribution's packages, is the way; a key of another fingerprint has to be named",
    ),
    (
        ("no_pubkey", "missing key", "is not signed", "badsig", "signature verification failed", "invalid signature", "bad gpg signature"),
        "the repository is not signed by the key that it should be signed by, so nothing from it is trusted. If a mirror"
        " stands between, see that it is whole; if the vendor has a new key, set its fingerprint",
    ),
    (
        ("hash sum mismatch", "file has unexpected size"),
        "the repository's files do not fit its index, as while a mirror is being brought up to date. Run again later",
    ),
    (
        ("could not get lock", "unable to lock", "is another process using it"),
        "another program is installing packages on the host. Wait for it (unattended-upgrades, cloud-init) and run again",
    ),
    (
        ("dpkg was interrupted", "dpkg --configure -a"),
        "an earlier installation on the host broke off. Run `dpkg --configure -a` there and run again",
    ),
    (
        ("unmet dependencies", "held broken packages"),
        "apt finds no set of packages that fit together; the packages of another source, or held ones, are in the way."
        " `apt-cache policy` on the host shows where each comes from",
    ),
    (
        (
            "could not connect", "connection refused", "could not resolve", "temporary failure resolving",
            "connection timed out", "unable to connect", "network is unreachable", "failed to fetch", "unreachable",
        ),
        "the repository does not answer. Check its address, the host's way out and its proxy, or name a mirror",
    ),
)  # fmt: skip


def explain(text: str) -> str:
    """A failed call of apt in an operator's words: the line that says it, and what to do."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for needles, remedy in _EXPLANATIONS:
        for line in lines:
            if any(needle in line.lower() for needle in needles):
                return f"{line.removeprefix('E: ').removeprefix('W: ').removeprefix('Error: ').removeprefix('Err:').rstrip('.')}: {remedy}"
    of_dnf = next((at for at, line in enumerate(lines) if line.startswith("Error:")), None)
    if of_dnf is not None:
        said = " ".join(line for line in lines[of_dnf:] if not line.startswith("(try to add"))
        return said.removeprefix("Error:").strip()
    errors = [line for line in lines if line.startswith("E: ")]
    return (errors or lines or ["no output"])[-1].removeprefix("E: ")


def keepable(
    recorded: Iterable[str], installed: Mapping[str, str], removed_with: Mapping[str, Iterable[str]]
) -> tuple[list[str], dict[str, list[str]]]:
    """Which recorded packages can go, and which must stay for others: (names, {name: packages that need it}).

    removed_with: for each recorded package that is installed, everything that apt would remove with it.
    """
    ours = {name for name in recorded if name in installed}
    stay: dict[str, list[str]] = {}
    changed = True
    while changed:
        changed = False
        for name in sorted(ours - set(stay)):
            others = sorted(set(removed_with.get(name, ())) - (ours - set(stay)))
            if others:
                stay[name] = others
                changed = True
    return sorted(ours - set(stay)), stay
