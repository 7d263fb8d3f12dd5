# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host's container engine needs: packages, daemon.json, a restart. Decided on the controller, from facts."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from ansible_collections.sglang.fleet.plugins.module_utils import _daemon_json
from ansible_collections.sglang.fleet.plugins.module_utils._installed import CONTAINER_ENGINE
from ansible_collections.sglang.fleet.plugins.module_utils._packages import upstream

HOOK: t.Final = "nvidia-container-runtime-hook"
#: For containers that say nothing of logs of their own, on an engine that the role installed.
LOG_OPTS: t.Final = {"max-size": "50m", "max-file": "3"}
_DEBIAN: t.Final = {"x86_64": "amd64", "aarch64": "arm64"}
_ENGINE: t.Final = ("docker-ce", "docker-ce-cli", "containerd.io")
#: Log drivers that know max-size and max-file.
_SIZED_LOGS: t.Final = ("json-file", "local")


class EngineError(ValueError):
    """The engine cannot be made as it is wanted; the text says why and what to do."""


@dataclass(frozen=True)
class RepositoryWishes:
    """An operator's own address or key of a repository, such as a mirror's; empty is the vendor's."""

    url: str = ""
    key_url: str = ""
    key_fingerprints: tuple[str, ...] = ()


@dataclass(frozen=True)
class EngineWishes:
    """What the operator wants. A value of None says nothing."""

    vendor: str = "none"
    install: bool = True
    source: str = ""
    version: str = ""
    docker: RepositoryWishes = field(default_factory=RepositoryWishes)
    toolkit_version: str = ""
    toolkit: RepositoryWishes = field(default_factory=RepositoryWishes)
    amd_toolkit: bool = False
    registry_mirrors: tuple[str, ...] = ()
    daemon_options: t.Mapping[str, t.Any] = field(default_factory=dict)
    log_max_size: str = ""
    log_max_file: str = ""
    live_restore: bool = True
    restart_allowed: bool = False
    #: The engine was installed a moment ago, by this run.
    fresh: bool = False


Facts = t.Mapping[str, t.Any]
Data = t.Mapping[str, t.Any]


def engine_plan(facts: Facts, wishes: EngineWishes, data: Data) -> dict[str, t.Any]:
    """What is to be done to an engine as found (the facts of engine_facts). Raises EngineError.

    packages: arguments for host_packages, or {} where there is nothing to do. daemon: the whole daemon.json as wanted.
    daemon_keys: those of it that change. daemon_added, daemon_before: what of it is ours, and what stood in its place.
    restart: reasons. reload: whether the engine must read the file again.
    """
    _check_client(facts)
    packages, steps, notes = _packages(facts, wishes, data)
    daemon, restart = _daemon(facts, wishes, steps)
    keys = _daemon_json.changed_keys(facts["daemon_config"], daemon)
    notes += _conflicts(facts, bool(keys or restart))
    _refuse_restart(facts, wishes, restart)
    if wishes.fresh and not restart and (keys or wishes.vendor == "nvidia"):
        restart = ["the configuration of the engine that is new"]
    ours, before = (facts["recorded"].get(name, {}) for name in ("daemon_json", "daemon_json_before"))
    running = facts["running"] or "docker" in steps
    return {
        "packages": packages,
        "steps": steps,
        "daemon": daemon,
        "daemon_keys": keys,
        "daemon_added": _daemon_json.added(facts["daemon_config"], daemon),
        "daemon_before": _daemon_json.replaced(facts["daemon_config"], daemon, ours, before),
        "restart": restart,
        "reload": bool(keys) and not restart and running,
        # dockerd checks a file without starting from version 23 on.
        "validate": bool(keys) and _numbers(facts["version"])[:1] >= [23],
        "cdi": _cdi(facts, wishes, steps),
        "notes": notes,
    }


# --- Packages -------------------------------------------------------------------------------------------------------


def _packages(facts: Facts, wishes: EngineWishes, data: Data) -> tuple[dict[str, t.Any], list[str], list[str]]:
    """Arguments for host_packages, what they install ("docker", "nvidia", "amd"), and notes."""
    steps: list[str] = []
    wanted: list[dict[str, str]] = []
    hold: list[str] = []
    repositories: list[dict[str, t.Any]] = []
    notes: list[str] = []
    recorded = facts["recorded"].get("packages", {})
    if not facts["installed"]:
        _may_install(wishes, "there is no Docker engine on this host", "Install Docker by hand")
        names, repository = _docker(facts, wishes, data["docker"])
        wanted += names
        # A version that was asked for is one that the next upgrade of the system must leave.
        hold += [entry["name"] for entry in names if wishes.version and entry["name"] in _ENGINE]
        repositories += repository
        steps.append("docker")
    elif wishes.version and facts["version"] and not _fits(facts["version"], _glob(wishes.version)):
        notes.append(
            f"Docker {facts['version']} is there: it is left as it is, and container_engine_version {wishes.version} has no"
            " effect. Bring it to that version by hand where you need it"
        )
    if wishes.vendor == "nvidia":
        names = _nvidia(facts, wishes, data["nvidia"], notes)
        if names:
            wanted += names
            hold += [name["name"] for name in names]
            repositories.append(_repository("nvidia", facts, wishes.toolkit, data["nvidia"]))
            steps.append("nvidia")
    if wishes.vendor == "amd" and wishes.amd_toolkit and not facts["amd_toolkit"]:
        _may_install(wishes, "AMD's container toolkit is not on this host", "Set container_engine_amd_toolkit to false")
        wanted += [{"name": name, "version": wishes.toolkit_version} for name in data["amd"]["packages"]]
        hold += data["amd"]["packages"]
        repositories.append(_repository("amd", facts, wishes.toolkit, data["amd"]))
        steps.append("amd")
    if not wanted:
        return {}, steps, notes
    held = [name for name in facts["recorded"].get("held", []) if name in recorded]
    arguments = {"owner": CONTAINER_ENGINE, "repositories": repositories, "packages": wanted}
    return {**arguments, "hold": [*held, *(name for name in hold if name not in held)]}, steps, notes


def _check_client(facts: Facts) -> None:
    if facts["client"] == "podman":
        raise EngineError(
            "the command docker on this host is podman's (the package podman-docker), which Docker's own cannot stand beside."
            " Remove podman-docker and run again; podman itself may stay. Nothing was changed."
        )
    if facts["installed"] and not facts["client"]:
        raise EngineError(
            "there is a Docker engine on this host and no command docker. Install the client that goes with it (docker-ce-cli,"
            " or docker-cli on Debian 13) and run again. Nothing was changed."
        )


def _may_install(wishes: EngineWishes, missing: str, otherwise: str) -> None:
    if not wishes.install:
        raise EngineError(
            f"{missing}, and container_engine_install is false. {otherwise}, or let the role install it, and run again."
            " Nothing was changed."
        )


def system(facts: Facts) -> tuple[str, str]:
    """The family that repositories are listed by ("debian", "ubuntu", "rhel", "el"), and the system's ID-VERSION."""
    os = facts["os"]
    name = f"{os['id']}-{os['version_id']}"
    if os["id"] in ("debian", "ubuntu", "rhel"):
        return os["id"], name
    return ("el" if {"rhel", "fedora"} & set(os["id_like"].split()) else ""), name


def _docker(facts: Facts, wishes: EngineWishes, tool: Data) -> tuple[list[dict[str, str]], list[dict[str, t.Any]]]:
    family, name = system(facts)
    if wishes.source == "distribution" and wishes.version:
        raise EngineError(
            f"container_engine_version is {wishes.version} and container_engine_source is distribution, which has one version"
            " only. Set container_engine_source to docker, or leave container_engine_version out. Nothing was changed."
        )
    own = name in tool["distribution"] and not wishes.version
    source = wishes.source or ("distribution" if own else "docker")
    if source == "distribution":
        if name not in tool["distribution"]:
            raise EngineError(
                f"there is no Docker engine, and {name} has none of its own that this role knows (it knows"
                f" {', '.join(sorted(tool['distribution']))}). Set container_engine_source to docker, or install Docker by hand"
                " and run again: an engine that is there is left as it is. Nothing was changed."
            )
        return [{"name": package, "version": ""} for package in tool["distribution"][name]], []
    if family not in tool["systems"]:
        raise EngineError(
            f"there is no Docker engine, and Docker has no packages for {name} that this role knows (it knows Debian, Ubuntu"
            " and the RHEL family). Install Docker by hand and run again: an engine that is there is left as it is. Nothing was"
            " changed."
        )
    version = wishes.version or tool["version"]
    # containerd counts by itself.
    pinned = [name for name in _ENGINE if name != "containerd.io"]
    names = [{"name": package, "version": _glob(version) if package in pinned else ""} for package in tool["packages"]]
    return names, [_repository("docker", facts, wishes.docker, tool)]


def _glob(version: str) -> str:
    """A version as a glob that accepts the distribution's part behind it: 28.5.2 → 28.5.2*."""
    return version if not version or version.endswith("*") else f"{version}*"


def _repository(name: str, facts: Facts, wishes: RepositoryWishes, tool: Data) -> dict[str, t.Any]:
    """A repository as host_packages takes it."""
    family, full = system(facts)
    entry = tool["systems"].get(family)
    machine = facts["arch"]
    if entry is None or machine not in _DEBIAN:
        raise EngineError(
            f"{tool['title']} has no packages for {full} on {machine} that this role knows. Install it by hand and run again."
            " Nothing was changed."
        )
    os = facts["os"]
    major = os["version_id"].split(".", 1)[0]
    values = {
        "arch": _DEBIAN[machine],
        "machine": machine,
        "codename": os["codename"],
        "id": os["id"],
        "major": major,
    }
    suite = (entry.get("suites") or {}).get(major) or entry.get("suite", "/").format(**values)
    if "suites" in entry and major not in entry["suites"]:
        raise EngineError(
            f"{tool['title']} has no packages for {full}; it has them for {family} {', '.join(entry['suites'])}."
            " Nothing was changed."
        )
    return {
        "name": f"sglang-fleet-{name}",
        "url": (wishes.url or entry["url"]).format(**values).rstrip("/"),
        "suite": suite,
        "signs": tool.get("signs", "packages"),
        "components": list(entry.get("components", ())),
        "key_url": wishes.key_url or entry["key_url"],
        "key_fingerprints": list(wishes.key_fingerprints or tool["key_fingerprints"]),
        "pin": tool["pin"],
    }


def _nvidia(facts: Facts, wishes: EngineWishes, tool: Data, notes: list[str]) -> list[dict[str, str]]:
    """The toolkit's packages, where they are due: not there, of more than one version, or not of the one asked for."""
    there = {name: facts["toolkit"][name] for name in tool["packages"] if name in facts["toolkit"]}
    version = _glob(wishes.toolkit_version) or tool["version"]
    if not facts["nvidia_runtime"]:
        _may_install(
            wishes,
            "the plan gives NVIDIA GPUs to a container, and NVIDIA's container toolkit is not on the host (none of"
            " nvidia-container-runtime-hook, nvidia-container-runtime, nvidia-cdi-hook)",
            "Install nvidia-container-toolkit from NVIDIA's repository, run `nvidia-ctk runtime configure --runtime=docker`,"
            " restart docker",
        )
        return [{"name": name, "version": version, "group": "toolkit"} for name in tool["packages"]]
    if not there:
        if wishes.toolkit_version:
            notes.append(
                f"NVIDIA's container toolkit is there, but not from packages: it stays, and is not brought to {version}"
            )
        return []
    versions = sorted({upstream(text) for text in there.values()})
    split = len(versions) > 1 or len(there) < len(tool["packages"])
    other = bool(wishes.toolkit_version) and not all(_fits(text, version) for text in there.values())
    if not (split or other) or not wishes.install:
        if split:
            notes.append(f"NVIDIA's container toolkit is in pieces of more than one version: {', '.join(versions)}")
        return []
    # Split packages come together at the version asked for, or at the newest of those that are there.
    newest = max(versions, key=_numbers)
    wanted = version if wishes.toolkit_version else f"{newest}*"
    if facts["containers_running"] and not wishes.restart_allowed:
        found = (
            f"NVIDIA's container toolkit is {' and '.join(versions)}"
            f"{'' if len(there) == len(tool['packages']) else ' and lacks packages'}"
        )
        if not other:
            notes.append(
                f"{found}: it is brought to {newest} once no container runs, or with container_engine_restart_allowed"
            )
            return []
        raise EngineError(
            f"{found}, and {wishes.toolkit_version} is asked for; {facts['containers_running']} containers run, which can lose"
            " their GPUs while it is exchanged (its package has systemd reload). Drain the node first, or set"
            " container_engine_restart_allowed to true. Nothing was changed."
        )
    return [{"name": name, "version": wanted, "group": "toolkit"} for name in tool["packages"]]


def _fits(version: str, glob: str) -> bool:
    return re.fullmatch(re.escape(glob).replace(r"\*", ".*"), version) is not None


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


# --- daemon.json ----------------------------------------------------------------------------------------------------


def _conflicts(facts: Facts, changes: bool) -> list[str]:
    """A note on what Docker would refuse; an error where it does not run, or is to read its file anew."""
    both = _daemon_json.conflicts(facts["daemon_config"], facts["daemon_flags"])
    if not both:
        return []
    text = (
        f"{', '.join(both)} stand{'s' if len(both) == 1 else ''} both in {_daemon_json.PATH} and on dockerd's command line"
        f" ({_shown(facts, both)}): Docker refuses to start so. Take one of them away, in the file or with `systemctl edit"
        " docker` (or in /etc/default/docker)"
    )
    if facts["running"] and not changes:
        return [text]
    raise EngineError(f"{text}, and run again. Nothing was changed.")


def _shown(facts: Facts, keys: t.Iterable[str]) -> str:
    return ", ".join(f"{key}: {facts['daemon_flags'][key]}" for key in keys)


def _daemon(facts: Facts, wishes: EngineWishes, steps: t.Sequence[str]) -> tuple[dict[str, t.Any], list[str]]:
    """daemon.json as wanted, and why Docker must be restarted for it."""
    config, given = facts["daemon_config"], facts["daemon_flags"]
    hard = _asked_for(facts, wishes)
    on_line = sorted(key for key in hard if key in given and given[key] != hard[key])
    if on_line:
        raise EngineError(
            f"{', '.join(on_line)} cannot be set in {_daemon_json.PATH}: dockerd's command line has it already"
            f" ({_shown(facts, on_line)}), and Docker refuses to start with both. Take the flag away with `systemctl edit docker`"
            " (or in /etc/default/docker), or take the wish out of the inventory. Nothing was changed."
        )
    daemon = _daemon_json.merged(config, {key: value for key, value in hard.items() if key not in given})
    restart = _daemon_json.needs_restart(_daemon_json.changed_keys(config, daemon)) if facts["running"] else []
    if "nvidia" in steps and facts["running"] and not facts["nvidia_runtime"]:
        restart.append("NVIDIA's container hook, which dockerd looks for when it starts,")
    elif wishes.vendor == "nvidia" and facts["running"] and facts["hook_newer"] and not facts["containers_running"]:
        # Nothing runs, so that it costs nothing to be sure; an upgraded hook needs no restart.
        restart.append("NVIDIA's container hook, installed after dockerd started,")
    recorded = facts["recorded"].get("packages", {})
    ours = "docker" in steps or "docker.io" in recorded or "docker-ce" in recorded
    soft = _defaults(facts, wishes, steps, ours)
    harmless = not facts["running"] or not facts["containers_running"] or wishes.restart_allowed
    for key, value in soft.items():
        missing = _daemon_json.only_missing(daemon, {key: value})
        if not missing or key in given:
            continue
        if key in _daemon_json.RELOADABLE or (harmless and (ours or restart or not facts["running"])):
            daemon = _daemon_json.merged(daemon, missing)
    if facts["running"]:
        keys = _daemon_json.needs_restart(_daemon_json.changed_keys(config, daemon))
        restart += [key for key in keys if key not in restart]
    return daemon, restart


def _asked_for(facts: Facts, wishes: EngineWishes) -> dict[str, t.Any]:
    """What the operator asked for by name."""
    hard: dict[str, t.Any] = {}
    if wishes.registry_mirrors:
        hard["registry-mirrors"] = list(wishes.registry_mirrors)
    logs = {
        key: value for key, value in (("max-size", wishes.log_max_size), ("max-file", wishes.log_max_file)) if value
    }
    if logs:
        driver = wishes.daemon_options.get("log-driver") or _log_driver(facts)
        if driver not in _SIZED_LOGS:
            raise EngineError(
                f"container_engine_log_max_size and container_engine_log_max_file are for the log drivers"
                f" {' and '.join(_SIZED_LOGS)}; this engine has {driver}, which does not know them. Take them out of the"
                " inventory, or set log-driver in container_engine_daemon_options. Nothing was changed."
            )
        hard["log-opts"] = logs
    return _daemon_json.merged(hard, wishes.daemon_options)


def _log_driver(facts: Facts) -> str:
    return str(facts["daemon_config"].get("log-driver") or facts["daemon_flags"].get("log-driver") or "json-file")


def _defaults(facts: Facts, wishes: EngineWishes, steps: t.Sequence[str], ours: bool) -> dict[str, t.Any]:
    """What is set where nothing is said about it: the operator's own values win."""
    soft: dict[str, t.Any] = {}
    # A swarm refuses live-restore.
    if wishes.live_restore and not facts["swarm"]:
        soft["live-restore"] = True
    if ours and _log_driver(facts) in _SIZED_LOGS:
        soft["log-opts"] = dict(LOG_OPTS)
    if wishes.vendor == "nvidia" and (facts["nvidia_runtime"] or "nvidia" in steps):
        # What `nvidia-ctk runtime configure --runtime=docker` writes.
        soft["runtimes"] = {"nvidia": {"path": "nvidia-container-runtime", "args": []}}
    wants_cdi = wishes.vendor == "nvidia" or (wishes.vendor == "amd" and wishes.amd_toolkit)
    # Docker has CDI from 25 on, and from 28.3 without being asked (docs.docker.com/build/building/cdi).
    if wants_cdi and (25,) <= tuple(_numbers(facts["version"])[:2]) < (28, 3):
        soft["features"] = {"cdi": True}
    return soft


def _refuse_restart(facts: Facts, wishes: EngineWishes, reasons: t.Sequence[str]) -> None:
    if reasons and facts["containers_running"] and not wishes.restart_allowed:
        raise EngineError(
            f"{', '.join(reasons)} take{'s' if len(reasons) == 1 else ''} effect only with a restart of Docker, and"
            f" {facts['containers_running']} containers run. Drain the node first, or set container_engine_restart_allowed to"
            " true. Nothing was changed."
        )


def _cdi(facts: Facts, wishes: EngineWishes, steps: t.Sequence[str]) -> dict[str, t.Any]:
    """The CDI specification to make: {"command", "path"}, or {}. From 1.18 on NVIDIA's package sees to it itself."""
    if wishes.vendor == "amd" and wishes.amd_toolkit and "amd.json" not in facts["cdi_files"]:
        path = "/etc/cdi/amd.json"
        return {"command": ["amd-ctk", "cdi", "generate", f"--output={path}"], "path": path}
    versions = [_numbers(text)[:2] for text in facts["toolkit"].values()]
    old = bool(versions) and max(versions) < [1, 18] and "nvidia" not in steps
    if wishes.vendor == "nvidia" and old and facts["driver_loaded"] and "nvidia.yaml" not in facts["cdi_files"]:
        path = "/etc/cdi/nvidia.yaml"
        return {"command": ["nvidia-ctk", "cdi", "generate", f"--output={path}"], "path": path}
    return {}
