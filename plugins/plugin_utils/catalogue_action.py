# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What actions have in common that hand entries of the catalogue to their module: a host has no catalogue."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import entries, load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue_checks import CatalogueError

#: what the modules read of a plan; its lock names every weight file
_OF_PLAN: t.Final = ("model", "model_path", "gpu", "image", "instances")


class CatalogueAction(ActionBase):
    """Runs the module of the same name with the entries that the task names, and with as much of the plan as it reads."""

    _supports_check_mode = True
    _supports_diff = False

    MODULE: t.ClassVar[str]
    #: of the catalogue, and what a role's variable for the names is called
    SECTION: t.ClassVar[str]
    #: the task's option with the names, and the module's for the entries
    NAMES: t.ClassVar[str]
    ENTRIES: t.ClassVar[str]
    #: where the task names none
    DEFAULT: t.ClassVar[t.Sequence[str]]

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        variables = task_vars or {}
        result: dict[str, t.Any] = super().run(tmp, variables)
        arguments = dict(self._task.args)
        arguments.setdefault("host", str(variables.get("inventory_hostname", "this host")))
        names = arguments.get(self.NAMES) or self.DEFAULT
        try:
            catalogue = load_catalogue(arguments.pop("catalogue", None) or None)
            arguments[self.ENTRIES] = entries(catalogue.data, self.SECTION, names)
        except CatalogueError as error:
            return {**result, "failed": True, "msg": f"{arguments['host']}: {error}"}
        plan = arguments.get("plan")
        if isinstance(plan, t.Mapping):
            arguments["plan"] = {key: plan[key] for key in _OF_PLAN if key in plan}
        result.update(self._execute_module(module_name=self.MODULE, module_args=arguments, task_vars=variables))
        return result
