# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role container_engine against package repositories that are signed for real, and those that fail.

In the order of a node's life: first everything that must leave it as it is, then the installation, then the removal.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from fleetlab.cli import main as lab
from fleetlab.packages import Packages, ensure_packages
from fleetlab.settings import AUTO, Node
from tests.lab.support import Fleet, Play, fresh_nodes

pytestmark = pytest.mark.lab

OWNER = "engine-tests"
OLD, NEW = "engine-01", "engine-02"
NODES = (
    Node(OLD, "bookworm", "h200:8,noruntime", AUTO, ("gpu_nodes",), OWNER),
    Node(NEW, "trixie", "h200:8,noruntime", AUTO, ("gpu_nodes",), OWNER),
)
TOOLKIT = (
    "libnvidia-container-tools",
    "libnvidia-container1",
    "nvidia-container-toolkit",
    "nvidia-container-toolkit-base",
)
PLAY = """
- hosts: all
  gather_facts: false
  become: true
  tasks:
    - ansible.builtin.import_role:
        name: sglang.fleet.container_engine
        tasks_from: "{{ part | default('main') }}"
"""
FOREIGN = {"data-root": "/var/lib/docker", "shutdown-timeout": 20}
# A container from the node's own files: there is no small image to pull.
CONTAINER = """
set -e
tar -C / -c bin lib lib64 usr/bin usr/lib64 usr/lib/x86_64-linux-gnu | docker import - lives:on > /dev/null
docker run --detach --name lives lives:on sleep 36000 > /dev/null
"""
# Everything that a failure must leave alone: packages, holds, apt's files, Docker's file, the engine's process, the container.
STATE = r"""
dpkg-query --show --showformat '${Package} ${Version} ${db:Status-Abbrev}\n' | sha256sum
apt-mark showhold
find /etc/apt /etc/docker /var/lib/sglang-fleet -type f -exec sha256sum {} ';' 2> /dev/null | sort
systemctl show docker --property=MainPID
docker inspect lives --format '{{.State.Running}} {{.State.StartedAt}}'
"""


@pytest.fixture(scope="module")
def packages() -> Packages:
    if lab(["images", "--no-sglang"]) != 0:
        pytest.fail("the lab does not start; its message is above", pytrace=False)
    return ensure_packages()


@pytest.fixture(scope="module")
def engines(packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two nodes with an engine and a container that runs, and no toolkit."""
    with fresh_nodes(OWNER, NODES, tmp_path_factory, group_vars=None) as fleet:
        (fleet.scratch / "play.yml").write_text(PLAY)
        for host in fleet.nodes:
            fleet.sh(host, CONTAINER)
            merge = f"import json; p='/etc/docker/daemon.json'; d=json.load(open(p)); d.update({FOREIGN!r})"
            fleet.sh(host, f"python3 -c \"{merge}; json.dump(d, open(p, 'w'), indent=2)\"")
        yield fleet


def wishes(packages: Packages, variant: str = "good", **more: Any) -> dict[str, Any]:
    """The role's variables, as an operator with a mirror sets them."""
    return {
        "container_engine_gpu_vendor": "nvidia",
        "container_engine_toolkit_repository_url": packages.url("libnvidia-container/stable/deb/amd64", variant),
        "container_engine_toolkit_key_url": packages.key_url("good" if variant == "down" else variant),
        "container_engine_toolkit_key_fingerprints": [packages.fingerprint],
        "container_engine_docker_repository_url": packages.url("docker/linux/debian", variant),
        "container_engine_docker_key_url": packages.key_url(),
        "container_engine_docker_key_fingerprints": [packages.fingerprint],
        **more,
    }


def run(fleet: Fleet, extra: Mapping[str, Any], *words: str) -> Play:
    return fleet.playbook(str(fleet.scratch / "play.yml"), *words, extra=extra)


def refused(fleet: Fleet, extra: Mapping[str, Any], *words: str, hosts: tuple[str, ...] = (OLD, NEW)) -> None:
    """The role fails on these nodes with a message that has all of the words, and nothing on them is changed."""
    before = {host: fleet.sh(host, STATE) for host in hosts}
    play = run(fleet, extra, "-l", ",".join(hosts))
    assert play.rc != 0, str(play)
    assert play.failed() == dict.fromkeys(hosts, 1), str(play)
    for message in play.messages():
        missing = [word for word in words if word not in message]
        assert not missing, f"not in the message: {missing}\n{message}"
    assert play.messages(), str(play)
    for host in hosts:
        assert fleet.sh(host, STATE) == before[host], host


# --- What fails leaves everything as it was ---------------------------------------------------------------------------


def test_missing_toolkit_is_named_where_nothing_may_be_installed(engines: Fleet, packages: Packages) -> None:
    extra = wishes(packages, container_engine_install=False)
    refused(engines, extra, "NVIDIA's container toolkit is not on the host", "container_engine_install is false")


def test_no_restart_below_running_containers(engines: Fleet, packages: Packages) -> None:
    """dockerd looks for NVIDIA's hook when it starts; so nothing is installed either."""
    words = (
        "only with a restart of Docker",
        "1 containers run",
        "container_engine_restart_allowed",
        "Nothing was changed",
    )
    refused(engines, wishes(packages), *words)


def test_key_of_another_fingerprint(engines: Fleet, packages: Packages) -> None:
    extra = wishes(packages, container_engine_restart_allowed=True)
    extra["container_engine_toolkit_key_fingerprints"] = ["0123456789012345678901234567890123456789"]
    refused(engines, extra, packages.fingerprint, "expected is 0123456789", "not trusted", "No package was changed")


def test_repository_signed_by_another_key(engines: Fleet, packages: Packages) -> None:
    extra = wishes(packages, "wrong-key", container_engine_restart_allowed=True)
    refused(engines, extra, packages.wrong_fingerprint[-16:], "is not signed by the key", "No package was changed")


def test_repository_that_is_down(engines: Fleet, packages: Packages) -> None:
    extra = wishes(packages, "down", container_engine_restart_allowed=True)
    refused(engines, extra, ":9", "the repository does not answer", "name a mirror", "No package was changed")


def test_repository_without_the_version(engines: Fleet, packages: Packages) -> None:
    extra = wishes(packages, "lacking", container_engine_restart_allowed=True)
    refused(engines, extra, "no version like 1.18.* is offered", "1.17.8-1", "No package was changed")


def test_full_disk(engines: Fleet, packages: Packages) -> None:
    """Room for apt's cache runs out before anything is downloaded."""
    cache = "/var/cache/apt/archives"
    try:
        for host in (OLD, NEW):
            engines.sh(
                host,
                f"mount -t tmpfs -o size=4k tmpfs {cache}; mkdir {cache}/partial; head -c 4096 /dev/zero > {cache}/x || true",
            )
        extra = wishes(packages, container_engine_restart_allowed=True)
        refused(engines, extra, "the disk is full", cache, "Free space there", "No package was changed")
    finally:
        for host in (OLD, NEW):
            engines.sh(host, f"umount {cache}")


def test_broken_daemon_json_is_reported_with_its_line(engines: Fleet, packages: Packages) -> None:
    path = "/etc/docker/daemon.json"
    engines.sh(NEW, f"cp --preserve {path} /root/original.json")
    try:
        engines.sh(NEW, f'printf \'{{\\n  "debug": false\\n  "icc": true\\n}}\\n\' > {path}')
        words = (path, "line 3, column 3", '"icc": true', "was not changed")
        refused(engines, wishes(packages, container_engine_restart_allowed=True), *words, hosts=(NEW,))
    finally:
        engines.sh(NEW, f"mv /root/original.json {path}")


def test_option_that_docker_does_not_know(engines: Fleet, packages: Packages) -> None:
    extra = wishes(packages, container_engine_gpu_vendor="none", container_engine_restart_allowed=True)
    extra["container_engine_daemon_options"] = {"log-optz": "5m"}
    refused(engines, extra, "Docker does not take", "log-optz", "The file was not changed", hosts=(NEW,))


def test_option_that_stands_on_the_command_line(engines: Fleet, packages: Packages) -> None:
    """Debian's unit takes DOCKER_OPTS from /etc/default/docker."""
    engines.sh(NEW, "echo 'DOCKER_OPTS=--log-level=warn' > /etc/default/docker")
    restart = "docker rm --force lives > /dev/null; systemctl reset-failed docker; systemctl restart docker"
    engines.sh(NEW, restart)
    try:
        engines.sh(NEW, "docker run --detach --name lives lives:on sleep 36000")
        extra = wishes(packages, container_engine_gpu_vendor="none", container_engine_restart_allowed=True)
        extra["container_engine_daemon_options"] = {"log-level": "debug"}
        refused(engines, extra, "log-level cannot be set", "log-level: warn", "systemctl edit docker", hosts=(NEW,))
    finally:
        engines.sh(NEW, "rm /etc/default/docker\n" + restart)


# --- It works -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(engines: Fleet, packages: Packages) -> Play:
    for host in (OLD, NEW):
        engines.sh(host, "docker rm --force lives > /dev/null 2>&1 || true")
    check = run(engines, wishes(packages), "--check", "--diff")
    check.succeeded()
    assert min(check.changed().values()) > 0, f"it says that there is nothing to do\n{check}"
    assert not engines.sh(NEW, "find /etc/apt/sources.list.d /var/lib/sglang-fleet -type f 2> /dev/null", check=False)
    play = run(engines, wishes(packages))
    if play.rc:
        pytest.fail(f"it is not installed\n{play}", pytrace=False)
    return play


@pytest.mark.parametrize("host", [OLD, NEW])
def test_toolkit_is_four_packages_of_one_version_on_hold(engines: Fleet, installed: Play, host: str) -> None:
    assert versions(engines, host) == dict.fromkeys(TOOLKIT, "1.18.1-1")
    assert engines.sh(host, "apt-mark showhold").split() == list(TOOLKIT)


def versions(fleet: Fleet, host: str) -> dict[str, str]:
    out = fleet.sh(host, f"dpkg-query --show --showformat '${{Package}} ${{Version}}\\n' {' '.join(TOOLKIT)}")
    return dict(tuple(line.split()) for line in out.splitlines())


@pytest.mark.parametrize("host", [OLD, NEW])
def test_containers_get_gpus(engines: Fleet, installed: Play, host: str) -> None:
    engines.sh(
        host, "docker image inspect lives:on > /dev/null 2>&1 || " + CONTAINER.partition("\n")[2].splitlines()[1]
    )
    assert "nvidia7" in engines.sh(host, "docker run --rm --gpus all lives:on ls /dev")


def test_cdi_works(engines: Fleet, installed: Play) -> None:
    """Docker has it from 25 on; Debian 12 has 20.10."""
    devices = engines.sh(NEW, "docker run --rm --device nvidia.com/gpu=0 lives:on ls /dev").split()
    assert "nvidia0" in devices
    assert "nvidia1" not in devices


@pytest.mark.parametrize("host", [OLD, NEW])
def test_foreign_keys_of_daemon_json_stay(engines: Fleet, installed: Play, host: str) -> None:
    found = json.loads(engines.sh(host, "cat /etc/docker/daemon.json"))
    assert {key: found[key] for key in FOREIGN} == FOREIGN
    assert found["registry-mirrors"] == ["http://172.30.0.2:5000"]
    assert found["live-restore"] is True
    assert found["runtimes"]["nvidia"]["path"] == "nvidia-container-runtime"
    assert "log-opts" not in found, "log limits are no default on an engine that was there"
    assert engines.sh(host, "docker info --format '{{.LiveRestoreEnabled}}'").strip() == "true"


def test_second_run_changes_nothing(engines: Fleet, installed: Play, packages: Packages) -> None:
    play = run(engines, wishes(packages)).succeeded()
    assert play.changed() == {OLD: 0, NEW: 0}, str(play)


def test_engine_that_does_not_start_is_put_back(engines: Fleet, installed: Play, packages: Packages) -> None:
    """Docker 20.10 cannot check a file without starting."""
    engines.sh(OLD, "systemctl reset-failed docker")
    before = engines.sh(OLD, "cat /etc/docker/daemon.json /var/lib/sglang-fleet/installed.json")
    play = run(engines, wishes(packages, container_engine_daemon_options={"log-optz": "5m"}), "-l", OLD)
    assert play.rc != 0, str(play)
    assert "Docker did not take log-optz" in play.messages()[-1], str(play)
    assert "don't match any configuration option: log-optz" in play.messages()[-1], str(play)
    assert engines.sh(OLD, "cat /etc/docker/daemon.json /var/lib/sglang-fleet/installed.json") == before
    assert engines.sh(OLD, "docker info --format '{{.LiveRestoreEnabled}}'").strip() == "true"


def test_toolkit_in_pieces_comes_to_one_version(engines: Fleet, installed: Play, packages: Packages) -> None:
    """As after an upgrade of some of it. What is held by nobody else is moved to the newest that is there."""
    names = " ".join(f"{name}=1.17.8-1" for name in TOOLKIT)
    engines.sh(OLD, f"apt-get install --yes --allow-downgrades --allow-change-held-packages {names}")
    engines.sh(OLD, "apt-get install --yes libnvidia-container1=1.18.1-1")
    assert len(set(versions(engines, OLD).values())) == 2
    run(engines, wishes(packages), "-l", OLD).succeeded()
    assert versions(engines, OLD) == dict.fromkeys(TOOLKIT, "1.18.1-1")
    assert engines.sh(OLD, "apt-mark showhold").split() == list(TOOLKIT)


def test_toolkit_is_not_taken_back(engines: Fleet, installed: Play, packages: Packages) -> None:
    play = run(engines, wishes(packages, container_engine_toolkit_version="1.17.8"), "-l", OLD)
    assert play.rc != 0
    [message] = play.messages()
    assert "newer than the 1.17.8-1 that is wanted" in message, message


# --- And goes -----------------------------------------------------------------------------------------------------------


def test_removal_takes_what_was_installed_and_nothing_else(engines: Fleet, installed: Play, packages: Packages) -> None:
    others = (
        "dpkg-query --show --showformat '${Package} ${Version} ${db:Status-Abbrev}\\n' | grep --invert-match nvidia"
    )
    before = {host: engines.sh(host, others) for host in (OLD, NEW)}
    play = run(engines, {**wishes(packages), "part": "remove"}).succeeded()
    assert min(play.changed().values()) > 0
    for host in (OLD, NEW):
        assert engines.sh(host, others) == before[host]
        assert not engines.sh(host, "dpkg-query --list '*nvidia*' 2> /dev/null | grep ^[ihr]", check=False)
        found = json.loads(engines.sh(host, "cat /etc/docker/daemon.json"))
        assert set(found) == {*FOREIGN, "registry-mirrors", "insecure-registries"}, found
        assert not engines.sh(
            host, "find /etc/apt -name '*sglang*'; ls -d /var/lib/sglang-fleet 2> /dev/null", check=False
        )
    assert set(run(engines, {**wishes(packages), "part": "remove"}).succeeded().changed().values()) == {0}


def test_engine_from_dockers_repository(engines: Fleet, installed: Play, packages: Packages) -> None:
    """On a node without any; what is in /var/lib/docker outlives the packages."""
    engines.sh(NEW, "apt-get remove --yes docker.io docker-cli runc containerd; rm -rf /etc/docker")
    extra = wishes(packages, container_engine_source="docker")
    extra["container_engine_daemon_options"] = {"insecure-registries": ["172.30.0.2:5000"]}
    run(engines, extra, "-l", NEW, "--check").succeeded()
    run(engines, extra, "-l", NEW).succeeded()
    assert engines.sh(NEW, "dpkg-query --show --showformat '${Version}' docker-ce") == "5:28.5.2-1~debian.13~trixie"
    assert "nvidia7" in engines.sh(NEW, "docker run --rm --gpus all lives:on ls /dev")
    found = json.loads(engines.sh(NEW, "cat /etc/docker/daemon.json"))
    assert found["log-opts"] == {"max-size": "50m", "max-file": "3"}
    again = run(engines, extra, "-l", NEW).succeeded()
    assert again.changed() == {NEW: 0}, str(again)
    engines.sh(NEW, "docker run --detach --name lives lives:on sleep 36000")
    play = run(engines, {**extra, "part": "remove"}, "-l", NEW)
    assert play.rc != 0
    assert "1 containers run on the engine that this role installed" in play.messages()[0], str(play)
    engines.sh(NEW, "docker rm --force lives")
    run(engines, {**extra, "part": "remove"}, "-l", NEW).succeeded()
    assert not engines.sh(NEW, "dpkg-query --list 'docker-ce*' containerd.io 2> /dev/null | grep ^[ih]", check=False)
    assert engines.sh(NEW, "ls /var/lib/docker/overlay2").strip(), "images are not the role's to remove"
