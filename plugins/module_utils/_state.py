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
) -> list[Mapping[str, Any]]:
    """The planned instances that must go through the gates.

    servers: `fleet_servers`. A server that was not started by this run, answers, and has passed with this
    very plan needs no second test.
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
    ]


def without(state: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The state with the record of some instances taken out: what is started anew has not passed yet."""
    kept = {name: record for name, record in state.get("instances", {}).items() if name not in names}
    return {**state, "instances": kept} if state else {}


def applied_state(plan: Mapping[str, Any], image: Mapping[str, Any], gates: Sequence[str]) -> dict[str, Any]:
    """The state file's content once every instance has passed `gates`. No times: the same plan gives the same text."""
    return {
        "schema": SCHEMA,
        "model": plan["model_path"],
        "image": dict(image),
        "patches": [patch["name"] for patch in plan["patches"]],
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
