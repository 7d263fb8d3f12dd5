# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a pull is, from the engine's events; and whether the disk has room for an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils._disk import free_bytes
from ansible_collections.sglang.fleet.plugins.module_utils._docker import Docker, DockerError
from ansible_collections.sglang.fleet.plugins.module_utils._progress import size_text

#: Room that an image needs, as a multiple of its compressed layers, the only size that a registry tells: they lie on the
#: disk beside what is unpacked from them, which for SGLang's images is up to twice as much (12 to 18 GB compressed, 30 GB
#: and more unpacked).
ROOM = 3

_FINISHED = ("Download complete", "Verifying Checksum", "Pull complete", "Extracting")


@dataclass
class Layer:
    """One layer on its way. total: None while nobody has said it."""

    current: int = 0
    total: int | None = None
    loaded: bool = False
    unpacked: int = 0
    here: bool = False


class Pull:
    """Takes the engine's events (`_engine_api.pull`) and says how far it is. locked: the image's compressed bytes, 0 for
    unknown; it stands in until the engine has begun with every layer."""

    def __init__(self, locked: int = 0) -> None:
        self._locked = locked
        self._layers: dict[str, Layer] = {}

    def take(self, event: Mapping[str, Any]) -> None:
        """One event more. Those that concern no layer, such as the digest's, change nothing."""
        status, name = str(event.get("status") or ""), str(event.get("id") or "")
        if status == "Already exists":
            self._layers.pop(name, None)  # neither fetched nor unpacked
            return
        if status in ("Pulling fs layer", "Waiting"):
            self._layers.setdefault(name, Layer())
            return
        if status != "Downloading" and status not in _FINISHED:
            return
        layer = self._layers.setdefault(name, Layer())
        detail = event.get("progressDetail") or {}
        current, total = int(detail.get("current") or 0), int(detail.get("total") or 0)
        if status == "Downloading":
            layer.current = current
            layer.total = total if total > 0 else layer.total
            return
        layer.loaded = True
        if layer.total is None:
            # The smallest ones are there before the engine has told their size.
            in_bytes = status == "Extracting" and "units" not in detail and total > 0
            layer.total = total if in_bytes else layer.current
        layer.current = layer.total
        if status == "Extracting" and "units" not in detail:  # a unit is seconds, from containerd
            layer.unpacked = min(current, layer.total)
        elif status == "Pull complete":
            layer.unpacked, layer.here = layer.total, True

    def state(self) -> dict[str, Any]:
        """{"phase": "download" or "unpack", "done", "total" (None: nobody knows yet), "layers", "layers_here"}, in bytes
        of compressed layers, those that the node had already left out."""
        layers = list(self._layers.values())
        known = sum(layer.total or 0 for layer in layers)
        loaded = bool(layers) and all(layer.loaded for layer in layers)
        here = sum(layer.here for layer in layers)
        if loaded:
            unpacked = sum(layer.unpacked for layer in layers)
            return {"phase": "unpack", "done": unpacked, "total": known, "layers": len(layers), "layers_here": here}
        whole = bool(layers) and all(layer.total is not None for layer in layers)
        total = known if whole else max(known, self._locked) or None
        if not whole and not self._locked:
            total = None
        done = sum(layer.current for layer in layers)
        return {"phase": "download", "done": done, "total": total, "layers": len(layers), "layers_here": here}


def see_room(docker: Docker, reference: str, size: int, done: str) -> None:
    """Raises DockerError where the engine's disk has no room for the image. size, done: of `room_problem`."""
    if not size:
        return
    folder = image_folder(docker.info())
    problem = room_problem(reference, size, free_bytes(folder), folder, done)
    if problem:
        raise DockerError("space", problem)


def room_problem(reference: str, size: int, free: int, folder: str, done: str) -> str | None:
    """Why the image may not be brought, or None. size: bytes of its compressed layers, 0 for unknown. free: bytes that are
    free where the engine keeps its images, which is below `folder`. done: what nothing was, such as `pulled`."""
    if not size or free >= ROOM * size:
        return None
    return (
        f"image {reference}: no room for it: {size_text(free)} are free below {folder}, {size_text(ROOM * size)} are needed"
        f" ({size_text(size)} of compressed layers, and up to {ROOM - 1} times that unpacked beside them). Free space there"
        f" (`docker system df`), or move Docker's data root (data-root in /etc/docker/daemon.json). Nothing was {done}."
    )


def image_folder(info: Mapping[str, Any]) -> str:
    """Where the engine keeps its images, from `docker info`: its data root, or containerd's where it stores them."""
    status = {str(row[0]): str(row[1]) for row in info.get("DriverStatus") or () if len(row) == 2}
    root = str(info.get("DockerRootDir") or "/var/lib/docker")
    return "/var/lib/containerd" if status.get("driver-type", "").startswith("io.containerd.snapshotter") else root
