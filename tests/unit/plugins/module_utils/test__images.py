# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._images import images_seen, is_wanted, patched, pulled
from ansible_collections.sglang.fleet.plugins.module_utils._patch import patched_tag

PATCHES = [{"name": "p", "action": "rename", "file": "a", "to": "b"}]
BASE = {"reference": "lmsysorg/sglang:v1", "id": "sha256:aa", "digest": "sha256:dd"}
TAG = patched_tag("sha256:aa", PATCHES)
BUILT = {"reference": "local/made:v1", "id": "sha256:bb", "digest": "sha256:ee"}
MOVED = {"reference": "o/r@sha256:99", "id": "sha256:98", "digest": "sha256:99"}
IMAGES = [
    {"reference": "lmsysorg/sglang:v1", "id": "sha256:aa", "digest": "sha256:dd"},
    {"reference": "local/made:v1", "id": "sha256:bb", "digest": ""},
    {"reference": TAG, "id": "sha256:cc", "digest": ""},
    MOVED,
]


@pytest.mark.parametrize(
    ("reference", "digest", "ids", "found"),
    [
        pytest.param("lmsysorg/sglang:v1", None, [], BASE, id="any digest"),
        pytest.param("lmsysorg/sglang:v1", "sha256:dd", [], BASE, id="this digest"),
        pytest.param("lmsysorg/sglang:v1", "sha256:ee", ["sha256:e1"], None, id="another digest"),
        pytest.param("lmsysorg/sglang:v2", None, [], None, id="another tag"),
        pytest.param("lmsysorg/sglang:v2", None, ["sha256:aa"], None, id="without a digest the name counts"),
        pytest.param("lmsysorg/sglang:v2", "sha256:dd", [], None, id="under another tag alone"),
        pytest.param(
            "local/made:v1",
            "sha256:dd",
            [],
            {**BASE, "reference": "local/made:v1"},
            id="the tag here is another by now",
        ),
        pytest.param("local/made:v1", None, [], {**BUILT, "digest": None}, id="built here"),
        pytest.param("local/made:v1", "sha256:ee", ["sha256:ff", "sha256:bb"], BUILT, id="loaded, by its ID"),
        pytest.param("o/r:v1", "sha256:99", [], None, id="its digest alone: it has to get its name"),
        pytest.param("o/r@sha256:99", "sha256:99", [], MOVED, id="asked for by its digest"),
        pytest.param("o/r:v1", "", [], None, id="no digest is not the empty one"),
    ],
)
def test_a_pulled_image_is_found(
    reference: str, digest: str | None, ids: list[str], found: dict[str, Any] | None
) -> None:
    assert pulled(IMAGES, reference, digest or None, ids) == found


@pytest.mark.parametrize(
    ("digests", "digest", "ids", "wanted"),
    [
        pytest.param([], None, [], True, id="any"),
        pytest.param(["r@sha256:dd"], "sha256:dd", [], True, id="its digest"),
        pytest.param(["sha256:dd"], "sha256:dd", [], True, id="its digest alone"),
        pytest.param([], "sha256:dd", ["sha256:ee", "sha256:aa"], True, id="its ID"),
        pytest.param(["r@sha256:ee"], "sha256:dd", ["sha256:ab"], False, id="neither"),
    ],
)
def test_the_image_that_is_asked_for(digests: list[str], digest: str | None, ids: list[str], wanted: bool) -> None:
    assert is_wanted("sha256:aa", digests, digest, ids) is wanted


def test_a_patched_image_is_found() -> None:
    assert patched(IMAGES, BASE, PATCHES, "sglang-fleet/patched") == {
        **BASE,
        "id": "sha256:cc",
        "patched": ["p"],
        "tag": TAG,
    }


@pytest.mark.parametrize(
    ("base", "patches"),
    [
        pytest.param({**BASE, "id": "sha256:ab"}, PATCHES, id="another base"),
        pytest.param(BASE, [{**PATCHES[0], "to": "c"}], id="another patch"),
        pytest.param({**BASE, "id": None}, PATCHES, id="a base that is not here yet"),
    ],
)
def test_another_image_has_to_be_built(base: dict[str, Any], patches: list[dict[str, Any]]) -> None:
    assert patched(IMAGES, base, patches, "sglang-fleet/patched") is None


@pytest.mark.parametrize("variables", [{}, {"ansible_facts": {}}, {"ansible_facts": {"container_engine": {}}}])
def test_no_facts_are_no_images(variables: dict[str, Any]) -> None:
    assert images_seen(variables) == []
