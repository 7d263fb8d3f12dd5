# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NVIDIA's driver: whether a host's stays, is mended or exchanged, and for which. Pure; runs on the controller."""

from __future__ import annotations

import typing as t

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import DriverFloor
from ansible_collections.sglang.fleet.plugins.module_utils._drivers import (
    DriverError,
    DriverPlan,
    accepted,
    any_of,
    digits,
    epel_notes,
    floor_text,
    of_branch,
    version_key,
)
from ansible_collections.sglang.fleet.plugins.module_utils._nvidia_host import (
    BUILT_MODULE,
    MANAGER,
    OWNER,
    SIGNED_MODULE,
    UNDONE,
    VENDORS_OWN,
    Case,
    Data,
    NvidiaWishes,
    built,
    fabric_manager,
    nouveau,
    present,
)
from ansible_collections.sglang.fleet.plugins.module_utils._nvidia_packages import (
    BLACKLIST_FILE,
    distribution_repositories,
    distributions_manager,
    files,
    headers,
    held_together,
    in_the_way,
    initramfs,
    manager_names,
    of_driver,
    package,
    package_names,
    packages_before,
    repository,
    services,
    stream,
)


def nvidia_driver_plan(
    host: Data, gpu: Data, floor: DriverFloor | None, wishes: NvidiaWishes, data: Data
) -> dict[str, t.Any]:
    """``ansible_facts.fleet_drivers`` of a host with NVIDIA GPUs.

    host: ``fleet_host``. gpu: ``gpu``. floor: the image's, None where no image is planned. data: the catalogue's
    ``drivers.nvidia``. Raises DriverError.
    """
    case = Case(host, str(gpu.get("model") or ""), floor, wishes, data, int(gpu.get("count") or 0))
    _vet(case)
    there = present(host, gpu)
    record = host["records"].get(OWNER)
    problem = None if there is None else _unfit(case, there)
    if wishes.driver == "keep":
        return DriverPlan(
            "nvidia", "none", "the driver is left alone: it is asked for so (fleet_driver)", version=there
        ).to_dict()
    if there is not None and problem is None:
        # A mend leaves a record too, of a driver that stays whoever installed it.
        if record is None or record.get("configured") or not _ours(record):
            return _left_alone(case, there, record or {}).to_dict()
        return _to_install(
            case, "install", f"NVIDIA {there} is there and an earlier run did not come to its end", there
        )
    if there is None:
        return _to_install(case, "install", "there is no NVIDIA driver", None)
    return _to_install(case, "upgrade", f"NVIDIA {there} does not do: {problem}", there)


def _ours(record: Data) -> bool:
    """Whether this role installed or exchanged the driver: what it installed or holds has a module of it."""
    names = [*record.get("packages", ()), *record.get("held", ())]
    return any(BUILT_MODULE.match(name) or SIGNED_MODULE.match(name) for name in names)


def _vet(case: Case) -> None:
    """Refuse what cannot be, whatever the host has."""
    wishes = case.wishes
    if wishes.modules == "proprietary" and case.open_required:
        why = "its GPU" if case.gpu["open"] == "required" else "a Grace CPU"
        raise DriverError(
            f"nvidia_driver_modules is proprietary, and {case.model} with {why} runs on the open kernel modules alone: "
            f"leave it at auto, or say open. {UNDONE}"
        )
    if wishes.version and wishes.branch and not of_branch(wishes.version, wishes.branch):
        raise DriverError(
            f"nvidia_driver_version {wishes.version} is not of nvidia_driver_branch {wishes.branch}: give one of the two. "
            f"{UNDONE}"
        )
    branch = wishes.branch or wishes.version.split(".")[0]
    if not branch:
        return
    if branch not in case.data["branches"]:
        raise DriverError(
            f"nvidia_driver_branch is {branch}, which is no branch of NVIDIA's driver for data centres; there are "
            f"{any_of(case.data['branches'])}. {UNDONE}"
        )
    problem = _unfit(case, wishes.version or branch, wish=True)
    if problem:
        raise DriverError(f"NVIDIA {wishes.version or branch} is asked for, and cannot serve here: {problem}. {UNDONE}")


def _unfit(case: Case, version: str, wish: bool = False) -> str | None:
    """Why this driver does not do; a wish is a branch, of which the newest counts."""
    minimum = str(case.gpu.get("minimum", "0"))
    newest = (
        version_key(version)[:1] >= version_key(minimum)[:1] if wish else version_key(version) >= version_key(minimum)
    )
    problems = [] if newest else [f"{case.model} needs {minimum} or newer"]
    if case.floor is not None and accepted(case.floor, version) is None:
        problems.append(f"the image starts on {floor_text(case.floor)}")
    if problems:
        return ", and ".join(problems)
    if wish:
        return None
    if case.wishes.version and version != case.wishes.version:
        return f"nvidia_driver_version is {case.wishes.version}"
    if case.wishes.branch and not of_branch(version, case.wishes.branch):
        return f"nvidia_driver_branch is {case.wishes.branch}"
    return None


def _left_alone(case: Case, there: str, record: Data) -> DriverPlan:
    """The driver stays as it is; what it lacks to work is mended at its version."""
    why = accepted(case.floor, there) if case.floor else "no image is planned that would ask for another"
    if case.wishes.branch or case.wishes.version:
        why = "it is the one that is asked for"
    reboot = _reboot_reasons(case.host, there)
    unbuilt = [kernel for kernel in case.kernels if not built(case.host, kernel)]
    lacks, notes = [], []
    manager, packaged = fabric_manager(case.host)
    if case.nvswitches and packaged and manager != there:
        lacks.append(
            f"Fabric Manager is {manager}, and must be of the driver's version"
            if manager
            else "Fabric Manager is missing"
        )
    elif case.nvswitches and manager not in (there, "unknown"):
        notes.append(
            f"Fabric Manager is {manager} and the driver {there}: they must be of one version, and it was not installed from "
            "packages; bring it to the driver's version by hand"
        )
    # infiniband-diags is for people; it comes along, and is no reason.
    if case.nvlink5 and packaged and "nvlsm" not in case.host["packages"]:
        lacks.append("nvlsm, which NVLink 5 needs, is missing")
    if nouveau(case.host) and BLACKLIST_FILE not in record.get("configuration", ()):
        lacks.append("nouveau has its GPUs")
    if unbuilt and (reboot or case.kernel in unbuilt):
        lacks.append(f"DKMS has not built it for the kernel {' and '.join(unbuilt)}")
    elif unbuilt:
        known = case.family["headers"] if case.supported else ["its headers"]
        names = ", ".join(name.format(kernel=kernel) for kernel in unbuilt for name in known)
        notes.append(
            f"the kernel {unbuilt[0]}, which the next start brings, has no NVIDIA module: install {names}, and DKMS builds it"
        )
    if lacks and not case.supported:
        notes.append(f"{', and '.join(lacks)}: on {case.system} this role mends no driver, so see to it by hand")
    elif lacks:
        return _to_mend(
            case, there, f"NVIDIA {there} is left alone: {why}; but {', and '.join(lacks)}, which is mended", record
        )
    hold = {*(held_together(case, there) if _ours(record) else ()), *record.get("held", ())}
    return DriverPlan(
        "nvidia",
        "none",
        f"NVIDIA {there} is left alone: {why}",
        branch=there.split(".")[0],
        version=there,
        # All of them: host_packages lets go of what it once held and is not named.
        hold=sorted(hold & set(case.host["packages"])),
        expect={"nvidia": there},
        reboot_reasons=reboot,
        notes=notes,
    )


def _to_mend(case: Case, there: str, reason: str, record: Data) -> DriverPlan:
    """What a driver that stays lacks: Fabric Manager at its version, the module for a kernel, the GPUs from nouveau.

    Of somebody else's driver it holds and locks only what it installs itself.
    """
    branch = there.split(".")[0]
    unbuilt = [kernel for kernel in case.kernels if not built(case.host, kernel)]
    if unbuilt:
        _check_secure_boot(case)
    packages: list[dict[str, str]] = []
    repositories: list[dict[str, t.Any]] = []
    manager, packaged = fabric_manager(case.host)
    if case.nvswitches and packaged:
        names = manager_names(case, branch)
        if manager == there:
            names = [] if "nvlsm" in case.host["packages"] else [name for name in names if not of_driver(case, name)]
        packages = [package(name, f"{there}-*" if of_driver(case, name) else "") for name in names]
        if packages and not (case.wishes.source == "distribution" and distributions_manager(case)):
            _check_repository(case)
            repositories = [repository(case, branch, there)]
            if not _ours(record):
                locked = " ".join(name for name in names if of_driver(case, name))
                repositories[0]["pins"] = [
                    {**pin, "packages": locked} for pin in repositories[0].get("pins", ()) if locked
                ]
    ours = [package["name"] for package in packages if of_driver(case, package["name"])]
    before = packages_before(case) if unbuilt else []
    return DriverPlan(
        "nvidia",
        "install",
        reason,
        source=case.wishes.source,
        branch=branch,
        version=there,
        repositories=repositories,
        before=before,
        headers=headers(case) if unbuilt else [],
        kernels=case.kernels,
        packages=packages,
        hold=sorted({*ours, *record.get("held", ()), *(held_together(case, there) if _ours(record) else ())}),
        remove=sorted(name for name in case.host["packages"] if ours and MANAGER.match(name) and name not in ours),
        downgrade=bool(ours and manager and version_key(manager) > version_key(there)),
        files=files(case) if nouveau(case.host) or case.nvlink5 else [],
        initramfs=initramfs(case.host),
        services=["nvidia-fabricmanager.service"] if ours else [],
        expect={"nvidia": there},
        reboot_reasons=_reboot_reasons(case.host, there),
        free_mib=dict(case.data["free_mib"]) if unbuilt else {},
        notes=[*epel_notes(case.host, before), *_kernel_notes(case, unbuilt)],
    )


def _kernel_notes(case: Case, kernels: t.Sequence[str]) -> list[str]:
    """Why a kernel that does not run is built for, and what to do where that cannot be."""
    return [
        f"the modules are built for {kernel} too, which is installed and comes with the next start. Where its headers cannot be "
        f"had, install them by hand or remove that kernel; nvidia_driver_kernel: {case.host['kernel']} builds for the running "
        "one alone"
        for kernel in kernels
        if kernel != case.host["kernel"] and not case.wishes.kernel
    ]


def _reboot_reasons(host: Data, version: str | None) -> list[str]:
    """As things stand; for ``version`` to run."""
    module, reasons = host["modules"]["nvidia"], []
    if version is None:
        return []
    if module["loaded"] is None:
        reasons.append(f"NVIDIA {version} is not loaded yet")
    elif module["loaded"] != version:
        reasons.append(f"NVIDIA {module['loaded']} is loaded and {version} installed")
    if nouveau(host):
        reasons.append("nouveau holds the GPUs")
    return reasons


def _to_install(case: Case, action: str, found: str, there: str | None) -> dict[str, t.Any]:
    branch = _branch(case, there if action == "install" else None)
    _can_install(case, branch)
    distribution = case.wishes.source == "distribution"
    modules = case.modules
    names = package_names(case, branch, modules)
    glob = f"{case.wishes.version}-*" if case.wishes.version else f"{branch}.*"
    # The driver's own packages must be of one version; what stands beside it has versions of its own.
    ours = [name for name in names if of_driver(case, name)]
    same = ours
    if distribution:  # Ubuntu's modules have the kernel's version, and Debian's nvidia-persistenced one of its own.
        same = [name for name in ours if case.signed and not name.startswith("linux-modules-")]
    packages = [package(name, glob if name in same else "") for name in names]
    wanted = case.wishes.version or branch
    older = there is not None and (
        version_key(there) > version_key(case.wishes.version)
        if case.wishes.version
        else version_key(there)[:1] > version_key(branch)
    )
    before = packages_before(case)
    plan = DriverPlan(
        "nvidia",
        action,
        f"{found}; NVIDIA {wanted} with {modules} kernel modules is installed from "
        f"{'the distribution' if distribution else VENDORS_OWN}",
        source=case.wishes.source,
        branch=branch,
        version=case.wishes.version or None,
        modules=modules,
        repositories=distribution_repositories(case)
        if distribution
        else [repository(case, branch, case.wishes.version)],
        before=before,
        headers=headers(case),
        kernels=[] if case.signed else case.kernels,
        packages=packages,
        hold=sorted({*ours, *(held_together(case, there) if there and action == "install" else ())}),
        remove=in_the_way(case, branch, modules, names),
        downgrade=older,
        files_first=stream(case, branch, modules) if case.entry["family"] == "el" else [],
        files=files(case),
        initramfs=initramfs(case.host),
        services=services(case),
        expect={"nvidia": (there if action == "install" else None) or case.wishes.version or None},
        reboot_reasons=_reboot_reasons(case.host, (there if action == "install" else None) or wanted),
        free_mib=dict(case.data["free_mib"]),
        notes=[*epel_notes(case.host, before), *([] if case.signed else _kernel_notes(case, case.kernels))],
    )
    return plan.to_dict()


def _branch(case: Case, unfinished: str | None) -> str:
    wishes = case.wishes
    if wishes.branch or wishes.version:
        return wishes.branch or wishes.version.split(".")[0]
    if unfinished:
        return unfinished.split(".")[0]
    if wishes.source == "distribution":
        offered = [branch for branch in case.entry["distribution_branches"] if _unfit(case, branch, wish=True) is None]
        if not offered:
            has = any_of(case.entry["distribution_branches"]) if case.entry["distribution_branches"] else "no driver"
            wanted = floor_text(case.floor) if case.floor else "any"
            raise DriverError(
                f"nvidia_driver_source is distribution, and {case.entry['title']} has {has}: the image starts on {wanted}"
                + (f", and {case.model} needs {case.gpu['minimum']} or newer" if case.gpu.get("minimum") else "")
                + f". Set nvidia_driver_source to vendor. {UNDONE}"
            )
        kept = {found[1] for name in case.host["packages"] if (found := SIGNED_MODULE.match(name))}
        return str(next((branch for branch in offered if branch in kept), offered[-1]))
    return (digits(case.floor.recommended) if case.floor else "") or str(case.data["default_branch"])


def _can_install(case: Case, branch: str) -> None:
    host, wishes, entry = case.host, case.wishes, case.entry
    if host["arch"] not in case.data["repository"]["architectures"]:
        raise DriverError(f"NVIDIA has no driver packages for {host['arch']}. {UNDONE}")
    distribution = wishes.source == "distribution"
    if distribution and branch not in entry["distribution_branches"]:
        has = any_of(entry["distribution_branches"]) if entry["distribution_branches"] else "no NVIDIA driver"
        raise DriverError(
            f"nvidia_driver_source is distribution, and {entry['title']} has {has}, not {branch}: take one of those, or "
            f"set nvidia_driver_source to vendor. {UNDONE}"
        )
    own = case.family.get("distribution", {}) if distribution else {}
    if distribution and case.nvswitches and not own.get("fabric_manager"):
        raise DriverError(
            f"the GPUs are behind NVSwitches, which need Fabric Manager at the driver's version, and {entry['title']} has "
            f"none: set nvidia_driver_source to vendor. {UNDONE}"
        )
    if not own.get("signed"):
        _check_secure_boot(case)
    module = host["modules"]["nvidia"]["installed"]
    if module and not any(BUILT_MODULE.match(name) or SIGNED_MODULE.match(name) for name in host["packages"]):
        raise DriverError(
            f"NVIDIA {module} was not installed from packages (NVIDIA's .run file leaves it so), and packages beside it would "
            f"mix two versions. Run `nvidia-uninstall` on the host, and run again. {UNDONE}"
        )
    if not distribution:
        _check_repository(case)


def _check_repository(case: Case) -> None:
    entry = case.entry
    if not (case.wishes.key_fingerprints or case.data["keys"].get(entry["key"])):
        raise DriverError(
            f"the catalogue has no fingerprint of NVIDIA's key for {entry['title']} ({entry['key']}): give it as "
            f"nvidia_driver_key_fingerprints. {UNDONE}"
        )


def _check_secure_boot(case: Case) -> None:
    host = case.host
    rows = [row for row in host["dkms"] if row["module"].startswith("nvidia") and row["kernel"] == host["kernel"]]
    # A module of DKMS that runs under secure boot has its key enrolled.
    proven = host["modules"]["nvidia"]["loaded"] and any(row["state"] == "installed" for row in rows)
    if not host["secure_boot"] or case.wishes.secure_boot_enrolled or proven:
        return
    raise DriverError(
        "secure boot is on: the kernel refuses the modules that DKMS builds until the host's own signing key is enrolled, "
        "which is confirmed at the console during a boot and cannot be done unattended. Either run `mokutil --import` with "
        "the key of DKMS (/var/lib/shim-signed/mok/MOK.der on Ubuntu, /var/lib/dkms/mok.pub elsewhere), reboot, confirm it at "
        "the console, and set nvidia_driver_secure_boot_enrolled to true; or switch secure boot off in the firmware"
        + (
            "; or set nvidia_driver_source to distribution, whose modules Ubuntu has signed"
            if case.entry["family"] == "ubuntu"
            else ""
        )
        + f". {UNDONE}"
    )
