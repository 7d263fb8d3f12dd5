# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import sys
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue_checks import CatalogueError
from ansible_collections.sglang.fleet.plugins.module_utils._user_patches import user_patches

PROSE = {"why": "ours", "source": "us"}
RENAME = {"name": "move", "file": "a.py", "action": "rename", "to": "b.py", **PROSE}
REPLACE = {"name": "swap", "file": "a.py", "action": "replace", "old": "x\n  y", "new": "", **PROSE}
COMMENT = {"name": "mute", "file": "a.py", "action": "comment_line", "line": "@x", **PROSE}


def test_right_ones_come_back_in_their_order() -> None:
    assert user_patches([REPLACE, RENAME, COMMENT]) == (REPLACE, RENAME, COMMENT)
    assert user_patches([]) == ()


@pytest.mark.parametrize(
    ("given", "messages"),
    [
        pytest.param(
            ["swap"], ["fleet_patches[0] is 'swap': it must be a mapping with name, file and action"], id="text"
        ),
        pytest.param(
            [{**RENAME, "name": ""}],
            ["fleet_patches[0] has no name: give it one, by which a message can call it"],
            id="no name",
        ),
        pytest.param(
            [RENAME, {**REPLACE, "name": "move"}],
            ["fleet_patches[1] has the name move, as one before it: give each its own"],
            id="a name twice",
        ),
        pytest.param(
            [{**RENAME, "name": "theirs"}],
            [
                "fleet_patches[0] has the name theirs, which is that of a patch of the image's in the catalogue: give it"
                " another, or change that one with fleet_catalogue (patches)"
            ],
            id="a name of the catalogue's",
        ),
        pytest.param(
            [{**REPLACE, "file": "/etc/passwd"}],
            ["fleet_patches.swap.file: '/etc/passwd' does not match '^(?!/)(?!.*\\\\.\\\\.)[A-Za-z0-9._/-]+$'"],
            id="a file elsewhere",
        ),
        pytest.param(
            [{**REPLACE, "old": " \n"}],
            ["fleet_patches.swap.old: ' \\n' does not match '\\\\S'"],
            id="nothing expected",
        ),
        pytest.param(
            [{key: value for key, value in REPLACE.items() if key != "why"}, {**COMMENT, "line": " x"}],
            [
                "fleet_patches.mute.line: ' x' does not match '^\\\\S(.*\\\\S)?$'",
                "fleet_patches.swap: 'why' is a required property",
            ],
            id="all findings at once",
        ),
        pytest.param(
            [{**REPLACE, "action": "swap"}],
            ["fleet_patches.swap.action: 'swap' is not one of ['rename', 'comment_line', 'replace']"],
            id="an action that there is not",
        ),
        pytest.param(
            [{**RENAME, "line": "x"}],
            ["fleet_patches.move: unknown key line; known: file, action, to, why, source"],
            id="another action's key",
        ),
        pytest.param(
            [{**RENAME, "name": "a b"}],
            ["fleet_patches: 'a b' does not match '^[A-Za-z0-9][A-Za-z0-9._-]*$'"],
            id="an odd name",
        ),
    ],
)
def test_wrong_ones_are_named(given: list[Any], messages: list[str]) -> None:
    with pytest.raises(CatalogueError) as error:
        user_patches(given, [{"name": "theirs"}])
    assert str(error.value).splitlines() == messages


def test_without_jsonschema_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    assert user_patches([]) == ()
    with pytest.raises(
        CatalogueError, match=r"^fleet_patches needs the Python package jsonschema .* leave fleet_patches out$"
    ):
        user_patches([RENAME])
