# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sends weights from a bundle to a host. The module of the same name carries the documentation."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.sglang.fleet.plugins.module_utils._bundle import (
    BundleError,
    folder_of,
    load_bundle,
    weights_files,
)
from ansible_collections.sglang.fleet.plugins.plugin_utils.bundle import SendError, send


class ActionModule(ActionBase):
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        arguments = self._task.args
        repository, revision, target = (str(arguments[name]) for name in ("repository", "revision", "target"))
        folder = folder_of(str(arguments["bundle"]))
        try:
            files = weights_files(load_bundle(folder), repository, revision, arguments["files"])
            if self._task.check_mode:
                return {**result, "changed": bool(files), "bytes": sum(file["size"] for file in files)}
            sent = send(self, variables, source=folder, target=target, files=files, what="weights", verify=False)
        except (BundleError, SendError) as error:
            return {**result, "failed": True, "msg": f"{variables.get('inventory_hostname')}: weights: {error}"}
        return {**result, "changed": sent > 0, "bytes": sent}
