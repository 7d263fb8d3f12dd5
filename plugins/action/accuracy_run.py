# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gives the module the catalogue's benchmarks, which hosts do not have. The module of the same name carries the documentation."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue_checks import CatalogueError

#: what the module reads of a plan; its lock names every weight file
_OF_PLAN: t.Final = ("model", "model_path", "gpu", "image", "instances")


def jobs(benchmarks: t.Sequence[str], overrides: t.Mapping[str, t.Any] | None = None) -> list[dict[str, t.Any]]:
    """The named benchmarks of the catalogue, in order, each with its name. Raises CatalogueError for one that is not in it."""
    known = load_catalogue(overrides or None).data["accuracy_benchmarks"]
    unknown = [name for name in benchmarks if name not in known]
    if unknown:
        raise CatalogueError(
            f"accuracy_benchmarks names {', '.join(unknown)}; known: {', '.join(known)}. Add your own to"
            " fleet_catalogue.accuracy_benchmarks"
        )
    return [{**known[name], "name": name} for name in benchmarks]


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        variables = task_vars or {}
        result: dict[str, t.Any] = super().run(tmp, variables)
        arguments = dict(self._task.args)
        host = str(arguments.get("host") or variables.get("inventory_hostname", "this host"))
        try:
            arguments["jobs"] = jobs(arguments.get("benchmarks") or ("gsm8k",), arguments.pop("catalogue", None))
        except CatalogueError as exc:
            return {**result, "failed": True, "msg": f"{host}: {exc}"}
        plan = arguments.get("plan")
        if isinstance(plan, t.Mapping):
            arguments["plan"] = {key: plan[key] for key in _OF_PLAN if key in plan}
        result.update(
            self._execute_module(module_name="sglang.fleet.accuracy_run", module_args=arguments, task_vars=variables)
        )
        return result
