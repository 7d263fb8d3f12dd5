# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""AMD's driver on nodes of the lab: virgin ones, one with too old a driver, one with the kernel's own.

The repository is the lab's: packages of the real names and versions, signed for real; next to nothing in them. What a
distribution has comes from Debian's archive. These tests build on one another.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from fleetlab.packages import Packages, ensure_packages
from fleetlab.settings import AUTO, Node
from fleetlab.shell import parallel
from tests.lab.support import Fleet, Play, fresh_nodes

pytestmark = pytest.mark.lab

OWNER = "rocm"
BARE = ("rc-bare-12", "rc-bare-13")
NEW = ("rc-new-12",)
OLD, OWN = "rc-old", "rc-own"
GROUPS = ("gpu_nodes", "amd")
NODES = (
    Node(BARE[0], "bookworm", "mi300x:8,nodriver", AUTO, GROUPS, owner=OWNER),
    Node(BARE[1], "trixie", "mi300x:8,nodriver", AUTO, GROUPS, owner=OWNER),
    Node(NEW[0], "bookworm", "mi300x:8,nodriver", AUTO, GROUPS, owner=OWNER),
    Node(OLD, "bookworm", "mi300x:8,nodriver", AUTO, GROUPS, owner=OWNER),
    Node(OWN, "trixie", "mi300x:8,inbox", AUTO, GROUPS, owner=OWNER),
)
AMD_KEY = "CA8BB4727A47B4D09B4EE8969386B48A1A693C5C"
SUITE = {BARE[0]: "22.04", BARE[1]: "24.04", OLD: "22.04"}
TUNED = "pci=realloc=off iommu=pt"

_PLAYBOOK = """\
- name: Have the driver, and no server
  hosts: gpu_nodes
  gather_facts: false
  become: true
  tasks:
    - name: Plan
      ansible.builtin.import_role:
        name: sglang.fleet.launch_plan
      vars:
        launch_plan_require_driver: false
    - name: Have the driver
      ansible.builtin.import_role:
        name: sglang.fleet.rocm
    - name: Reboot once
      ansible.builtin.import_role:
        name: sglang.fleet.node_reboot
"""
_REMOVAL = """\
- name: Take the driver away
  hosts: gpu_nodes
  gather_facts: false
  become: true
  tasks:
    - name: Remove
      ansible.builtin.import_role:
        name: sglang.fleet.rocm
        tasks_from: remove
"""


@pytest.fixture(scope="module")
def packages() -> Packages:
    return ensure_packages()


@pytest.fixture(scope="module")
def amd(lab_supply: None, packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The nodes. Each has the headers of the kernel that it runs among its distribution's packages."""
    with fresh_nodes(OWNER, NODES, tmp_path_factory) as fleet:
        (fleet.scratch / "driver.yml").write_text(_PLAYBOOK)
        (fleet.scratch / "removal.yml").write_text(_REMOVAL)
        kernel = packages.url("kernel")
        source = f"echo 'deb [trusted=yes] {kernel} /' > /etc/apt/sources.list.d/own.list; apt-get -qq update"
        parallel(*(functools.partial(fleet.sh, host, source) for host in fleet.nodes))
        yield fleet


def mirror(packages: Packages, variant: str = "good") -> dict[str, Any]:
    """An operator's variables for a mirror of AMD's repositories."""
    return {
        "rocm_repository_url": packages.url("", variant).rstrip("/"),
        "rocm_key_url": packages.key_url(variant),
        "rocm_key_fingerprints": [packages.fingerprint],
    }


def driver(fleet: Fleet, *words: str, extra: Mapping[str, Any]) -> Play:
    return fleet.playbook(str(fleet.scratch / "driver.yml"), *words, extra=extra)


def software(fleet: Fleet, host: str) -> str:
    """Packages, holds, apt's sources, boot loader and record: what a failure must leave as it was."""
    return fleet.sh(
        host,
        "dpkg-query --show --showformat '${Package} ${Version} ${Status}\\n'; apt-mark showhold\n"
        "find /etc/apt /etc/default /etc/sysctl.d /boot /var/lib/sglang-fleet -type f -printf '%p ' -exec sha256sum {} ';'"
        " 2> /dev/null | sort; cat /proc/sys/kernel/random/boot_id",
        check=False,
    )


def modules(fleet: Fleet, host: str) -> tuple[str, str]:
    """Version of the loaded amdgpu, and the kernel's command line."""
    version = fleet.sh(host, "cat /sys/module/amdgpu/version 2> /dev/null || true").strip()
    return version, fleet.sh(host, "cat /proc/cmdline").strip()


def versions(fleet: Fleet, host: str) -> dict[str, str]:
    """AMD's packages, `(held)` behind the version of those that are."""
    out = fleet.sh(
        host, "dpkg-query --show --showformat '${Package} ${Version} ${db:Status-Want}\\n' 'amd*' 'rocm*'", check=False
    )
    rows = (line.split() for line in out.splitlines())
    return {
        row[0]: row[1] + (" (held)" if row[2] == "hold" else "")
        for row in rows
        if len(row) == 3 and row[2] != "unknown"
    }


# --- What cannot be trusted or had changes nothing ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "more", "message"),
    [
        pytest.param(
            "good",
            {"rocm_key_fingerprints": []},
            rf"has the fingerprint [0-9A-F]{{40}}; expected is {AMD_KEY}\. It is not trusted",
            id="a key of another fingerprint",
        ),
        pytest.param("wrong-key", {}, "is not signed by the key that it should be signed by", id="another signature"),
        pytest.param("down", {}, "Connection refused.*the repository does not answer", id="a repository that is down"),
        pytest.param(
            "good",
            {"rocm_release": "30.30.4"},
            r"amdgpu/30\.30\.4/ubuntu.*the repository has no such path",
            id="a release that is not there",
        ),
    ],
)
def test_a_failure_says_why_and_leaves_the_host_as_it_was(
    amd: Fleet, packages: Packages, variant: str, more: dict[str, Any], message: str
) -> None:
    before = {host: software(amd, host) for host in BARE}
    play = driver(amd, "-l", ",".join(BARE), extra={**mirror(packages, variant), **more})
    assert play.failed() == dict.fromkeys(BARE, 1), str(play)
    assert play.changed() == dict.fromkeys(BARE, 0), str(play)
    said = [re.sub(r"\s+", " ", text) for text in play.messages()]
    for host in BARE:
        mine = [text for text in said if f"{host}: " in text]
        assert len(mine) == 1, str(play)
        assert re.search(message, mine[0]), mine[0]
        assert "No package was changed. (The role's variables for this are rocm_repository_url" in mine[0]
        assert software(amd, host) == before[host]


def test_a_full_disk_is_found_before_anything_is_fetched(amd: Fleet, packages: Packages) -> None:
    host = BARE[0]
    before = software(amd, host)
    amd.sh(host, "mount -t tmpfs -o size=8m tmpfs /boot")
    play = driver(amd, "-l", host, extra=mirror(packages, "down"))
    amd.sh(host, "umount /boot")
    assert play.failed() == {host: 1}, str(play)
    assert re.search(r"no room for amdgpu and its build: /boot has [78] MiB, of 200 needed\. Make room", play.out), str(
        play
    )
    assert software(amd, host) == before


def test_check_mode_says_what_would_come_and_changes_nothing(amd: Fleet, packages: Packages) -> None:
    before = {host: software(amd, host) for host in BARE}
    play = driver(amd, "-l", ",".join(BARE), "--check", "--diff", extra=mirror(packages)).succeeded()
    assert {host: software(amd, host) for host in BARE} == before
    for line in ("+amdgpu-dkms", '+GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX pci=realloc=off iommu=pt"'):
        assert play.out.count(line) >= len(BARE), str(play)
    for host in BARE:
        assert f"{host} would reboot: amdgpu 6.16.13 is new on the host" in re.sub(r"\s+", " ", play.out)
        assert play.changed()[host] > 0


# --- Virgin nodes ---------------------------------------------------------------------------------------------------


def test_a_bare_node_has_the_driver_after_one_reboot(amd: Fleet, packages: Packages) -> None:
    boots = {host: amd.sh(host, "cat /proc/sys/kernel/random/boot_id") for host in BARE}
    play = driver(amd, "-l", ",".join(BARE), extra=mirror(packages)).succeeded()
    for host in BARE:
        assert boots[host] != amd.sh(host, "cat /proc/sys/kernel/random/boot_id")
        assert len(re.findall(rf"^changed: \[{host}\]$", _task(play, "Reboot | Reboot the host"), re.MULTILINE)) == 1
        version, cmdline = modules(amd, host)
        assert version == "6.16.13"
        assert cmdline.endswith(TUNED)
        number = SUITE[host]
        assert versions(amd, host) == {
            "amd-smi-lib": f"26.2.1.70200-43~{number} (held)",
            "amdgpu-dkms": f"1:6.16.13.30300000-2278356.{number} (held)",
            "amdgpu-dkms-firmware": f"30.30.0.0.30300000-2278356.{number} (held)",
            "rocm-core": f"7.2.0.70200-43~{number}",
        }
        assert "amdgpu version: 6.16.13" in amd.sh(host, "amd-smi version")
        assert amd.sh(host, "cat /etc/apt/preferences.d/amdgpu").splitlines()[-3:] == [
            "Package: *",
            "Pin: release o=repo.radeon.com",
            "Pin-Priority: 600",
        ]
        policy = amd.sh(host, "apt-cache policy amd-smi-lib")
        assert re.search(rf"\*\*\* 26\.2\.1\.70200-43~{number} 600$", policy, re.MULTILINE), policy
        assert amd.sh(host, "cat /etc/sysctl.d/60-sglang-fleet-rocm.conf").endswith("kernel.numa_balancing = 0\n")
        assert "linux-headers-" in amd.sh(host, "dpkg-query --show --showformat '${Package}\\n' 'linux-headers-*'")


def _task(play: Play, name: str) -> str:
    """What the run said under a task's title, of which there may be one for each host."""
    return "\n".join(part.partition("\nTASK [")[0] for part in play.out.split(f" : {name}]")[1:])


def test_a_second_run_changes_nothing_and_does_not_reboot(amd: Fleet, packages: Packages) -> None:
    before = {host: software(amd, host) for host in BARE}
    play = driver(amd, "-l", ",".join(BARE), extra=mirror(packages)).succeeded()
    assert play.changed() == dict.fromkeys(BARE, 0), str(play)
    # A host that needs nothing is asked twice: for its GPUs and for its software.
    assert {host: play.recap[host]["ok"] for host in BARE} == dict.fromkeys(BARE, play.recap[BARE[0]]["ok"])
    assert {host: software(amd, host) for host in BARE} == before
    # Not even a repository that is down by now matters.
    assert driver(amd, "-l", BARE[0], extra=mirror(packages, "down")).succeeded().changed() == {BARE[0]: 0}


def test_held_packages_do_not_move_with_an_upgrade_of_everything(amd: Fleet, packages: Packages) -> None:
    older = packages.url("amdgpu/30.10.1/ubuntu")
    out = amd.sh(
        BARE[0],
        f"sed 's#^URIs: .*#URIs: {older}/#' /etc/apt/sources.list.d/amdgpu.sources > /etc/apt/sources.list.d/moved.sources\n"
        "mv /etc/apt/sources.list.d/amdgpu.sources /root/; apt-get -qq update\n"
        "apt-get --simulate dist-upgrade --allow-downgrades; echo rc $?\n"
        "mv /root/amdgpu.sources /etc/apt/sources.list.d/; rm /etc/apt/sources.list.d/moved.sources; apt-get -qq update",
    )
    assert "rc 0" in out
    assert "Inst amdgpu-dkms" not in out


# --- A driver that the image refuses --------------------------------------------------------------------------------


def test_a_driver_below_the_images_floor_is_upgraded(amd: Fleet, packages: Packages) -> None:
    old = packages.url("amdgpu/6.4.3/ubuntu")
    amd.sh(
        OLD,
        f"echo 'deb [trusted=yes] {old} jammy main' > /etc/apt/sources.list.d/old.list; apt-get -qq update\n"
        "apt-get -qq install --yes amdgpu-dkms > /dev/null; apt-mark hold amdgpu-dkms; rm /etc/apt/sources.list.d/old.list",
    )
    amd.ansible(OLD, "--become", "--module-name", "ansible.builtin.reboot").succeeded()
    assert modules(amd, OLD)[0] == "6.12.12"
    kept = driver(amd, "-l", OLD, extra={**mirror(packages), "fleet_driver": "keep"}).succeeded()
    assert kept.changed() == {OLD: 0}
    play = driver(amd, "-l", OLD, extra=mirror(packages)).succeeded()
    assert "amdgpu 6.12.12 is there, and the planned image needs amdgpu 30.10 (module 6.14.14) or newer" in re.sub(
        r"\s+", " ", play.out
    )
    assert modules(amd, OLD)[0] == "6.16.13"
    assert versions(amd, OLD)["amdgpu-dkms"] == "1:6.16.13.30300000-2278356.22.04 (held)"
    assert driver(amd, "-l", OLD, extra=mirror(packages)).succeeded().changed() == {OLD: 0}


# --- The kernel's own driver ----------------------------------------------------------------------------------------


def test_the_kernels_own_driver_is_left_alone_and_the_plan_says_why(amd: Fleet, packages: Packages) -> None:
    before = software(amd, OWN)
    play = driver(amd, "-l", OWN, extra=mirror(packages, "down")).succeeded()
    assert play.changed() == {OWN: 0}
    assert software(amd, OWN) == before
    shown = driver(amd, "-l", OWN, "-v", extra=mirror(packages, "down")).succeeded()
    assert "the kernel's own amdgpu drives the GPUs; it tells no version to compare, so it is left alone" in re.sub(
        r"\s+", " ", shown.out
    )


def test_the_distributions_own_tools_beside_it(amd: Fleet) -> None:
    """Debian's real packages, from Debian's archive."""
    play = driver(amd, "-l", OWN, extra={"fleet_driver_source": "distribution"}).succeeded()
    assert play.changed()[OWN] > 0
    assert re.match(r"6\.1\.", versions(amd, OWN)["rocm-smi"])
    # They run. They ask the driver itself, of which the lab has nothing, so that they find no GPU.
    assert "usage: rocm-smi" in amd.sh(OWN, "rocm-smi --help")
    assert "ROCk module" in amd.sh(OWN, "rocminfo", check=False)
    assert driver(amd, "-l", OWN, extra={"fleet_driver_source": "distribution"}).succeeded().changed() == {OWN: 0}


def test_the_operator_can_have_amds_driver_in_its_place(amd: Fleet, packages: Packages) -> None:
    driver(amd, "-l", OWN, extra={**mirror(packages), "rocm_driver": "install", "rocm_user": "ansible"}).succeeded()
    assert modules(amd, OWN)[0] == "6.16.13"
    assert set(versions(amd, OWN)) == {"amd-smi-lib", "amdgpu-dkms", "amdgpu-dkms-firmware", "rocm-core"}
    assert {"render", "video"} <= set(amd.sh(OWN, "id --name --groups ansible").split())


# --- From nothing to serving ----------------------------------------------------------------------------------------


def test_deploy_alone_brings_a_bare_node_to_serving(amd: Fleet, packages: Packages) -> None:
    play = amd.playbook("deploy.yml", "-l", ",".join(NEW), extra=mirror(packages)).succeeded()
    for host in NEW:
        assert len(re.findall(rf"^changed: \[{host}\]$", _task(play, "Reboot | Reboot the host"), re.MULTILINE)) == 1
        assert amd.serves(host)
        assert modules(amd, host)[0] == "6.16.13"
    started = {host: amd.started(host) for host in NEW}
    again = amd.playbook("deploy.yml", "-l", ",".join(NEW), extra=mirror(packages)).succeeded()
    assert again.changed() == dict.fromkeys(NEW, 0), str(again)
    assert {host: amd.started(host) for host in NEW} == started


@pytest.mark.parametrize(
    ("more", "message"),
    [
        pytest.param(
            {"rocm_release": "30.10.1"},
            "a reboot would be due .* sglang@0.* runs",
            id="a server that runs",
        ),
        pytest.param(
            {"rocm_release": "30.30.4", "fleet_reboot_while_serving": True},
            "the repository has no such path",
            id="a release that is not there",
        ),
    ],
)
def test_a_failure_leaves_the_running_server_alone(
    amd: Fleet, packages: Packages, more: dict[str, Any], message: str
) -> None:
    host = NEW[0]
    before, started = software(amd, host), amd.started(host)
    play = amd.playbook("deploy.yml", "-l", host, extra={**mirror(packages), "rocm_driver": "install", **more})
    assert play.failed() == {host: 1}, str(play)
    assert re.search(message, re.sub(r"\s+", " ", " ".join(play.messages()))), str(play)
    assert (software(amd, host), amd.started(host)) == (before, started)
    assert amd.serves(host)


# --- Removal --------------------------------------------------------------------------------------------------------


def test_removal_takes_what_the_role_installed_and_nothing_else(amd: Fleet, packages: Packages) -> None:
    everything = ",".join((*BARE, OLD))
    boots = json.dumps({host: amd.sh(host, "cat /proc/sys/kernel/random/boot_id") for host in BARE})
    play = amd.playbook(str(amd.scratch / "removal.yml"), "-l", everything).succeeded()
    for host in BARE:
        assert play.changed()[host] > 0
        assert versions(amd, host) == {}
        assert not amd.sh(
            host,
            "ls /etc/apt/preferences.d /etc/apt/keyrings /etc/default/grub.d /etc/sysctl.d | grep -i -e amd -e rocm",
            check=False,
        )
        assert amd.sh(host, "ls /etc/apt/sources.list.d").split() == ["own.list"]
        assert "sglang" not in amd.sh(host, "cat /boot/grub/cmdline")
        assert TUNED not in amd.sh(host, "cat /boot/grub/cmdline")
    # It was there before the role came.
    assert versions(amd, OLD)["amdgpu-dkms"].startswith("1:6.16.13")
    assert json.loads(boots) == {host: amd.sh(host, "cat /proc/sys/kernel/random/boot_id") for host in BARE}
    again = amd.playbook(str(amd.scratch / "removal.yml"), "-l", everything).succeeded()
    assert again.changed() == dict.fromkeys((*BARE, OLD), 0)
