# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is applied on a node, what is due there, and the record of it. Pure."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils._http import base_url

#: Raised when the state file's shape changes.
SCHEMA = 1

Instances = Sequence[Mapping[str, Any]]


def digest(instance: Mapping[str, Any], image_id: str | None) -> str:
    """SHA-256 (hex) of one planned instance on one image; it holds no secret."""
    return hashlib.sha256(json.dumps([instance, image_id], sort_keys=True).encode()).hexdigest()


def servers_due(
    instances: Instances, found: Mapping[str, Any], written: Sequence[str], shared: Sequence[str]
) -> list[str]:
    """The names of the instances that must start anew, in the plan's order.

    found: `fleet_servers.instances`. written: paths that this run wrote. shared: paths that concern all.
    Due is an instance whose files were written, whose container is older than its files, or which does not run.
    """
    everything = bool(set(written) & set(shared))
    named = {os.path.splitext(os.path.basename(path))[0] for path in written if path not in shared}
    return [
        name
        for name in (str(instance["name"]) for instance in instances)
        if everything
        or name in named
        or found[name]["outdated"]
        or found[name]["unit"] not in ("active", "activating", "reloading")
    ]


def gates_due(
    instances: Instances,
    image_id: str | None,
    servers: Mapping[str, Any],
    started: Sequence[str] = (),
    always: bool = False,
    gates: Sequence[str] = (),
) -> list[Mapping[str, Any]]:
    """The planned instances that must go through the gates.

    servers: `fleet_servers`. gates: those wanted. A server that was not started by this run, answers, and has passed
    them with this very plan needs no second test.
    """
    recorded = servers.get("state", {}).get("instances", {})
    found = servers.get("instances", {})
    return [
        item
        for item in instances
        if always
        or item["name"] in started
        or not found.get(item["name"], {}).get("answers")
        or recorded.get(item["name"], {}).get("digest") != digest(item, image_id)
        or not set(gates) <= set(recorded[item["name"]].get("gates", ()))
    ]


def without(state: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The state with the record of some instances taken out: what is started anew has not passed yet.

    The state that had passed goes along as `last_good`, so that it is known when another one takes its place.
    """
    recorded = state.get("instances", {})
    kept = {name: record for name, record in recorded.items() if name not in names}
    if len(kept) == len(recorded):
        return dict(state)
    return {**state, "instances": kept, "last_good": state.get("last_good") or dict(state)}


def previous_state(state: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The good state that `new` takes the place of, as previous.json keeps it for a rollback; {} where there is none.

    state: the record as this run found it, `fleet_servers.state`. The same plan on the same image is no other state,
    however often it is started anew.
    """
    good = dict(state.get("last_good") or state)
    return good if good.get("instances") and _what_runs(good) != _what_runs(new) else {}


def _what_runs(state: Mapping[str, Any]) -> Any:
    instances = {name: record.get("digest") for name, record in state.get("instances", {}).items()}
    return (state.get("image") or {}).get("id"), instances


def applied_state(plan: Mapping[str, Any], image: Mapping[str, Any], gates: Sequence[str]) -> dict[str, Any]:
    """The state file's content once every instance has passed `gates`. No times: the same plan gives the same text."""
    return {
        "schema": SCHEMA,
        "model": plan["model_path"],
        "image": dict(image),
        "patches": [patch["name"] for patch in plan["patches"]],
        **_locked(plan.get("lock")),
        "instances": {
            item["name"]: {
                "digest": digest(item, image["id"]),
                "gates": list(gates),
                "endpoint": base_url(item["address"], item["port"]),
                "plan": dict(item),
            }
            for item in plan["instances"]
        },
    }


def not_applied(state: Mapping[str, Any], plan: Mapping[str, Any], names: Sequence[str]) -> str:
    """Why a plan's instances of these names are not what is recorded as applied; empty where they are.

    What is measured is what runs, and its record must not name what the inventory has come to say since.
    """
    image, recorded = state.get("image") or {}, state.get("instances") or {}
    missing = [name for name in names if name not in recorded]
    if missing:
        return f"there is no record that instance {', '.join(missing)} was applied and has passed its gates"
    if image.get("reference") != plan["image"]["reference"]:
        return f"it runs {image.get('reference')}, the plan has {plan['image']['reference']}"
    other = [
        str(item["name"])
        for item in plan["instances"]
        if item["name"] in names and recorded[item["name"]].get("digest") != digest(item, image.get("id"))
    ]
    return f"instance {', '.join(other)} runs with other arguments, GPUs or ports than the plan's" if other else ""


def _locked(lock: Mapping[str, Any] | None) -> dict[str, Any]:
    """What of the lock a rollback needs, to know what it goes back to.

    sha256 is of what the lock says of this host, image and weights: the file changes with other hosts' wishes, too, and
    the state is written only after a gate.
    """
    if lock is None:
        return {}
    weights = lock["weights"]
    own = {"image": lock["image"], "weights": weights}
    return {
        "lock": {
            "sha256": hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest(),
            "image_digest": lock["image"]["digest"],
            "revision": weights["revision"] if weights else None,
        }
    }
