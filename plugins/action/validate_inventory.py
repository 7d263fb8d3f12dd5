# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks the host's variables on the controller. The module of the same name carries the documentation."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.sglang.fleet.plugins.module_utils._inventory import (
    Undefined,
    check_bundle,
    check_inventory,
    read_specs,
)


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_diff = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        variables = task_vars or {}
        result: dict[str, t.Any] = super().run(tmp, variables)
        host = variables.get("inventory_hostname", "this host")
        if self._task.args:
            unknown = ", ".join(sorted(self._task.args))
            return {
                **result,
                "failed": True,
                "msg": f"{host}: validate_inventory takes no options, it was given {unknown}",
            }
        specs = read_specs()
        # Facts show up among the variables under their own names; what a task found is not what the operator wrote.
        facts = variables.get("ansible_facts") or {}
        written = [name for name in variables if specs.ours(name) and name not in facts]
        values = {name: self._value(variables[name]) for name in written}
        findings = check_inventory(values, specs)
        problems = list(findings.problems)
        if values.get("fleet_bundle") and not problems:
            folder = variables.get("inventory_dir")
            problems += check_bundle(values, f"{folder}/fleet.lock.yml" if folder else "")
        if problems:
            return {**result, "failed": True, "msg": _message(host, problems), "problems": problems}
        return {**result, "changed": False, "warnings": [f"{host}: {warning}" for warning in findings.warnings]}

    def _value(self, value: t.Any) -> t.Any:
        try:
            return self._templar.template(value)
        except AnsibleError as exc:
            return Undefined(str(exc.message))


def _message(host: str, problems: t.Sequence[str]) -> str:
    if len(problems) == 1:
        return f"{host}: {problems[0]}"
    return "\n".join([f"{host}: {len(problems)} problems with its variables:", *(f"- {text}" for text in problems)])
