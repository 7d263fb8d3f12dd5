# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers from the facts where they have the image, else sends it from the bundle. The module of the same name carries the
documentation."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.sglang.fleet.plugins.module_utils._bundle import (
    BundleError,
    folder_of,
    image_blobs,
    load_bundle,
)
from ansible_collections.sglang.fleet.plugins.module_utils._images import images_seen, pulled
from ansible_collections.sglang.fleet.plugins.plugin_utils.bundle import SendError, send

FOLDER = "/var/lib/sglang-fleet/incoming"


class ActionModule(ActionBase):
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        arguments = dict(self._task.args)
        reference, digest, ids = str(arguments.get("reference")), arguments.get("digest") or None, arguments.get("ids")
        ids = ids if isinstance(ids, list) else []
        image = pulled(images_seen(variables), reference, digest, ids)
        if image and ids:
            return {**result, "changed": False, "ansible_facts": {"fleet_local_image": image}}
        host = variables.get("inventory_hostname")
        try:
            answer = self._load(variables, arguments, reference, ids)
        except (BundleError, SendError) as error:
            return {**result, "failed": True, "msg": f"{host}: image {reference}: {error}"}
        if answer.get("failed"):
            answer["msg"] = f"{host}: {answer.get('msg')}"
        return {**result, **answer}

    def _load(
        self, variables: dict[str, Any], arguments: dict[str, Any], reference: str, ids: list[str]
    ) -> dict[str, Any]:
        if not ids:
            raise BundleError(
                "a bundle holds what a lock names, and there is no lock: put the bundle's fleet.lock.yml beside the"
                " inventory, or name it with fleet_lock_file"
            )
        folder = folder_of(str(arguments.get("bundle")))
        wanted = image_blobs(load_bundle(folder), reference, ids)
        target = str(arguments.get("folder") or FOLDER)
        blobs = {"manifest": wanted["manifest"], "bytes": sum(blob["size"] for blob in wanted["blobs"])}
        first = self._call(variables, {**arguments, "folder": target, "blobs": blobs})
        if first.get("failed") or first.get("present") or self._task.check_mode:
            return first
        files = [{**blob, "source": blob["path"], "path": blob["digest"].replace(":", "-")} for blob in wanted["blobs"]]
        send(self, variables, source=folder, target=target, files=files, what="image", verify=True)
        return self._call(variables, {**arguments, "folder": target, "blobs": {**blobs, "sent": True}})

    def _call(self, variables: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._execute_module(module_args=arguments, task_vars=variables)
        return answer
