# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an AMD host is to get, from facts; the catalogue's own data."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import DriverFloor
from ansible_collections.sglang.fleet.plugins.module_utils._drivers import DriverError
from ansible_collections.sglang.fleet.plugins.module_utils._drivers_amd import (
    GRUB_DROP_IN,
    SYSCTL_DROP_IN,
    AmdWishes,
    amd_driver_plan,
)
from ansible_collections.sglang.fleet.plugins.module_utils._packages import Repository, Wanted

DATA = yaml.safe_load((Path(__file__).parents[4] / "catalogue" / "drivers.yml").read_text())["drivers"]["amd"]
FLOOR = DriverFloor("amdgpu", "6.14.14", "amdgpu 30.10 (module 6.14.14)", (), "amdgpu 30.30")
GPU = {"vendor": "amd", "count": 8}
KERNEL = "6.1.0-40-amd64"
TUNED = "root=/dev/sda1 ro pci=realloc=off iommu=pt"
KEY = "CA8BB4727A47B4D09B4EE8969386B48A1A693C5C"
INSTALLED = {"amdgpu-dkms": "1:6.16.13.30300000-2278356.22.04"}


def host(system: str = "debian-12", **changes: t.Any) -> dict[str, t.Any]:
    """A bare host; changes go over its facts."""
    os_id, version = system.split("-")
    facts: dict[str, t.Any] = {
        "os": {"id": os_id, "version_id": version, "id_like": "", "codename": ""},
        "arch": "x86_64",
        "kernel": KERNEL,
        "boot_id": "first",
        "headers": False,
        "secure_boot": False,
        "cmdline": "root=/dev/sda1 ro",
        "packages": {"dkms": "3.0.12"} if os_id == "rhel" else {},
        "held": [],
        "dkms": [],
        "modules": {"amdgpu": {"loaded": None, "installed": None}},
        "free_mib": {"/usr": 50000, "/var": 50000, "/boot": 500},
        "records": {},
        "sysctl": {"kernel.numa_balancing": "1"},
    }
    return {**facts, **changes}


def loaded(version: str | None) -> dict[str, t.Any]:
    return {"amdgpu": {"loaded": version, "installed": None}}


def plan(facts: dict[str, t.Any], floor: t.Any = FLOOR, gpu: t.Any = None, **wishes: t.Any) -> dict[str, t.Any]:
    return amd_driver_plan(facts, GPU if gpu is None else gpu, floor, AmdWishes(**wishes), DATA)


def refusal(facts: dict[str, t.Any], **wishes: t.Any) -> str:
    with pytest.raises(DriverError) as caught:
        plan(facts, **wishes)
    return str(caught.value)


def test_a_bare_debian_gets_the_driver_and_amd_smi() -> None:
    result = plan(host())
    assert result["action"] == "install"
    assert result["reason"] == "no amdgpu driver is there; amdgpu 30.30 (module 6.16.13) comes from AMD"
    assert (result["branch"], result["version"], result["expect"]) == ("30.30", "6.16.13", {"amdgpu": "6.16.13"})
    assert result["reboot_reasons"] == ["amdgpu 6.16.13 is new on the host"]
    assert result["repositories"] == [
        {
            "name": "amdgpu",
            "url": "https://repo.radeon.com/amdgpu/30.30/ubuntu",
            "suite": "jammy",
            "components": ["main"],
            "architectures": ["amd64"],
            "key_url": "https://repo.radeon.com/rocm/rocm.gpg.key",
            "key_fingerprints": [KEY],
            "pin": 600,
            "pin_by": "release o=repo.radeon.com",
        },
        {
            "name": "rocm",
            "url": "https://repo.radeon.com/rocm/apt/7.2",
            "suite": "jammy",
            "components": ["main"],
            "architectures": ["amd64"],
            "key_url": "https://repo.radeon.com/rocm/rocm.gpg.key",
            "key_fingerprints": [KEY],
            "pin": 600,
            "pin_by": "release o=repo.radeon.com",
        },
    ]
    assert result["headers"] == [f"linux-headers-{KERNEL}"]
    assert result["packages"] == [
        {"name": "amdgpu-dkms", "version": "*6.16.13.30300000-*"},
        {"name": "amdgpu-dkms-firmware", "version": "*.30300000-*"},
        {"name": "amd-smi-lib", "version": ""},
    ]
    assert result["hold"] == ["amdgpu-dkms", "amdgpu-dkms-firmware", "amd-smi-lib"]
    assert {file["path"]: file["content"].splitlines()[-1] for file in result["files"]} == {
        GRUB_DROP_IN: 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX pci=realloc=off iommu=pt"',
        SYSCTL_DROP_IN: "kernel.numa_balancing = 0",
    }
    assert result["cmdline"] == ["pci=realloc=off", "iommu=pt"]


@pytest.mark.parametrize(
    ("system", "suite"),
    [("debian-12", "jammy"), ("debian-13", "noble"), ("ubuntu-22.04", "jammy"), ("ubuntu-24.04", "noble")],
)
def test_each_apt_system_has_the_suite_that_amd_names(system: str, suite: str) -> None:
    assert {repository["suite"] for repository in plan(host(system))["repositories"]} == {suite}


def test_ubuntu_gets_the_extra_modules_of_its_kernel_too() -> None:
    kernel = "6.8.0-60-generic"
    wanted = [f"linux-headers-{kernel}", f"linux-modules-extra-{kernel}"]
    assert plan(host("ubuntu-24.04", kernel=kernel))["headers"] == wanted
    there = host("ubuntu-24.04", kernel=kernel, headers=True)
    assert plan(there)["headers"] == wanted[1:]
    there["packages"] = {wanted[1]: "6.8.0-60.63"}
    assert plan(there)["headers"] == []


@pytest.mark.parametrize(
    ("system", "url", "user_space"),
    [
        ("rhel-8.10", "amdgpu/30.30/el/8.10/main/x86_64/", "rocm/el8/7.2/main"),
        ("rocky-9.6", "amdgpu/30.30/el/9.6/main/x86_64/", "rocm/el9/7.2/main"),
        ("rhel-9.7", "amdgpu/30.30/el/9.7/main/x86_64/", "rocm/el9/7.2/main"),
        ("almalinux-10.1", "amdgpu/30.30/el/10/main/x86_64/", "rocm/el10/7.2/main"),
    ],
)
def test_el_has_a_folder_for_each_minor_version_and_no_suite(system: str, url: str, user_space: str) -> None:
    result = plan(host(system))
    assert [(row["url"], row["suite"], row["components"]) for row in result["repositories"]] == [
        (f"https://repo.radeon.com/{url}", "", []),
        (f"https://repo.radeon.com/{user_space}", "", []),
    ]
    assert result["packages"] == [
        {"name": "amdgpu-dkms", "version": "*6.16.13-*"},
        {"name": "amd-smi-lib", "version": ""},
    ]
    # grubby sets the command line there, not a file.
    assert [file["path"] for file in result["files"]] == [SYSCTL_DROP_IN]
    assert result["cmdline"] == ["pci=realloc=off", "iommu=pt"]


@pytest.mark.parametrize(
    ("system", "headers"),
    [
        ("rhel-8.10", ["kernel-headers-K", "kernel-devel-K"]),
        ("rocky-9.6", ["kernel-headers-K", "kernel-devel-K", "kernel-devel-matched-K"]),
        ("rhel-10.0", ["kernel-headers-K", "kernel-devel-K"]),
        ("ol-9.6", ["kernel-uek-devel-K"]),
    ],
)
def test_el_headers_are_of_the_running_kernel(system: str, headers: list[str]) -> None:
    assert plan(host(system, kernel="K"))["headers"] == headers


def test_el_headers_that_are_there_are_not_asked_for() -> None:
    kernel = "5.14.0-570.el9.x86_64"
    there = {"kernel-headers": "5.14.0-570.el9", "kernel-devel": "5.14.0-570.el9"}
    assert plan(host("rocky-9.6", kernel=kernel, packages=there))["headers"] == [f"kernel-devel-matched-{kernel}"]


@pytest.mark.parametrize(
    ("facts", "wishes", "action", "reason"),
    [
        (
            {"modules": loaded("6.16.6")},
            {},
            "none",
            "amdgpu 6.16.6 is there, and the image asks for amdgpu 30.10 (module 6.14.14) or newer: it is left alone",
        ),
        (
            {"modules": loaded("in-tree")},
            {},
            "none",
            "the kernel's own amdgpu drives the GPUs; it tells no version to compare, so it is left alone. Set rocm_driver to "
            "install for amdgpu 30.30",
        ),
        (
            {"modules": loaded("in-tree")},
            {"driver": "install"},
            "install",
            "amdgpu 30.30 is asked for; found the kernel's own amdgpu",
        ),
        (
            {"modules": loaded("6.12.12"), "packages": {"amdgpu-dkms": "1:6.12.12.60403-2194681.22.04"}},
            {},
            "upgrade",
            "amdgpu 6.12.12 is there, and the planned image needs amdgpu 30.10 (module 6.14.14) or newer; amdgpu 30.30 brings "
            "module 6.16.13",
        ),
        (
            {"modules": loaded("6.14.14"), "packages": {"amdgpu-dkms": "1:6.14.14.30100100-2212064.22.04"}},
            {"driver": "install"},
            "upgrade",
            "amdgpu 30.30 is asked for; found 1:6.14.14.30100100-2212064.22.04",
        ),
        (
            {"modules": loaded("6.16.13"), "packages": INSTALLED},
            {"driver": "install"},
            "none",
            "amdgpu 30.30 is installed",
        ),
        ({}, {"driver": "keep"}, "none", "rocm_driver is keep: the driver is left as it is"),
        ({"arch": "aarch64"}, {"driver": "keep"}, "none", "rocm_driver is keep: the driver is left as it is"),
        (
            {
                "packages": INSTALLED,
                "dkms": [{"module": "amdgpu", "version": "x", "kernel": "6.1.0-39-amd64", "state": "installed"}],
            },
            {},
            "install",
            f"amdgpu-dkms 6.16.13 is installed, but not built for the running kernel {KERNEL}",
        ),
    ],
)
def test_what_is_there_decides(facts: dict[str, t.Any], wishes: dict[str, t.Any], action: str, reason: str) -> None:
    result = plan(host(**facts), **wishes)
    assert (result["action"], result["reason"]) == (action, reason)
    if action == "none":
        assert not result["packages"]
        assert not result["repositories"]
        assert not result["files"]
        assert not result["reboot_reasons"]


def test_without_amd_gpus_there_is_nothing_to_do() -> None:
    for gpu in ({"vendor": None, "count": 0}, {"vendor": "nvidia", "count": 8}):
        assert plan(host(), gpu=gpu)["reason"] == "there is no AMD GPU"


def test_without_a_planned_image_any_driver_will_do() -> None:
    assert plan(host(modules=loaded("6.3.6")), floor=None)["action"] == "none"


def test_an_older_branch_of_the_image_is_left_alone() -> None:
    floor = replace(FLOOR, branches=("6.12",))
    assert plan(host(modules=loaded("6.12.12")), floor)["action"] == "none"


def test_user_space_comes_with_the_driver_or_when_asked_for() -> None:
    running = host(modules=loaded("6.16.13"))
    assert plan(running)["packages"] == []
    asked = plan(running, user_space="smi")
    assert asked["action"] == "install"
    assert asked["reason"].endswith("it is left alone; of the user space amd-smi-lib is missing")
    assert [row["name"] for row in asked["packages"]] == ["amd-smi-lib"]
    assert [row["name"] for row in asked["repositories"]] == ["rocm"]
    assert asked["headers"] == []
    assert asked["files"] == []
    assert [row["name"] for row in plan(running, user_space="full")["packages"]] == ["amd-smi-lib", "rocm"]
    assert [row["name"] for row in plan(host(), user_space="none")["repositories"]] == ["amdgpu"]
    asked = plan({**running, "records": {"rocm": {"held": ["amdgpu-dkms"]}}}, user_space="smi")
    assert asked["hold"] == ["amd-smi-lib", "amdgpu-dkms"]
    there = host(modules=loaded("6.16.13"), packages={"amd-smi-lib": "26.2.1.70200-43~22.04"})
    assert plan(there, user_space="smi")["action"] == "none"


def test_the_distributions_user_space_leaves_the_driver_alone() -> None:
    result = plan(host("debian-13", modules=loaded("in-tree")), source="distribution")
    assert result["reason"].startswith("rocm_source is distribution, and the kernel's own amdgpu drives the GPUs")
    assert [row["name"] for row in result["packages"]] == ["amd-smi", "rocm-smi", "rocminfo"]
    assert result["repositories"] == []
    assert result["hold"] == []
    assert result["files"] == []


def test_amds_packages_take_the_place_of_the_distributions_that_the_role_installed() -> None:
    there = {"amd-smi": "6.1.2+ds-2", "rocminfo": "6.1.2-2"}
    facts = host("debian-13", modules=loaded("in-tree"), packages=there)
    assert plan(facts, driver="install")["remove"] == []
    facts["records"] = {"rocm": {"packages": {"amd-smi": "6.1.2+ds-2"}}}
    assert plan(facts, driver="install")["remove"] == ["amd-smi"]
    assert plan(facts)["remove"] == []


def test_a_mirror_keeps_the_folders_and_brings_its_own_key() -> None:
    result = plan(host(), repository_url="http://mirror/amd/", key_fingerprints=("AB" * 20,))
    assert [row["url"] for row in result["repositories"]] == [
        "http://mirror/amd/amdgpu/30.30/ubuntu",
        "http://mirror/amd/rocm/apt/7.2",
    ]
    assert {row["key_url"] for row in result["repositories"]} == {"http://mirror/amd/rocm/rocm.gpg.key"}
    assert {tuple(row["key_fingerprints"]) for row in result["repositories"]} == {("AB" * 20,)}
    assert plan(host(), key_url="http://keys/amd")["repositories"][0]["key_url"] == "http://keys/amd"


def test_another_release_and_rocm() -> None:
    result = plan(host(), release="30.30.4", rocm_version="7.2.4")
    assert [row["url"] for row in result["repositories"]] == [
        "https://repo.radeon.com/amdgpu/30.30.4/ubuntu",
        "https://repo.radeon.com/rocm/apt/7.2.4",
    ]
    assert result["packages"][0]["version"] == "*6.16.13.30300400-*"


def test_the_files_of_an_apt_host() -> None:
    driver, user_space = (Repository.of(row) for row in plan(host("debian-13"))["repositories"])
    assert driver.sources("/etc/apt/keyrings/amdgpu.gpg").splitlines()[1:] == [
        "Types: deb",
        "URIs: https://repo.radeon.com/amdgpu/30.30/ubuntu/",
        "Suites: noble",
        "Components: main",
        "Architectures: amd64",
        "Signed-By: /etc/apt/keyrings/amdgpu.gpg",
    ]
    # AMD's own preference, to the letter.
    for repository in (driver, user_space):
        assert repository.preferences().splitlines()[1:] == [
            "Package: *",
            "Pin: release o=repo.radeon.com",
            "Pin-Priority: 600",
        ]


def test_the_files_of_a_dnf_host() -> None:
    driver, user_space = (Repository.of(row) for row in plan(host("rocky-9.6"))["repositories"])
    key = "/etc/pki/rpm-gpg/RPM-GPG-KEY-amdgpu"
    assert driver.yum(key).splitlines()[1:] == [
        "[amdgpu]",
        "name=amdgpu",
        "baseurl=https://repo.radeon.com/amdgpu/30.30/el/9.6/main/x86_64",
        "enabled=1",
        "gpgcheck=1",
        "repo_gpgcheck=0",
        f"gpgkey=file://{key}",
        "priority=90",
    ]
    assert "baseurl=https://repo.radeon.com/rocm/el9/7.2/main" in user_space.yum(key).splitlines()


@pytest.mark.parametrize(
    ("system", "offered"),
    [
        ("debian-12", "1:6.16.13.30300000-2278356.22.04"),
        ("ubuntu-24.04", "1:6.16.13.30300000-2278356.24.04"),
        ("rhel-9.6", "1:6.16.13-2278356.el9"),
        ("rhel-10.0", "0:6.16.13-2278356.el10"),
    ],
)
def test_the_version_asked_for_is_the_one_that_amd_publishes(system: str, offered: str) -> None:
    wanted = Wanted.of(plan(host(system))["packages"][0])
    assert wanted.accepts(offered)
    for other in (
        offered.replace("6.16.13", "6.16.6"),
        offered.replace("30300000", "30300100").replace("6.16.13-", "6.16.14-"),
    ):
        assert not wanted.accepts(other)


# Reboots


def test_an_installed_module_that_is_not_loaded_asks_for_a_reboot() -> None:
    result = plan(host(packages=INSTALLED))
    assert result["action"] == "none"
    assert result["reboot_reasons"] == ["amdgpu 6.16.13 is installed and none is loaded"]
    assert result["expect"] == {"amdgpu": "6.16.13"}
    older = plan(host(packages=INSTALLED, modules=loaded("6.12.12")))
    assert older["reboot_reasons"] == ["amdgpu 6.16.13 is installed and 6.12.12 is loaded"]


def test_a_reboot_that_did_not_help_is_an_error_not_another_reboot() -> None:
    facts = host(packages=INSTALLED, records={"rocm": {"boot_id": "before", "module": "6.16.13"}}, secure_boot=True)
    assert refusal(facts) == (
        "amdgpu 6.16.13 is installed, and the reboot since did not load it (no amdgpu is loaded). Look at `dkms status` and "
        "`dmesg | grep -i amdgpu` on the host; secure boot is on, and refuses modules whose key is not enrolled. Nothing was "
        "changed."
    )
    facts["records"]["rocm"]["boot_id"] = "first"
    assert plan(facts)["reboot_reasons"]


def test_a_module_that_was_upgraded_by_hand_has_had_no_reboot() -> None:
    record = {"rocm": {"boot_id": "before", "module": "6.16.6"}}
    result = plan(host(packages=INSTALLED, modules=loaded("6.16.6"), records=record))
    assert (result["action"], result["version"]) == ("none", "6.16.13")
    assert result["reboot_reasons"] == ["amdgpu 6.16.13 is installed and 6.16.6 is loaded"]


# A new kernel

BEHIND = [{"module": "amdgpu", "version": "x", "kernel": "6.1.0-39-amd64", "state": "installed"}]
OF_30_10 = {"amdgpu-dkms": "1:6.14.14.30100100-2212064.22.04"}
NEWER = {"amdgpu-dkms": "1:7.0.1.31000000-2300000.22.04"}


@pytest.mark.parametrize(
    ("facts", "wishes", "module"),
    [
        ({"packages": OF_30_10}, {}, "6.14.14"),  # not the default release, and nobody asked for that
        ({"packages": NEWER}, {}, "7.0.1"),
        ({"packages": OF_30_10}, {"driver": "install", "release": "30.10.1"}, "6.14.14"),
        ({"packages": OF_30_10, "dkms": [{**BEHIND[0], "kernel": KERNEL, "state": "built"}]}, {}, "6.14.14"),
        ({"packages": OF_30_10, "modules": loaded("in-tree")}, {}, "6.14.14"),
        ({"packages": OF_30_10, "records": {"rocm": {"boot_id": "before", "module": "6.14.14"}}}, {}, "6.14.14"),
    ],
)
def test_after_a_kernels_update_what_is_installed_is_built(
    facts: dict[str, t.Any], wishes: dict[str, t.Any], module: str
) -> None:
    found = {"dkms": BEHIND, **facts}
    result = plan(host(**found), **wishes)
    assert (result["action"], result["branch"], result["version"]) == ("install", None, module)
    assert (result["packages"], result["repositories"], result["files"]) == ([], [], [])
    assert [entry if isinstance(entry, str) else entry["name"] for entry in result["headers"]] == [
        f"linux-headers-{KERNEL}"
    ]
    assert result["reboot_reasons"] == [f"amdgpu {module} is built anew for the kernel {KERNEL}"]
    assert plan(host(**found, headers=True), **wishes)["headers"] == []
    assert plan(host(**{**found, "packages": {**found["packages"], f"linux-headers-{KERNEL}": "1"}}))["headers"] == []


def test_a_build_that_cannot_be_is_refused_and_a_wish_goes_before_it() -> None:
    facts = host(packages=OF_30_10, dkms=BEHIND)
    assert "secure boot is on" in refusal({**facts, "secure_boot": True})
    assert "no room for amdgpu and its build" in refusal({**facts, "free_mib": {"/usr": 1}})
    assert plan(facts, driver="install")["branch"] == "30.30"
    old = plan({**facts, "packages": {"amdgpu-dkms": "1:6.12.12.60403-2194681.22.04"}})
    assert (old["action"], old["branch"]) == ("upgrade", "30.30"), "the image would refuse what is installed"


def test_the_command_line_asks_for_a_reboot_until_the_kernel_has_it() -> None:
    record = {"rocm": {"boot_id": "first", "cmdline": ["pci=realloc=off", "iommu=pt"]}}
    facts = host(packages=INSTALLED, modules=loaded("6.16.13"), records=record)
    reasons = ["the running kernel's command line lacks pci=realloc=off iommu=pt"]
    assert plan(facts)["reboot_reasons"] == reasons
    assert plan(facts, tuning="never")["reboot_reasons"] == []
    assert plan({**facts, "cmdline": TUNED})["reboot_reasons"] == []
    since = plan({**facts, "boot_id": "second"})
    assert since["reboot_reasons"] == []
    assert since["notes"] == [
        "the boot loader was given pci=realloc=off iommu=pt, and the kernel that booted since does not have it: look at the "
        "host's boot loader configuration"
    ]


def test_tuning_is_not_forced_on_a_host_that_runs() -> None:
    running = host(modules=loaded("6.16.13"))
    assert plan(running)["files"] == []
    assert plan(running)["cmdline"] == []
    asked = plan(running, tuning="always")
    assert [file["path"] for file in asked["files"]] == [GRUB_DROP_IN, SYSCTL_DROP_IN]
    assert asked["sysctl"] == {"kernel.numa_balancing": "0"}
    tuned = host(modules=loaded("6.16.13"), cmdline=TUNED, sysctl={"kernel.numa_balancing": "0"})
    assert plan(tuned, tuning="always")["files"] == []
    assert plan(host(), tuning="never")["files"] == []


# Refusals


@pytest.mark.parametrize(
    ("facts", "wishes", "message"),
    [
        (
            {"arch": "aarch64"},
            {},
            "AMD's driver and ROCm are for x86_64 only; found aarch64. Set rocm_driver to keep to leave this host's driver as "
            "it is. Nothing was changed.",
        ),
        (
            {"system": "fedora-42"},
            {},
            "AMD has packages for debian-12, debian-13, ubuntu-22.04, ubuntu-24.04, el-8.10, el-9.4, el-9.6, el-9.7, el-10.0, "
            "el-10.1; found fedora 42. Bring the host to one of these, or install a driver by hand and set rocm_driver to "
            "keep. Nothing was changed.",
        ),
        (
            {"system": "debian-13"},
            {"release": "30.10.1"},
            "amdgpu 30.10.1 has no packages for debian 13; AMD covers it from 30.10.2 on. Set rocm_release to 30.10.2, 30.20, "
            "30.20.1, 30.30, 30.30.1, 30.30.3 or 30.30.4. Nothing was changed.",
        ),
        (
            {"free_mib": {"/usr": 900, "/var": 50000, "/boot": 20}},
            {},
            "no room for amdgpu and its build: /usr has 900 MiB, of 2048 needed; /boot has 20 MiB, of 200 needed. Make room and "
            "run again. Nothing was changed.",
        ),
        ({}, {"driver": "newest"}, "rocm_driver is 'newest'; allowed: auto, install, keep. Nothing was changed."),
        (
            {"system": "ubuntu-22.04", "modules": loaded("in-tree")},
            {"source": "distribution"},
            "rocm_source is distribution, which the role knows packages of on debian-12, debian-13, ubuntu-24.04; found ubuntu "
            "22.04. Set rocm_source to vendor, or rocm_user_space to none. Nothing was changed.",
        ),
    ],
)
def test_a_refusal_says_what_was_found_and_what_to_do(
    facts: dict[str, t.Any], wishes: dict[str, t.Any], message: str
) -> None:
    assert refusal(host(**facts), **wishes) == message


def test_secure_boot_is_explained_unless_the_key_is_enrolled() -> None:
    facts = host(secure_boot=True)
    assert refusal(facts).startswith("secure boot is on: the kernel refuses the module that DKMS builds")
    assert plan(facts, secure_boot_enrolled=True)["action"] == "install"
    assert plan(host(secure_boot=None))["action"] == "install"
    # A module of DKMS that is loaded shows that its key is enrolled.
    assert plan(host(secure_boot=True, modules=loaded("6.12.12")))["action"] == "upgrade"
    assert plan(host(secure_boot=True, modules=loaded("in-tree")))["action"] == "none"


def test_the_distributions_driver_must_run() -> None:
    assert refusal(host("debian-13"), source="distribution").startswith(
        "rocm_source is distribution, where the kernel's own amdgpu is the driver, and no amdgpu is loaded."
    )


def test_a_release_below_the_images_floor_is_refused() -> None:
    floor = replace(FLOOR, minimum="6.16.13", minimum_title="amdgpu 30.30 (module 6.16.13)")
    for facts in (host(), host(modules=loaded("6.14.14"))):
        with pytest.raises(DriverError) as caught:
            plan(facts, floor, release="30.20")
        assert str(caught.value) == (
            "amdgpu 30.20 installs module 6.16.6, and the planned image needs amdgpu 30.30 (module 6.16.13) or newer. Set "
            "rocm_release to 30.30, 30.30.1, 30.30.3 or 30.30.4. Nothing was changed."
        )


def test_dkms_comes_from_epel_ahead_of_the_driver() -> None:
    assert plan(host("rocky-9.6"))["before"] == ["epel-release"]
    assert plan(host("ol-9.6"))["before"] == ["oracle-epel-release-el9"]
    assert plan(host("rhel-9.6"))["before"] == []
    assert plan(host())["before"] == []
    found = plan(host("rhel-9.6", packages={}))
    assert found["before"] == ["dkms"]  # a mirror may have it
    assert "epel-release-latest-9.noarch.rpm" in found["notes"][0]
