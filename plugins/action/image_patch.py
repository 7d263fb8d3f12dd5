# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers from the facts where they have the patched image. The module of the same name carries the documentation."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.sglang.fleet.plugins.module_utils._images import images_seen, patched


class ActionModule(ActionBase):
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self._task.args
        base, patches = arguments.get("base"), arguments.get("patches")
        if isinstance(base, dict) and isinstance(patches, list):
            repository = arguments.get("repository") or "sglang-fleet/patched"
            image = patched(images_seen(task_vars or {}), base, patches, repository)
            if image:
                return {**result, "changed": False, "ansible_facts": {"fleet_local_image": image}}
        answer: dict[str, Any] = self._execute_module(task_vars=task_vars)
        if answer.get("failed"):
            answer["msg"] = f"{(task_vars or {}).get('inventory_hostname')}: {answer.get('msg')}"
        return {**result, **answer}
