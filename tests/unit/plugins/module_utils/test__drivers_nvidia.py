# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import (
    DriverFloor,
    check_schema,
    load_catalogue,
    read_data,
)
from ansible_collections.sglang.fleet.plugins.module_utils._drivers import DriverError, accepted, system_of, upstream
from ansible_collections.sglang.fleet.plugins.module_utils._drivers_nvidia import nvidia_driver_plan
from ansible_collections.sglang.fleet.plugins.module_utils._nvidia_host import NvidiaWishes

CATALOGUE = load_catalogue()
DATA = CATALOGUE.data["drivers"]["nvidia"]
CUDA12 = CATALOGUE.images["v0.5.10.post1"].driver
CUDA13 = CATALOGUE.images["v0.5.10.post1-cu130"].driver
KERNEL = "6.1.0-40-cloud-amd64"
NOT_LOADED: dict[str, str | None] = {"loaded": None, "installed": None}
EL = {"id": "rocky", "id_like": "rhel centos fedora"}
SYSTEMS = {
    "ubuntu-22.04": {"id": "ubuntu", "version_id": "22.04", "id_like": "debian", "codename": "jammy"},
    "ubuntu-24.04": {"id": "ubuntu", "version_id": "24.04", "id_like": "debian", "codename": "noble"},
    "debian-12": {"id": "debian", "version_id": "12", "id_like": "", "codename": "bookworm"},
    "debian-13": {"id": "debian", "version_id": "13", "id_like": "", "codename": "trixie"},
    "el-9": {**EL, "version_id": "9.4", "codename": ""},
    "el-10": {**EL, "version_id": "10.0", "codename": ""},
}
Plan = dict[str, t.Any]


def host(system: str = "debian-12", loaded: str | None = None, **changes: t.Any) -> Plan:
    modules = {name: dict(NOT_LOADED) for name in ("nvidia", "amdgpu", "nouveau")}
    modules["nvidia"]["loaded"] = loaded
    found = {
        "os": SYSTEMS.get(system, {"id": system.split("-")[0], "version_id": system.split("-")[1], "id_like": ""}),
        "arch": "x86_64",
        "kernel": KERNEL,
        "headers": False,
        "secure_boot": False,
        "packages": {},
        "held": [],
        "dkms": [],
        "nvswitches": 4,
        "fabric_manager": loaded,  # of the same make as the driver, not from a package
        "modules": modules,
        "records": {},
    }
    return {**found, **changes}


def plan(node: Plan, model: str = "H200", floor: DriverFloor | None = CUDA12, **wishes: t.Any) -> Plan:
    loaded = node["modules"]["nvidia"]["loaded"]
    gpu = {
        "vendor": "nvidia",
        "model": model,
        "count": 8,
        "driver": {"name": None, "version": loaded, "loaded": loaded is not None},
    }
    return nvidia_driver_plan(node, gpu, floor, NvidiaWishes(**wishes), DATA)


def built(version: str, kernel: str, state: str = "installed") -> dict[str, str]:
    return {"module": "nvidia", "version": version, "kernel": kernel, "state": state}


def names(found: Plan) -> list[str]:
    return [package["name"] for package in found["packages"]]


def refusal(node: Plan, **arguments: t.Any) -> str:
    with pytest.raises(DriverError) as caught:
        plan(node, **arguments)
    assert str(caught.value).endswith("Nothing was changed.")
    return str(caught.value)


def test_catalogue_keeps_to_its_schema() -> None:
    check_schema({"drivers": read_data()["drivers"]}, only={"drivers": {"nvidia": {}}})


@pytest.mark.parametrize(("system", "os"), SYSTEMS.items())
def test_system_of(system: str, os: dict[str, str]) -> None:
    assert system_of(os) == system


@pytest.mark.parametrize(
    ("package", "version"),
    [
        ("3:580.95.05-1.el9", "580.95.05"),
        ("580.95.05-0ubuntu1", "580.95.05"),
        ("535.261.03-1", "535.261.03"),
        ("580", "580"),
    ],
)
def test_upstream(package: str, version: str) -> None:
    assert upstream(package) == version


# --- Left alone, or not ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "floor", "why"),
    [
        ("570.133.20", CUDA12, "the image's own list accepts branch 570"),
        ("575.57.08", CUDA12, "the image asks for NVIDIA 575 or newer"),
        ("595.45.04", CUDA12, "the image asks for NVIDIA 575 or newer"),
        ("535.309.01", CUDA13, "the image's own list accepts branch 535"),
        ("575.57.08", CUDA13, "the image's own list accepts branch 575"),
        ("580.65.06", CUDA13, "the image asks for NVIDIA 580 or newer"),
        ("545.23.08", CUDA13, None),
        ("525.147.05", CUDA12, None),
        ("555.42.06", CUDA12, None),
        ("5700.1", CUDA12, "the image asks for NVIDIA 575 or newer"),
        ("57.0", CUDA12, None),
    ],
)
def test_what_the_image_accepts(version: str, floor: DriverFloor, why: str | None) -> None:
    assert accepted(floor, version) == why
    found = plan(host(loaded=version), floor=floor)
    assert found["action"] == ("none" if why else "upgrade")
    if why:
        assert found["reason"] == f"NVIDIA {version} is left alone: {why}"
        assert (found["packages"], found["hold"], found["files"], found["reboot_reasons"]) == ([], [], [], [])


def test_refused_branch_is_upgraded_to_the_floor_with_fabric_manager_and_held() -> None:
    packages = {
        "nvidia-driver-cuda": "545.23.08-1",
        "nvidia-kernel-open-dkms": "545.23.08-1",
        "nvidia-fabricmanager-545": "545.23.08-1",
        "nvidia-container-toolkit": "1.18.0-1",
    }
    found = plan(host(loaded="545.23.08", packages=packages), floor=CUDA13)
    assert (found["action"], found["branch"], found["modules"]) == ("upgrade", "580", "open")
    assert "the image starts on NVIDIA 580 or newer or the branch 535, 550, 565, 570 or 575" in found["reason"]
    assert found["packages"] == [
        {"name": name, "version": "580.*", "group": "nvidia"}
        for name in ("nvidia-driver-cuda", "nvidia-persistenced", "nvidia-kernel-open-dkms", "nvidia-fabricmanager-580")
    ]
    assert found["hold"] == sorted(names(found))
    assert found["remove"] == ["nvidia-fabricmanager-545"]
    assert found["services"] == ["nvidia-persistenced.service", "nvidia-fabricmanager.service"]
    assert found["reboot_reasons"] == ["NVIDIA 545.23.08 is loaded and 580 installed"]


def test_the_operator_may_ask_for_another() -> None:
    found = plan(host(loaded="570.133.20"), branch="580")
    assert (found["action"], found["branch"], found["downgrade"]) == ("upgrade", "580", False)
    assert "nvidia_driver_branch is 580" in found["reason"]
    found = plan(host(loaded="595.45.04"), version="580.95.05")
    assert (found["action"], found["downgrade"], found["packages"][0]["version"]) == ("upgrade", True, "580.95.05-*")
    found = plan(host(loaded="580.95.05"), branch="580")
    assert found["reason"] == "NVIDIA 580.95.05 is left alone: it is the one that is asked for"


def test_keep_installs_nothing() -> None:
    found = plan(host(), driver="keep")
    assert (found["action"], found["packages"]) == ("none", [])


def test_gpu_that_the_driver_is_too_old_for() -> None:
    found = plan(host(loaded="570.86.15", nvswitches=0), model="B200")
    assert (found["action"], found["branch"]) == ("upgrade", "580")
    assert "B200 needs 570.133.20 or newer" in found["reason"]


# --- What is installed ----------------------------------------------------------------------------------------------

UBUNTU_580 = ["libnvidia-compute-580", "libnvidia-cfg1-580", "nvidia-utils-580", "nvidia-compute-utils-580"]


@pytest.mark.parametrize(
    ("system", "branch", "wanted"),
    [
        ("ubuntu-24.04", "580", [*UBUNTU_580, "nvidia-dkms-580-open", "nvidia-fabricmanager-580"]),
        (
            "ubuntu-22.04",
            "595",
            ["libnvidia-compute", "libnvidia-cfg1", "nvidia-persistenced", "nvidia-dkms-open", "nvidia-fabricmanager"],
        ),
        (
            "debian-12",
            "580",
            ["nvidia-driver-cuda", "nvidia-persistenced", "nvidia-kernel-open-dkms", "nvidia-fabricmanager-580"],
        ),
        (
            "debian-13",
            "590",
            ["nvidia-driver-cuda", "nvidia-persistenced", "nvidia-kernel-open-dkms", "nvidia-fabricmanager"],
        ),
        ("el-9", "580", ["nvidia-driver-cuda", "nvidia-persistenced", "kmod-nvidia-open-dkms", "nvidia-fabricmanager"]),
    ],
)
def test_names_up_to_580_and_from_590(system: str, branch: str, wanted: list[str]) -> None:
    found = plan(host(system), branch=branch)
    assert names(found) == wanted
    assert {package["version"] for package in found["packages"]} == {f"{branch}.*"}


@pytest.mark.parametrize(
    ("system", "arch", "url", "key", "fingerprint"),
    [
        ("ubuntu-22.04", "x86_64", "ubuntu2204/x86_64", "3bf863cc.pub", "EB693B3035CD5710E231E123A4B469963BF863CC"),
        ("ubuntu-24.04", "aarch64", "ubuntu2404/sbsa", "3bf863cc.pub", "EB693B3035CD5710E231E123A4B469963BF863CC"),
        ("debian-12", "x86_64", "debian12/x86_64", "3bf863cc.pub", "EB693B3035CD5710E231E123A4B469963BF863CC"),
        ("debian-13", "aarch64", "debian13/sbsa", "8793F200.pub", "02182E60104FCDC26EAE1B8597A5D4CB8793F200"),
        ("el-9", "aarch64", "rhel9/sbsa", "D42D0685.pub", "610C7B14E068A878070DA4E99CD0A493D42D0685"),
    ],
)
def test_repository(system: str, arch: str, url: str, key: str, fingerprint: str) -> None:
    [repository] = plan(host(system, arch=arch))["repositories"]
    base = f"https://developer.download.nvidia.com/compute/cuda/repos/{url}"
    assert (repository["url"], repository["key_url"]) == (base, f"{base}/{key}")
    assert (repository["key_fingerprints"], repository["suite"], repository["pin"]) == ([fingerprint], "/", 600)


def test_branch_is_locked_where_apt_would_take_a_newer_one() -> None:
    [repository] = plan(host())["repositories"]
    [pin] = repository["pins"]
    assert (pin["version"], pin["priority"]) == ("580.*", 1000)
    assert {"nvidia-*", "libnvidia-*", "libcuda1"} <= set(pin["packages"].split())
    [repository] = plan(host("el-9"))["repositories"]
    assert "pins" not in repository


def test_a_mirror_with_a_key_of_its_own() -> None:
    wishes: Plan = {
        "repository_url": "http://mirror/{system}/{arch}",
        "key_url": "http://mirror/key",
        "key_fingerprints": ("AB" * 20,),
    }
    [repository] = plan(host(), **wishes)["repositories"]
    assert (repository["url"], repository["key_url"]) == ("http://mirror/debian12/x86_64", "http://mirror/key")
    assert repository["key_fingerprints"] == ["AB" * 20]


def test_rhel_9_takes_the_module_stream_and_rhel_10_has_none() -> None:
    [stream] = plan(host("el-9"))["files_first"]
    assert stream["path"] == "/etc/dnf/modules.d/nvidia-driver.module"
    assert stream["content"] == "[nvidia-driver]\nname=nvidia-driver\nstream=580-open\nprofiles=\nstate=enabled\n"
    assert "stream=580-dkms" in plan(host("el-9"), modules="proprietary")["files_first"][0]["content"]
    found = plan(host("el-10"), key_fingerprints=("CD" * 20,))
    assert found["files_first"] == []
    assert "fingerprint of NVIDIA's key for RHEL 10" in refusal(host("el-10"))


@pytest.mark.parametrize(
    ("system", "kernel", "wanted"),
    [
        ("debian-12", KERNEL, [f"linux-headers-{KERNEL}"]),
        ("ubuntu-24.04", "6.8.0-85-generic", ["linux-headers-6.8.0-85-generic"]),
        ("el-9", "5.14.0-427.el9.x86_64", ["kernel-devel-5.14.0-427.el9.x86_64"]),
    ],
)
def test_headers_of_the_running_kernel(system: str, kernel: str, wanted: list[str]) -> None:
    assert plan(host(system, kernel=kernel))["headers"] == wanted
    assert plan(host(system, kernel=kernel, headers=True))["headers"] == []
    assert plan(host(system, kernel=kernel), headers=False)["headers"] == []


@pytest.mark.parametrize(
    ("model", "switches", "manager", "nvlink5"),
    [
        ("H200", 4, True, False),
        ("H200", 0, False, False),
        ("B200", 0, True, True),
        ("B300", 0, True, True),
        ("GB300", 0, False, False),
    ],
)
def test_fabric_manager_where_nvswitches_are(model: str, switches: int, manager: bool, nvlink5: bool) -> None:
    found = plan(host(nvswitches=switches), model=model)
    assert ("nvidia-fabricmanager-580" in names(found)) is manager
    assert ("nvidia-fabricmanager.service" in found["services"]) is manager
    assert ({"nvlsm", "infiniband-diags"} <= set(names(found))) is nvlink5
    modules = [file["content"] for file in found["files"] if file["path"].startswith("/etc/modules-load.d/")]
    assert bool(modules) is nvlink5
    if nvlink5:
        assert modules[0].splitlines()[1:] == ["mlx5_core", "ib_umad"]
        # They have versions of their own.
        assert {p["version"] for p in found["packages"] if p["name"] in ("nvlsm", "infiniband-diags")} == {""}
        assert "nvlsm" not in found["hold"]


def test_imex_only_where_asked_for() -> None:
    assert "nvidia-imex-580" not in names(plan(host(arch="aarch64", nvswitches=0), model="GB300", floor=CUDA13))
    found = plan(host(arch="aarch64", nvswitches=0), model="GB300", floor=CUDA13, imex=True)
    assert "nvidia-imex-580" in names(found)
    assert "nvidia-imex.service" in found["services"]


def test_nouveau_is_kept_away() -> None:
    node = host(packages={"initramfs-tools": "0.142"})
    node["modules"]["nouveau"] = {"loaded": "in-tree", "installed": "in-tree"}
    found = plan(node)
    assert "blacklist nouveau\n" in found["files"][0]["content"]
    assert found["initramfs"] == ["update-initramfs", "-u"]
    assert found["reboot_reasons"] == ["NVIDIA 580 is not loaded yet", "nouveau holds the GPUs"]
    assert plan(host(packages={"dracut": "1"}))["initramfs"] == ["dracut", "--force"]
    assert plan(host())["initramfs"] == []


# --- Open and proprietary modules -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "arch", "refused"),
    [
        ("H200", "x86_64", False),
        ("H200", "aarch64", True),
        ("B200", "x86_64", True),
        ("GB300", "aarch64", True),
        ("A100", "x86_64", False),
    ],
)
def test_proprietary_modules_only_where_they_work(model: str, arch: str, refused: bool) -> None:
    node = host(arch=arch)
    if refused:
        assert f"{model} with" in refusal(node, model=model, floor=CUDA13, modules="proprietary")
    else:
        assert "nvidia-kernel-dkms" in names(plan(node, model=model, modules="proprietary"))
    assert plan(node, model=model)["modules"] == "open"


def test_the_other_kind_of_modules_makes_way() -> None:
    node = host(loaded="545.23.08", packages={"nvidia-kernel-dkms": "545.23.08-1", "nvidia-driver-cuda": "545.23.08-1"})
    assert plan(node)["remove"] == ["nvidia-kernel-dkms"]


# --- Refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "wishes", "words"),
    [
        (
            "debian-12",
            {"branch": "545"},
            "NVIDIA 545 is asked for, and cannot serve here: the image starts on NVIDIA 575 or newer",
        ),
        ("debian-12", {"branch": "581"}, "no branch of NVIDIA's driver for data centres; there are 535, 545"),
        ("debian-12", {"branch": "570", "version": "580.95.05"}, "580.95.05 is not of nvidia_driver_branch 570"),
        ("debian-11", {}, "found debian-11"),
        ("el-9", {"source": "distribution"}, "RHEL 9 and its family has no driver"),
        ("debian-12", {"source": "distribution", "branch": "580"}, "Debian 12 has 535, not 580"),
        ("debian-12", {"source": "distribution"}, "behind NVSwitches, which need Fabric Manager"),
    ],
)
def test_refusals(system: str, wishes: Plan, words: str) -> None:
    assert words in refusal(host(system), **wishes)


def test_branch_that_the_gpu_is_too_new_for() -> None:
    assert "B300 needs 580 or newer" in refusal(host(), model="B300", floor=CUDA13, branch="570")


def test_arch_without_packages() -> None:
    assert "riscv64" in refusal(host(arch="riscv64"))


def test_driver_of_a_run_file_is_left_to_the_operator() -> None:
    node = host(loaded="545.23.08")
    node["modules"]["nvidia"]["installed"] = "545.23.08"
    assert "`nvidia-uninstall`" in refusal(node)
    assert plan({**node, "packages": {"nvidia-kernel-open-dkms": "545.23.08-1"}})["action"] == "upgrade"


def test_secure_boot_is_explained() -> None:
    said = refusal(host(secure_boot=True))
    assert "mokutil" in said
    assert "cannot be done unattended" in said
    assert "set nvidia_driver_secure_boot_enrolled to true" in said
    assert "nvidia_driver_source" not in said
    assert plan(host(secure_boot=True), secure_boot_enrolled=True)["action"] == "install"
    # Its module of DKMS runs, so the key is enrolled; Ubuntu's signed one proves nothing of it.
    old: Plan = {"secure_boot": True, "packages": {"nvidia-kernel-open-dkms": "545.23.08-1"}}
    assert plan(host(loaded="545.23.08", dkms=[built("545.23.08", KERNEL)], **old))["action"] == "upgrade"
    assert "mokutil" in refusal(host(loaded="545.23.08", **old))
    assert "nvidia_driver_source to distribution" in refusal(host("ubuntu-24.04", secure_boot=True))
    found = plan(host("ubuntu-24.04", secure_boot=True), source="distribution")
    assert f"linux-modules-nvidia-580-server-open-{KERNEL}" in names(found)
    # A driver that is there has passed the firmware.
    assert plan(host(loaded="580.95.05", secure_boot=True))["action"] == "none"


# --- The distribution's own -----------------------------------------------------------------------------------------


def test_debian_has_its_own() -> None:
    found = plan(host(nvswitches=0), source="distribution")
    assert (found["branch"], found["modules"]) == ("535", "proprietary")
    assert names(found) == ["nvidia-smi", "libcuda1", "nvidia-persistenced", "nvidia-kernel-dkms"]
    [repository] = found["repositories"]
    assert (repository["suite"], repository["components"]) == ("bookworm", ["contrib", "non-free", "non-free-firmware"])
    assert "B200 needs 570.133.20" in refusal(host(nvswitches=0), model="B200", source="distribution", branch="550")
    assert "Debian 12 has 535" in refusal(host(nvswitches=0), model="B200", source="distribution")


def test_ubuntu_has_its_own() -> None:
    found = plan(host("ubuntu-24.04"), source="distribution")
    assert (found["branch"], found["repositories"], found["headers"]) == ("580", [], [])
    assert "nvidia-fabricmanager-580" in names(found)


# --- Afterwards -----------------------------------------------------------------------------------------------------

INSTALLED = {
    "nvidia-driver-cuda": "580.95.05-1",
    "nvidia-kernel-open-dkms": "580.95.05-1",
    "libnvidia-ml1": "580.95.05-1",
    "libcuda1": "580.95.05-1",
    "nvidia-container-toolkit": "1.18.0-1",
}
HELD = ["libcuda1", "libnvidia-ml1", "nvidia-driver-cuda", "nvidia-kernel-open-dkms"]


def test_installed_and_not_yet_loaded() -> None:
    found = plan(host(packages=INSTALLED, records={"nvidia_driver": {"packages": INSTALLED}}))
    assert (found["action"], found["expect"]) == ("install", {"nvidia": "580.95.05"})
    assert "did not come to its end" in found["reason"]
    assert set(HELD) <= set(found["hold"])
    assert "nvidia-container-toolkit" not in found["hold"]
    assert found["reboot_reasons"] == ["NVIDIA 580.95.05 is not loaded yet"]


def test_done() -> None:
    done = {"nvidia_driver": {"configured": True, "packages": INSTALLED}}
    found = plan(host(loaded="580.95.05", packages=INSTALLED, held=HELD, records=done))
    assert (found["action"], found["hold"], found["reboot_reasons"]) == ("none", HELD, [])


def test_a_hold_that_was_taken_off_comes_back_where_the_driver_is_ours() -> None:
    done = {"nvidia_driver": {"configured": True, "held": ["libcuda1", "gone", "linux-modules-nvidia-580-open-x"]}}
    there = {**INSTALLED, "linux-modules-nvidia-580-open-x": "6.8.0-85.85"}
    # All of them: host_packages lets go of what it held and is not named again.
    hold = sorted([*HELD, "linux-modules-nvidia-580-open-x"])
    for held in ([], HELD[1:], hold):
        assert plan(host(loaded="580.95.05", packages=there, held=held, records=done))["hold"] == hold
    assert plan(host(loaded="580.95.05", packages=INSTALLED))["hold"] == []


def test_a_reboot_that_is_still_due() -> None:
    node = host(loaded="545.23.08", packages=INSTALLED, held=HELD, records={"nvidia_driver": {"configured": True}})
    node["fabric_manager"] = "580.95.05"
    found = plan(node, floor=CUDA13)
    assert (found["action"], found["expect"]) == ("none", {"nvidia": "580.95.05"})
    assert found["reboot_reasons"] == ["NVIDIA 545.23.08 is loaded and 580.95.05 installed"]


# --- A driver that stays, and lacks something -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "manager", "name", "words", "remove", "downgrade"),
    [
        ("debian-12", {}, "nvidia-fabricmanager-580", "Fabric Manager is missing", [], False),
        (
            "ubuntu-24.04",
            {"nvidia-fabricmanager-580": "580.65.06-1"},
            "nvidia-fabricmanager-580",
            "Fabric Manager is 580.65.06",
            [],
            False,
        ),
        (
            "debian-12",
            {"nvidia-fabricmanager-570": "570.133.20-1"},
            "nvidia-fabricmanager-580",
            "Fabric Manager is 570.133.20",
            ["nvidia-fabricmanager-570"],
            False,
        ),
        (
            "el-9",
            {"nvidia-fabricmanager": "580.105.08-1"},
            "nvidia-fabricmanager",
            "Fabric Manager is 580.105.08",
            [],
            True,
        ),
    ],
)
def test_fabric_manager_comes_alone_at_the_version_of_a_driver_that_stays(
    system: str, manager: dict[str, str], name: str, words: str, remove: list[str], downgrade: bool
) -> None:
    node = host(system, loaded="580.95.05", packages={**INSTALLED, **manager}, fabric_manager=None)
    found = plan(node)
    assert (found["action"], found["expect"]) == ("install", {"nvidia": "580.95.05"})
    assert found["reason"].startswith(
        "NVIDIA 580.95.05 is left alone: the image asks for NVIDIA 575 or newer; but " + words
    )
    assert found["packages"] == [{"name": name, "version": "580.95.05-*", "group": "nvidia"}]
    assert (found["remove"], found["downgrade"], found["reboot_reasons"]) == (remove, downgrade, [])
    assert found["services"] == ["nvidia-fabricmanager.service"]
    # The driver is the operator's: what is held and locked is Fabric Manager alone.
    assert found["hold"] == [name]
    [repository] = found["repositories"]
    pins = [(pin["packages"], pin["version"]) for pin in repository.get("pins", [])]
    assert pins == ([] if system == "el-9" else [(name, "580.95.05-*")])
    # In one that this role installed both are held, else one moves without the other.
    ours = plan({**node, "records": {"nvidia_driver": {"configured": True, "held": HELD}}})
    assert set(ours["hold"]) == {name, *HELD}
    assert [pin["packages"] != name for pin in ours["repositories"][0].get("pins", [])] == [True] * len(pins)
    assert (found["files"], found["headers"], found["before"]) == ([], [], [])
    mended = {**node, "packages": {**INSTALLED, name: "580.95.05-1"}}
    assert plan(mended)["action"] == "none"
    assert plan(node, driver="keep")["action"] == "none"
    assert plan({**node, "nvswitches": 0})["action"] == "none"


def test_fabric_manager_that_no_package_brought_is_noted() -> None:
    found = plan(host(loaded="580.95.05", packages=INSTALLED, fabric_manager="580.65.06"))
    assert (found["action"], found["packages"]) == ("none", [])
    [note] = found["notes"]
    assert note.startswith("Fabric Manager is 580.65.06 and the driver 580.95.05: they must be of one version")
    found = plan(host(loaded="580.95.05", packages=INSTALLED, fabric_manager="unknown"))
    assert (found["action"], found["notes"]) == ("none", [])


def test_what_nvlink_5_lacks_is_mended() -> None:
    packages = {**INSTALLED, "nvidia-fabricmanager-580": "580.95.05-1"}
    node = host(loaded="580.95.05", packages=packages, nvswitches=0)
    found = plan(node, model="B200")
    assert "but nvlsm, which NVLink 5 needs, is missing" in found["reason"]
    assert names(found) == ["nvlsm", "infiniband-diags"]
    # Nothing that a server would feel: neither modules nor Fabric Manager, and nothing to lock.
    assert (found["modules"], found["services"], found["hold"]) == (None, [], [])
    assert found["repositories"][0]["pins"] == []
    assert found["files"][-1]["path"] == "/etc/modules-load.d/nvidia-fleet.conf"
    assert plan({**node, "packages": {**packages, "nvlsm": "1"}}, model="B200")["action"] == "none"


@pytest.mark.parametrize(
    ("system", "packages", "record", "wishes"),
    [
        # A .run file's driver, whose headers were mended.
        ("debian-12", {}, {"packages": {f"linux-headers-{KERNEL}": "6.1"}}, {}),
        # Of a system whose key the catalogue lacks.
        ("el-10", {"kmod-nvidia-open-dkms": "3:580.95.05-1.el10"}, {"packages": {"kernel-devel": "6.12"}}, {}),
        # An operator's proprietary modules.
        ("ubuntu-24.04", {"nvidia-dkms-580": "580.95.05-0ubuntu1"}, {"packages": {"linux-headers-x": "6.8"}}, {}),
        ("debian-12", INSTALLED, {"held": ["nvidia-fabricmanager-580"]}, {"source": "distribution"}),
        ("debian-12", INSTALLED, {"configuration": ["/etc/modprobe.d/nvidia-fleet.conf"]}, {}),
    ],
)
def test_a_mend_that_broke_off_is_no_installation_of_ours(
    system: str, packages: Plan, record: Plan, wishes: Plan
) -> None:
    node = host(system, loaded="580.95.05", nvswitches=0, packages=packages, records={"nvidia_driver": record})
    found = plan(node, **wishes)
    assert (found["action"], found["remove"]) == ("none", [])
    # One whose modules this role installed, or took over by holding them, is brought to its end.
    if system == "debian-12":
        for ours in ({"packages": {"nvidia-kernel-open-dkms": "1"}}, {"held": ["nvidia-kernel-open-dkms"]}):
            again = {**node, "packages": INSTALLED, "records": {"nvidia_driver": ours}}
            assert "did not come to its end" in plan(again)["reason"]


def test_system_that_the_catalogue_lacks_is_told_and_not_refused() -> None:
    kernel = "6.14.0-15-generic"
    packages = {"nvidia-dkms-580-open": "580.95.05-1", "linux-image-6.14.0-36-generic": "6.14.0-36.36"}
    node = host(
        "ubuntu-25.04",
        loaded="580.95.05",
        kernel=kernel,
        packages=packages,
        nvswitches=0,
        dkms=[built("580.95.05", kernel)],
    )
    found = plan(node)
    assert (found["action"], len(found["notes"])) == ("none", 1)
    assert "install its headers, and DKMS builds it" in found["notes"][0]
    found = plan({**node, "nvswitches": 4, "fabric_manager": None})
    assert found["action"] == "none"
    assert "Fabric Manager is missing: on ubuntu-25.04 this role mends no driver" in found["notes"][-1]


def test_mend_where_the_distribution_has_no_driver() -> None:
    node = host("el-9", loaded="580.95.05", packages=INSTALLED, fabric_manager=None)
    assert names(plan(node, source="distribution")) == ["nvidia-fabricmanager"]


def test_nouveau_is_kept_away_from_a_driver_that_stays() -> None:
    node = host(packages={**INSTALLED, "initramfs-tools": "0.142"}, nvswitches=0)
    node["modules"]["nouveau"] = {"loaded": "in-tree", "installed": "in-tree"}
    found = plan(node)
    assert "nouveau has its GPUs" in found["reason"]
    assert [file["path"] for file in found["files"]] == ["/etc/modprobe.d/nvidia-fleet.conf"]
    assert (found["packages"], found["repositories"], found["initramfs"]) == ([], [], ["update-initramfs", "-u"])
    done = {"configured": True, "configuration": ["/etc/modprobe.d/nvidia-fleet.conf"]}
    again = plan({**node, "records": {"nvidia_driver": done}})
    assert (again["action"], again["reboot_reasons"][-1]) == ("none", "nouveau holds the GPUs")


OLD_KERNEL, NEW_KERNEL = "6.1.0-38-cloud-amd64", "6.1.0-41-cloud-amd64"


@pytest.mark.parametrize("record", [{}, {"nvidia_driver": {"configured": True}}])
@pytest.mark.parametrize("state", ["added", "built"])
def test_a_kernel_that_dkms_built_nothing_for_gets_headers_and_the_same_version(record: Plan, state: str) -> None:
    rows = [built("580.95.05", OLD_KERNEL), built("580.95.05", KERNEL if state == "built" else "", state)]
    node = host(packages=INSTALLED, nvswitches=0, dkms=rows, records=record)
    found = plan(node)
    assert (found["action"], found["version"], found["packages"]) == ("install", "580.95.05", [])
    assert f"DKMS has not built it for the kernel {KERNEL}" in found["reason"]
    assert (found["headers"], found["kernels"]) == ([f"linux-headers-{KERNEL}"], [KERNEL])
    assert found["reboot_reasons"] == ["NVIDIA 580.95.05 is not loaded yet"]
    assert "mokutil" in refusal({**node, "secure_boot": True})
    node["dkms"][1] = built("580.95.05", KERNEL)
    assert plan(node)["action"] == "none"


def test_the_kernel_that_the_reboot_brings_is_built_for() -> None:
    images = {f"linux-image-{kernel}": "6.1.1-1" for kernel in (OLD_KERNEL, KERNEL, NEW_KERNEL, "6.9.0-1-amd64")}
    found = plan(host(packages=images, headers=True))
    assert (found["kernels"], found["headers"]) == ([KERNEL, NEW_KERNEL], [f"linux-headers-{NEW_KERNEL}"])
    [note] = found["notes"]
    assert note.startswith(f"the modules are built for {NEW_KERNEL} too")
    assert f"nvidia_driver_kernel: {KERNEL} builds for the running one alone" in note
    assert plan(host(packages=images, headers=True), kernel=KERNEL)["kernels"] == [KERNEL]
    assert plan(host(packages=images, headers=True), kernel=KERNEL)["notes"] == []
    backports = {"linux-image-6.12.9+bpo-amd64": "1", "linux-image-6.12.48+deb13-amd64": "1"}
    assert plan(host(kernel="6.1.0-40-amd64", packages=backports))["kernels"][1:] == ["6.12.48+deb13-amd64"]
    assert plan(host(kernel="6.12.9+bpo-amd64", packages={**backports, **images}))["kernels"][1:] == [
        "6.12.48+deb13-amd64"
    ]
    el = host("el-9", kernel="5.14.0-427.el9.x86_64", packages={"kernel-core": "5.14.0-503.el9"})
    assert plan(el)["kernels"] == ["5.14.0-427.el9.x86_64", "5.14.0-503.el9.x86_64"]
    # One that runs is not touched for it: the operator is told.
    node = host(loaded="580.95.05", nvswitches=0, packages={**INSTALLED, **images}, dkms=[built("580.95.05", KERNEL)])
    found = plan(node)
    assert found["action"] == "none"
    assert found["notes"] == [
        f"the kernel {NEW_KERNEL}, which the next start brings, has no NVIDIA module: install linux-headers-{NEW_KERNEL}, and "
        "DKMS builds it"
    ]
    # A reboot that is due would bring it.
    node["modules"]["nvidia"]["loaded"] = "580.65.06"
    found = plan(node)
    assert (found["action"], found["kernels"]) == ("install", [KERNEL, NEW_KERNEL])


@pytest.mark.parametrize(
    ("there", "version", "downgrade"),
    [("580.95.05", "580.65.06", True), ("580.65.06", "580.95.05", False), ("580.95.05", "580.105.08", False)],
)
def test_another_release_of_the_same_branch_is_taken_back_to_where_asked_for(
    there: str, version: str, downgrade: bool
) -> None:
    found = plan(host(loaded=there), version=version)
    assert (found["action"], found["downgrade"]) == ("upgrade", downgrade)


@pytest.mark.parametrize(
    ("os", "packages", "wanted"),
    [
        ("rocky", {}, ["epel-release"]),
        ("rocky", {"kernel-devel": "5.14.0-427.el9"}, ["epel-release"]),
        ("almalinux", {"epel-release": "9-7"}, []),
        ("ol", {}, ["oracle-epel-release-el9"]),
        ("rhel", {"dkms": "3.1"}, []),
        ("rhel", {"epel-release": "9-7"}, []),
    ],
)
@pytest.mark.parametrize("headers", [True, False])
def test_epel_where_dkms_is_missing(os: str, packages: dict[str, str], wanted: list[str], headers: bool) -> None:
    node = host("el-9", packages=packages, headers=headers)
    assert plan({**node, "os": {**node["os"], "id": os}})["before"] == wanted


def test_rhel_without_epel_is_told_how_to_enable_it() -> None:
    """Not refused: Satellite or a mirror may have dkms."""
    node = host("el-9")
    found = plan({**node, "os": {**node["os"], "id": "rhel"}})
    assert found["before"] == ["dkms"]
    [said] = found["notes"]
    assert "codeready-builder-for-rhel-9-x86_64-rpms" in said
    assert "epel-release-latest-9.noarch.rpm" in said


UBUNTU_KERNEL = "6.8.0-85-generic"
SIGNED = "linux-modules-nvidia-{}-server-open-{}"


@pytest.mark.parametrize(
    ("metas", "flavour"),
    [
        ([], None),
        (["linux-image-generic"], "generic"),
        (["linux-image-generic-hwe-24.04", "linux-image-aws"], "generic-hwe-24.04"),
        (["linux-image-generic", "linux-image-generic-hwe-24.04"], None),
        (["linux-image-aws"], None),
    ],
)
def test_modules_of_ubuntus_kernels_to_come(metas: list[str], flavour: str | None) -> None:
    node = host("ubuntu-24.04", kernel=UBUNTU_KERNEL, packages=dict.fromkeys(metas, "6.8.0-85.85"))
    found = plan(node, source="distribution")
    modules = [name for name in names(found) if name.startswith("linux-modules-")]
    assert modules == [SIGNED.format("580", kernel) for kernel in (UBUNTU_KERNEL, flavour) if kernel]
    versions = {package["name"]: (package["version"], package["group"]) for package in found["packages"]}
    assert {versions[name] for name in modules} == {("", "")}
    assert versions["nvidia-fabricmanager-580"] == versions["libnvidia-compute-580-server"] == ("580.*", "nvidia")


def test_ubuntus_kernel_update_keeps_the_branch_and_is_no_drivers_version() -> None:
    packages = {
        SIGNED.format("570", "6.8.0-79-generic"): "6.8.0-79.79",
        "libnvidia-compute-570-server": "570.172.08-0ubuntu1",
    }
    node = host("ubuntu-24.04", kernel=UBUNTU_KERNEL, packages=packages)
    found = plan(node, source="distribution")
    assert (found["action"], found["branch"]) == ("install", "570")
    assert found["reason"].startswith("there is no NVIDIA driver; NVIDIA 570")
    assert SIGNED.format("570", UBUNTU_KERNEL) in names(found)
    # Those of the other kernel stay, for it may be booted again; another branch makes way, and so do they for DKMS.
    assert found["remove"] == []
    assert SIGNED.format("570", "6.8.0-79-generic") in plan(node, source="distribution", branch="580")["remove"]
    assert SIGNED.format("570", "6.8.0-79-generic") in plan(node, branch="570")["remove"]
