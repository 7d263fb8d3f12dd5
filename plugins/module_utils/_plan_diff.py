# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan changes on a node: the plan against what was applied there and runs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import gpus_text

#: What a deploy would do with an instance, the weightiest first; the node's own action is the first that occurs.
ACTIONS = ("restart", "stop", "start", "check", "none")

#: systemd's ActiveState of a unit that a deploy leaves running
_RUNNING = ("active", "activating", "reloading")
#: server arguments that are told apart from the others: model, address and port have their own words
_TOLD = ("model-path", "host", "port")


def plan_change(plan: Mapping[str, Any], servers: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a deploy of this plan would do on the node.

    plan: `fleet_plan`. servers: `fleet_servers`, or None where nobody has looked. Gives::

        {"action": "restart|stop|start|check|none|unknown",
         "instances": {name: {"action", "why": [words], "image", "patches", "gpus", "address", "port": [old, new] or None,
                              "args", "environment": {"added": {}, "removed": {}, "changed": {name: [old, new]}},
                              "container_options": {"added": [], "removed": []}}},
         "problems": [what a deploy would stop at],
         "summary": one line}

    `check` is an instance that runs without a record of having passed its gates, or that does not answer: a deploy
    tests it, and starts it anew only where its files differ. A record from before an upgrade may lack what is newer
    in a plan; what it lacks is not compared.
    """
    if servers is None:
        return {"action": "unknown", "instances": {}, "problems": [], "summary": "what runs is not known"}
    state = servers.get("state") or {}
    found = servers.get("instances") or {}
    unplanned = servers.get("unplanned") or []
    changes: dict[str, dict[str, Any]] = {}
    for instance in plan["instances"]:
        name = str(instance["name"])
        looked = found.get(name)
        if looked is None and name in unplanned:
            looked = {"unit": "active"}  # it was not planned when somebody looked, and its files are there
        changes[name] = _planned(plan, instance, state, looked)
    configured = {*unplanned, *(name for name, looked in found.items() if looked.get("unit"))}
    for name in sorted(configured - set(changes)):
        changes[name] = _nothing("stop")
    actions = [change["action"] for change in changes.values()]
    problems = _problems(plan, servers)
    return {
        "action": next(action for action in ACTIONS if action in actions or action == "none"),
        "instances": changes,
        "problems": problems,
        "summary": "; ".join([_summary(changes), *(f"in the way: {problem}" for problem in problems)]),
    }


def plan_lines(
    plan: Mapping[str, Any], change: Mapping[str, Any], driver: Mapping[str, Any] | None = None
) -> list[str]:
    """A plan and its change in a few lines for a terminal. driver: as for driver_text."""
    lines = [
        f"{plan['model']} on {plan['count']} x {plan['gpu']}: layout {plan['layout']}, {plan['image']['reference']}"
    ]
    for instance in plan["instances"]:
        fit = instance["fit"]
        lines.append(
            f"instance {instance['name']}: GPUs {gpu_range(instance['gpus'])}, "
            f"{instance['address']}:{instance['port']}, tp {instance['tp']}, ep {instance['ep']}, "
            f"{fit['kv_tokens']} KV tokens, context up to {fit['max_context']}"
        )
    if plan["idle_gpus"]:
        lines.append(f"idle: {gpus_text(plan['idle_gpus'])}")
    if driver:
        lines.append(f"driver: {driver_text(driver)}")
    lines.append(f"change: {change['summary']}")
    return lines


def driver_text(driver: Mapping[str, Any]) -> str:
    """What a deploy does with the GPU driver, and why. driver: its action, reason and reboot_reasons."""
    action = {"none": "keep"}.get(driver["action"], driver["action"])
    reboot = driver.get("reboot_reasons") or []
    return f"{action}: {driver['reason']}" + (f"; reboot: {'; '.join(reboot)}" if reboot else "")


def gpu_range(gpus: Sequence[int]) -> str:
    """Indices in short: 0-3,6."""
    runs: list[list[int]] = []
    for gpu in sorted(gpus):
        if runs and gpu == runs[-1][1] + 1:
            runs[-1][1] = gpu
        else:
            runs.append([gpu, gpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _nothing(action: str) -> dict[str, Any]:
    return {
        "action": action,
        "why": [],
        "image": None,
        "patches": None,
        "gpus": None,
        "address": None,
        "port": None,
        "args": {"added": {}, "removed": {}, "changed": {}},
        "environment": {"added": {}, "removed": {}, "changed": {}},
        "container_options": {"added": [], "removed": []},
    }


def _planned(
    plan: Mapping[str, Any],
    instance: Mapping[str, Any],
    state: Mapping[str, Any],
    looked: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The change of one planned instance. looked: how it was found; None where nobody has looked at it."""
    change = _nothing("none")
    record = (state.get("instances") or {}).get(str(instance["name"]))
    runs = looked is not None and looked.get("unit") in _RUNNING
    if record is None:
        if not runs:
            return {**change, "action": "start"}
        return {**change, "action": "check", "why": ["runs, and has no record of passing its gates"]}

    old = record["plan"]
    change["image"] = _differs(*_images(state, plan))
    patches = [patch["name"] for patch in plan["patches"]]
    change["patches"] = _differs(state.get("patches", patches), patches)
    for key in ("gpus", "address", "port"):
        change[key] = _differs(old.get(key), instance[key])
    change["args"] = _mappings(old.get("server_args") or {}, instance["server_args"])
    if "environment" in old and "environment" in instance:
        change["environment"] = _mappings(old["environment"], instance["environment"])
    change["container_options"] = _words(old.get("container_options") or [], instance["container_options"])

    if looked is not None and not runs:
        change["action"], change["why"] = "start", [f"not running ({looked.get('unit') or 'no unit'})"]
    elif _is_different(change):
        change["action"] = "restart"
    elif looked is not None and looked.get("outdated"):
        change["action"], change["why"] = "restart", ["its files are newer than what runs"]
    elif looked is not None and looked.get("answers") is False:
        change["action"], change["why"] = "check", ["runs, and does not answer"]
    return change


def _images(state: Mapping[str, Any], plan: Mapping[str, Any]) -> tuple[str | None, str]:
    """The references of the image that was applied and of the planned one, with their digests where these alone differ."""
    applied = state.get("image") or {}
    old, new = applied.get("reference"), str(plan["image"]["reference"])
    locked = plan.get("lock") or {}
    digests = (
        (state.get("lock") or {}).get("image_digest") or applied.get("digest"),
        (locked.get("image") or {}).get("digest"),
    )
    if old == new and None not in digests and digests[0] != digests[1]:
        return f"{old}@{digests[0]}", f"{new}@{digests[1]}"
    return old, new


def _differs(old: Any, new: Any) -> list[Any] | None:
    return None if old == new else [old, new]


def _mappings(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "added": {name: value for name, value in new.items() if name not in old},
        "removed": {name: value for name, value in old.items() if name not in new},
        "changed": {name: [old[name], value] for name, value in new.items() if name in old and old[name] != value},
    }


def _words(old: Sequence[str], new: Sequence[str]) -> dict[str, list[str]]:
    """What an instance's container is started with; the order of options says nothing."""
    return {
        "added": [word for word in new if word not in old],
        "removed": [word for word in old if word not in new],
    }


def _is_different(change: Mapping[str, Any]) -> bool:
    parts = ("args", "environment", "container_options")
    return any(change[key] for key in ("image", "patches", "gpus", "address", "port")) or any(
        any(change[part].values()) for part in parts
    )


def _problems(plan: Mapping[str, Any], servers: Mapping[str, Any]) -> list[str]:
    """What a deploy refuses on this node before it changes anything."""
    problems = []
    if servers.get("foreign_unit"):
        problems.append("the unit sglang@.service is somebody else's")
    for instance in plan["instances"]:
        looked = (servers.get("instances") or {}).get(str(instance["name"])) or {}
        if looked.get("address_problem"):
            problems.append(f"fleet_address: {looked['address_problem']}")
        holder = looked.get("port_holder")
        if holder:
            problems.append(f"port {instance['port']} is held by {holder['command']} (pid {holder['pid']})")
    return problems


def _summary(changes: Mapping[str, Mapping[str, Any]]) -> str:
    """One line. Instances that change alike are told once, those that stay the same not at all beside others."""
    alike: dict[tuple[str, str], list[str]] = {}
    for name, change in changes.items():
        if change["action"] != "none":
            alike.setdefault((_verb(change), ", ".join(_details(change))), []).append(name)
    if not alike:
        return "same"
    said = []
    for (verb, details), names in alike.items():
        # Which of them stops is never plain from the rest.
        some = f"instance {', '.join(names)}" if len(names) < len(changes) or verb == "stop" else ""
        said.append(
            ": ".join(part for part in (f"{verb} {some}".strip() if details else verb, details or some) if part)
        )
    return "; ".join(said)


def _verb(change: Mapping[str, Any]) -> str:
    # What was never there is new; what was, and does not run, is started.
    return "new" if change["action"] == "start" and not change["why"] else str(change["action"])


def _details(change: Mapping[str, Any]) -> list[str]:
    said: list[str] = list(change["why"])
    args = change["args"]
    if "model-path" in args["changed"]:
        old, new = args["changed"]["model-path"]
        said.append(f"model {str(old).rsplit('/', 1)[-1]}→{str(new).rsplit('/', 1)[-1]}")
    if change["image"]:
        said.append(f"image {_image_step(*change['image'])}")
    if change["patches"]:
        old, new = change["patches"]
        said += [f"+patch {name}" for name in new if name not in old]
        said += [f"−patch {name}" for name in old if name not in new]
    if change["gpus"]:
        old, new = change["gpus"]
        said.append(f"GPUs {gpu_range(old or [])}→{gpu_range(new)}")
    said += [f"{key} {change[key][0]}→{change[key][1]}" for key in ("address", "port") if change[key]]
    said += [f"+{_option(name, value)}" for name, value in args["added"].items() if name not in _TOLD]
    said += [f"−{_option(name, value)}" for name, value in args["removed"].items() if name not in _TOLD]
    said += [f"--{name} {old}→{new}" for name, (old, new) in args["changed"].items() if name not in _TOLD]
    environment = change["environment"]
    said += [f"+{name}={value}" for name, value in environment["added"].items()]
    said += [f"−{name}" for name in environment["removed"]]
    said += [f"{name} {old}→{new}" for name, (old, new) in environment["changed"].items()]
    if _unexplained(change):
        said.append("container options")
    return said


def _unexplained(change: Mapping[str, Any]) -> list[str]:
    """The container options that differ and do not follow from another difference."""
    follows: list[str] = ["--label="] if change["image"] else []
    follows += ["--device=", "--gpus="] if change["gpus"] else []
    follows += ["--env="] if any(change["environment"].values()) else []
    options = change["container_options"]
    return [word for word in (*options["added"], *options["removed"]) if not word.startswith(tuple(follows))]


def _option(name: str, value: Any) -> str:
    return f"--{name}" if value is True else f"--{name} {value}"


def _image_step(old: str | None, new: str) -> str:
    """Both tags, or both references where they are not of one repository."""
    if old is None:
        return f"unknown→{new}"
    if "@" in old and old.partition("@")[0] == new.partition("@")[0]:
        # As many digits as Docker shows of an ID.
        digests = [name.rpartition(":")[2][:12] for name in (old, new)]
        return f"{old.partition('@')[0].rpartition(':')[2]} {digests[0]}→{digests[1]}"
    (before, _colon, old_tag), (repository, _colon, new_tag) = old.rpartition(":"), new.rpartition(":")
    return f"{old_tag}→{new_tag}" if before == repository and "/" not in old_tag else f"{old}→{new}"
