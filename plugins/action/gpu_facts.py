# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the catalogue on the controller and asks the host once, through the module of the same name."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue_checks import CatalogueError


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        variables = task_vars or {}
        result: dict[str, t.Any] = super().run(tmp, variables)
        host = variables.get("inventory_hostname", "this host")
        arguments = dict(self._task.args)
        if arguments.get("known_gpus") is None:
            try:
                catalogue = load_catalogue(arguments.get("catalogue") or None)
            except CatalogueError as exc:
                return {**result, "failed": True, "msg": f"{host}: {exc}"}
            arguments["known_gpus"] = catalogue.known_gpus()
        # What the host needs of the catalogue is in known_gpus.
        arguments.pop("catalogue", None)
        result.update(
            self._execute_module(module_name="sglang.fleet.gpu_facts", module_args=arguments, task_vars=variables)
        )
        return result
