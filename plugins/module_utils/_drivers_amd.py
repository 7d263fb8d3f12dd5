# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an AMD host needs of amdgpu and ROCm: decided on the controller from facts, without a look at the host.

The data are the section ``amd`` of the catalogue's drivers. Repositories and packages have the shape that the module
host_packages takes.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import DriverFloor
from ansible_collections.sglang.fleet.plugins.module_utils._drivers import (
    DriverError,
    DriverPlan,
    accepted,
    any_of,
    epel,
    epel_notes,
    floor_text,
    version_key,
)
from ansible_collections.sglang.fleet.plugins.module_utils._host import IN_TREE

DRIVER_WISHES: t.Final = ("auto", "install", "keep")
SOURCES: t.Final = ("vendor", "distribution")
USER_SPACES: t.Final = ("auto", "none", "smi", "full")
TUNINGS: t.Final = ("auto", "always", "never")

GRUB_DROP_IN: t.Final = "/etc/default/grub.d/60-sglang-fleet-rocm.cfg"
SYSCTL_DROP_IN: t.Final = "/etc/sysctl.d/60-sglang-fleet-rocm.conf"
_KEPT: t.Final = "rocm_driver is keep: the driver is left as it is"
_MARK: t.Final = "# Written by the role sglang.fleet.rocm.\n"
_DKMS: t.Final = "amdgpu-dkms"
_FIRMWARE: t.Final = "amdgpu-dkms-firmware"

_Map = t.Mapping[str, t.Any]


@dataclass(frozen=True)
class AmdWishes:
    """What an operator asks for; the role's variables of the same names say what each means.

    repository_url stands in for https://repo.radeon.com, with the same folders below it. key_url and key_fingerprints
    go with it.
    """

    driver: str = "auto"
    source: str = "vendor"
    release: str | None = None
    user_space: str = "auto"
    rocm_version: str | None = None
    tuning: str = "auto"
    secure_boot_enrolled: bool = False
    headers: bool = True
    repository_url: str = "https://repo.radeon.com"
    key_url: str | None = None
    key_fingerprints: tuple[str, ...] = ()


@dataclass(frozen=True)
class _System:
    """A host's system by AMD's lists. ``name`` is its key there, ``family`` is debian, ubuntu or el."""

    name: str
    title: str
    family: str
    data: _Map | None


@dataclass
class _Decision:
    """action and reason are of the driver. release: what of AMD's is to be installed now. module: the version of the
    installed one, which is to be loaded. Without a release, install means to build what is installed."""

    action: str
    reason: str
    release: str | None = None
    module: str | None = None
    reboot: list[str] = field(default_factory=list)


def amd_driver_plan(
    host: _Map, gpu: _Map, floor: DriverFloor | None, wishes: AmdWishes, data: _Map
) -> dict[str, t.Any]:
    """What is to be on the host, and why: a DriverPlan's dict, with ``sysctl``, name to value, beside it.

    host: ``ansible_facts.fleet_host``; its record ``rocm`` is what the role noted down: boot_id and module, the boot in
    which it found or installed a module that needs another one; cmdline. gpu: ``ansible_facts.gpu``. floor: the driver
    that the planned image starts on, None where nothing is planned. Raises DriverError.
    """
    _check_wishes(wishes, data)
    record = host.get("records", {}).get("rocm") or {}
    if not gpu.get("count") or gpu.get("vendor") != "amd":
        return _result(_Decision("none", "there is no AMD GPU"), wishes, data)
    if host["arch"] not in data["architectures"]:
        if wishes.driver == "keep":
            return _result(_Decision("none", _KEPT), wishes, data)
        raise DriverError(
            f"AMD's driver and ROCm are for {any_of(data['architectures'])} only; found {host['arch']}. Set rocm_driver "
            "to keep to leave this host's driver as it is. Nothing was changed."
        )
    system = _system(host, data)
    decision = _driver(host, floor, wishes, data, record)
    if decision.release is not None:
        _check_release(decision.release, floor, data)
    builds = decision.action == "install" and decision.release is None
    user_space = _user_space(host, system, wishes, data, decision)
    if user_space and decision.action == "none":
        decision.action = "install"
        decision.reason += f"; of the user space {', '.join(user_space)} is missing"
    result = _result(decision, wishes, data)
    if decision.release is not None:
        result.update(_driver_parts(host, system, wishes, data, decision.release))
    elif builds:
        _check_secure_boot(host, wishes)
        known = wishes.headers and system.data is not None
        result.update(headers=_headers(host, system, data) if known else [], free_mib=_check_room(host, data))
    if user_space:
        _add_user_space(result, system, wishes, data, user_space)
    if wishes.source == "vendor":
        if result["packages"]:
            result["remove"] = _outgoing(host, system, data, record)
        # What is held already stays so: host_packages lets go of what is not named again.
        names = [*(entry["name"] for entry in result["packages"]), *record.get("held", ())]
        result["hold"] = list(dict.fromkeys(names))
    installing = decision.release is not None
    result.update(_tuning(host, system, wishes, data, record, installing, result["reboot_reasons"]))
    result["notes"] = [*epel_notes(host, result["before"]), *result["notes"]]
    return result


def _check_wishes(wishes: AmdWishes, data: _Map) -> None:
    allowed: list[tuple[str, str, t.Iterable[str]]] = [
        ("rocm_driver", wishes.driver, DRIVER_WISHES),
        ("rocm_source", wishes.source, SOURCES),
        ("rocm_user_space", wishes.user_space, USER_SPACES),
        ("rocm_tuning", wishes.tuning, TUNINGS),
        ("rocm_release", wishes.release or data["default_release"], data["releases"]),
        ("rocm_version", wishes.rocm_version or data["default_rocm"], data["rocm"]),
    ]
    for name, value, choices in allowed:
        if value not in choices:
            raise DriverError(f"{name} is {value!r}; allowed: {', '.join(choices)}. Nothing was changed.")


def _driver(host: _Map, floor: DriverFloor | None, wishes: AmdWishes, data: _Map, record: _Map) -> _Decision:
    """The decision on the driver alone."""
    loaded = host["modules"]["amdgpu"]["loaded"]
    if wishes.driver == "keep":
        return _Decision("none", _KEPT)
    if wishes.source == "distribution":
        return _distribution_driver(loaded)
    release = wishes.release or data["default_release"]
    module = data["releases"][release]["module"]
    package = _package_module(host)
    if wishes.driver == "install":
        return _wanted_driver(host, release, data, package, loaded, record)
    if loaded == IN_TREE and package is None:
        return _Decision(
            "none",
            "the kernel's own amdgpu drives the GPUs; it tells no version to compare, so it is left alone. "
            f"Set rocm_driver to install for amdgpu {release}",
        )
    current = package or loaded
    if current is None:
        return _Decision(
            "install", f"no amdgpu driver is there; amdgpu {release} (module {module}) comes from AMD", release
        )
    if floor is None or current == IN_TREE or (why := accepted(floor, current)) is not None:
        suits = "no image is planned" if floor is None else why
        kept = f"amdgpu {current} is there, and {suits}: it is left alone"
        return _kept(host, kept, package, loaded, record)
    wants = f"amdgpu {current} is there, and the planned image needs {floor_text(floor)}"
    return _Decision("upgrade", f"{wants}; amdgpu {release} brings module {module}", release)


def _check_release(release: str, floor: DriverFloor | None, data: _Map) -> None:
    """Raises DriverError where the planned image would refuse what this release installs."""
    module = data["releases"][release]["module"]
    if floor is not None and accepted(floor, module) is None:
        fit = [name for name, other in data["releases"].items() if accepted(floor, other["module"]) is not None]
        raise DriverError(
            f"amdgpu {release} installs module {module}, and the planned image needs {floor_text(floor)}. Set rocm_release "
            f"to {any_of(fit) if fit else 'a release that brings it, once the catalogue has one'}. Nothing was changed."
        )


def _distribution_driver(loaded: str | None) -> _Decision:
    if loaded is None:
        raise DriverError(
            "rocm_source is distribution, where the kernel's own amdgpu is the driver, and no amdgpu is loaded. Load it "
            "(`modprobe amdgpu`; it needs the distribution's firmware, firmware-amd-graphics or linux-firmware, and a kernel "
            "that knows these GPUs, 6.6 or newer for MI300), or set rocm_source to vendor. Nothing was changed."
        )
    what = "the kernel's own amdgpu" if loaded == IN_TREE else f"amdgpu {loaded}"
    return _Decision("none", f"rocm_source is distribution, and {what} drives the GPUs")


def _wanted_driver(
    host: _Map, release: str, data: _Map, package: str | None, loaded: str | None, record: _Map
) -> _Decision:
    """rocm_driver is install: exactly this release."""
    module = data["releases"][release]["module"]
    here = host["packages"].get(_DKMS, "")
    exact = re.fullmatch(rf"(\d+:)?{re.escape(data['releases'][release]['package'])}-.*", here)
    if exact or (_is_el(host, data) and package == module):
        return _kept(host, f"amdgpu {release} is installed", package, loaded, record)
    if package is None:
        was = "the kernel's own amdgpu" if loaded == IN_TREE else f"amdgpu {loaded}" if loaded else "no driver"
        return _Decision("install", f"amdgpu {release} is asked for; found {was}", release)
    return _Decision("upgrade", f"amdgpu {release} is asked for; found {here}", release)


def _kept(host: _Map, reason: str, package: str | None, loaded: str | None, record: _Map) -> _Decision:
    """The driver stays as it is; it is built where a kernel's update left it behind."""
    if package is not None and not _built(host):
        kernel = host["kernel"]
        why = f"amdgpu-dkms {package} is installed, but not built for the running kernel {kernel}"
        return _Decision("install", why, None, package, [f"amdgpu {package} is built anew for the kernel {kernel}"])
    return _Decision("none", reason, None, package, _reboot_for(host, package, loaded, record))


def _reboot_for(host: _Map, package: str | None, loaded: str | None, record: _Map) -> list[str]:
    """Why the installed module needs a reboot. Raises DriverError where one has happened since and did not help."""
    if package is None or loaded == package:
        return []
    # A module that came since, by hand, has had no reboot.
    if _rebooted(host, record) and record.get("module") == package:
        raise DriverError(
            f"amdgpu {package} is installed, and the reboot since did not load it ({loaded or 'no amdgpu'} is loaded). Look "
            f"at `dkms status` and `dmesg | grep -i amdgpu` on the host{_secure_boot_hint(host)}. Nothing was changed."
        )
    return [f"amdgpu {package} is installed and {loaded or 'none'} is loaded"]


def _secure_boot_hint(host: _Map) -> str:
    return "; secure boot is on, and refuses modules whose key is not enrolled" if host.get("secure_boot") else ""


def _package_module(host: _Map) -> str | None:
    """The module version that the installed amdgpu-dkms brings: 1:6.16.13.30300000-2278356.24.04 is 6.16.13."""
    version = re.match(r"(?:\d+:)?(\d+\.\d+\.\d+)", host["packages"].get(_DKMS, ""))
    return version[1] if version else None


def _built(host: _Map) -> bool:
    """False where DKMS knows amdgpu and has nothing installed for the running kernel."""
    rows = [row for row in host["dkms"] if row["module"] == "amdgpu"]
    return not rows or any(row["kernel"] == host["kernel"] and row["state"] == "installed" for row in rows)


def _is_el(host: _Map, data: _Map) -> bool:
    return host["os"]["id"] in data["el_ids"]


def _system(host: _Map, data: _Map) -> _System:
    os_id, version = host["os"]["id"], host["os"]["version_id"]
    family = "el" if os_id in data["el_ids"] else os_id
    name = f"{family}-{version}"
    return _System(name, f"{os_id} {version}", family, data["systems"].get(name))


def _user_space(host: _Map, system: _System, wishes: AmdWishes, data: _Map, decision: _Decision) -> list[str]:
    """User space packages that are to be installed: none where they are there, or nobody asked."""
    if wishes.user_space == "none":
        return []
    if wishes.source == "distribution":
        lists = data["distribution_packages"]
        if system.name not in lists:
            raise DriverError(
                f"rocm_source is distribution, which the role knows packages of on {', '.join(lists)}; found {system.title}. "
                "Set rocm_source to vendor, or rocm_user_space to none. Nothing was changed."
            )
        # The distribution's driver is there already: its user space is all that can be asked for.
        wanted = lists[system.name]["full" if wishes.user_space == "full" else "smi"]
    else:
        if wishes.user_space == "auto" and decision.release is None:
            return []
        wanted = data["user_space_packages"]["full" if wishes.user_space == "full" else "smi"]
    return [name for name in wanted if name not in host["packages"]]


def _driver_parts(host: _Map, system: _System, wishes: AmdWishes, data: _Map, release: str) -> dict[str, t.Any]:
    """Repository, packages and what else a release of AMD's driver takes."""
    place = _packages_for(system, release, data)
    _check_secure_boot(host, wishes)
    module, package = data["releases"][release]["module"], data["releases"][release]["package"]
    if system.family == "el":
        packages = [{"name": _DKMS, "version": f"*{module}-*"}]
    else:
        # The firmware has a number of its own before the release's: 30.30.0.0.30300000-2278356.24.04.
        code = package.rpartition(".")[2]
        packages = [{"name": _DKMS, "version": f"*{package}-*"}, {"name": _FIRMWARE, "version": f"*.{code}-*"}]
    return {
        "repositories": [_driver_repository(system, place, release, wishes, data)],
        "before": epel(host) if system.family == "el" else [],
        "headers": _headers(host, system, data) if wishes.headers else [],
        "packages": packages,
        "version": module,
        "expect": {data["module"]: module},
        "reboot_reasons": [f"amdgpu {module} is new on the host"],
        "free_mib": _check_room(host, data),
    }


def _add_user_space(
    result: dict[str, t.Any], system: _System, wishes: AmdWishes, data: _Map, names: t.Sequence[str]
) -> None:
    if wishes.source == "vendor":
        place = _packages_for(system, result["branch"] or wishes.release or data["default_release"], data)
        result["repositories"].append(_user_space_repository(system, place, wishes, data))
    result["packages"] = [*result["packages"], *({"name": name, "version": ""} for name in names)]


def _outgoing(host: _Map, system: _System, data: _Map, record: _Map) -> list[str]:
    """The distribution's user space, where the role installed it: AMD's has the same programs, and versions of its own."""
    own = data["distribution_packages"].get(system.name, {}).get("full", ())
    return [name for name in own if name in record.get("packages", {}) and name in host["packages"]]


def _packages_for(system: _System, release: str, data: _Map) -> _Map:
    """AMD's suite or folder for the system. Raises DriverError where AMD has no packages of this release for it."""
    if system.data is None:
        raise DriverError(
            f"AMD has packages for {', '.join(data['systems'])}; found {system.title}. Bring the host to one of these, or "
            "install a driver by hand and set rocm_driver to keep. Nothing was changed."
        )
    since = system.data["since"]
    if version_key(release) < version_key(since):
        fit = [name for name in data["releases"] if version_key(name) >= version_key(since)]
        raise DriverError(
            f"amdgpu {release} has no packages for {system.title}; AMD covers it from {since} on. Set rocm_release to "
            f"{any_of(fit)}. Nothing was changed."
        )
    return system.data


def _check_secure_boot(host: _Map, wishes: AmdWishes) -> None:
    loaded = host["modules"]["amdgpu"]["loaded"]
    # A module of DKMS that runs under secure boot has its key enrolled.
    if not host.get("secure_boot") or wishes.secure_boot_enrolled or loaded not in (None, IN_TREE):
        return
    raise DriverError(
        "secure boot is on: the kernel refuses the module that DKMS builds until the host's own signing key is enrolled, and "
        "that is confirmed at the console during a boot, never from here. Either turn secure boot off in the firmware, or "
        "run `mokutil --import` with the key of DKMS (/var/lib/shim-signed/mok/MOK.der on Ubuntu, /var/lib/dkms/mok.pub "
        "elsewhere), reboot, confirm it at the console, and set rocm_secure_boot_enrolled to true. Nothing was changed."
    )


def _check_room(host: _Map, data: _Map) -> dict[str, int]:
    short = [
        f"{folder} has {have} MiB, of {need} needed"
        for folder, need in data["free_mib"].items()
        if (have := host.get("free_mib", {}).get(folder)) is not None and have < need
    ]
    if short:
        raise DriverError(
            f"no room for amdgpu and its build: {'; '.join(short)}. Make room and run again. Nothing was changed."
        )
    return dict(data["free_mib"])


def _headers(host: _Map, system: _System, data: _Map) -> list[str]:
    """Packages to be there before DKMS builds, less those that are."""
    names = data["headers"]
    major = system.name.partition("-")[2].partition(".")[0]
    own = host["os"]["id"] if host["os"]["id"] in names else f"{system.family}-{major}"
    wanted = [name.format(kernel=host["kernel"]) for name in names.get(own, names[system.family])]
    # Debian's names carry the kernel's release; rpm's versions are the release without the architecture.
    there = {f"{name}-{version}.{host['arch']}" for name, version in host["packages"].items()} | set(host["packages"])
    missing = [name for name in wanted if name not in there]
    if host["headers"]:
        # Built by hand, or of a kernel from elsewhere: the build tree is what counts.
        missing = [name for name in missing if "modules-extra" in name]
    return missing


def _driver_repository(system: _System, place: _Map, release: str, wishes: AmdWishes, data: _Map) -> dict[str, t.Any]:
    base = f"{wishes.repository_url.rstrip('/')}/amdgpu/{release}"
    if system.family == "el":
        return _repository("amdgpu", f"{base}/el/{place['folder']}/main/x86_64/", "", wishes, data)
    return _repository("amdgpu", f"{base}/ubuntu", place["suite"], wishes, data)


def _user_space_repository(system: _System, place: _Map, wishes: AmdWishes, data: _Map) -> dict[str, t.Any]:
    version = wishes.rocm_version or data["default_rocm"]
    base = f"{wishes.repository_url.rstrip('/')}/rocm"
    if system.family == "el":
        major = system.name.partition("-")[2].partition(".")[0]
        return _repository("rocm", f"{base}/el{major}/{version}/main", "", wishes, data)
    return _repository("rocm", f"{base}/apt/{version}", place["suite"], wishes, data)


def _repository(name: str, url: str, suite: str, wishes: AmdWishes, data: _Map) -> dict[str, t.Any]:
    key_url = wishes.key_url or f"{wishes.repository_url.rstrip('/')}/{data['key']['path']}"
    return {
        "name": name,
        "url": url,
        "suite": suite,
        "components": ["main"] if suite else [],
        "architectures": ["amd64"] if suite else [],
        "key_url": key_url,
        "key_fingerprints": list(wishes.key_fingerprints or data["key"]["fingerprints"]),
        "pin": data["pin"]["priority"],
        "pin_by": data["pin"]["by"],
    }


def _tuning(
    host: _Map,
    system: _System,
    wishes: AmdWishes,
    data: _Map,
    record: _Map,
    installing: bool,
    planned: t.Sequence[str],
) -> dict[str, t.Any]:
    """Kernel parameters: with a driver that is installed now, or when asked for; never behind a running host's back."""
    due = wishes.tuning == "always" or (wishes.tuning == "auto" and installing)
    wanted, sysctl = list(data["tuning"]["cmdline"]), dict(data["tuning"]["sysctl"])
    missing = [word for word in wanted if word not in host["cmdline"].split()]
    unlike = [name for name, value in sysctl.items() if host.get("sysctl", {}).get(name) != value]
    files: list[dict[str, str]] = []
    if due and missing and system.family != "el":
        line = f'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {" ".join(wanted)}"\n'
        files.append({"path": GRUB_DROP_IN, "content": _MARK + line, "mode": "0644"})
    if due and (unlike or installing):
        lines = "".join(f"{name} = {value}\n" for name, value in sysctl.items())
        files.append({"path": SYSCTL_DROP_IN, "content": _MARK + lines, "mode": "0644"})
    reasons, notes = list(planned), []
    noted = [word for word in record.get("cmdline", ()) if word in missing]
    if noted and wishes.tuning != "never":
        if _rebooted(host, record):
            notes.append(
                f"the boot loader was given {' '.join(noted)}, and the kernel that booted since does not have it: look at "
                "the host's boot loader configuration"
            )
        else:
            reasons.append(f"the running kernel's command line lacks {' '.join(noted)}")
    return {
        "files": files,
        "cmdline": missing if due else [],
        "sysctl": {name: sysctl[name] for name in unlike} if due else {},
        "reboot_reasons": reasons,
        "notes": notes,
    }


def _rebooted(host: _Map, record: _Map) -> bool:
    """Whether the host booted since the role last noted something down."""
    return bool(record.get("boot_id")) and record["boot_id"] != host.get("boot_id")


def _result(decision: _Decision, wishes: AmdWishes, data: _Map) -> dict[str, t.Any]:
    plan = DriverPlan(
        vendor="amd",
        action=decision.action,
        reason=decision.reason,
        source=wishes.source,
        branch=decision.release,
        version=decision.module,
        modules="open",
        downgrade=wishes.driver == "install",
        expect={data["module"]: decision.module} if decision.module else {},
        reboot_reasons=list(decision.reboot),
    )
    return {**plan.to_dict(), "sysctl": {}}
