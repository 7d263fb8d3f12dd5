# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The doctor's checks of drivers: versions that do not fit, tools that hang, Fabric Manager, nouveau, DKMS. Pure."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.sglang.fleet.plugins.module_utils._doctor_common import (
    ERROR,
    WARN,
    Check,
    Finding,
    KnowingCheck,
    Known,
    Snapshot,
    gpus_named,
    some,
)
from ansible_collections.sglang.fleet.plugins.module_utils._plan_warnings import check_driver

_VERSION: t.Final = re.compile(r"\b\d{3}(?:\.\d+){1,2}\b")
_PARTS: t.Final = {
    "gpu": "the GPUs",
    "amd": "the GPUs' power and error counters",
    "host": "packages and kernel modules",
    "nvidia": "the NVIDIA driver",
    "engine": "Docker and its containers",
    "disks": "the disks",
    "weights": "the folder of the weights",
}
#: What a deployment mends of a driver that stays (module driver_plan); one of NVIDIA's .run file is not touched.
_DEPLOY: t.Final = "or deploy, which does it where the driver is from packages and fleet_driver is not keep"
_MODULE: t.Final = {"amd": "amdgpu", "nvidia": "nvidia"}


def hanging(snapshot: Snapshot) -> t.Iterator[Finding]:
    for tool in sorted(snapshot.get("hung") or {}):
        seconds = snapshot["hung"][tool]
        if tool in ("nvidia-smi", "amd-smi"):
            yield Finding(
                "driver-hangs",
                ERROR,
                f"{tool} does not answer, so the driver hangs or takes very long to wake its GPUs",
                f"{tool} said nothing within {seconds:g} s",
                "look for NVRM, Xid or amdgpu in the kernel log (`dmesg`) and reboot the host; on NVIDIA have "
                "nvidia-persistenced run, without which every call wakes every GPU",
            )
        elif not (tool == "docker" and (snapshot.get("engine") or {}).get("problem")):
            yield Finding(
                "tool-hangs",
                WARN,
                f"{tool} does not answer",
                f"{tool} said nothing within {seconds:g} s, so what it tells was not examined",
                f"run {tool} on the host and look at what it waits for",
            )


def unexamined(snapshot: Snapshot) -> t.Iterator[Finding]:
    """What could not be looked at is not taken for healthy."""
    for part, why in sorted((snapshot.get("unexamined") or {}).items()):
        yield Finding(
            "not-examined",
            ERROR if part in ("gpu", "amd") else WARN,
            f"a part of the node could not be examined: {_PARTS.get(part, part)}",
            why,
            "look at the kernel log (`dmesg`) for a driver or a network's disk that hangs, and reboot the host; where nothing "
            "hangs, report it as an error of the doctor",
        )


def present(snapshot: Snapshot) -> t.Iterator[Finding]:
    gpu = snapshot["gpu"]
    if "gpu" in (snapshot.get("unexamined") or {}):
        return
    if not gpu["count"]:
        strange = [f"{device['pci_id']} at {device['pci_address']}" for device in gpu["unknown"]]
        yield Finding(
            "gpu-missing",
            ERROR,
            "the host shows no GPU that the catalogue knows",
            f"on the PCI bus: {some(strange)}" if strange else "no GPU of AMD or NVIDIA on the PCI bus",
            "take the host out of the group gpu_nodes, or look for the GPUs in `lspci -nn` and the firmware; add an unknown "
            "one to fleet_catalogue (gpus)",
        )
        return
    module = _MODULE[gpu["vendor"]]
    if not gpu["driver"]["loaded"]:
        installed = gpu["driver"]["name"] is not None
        yield Finding(
            "driver-missing",
            ERROR,
            f"the driver {module} is not loaded",
            f"{gpu['count']} x {gpu['model'] or gpu['vendor']}, no /sys/module/{module}; the module is "
            f"{'' if installed else 'not '}installed for the running kernel",
            f"run `modprobe {module}` or reboot the host" if installed else "deploy, which installs it",
        )
    for problem in gpu["problems"]:
        if not problem.startswith(("nvidia-smi", "amd-smi")):  # said by the checks of the tools
            what, _colon, remedy = problem.rpartition(": ")
            yield Finding(
                "gpu-problem", ERROR, "the GPUs are not as a plan needs them", what or problem, remedy or problem
            )
    for hidden in gpu["hidden"]:
        reason, _colon, remedy = hidden["reason"].partition(": ")
        yield Finding(
            "gpu-hidden",
            ERROR,
            f"a container would not get GPU {hidden['index']}",
            f"{hidden['pci_address']}: {reason}",
            remedy or "reboot the host",
        )


def mismatch(snapshot: Snapshot) -> t.Iterator[Finding]:
    """The module that is loaded against the library that programs load, and what nvidia-smi itself says."""
    nvidia = snapshot.get("nvidia") or {}
    asked = nvidia.get("query") or {}
    said = f"{asked.get('out', '')}{asked.get('err', '')}".strip()
    loaded = (snapshot["gpu"]["driver"] or {}).get("version") if snapshot["gpu"]["vendor"] == "nvidia" else None
    loaded = loaded or _first_version(nvidia.get("proc_version") or "")
    others = [version for version in nvidia.get("libraries") or [] if loaded and version != loaded]
    # Debian keeps the libraries of several drivers side by side; the one of the module among them is enough.
    split = others and loaded not in (nvidia.get("libraries") or [])
    first = said.splitlines()[0] if said else ""
    if split or "version mismatch" in first:
        found = [f"nvidia-smi: {first}"] if "version mismatch" in first else []
        if split:
            found.append(f"the loaded module is {loaded}, libnvidia-ml.so is {some(others)}")
        yield Finding(
            "driver-mismatch",
            ERROR,
            "the loaded NVIDIA driver and its libraries are of different versions: new programs do not start",
            "; ".join(found),
            "reboot the host, or unload the module and load it anew; then hold the driver's packages, so that an unattended "
            "upgrade does not split them again",
        )
    elif asked.get("rc"):  # neither 0 nor without an answer
        yield Finding(
            "driver-failed",
            ERROR,
            "nvidia-smi fails",
            f"rc {asked['rc']}: {first or 'no message'}",
            "look for NVRM in the kernel log (`dmesg`); reboot the host, or install its driver anew",
        )


def _first_version(text: str) -> str | None:
    match = _VERSION.search(text)
    return match[0] if match else None


def branch(snapshot: Snapshot, known: Known) -> t.Iterator[Finding]:
    gpu = snapshot["gpu"]
    if not gpu["count"] or not gpu["driver"]["loaded"]:
        return
    for image in known.images(snapshot):
        if image.vendor != gpu["vendor"]:
            continue
        problem = check_driver(image, gpu["driver"])
        if problem is not None:
            found, _semicolon, remedy = problem.rpartition("; ")
            yield Finding(
                "driver-branch",
                ERROR,
                f"the image {image.reference} does not start on this driver",
                found,
                f"{remedy}, or deploy, which does it",
            )


def fabric_manager(snapshot: Snapshot, known: Known) -> t.Iterator[Finding]:
    """NVSwitches need it, at exactly the driver's version (gpu-operator#544); those of NVLink 5 are not on the PCI bus."""
    gpu = snapshot["gpu"]
    manager = (snapshot.get("nvidia") or {}).get("fabric_manager")
    if gpu["vendor"] != "nvidia" or not gpu["driver"]["loaded"] or manager is None:
        return
    boards = known.catalogue.data["drivers"]["nvidia"]["gpus"]
    nvlink5 = gpu["count"] > 1 and boards.get(gpu["model"], {}).get("nvlink5", False)
    if not snapshot["host"]["nvswitches"] and not nvlink5:
        return
    switches = (
        "the NVSwitches of NVLink 5" if nvlink5 else f"{snapshot['host']['nvswitches']} NVSwitches on the PCI bus"
    )
    unit, version, driver = manager.get("unit") or {}, manager.get("version"), gpu["driver"]["version"]
    if nvlink5 and not snapshot["host"].get("nvlsm", True):
        yield Finding(
            "nvlsm-missing",
            ERROR,
            "NVLink's subnet manager is missing, without which Fabric Manager cannot set up NVLink 5",
            f"{gpu['count']} x {gpu['model']}; no package nvlsm, no /opt/nvidia/nvlsm/sbin/nvlsm",
            f"install nvlsm and infiniband-diags from NVIDIA's repository and restart nvidia-fabricmanager; {_DEPLOY}",
        )
    if unit.get("LoadState") != "loaded" and version is None:
        yield Finding(
            "fabric-manager-missing",
            ERROR,
            "the host has NVSwitches and no Fabric Manager: CUDA fails with error 802, system not yet initialized",
            f"{switches}; no unit nvidia-fabricmanager.service, no nv-fabricmanager",
            f"install the Fabric Manager of version {driver} and start it; {_DEPLOY}",
        )
        return
    if version is not None and driver is not None and version != driver:
        yield Finding(
            "fabric-manager-version",
            ERROR,
            "Fabric Manager is not of the driver's version, and refuses to run with it",
            f"Fabric Manager {version}, driver {driver}",
            f"install Fabric Manager {driver}, hold both packages, and restart nvidia-fabricmanager; {_DEPLOY}",
        )
    if unit.get("ActiveState") != "active":
        result = unit.get("Result", "")
        why = f", result {result}" if result not in ("", "success") else ""
        yield Finding(
            "fabric-manager-stopped",
            ERROR,
            "Fabric Manager does not run, although the host has NVSwitches",
            f"nvidia-fabricmanager.service is {unit.get('ActiveState') or 'not loaded'}{why}; {switches}",
            "run `systemctl enable --now nvidia-fabricmanager`; where it fails, `journalctl -u nvidia-fabricmanager` says why",
        )


def nouveau(snapshot: Snapshot) -> t.Iterator[Finding]:
    if snapshot["host"]["modules"].get("nouveau", {}).get("loaded"):
        # With NVIDIA's own beside it, it has some other card, or GPUs that a driver's installation would not free.
        alone = not snapshot["gpu"]["driver"]["loaded"]
        yield Finding(
            "nouveau-loaded",
            ERROR,
            "the kernel's own driver nouveau is loaded, which keeps NVIDIA's from its GPUs",
            "/sys/module/nouveau is there",
            "blacklist it (`blacklist nouveau`, `options nouveau modeset=0` in /etc/modprobe.d), build the initramfs anew and "
            "reboot" + (f"; {_DEPLOY}" if alone else ""),
        )


def dkms(snapshot: Snapshot) -> t.Iterator[Finding]:
    host = snapshot["host"]
    ours = [row for row in host["dkms"] if row["module"].startswith(("nvidia", "amdgpu"))]
    if not ours:
        return
    names = some(sorted({f"{row['module']} {row['version']}" for row in ours}))
    if not host["headers"]:
        yield Finding(
            "kernel-headers",
            ERROR,
            "the running kernel's headers are missing, so DKMS cannot build the driver for it",
            f"DKMS has {names}; /lib/modules/{host['kernel']}/build is not there",
            f"install the headers of {host['kernel']} (linux-headers-{host['kernel']} on Debian and Ubuntu, "
            f"kernel-devel-{host['kernel']} on Red Hat's kin), then run `dkms autoinstall`",
        )
    elif not any(row["kernel"] == host["kernel"] and row["state"] == "installed" for row in ours):
        yield Finding(
            "dkms-not-built",
            ERROR,
            "DKMS has no driver built for the running kernel",
            f"DKMS has {names}, none installed for {host['kernel']}",
            "run `dkms autoinstall` and read its log below /var/lib/dkms where it fails",
        )


def unknown(snapshot: Snapshot) -> t.Iterator[Finding]:
    gpu = snapshot["gpu"]
    lost = [device["index"] for device in gpu["devices"] if gpu["driver"]["loaded"] and not device["nodes"]]
    hidden = {item["index"] for item in gpu["hidden"]}
    lost = [index for index in lost if index not in hidden]
    if lost:
        yield Finding(
            "gpu-hidden",
            ERROR,
            f"the driver made no device node for {gpus_named(lost)}",
            "no node under /dev belongs to it",
            "look for its PCI address in the kernel log (`dmesg`) and reboot the host",
        )


DRIVER_CHECKS: t.Final[tuple[Check, ...]] = (
    hanging,
    unexamined,
    present,
    mismatch,
    nouveau,
    dkms,
    unknown,
)
DRIVER_CHECKS_KNOWING: t.Final[tuple[KnowingCheck, ...]] = (branch, fabric_manager)
