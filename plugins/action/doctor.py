# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks the host once, through the module of the same name, and judges on the controller what it told."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import CatalogueError, load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._doctor import diagnose, finding_lines


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        variables = task_vars or {}
        result: dict[str, t.Any] = super().run(tmp, variables)
        host = variables.get("inventory_hostname", "this host")
        arguments = dict(self._task.args)
        plan, refused, snapshot = (arguments.pop(name, None) or None for name in ("plan", "refused", "snapshot"))
        try:
            catalogue = load_catalogue(arguments.pop("catalogue", None) or None)
        except CatalogueError as exc:
            return {**result, "failed": True, "msg": f"{host}: {exc}"}
        if snapshot is None:
            if arguments.get("known_gpus") is None:
                arguments["known_gpus"] = catalogue.known_gpus()
            result.update(
                self._execute_module(module_name="sglang.fleet.doctor", module_args=arguments, task_vars=variables)
            )
            if result.get("failed") or "snapshot" not in result:
                return result
            snapshot = result["snapshot"]
        findings = diagnose(snapshot, catalogue, plan, refused)
        return {**result, "changed": False, "findings": findings, "lines": finding_lines(findings)}
