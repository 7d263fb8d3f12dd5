# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The part of JSON Schema that the collection's own files need, without a package: a deploy reads them for each host. Pure."""

from __future__ import annotations

import re
import typing as t

_Schema = t.Mapping[str, t.Any]

_TYPES: t.Final[dict[str, tuple[tuple[type, ...], str]]] = {
    "object": ((dict,), "a mapping"),
    "array": ((list,), "a list"),
    "string": ((str,), "a string"),
    "integer": ((int,), "a whole number"),
}
#: What schema_problems understands; a schema with more is not one for it.
KEYWORDS: t.Final = frozenset(
    {
        *("$schema", "$id", "$defs", "$ref", "title", "description"),
        *("type", "const", "pattern", "minLength", "minimum", "items", "minItems"),
        *("required", "properties", "additionalProperties", "propertyNames", "minProperties"),
    }
)


def schema_problems(value: t.Any, schema: _Schema, where: str = "") -> list[str]:
    """What of the value is not as the schema says, each with its place such as ``models.a/b.files[0].size``."""
    return list(_problems(value, schema, schema.get("$defs", {}), where))


def _problems(value: t.Any, schema: _Schema, defs: _Schema, where: str) -> t.Iterator[str]:
    if "$ref" in schema:
        schema = defs[schema["$ref"].rsplit("/", 1)[-1]]
    place = where or "the file"
    if not _is(value, schema):
        wanted = repr(schema["const"]) if "const" in schema else _TYPES[schema["type"]][1]
        yield f"{place} is {_short(value)}: it must be {wanted}"
    elif isinstance(value, str):
        # A line end at the end of a text would pass a pattern's $.
        if "pattern" in schema and ("\n" in value or re.search(schema["pattern"], value) is None):
            yield f"{place} is {_short(value)}: it must match {schema['pattern']}"
        if len(value) < schema.get("minLength", 0):
            yield f"{place} is empty"
    elif isinstance(value, int) and value < schema.get("minimum", value):
        yield f"{place} is {value}: it must be {schema['minimum']} or more"
    elif isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            yield f"{place} is empty"
        for index, item in enumerate(value):
            yield from _problems(item, schema.get("items", {}), defs, f"{where}[{index}]")
    elif isinstance(value, dict):
        yield from _mapping(value, schema, defs, where)


def _is(value: t.Any, schema: _Schema) -> bool:
    """Whether the value is the one, or of the type, that the schema wants. In Python true is a whole number too."""
    if "const" in schema:
        return not isinstance(value, bool) and bool(value == schema["const"])
    return "type" not in schema or (isinstance(value, _TYPES[schema["type"]][0]) and not isinstance(value, bool))


def _mapping(value: dict[t.Any, t.Any], schema: _Schema, defs: _Schema, where: str) -> t.Iterator[str]:
    known: _Schema = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    if len(value) < schema.get("minProperties", 0):
        yield f"{where or 'the file'} is empty"
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{where or 'the file'} has no {name}"
    names = schema.get("propertyNames")
    for name, item in value.items():
        place = f"{where}.{name}" if where else str(name)
        if not isinstance(name, str):
            yield f"{place} is no name: put it in quotes"
        elif name in known:
            yield from _problems(item, known[name], defs, place)
        elif others is False:
            yield f"{place} is unknown: known are {', '.join(known)}"
        else:
            if names is not None and ("\n" in name or re.search(names["pattern"], name) is None):
                yield f"{place}: the name must match {names['pattern']}"
            if isinstance(others, t.Mapping):
                yield from _problems(item, others, defs, place)


def _short(value: t.Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
