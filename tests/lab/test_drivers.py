# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA's driver on nodes of the lab: virgin ones to serving, one that the image refuses, one that it accepts.

NVIDIA's repository is the lab's: packages of the real names and versions, signed for real; next to nothing in them. A
reboot is a real restart of a node. These tests build on one another.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from fleetlab.packages import Packages, ensure_packages
from fleetlab.settings import AUTO, Node
from tests.lab.support import Fleet, Play, eventually, fresh_nodes, run

pytestmark = pytest.mark.lab

OWNER = "drivers"
VIRGIN = ("nv-virgin-12", "nv-virgin-13")
OLD, OLD_CU130, FINE = "nv-old", "nv-old-cu130", "nv-fine"
GROUPS = ("gpu_nodes", "nvidia")
NODES = (
    Node(VIRGIN[0], "bookworm", "h200:8,nodriver,noruntime", AUTO, GROUPS, owner=OWNER),
    Node(VIRGIN[1], "trixie", "h200:8,nodriver,noruntime", AUTO, GROUPS, owner=OWNER),
    Node(OLD, "bookworm", "b300:8,nodriver", AUTO, GROUPS, owner=OWNER),
    Node(OLD_CU130, "bookworm", "h200:8,nodriver", AUTO, GROUPS, owner=OWNER),
    Node(FINE, "trixie", "h200:8,driver=570.133.20", AUTO, GROUPS, owner=OWNER),
)
SERVED = VIRGIN[0]
MODEL = "MiniMaxAI/MiniMax-M2.7"
# The driver and the reboot alone, as an operator would run them ahead of a deploy.
DRIVER_TAGS = ("--tags", "nvidia_driver,node_reboot")
HELD = {
    "libcuda1",
    "libnvidia-ml1",
    "nvidia-driver-cuda",
    "nvidia-fabricmanager-580",
    "nvidia-kernel-open-dkms",
    "nvidia-kernel-support",
    "nvidia-persistenced",
}


@pytest.fixture(scope="module")
def packages() -> Packages:
    return ensure_packages()


def repositories(packages: Packages, variant: str = "good") -> dict[str, Any]:
    """The mirror that an operator would name, for the host's system."""
    base = packages.url("", variant).rstrip("/")
    key = {"key_url": packages.key_url(variant), "key_fingerprints": [packages.fingerprint]}
    return {
        "nvidia_driver_repository_url": base + "/nvidia/{system}/{arch}",
        **{f"nvidia_driver_{name}": value for name, value in key.items()},
        "nvidia_driver_headers": False,  # the node's kernel is the machine's; nothing is built here
        "container_engine_toolkit_repository_url": f"{base}/libnvidia-container/stable/deb/amd64",
        **{f"container_engine_toolkit_{name}": value for name, value in key.items()},
    }


@pytest.fixture(scope="module")
def nodes(lab_supply: None, packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fresh_nodes(OWNER, NODES, tmp_path_factory) as fleet:
        variables = {**repositories(packages), "fleet_reboot_at_once": 2}
        (fleet.inventory / "group_vars" / "gpu_nodes.yml").write_text(json.dumps(variables))
        yield fleet


def boots(fleet: Fleet, host: str) -> int:
    """How often the node was started again: Docker starts it when its systemd has ended."""
    said = run("docker", "inspect", "--format", "{{.RestartCount}}", fleet.nodes[host].container).succeeded()
    return int(said.out)


def installed(fleet: Fleet, host: str) -> dict[str, str]:
    out = fleet.sh(host, "dpkg-query --show --showformat='${Package} ${Version} ${db:Status-Abbrev}\\n'")
    return {name: version for name, version, state in (line.split() for line in out.splitlines()) if state[1] == "i"}


def of_nvidia(fleet: Fleet, host: str) -> dict[str, str]:
    return {name: version for name, version in installed(fleet, host).items() if "nvidia" in name or "libcuda" in name}


def held(fleet: Fleet, host: str) -> set[str]:
    return set(fleet.sh(host, "apt-mark showhold").split())


def apt_state(fleet: Fleet, host: str) -> str:
    """Packages, holds and whatever apt is configured with."""
    return fleet.sh(
        host,
        "dpkg --list | sha256sum; dpkg --get-selections | sha256sum; apt-mark showhold\n"
        "find /etc/apt /etc/modprobe.d -type f -exec sha256sum {} + | sort; cat /var/lib/sglang-fleet/installed.json 2> /dev/null",
        check=False,
    )


def loaded(fleet: Fleet, host: str) -> str:
    return fleet.sh(host, "cat /sys/module/nvidia/version", check=False).strip()


def said_by(play: Play) -> str:
    """The output in one line; YAML doubles the apostrophes of a quoted text."""
    return " ".join(play.out.split()).replace("''", "'")


def refusal(play: Play, host: str) -> str:
    """The one error of a run that failed."""
    assert play.rc != 0, f"it was let pass\n{play}"
    assert "Traceback" not in play.out, str(play)
    assert play.failed()[host] == 1, str(play)
    return " ".join(" ".join(play.messages()).split())


# --- Virgin nodes ---------------------------------------------------------------------------------------------------


def test_check_mode_tells_what_would_be_installed_and_that_a_reboot_would_follow(nodes: Fleet) -> None:
    before = {host: apt_state(nodes, host) for host in VIRGIN}
    play = nodes.playbook("deploy.yml", "-l", ",".join(VIRGIN), "--check", "--diff", *DRIVER_TAGS)
    play.succeeded()
    assert "+nvidia-kernel-open-dkms" in play.out, str(play)
    assert "+nvidia-fabricmanager-580" in play.out
    for host in VIRGIN:
        assert f"{host} would reboot: NVIDIA 580 is not loaded yet" in play.out
        assert apt_state(nodes, host) == before[host]
        assert boots(nodes, host) == 0


def test_plan_tells_of_the_driver_and_changes_nothing(nodes: Fleet) -> None:
    hosts = (VIRGIN[0], FINE)
    before = {host: apt_state(nodes, host) for host in hosts}
    play = nodes.playbook("playbooks/plan.yml", "-l", ",".join(hosts)).succeeded()
    said = said_by(play)
    assert "driver: install: " in said, str(play)
    assert "reboot: NVIDIA 580 is not loaded yet" in said
    assert "driver: keep: NVIDIA 570.133.20 is left alone: the image's own list accepts branch 570" in said
    assert set(play.changed().values()) == {0}
    assert {host: apt_state(nodes, host) for host in hosts} == before


def test_host_that_never_reboots_gets_its_first_driver_and_waits_for_the_operator(nodes: Fleet) -> None:
    host = VIRGIN[-1]
    play = nodes.playbook("deploy.yml", "-l", host, *DRIVER_TAGS, extra={"fleet_reboot": "never"})
    said = refusal(play, host)
    assert "fleet_reboot is never" in said
    assert "What was installed stays" in said
    assert "Reboot the host when it suits you" in said
    assert installed(nodes, host)["nvidia-kernel-open-dkms"] == "580.95.05-1"
    assert boots(nodes, host) == 0


@pytest.fixture(scope="module")
def deployed(nodes: Fleet) -> Play:
    play = nodes.playbook("deploy.yml", "-l", ",".join(VIRGIN))
    if play.rc:
        pytest.fail(f"the virgin nodes are not deployed\n{play}", pytrace=False)
    return play


@pytest.mark.parametrize("host", VIRGIN)
def test_virgin_node_serves_after_one_reboot(nodes: Fleet, deployed: Play, host: str) -> None:
    assert boots(nodes, host) == 1
    assert loaded(nodes, host) == "580.95.05"
    thinking, answer = nodes.chat(host, MODEL)
    assert thinking
    assert answer


@pytest.mark.parametrize("host", VIRGIN)
def test_driver_and_fabric_manager_are_of_one_version_and_held(nodes: Fleet, deployed: Play, host: str) -> None:
    found = of_nvidia(nodes, host)
    assert {found[name] for name in HELD} == {"580.95.05-1"}
    assert held(nodes, host) >= HELD
    states = nodes.sh(host, "systemctl is-active nvidia-fabricmanager nvidia-persistenced", check=False)
    assert states.split() == ["active", "active"]
    assert "blacklist nouveau" in nodes.sh(host, "cat /etc/modprobe.d/nvidia-fleet.conf")


def test_second_deploy_changes_nothing(nodes: Fleet, deployed: Play) -> None:
    play = nodes.playbook("deploy.yml", "-l", ",".join(VIRGIN)).succeeded()
    assert play.changed() == dict.fromkeys(VIRGIN, 0), str(play)
    assert [boots(nodes, host) for host in VIRGIN] == [1, 1]
    assert "NVIDIA 580.95.05 is left alone: the image asks for NVIDIA 575 or newer" in play.out


# --- A server that runs is left running -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("wrong fingerprint", ["fingerprint"]),
        ("wrong-key", ["NO_PUBKEY"]),
        ("down", ["172.30.0.3:9"]),
        ("lacking", ["590"]),
        ("full disk", ["/boot has", "MiB free", "Make room"]),
    ],
)
def test_what_goes_wrong_leaves_packages_and_server_as_they_were(
    nodes: Fleet, deployed: Play, packages: Packages, what: str, words: list[str]
) -> None:
    variant = what if what in ("wrong-key", "down", "lacking") else "good"
    extra = {**repositories(packages, variant), "fleet_nvidia_branch": "590", "fleet_reboot_while_serving": True}
    if what == "wrong fingerprint":
        extra["nvidia_driver_key_fingerprints"] = [packages.wrong_fingerprint]
    if what == "down":
        extra["nvidia_driver_key_url"] = packages.key_url()
    before = (apt_state(nodes, SERVED), nodes.started(SERVED))
    if what == "full disk":
        nodes.sh(SERVED, "mount --types tmpfs --options size=8m tmpfs /boot")
    try:
        play = nodes.playbook("deploy.yml", "-l", SERVED, *DRIVER_TAGS, extra=extra)
    finally:
        nodes.sh(SERVED, "umount /boot", check=False)
    said = refusal(play, SERVED)
    missing = [word for word in words if word not in said]
    assert not missing, f"not said: {missing}\n{said}"
    assert "No package was changed" in said or "Nothing was changed" in said, said
    assert (apt_state(nodes, SERVED), nodes.started(SERVED)) == before
    assert boots(nodes, SERVED) == 1


def test_driver_is_not_exchanged_below_a_server(nodes: Fleet, deployed: Play) -> None:
    before = (apt_state(nodes, SERVED), nodes.started(SERVED))
    play = nodes.playbook("deploy.yml", "-l", SERVED, *DRIVER_TAGS, extra={"fleet_nvidia_branch": "590"})
    said = refusal(play, SERVED)
    assert "sglang@0.service" in said
    assert "fleet_reboot_while_serving" in said
    assert (apt_state(nodes, SERVED), nodes.started(SERVED)) == before


# --- A driver that the image refuses, and one that it accepts -------------------------------------------------------


def install_545(nodes: Fleet, packages: Packages, host: str) -> dict[str, str]:
    """The branch 545 with its Fabric Manager, as an operator installed it: what the host then has of NVIDIA's."""
    source = f"deb [trusted=yes] {packages.url('nvidia/debian12/x86_64')} /"
    names = " ".join(
        f"{name}=545.23.08-1"
        for name in (
            *("nvidia-driver-cuda", "nvidia-kernel-open-dkms", "nvidia-kernel-support", "nvidia-persistenced"),
            *("firmware-nvidia-gsp", "libcuda1", "libnvidia-ml1", "nvidia-fabricmanager-545"),
        )
    )
    nodes.sh(
        host,
        f"echo '{source}' > /etc/apt/sources.list.d/by-hand.list; apt-get update -qq\n"
        f"DEBIAN_FRONTEND=noninteractive apt-get install -y -qq {names} && rm /etc/apt/sources.list.d/by-hand.list",
    )
    run("docker", "restart", nodes.nodes[host].container).succeeded()
    eventually("the node is back", lambda: nodes.ansible(host, "-m", "ansible.builtin.ping").rc == 0, attempts=60)
    assert loaded(nodes, host) == "545.23.08"
    return of_nvidia(nodes, host)


def test_545_under_cu130_is_upgraded_because_of_the_image_alone(nodes: Fleet, packages: Packages) -> None:
    """An H200 runs on 545, and so does nothing of the GPU's ask for more: the image's own list does."""
    assert install_545(nodes, packages, OLD_CU130)["nvidia-fabricmanager-545"] == "545.23.08-1"
    image = "v0.5.10.post1-cu130"  # an operator who wants it on this hardware
    catalogue = {
        "images": {image: {"hardware": ["cuda", "cuda13", "cuda13-grace"]}},
        "models": {"MiniMax-M2.7": {"images": {"cuda": image}}},
    }
    asked = {"fleet_catalogue": catalogue}
    never = nodes.playbook("deploy.yml", "-l", OLD_CU130, *DRIVER_TAGS, extra={**asked, "fleet_reboot": "never"})
    said = refusal(never, OLD_CU130)
    assert "fleet_reboot is never" in said
    assert "Nothing was changed" in said
    assert of_nvidia(nodes, OLD_CU130)["nvidia-driver-cuda"] == "545.23.08-1"
    before = boots(nodes, OLD_CU130)
    play = nodes.playbook("deploy.yml", "-l", OLD_CU130, *DRIVER_TAGS, extra=asked).succeeded()
    reason = "NVIDIA 545.23.08 does not do: the image starts on NVIDIA 580 or newer or the branch 535, 550, 565, 570 or 575; NVIDIA 580 "
    assert reason in said_by(play), str(play)
    found = of_nvidia(nodes, OLD_CU130)
    assert "nvidia-fabricmanager-545" not in found
    assert {found[name] for name in HELD} == {"580.95.05-1"}
    assert held(nodes, OLD_CU130) >= HELD
    assert (loaded(nodes, OLD_CU130), boots(nodes, OLD_CU130)) == ("580.95.05", before + 1)
    assert nodes.playbook("deploy.yml", "-l", OLD_CU130, *DRIVER_TAGS, extra=asked).succeeded().changed() == {
        OLD_CU130: 0
    }


@pytest.fixture(scope="module")
def old(nodes: Fleet, packages: Packages) -> dict[str, str]:
    """A node with the branch 545: what it has of NVIDIA's."""
    return install_545(nodes, packages, OLD)


def test_branch_that_the_image_refuses_is_upgraded_with_fabric_manager_and_held(
    nodes: Fleet, old: dict[str, str]
) -> None:
    assert old["nvidia-fabricmanager-545"] == "545.23.08-1"
    before = boots(nodes, OLD)
    play = nodes.playbook("deploy.yml", "-l", OLD, *DRIVER_TAGS).succeeded()
    reason = "NVIDIA 545.23.08 does not do: B300 needs 580 or newer, and the image starts on NVIDIA 580 or newer"
    assert reason in said_by(play), str(play)
    found = of_nvidia(nodes, OLD)
    assert "nvidia-fabricmanager-545" not in found
    assert {found[name] for name in HELD} == {"580.95.05-1"}
    assert held(nodes, OLD) >= HELD
    assert loaded(nodes, OLD) == "580.95.05"
    assert boots(nodes, OLD) == before + 1
    # Eight B300 hang on NVLink 5.
    assert {"nvlsm", "infiniband-diags"} <= set(installed(nodes, OLD))
    assert nodes.sh(OLD, "cat /etc/modules-load.d/nvidia-fleet.conf").split()[-2:] == ["mlx5_core", "ib_umad"]
    assert nodes.playbook("deploy.yml", "-l", OLD, *DRIVER_TAGS).succeeded().changed() == {OLD: 0}


def test_branch_that_the_image_accepts_is_left_alone_and_the_run_says_why(nodes: Fleet) -> None:
    before = apt_state(nodes, FINE)
    play = nodes.playbook("deploy.yml", "-l", FINE, *DRIVER_TAGS).succeeded()
    assert "NVIDIA 570.133.20 is left alone: the image's own list accepts branch 570" in said_by(play)
    assert play.changed() == {FINE: 0}
    assert (apt_state(nodes, FINE), loaded(nodes, FINE), boots(nodes, FINE)) == (before, "570.133.20", 0)


def test_branch_that_is_accepted_is_changed_where_the_operator_asks(nodes: Fleet) -> None:
    play = nodes.playbook("deploy.yml", "-l", FINE, *DRIVER_TAGS, extra={"fleet_nvidia_branch": "580"}).succeeded()
    assert "nvidia_driver_branch is 580" in said_by(play)
    assert (loaded(nodes, FINE), boots(nodes, FINE)) == ("580.95.05", 1)


# --- To nothing -----------------------------------------------------------------------------------------------------

REMOVE = "playbooks/remove.yml"
ASKED = {"fleet_remove_host_software": True}


def test_removal_leaves_the_host_software_and_says_so(nodes: Fleet, deployed: Play) -> None:
    before = of_nvidia(nodes, SERVED)
    said = said_by(nodes.playbook(REMOVE, "-l", SERVED).succeeded())
    assert "of the host software stays; fleet_remove_host_software: true takes it away" in said
    assert "nvidia_driver (" in said
    assert of_nvidia(nodes, SERVED) == before


def test_host_software_is_not_taken_from_somebody_elses_container(nodes: Fleet, deployed: Play) -> None:
    before = apt_state(nodes, SERVED)
    some = "docker run --detach --name theirs --entrypoint sleep $(docker images --quiet | head -n 1) 3600"
    nodes.sh(SERVED, some)
    try:
        said = refusal(nodes.playbook(REMOVE, "-l", SERVED, extra=ASKED), SERVED)
    finally:
        nodes.sh(SERVED, "docker rm --force theirs")
    assert "is still used by 1 running container(s)" in said
    assert "Of the host software nothing was removed" in said
    assert apt_state(nodes, SERVED) == before


def test_host_software_is_removed_where_that_is_asked_for(nodes: Fleet, deployed: Play) -> None:
    check = nodes.playbook(REMOVE, "-l", SERVED, "--check", extra=ASKED).succeeded()
    assert "of the host software would go" in said_by(check)
    assert of_nvidia(nodes, SERVED), "check mode removes nothing"
    nodes.playbook(REMOVE, "-l", SERVED, extra=ASKED).succeeded()
    assert of_nvidia(nodes, SERVED) == {}
    assert held(nodes, SERVED) == set()
    assert not nodes.sh(SERVED, "find /var/lib/sglang-fleet -name installed.json 2> /dev/null", check=False)
    again = nodes.playbook(REMOVE, "-l", SERVED, extra=ASKED).succeeded()
    assert again.changed() == {SERVED: 0}, str(again)
