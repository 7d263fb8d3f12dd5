# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host's part of a rollout: which servers go together, what it goes back to, and whom a gateway reaches where. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, Callable

#: What a driver holds on a GPU that nobody uses; the same as the doctor's.
IDLE_MIB = 2048

#: The stages of a host, in order; the second line are ends that a rollout does not want.
STAGES = (
    *("waiting", "out", "draining", "stopping", "freeing", "applying", "starting", "gating", "in", "done"),
    *("failed", "rolling_back", "rolled_back", "unreachable", "held"),
)


class RollingError(ValueError):
    """A host cannot roll; the text says why and what to do."""


def good_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """The record of what last passed its gates on a host, out of state.json's content; {} where nothing has."""
    good = dict(state.get("last_good") or state)
    return good if good.get("instances") else {}


def batches(due: Sequence[str], instances: Sequence[Mapping[str, Any]], state: Mapping[str, Any]) -> list[list[str]]:
    """Instances to take down together, group by group, in the plan's order.

    due: those that must start anew. One at a time keeps the rest of the node serving. All together where the record has other
    instances, GPUs or ports than the plan, or none: the new ones would need what old ones still hold.
    """
    names = [str(item["name"]) for item in instances]
    rolling = [name for name in names if name in due]
    was = {name: _place(record["plan"]) for name, record in good_state(state).get("instances", {}).items()}
    if was == {str(item["name"]): _place(item) for item in instances}:
        return [[name] for name in rolling]
    return [names] if rolling else []


def _place(instance: Mapping[str, Any]) -> tuple[tuple[int, ...], str, int]:
    return tuple(instance["gpus"]), str(instance["address"]), int(instance["port"])


def state_plan(state: Mapping[str, Any]) -> dict[str, Any]:
    """As much of a plan as the roles sglang_server and smoke_test need, out of a record. Raises RollingError without one."""
    good = good_state(state)
    if not good:
        raise RollingError(
            "nothing that has passed its gates is recorded on this host, so that there is nothing to go back to. Deploy it anew"
            " with the inventory of the version that you want (playbooks/deploy.yml)"
        )
    revision = (good.get("lock") or {}).get("revision")
    return {
        "model_path": good["model"],
        "image": {"reference": good["image"]["reference"]},
        "patches": [{"name": name} for name in good["patches"]],
        "instances": [record["plan"] for record in good["instances"].values()],
        "lock": {"weights": {"repository": good["model"], "revision": revision}} if revision else None,
        "warnings": [],
    }


def held(gpu: Mapping[str, Any], instances: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why the memory of the GPUs of some instances is not free, one line a GPU; [] where it is.

    gpu: the facts. A GPU without holders whose memory is in use is held by a process that has died or that cannot be seen.
    """
    lines = []
    used = {device["index"]: device["memory_used_mib"] for device in gpu["devices"]}
    for index in [index for instance in instances for index in instance["gpus"]]:
        holders = [holder for holder in gpu["holders"] if index in holder["gpus"]]
        if holders:
            names = ", ".join(f"{holder['command']} (pid {holder['pid']})" for holder in holders)
            lines.append(f"GPU {index} is held by {names}")
        elif (used.get(index) or 0) > IDLE_MIB:
            lines.append(f"GPU {index} has {used[index]} MiB in use, and no process that holds them is to be seen")
    return lines


def gateway_workers(hosts: Sequence[str], variables: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """[{"url", "host", "instance"}] of all servers of these hosts, by their plans, as a gateway reaches them.

    variables: `hostvars`. Raises RollingError, naming every host whose servers a gateway could not reach.
    """
    workers, problems = [], []
    for host in hosts:
        plan = (variables[host].get("ansible_facts") or {}).get("fleet_plan")
        if not plan:
            problems.append(f"{host} has no plan in this run: run it without --limit, and see that {host} is reached")
            continue
        for instance in plan["instances"]:
            address = _reached_at(variables[host], str(instance["address"]))
            if not address:
                problems.append(
                    f"{host} serves on {instance['address']}, where no gateway reaches it: set fleet_address to an address of its own,"
                    " and fleet_api_key, and deploy it; or set fleet_worker_address to where a gateway reaches it"
                )
                break
            port = int(instance["port"])
            shown = f"[{address}]" if ":" in address else address
            workers.append({"url": f"http://{shown}:{port}", "host": host, "instance": str(instance["name"])})
    if problems:
        raise RollingError("; ".join(problems) + ". No gateway was touched")
    return workers


def _reached_at(variables: Mapping[str, Any], bound: str) -> str:
    """The address that a gateway asks, or an empty text."""
    if variables.get("fleet_worker_address"):
        return str(variables["fleet_worker_address"])
    try:
        address = ipaddress.ip_address(bound)
    except ValueError:
        return "" if bound == "localhost" else bound
    if address.is_loopback:
        return ""
    if address.is_unspecified:
        return str(variables.get("ansible_host") or variables["inventory_hostname"])
    return bound


#: seconds between two words on how many requests are left
DRAIN_EVERY = 5


def drain(
    look: Callable[[int], dict[str, Any]], left: Callable[[int], None], seconds: int, every: int = DRAIN_EVERY
) -> dict[str, Any]:
    """The result of waiting until a server has no request, for so many seconds at most.

    look: waits for that many seconds at most; its result has `drained`, `requests` and `url`, or has `failed`. left: hears the number
    of requests after each look that did not see the end.
    """
    rest = seconds
    while True:
        part = max(min(every, rest), 1)
        rest -= part
        found = look(part)
        if found.get("failed") or found.get("drained"):
            return found
        if rest <= 0:
            why = (
                f"{found['url']} still has {found['requests']} requests after {seconds} s. None was cut. Give them more time"
                " (rollout_drain_seconds), or see who sends requests past the gateway"
            )
            return {**found, "failed": True, "msg": why}
        left(int(found["requests"]))


def stage_event(
    host: str, instance: str, stage: str, detail: str, at: float, running: int | None = None
) -> dict[str, Any]:
    """A line of the file of events. at: seconds since the epoch. running: requests in flight, where they are known.

    Raises RollingError for a stage that there is not.
    """
    if stage not in STAGES:
        raise RollingError(f"{stage} is no stage of a rollout; there are {', '.join(STAGES)}")
    event = {"event": "stage", "host": host, "instance": instance, "stage": stage, "detail": detail, "at": round(at, 3)}
    return event if running is None else {**event, "running": running}


def gate_events(host: str, gates: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Lines of the file of events, one for each result of a gate. gates: by instance, as the module smoke_test returns them.

    Raises RollingError for what is no such result.
    """
    told = ("gate", "passed", "evidence", "seconds", "budget_seconds")
    try:
        return [
            {
                "event": "gate",
                "host": host,
                "instance": str(instance),
                **{name: gate[name] for name in told},
                **({"skipped": True} if gate.get("skipped") else {}),
            }
            for instance, results in gates.items()
            for gate in results
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise RollingError(
            f"gates has what is no result of a gate ({error!r}); give it what smoke_test returned"
        ) from None
