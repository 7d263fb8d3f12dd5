# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The doctor's checks of servers and their containers. Pure."""

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
    some,
)
from ansible_collections.sglang.fleet.plugins.module_utils._doctor_containers import LOST
from ansible_collections.sglang.fleet.plugins.module_utils._doctor_files import VISIBLE

#: systemd starts a crashed server anew after five seconds; so many starts in so short a time are a loop.
_LOOP_STARTS, _LOOP_SECONDS = 3, 15 * 60
#: A server may take this long to load its weights before its silence is an error; the first start fetches them too.
_STARTUP_SECONDS: t.Final = 30 * 60
_UNITS: t.Final = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def engine(snapshot: Snapshot) -> t.Iterator[Finding]:
    problem = (snapshot.get("engine") or {}).get("problem")
    if problem:
        yield Finding(
            "engine-down",
            ERROR,
            "Docker is installed and does not answer",
            problem,
            "`systemctl status docker` and `journalctl -u docker` say why; a broken /etc/docker/daemon.json is named there",
        )


def render_gid(snapshot: Snapshot) -> t.Iterator[Finding]:
    """Numeric groups of a container against the owners of the device nodes; a name means the image's own group."""
    nodes: t.Mapping[str, t.Mapping[str, int]] = snapshot.get("nodes") or {}
    owners = {path: node["gid"] for path, node in nodes.items() if not node["mode"] & 0o006}
    render = snapshot["gpu"]["render_gid"]
    strange = {path: gid for path, gid in owners.items() if gid != render and not path.endswith("/card0")}
    if render is not None and strange and len(set(owners.values())) == 1:
        yield Finding(
            "render-gid",
            WARN,
            "the GPUs' device nodes do not belong to the group render",
            f"{some(sorted(strange))}: group {min(strange.values())}; render is {render} in /etc/group",
            "run `udevadm trigger --subsystem-match=drm --subsystem-match=kfd`, or reboot the host",
        )
    for name, where, groups in _groups(snapshot):
        given = {int(group) for group in groups if group.isdigit()}
        if not given:
            continue
        shut = {
            path: gid for path, gid in owners.items() if gid not in given and path in _own_nodes(snapshot, name, nodes)
        }
        if shut:
            yield Finding(
                "render-gid",
                ERROR,
                f"the server {name} is not in the group that the GPUs' device nodes belong to",
                f"{where} has the groups {some(sorted(groups))}; {some(sorted(shut), 2)} belong to "
                f"{some(sorted({str(gid) for gid in shut.values()}))}",
                "deploy, which passes the host's numeric groups on and starts the server anew",
            )


def _groups(snapshot: Snapshot) -> t.Iterator[tuple[str, str, list[str]]]:
    running = {item["name"]: item for item in snapshot.get("containers") or [] if item["running"]}
    for instance in snapshot.get("instances") or []:
        container = running.get(f"sglang-{instance['name']}")
        if container is not None:
            yield instance["name"], f"its container {container['name']}", list(container["groups"])
        else:
            yield instance["name"], f"/etc/sglang/{instance['name']}.env", _values(instance["options"], "--group-add")


def _own_nodes(snapshot: Snapshot, name: str, nodes: t.Iterable[str]) -> set[str]:
    """The nodes that the instance is given; a folder such as /dev/dri gives all below it."""
    options = next(item["options"] for item in snapshot["instances"] if item["name"] == name)
    given = [value.split(":")[0] for value in _values(options, "--device")]
    return {node for node in nodes if any(node == path or node.startswith(f"{path}/") for path in given)}


def _values(options: t.Iterable[str], name: str) -> list[str]:
    return [word[len(name) + 1 :] for word in options if word.startswith(f"{name}=")]


def visibility(snapshot: Snapshot) -> t.Iterator[Finding]:
    for container in snapshot.get("containers") or []:
        if not container["running"]:
            continue
        expected = _gpus_of(snapshot, container)
        for name, value in sorted(container["environment"].items()):
            if name in VISIBLE and hides(value, expected):
                yield Finding(
                    "gpus-invisible",
                    ERROR,
                    f"the container {container['name']} has {name}, which hides GPUs from its server",
                    f"{name}={value!r}, and the container was given {expected} GPUs",
                    "take it out of the image or the container's options, then deploy or restart the server",
                )
    for where, environment in sorted((snapshot.get("environments") or {}).items()):
        for name, value in sorted(environment.items()):
            if name in VISIBLE and hides(value, snapshot["gpu"]["count"]):
                yield Finding(
                    "gpus-invisible",
                    WARN,
                    f"{where} sets {name}, which hides GPUs from what it starts on the host",
                    f"{name}={value!r}, and the host has {snapshot['gpu']['count']} GPUs",
                    f"take it out of {where}, unless it is meant; a plan gives each server its GPUs itself",
                )


def _gpus_of(snapshot: Snapshot, container: t.Mapping[str, t.Any]) -> int:
    nodes = [path for path in container["nodes"] if re.fullmatch(r"/dev/(?:nvidia\d+|dri/renderD\d+)", path)]
    return len(nodes) or int(snapshot["gpu"]["count"])


def hides(value: str, count: int) -> bool:
    """Whether the value of such a variable shows less than ``count`` GPUs: a list ends at its first invalid entry."""
    shown: list[str] = []
    for word in value.split(","):
        word = word.strip()
        if not re.fullmatch(r"\d+|(?:GPU|MIG)-[0-9a-fA-F-]+", word):
            break
        shown.append(word)
    return len(set(shown)) < count


def lost_gpus(snapshot: Snapshot) -> t.Iterator[Finding]:
    """After a daemon-reload systemd knows only the devices that it was told of (nvidia-container-toolkit#48, #1227)."""
    reloaded = snapshot.get("reloaded")
    for container in snapshot.get("containers") or []:
        if not container["running"] or container["privileged"]:
            continue
        why: list[str] = []
        shut = [path for path, allowed in sorted(container["nodes"].items()) if allowed is False]
        if shut and container["cgroup"] == "v1":
            why.append(f"its device cgroup allows no {some(shut, 2)}")
        elif shut and reloaded and container["started"] and reloaded > container["started"]:
            why.append(
                f"systemd was reloaded {_ago(snapshot, reloaded)}, after the container's start, and the unit of its cgroup "
                f"allows no {some(shut, 2)}"
            )
        gone = [path for path in container["given"] if path not in container["nodes"]]
        if gone:
            why.append(f"{some(gone, 2)} is no longer in its /dev")
        if container["said_lost"]:
            why.append(f"it said {LOST!r}, last at {container['said_lost']}")
        if why:
            yield Finding(
                "gpu-lost",
                ERROR,
                f"the running container {container['name']} has lost its GPUs: new processes in it cannot open them",
                "; ".join(why),
                f"restart its server (`systemctl restart {_unit(container['name'])}`); give devices by --device or CDI, as the "
                "profile hardened does, so that a daemon-reload cannot take them",
            )


def _unit(container: str) -> str:
    return f"sglang@{container[len('sglang-') :]}"


def _ago(snapshot: Snapshot, moment: float) -> str:
    seconds = max(0, int(snapshot["now"] - moment))
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def shared_memory(snapshot: Snapshot, known: Known) -> t.Iterator[Finding]:
    least = least_shm(snapshot, known)
    if least is None:
        return
    wants = f"the published run line has {least // (1 << 30)} GiB"
    host = False
    for container in snapshot.get("containers") or []:
        if not container["running"]:
            continue
        if container["ipc"] == "host":
            host = True
        elif container["shm_bytes"] is not None and container["shm_bytes"] < least:
            yield Finding(
                "shm-small",
                ERROR,
                f"the container {container['name']} has too small a /dev/shm: tensor parallel servers exchange data in it",
                f"{container['shm_bytes'] >> 20} MiB; {wants}",
                "give the container --shm-size, as the plan does: deploy, which starts the server anew",
            )
    if host and snapshot.get("shm_bytes") is not None and snapshot["shm_bytes"] < least:
        yield Finding(
            "shm-small",
            ERROR,
            "the host has too small a /dev/shm, and its containers use the host's",
            f"{snapshot['shm_bytes'] >> 20} MiB; {wants}",
            "`mount -o remount,size=50% /dev/shm` (and the same in /etc/fstab), or use the profile hardened",
        )


def least_shm(snapshot: Snapshot, known: Known) -> int | None:
    """The published --shm-size for the node's vendor, which the profile hardened has."""
    profile = known.catalogue.container_profiles["hardened"].get(snapshot["gpu"]["vendor"])
    sizes = _values(profile.options, "--shm-size") if profile else []
    return docker_bytes(sizes[-1]) if sizes else None


def docker_bytes(text: str) -> int | None:
    """A size as docker takes it: 32g, 512m, 67108864."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([bkmg]?)b?", text.strip().lower())
    return int(float(match[1]) * _UNITS[match[2]]) if match else None


def units(snapshot: Snapshot) -> t.Iterator[Finding]:
    recorded = (snapshot.get("state") or {}).get("instances") or {}
    for instance in snapshot.get("instances") or []:
        unit, name = instance["unit"], f"sglang@{instance['name']}"
        state, restarts = unit.get("ActiveState", ""), int(unit.get("NRestarts") or 0)
        since = instance["since"]
        young = since is None or snapshot["now"] - since < _LOOP_SECONDS
        log = f"`journalctl -u {name} -n 100` says why"
        if state == "failed":
            result = unit.get("Result") or "unknown"
            limit = result == "start-limit-hit" or restarts >= _LOOP_STARTS
            yield Finding(
                "unit-failed",
                ERROR,
                f"the server {name} has failed" + (" again and again, and systemd gave up" if limit else ""),
                f"{name}.service is failed, result {result}, {restarts} restarts",
                f"{log}; then deploy, or `systemctl reset-failed {name}` and `systemctl start {name}`",
            )
        elif unit.get("SubState") == "auto-restart" or (restarts >= _LOOP_STARTS and young):
            yield Finding(
                "unit-looping",
                ERROR,
                f"the server {name} crashes and is started again and again",
                f"{name}.service is {state} ({unit.get('SubState')}) after {restarts} restart{'s' if restarts > 1 else ''}",
                log,
            )
        elif state == "inactive" and instance["name"] in recorded:
            yield Finding(
                "unit-stopped",
                WARN,
                f"the server {name} is stopped",
                f"{name}.service is inactive, and the node's record says that it serves",
                f"`systemctl start {name}` or deploy; remove takes it away for good",
            )
        elif state == "active":
            yield from _silent(snapshot, instance)


def _silent(snapshot: Snapshot, instance: t.Mapping[str, t.Any]) -> t.Iterator[Finding]:
    if instance["health"] in (200, None):
        return
    running = snapshot["now"] - instance["since"] if instance["since"] else None
    young = running is not None and running < _STARTUP_SECONDS
    age = f", started {_ago(snapshot, instance['since'])}" if instance["since"] else ""
    answer = f"status {instance['health']}" if instance["health"] else instance["said"] or "no answer"
    yield Finding(
        "server-silent",
        WARN if young else ERROR,
        f"the server sglang@{instance['name']} runs and is not healthy"
        + (": it may still be loading its weights" if young else ""),
        f"GET {instance['endpoint']}/health: {answer}{age}",
        f"`journalctl -u sglang@{instance['name']} -n 100` says what it does; a server that hangs is started anew by "
        f"`systemctl restart sglang@{instance['name']}`",
    )


def drift(snapshot: Snapshot) -> t.Iterator[Finding]:
    """What was applied and has passed its gates against what is there now."""
    state = snapshot.get("state") or {}
    recorded: t.Mapping[str, t.Any] = state.get("instances") or {}
    there = {item["name"]: item for item in snapshot.get("instances") or []}
    image = (state.get("image") or {}).get("id")
    running = {item["name"]: item for item in snapshot.get("containers") or [] if item["running"]}
    found: list[str] = []
    if snapshot.get("state_torn"):
        found.append(f"{snapshot['state_torn']} is not JSON")
    found += [
        f"the record has instance {name}, and /etc/sglang/{name}.env is gone"
        for name in sorted(set(recorded) - set(there))
    ]
    for name, instance in sorted(there.items()):
        planned = (recorded.get(name) or {}).get("plan") or {}
        if name in recorded and image and instance["image"] != image:
            found.append(f"{name}.env has the image {instance['image'][:19]}, the record {image[:19]}")
        missing = [word for word in planned.get("container_options") or [] if word not in instance["options"]]
        if missing:
            found.append(f"{name}.env lacks {some(missing, 2)} of the record")
        container = running.get(f"sglang-{name}")
        if (
            container is not None
            and instance["written"]
            and container["started"]
            and instance["written"] > container["started"]
        ):
            found.append(f"{name}'s configuration was written after its container's start")
        if instance["unit"].get("NeedDaemonReload") == "yes":
            found.append(f"systemd has not read the newest unit file of sglang@{name}")
    if found:
        yield Finding(
            "drift",
            WARN,
            "what is on the node is not what was applied and tested",
            some(found),
            "`sglang-fleet plan -i INVENTORY` shows the difference; a deploy mends it",
        )


SERVER_CHECKS: t.Final[tuple[Check, ...]] = (engine, render_gid, visibility, lost_gpus, units, drift)
SERVER_CHECKS_KNOWING: t.Final[tuple[KnowingCheck, ...]] = (shared_memory,)
