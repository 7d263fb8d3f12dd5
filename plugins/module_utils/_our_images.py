# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images on a node are ours, and which of them may go.

Ours are those that a deploy pulled, loaded or ran, which /var/lib/sglang-fleet/images.json lists, and those that it built
by patching, which carry a label. Nobody else's image is ever removed.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PATH = "/var/lib/sglang-fleet/images.json"
SCHEMA = 1

#: Labels of a patched image: that it is one, and which image it was built from.
PATCHED = "sglang.fleet.patch_hash"
BASE = "sglang.fleet.base"


@dataclass(frozen=True)
class Ours:
    """An image of ours on the node. since: seconds since 1970 when it came; base: the ID that it was patched from."""

    id: str
    names: tuple[str, ...] = ()
    since: float = 0
    base: str | None = None


def load(path: str = PATH) -> list[dict[str, Any]]:
    """The images on record: [{"reference", "id", "digest", "since"}]; none where the file is missing or torn, for then
    images merely stay that could have gone."""
    try:
        with open(path, encoding="utf-8") as handle:
            images = json.load(handle)["images"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [image for image in images if isinstance(image, dict) and image.get("id") and image.get("reference")]


def added(
    images: Sequence[Mapping[str, Any]], reference: str, image_id: str, digest: str | None, now: float
) -> list[Any]:
    """The record with one image more; one that is on it already keeps its time."""
    if any(image["id"] == image_id and image["reference"] == reference for image in images):
        return list(images)
    return [*images, {"reference": reference, "id": image_id, "digest": digest, "since": int(now)}]


def save(images: Sequence[Mapping[str, Any]], path: str = PATH) -> None:
    """Writes the record whole or not at all."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".images.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        handle.write(json.dumps({"schema": SCHEMA, "images": list(images)}, indent=1) + "\n")
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)


def names_to_remove(reference: str, digest: str | None, tags: Iterable[str], digests: Iterable[str]) -> tuple[str, ...]:
    """The names of a pulled image that are ours to take away: its reference, and the registry's digest where nothing
    else names it. None where somebody has given the content a name of his own only; then it is his.

    tags, digests: RepoTags and RepoDigests of the image as it is on the node.
    """
    tags, digests = list(tags), list(digests)
    mine = [tag for tag in tags if tag == reference]
    if len(mine) == len(tags):
        mine += [name for name in digests if digest and name.endswith(f"@{digest}")]
    return tuple(mine)


def protected_ids(states: Iterable[Mapping[str, Any]], used: Iterable[str]) -> set[str]:
    """IDs that stay: of containers, running or not, and of what the records say was applied.

    states: contents of state.json and previous.json. used: the image of each container.
    """
    found = set(used)
    for state in states:
        for record in (state, state.get("last_good") or {}):
            image_id = (record.get("image") or {}).get("id")
            if image_id:
                found.add(str(image_id))
    return found


def superfluous(images: Sequence[Ours], protected: Iterable[str], keep: int) -> list[Ours]:
    """The images that may go, patched ones before their bases.

    keep: how many old images stay beyond the protected ones, the newest first; below 0 all. A base stays as long as
    an image that was patched from it, and the two count as one.
    """
    if keep < 0:
        return []
    staying = set(protected)
    bases = {image.base for image in images if image.base}
    # What a server could run: not a base, which is there for what was patched from it.
    old = [image for image in images if image.id not in staying and (image.base or image.id not in bases)]
    old.sort(key=lambda image: (-image.since, image.id))
    staying.update(image.id for image in old[:keep])
    staying.update(str(image.base) for image in images if image.base and image.id in staying)
    gone = [image for image in images if image.id not in staying]
    return sorted(gone, key=lambda image: (image.base is None, image.since, image.id))
