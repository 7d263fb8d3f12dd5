# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells a host's stage, on the controller: no connection. The module of the same name carries the documentation."""

from __future__ import annotations

import time
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.sglang.fleet.plugins.module_utils._rolling import RollingError, gate_events, stage_event
from ansible_collections.sglang.fleet.plugins.plugin_utils.stages import line, tell


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_diff = False
    _requires_connection = False
    _VALID_ARGS = frozenset(("stage", "instances", "detail", "gates"))

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        variables = task_vars or {}
        result: dict[str, t.Any] = super().run(tmp, variables)
        host = str(variables.get("inventory_hostname", ""))
        args = self._task.args
        instances = ",".join(str(name) for name in args.get("instances") or [])
        gates = args.get("gates")
        try:
            for gate in gate_events(host, gates or {}):
                tell(gate)
            if args.get("stage") is None and gates is not None:
                return {**result, "changed": False}
            event = stage_event(host, instances, str(args.get("stage")), str(args.get("detail") or ""), time.time())
        except RollingError as error:
            return {**result, "failed": True, "msg": str(error)}
        self._display.display(line(event))
        tell(event)
        return {**result, "changed": False, "stage": event}
