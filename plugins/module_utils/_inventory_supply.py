# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks of the variables that say where images and weights come from, before any host is touched."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.sglang.fleet.plugins.module_utils._bundle import BundleError, folder_of, load_bundle
from ansible_collections.sglang.fleet.plugins.module_utils._bundle import problems as bundle_problems
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import Catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue_checks import CatalogueError
from ansible_collections.sglang.fleet.plugins.module_utils._layout import parse_layout
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import PlanError
from ansible_collections.sglang.fleet.plugins.module_utils._plan_wishes import (
    address_problem,
    endpoint_problem,
    image_problem,
    not_negative_problem,
    one_port_problem,
    source_problem,
)
from ansible_collections.sglang.fleet.plugins.module_utils._user_patches import user_patches

_WEIGHTS_PORT: t.Final = 30090


def checked(values: t.Mapping[str, t.Any], **checks: t.Callable[[t.Any], str | None]) -> t.Iterator[str]:
    """The problems of those variables that are set, by each one's check."""
    for name, check in checks.items():
        problem = check(values[name]) if values.get(name) is not None else None
        if problem is not None:
            yield problem


def check_supply(values: t.Mapping[str, t.Any], catalogue: Catalogue) -> t.Iterator[str]:
    """Image and registry mirrors, and where the weights come from."""
    del catalogue
    if values.get("fleet_image"):
        yield from checked(values, fleet_image=image_problem)
    yield from checked(
        values,
        fleet_weights_source=source_problem,
        fleet_hf_endpoint=endpoint_problem,
        fleet_weights_port=lambda port: one_port_problem("fleet_weights_port", port),
        fleet_weights_address=lambda address: address_problem(address, "fleet_weights_address"),
        fleet_pull_at_once=lambda number: not_negative_problem("fleet_pull_at_once", number, "0 for all hosts at once"),
        fleet_images_keep=lambda number: not_negative_problem("fleet_images_keep", number, "0 to keep no old image"),
    )
    if values.get("fleet_weights_share", True) and _ports_clash(values):
        yield (
            f"fleet_weights_port is {values.get('fleet_weights_port', _WEIGHTS_PORT)}, which a server listens on: set it "
            "to another, or move fleet_port"
        )
    if values.get("fleet_bundle"):
        try:
            folder = folder_of(values["fleet_bundle"])
            found = list(bundle_problems(folder, load_bundle(folder), hashing=False))
            if found:
                yield f"fleet_bundle: {folder}: {found[0]}" + (f" (and {len(found) - 1} more)" if found[1:] else "")
        except BundleError as exc:
            yield f"fleet_bundle: {exc}"
    try:
        user_patches(values.get("fleet_patches", []))
    except CatalogueError as exc:
        yield from str(exc).splitlines()
    for mirror in values.get("fleet_registry_mirrors", []):
        if re.fullmatch(r"https?://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9._/-]*)?", mirror) is None:
            yield f"fleet_registry_mirrors: {mirror!r} is not a URL; give them as https://HOST[:PORT]"


def _ports_clash(values: t.Mapping[str, t.Any]) -> bool:
    try:
        layout = parse_layout(values.get("fleet_layout", "auto"))
    except PlanError:
        return False  # said elsewhere
    first = values.get("fleet_port", 30000)
    return values.get("fleet_weights_port", _WEIGHTS_PORT) in range(first, first + (layout.instances if layout else 1))
