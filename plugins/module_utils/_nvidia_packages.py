# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NVIDIA's packages for a case: names, repository, headers, files and services. Pure.

Names and rules are the catalogue's (``drivers.nvidia``); this file holds only how they are put together.
"""

from __future__ import annotations

import fnmatch
import re
import typing as t

from ansible_collections.sglang.fleet.plugins.module_utils._drivers import (
    epel,
    upstream,
    version_key,
)
from ansible_collections.sglang.fleet.plugins.module_utils._nvidia_host import (
    BUILT_MODULE,
    SIGNED_MODULE,
    Case,
    Data,
    flavour_of,
)

BLACKLIST_FILE: t.Final = "/etc/modprobe.d/nvidia-fleet.conf"
_BLACKLIST: t.Final = "# Written by sglang.fleet: NVIDIA's driver needs the GPUs for itself.\nblacklist nouveau\noptions nouveau modeset=0\n"
_NVLINK5_MODULES: t.Final = (
    "# Written by sglang.fleet: what the NVLink 5 fabric is managed through.\nmlx5_core\nib_umad\n"
)
_STREAM_FILE: t.Final = "/etc/dnf/modules.d/nvidia-driver.module"


def held_together(case: Case, version: str) -> list[str]:
    """What is installed of the driver at its version: what unattended upgrades could split."""
    return sorted(
        name
        for name, installed in case.host["packages"].items()
        if upstream(installed) == version and any(fnmatch.fnmatch(name, glob) for glob in case.data["driver_packages"])
    )


def package(name: str, version: str) -> dict[str, str]:
    return {"name": name, "version": version, "group": "nvidia" if version else ""}


def package_names(case: Case, branch: str, modules: str) -> list[str]:
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
        names += manager_names(case, branch)
    if case.wishes.imex:
        new = "" if version_key(branch) < version_key(case.data["unsuffixed_since"]) else "new_"
        names += [name.format(branch=branch) for name in case.family[f"{new}imex"]]
    return names


def manager_names(case: Case, branch: str) -> list[str]:
    """Fabric Manager, from the distribution where that has it, and what it needs for NVLink 5."""
    new = "" if version_key(branch) < version_key(case.data["unsuffixed_since"]) else "new_"
    templates = case.family[f"{new}fabric_manager"]
    if case.wishes.source == "distribution":
        templates = distributions_manager(case) or templates
    names = [*templates, *(case.family["nvlink5"] if case.nvlink5 else ())]
    return [name.format(branch=branch) for name in names]


def distributions_manager(case: Case) -> list[str]:
    """Fabric Manager as the distribution has it, empty where it has none."""
    return list(case.family.get("distribution", {}).get("fabric_manager") or ())


def _meta_flavour(case: Case) -> str:
    """The kind of kernels that the host follows, such as generic-hwe-24.04; empty where its kernel's package names none."""
    flavour = flavour_of(case.kernel)
    metas = [name[len("linux-image-") :] for name in case.host["packages"] if re.match(r"linux-image-[a-z]", name)]
    fit = [name for name in metas if re.fullmatch(rf"{re.escape(flavour)}(?:-hwe-[\d.]+|-\d+\.\d+)?", name)]
    return fit[0] if len(fit) == 1 else ""


def of_driver(case: Case, name: str) -> bool:
    return any(fnmatch.fnmatch(name, glob) for glob in case.data["driver_packages"])


def in_the_way(case: Case, branch: str, modules: str, names: t.Sequence[str]) -> list[str]:
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
        and (of_other_branch.match(name) or BUILT_MODULE.match(name) or SIGNED_MODULE.match(name))
    )


def repository(case: Case, branch: str, version: str) -> dict[str, t.Any]:
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


def distribution_repositories(case: Case) -> list[dict[str, t.Any]]:
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


def packages_before(case: Case) -> list[str]:
    """What brings DKMS on the RHEL family, ahead of everything else."""
    return [] if case.signed or case.entry["family"] != "el" else epel(case.host)


def headers(case: Case) -> list[str]:
    if not case.wishes.headers or case.signed:
        return []
    return [
        name.format(kernel=kernel)
        for kernel in case.kernels
        if not (case.host["headers"] and kernel == case.host["kernel"])
        for name in case.family["headers"]
    ]


def stream(case: Case, branch: str, modules: str) -> list[dict[str, str]]:
    """What `dnf module enable nvidia-driver:STREAM` writes, where NVIDIA's repository is made of streams."""
    if not case.entry["streams"]:
        return []
    stream = f"{branch}-{'open' if modules == 'open' else 'dkms'}"
    content = f"[nvidia-driver]\nname=nvidia-driver\nstream={stream}\nprofiles=\nstate=enabled\n"
    return [{"path": _STREAM_FILE, "content": content, "mode": "0644"}]


def files(case: Case) -> list[dict[str, str]]:
    files = [{"path": BLACKLIST_FILE, "content": _BLACKLIST, "mode": "0644"}]
    if case.nvlink5:
        files.append({"path": "/etc/modules-load.d/nvidia-fleet.conf", "content": _NVLINK5_MODULES, "mode": "0644"})
    return files


def initramfs(host: Data) -> list[str]:
    """The command that takes the blacklist over into the initramfs, where the host has one."""
    if "initramfs-tools" in host["packages"] or "initramfs-tools-core" in host["packages"]:
        return ["update-initramfs", "-u"]
    return ["dracut", "--force"] if "dracut" in host["packages"] else []


def services(case: Case) -> list[str]:
    services = ["nvidia-persistenced.service"]
    if case.nvswitches:
        services.append("nvidia-fabricmanager.service")
    return [*services, "nvidia-imex.service"] if case.wishes.imex else services
