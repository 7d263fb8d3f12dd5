# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._our_images import (
    Ours,
    added,
    load,
    names_to_remove,
    protected_ids,
    save,
    superfluous,
)

A, B, C, D = (Ours(name, (f"r:{name}",), since) for since, name in enumerate("abcd"))
PATCHED_A = Ours("pa", ("p:a",), 10, "a")
PATCHED_B = Ours("pb", ("p:b",), 11, "b")
OLD_PATCHED_B = Ours("ob", ("p:ob",), 9, "b")


@pytest.mark.parametrize(
    ("images", "protected", "keep", "gone"),
    [
        pytest.param([], [], 0, [], id="none"),
        pytest.param([A, B, C], ["c", "b"], 0, ["a"], id="what runs and what a rollback needs stay"),
        pytest.param([A, B, C, D], ["d"], 1, ["a", "b"], id="one more, the newest"),
        pytest.param([A, B, C, D], ["d"], 3, [], id="all are kept"),
        pytest.param([A, B, C, D], ["d"], -1, [], id="never"),
        pytest.param([A, B], ["x", "y"], 0, ["a", "b"], id="what is protected need not be ours"),
        pytest.param([A, PATCHED_A], ["pa"], 0, [], id="the base of what runs"),
        pytest.param([A, PATCHED_A, B, PATCHED_B], ["pb"], 0, ["pa", "a"], id="patched before its base"),
        pytest.param([A, PATCHED_A, B, PATCHED_B], ["pb"], 1, [], id="the two count as one"),
        pytest.param(
            [A, B, PATCHED_B, OLD_PATCHED_B], ["pb"], 0, ["ob", "a"], id="an older patch goes, its base is needed"
        ),
        pytest.param([A, B, PATCHED_B, OLD_PATCHED_B], ["pb"], 1, ["a"], id="an older patch is an old image"),
        pytest.param([A, PATCHED_A, C], ["a"], 0, ["pa", "c"], id="a base that runs unpatched"),
        pytest.param([PATCHED_A], [], 0, ["pa"], id="somebody else's base"),
    ],
)
def test_what_may_go(images: list[Ours], protected: list[str], keep: int, gone: list[str]) -> None:
    assert [image.id for image in superfluous(images, protected, keep)] == gone


@pytest.mark.parametrize(
    ("states", "used", "ids"),
    [
        ([], [], set()),
        ([{}], ["u"], {"u"}),
        ([{"image": {"id": "a"}}, {"image": {"id": "b"}}], ["u"], {"a", "b", "u"}),
        ([{"image": {"id": "a"}, "last_good": {"image": {"id": "g"}}}], [], {"a", "g"}),
        ([{"image": {"id": None}}, {"image": None}], [], set()),
    ],
)
def test_what_stays(states: list[dict[str, Any]], used: list[str], ids: set[str]) -> None:
    assert protected_ids(states, used) == ids


@pytest.mark.parametrize(
    ("tags", "digests", "names"),
    [
        pytest.param(["r:v1"], ["r@sha256:dd"], ("r:v1", "r@sha256:dd"), id="as it was pulled"),
        pytest.param(["r:v1", "mine:v1"], ["r@sha256:dd"], ("r:v1",), id="somebody else's name stays, and the content"),
        pytest.param([], ["r@sha256:dd"], ("r@sha256:dd",), id="the tag is another image by now"),
        pytest.param(["mine:v1"], ["r@sha256:dd"], (), id="somebody else's by now"),
        pytest.param(["r:v1"], [], ("r:v1",), id="loaded from a file"),
        pytest.param([], [], (), id="no name at all"),
    ],
)
def test_the_names_that_are_ours(tags: list[str], digests: list[str], names: tuple[str, ...]) -> None:
    assert names_to_remove("r:v1", "sha256:dd", tags, digests) == names


def test_the_record(tmp_path: Path) -> None:
    path = str(tmp_path / "fleet" / "images.json")
    assert load(path) == []
    one = added([], "r:v1", "a", "sha256:dd", 5.7)
    assert one == [{"reference": "r:v1", "id": "a", "digest": "sha256:dd", "since": 5}]
    assert added(one, "r:v1", "a", None, 9) == one, "it came once"
    two = added(one, "r:v1", "b", None, 9)
    save(two, path)
    assert load(path) == two
    assert json.loads(Path(path).read_text())["schema"] == 1
    assert [item.name for item in Path(path).parent.iterdir()] == ["images.json"]
    assert Path(path).stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("text", ["{", "[]", '{"images": [1, {"id": "a"}]}'])
def test_a_torn_record_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "images.json"
    path.write_text(text)
    assert load(str(path)) == []
