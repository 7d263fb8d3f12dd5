# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans the GPU driver on the controller: no connection. The module of the same name carries the documentation."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import Catalogue, CatalogueError, load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._drivers import DriverError
from ansible_collections.sglang.fleet.plugins.module_utils._drivers_amd import AmdWishes, amd_driver_plan
from ansible_collections.sglang.fleet.plugins.module_utils._drivers_nvidia import nvidia_driver_plan
from ansible_collections.sglang.fleet.plugins.module_utils._nvidia_host import NvidiaWishes

NEEDED: t.Final = {"fleet_host": "sglang.fleet.host_facts", "gpu": "sglang.fleet.gpu_facts"}


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_diff = False
    _requires_connection = False
    _VALID_ARGS = frozenset(("catalogue", "nvidia", "amd"))

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        variables = task_vars or {}
        result: dict[str, t.Any] = super().run(tmp, variables)
        host = variables.get("inventory_hostname", "this host")
        facts = variables.get("ansible_facts") or {}
        missing = [module for fact, module in NEEDED.items() if fact not in facts]
        if missing:
            return {
                **result,
                "failed": True,
                "msg": f"{host}: there are no facts of it: run {' and '.join(missing)} first",
            }
        try:
            catalogue = load_catalogue(self._task.args.get("catalogue") or None)
            plan = make(catalogue, facts, self._task.args.get("nvidia"), self._task.args.get("amd"))
        except (CatalogueError, DriverError) as exc:
            return {**result, "failed": True, "msg": f"{host}: {exc}"}
        return {**result, "changed": False, "ansible_facts": {"fleet_drivers": plan}}


def make(catalogue: Catalogue, facts: t.Mapping[str, t.Any], nvidia: t.Any, amd: t.Any) -> dict[str, t.Any]:
    """``fleet_drivers`` by the vendor of the host's GPUs; nvidia and amd are the options of those names."""
    name = str(((facts.get("fleet_plan") or {}).get("image") or {}).get("name") or "")
    image = catalogue.images.get(name)
    floor = image.driver if image else None
    host, gpu, data = facts["fleet_host"], facts["gpu"], catalogue.data["drivers"]
    if gpu["vendor"] == "nvidia":
        return nvidia_driver_plan(host, gpu, floor, wishes_of(NvidiaWishes, "nvidia", nvidia), data["nvidia"])
    if gpu["vendor"] == "amd":
        return amd_driver_plan(host, gpu, floor, wishes_of(AmdWishes, "amd", amd), data["amd"])
    raise DriverError(
        "the host has no GPU that the catalogue knows, so that there is no driver to plan. Nothing was changed."
    )


_Wishes = t.TypeVar("_Wishes")


def wishes_of(kind: type[_Wishes], option: str, given: t.Any) -> _Wishes:
    """The option's keys as a dataclass of wishes. A template that gives nothing is a wish left out."""
    given = {key: value for key, value in (given or {}).items() if value is not None and value != ""}
    known = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise DriverError(f"driver_plan: unknown key {', '.join(unknown)} of {option}; known: {', '.join(known)}")
    return kind(**{key: _as(known[key].default, value) for key, value in given.items()})


def _as(default: t.Any, value: t.Any) -> t.Any:
    """A value in the shape of the default: texts, truth and tuples of texts are all there are."""
    if isinstance(default, bool):
        return str(value).lower() in ("true", "yes", "1", "on")
    if isinstance(default, tuple):
        return tuple(str(item) for item in value)
    return str(value)
