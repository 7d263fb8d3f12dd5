# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an engine needs, by what there is: packages by system, daemon.json, restarts and refusals."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import read_data
from ansible_collections.sglang.fleet.plugins.module_utils._engine import (
    EngineError,
    EngineWishes,
    RepositoryWishes,
    engine_plan,
)

DATA = read_data()["container_tools"]
TOOLKIT = DATA["nvidia"]["packages"]
OS = {
    "debian-12": {"ID": "debian", "VERSION_ID": "12", "VERSION_CODENAME": "bookworm", "ID_LIKE": ""},
    "debian-13": {"ID": "debian", "VERSION_ID": "13", "VERSION_CODENAME": "trixie", "ID_LIKE": ""},
    "ubuntu-24.04": {"ID": "ubuntu", "VERSION_ID": "24.04", "VERSION_CODENAME": "noble", "ID_LIKE": "debian"},
    "rhel-9.6": {"ID": "rhel", "VERSION_ID": "9.6", "VERSION_CODENAME": "", "ID_LIKE": "fedora"},
    "rocky-9.6": {"ID": "rocky", "VERSION_ID": "9.6", "VERSION_CODENAME": "", "ID_LIKE": "rhel centos fedora"},
    "arch": {"ID": "arch", "VERSION_ID": "", "VERSION_CODENAME": "", "ID_LIKE": ""},
}


def facts(system: str = "debian-13", **more: Any) -> dict[str, Any]:
    """A node with an engine that runs, as engine_facts finds it."""
    return {
        "installed": True, "running": True, "version": "26.1.5", "containers_running": 0, "nvidia_runtime": True,
        "daemon_config": {}, "daemon_flags": {}, "swarm": False, "toolkit": {}, "hook_newer": False, "amd_toolkit": False,
        "cdi_files": [], "driver_loaded": True, "recorded": {}, "arch": "x86_64", "os": OS[system], **more,
    }  # fmt: skip


def bare(system: str, **more: Any) -> dict[str, Any]:
    return facts(system, installed=False, running=False, version="", nvidia_runtime=False, **more)


def plan(found: dict[str, Any], **wishes: Any) -> dict[str, Any]:
    return engine_plan(found, EngineWishes(**wishes), DATA)


def names(planned: dict[str, Any]) -> list[str]:
    return [entry["name"] for entry in planned["packages"].get("packages", [])]


ENGINES: list[tuple[str, str, list[str], str, str]] = [
    ("debian-12", "", ["docker.io"], "", ""),
    ("debian-13", "", ["docker.io", "docker-cli"], "", ""),
    ("ubuntu-24.04", "", ["docker.io"], "", ""),
    ("debian-13", "docker", DATA["docker"]["packages"], "https://download.docker.com/linux/debian", "trixie"),
    ("ubuntu-24.04", "docker", DATA["docker"]["packages"], "https://download.docker.com/linux/ubuntu", "noble"),
    ("rhel-9.6", "", DATA["docker"]["packages"], "https://download.docker.com/linux/rhel/9/x86_64/stable", "/"),
    ("rocky-9.6", "", DATA["docker"]["packages"], "https://download.docker.com/linux/centos/9/x86_64/stable", "/"),
]


@pytest.mark.parametrize(("system", "source", "packages", "url", "suite"), ENGINES)
def test_engine_by_system(system: str, source: str, packages: list[str], url: str, suite: str) -> None:
    found = plan(bare(system), source=source)
    assert names(found) == packages
    assert [(entry["url"], entry["suite"]) for entry in found["packages"]["repositories"]] == (
        [(url, suite)] if url else []
    )
    assert found["daemon"]["log-opts"] == {"max-size": "50m", "max-file": "3"}


@pytest.mark.parametrize(
    ("system", "machine", "url"),
    [
        ("debian-12", "x86_64", "https://nvidia.github.io/libnvidia-container/stable/deb/amd64"),
        ("ubuntu-24.04", "aarch64", "https://nvidia.github.io/libnvidia-container/stable/deb/arm64"),
        ("rocky-9.6", "x86_64", "https://nvidia.github.io/libnvidia-container/stable/rpm/x86_64"),
    ],
)
def test_toolkit_by_system(system: str, machine: str, url: str) -> None:
    found = plan(facts(system, nvidia_runtime=False, arch=machine), vendor="nvidia")
    assert names(found) == TOOLKIT
    assert {entry["version"] for entry in found["packages"]["packages"]} == {"1.18.*"}
    assert found["packages"]["hold"] == TOOLKIT
    [repository] = found["packages"]["repositories"]
    assert (repository["url"], repository["pin"]) == (url, 600)
    assert repository["key_fingerprints"] == ["C95B321B61E88C1809C4F759DDCAE044F796ECB0"]


def test_mirror_takes_the_vendors_place() -> None:
    mirror = RepositoryWishes("http://mirror/{arch}/", "http://mirror/key", ("AB",))
    [repository] = plan(facts(nvidia_runtime=False), vendor="nvidia", toolkit=mirror)["packages"]["repositories"]
    assert repository["url"] == "http://mirror/amd64"
    assert (repository["key_url"], repository["key_fingerprints"]) == ("http://mirror/key", ["AB"])


TOOLKITS: list[tuple[dict[str, str], str, str | None]] = [
    ({}, "", None),  # there, but from no package
    (dict.fromkeys(TOOLKIT, "1.17.8-1"), "", None),
    (dict.fromkeys(TOOLKIT, "1.17.8-1"), "1.18.1", "1.18.1*"),
    (dict.fromkeys(TOOLKIT, "1.18.1-1"), "1.18.1", None),
    ({**dict.fromkeys(TOOLKIT, "1.9.0-1"), TOOLKIT[3]: "1.18.1-1"}, "", "1.18.1*"),
    (dict.fromkeys(TOOLKIT[:3], "1.18.1-1"), "", "1.18.1*"),
]


@pytest.mark.parametrize(("there", "wish", "version"), TOOLKITS)
def test_toolkit_that_is_there(there: dict[str, str], wish: str, version: str | None) -> None:
    found = plan(facts(toolkit=there), vendor="nvidia", toolkit_version=wish)
    assert names(found) == ([] if version is None else TOOLKIT)
    assert {entry["version"] for entry in found["packages"].get("packages", [])} == ({version} if version else set())
    assert not found["restart"], "an engine that knows the hook needs no restart"


def test_amd_needs_no_toolkit_unless_asked() -> None:
    assert plan(facts(), vendor="amd")["packages"] == {}
    found = plan(facts("debian-12"), vendor="amd", amd_toolkit=True)
    assert names(found) == ["amd-container-toolkit"]
    assert found["packages"]["repositories"][0]["suite"] == "jammy"
    assert found["cdi"]["command"] == ["amd-ctk", "cdi", "generate", "--output=/etc/cdi/amd.json"]
    assert plan(facts(amd_toolkit=True, cdi_files=["amd.json"]), vendor="amd", amd_toolkit=True)["cdi"] == {}


def test_cdi_of_an_older_toolkit_is_made_once_the_driver_is_there() -> None:
    old = dict.fromkeys(TOOLKIT, "1.17.8-1")
    assert plan(facts(toolkit=old), vendor="nvidia")["cdi"]["path"] == "/etc/cdi/nvidia.yaml"
    assert plan(facts(toolkit=old, driver_loaded=False), vendor="nvidia")["cdi"] == {}
    assert plan(facts(toolkit=old, cdi_files=["nvidia.yaml"]), vendor="nvidia")["cdi"] == {}
    assert plan(facts(toolkit=dict.fromkeys(TOOLKIT, "1.18.1-1")), vendor="nvidia")["cdi"] == {}


# --- daemon.json ---

SET = {"live-restore": True}
RUNTIME = {"runtimes": {"nvidia": {"path": "nvidia-container-runtime", "args": []}}}


def test_engine_that_is_there_gets_little() -> None:
    found = plan(facts())
    assert (found["daemon"], found["restart"], found["reload"]) == (SET, [], True)
    assert plan(facts(daemon_config=SET))["daemon_keys"] == []


@pytest.mark.parametrize(
    "there",
    [
        {"daemon_config": {"live-restore": False}},
        {"daemon_flags": {"live-restore": False}},
        {"swarm": True},
    ],
)
def test_live_restore_is_a_default_only(there: dict[str, Any]) -> None:
    assert plan(facts(**there))["daemon_keys"] == []


def test_a_restart_that_is_due_brings_cdi_along() -> None:
    found = plan(facts(nvidia_runtime=False), vendor="nvidia")
    assert found["daemon"] == {**SET, **RUNTIME, "features": {"cdi": True}}
    assert found["restart"] == ["NVIDIA's container hook, which dockerd looks for when it starts,", "features"]
    # Nothing else asks for one.
    assert plan(facts(), vendor="nvidia")["daemon"] == {**SET, **RUNTIME}


@pytest.mark.parametrize(("version", "there"), [("20.10.24+dfsg1", False), ("25.0.1", True), ("28.3.0", False)])
def test_cdi_is_for_engines_that_have_it_and_do_not_offer_it(version: str, there: bool) -> None:
    assert ("features" in plan(facts(nvidia_runtime=False, version=version), vendor="nvidia")["daemon"]) is there


def test_hook_that_came_late_needs_a_restart_while_nothing_runs() -> None:
    assert plan(facts(hook_newer=True, daemon_config={**SET, **RUNTIME}), vendor="nvidia")["restart"]
    quiet = facts(hook_newer=True, containers_running=1, daemon_config={**SET, **RUNTIME})
    assert not plan(quiet, vendor="nvidia")["restart"]


def test_wishes_of_the_operator() -> None:
    options = {"max-concurrent-downloads": 5}
    there = {"registry-mirrors": ["http://own"], "log-opts": {"max-size": "1m"}, "debug": True}
    found = plan(
        facts(daemon_config=there),
        registry_mirrors=("http://m",),
        daemon_options=options,
        log_max_size="9m",
        live_restore=False,
    )
    assert found["daemon"] == {
        "registry-mirrors": ["http://own", "http://m"],
        "log-opts": {"max-size": "9m"},
        "debug": True,
        **options,
    }
    assert found["restart"] == ["log-opts"]
    assert found["daemon_added"] == {"registry-mirrors": ["http://m"], "log-opts": {"max-size": "9m"}, **options}


REFUSALS: list[tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]] = [
    (bare("debian-13"), {"install": False}, ("no Docker engine", "container_engine_install is false")),
    (
        facts(nvidia_runtime=False),
        {"vendor": "nvidia", "install": False},
        ("container toolkit is not on the host", "nvidia-ctk"),
    ),
    (bare("arch"), {}, ("Docker has no packages for arch-", "Debian, Ubuntu and the RHEL family")),
    (bare("rhel-9.6"), {"source": "distribution"}, ("rhel-9.6 has none", "container_engine_source")),
    (facts(nvidia_runtime=False, arch="riscv64"), {"vendor": "nvidia"}, ("debian-13 on riscv64",)),
    (
        facts(containers_running=2),
        {"log_max_size": "5m"},
        ("log-opts takes effect only with a restart", "2 containers run"),
    ),
    (facts(containers_running=1, nvidia_runtime=False), {"vendor": "nvidia"}, ("container hook", "1 containers run")),
    (
        facts(daemon_flags={"log-level": "warn"}),
        {"daemon_options": {"log-level": "debug"}},
        ("log-level cannot be set", "log-level: warn", "systemctl edit docker"),
    ),
    (
        facts(daemon_config={"hosts": []}, daemon_flags={"hosts": ["fd://"]}),
        {},
        ("hosts stands both in /etc/docker/daemon.json", "fd://"),
    ),
    (facts(daemon_config={"log-driver": "journald"}), {"log_max_size": "5m"}, ("json-file and local", "journald")),
]


@pytest.mark.parametrize(("found", "wishes", "words"), REFUSALS)
def test_refusal(found: dict[str, Any], wishes: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(EngineError) as error:
        plan(found, **wishes)
    missing = [word for word in (*words, "Nothing was changed") if word not in str(error.value)]
    assert not missing, f"{missing} not in: {error.value}"


def test_restart_below_containers_where_it_is_allowed() -> None:
    assert plan(facts(containers_running=2), log_max_size="5m", restart_allowed=True)["restart"] == ["log-opts"]


def test_wish_that_the_command_line_fulfils_is_no_conflict() -> None:
    assert plan(facts(daemon_flags={"debug": True}), daemon_options={"debug": True})["daemon"] == SET
