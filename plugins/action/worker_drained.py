# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Has the module look for a few seconds at a time, and tells in between how many requests are left. The module of the same name
carries the documentation."""

from __future__ import annotations

import time
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.sglang.fleet.plugins.module_utils._rolling import drain, stage_event
from ansible_collections.sglang.fleet.plugins.plugin_utils.stages import line, tell


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        variables = task_vars or {}
        result: dict[str, t.Any] = super().run(tmp, variables)
        arguments = dict(self._task.args)
        instance = str(arguments.get("instance") or "")
        host = str(variables.get("inventory_hostname", ""))
        try:
            seconds = int(arguments.pop("seconds", 600))
        except (TypeError, ValueError):
            return {
                **result,
                "failed": True,
                "msg": f"{host}: seconds is {self._task.args['seconds']!r}: it must be a whole number",
            }
        told: list[int] = []

        def look(part: int) -> dict[str, t.Any]:
            found: dict[str, t.Any] = self._execute_module(
                module_name="sglang.fleet.worker_drained",
                module_args={**arguments, "seconds": part},
                task_vars=variables,
            )
            return found

        def left(requests: int) -> None:
            event = stage_event(host, instance, "draining", "", time.time(), requests)
            if told[-1:] != [requests]:
                self._display.display(line(event))
            told.append(requests)
            tell(event)

        return {**result, **drain(look, left, seconds)}
