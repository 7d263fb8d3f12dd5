# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The doctor's checks of the GPUs themselves: memory that nobody holds, errors, clocks, power. Pure."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ansible_collections.sglang.fleet.plugins.module_utils._doctor_common import (
    ERROR,
    WARN,
    Check,
    Finding,
    Snapshot,
    gpus_named,
    some,
)

#: MiB of a GPU that the driver may keep for itself: an idle MI300X shows 283, an idle H200 up to some 600.
IDLE_MIB: t.Final = 2048
#: MiB that processes may take of a GPU beyond what the driver counts as theirs: contexts, page tables, XGMI buffers.
UNCOUNTED_MIB: t.Final = 8192

_XID: t.Final = re.compile(r"NVRM: Xid \(PCI:([0-9a-fA-F:.]+)[^)]*\): (\d+),?\s*(.*)")
_SXID: t.Final = re.compile(r"SXid \(PCI:([0-9a-fA-F:.]+)\): (\d+),?\s*(.*)")
#: Xids that a program's own fault usually raises (docs.nvidia.com/deploy/xid-errors), and 63, a row that was remapped
#: with success.
MILD_XIDS: t.Final = frozenset({13, 31, 43, 45, 63, 68})
_XID_REMEDY: t.Final = {
    48: "restart the server; where it comes back, take the GPU out and have it replaced (uncorrectable memory error)",
    64: "reset or reboot the host; a row that cannot be remapped calls for a replacement",
    74: "reboot the host; where it comes back, have the NVLink bridge or baseboard looked at",
    79: "reboot the host; where it comes back, look at the GPU's seat, power and cooling",
    94: "restart the server; where it comes back, have the GPU replaced (contained memory error)",
    95: "reset or reboot the host, then watch it (uncontained memory error)",
    119: "reboot the host and bring the driver to the newest release of its branch (the GPU's firmware did not answer)",
    120: "reboot the host and bring the driver to the newest release of its branch (the GPU's firmware failed)",
}

#: Clock event reasons that say that something is wrong. A software power cap under load, or idling, is as it should be.
_SLOW: t.Final = {
    "HW Slowdown": ERROR,
    "HW Thermal Slowdown": ERROR,
    "HW Power Brake Slowdown": ERROR,
    "SW Thermal Slowdown": WARN,
}


def held_memory(snapshot: Snapshot) -> t.Iterator[Finding]:
    """Memory in use that no living process accounts for: a process that died under SIGKILL can leave it on AMD."""
    gpu = snapshot["gpu"]
    if (snapshot.get("hung") or {}).keys() & {"nvidia-smi", "amd-smi"}:
        return
    used = {device["index"]: device["memory_used_mib"] for device in gpu["devices"]}
    by_gpu: dict[int, list[t.Mapping[str, t.Any]]] = {index: [] for index in used}
    for holder in gpu["holders"]:
        for index in holder["gpus"]:
            by_gpu.setdefault(index, []).append(holder)
    orphaned = [index for index, mib in used.items() if mib is not None and not by_gpu[index] and mib > IDLE_MIB]
    if orphaned:
        most = max(used[index] for index in orphaned)
        yield Finding(
            "vram-held",
            ERROR,
            f"memory of {gpus_named(orphaned)} is in use and no living process holds it: a server has no room there",
            f"up to {most} MiB of {gpu['memory_mib']} MiB in use on each, no holder",
            _free_remedy(gpu["vendor"]),
        )
    shared = [index for index, holders in by_gpu.items() if holders and used.get(index) is not None]
    counted = all(holder["memory_mib"] is not None for holder in gpu["holders"])
    if shared and counted:
        total, theirs = sum(used[index] for index in shared), sum(holder["memory_mib"] for holder in gpu["holders"])
        if total - theirs > UNCOUNTED_MIB * len(shared):
            yield Finding(
                "vram-held",
                WARN,
                f"more memory of {gpus_named(shared)} is in use than the living processes hold",
                f"{total} MiB in use, {theirs} MiB held by {some([holder['command'] for holder in gpu['holders']])}",
                _free_remedy(gpu["vendor"]),
            )


def _free_remedy(vendor: str) -> str:
    if vendor == "amd":
        return "stop what uses the GPUs, then `amd-smi reset --gpureset --gpu all`, or reboot the host"
    return (
        "look for it with `fuser -v /dev/nvidia*` (it may live in another PID namespace) and stop it; else "
        "`nvidia-smi --gpu-reset` with nothing running, or reboot the host"
    )


@dataclass
class _Events:
    """Log lines of one kind."""

    lines: list[str]
    places: set[str]
    said: str

    def span(self) -> str:
        first, last = (_stamp(line) for line in (self.lines[0], self.lines[-1]))
        when = f"at {first}" if first == last else f"from {first} to {last}"
        return f"{len(self.lines)} x {when}, at {some(sorted(self.places))}: {self.said}"


def _stamp(line: str) -> str:
    return line.split(" ", 1)[0]


def kernel_log(snapshot: Snapshot) -> t.Iterator[Finding]:
    """Errors of GPUs and switches in the kernel's log of this boot, of the last seven days."""
    xids: dict[tuple[str, int], _Events] = {}
    amd: list[str] = []
    fallen: list[str] = []
    for line in (snapshot.get("kernel_log") or {}).get("lines") or []:
        xid, sxid = _XID.search(line), _SXID.search(line)
        match = xid or sxid
        if match:
            kind = ("Xid" if xid else "SXid", int(match[2]))
            events = xids.setdefault(kind, _Events([], set(), _cut(match[3]) or "no more was said"))
            events.lines.append(line)
            events.places.add(match[1])
        elif "fallen off the bus" in line:
            fallen.append(line)
        elif "amdgpu" in line:
            amd.append(line)
    for (name, number), events in sorted(xids.items()):
        yield _xid_finding(name, number, events)
    if fallen and ("Xid", 79) not in xids:
        yield Finding(
            "xid-errors", ERROR, "a GPU fell off the bus", _Events(fallen, {"?"}, _message(fallen[-1])).span(),
            _XID_REMEDY[79],
        )  # fmt: skip
    if amd:
        places = {
            match[0]
            for line in amd
            for match in [re.search(r"\b[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.\d", line)]
            if match
        }
        yield Finding(
            "ras-errors",
            ERROR,
            "amdgpu reports errors of the hardware or had to reset a GPU",
            _Events(amd, places or {"an unnamed GPU"}, _cut(_message(amd[-1]))).span(),
            "restart the servers; where it comes back, reboot the host, run AMD's validation (`rvs`, `amd-smi metric --ecc`) "
            "and have the GPU replaced",
        )


def _xid_finding(kind: str, number: int, events: _Events) -> Finding:
    mild = kind == "Xid" and number in MILD_XIDS
    # The switch's driver says of each SXid whether it ends the work of a GPU (Fabric Manager User Guide, SXid errors).
    if kind == "SXid" and all("Non-fatal" in line for line in events.lines):
        return Finding(
            "xid-errors",
            WARN,
            f"the kernel log has SXid {number}, which the NVSwitch's driver calls non-fatal",
            events.span(),
            "nothing, where it stays rare; where it comes again and again, reboot the host and have the board looked at",
        )
    return Finding(
        "xid-errors",
        WARN if mild else ERROR,
        f"the kernel log has {kind} {number}" + (", which a program's own fault usually raises" if mild else ""),
        events.span(),
        _XID_REMEDY.get(number if kind == "Xid" else -1)
        or (
            "look at what the server said at that time (`journalctl -u sglang@0`)"
            if mild
            else f"look {kind} {number} up at https://docs.nvidia.com/deploy/xid-errors/ and do what it says there"
        ),
    )


def _message(line: str) -> str:
    """The line without its stamp, host name and tags."""
    return re.sub(r"^\S+ (?:\S+ kernel: )?(?:amdgpu [0-9a-f:.]+: )?(?:amdgpu: )?", "", line)


def _cut(text: str, limit: int = 160) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def counted_errors(snapshot: Snapshot) -> t.Iterator[Finding]:
    """The counters since the driver was loaded: of nvidia-smi (volatile), and amdgpu's ras folder."""
    bad: dict[str, str] = {}
    for address, values in query(snapshot).items():
        counts = {
            name.rsplit("/", 1)[-1]: int(value)
            for name, value in values.items()
            if name.startswith("ECC Errors/Volatile/") and "Uncorrectable" in name and value.isdigit()
        }
        said = [f"{name} {count}" for name, count in counts.items() if count]
        if said:
            bad[address] = ", ".join(said)
    for card in snapshot.get("amd") or []:
        said = [f"{block} {count}" for block, count in sorted(card["uncorrectable"].items()) if count]
        if said:
            bad[card["pci_address"]] = "uncorrectable: " + ", ".join(said)
    if bad:
        yield Finding(
            "ecc-errors",
            ERROR,
            f"{len(bad)} GPU{'s' if len(bad) > 1 else ''} counted memory errors that could not be corrected",
            some([f"{address}: {said}" for address, said in sorted(bad.items())]),
            "restart the servers on it and reboot the host; where the count grows again, have the GPU replaced",
        )


def clocks(snapshot: Snapshot) -> t.Iterator[Finding]:
    slow: dict[str, list[str]] = {}
    for address, values in query(snapshot).items():
        for name, value in values.items():
            reason = name.rsplit("/", 1)[-1]
            if re.match(r"Clocks (?:Event|Throttle) Reasons/", name) and reason in _SLOW and value == "Active":
                slow.setdefault(reason, []).append(address)
    if slow:
        yield Finding(
            "clocks-throttled",
            ERROR if any(_SLOW[reason] == ERROR for reason in slow) else WARN,
            "GPUs are slowed down by heat or power",
            "; ".join(f"{reason}: {some(sorted(places))}" for reason, places in sorted(slow.items())),
            "look at temperatures and power (`nvidia-smi -q -d TEMPERATURE,POWER`), the host's fans and its power supplies",
        )
    forced = {
        card["pci_address"]: card["level"]
        for card in snapshot.get("amd") or []
        if card["level"] not in (None, "", "auto", "perf_determinism")
    }
    if forced:
        yield Finding(
            "clocks-forced",
            WARN,
            "GPUs do not choose their own clocks",
            some([f"{address}: {level}" for address, level in sorted(forced.items())])
            + " in power_dpm_force_performance_level",
            "`amd-smi set --gpu all --perf-level auto` where nobody meant it",
        )


def power(snapshot: Snapshot) -> t.Iterator[Finding]:
    capped: dict[str, tuple[float, float]] = {}
    for address, values in query(snapshot).items():
        default = _watts(values, "Default Power Limit")
        limit = _watts(values, "Current Power Limit") or _watts(values, "Power Limit")
        if default and limit and limit < default:
            capped[address] = (limit, default)
    for card in snapshot.get("amd") or []:
        if card["cap_w"] and card["cap_default_w"] and card["cap_w"] < card["cap_default_w"]:
            capped[card["pci_address"]] = (card["cap_w"], card["cap_default_w"])
    if capped:
        tool = (
            "nvidia-smi -pl WATTS"
            if snapshot["gpu"]["vendor"] == "nvidia"
            else "amd-smi set --gpu all --power-cap WATTS"
        )
        yield Finding(
            "power-cap",
            WARN,
            "GPUs are capped below the power that they are made for, and are slower by it",
            some([f"{address}: {limit:g} W of {default:g} W" for address, (limit, default) in sorted(capped.items())]),
            f"`{tool}` where nobody meant it",
        )


def _watts(values: t.Mapping[str, str], name: str) -> float | None:
    """Of the GPU, not of the module that it shares with a CPU; drivers before 530 call the section Power Readings."""
    for section in ("GPU Power Readings", "Power Readings"):
        match = re.match(r"([\d.]+) W", values.get(f"{section}/{name}", ""))
        if match:
            return float(match[1])
    return None


def query(snapshot: Snapshot) -> dict[str, dict[str, str]]:
    answer = (snapshot.get("nvidia") or {}).get("query") or {}
    return parse_query(answer.get("out") or "") if answer.get("rc") == 0 else {}


def parse_query(text: str) -> dict[str, dict[str, str]]:
    """`nvidia-smi -q` as {PCI address: {"Section/Subsection/Name": value}}, by its indentation."""
    gpus: dict[str, dict[str, str]] = {}
    values: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = re.fullmatch(r"GPU 0*([0-9A-Fa-f]{4}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7])", line.strip())
        if match and not line.startswith(" "):
            values = gpus.setdefault(match[1].lower(), {})
            path = []
            continue
        depth = len(line) - len(line.lstrip(" "))
        if not line.strip() or not depth:
            continue
        while path and path[-1][0] >= depth:
            path.pop()
        name, colon, value = line.strip().partition(" :")
        if not colon:
            name, colon, value = line.strip().partition(": ")
        name = name.strip()
        if colon:
            values["/".join([*(part for _depth, part in path), name])] = value.strip()
        # A line with a value can have others below it, as HW Slowdown has.
        path.append((depth, name))
    return gpus


GPU_CHECKS: t.Final[tuple[Check, ...]] = (held_memory, kernel_log, counted_errors, clocks, power)
