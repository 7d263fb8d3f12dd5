# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host needs so that an image starts on its GPU driver: what both vendors share. Pure; runs on the controller.

Everything comes from facts (``fleet_host`` of host_facts, ``gpu`` of gpu_facts), the image's driver floor, the section
``drivers`` of the catalogue, and what the operator asks for.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import asdict, dataclass, field

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import DriverFloor
from ansible_collections.sglang.fleet.plugins.module_utils._packages import upstream
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import any_of, version_key

__all__ = [
    "DriverError",
    "DriverPlan",
    "accepted",
    "any_of",
    "epel",
    "epel_notes",
    "floor_text",
    "of_branch",
    "system_of",
    "upstream",
    "version_key",
]


class DriverError(ValueError):
    """What is wanted cannot be done; the text says what was found, what is allowed and what to do."""


@dataclass(frozen=True)
class DriverPlan:
    """``ansible_facts.fleet_drivers``. What to do, and what the host must have in the end.

    action: none, install or upgrade. reason: why, in a sentence. version: the driver that is there, or None where the
    repository decides. repositories, packages, hold and remove are host_packages' own arguments; downgrade: whether an
    older version was asked for. before: packages of the host's own sources that go first, in a transaction of their own;
    headers: those that go with the driver's. kernels: those that DKMS builds for. files_first are written before the
    packages, files after. expect: kernel modules that must be loaded in the end, with their version, None
    for any. reboot_reasons: why a reboot is due, as things stand.
    """

    vendor: str
    action: str
    reason: str
    source: str = "vendor"
    branch: str | None = None
    version: str | None = None
    modules: str | None = None
    repositories: list[dict[str, t.Any]] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    kernels: list[str] = field(default_factory=list)
    packages: list[dict[str, str]] = field(default_factory=list)
    hold: list[str] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)
    downgrade: bool = False
    files_first: list[dict[str, str]] = field(default_factory=list)
    files: list[dict[str, str]] = field(default_factory=list)
    initramfs: list[str] = field(default_factory=list)
    services: list[str] = field(default_factory=list)
    cmdline: list[str] = field(default_factory=list)
    expect: dict[str, str | None] = field(default_factory=dict)
    reboot_reasons: list[str] = field(default_factory=list)
    free_mib: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, t.Any]:
        return asdict(self)


def system_of(os: t.Mapping[str, str]) -> str:
    """``debian-12``, ``ubuntu-24.04``; ``el-9`` for RHEL and what is like it."""
    if os.get("id") in ("rhel", "centos", "rocky", "almalinux", "ol") or "rhel" in os.get("id_like", "").split():
        return f"el-{os.get('version_id', '').split('.')[0]}"
    return f"{os.get('id', '')}-{os.get('version_id', '')}"


def of_branch(version: str, branch: str) -> bool:
    return version == branch or version.startswith(f"{branch}.")


def accepted(floor: DriverFloor, version: str) -> str | None:
    """Why the image starts on this version, None where it does not."""
    if version_key(version) >= version_key(floor.minimum):
        return f"the image asks for {floor.minimum_title} or newer"
    branch = next((branch for branch in floor.branches if of_branch(version, branch)), None)
    return None if branch is None else f"the image's own list accepts branch {branch}"


def floor_text(floor: DriverFloor) -> str:
    """What the image starts on, in the operator's words."""
    branches = f" or the branch {any_of(floor.branches)}" if floor.branches else ""
    return f"{floor.minimum_title} or newer{branches}"


def digits(text: str) -> str:
    """The branch in a title: NVIDIA 580 is 580."""
    found = re.search(r"\d+(?:\.\d+)*", text)
    return found.group(0) if found else ""


def epel(host: t.Mapping[str, t.Any]) -> list[str]:
    """What brings DKMS, or enables EPEL, which has it, on a system of the RHEL family without DKMS."""
    os = host["os"]
    release = f"oracle-epel-release-el{os['version_id'].split('.')[0]}" if os["id"] == "ol" else "epel-release"
    if {"dkms", release} & set(host["packages"]):
        return []
    # RHEL has no package that enables EPEL; a mirror or Satellite may have dkms itself.
    return [release] if os["id"] in ("centos", "rocky", "almalinux", "ol") else ["dkms"]


def epel_notes(host: t.Mapping[str, t.Any], before: t.Sequence[str]) -> list[str]:
    """What to do where no repository of a RHEL host has the dkms that goes ahead."""
    if "dkms" not in before:
        return []
    major = host["os"]["version_id"].split(".")[0]
    return [
        "the driver's modules are built by dkms, which is in EPEL, and this system has no package that enables that. Where no "
        f"repository has dkms, run `subscription-manager repos --enable codeready-builder-for-rhel-{major}-{host['arch']}-rpms` "
        f"and `dnf install https://dl.fedoraproject.org/pub/epel/epel-release-latest-{major}.noarch.rpm`, or have dkms in your "
        "own mirror, and run again"
    ]
