# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan held to the fleet's lock file. Pure."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import Catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._known_issues import Warn
from ansible_collections.sglang.fleet.plugins.module_utils._lock import (
    OFFLINE,
    LockError,
    locked_plan,
    of_hub,
    plan_entry,
)
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import PlanError
from ansible_collections.sglang.fleet.plugins.module_utils._planner import Instance, Plan
from ansible_collections.sglang.fleet.plugins.module_utils._server_args import ServerArgs, command_line, words


def with_lock(
    plan: Plan, lock: t.Mapping[str, t.Any], catalogue: Catalogue, gpu: t.Mapping[str, t.Any], weights: str
) -> Plan:
    """The plan with what the lock says of it; raises PlanError (rule lock) where the lock does not have just this plan.

    lock: as read_lock gives it. gpu: ``ansible_facts.gpu``. weights: ``auto`` has the servers take the locked weights and
    nothing else; ``server`` leaves them to the servers.
    """
    architecture = gpu.get("architecture") or usual_architecture(catalogue.gpus[plan.gpu].image_class)
    try:
        held = locked_plan(lock, plan_entry(plan.to_dict()), plan.model_path, str(architecture), weights == "auto")
    except LockError as error:
        raise PlanError(str(error), "lock") from error
    locked = held["weights"]
    reasons = [f"image locked at {held['image']['digest']}"]
    if locked is None:
        return replace(
            plan, lock=held, reasons=plan.reasons + reasons, warnings=[*plan.warnings, *_unlocked(plan, weights)]
        )
    reasons.append(f"weights locked at revision {locked['revision']}, {len(locked['files'])} files")
    instances = [_pinned(instance, locked["revision"]) for instance in plan.instances]
    return replace(plan, lock=held, reasons=plan.reasons + reasons, instances=instances)


def usual_architecture(image_class: str) -> str:
    """That of hosts with such GPUs, where nobody asked the host."""
    return "arm64" if image_class.endswith("grace") else "amd64"


def _unlocked(plan: Plan, weights: str) -> t.Iterator[Warn]:
    # A folder of the host's own is nobody's to lock.
    if weights == "auto" and of_hub(plan.model_path):
        yield Warn(
            "weights-not-locked",
            "warn",
            f"the lock has no weights of {plan.model_path}, so that the server downloads what the hub has when it starts: "
            "run sglang-fleet lock, or set fleet_weights to server",
        )


def _pinned(instance: Instance, revision: str) -> Instance:
    """The instance with the locked weights and no way to others."""
    asked = instance.server_args.get("revision", revision)
    if asked != revision:
        raise PlanError(
            f"fleet_server_args.revision is {asked}, and the lock has {revision}: take it away, or run sglang-fleet lock",
            "lock",
        )
    args: ServerArgs = {"model-path": instance.server_args["model-path"], "revision": revision}
    args.update(instance.server_args)
    listed = words(args)
    return replace(
        instance,
        args=listed,
        server_args=args,
        environment={**instance.environment, **OFFLINE},
        container_options=instance.container_options + [f"--env={name}={value}" for name, value in OFFLINE.items()],
        command_line=command_line(listed),
    )
