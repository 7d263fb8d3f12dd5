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
    "debian-12": {"id": "debian", "version_id": "12", "codename": "bookworm", "id_like": ""},
    "debian-13": {"id": "debian", "version_id": "13", "codename": "trixie", "id_like": ""},
    "ubuntu-24.04": {"id": "ubuntu", "version_id": "24.04", "codename": "noble", "id_like": "debian"},
    "rhel-9.6": {"id": "rhel", "version_id": "9.6", "codename": "", "id_like": "fedora"},
    "rocky-9.6": {"id": "rocky", "version_id": "9.6", "codename": "", "id_like": "rhel centos fedora"},
    "arch": {"id": "arch", "version_id": "", "codename": "", "id_like": ""},
}


def facts(system: str = "debian-13", **more: Any) -> dict[str, Any]:
    """A node with an engine that runs, as engine_facts finds it."""
    return {
        "installed": True, "client": "docker", "running": True, "version": "26.1.5", "containers_running": 0, "nvidia_runtime": True,
        "daemon_config": {}, "daemon_flags": {}, "swarm": False, "toolkit": {}, "hook_newer": False, "amd_toolkit": False,
        "cdi_files": [], "driver_loaded": True, "recorded": {}, "arch": "x86_64", "os": OS[system], **more,
    }  # fmt: skip


def bare(system: str, **more: Any) -> dict[str, Any]:
    absent = {"installed": False, "client": "", "running": False, "version": "", "nvidia_runtime": False}
    return facts(system, **{**absent, **more})


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


def test_a_version_comes_from_docker_and_is_held() -> None:
    found = plan(bare("ubuntu-24.04"), version="28.5.2")
    versions = {entry["name"]: entry["version"] for entry in found["packages"]["packages"]}
    assert versions == {
        "docker-ce": "28.5.2*",
        "docker-ce-cli": "28.5.2*",
        "containerd.io": "",
        "docker-buildx-plugin": "",
    }
    assert found["packages"]["hold"] == ["docker-ce", "docker-ce-cli", "containerd.io"]
    assert plan(bare("ubuntu-24.04"), source="docker")["packages"]["hold"] == [], "without a version it may be upgraded"


@pytest.mark.parametrize(("wish", "notes"), [("", 0), ("26.1", 0), ("26.1.5", 0), ("28.5.2", 1)])
def test_engine_of_another_version_stays_and_is_named(wish: str, notes: int) -> None:
    found = plan(facts(), version=wish)
    assert (found["packages"], len(found["notes"])) == ({}, notes)
    assert all(
        "Docker 26.1.5 is there" in note and f"container_engine_version {wish}" in note for note in found["notes"]
    )


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


def test_toolkit_is_exchanged_below_containers_only_where_that_is_allowed() -> None:
    running = facts(toolkit=dict.fromkeys(TOOLKIT, "1.17.8-1"), containers_running=2)
    assert names(plan(running, vendor="nvidia", toolkit_version="1.18.1", restart_allowed=True)) == TOOLKIT
    assert plan(running, vendor="nvidia", toolkit_version="1.17.8")["packages"] == {}
    split = facts(toolkit={**dict.fromkeys(TOOLKIT, "1.17.8-1"), TOOLKIT[3]: "1.18.1-1"}, containers_running=2)
    found = plan(split, vendor="nvidia")  # nobody asked for anything: no reason to fail
    assert (found["packages"], found["notes"]) == (
        {},
        [
            "NVIDIA's container toolkit is 1.17.8 and 1.18.1: it is brought to 1.18.1 once no container runs, or with"
            " container_engine_restart_allowed"
        ],
    )


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


def test_runtimes_may_stand_in_the_file_and_on_the_command_line() -> None:
    """moby, daemon/config: skipDuplicates. NVIDIA's classic drop-in has `dockerd --add-runtime`."""
    both = {**SET, **RUNTIME}
    found = plan(facts(daemon_config=both, daemon_flags={"runtimes": {"nvidia": {"path": "n"}}}), vendor="nvidia")
    assert (found["daemon"], found["notes"]) == (both, [])


def test_conflict_of_an_engine_that_answers_is_named() -> None:
    twice: dict[str, Any] = {"daemon_config": {**SET, "hosts": []}, "daemon_flags": {"hosts": ["fd://"]}}
    found = plan(facts(**twice))
    assert (found["daemon_keys"], found["restart"], found["reload"]) == ([], [], False)
    assert ["hosts stands both in" in note for note in found["notes"]] == [True]
    with pytest.raises(EngineError, match="refuses to start so"):
        plan(facts(running=False, **twice))


def test_what_was_there_before_is_noted_for_a_removal() -> None:
    there: dict[str, Any] = {"data-root": "/mnt", "log-opts": {"max-size": "1m"}}
    wish = {"data-root": "/data", "debug": True, "log-opts": {"max-size": "9m"}}
    first = plan(facts(daemon_config=there), daemon_options=wish)
    assert first["daemon_before"] == there
    recorded = {"daemon_json": first["daemon_added"], "daemon_json_before": first["daemon_before"]}
    again = plan(
        facts(daemon_config=first["daemon"], recorded=recorded), daemon_options={**wish, "data-root": "/data2"}
    )
    assert again["daemon_before"] == {"data-root": "/mnt"}, "what the role itself had set is no original"


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
    (
        bare("ubuntu-24.04"),
        {"source": "distribution", "version": "28.5.2"},
        ("container_engine_version is 28.5.2", "container_engine_source is distribution", "to docker"),
    ),
    (bare("rocky-9.6", client="podman"), {}, ("the command docker on this host is podman's", "Remove podman-docker")),
    (bare("debian-13", installed=True), {}, ("no command docker", "docker-cli on Debian 13")),
    (
        facts(toolkit=dict.fromkeys(TOOLKIT, "1.17.8-1"), containers_running=2),
        {"vendor": "nvidia", "toolkit_version": "1.18.1"},
        ("1.17.8", "1.18.1 is asked for", "2 containers run", "container_engine_restart_allowed"),
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


def test_what_of_a_repository_of_rpms_is_signed() -> None:
    """NVIDIA's own file for its toolkit has repo_gpgcheck=1 and gpgcheck=0: dnf would refuse packages that are not signed."""
    repositories = plan(bare("rocky-9.6"), vendor="nvidia")["packages"]["repositories"]
    assert {entry["name"]: entry["signs"] for entry in repositories} == {
        "sglang-fleet-docker": "packages",
        "sglang-fleet-nvidia": "metadata",
    }
