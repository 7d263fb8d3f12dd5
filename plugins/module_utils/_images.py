# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds images in what engine_facts saw, so that an image that is there costs no call to its host. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils._patch import patched_tag

Images = Sequence[Mapping[str, str]]


def images_seen(variables: Mapping[str, Any]) -> Images:
    """`container_engine.images` of a host's facts: [{"reference", "id", "digest"}]; none where there are no facts."""
    facts = variables.get("ansible_facts") or {}
    seen: Images = (facts.get("container_engine") or {}).get("images") or []
    return seen


def is_wanted(image_id: str, digests: Iterable[str], digest: str | None, ids: Sequence[str] = ()) -> bool:
    """Whether an image of a node is the one that is asked for.

    digests: its digests in registries, alone or as repository@digest. digest: None for any. ids: IDs that the wanted
    image may have, for one that was loaded from a file has no digest of a registry.
    """
    return digest is None or image_id in ids or digest in {name.rsplit("@", 1)[-1] for name in digests}


def pulled(images: Images, reference: str, digest: str | None, ids: Sequence[str] = ()) -> dict[str, Any] | None:
    """`fleet_local_image` for the reference, or None where the host has to be asked.

    With a digest the content counts, whatever its name: a tag may have been moved on the node since. Where nothing has
    the name, the image has to get it.
    """
    if not any(image["reference"] == reference for image in images):
        return None
    for image in images:
        if (image["reference"] == reference or digest) and is_wanted(image["id"], [image["digest"]], digest, ids):
            return {"reference": reference, "id": image["id"], "digest": digest or image["digest"] or None}
    return None


def patched(
    images: Images, base: Mapping[str, Any], patches: Sequence[Mapping[str, Any]], repository: str
) -> dict[str, Any] | None:
    """`fleet_local_image` for the patched base, or None where it has to be built."""
    if not base.get("id"):
        return None
    tag = patched_tag(base["id"], patches, repository)
    for image in images:
        if image["reference"] == tag:
            return {**base, "id": image["id"], "patched": [p["name"] for p in patches], "tag": tag}
    return None
