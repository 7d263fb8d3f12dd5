# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides on the controller, from the facts of every host of the run. The module of the same name carries the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.sglang.fleet.plugins.module_utils._weights_files import Layout
from ansible_collections.sglang.fleet.plugins.module_utils._weights_plan import (
    bad_files,
    decide,
    space_problem,
    what_next,
)

_UNLOCKED = (
    "no lock names the weights: each server downloads them itself at its first start, and nobody verifies them. Write a lock with"
    " `sglang-fleet lock`, or set fleet_weights to server if that is meant."
)


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_diff = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        host = str(variables.get("inventory_hostname"))
        if not self._task.args.get("locked", True):
            # No host's name in it, so that a run says it once.
            return {**result, "changed": False, "warnings": [_UNLOCKED]}
        found = facts_of_hosts(variables)
        if host not in found:
            return {
                **result,
                "failed": True,
                "msg": f"{host}: there are no facts of its weights: run weights_facts first",
            }
        own = found[host]
        problem = space_problem(own)
        if problem:
            return {**result, "failed": True, "msg": f"{host}: {problem}"}
        decision = decide(host, found)
        decision["incoming"] = Layout(own["directory"], own["repository"], own["revision"]).incoming
        source = str(self._task.args.get("source") or "hub")
        decision["says"] = f"{host}: weights: {what_next(decision, own, source, unmarked=self._task.check_mode)}"
        return {
            **result,
            "changed": False,
            "ansible_facts": {"fleet_weights_plan": decision},
            "warnings": [f"{host}: weights: {line}. It is fetched again, and it alone." for line in bad_files(own)],
        }


def facts_of_hosts(variables: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """`fleet_weights`, and the marks, of each host that is still in the batch of the run and has been looked at.

    Of an earlier batch (`serial`) the servers that pass weights on have ended.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for host in variables.get("ansible_play_batch") or []:
        facts = variables["hostvars"][host].get("ansible_facts") or {}
        if facts.get("fleet_weights"):
            found[str(host)] = {**facts["fleet_weights"], "marks": facts.get("fleet_weights_marks") or {}}
    return found
