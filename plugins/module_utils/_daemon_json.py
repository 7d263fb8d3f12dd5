# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker's daemon.json: read with the place of an error, merged without losing what is there, and undone."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

PATH = "/etc/docker/daemon.json"

#: What dockerd takes over on a reload, without touching containers (dockerd's manual, "Configuration reload behavior").
RELOADABLE = frozenset(
    (
        "debug", "labels", "live-restore", "max-concurrent-downloads", "max-concurrent-uploads", "max-download-attempts",
        "default-runtime", "runtimes", "authorization-plugins", "insecure-registries", "registry-mirrors",
        "shutdown-timeout",
    )
)  # fmt: skip

#: dockerd's command-line flags whose key in daemon.json has another name; the others have the same one.
_KEYS = {
    "registry-mirror": "registry-mirrors", "insecure-registry": "insecure-registries", "log-opt": "log-opts",
    "host": "hosts", "H": "hosts", "storage-opt": "storage-opts", "label": "labels", "add-runtime": "runtimes",
    "exec-opt": "exec-opts", "dns-opt": "dns-opts", "default-ulimit": "default-ulimits", "G": "group", "D": "debug",
    "l": "log-level", "s": "storage-driver", "b": "bridge", "p": "pidfile", "authorization-plugin": "authorization-plugins",
    "feature": "features", "default-address-pool": "default-address-pools", "default-network-opt": "default-network-opts",
}  # fmt: skip
_SWITCHES = frozenset(
    (
        "debug", "D", "live-restore", "experimental", "icc", "ip-forward", "ip-forward-no-drop", "ip-masq", "ip6tables",
        "iptables", "ipv6", "init", "no-new-privileges", "raw-logs", "rootless", "selinux-enabled", "tls", "tlsverify",
        "userland-proxy", "validate", "allow-direct-routing",
    )
)  # fmt: skip
#: Flags that are not options of daemon.json.
_NO_KEY = frozenset(("config-file", "validate", "rootless", "help", "version", "v"))


class DaemonJsonError(ValueError):
    """The file cannot be used; the text says where it is wrong and what to do."""


def parse(text: str, path: str = PATH) -> dict[str, Any]:
    """The options in the file's text; an empty file has none. Raises DaemonJsonError with line and column."""
    if not text.strip():
        return {}
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        lines = text.splitlines()
        # A comma that is missing is noticed at the next line's first word.
        shown = lines[error.lineno - 1].strip() if error.lineno <= len(lines) else "the end of the file"
        raise DaemonJsonError(
            f"{path} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}, at: {shown}. Docker itself would"
            " refuse it at its next start. Correct that line, or move the file away, and run again; it was not changed"
        ) from error
    if not isinstance(found, dict):
        raise DaemonJsonError(
            f"{path} holds a JSON {type(found).__name__} and not an object with Docker's options. Correct it, or move it"
            " away, and run again; it was not changed"
        )
    return found


def render(config: Mapping[str, Any]) -> str:
    """The file's text, keys in the order in which they are."""
    return json.dumps(config, indent=4, ensure_ascii=False) + "\n"


def flags(words: Sequence[str]) -> dict[str, Any]:
    """dockerd's command line as keys of daemon.json: True for a switch, a list where a flag may be repeated.

    Examples:
        >>> flags(["dockerd", "-H", "fd://", "--live-restore", "--log-opt=max-size=5m"])
        {'hosts': ['fd://'], 'live-restore': True, 'log-opts': {'max-size': '5m'}}
    """
    found: dict[str, Any] = {}
    rest = list(words[1:])
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word in ("-", "--"):
            continue
        name, sign, value = word.lstrip("-").partition("=")
        if not word.startswith("--") and len(name) > 1:
            name, sign, value = name[0], "=", name[1:]
        if not sign and name not in _SWITCHES and rest:
            value = rest.pop(0)
        if name in _NO_KEY:
            continue
        key = _KEYS.get(name, name)
        if name in _SWITCHES:
            found[key] = value not in ("false", "0")
        elif key in ("log-opts", "default-ulimits", "features"):
            option, _equals, setting = value.partition("=")
            found.setdefault(key, {})[option] = setting
        elif key == "runtimes":
            option, _equals, setting = value.partition("=")
            found.setdefault(key, {})[option] = {"path": setting}
        elif name in _KEYS and key.endswith("s"):
            found.setdefault(key, []).append(value)
        else:
            found[key] = value
    return found


def merged(config: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The options with what is wanted: objects key by key, lists as what is there and then what is missing."""
    result = copy.deepcopy(dict(config))
    for key, value in wanted.items():
        there = result.get(key)
        if isinstance(there, dict) and isinstance(value, Mapping):
            result[key] = merged(there, value)
        elif isinstance(there, list) and isinstance(value, (list, tuple)):
            result[key] = there + [item for item in value if item not in there]
        else:
            result[key] = copy.deepcopy(value)
    return result


def only_missing(config: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What of `wanted` the options say nothing about: what is there wins over a default."""
    result: dict[str, Any] = {}
    for key, value in wanted.items():
        there = config.get(key)
        if key not in config:
            result[key] = value
        elif isinstance(there, dict) and isinstance(value, Mapping):
            inner = only_missing(there, value)
            if inner:
                result[key] = inner
    return result


def added(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What a merge has added or changed, for `without` to take away again; of a changed value the new one."""
    result: dict[str, Any] = {}
    for key, value in after.items():
        there = before.get(key)
        if there == value:
            continue
        if isinstance(there, Mapping) and isinstance(value, Mapping):
            result[key] = added(there, value)
        elif isinstance(there, list) and isinstance(value, list):
            result[key] = [item for item in value if item not in there]
        else:
            result[key] = copy.deepcopy(value)
    return result


def replaced(
    before: Mapping[str, Any], after: Mapping[str, Any], ours: Mapping[str, Any], known: Mapping[str, Any]
) -> dict[str, Any]:
    """The values that a merge has put others in the place of: for `without` to put back.

    ours, known: what earlier merges added and replaced. A value of ours is no original.
    """
    result: dict[str, Any] = {}
    for key, value in after.items():
        there = before.get(key)
        if key not in before or there == value:
            continue
        if isinstance(there, Mapping) and isinstance(value, Mapping):
            nested = (found if isinstance(found, Mapping) else {} for found in (ours.get(key), known.get(key)))
            inner = replaced(there, value, *nested)
            if inner:
                result[key] = inner
        elif isinstance(there, list) and isinstance(value, list):
            continue  # lists only grow
        elif key in ours and there == ours[key]:
            if key in known:
                result[key] = copy.deepcopy(known[key])
        else:
            result[key] = copy.deepcopy(there)
    return result


def without(
    config: Mapping[str, Any], ours: Mapping[str, Any], before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The options without what we added, where it is still as we wrote it; what stood there before is put back."""
    result: dict[str, Any] = {}
    originals = before or {}
    for key, value in config.items():
        mine = ours.get(key)
        if key not in ours:
            result[key] = value
        elif isinstance(value, Mapping) and isinstance(mine, Mapping):
            original = originals.get(key)
            rest = without(value, mine, original if isinstance(original, Mapping) else None)
            if rest:
                result[key] = rest
        elif isinstance(value, list) and isinstance(mine, list):
            rest_ = [item for item in value if item not in mine]
            if rest_:
                result[key] = rest_
        elif value != mine:
            result[key] = value
        elif key in originals:
            result[key] = copy.deepcopy(originals[key])
    return result


def conflicts(config: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Options that stand in the file and on dockerd's command line: it refuses to start with any such.

    But for runtimes, which it takes from both (moby, daemon/config: skipDuplicates).
    """
    return sorted((set(config) & set(given)) - {"runtimes"})


def changed_keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The options that differ."""
    return sorted(key for key in {*before, *after} if before.get(key) != after.get(key))


def needs_restart(keys: Iterable[str]) -> list[str]:
    """Those that dockerd takes over at a start only."""
    return sorted(set(keys) - RELOADABLE)
