# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host with NVIDIA GPUs as its driver's plan sees it, and what the operator asks for. Pure."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import DriverFloor
from ansible_collections.sglang.fleet.plugins.module_utils._drivers import (
    DriverError,
    system_of,
    upstream,
    version_key,
)

OWNER: t.Final = "nvidia_driver"
#: Packages of kernel modules, by name. Those of the first kind have the driver's version, Ubuntu's signed ones the kernel's.
BUILT_MODULE: t.Final = re.compile(r"nvidia-(?:dkms|kernel-(?:open-)?dkms|open-kernel-dkms)(?:$|-)|kmod-nvidia-")
SIGNED_MODULE: t.Final = re.compile(r"linux-modules-nvidia-(\d+)-")
MANAGER: t.Final = re.compile(r"nvidia-fabric-?manager(?:-\d+)?$")
UNDONE: t.Final = "Nothing was changed."
Data = t.Mapping[str, t.Any]
#: how a reason names the source that is not the distribution
VENDORS_OWN: t.Final = "NVIDIA's repository"


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
class Case:
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
                f"again: one that the image starts on is left alone. {UNDONE}"
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
        flavour = flavour_of(running)
        names = [name.replace("image-unsigned-", "image-") for name in self.host["packages"]]
        found = [name[len("linux-image-") :] for name in names if re.match(r"linux-image-\d", name)]
        if "kernel-core" in self.host["packages"]:
            found.append(f"{self.host['packages']['kernel-core']}.{self.host['arch']}")
        newest = max([running, *(other for other in found if flavour_of(other) == flavour)], key=version_key)
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


def flavour_of(kernel: str) -> str:
    """What makes kernels of one kind: cloud-amd64 of 6.1.0-40-cloud-amd64, generic of 6.8.0-85-generic."""
    # Debian's backports have +bpo or +deb13 in between.
    return re.sub(r"^[\d.~-]+(?:\+[\w.]+-)?", "", kernel) if "-" in kernel and ".el" not in kernel else ""


def present(host: Data, gpu: Data) -> str | None:
    """The version that runs after the next start: on disk for the kernel, in packages, or loaded."""
    module = host["modules"]["nvidia"]
    packaged = [upstream(version) for name, version in host["packages"].items() if BUILT_MODULE.match(name)]
    built = [
        row["version"] for row in host["dkms"] if row["module"].startswith("nvidia") and row["state"] == "installed"
    ]
    for version in (module["installed"], *packaged, *built, module["loaded"], (gpu.get("driver") or {}).get("version")):
        if version and re.match(r"\d", version):
            return str(version)
    return None


def nouveau(host: Data) -> bool:
    """Whether it has the GPUs."""
    return host["modules"]["nouveau"]["loaded"] is not None and host["modules"]["nvidia"]["loaded"] is None


def built(host: Data, kernel: str) -> bool:
    """False where DKMS has the driver and nothing of it installed for the kernel, nor has anybody else."""
    rows = [row for row in host["dkms"] if row["module"].startswith("nvidia")]
    module = host["modules"]["nvidia"]
    if kernel == host["kernel"] and (module["loaded"] or module["installed"]):
        return True
    return not rows or any(row["kernel"] == kernel and row["state"] == "installed" for row in rows)


def fabric_manager(host: Data) -> tuple[str | None, bool]:
    """Its version, None for none, and whether it is the packages' to bring: not where it came without one."""
    found = [upstream(version) for name, version in host["packages"].items() if MANAGER.match(name)]
    if found:
        return found[0], True
    other = host.get("fabric_manager")
    return (str(other), False) if other else (None, True)
