# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An operator's own patches (fleet_patches): entries as the catalogue's, in a list, with a name each. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue_checks import CatalogueError, check_schema

Patch = t.Mapping[str, t.Any]


def user_patches(given: t.Sequence[t.Any], others: t.Sequence[Patch] = ()) -> tuple[dict[str, t.Any], ...]:
    """`fleet_patches` once it is known to be right; raises CatalogueError with every finding, one a line.

    others: the patches that the catalogue gives the image, whose names are taken. Needs jsonschema where there is a patch.
    """
    findings: list[str] = []
    entries: dict[str, dict[str, t.Any]] = {}
    taken = {patch["name"] for patch in others}
    for index, patch in enumerate(given):
        where = f"fleet_patches[{index}]"
        name = patch.get("name") if isinstance(patch, t.Mapping) else None
        if not isinstance(patch, t.Mapping):
            findings.append(f"{where} is {patch!r}: it must be a mapping with name, file and action")
        elif not isinstance(name, str) or not name:
            findings.append(f"{where} has no name: give it one, by which a message can call it")
        elif name in entries:
            findings.append(f"{where} has the name {name}, as one before it: give each its own")
        elif name in taken:
            findings.append(
                f"{where} has the name {name}, which is that of a patch of the image's in the catalogue: give it another, "
                "or change that one with fleet_catalogue (patches)"
            )
        else:
            entries[name] = {str(key): value for key, value in patch.items() if key != "name"}
    if entries:
        try:
            check_schema(
                {"patches": entries}, None, "fleet_{path}: {message}", {"patches": list(entries)}, "fleet_patches"
            )
        except CatalogueError as error:
            findings += str(error).splitlines()
    if findings:
        raise CatalogueError("\n".join(findings))
    return tuple({"name": name, **entry} for name, entry in entries.items())
