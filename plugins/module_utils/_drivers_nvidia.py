# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NVIDIA's driver: which one a host gets, as which packages, from where. Pure; runs on the controller.

Names and rules are the catalogue's (``drivers.nvidia``); this file holds only how they are put together.
"""

from __future__ import annotations

import fnmatch
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import DriverFloor
from ansible_collections.sglang.fleet.plugins.module_utils._drivers import (
    DriverError,
    DriverPlan,
    accepted,
    any_of,
    digits,
    epel,
    epel_notes,
    floor_text,
    of_branch,
    system_of,
    upstream,
    version_key,
)

OWNER: t.Final = "nvidia_driver"
#: Packages of kernel modules, by name. Those of the first kind have the driver's version, Ubuntu's signed ones the kernel's.
_BUILT_MODULE: t.Final = re.compile(r"nvidia-(?:dkms|kernel-(?:open-)?dkms|open-kernel-dkms)(?:$|-)|kmod-nvidia-")
_SIGNED_MODULE: t.Final = re.compile(r"linux-modules-nvidia-(\d+)-")
_MANAGER: t.Final = re.compile(r"nvidia-fabric-?manager(?:-\d+)?$")
_UNDONE: t.Final = "Nothing was changed."
_BLACKLIST_FILE: t.Final = "/etc/modprobe.d/nvidia-fleet.conf"
_BLACKLIST: t.Final = "# Written by sglang.fleet: NVIDIA's driver needs the GPUs for itself.\nblacklist nouveau\noptions nouveau modeset=0\n"
_NVLINK5_MODULES: t.Final = (
    "# Written by sglang.fleet: what the NVLink 5 fabric is managed through.\nmlx5_core\nib_umad\n"
)
_STREAM_FILE: t.Final = "/etc/dnf/modules.d/nvidia-driver.module"

Data = t.Mapping[str, t.Any]

#: how a reason names the source that is not the distribution
_VENDORS_OWN: t.Final = "NVIDIA's repository"


@dataclass(frozen=True)
class NvidiaWishes:
    """What the operator asks for. An empty text is no wish."""

    driver: str = "auto"
    branch: str = ""
    version: str = ""
    source: str = "vendor"
    modules: str = "auto"
    imex: bool = False
    headers: bool = True
    secure_boot_enrolled: bool = False
    kernel: str = ""
    repository_url: str = ""
    key_url: str = ""
    key_fingerprints: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Case:
    """A host, what is asked for it, and what the catalogue knows of both."""

    host: Data
    model: str
    floor: DriverFloor | None
    wishes: NvidiaWishes
    data: Data
    count: int

    @property
    def system(self) -> str:
        return system_of(self.host["os"])

    @property
    def gpu(self) -> Data:
        found: Data = {**self.data["other_gpus"], **self.data["gpus"].get(self.model, {})}
        return found

    @property
    def supported(self) -> bool:
        """Whether the catalogue has the system."""
        return self.system in self.data["systems"]

    @property
    def entry(self) -> Data:
        """The system's entry. Raises where there is none."""
        if not self.supported:
            known = ", ".join(entry["title"] for entry in self.data["systems"].values())
            raise DriverError(
                f"this role installs NVIDIA's driver on {known}; found {self.system}. Install a driver by hand and run "
                f"again: one that the image starts on is left alone. {_UNDONE}"
            )
        found: Data = self.data["systems"][self.system]
        return found

    @property
    def family(self) -> Data:
        found: Data = self.data["families"][self.entry["family"]]
        return found

    @property
    def modules(self) -> str:
        """open or proprietary."""
        if self.wishes.modules != "auto":
            return self.wishes.modules
        if self.wishes.source == "distribution" and not self.open_required:
            return str(self.family.get("distribution", {}).get("auto", "open"))
        return "open"

    @property
    def open_required(self) -> bool:
        return self.gpu["open"] == "required" or self.host["arch"] in self.data["open_required_on"]

    @property
    def kernel(self) -> str:
        """Release of the kernel that the modules are for."""
        return self.wishes.kernel or str(self.host["kernel"])

    @property
    def kernels(self) -> list[str]:
        """The kernel that the modules are for, and the one that the next start brings where a newer one is installed."""
        if self.wishes.kernel:
            return [self.wishes.kernel]
        running = str(self.host["kernel"])
        flavour = _flavour(running)
        names = [name.replace("image-unsigned-", "image-") for name in self.host["packages"]]
        found = [name[len("linux-image-") :] for name in names if re.match(r"linux-image-\d", name)]
        if "kernel-core" in self.host["packages"]:
            found.append(f"{self.host['packages']['kernel-core']}.{self.host['arch']}")
        newest = max([running, *(other for other in found if _flavour(other) == flavour)], key=version_key)
        return [running] if newest == running else [running, newest]

    @property
    def nvswitches(self) -> bool:
        return bool(self.host["nvswitches"] or self.nvlink5)

    @property
    def nvlink5(self) -> bool:
        return bool(self.gpu.get("nvlink5") and self.count > 1)

    @property
    def signed(self) -> bool:
        """Whether the modules that are asked for are the distribution's, built and signed by it."""
        return self.wishes.source == "distribution" and bool(self.family.get("distribution", {}).get("signed"))


def _flavour(kernel: str) -> str:
    """What makes kernels of one kind: cloud-amd64 of 6.1.0-40-cloud-amd64, generic of 6.8.0-85-generic."""
    # Debian's backports have +bpo or +deb13 in between.
    return re.sub(r"^[\d.~-]+(?:\+[\w.]+-)?", "", kernel) if "-" in kernel and ".el" not in kernel else ""


def nvidia_driver_plan(
    host: Data, gpu: Data, floor: DriverFloor | None, wishes: NvidiaWishes, data: Data
) -> dict[str, t.Any]:
    """``ansible_facts.fleet_drivers`` of a host with NVIDIA GPUs.

    host: ``fleet_host``. gpu: ``gpu``. floor: the image's, None where no image is planned. data: the catalogue's
    ``drivers.nvidia``. Raises DriverError.
    """
    case = _Case(host, str(gpu.get("model") or ""), floor, wishes, data, int(gpu.get("count") or 0))
    _vet(case)
    there = _present(host, gpu)
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


def _present(host: Data, gpu: Data) -> str | None:
    """The version that runs after the next start: on disk for the kernel, in packages, or loaded."""
    module = host["modules"]["nvidia"]
    packaged = [upstream(version) for name, version in host["packages"].items() if _BUILT_MODULE.match(name)]
    built = [
        row["version"] for row in host["dkms"] if row["module"].startswith("nvidia") and row["state"] == "installed"
    ]
    for version in (module["installed"], *packaged, *built, module["loaded"], (gpu.get("driver") or {}).get("version")):
        if version and re.match(r"\d", version):
            return str(version)
    return None


def _ours(record: Data) -> bool:
    """Whether this role installed or exchanged the driver: what it installed or holds has a module of it."""
    names = [*record.get("packages", ()), *record.get("held", ())]
    return any(_BUILT_MODULE.match(name) or _SIGNED_MODULE.match(name) for name in names)


def _vet(case: _Case) -> None:
    """Refuse what cannot be, whatever the host has."""
    wishes = case.wishes
    if wishes.modules == "proprietary" and case.open_required:
        why = "its GPU" if case.gpu["open"] == "required" else "a Grace CPU"
        raise DriverError(
            f"nvidia_driver_modules is proprietary, and {case.model} with {why} runs on the open kernel modules alone: "
            f"leave it at auto, or say open. {_UNDONE}"
        )
    if wishes.version and wishes.branch and not of_branch(wishes.version, wishes.branch):
        raise DriverError(
            f"nvidia_driver_version {wishes.version} is not of nvidia_driver_branch {wishes.branch}: give one of the two. "
            f"{_UNDONE}"
        )
    branch = wishes.branch or wishes.version.split(".")[0]
    if not branch:
        return
    if branch not in case.data["branches"]:
        raise DriverError(
            f"nvidia_driver_branch is {branch}, which is no branch of NVIDIA's driver for data centres; there are "
            f"{any_of(case.data['branches'])}. {_UNDONE}"
        )
    problem = _unfit(case, wishes.version or branch, wish=True)
    if problem:
        raise DriverError(
            f"NVIDIA {wishes.version or branch} is asked for, and cannot serve here: {problem}. {_UNDONE}"
        )


def _unfit(case: _Case, version: str, wish: bool = False) -> str | None:
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


def _left_alone(case: _Case, there: str, record: Data) -> DriverPlan:
    """The driver stays as it is; what it lacks to work is mended at its version."""
    why = accepted(case.floor, there) if case.floor else "no image is planned that would ask for another"
    if case.wishes.branch or case.wishes.version:
        why = "it is the one that is asked for"
    reboot = _reboot_reasons(case.host, there)
    unbuilt = [kernel for kernel in case.kernels if not _built(case.host, kernel)]
    lacks, notes = [], []
    manager, packaged = _fabric_manager(case.host)
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
    if _nouveau(case.host) and _BLACKLIST_FILE not in record.get("configuration", ()):
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
    hold = {*(_held_together(case, there) if _ours(record) else ()), *record.get("held", ())}
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


def _to_mend(case: _Case, there: str, reason: str, record: Data) -> DriverPlan:
    """What a driver that stays lacks: Fabric Manager at its version, the module for a kernel, the GPUs from nouveau.

    Of somebody else's driver it holds and locks only what it installs itself.
    """
    branch = there.split(".")[0]
    unbuilt = [kernel for kernel in case.kernels if not _built(case.host, kernel)]
    if unbuilt:
        _check_secure_boot(case)
    packages: list[dict[str, str]] = []
    repositories: list[dict[str, t.Any]] = []
    manager, packaged = _fabric_manager(case.host)
    if case.nvswitches and packaged:
        names = _manager_names(case, branch)
        if manager == there:
            names = [] if "nvlsm" in case.host["packages"] else [name for name in names if not _of_driver(case, name)]
        packages = [_package(name, f"{there}-*" if _of_driver(case, name) else "") for name in names]
        if packages and not (case.wishes.source == "distribution" and _distributions_manager(case)):
            _check_repository(case)
            repositories = [_repository(case, branch, there)]
            if not _ours(record):
                locked = " ".join(name for name in names if _of_driver(case, name))
                repositories[0]["pins"] = [
                    {**pin, "packages": locked} for pin in repositories[0].get("pins", ()) if locked
                ]
    ours = [package["name"] for package in packages if _of_driver(case, package["name"])]
    before = _before(case) if unbuilt else []
    return DriverPlan(
        "nvidia",
        "install",
        reason,
        source=case.wishes.source,
        branch=branch,
        version=there,
        repositories=repositories,
        before=before,
        headers=_headers(case) if unbuilt else [],
        kernels=case.kernels,
        packages=packages,
        hold=sorted({*ours, *record.get("held", ()), *(_held_together(case, there) if _ours(record) else ())}),
        remove=sorted(name for name in case.host["packages"] if ours and _MANAGER.match(name) and name not in ours),
        downgrade=bool(ours and manager and version_key(manager) > version_key(there)),
        files=_files(case) if _nouveau(case.host) or case.nvlink5 else [],
        initramfs=_initramfs(case.host),
        services=["nvidia-fabricmanager.service"] if ours else [],
        expect={"nvidia": there},
        reboot_reasons=_reboot_reasons(case.host, there),
        free_mib=dict(case.data["free_mib"]) if unbuilt else {},
        notes=[*epel_notes(case.host, before), *_kernel_notes(case, unbuilt)],
    )


def _kernel_notes(case: _Case, kernels: t.Sequence[str]) -> list[str]:
    """Why a kernel that does not run is built for, and what to do where that cannot be."""
    return [
        f"the modules are built for {kernel} too, which is installed and comes with the next start. Where its headers cannot be "
        f"had, install them by hand or remove that kernel; nvidia_driver_kernel: {case.host['kernel']} builds for the running "
        "one alone"
        for kernel in kernels
        if kernel != case.host["kernel"] and not case.wishes.kernel
    ]


def _nouveau(host: Data) -> bool:
    """Whether it has the GPUs."""
    return host["modules"]["nouveau"]["loaded"] is not None and host["modules"]["nvidia"]["loaded"] is None


def _built(host: Data, kernel: str) -> bool:
    """False where DKMS has the driver and nothing of it installed for the kernel, nor has anybody else."""
    rows = [row for row in host["dkms"] if row["module"].startswith("nvidia")]
    module = host["modules"]["nvidia"]
    if kernel == host["kernel"] and (module["loaded"] or module["installed"]):
        return True
    return not rows or any(row["kernel"] == kernel and row["state"] == "installed" for row in rows)


def _fabric_manager(host: Data) -> tuple[str | None, bool]:
    """Its version, None for none, and whether it is the packages' to bring: not where it came without one."""
    found = [upstream(version) for name, version in host["packages"].items() if _MANAGER.match(name)]
    if found:
        return found[0], True
    other = host.get("fabric_manager")
    return (str(other), False) if other else (None, True)


def _held_together(case: _Case, version: str) -> list[str]:
    """What is installed of the driver at its version: what unattended upgrades could split."""
    return sorted(
        name
        for name, installed in case.host["packages"].items()
        if upstream(installed) == version and any(fnmatch.fnmatch(name, glob) for glob in case.data["driver_packages"])
    )


def _reboot_reasons(host: Data, version: str | None) -> list[str]:
    """As things stand; for ``version`` to run."""
    module, reasons = host["modules"]["nvidia"], []
    if version is None:
        return []
    if module["loaded"] is None:
        reasons.append(f"NVIDIA {version} is not loaded yet")
    elif module["loaded"] != version:
        reasons.append(f"NVIDIA {module['loaded']} is loaded and {version} installed")
    if _nouveau(host):
        reasons.append("nouveau holds the GPUs")
    return reasons


def _to_install(case: _Case, action: str, found: str, there: str | None) -> dict[str, t.Any]:
    branch = _branch(case, there if action == "install" else None)
    _can_install(case, branch)
    distribution = case.wishes.source == "distribution"
    modules = case.modules
    names = _names(case, branch, modules)
    glob = f"{case.wishes.version}-*" if case.wishes.version else f"{branch}.*"
    # The driver's own packages must be of one version; what stands beside it has versions of its own.
    ours = [name for name in names if _of_driver(case, name)]
    same = ours
    if distribution:  # Ubuntu's modules have the kernel's version, and Debian's nvidia-persistenced one of its own.
        same = [name for name in ours if case.signed and not name.startswith("linux-modules-")]
    packages = [_package(name, glob if name in same else "") for name in names]
    wanted = case.wishes.version or branch
    older = there is not None and (
        version_key(there) > version_key(case.wishes.version)
        if case.wishes.version
        else version_key(there)[:1] > version_key(branch)
    )
    before = _before(case)
    plan = DriverPlan(
        "nvidia",
        action,
        f"{found}; NVIDIA {wanted} with {modules} kernel modules is installed from "
        f"{'the distribution' if distribution else _VENDORS_OWN}",
        source=case.wishes.source,
        branch=branch,
        version=case.wishes.version or None,
        modules=modules,
        repositories=_distribution_repositories(case)
        if distribution
        else [_repository(case, branch, case.wishes.version)],
        before=before,
        headers=_headers(case),
        kernels=[] if case.signed else case.kernels,
        packages=packages,
        hold=sorted({*ours, *(_held_together(case, there) if there and action == "install" else ())}),
        remove=_in_the_way(case, branch, modules, names),
        downgrade=older,
        files_first=_stream(case, branch, modules) if case.entry["family"] == "el" else [],
        files=_files(case),
        initramfs=_initramfs(case.host),
        services=_services(case),
        expect={"nvidia": (there if action == "install" else None) or case.wishes.version or None},
        reboot_reasons=_reboot_reasons(case.host, (there if action == "install" else None) or wanted),
        free_mib=dict(case.data["free_mib"]),
        notes=[*epel_notes(case.host, before), *([] if case.signed else _kernel_notes(case, case.kernels))],
    )
    return plan.to_dict()


def _package(name: str, version: str) -> dict[str, str]:
    return {"name": name, "version": version, "group": "nvidia" if version else ""}


def _branch(case: _Case, unfinished: str | None) -> str:
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
                + f". Set nvidia_driver_source to vendor. {_UNDONE}"
            )
        kept = {found[1] for name in case.host["packages"] if (found := _SIGNED_MODULE.match(name))}
        return str(next((branch for branch in offered if branch in kept), offered[-1]))
    return (digits(case.floor.recommended) if case.floor else "") or str(case.data["default_branch"])


def _can_install(case: _Case, branch: str) -> None:
    host, wishes, entry = case.host, case.wishes, case.entry
    if host["arch"] not in case.data["repository"]["architectures"]:
        raise DriverError(f"NVIDIA has no driver packages for {host['arch']}. {_UNDONE}")
    distribution = wishes.source == "distribution"
    if distribution and branch not in entry["distribution_branches"]:
        has = any_of(entry["distribution_branches"]) if entry["distribution_branches"] else "no NVIDIA driver"
        raise DriverError(
            f"nvidia_driver_source is distribution, and {entry['title']} has {has}, not {branch}: take one of those, or "
            f"set nvidia_driver_source to vendor. {_UNDONE}"
        )
    own = case.family.get("distribution", {}) if distribution else {}
    if distribution and case.nvswitches and not own.get("fabric_manager"):
        raise DriverError(
            f"the GPUs are behind NVSwitches, which need Fabric Manager at the driver's version, and {entry['title']} has "
            f"none: set nvidia_driver_source to vendor. {_UNDONE}"
        )
    if not own.get("signed"):
        _check_secure_boot(case)
    module = host["modules"]["nvidia"]["installed"]
    if module and not any(_BUILT_MODULE.match(name) or _SIGNED_MODULE.match(name) for name in host["packages"]):
        raise DriverError(
            f"NVIDIA {module} was not installed from packages (NVIDIA's .run file leaves it so), and packages beside it would "
            f"mix two versions. Run `nvidia-uninstall` on the host, and run again. {_UNDONE}"
        )
    if not distribution:
        _check_repository(case)


def _check_repository(case: _Case) -> None:
    entry = case.entry
    if not (case.wishes.key_fingerprints or case.data["keys"].get(entry["key"])):
        raise DriverError(
            f"the catalogue has no fingerprint of NVIDIA's key for {entry['title']} ({entry['key']}): give it as "
            f"nvidia_driver_key_fingerprints. {_UNDONE}"
        )


def _check_secure_boot(case: _Case) -> None:
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
        + f". {_UNDONE}"
    )


def _names(case: _Case, branch: str, modules: str) -> list[str]:
    """Names of the packages that are asked for."""
    distribution = case.wishes.source == "distribution"
    family = case.family["distribution"] if distribution else case.family
    new = "" if distribution or version_key(branch) < version_key(case.data["unsuffixed_since"]) else "new_"
    templates = [*family[f"{new}base"], *family[f"{new}{modules}"]]
    names = [name.format(branch=branch, kernel=case.kernel) for name in templates]
    if case.signed and (meta := _meta_flavour(case)):
        # Brings the modules of the kernels to come.
        names += [name.format(branch=branch, kernel=meta) for name in family[modules]]
    if case.nvswitches:
        names += _manager_names(case, branch)
    if case.wishes.imex:
        new = "" if version_key(branch) < version_key(case.data["unsuffixed_since"]) else "new_"
        names += [name.format(branch=branch) for name in case.family[f"{new}imex"]]
    return names


def _manager_names(case: _Case, branch: str) -> list[str]:
    """Fabric Manager, from the distribution where that has it, and what it needs for NVLink 5."""
    new = "" if version_key(branch) < version_key(case.data["unsuffixed_since"]) else "new_"
    templates = case.family[f"{new}fabric_manager"]
    if case.wishes.source == "distribution":
        templates = _distributions_manager(case) or templates
    names = [*templates, *(case.family["nvlink5"] if case.nvlink5 else ())]
    return [name.format(branch=branch) for name in names]


def _distributions_manager(case: _Case) -> list[str]:
    """Fabric Manager as the distribution has it, empty where it has none."""
    return list(case.family.get("distribution", {}).get("fabric_manager") or ())


def _meta_flavour(case: _Case) -> str:
    """The kind of kernels that the host follows, such as generic-hwe-24.04; empty where its kernel's package names none."""
    flavour = _flavour(case.kernel)
    metas = [name[len("linux-image-") :] for name in case.host["packages"] if re.match(r"linux-image-[a-z]", name)]
    fit = [name for name in metas if re.fullmatch(rf"{re.escape(flavour)}(?:-hwe-[\d.]+|-\d+\.\d+)?", name)]
    return fit[0] if len(fit) == 1 else ""


def _of_driver(case: _Case, name: str) -> bool:
    return any(fnmatch.fnmatch(name, glob) for glob in case.data["driver_packages"])


def _in_the_way(case: _Case, branch: str, modules: str, names: t.Sequence[str]) -> list[str]:
    """Installed packages that another branch or the other kind of modules left."""
    others = "|".join(other for other in case.data["branches"] if other != branch)
    of_other_branch = re.compile(
        rf"(?:lib)?nvidia-.*-(?:{others})(?:-|$)|(?:cuda-drivers|linux-modules-nvidia)(?:-.*)?-(?:{others})(?:-|$)"
    )
    # Ubuntu's modules of this branch and kind for other kernels stay: one of those may be booted.
    own = case.family["distribution"][modules] if case.signed else []
    kept = "|".join(re.escape(name.format(branch=branch, kernel="")) for name in own)
    return sorted(
        name
        for name in case.host["packages"]
        if name not in names
        and not (kept and re.match(rf"(?:{kept})(?!open-)", name))
        and (of_other_branch.match(name) or _BUILT_MODULE.match(name) or _SIGNED_MODULE.match(name))
    )


def _repository(case: _Case, branch: str, version: str) -> dict[str, t.Any]:
    wishes, entry, repository = case.wishes, case.entry, case.data["repository"]
    arch = repository["architectures"][case.host["arch"]]
    url = (wishes.repository_url or repository["url"]).format(system=entry["repository"], arch=arch)
    known = case.data["keys"].get(entry["key"])
    found = {
        "name": repository["name"],
        "url": url,
        "suite": "/",
        "components": [],
        "key_url": wishes.key_url.format(system=entry["repository"], arch=arch) or f"{url}/{entry['key']}",
        "key_fingerprints": list(wishes.key_fingerprints) or [known],
        "pin": repository["pin"],
        "pin_by": "",
    }
    if entry["family"] != "el":
        # What NVIDIA's own nvidia-driver-pinning-BRANCH does: else apt takes a newer branch for the dependencies.
        glob = f"{version}-*" if version else f"{branch}.*"
        found["pins"] = [{"packages": " ".join(case.data["driver_packages"]), "version": glob, "priority": 1000}]
    return found


def _distribution_repositories(case: _Case) -> list[dict[str, t.Any]]:
    """Debian's driver is in components that a fresh system does not have; Ubuntu's is in one that it has."""
    components = case.family["distribution"]["components"]
    if not components:
        return []
    return [
        {
            "name": "debian-non-free",
            "url": case.wishes.repository_url or "http://deb.debian.org/debian",
            "suite": case.entry["codename"],
            "components": list(components),
            "key_url": "",
            "key_fingerprints": [],
            "pin": None,
            "pin_by": "",
        }
    ]


def _before(case: _Case) -> list[str]:
    """What brings DKMS on the RHEL family, ahead of everything else."""
    return [] if case.signed or case.entry["family"] != "el" else epel(case.host)


def _headers(case: _Case) -> list[str]:
    if not case.wishes.headers or case.signed:
        return []
    return [
        name.format(kernel=kernel)
        for kernel in case.kernels
        if not (case.host["headers"] and kernel == case.host["kernel"])
        for name in case.family["headers"]
    ]


def _stream(case: _Case, branch: str, modules: str) -> list[dict[str, str]]:
    """What `dnf module enable nvidia-driver:STREAM` writes, where NVIDIA's repository is made of streams."""
    if not case.entry["streams"]:
        return []
    stream = f"{branch}-{'open' if modules == 'open' else 'dkms'}"
    content = f"[nvidia-driver]\nname=nvidia-driver\nstream={stream}\nprofiles=\nstate=enabled\n"
    return [{"path": _STREAM_FILE, "content": content, "mode": "0644"}]


def _files(case: _Case) -> list[dict[str, str]]:
    files = [{"path": _BLACKLIST_FILE, "content": _BLACKLIST, "mode": "0644"}]
    if case.nvlink5:
        files.append({"path": "/etc/modules-load.d/nvidia-fleet.conf", "content": _NVLINK5_MODULES, "mode": "0644"})
    return files


def _initramfs(host: Data) -> list[str]:
    """The command that takes the blacklist over into the initramfs, where the host has one."""
    if "initramfs-tools" in host["packages"] or "initramfs-tools-core" in host["packages"]:
        return ["update-initramfs", "-u"]
    return ["dracut", "--force"] if "dracut" in host["packages"] else []


def _services(case: _Case) -> list[str]:
    services = ["nvidia-persistenced.service"]
    if case.nvswitches:
        services.append("nvidia-fabricmanager.service")
    return [*services, "nvidia-imex.service"] if case.wishes.imex else services
