# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans on the controller: no connection, no remote task. The module of the same name carries the documentation."""

from __future__ import annotations

import os
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.errors import UnsupportedError
from ansible.plugins.action import ActionBase

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import Catalogue, load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue_checks import CatalogueError
from ansible_collections.sglang.fleet.plugins.module_utils._known_issues import Warn
from ansible_collections.sglang.fleet.plugins.module_utils._lock import LockError, load_lock, read_lock
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import (
    Wishes,
    default_count,
    facts_for,
)
from ansible_collections.sglang.fleet.plugins.module_utils._plan_lock import with_lock
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import PlanError
from ansible_collections.sglang.fleet.plugins.module_utils._planner import make_plan

ARGUMENT_SPEC: t.Final[dict[str, dict[str, t.Any]]] = {
    "model": {"type": "str", "default": "M2.7"},
    "gpu": {"type": "raw"},
    "count": {"type": "int"},
    "gpu_memory_mib": {"type": "int"},
    "layout": {"type": "str", "default": "auto"},
    "ep": {"type": "int"},
    "profile": {"type": "str", "default": "hardened"},
    "address": {"type": "str", "default": "127.0.0.1"},
    "port": {"type": "int", "default": 30000},
    "context_length": {"type": "int"},
    "mem_fraction_static": {"type": "float"},
    "reasoning_parser": {"type": "bool"},
    "tool_call_parser": {"type": "bool"},
    "enable_metrics": {"type": "bool", "default": False},
    "extra_args": {"type": "dict", "default": {}},
    "image": {"type": "str"},
    "sglang_version": {"type": "str"},
    "weights_dir": {"type": "path", "default": "/var/lib/sglang-fleet/huggingface"},
    "allow_known_issues": {"type": "list", "elements": "str", "default": []},
    "patches": {"type": "list", "elements": "dict", "default": []},
    "catalogue": {"type": "dict", "default": {}},
    "require_driver": {"type": "bool", "default": True},
    "lock": {"type": "raw"},
    "weights": {"type": "str", "default": "auto", "choices": ["auto", "server"]},
}


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_diff = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        variables = task_vars or {}
        result: dict[str, t.Any] = super().run(tmp, variables)
        host = variables.get("inventory_hostname", "this host")
        # A template that gives nothing is an option left out.
        given = {name: value for name, value in self._task.args.items() if value is not None and value != ""}
        validation = ArgumentSpecValidator(ARGUMENT_SPEC).validate(given)
        if validation.error_messages:
            said = "; ".join(
                f"unsupported option {error.msg}" if isinstance(error, UnsupportedError) else str(error.msg)
                for error in validation.errors
            )
            return {**result, "failed": True, "msg": f"{host}: launch_plan: {said}"}
        options = dict(validation.validated_parameters)
        require_driver = options.pop("require_driver")
        lock, weights = options.pop("lock"), options.pop("weights")
        try:
            catalogue = load_catalogue(options.pop("catalogue") or None)
            named = {name: options.pop(name) for name in ("count", "gpu_memory_mib")}
            gpu = gpu_facts(catalogue, options.pop("gpu"), variables, options["model"], **named)
            options.update({name: tuple(options[name]) for name in ("allow_known_issues", "patches")})
            plan = make_plan(catalogue, gpu, Wishes(**options), require_driver=require_driver)
            held = read_option(lock)
            if held is not None:
                plan = with_lock(plan, held, catalogue, gpu, weights)
        except (CatalogueError, LockError, PlanError) as exc:
            # The rule tells a caller a plan that cannot be from a wish that means nothing.
            return {**result, "failed": True, "msg": f"{host}: {exc}", "rule": getattr(exc, "rule", None)}
        # Named by what is planned, not by the host: equal hosts then give one line, not one each.
        what = f"{plan.model} on {plan.count} x {plan.gpu}"
        return {
            **result,
            "changed": False,
            "ansible_facts": {"fleet_plan": plan.to_dict()},
            "commands": [instance.command_line for instance in plan.instances],
            "warnings": [_told(what, warning) for warning in plan.warnings if warning.severity in ("warn", "change")],
        }


def _told(what: str, warning: Warn) -> str:
    """A warning of the run. Notes, and what the operator set aside by name, are in the plan only."""
    link = f" ({warning.url})" if warning.url else ""
    return f"{what}: {warning.id}: {warning.message}{link}"


def read_option(lock: t.Any) -> dict[str, t.Any] | None:
    """The option lock: a lock, or its file; raises LockError, also for a file that is not there: it was named."""
    if lock is None or isinstance(lock, t.Mapping):
        return None if lock is None else read_lock(dict(lock), "(option lock)")
    path = os.path.expanduser(str(lock))
    held = load_lock(path)
    if held is None:
        raise LockError(
            f"there is no lock {path}: correct fleet_lock_file, or write it with sglang-fleet lock; fleet_lock_file empty "
            "is no lock on purpose"
        )
    return held


def gpu_facts(
    catalogue: Catalogue,
    gpu: t.Any,
    variables: t.Mapping[str, t.Any],
    model: str,
    count: int | None,
    gpu_memory_mib: int | None,
) -> t.Mapping[str, t.Any]:
    """The option gpu: facts, the name of a GPU with a count or without, or nothing for the facts that the host has."""
    if gpu is None or isinstance(gpu, t.Mapping):
        if count is not None or gpu_memory_mib is not None:
            raise PlanError("count and gpu_memory_mib go with the name of a GPU: give gpu as a name, such as H200, too")
        facts = gpu if gpu is not None else (variables.get("ansible_facts") or {}).get("gpu")
        if facts is None:
            raise PlanError("there are no facts of its GPUs: run sglang.fleet.gpu_facts on it first, or give gpu")
        return t.cast("t.Mapping[str, t.Any]", facts)
    name, colon, number = str(gpu).partition(":")
    if colon and (not number.isdecimal() or count is not None):
        raise PlanError(
            f"gpu is {gpu!r}: give NAME:COUNT, such as H200:8, or NAME and count, or the facts of gpu_facts"
        )
    wanted = int(number) if colon else count
    return facts_for(
        catalogue, name, default_count(catalogue, model, name) if wanted is None else wanted, gpu_memory_mib
    )
