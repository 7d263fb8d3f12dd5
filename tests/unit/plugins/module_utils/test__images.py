# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._images import images_seen, patched, pulled
from ansible_collections.sglang.fleet.plugins.module_utils._patch import patched_tag

PATCHES = [{"name": "p", "action": "rename", "file": "a", "to": "b"}]
BASE = {"reference": "lmsysorg/sglang:v1", "id": "sha256:aa", "digest": "sha256:dd"}
TAG = patched_tag("sha256:aa", PATCHES)
IMAGES = [
    {"reference": "lmsysorg/sglang:v1", "id": "sha256:aa", "digest": "sha256:dd"},
    {"reference": "local/made:v1", "id": "sha256:bb", "digest": ""},
    {"reference": TAG, "id": "sha256:cc", "digest": ""},
]


@pytest.mark.parametrize(
    ("reference", "digest", "found"),
    [
        pytest.param("lmsysorg/sglang:v1", None, BASE, id="any digest"),
        pytest.param("lmsysorg/sglang:v1", "sha256:dd", BASE, id="this digest"),
        pytest.param("lmsysorg/sglang:v1", "sha256:ee", None, id="another digest"),
        pytest.param("lmsysorg/sglang:v2", None, None, id="another tag"),
        pytest.param(
            "local/made:v1", None, {"reference": "local/made:v1", "id": "sha256:bb", "digest": None}, id="built here"
        ),
    ],
)
def test_a_pulled_image_is_found(reference: str, digest: str | None, found: dict[str, Any] | None) -> None:
    assert pulled(IMAGES, reference, digest) == found


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
