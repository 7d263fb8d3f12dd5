# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers from the facts where they have the image, else pulls and shows how far it is. The module of the same name
carries the documentation."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.sglang.fleet.plugins.module_utils._images import images_seen, pulled
from ansible_collections.sglang.fleet.plugins.plugin_utils.progress import Progress


class Shown:
    """A pull as an operator sees it: what is fetched, then what is unpacked."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._fetched = Progress(host, "image", start=0)
        self._unpacked: Progress | None = None

    def update(self, state: dict[str, Any]) -> None:
        """state: `Pull.state()`, as the module returns it; nothing where the engine has not said a word yet."""
        if state.get("phase") == "download":
            self._fetched.update(state["done"], state["total"])
        elif state.get("phase") == "unpack":
            self._fetched.update(state["total"], state["total"])
            if self._unpacked is None:
                self._unpacked = Progress(self._host, "image, unpacking")
            if state["done"] < state["total"]:
                note = f"{state['layers_here']} of {state['layers']} layers"
                self._unpacked.update(state["done"], state["total"], note)


class ActionModule(ActionBase):
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        arguments = self._task.args
        reference, digest, ids = (arguments.get(name) for name in ("reference", "digest", "ids"))
        image = pulled(images_seen(variables), str(reference), digest or None, ids if isinstance(ids, list) else [])
        if image:
            return {**result, "changed": False, "ansible_facts": {"fleet_local_image": image}}
        shown = Shown(str(variables.get("inventory_hostname")))
        pulling = False
        while True:
            words = {**arguments, "watching": True} if pulling else arguments
            answer: dict[str, Any] = self._execute_module(module_args=words, task_vars=variables)
            shown.update(answer.pop("progress", None) or {})
            if answer.get("failed") or not answer.pop("pulling", False):
                break
            pulling = True
        if answer.get("failed"):
            answer["msg"] = f"{variables.get('inventory_hostname')}: {answer.get('msg')}"
        elif pulling:
            answer["changed"] = True
        return {**result, **answer}
