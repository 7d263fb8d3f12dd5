# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our own reading of a JSON Schema, held against the jsonschema package."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import jsonschema
import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._schema import KEYWORDS, schema_problems

SCHEMA = {
    "type": "object",
    "required": ["kind", "things"],
    "additionalProperties": False,
    "$defs": {"word": {"type": "string", "pattern": "^[a-z]+$"}},
    "properties": {
        "kind": {"const": 1},
        "count": {"type": "integer", "minimum": 2},
        "name": {"type": "string", "minLength": 1},
        "things": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/word"}},
        "anything": {"type": "object"},
        "named": {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": "^[a-z]+$"},
            "additionalProperties": {"$ref": "#/$defs/word"},
        },
    },
}
GOOD: dict[str, t.Any] = {"kind": 1, "things": ["a"]}

ROWS: list[tuple[t.Any, list[str]]] = [
    (GOOD, []),
    ({**GOOD, "count": 2, "name": "A", "anything": {"x": [1]}, "named": {"a": "b"}}, []),
    ([], ["the file is []: it must be a mapping"]),
    (None, ["the file is None: it must be a mapping"]),
    ({}, ["the file has no kind", "the file has no things"]),
    ({**GOOD, "kind": 2}, ["kind is 2: it must be 1"]),
    ({**GOOD, "kind": True}, ["kind is True: it must be 1"]),
    ({**GOOD, "count": 1}, ["count is 1: it must be 2 or more"]),
    ({**GOOD, "count": True}, ["count is True: it must be a whole number"]),
    ({**GOOD, "count": "2"}, ["count is '2': it must be a whole number"]),
    ({**GOOD, "name": ""}, ["name is empty"]),
    ({**GOOD, "name": None}, ["name is None: it must be a string"]),
    ({**GOOD, "things": []}, ["things is empty"]),
    ({**GOOD, "things": {}}, ["things is {}: it must be a list"]),
    (
        {**GOOD, "things": ["a", "B", 1]},
        ["things[1] is 'B': it must match ^[a-z]+$", "things[2] is 1: it must be a string"],
    ),
    ({**GOOD, "more": 1}, ["more is unknown: known are kind, count, name, things, anything, named"]),
    ({**GOOD, "anything": "x"}, ["anything is 'x': it must be a mapping"]),
    ({**GOOD, "named": {}}, ["named is empty"]),
    ({**GOOD, "named": {"A": "b"}}, ["named.A: the name must match ^[a-z]+$"]),
    ({**GOOD, "named": {"a": "B"}}, ["named.a is 'B': it must match ^[a-z]+$"]),
    ({**GOOD, "name": {"x": "y" * 100}}, [f"name is {{'x': '{'y' * 50}...: it must be a string"]),
]


@pytest.mark.parametrize(("value", "problems"), ROWS)
def test_what_is_wrong(value: t.Any, problems: list[str]) -> None:
    assert schema_problems(value, SCHEMA) == problems
    assert bool(list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(value))) is bool(problems)


def test_stricter_than_json_schema() -> None:
    """YAML has names that are no strings, and a pattern's $ lets a line end pass."""
    assert schema_problems({**GOOD, "things": ["a\n"]}, SCHEMA) == ["things[0] is 'a\\n': it must match ^[a-z]+$"]
    assert schema_problems({**GOOD, "named": {"a\n": "b"}}, SCHEMA) == ["named.a\n: the name must match ^[a-z]+$"]
    assert schema_problems({**GOOD, "named": {1: "b"}}, SCHEMA) == ["named.1 is no name: put it in quotes"]


def test_the_locks_schema_has_nothing_that_is_not_understood() -> None:
    def keywords(schema: t.Any) -> t.Iterator[str]:
        if isinstance(schema, dict):
            yield from schema
            for key, value in schema.items():
                inner = value.values() if key in ("properties", "$defs") else [value]
                for one in inner:
                    yield from keywords(one)

    file = Path(__file__).resolve().parents[4] / "catalogue" / "schema" / "lock.json"
    schema = json.loads(file.read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(keywords(schema)) <= KEYWORDS
