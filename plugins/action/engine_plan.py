# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans the container engine on the controller: no connection. The module of the same name carries the documentation."""

from __future__ import annotations

import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import CatalogueError, load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._engine import (
    EngineError,
    EngineWishes,
    RepositoryWishes,
    engine_plan,
)
from ansible_collections.sglang.fleet.plugins.module_utils._packages import plain_fingerprint

_REPOSITORY: t.Final[dict[str, t.Any]] = {
    "type": "dict",
    "default": {},
    "options": {
        "url": {"type": "str", "default": ""},
        "key_url": {"type": "str", "default": "", "no_log": False},
        "key_fingerprints": {"type": "list", "elements": "str", "default": [], "no_log": False},
    },
}
ARGUMENT_SPEC: t.Final[dict[str, dict[str, t.Any]]] = {
    "vendor": {"type": "str", "default": "none"},
    "install": {"type": "bool", "default": True},
    "source": {"type": "str", "default": "", "choices": ["", "distribution", "docker"]},
    "version": {"type": "str", "default": ""},
    "docker": _REPOSITORY,
    "toolkit_version": {"type": "str", "default": ""},
    "toolkit": _REPOSITORY,
    "amd_toolkit": {"type": "bool", "default": False},
    "registry_mirrors": {"type": "list", "elements": "str", "default": []},
    "daemon_options": {"type": "dict", "default": {}},
    "log_max_size": {"type": "str", "default": ""},
    "log_max_file": {"type": "str", "default": ""},
    "live_restore": {"type": "bool", "default": True},
    "restart_allowed": {"type": "bool", "default": False},
    "fresh": {"type": "bool", "default": False},
    "catalogue": {"type": "dict", "default": {}},
}


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_diff = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        variables = task_vars or {}
        result: dict[str, t.Any] = super().run(tmp, variables)
        host = variables.get("inventory_hostname", "this host")
        given = {name: value for name, value in self._task.args.items() if value is not None}
        validation = ArgumentSpecValidator(ARGUMENT_SPEC).validate(given)
        if validation.error_messages:
            return {**result, "failed": True, "msg": f"{host}: engine_plan: {'; '.join(validation.error_messages)}"}
        options = dict(validation.validated_parameters)
        facts = (variables.get("ansible_facts") or {}).get("container_engine")
        if facts is None:
            return {
                **result,
                "failed": True,
                "msg": f"{host}: there are no facts of its engine: run engine_facts first",
            }
        try:
            catalogue = load_catalogue(options.pop("catalogue") or None)
            plan = engine_plan(facts, wishes_of(options), catalogue.data["container_tools"])
        except (CatalogueError, EngineError) as exc:
            return {**result, "failed": True, "msg": f"{host}: {exc}"}
        return {
            **result,
            "changed": False,
            "ansible_facts": {"fleet_engine": plan},
            "warnings": [f"{host}: {note}" for note in plan["notes"]],
        }


def wishes_of(options: t.Mapping[str, t.Any]) -> EngineWishes:
    """The options, validated, as wishes."""
    repositories = {
        name: RepositoryWishes(
            options[name]["url"],
            options[name]["key_url"],
            tuple(plain_fingerprint(text) for text in options[name]["key_fingerprints"]),
        )
        for name in ("docker", "toolkit")
    }
    rest = {name: value for name, value in options.items() if name not in repositories}
    return EngineWishes(**{**rest, **repositories, "registry_mirrors": tuple(options["registry_mirrors"])})
