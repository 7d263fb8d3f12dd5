# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files a bundle holds, and how each is got: the blobs of images, and weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sglang_fleet.lock import HUB
from sglang_fleet.planning import FleetError

#: Brings a file to a path.
Get = Callable[[Path], None]


@dataclass
class Source:
    """Where an inventory's images and weights come from. token: the hub's, shown nowhere."""

    lock_file: Path
    mirrors: list[str]
    endpoint: str = HUB
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class File:
    """A file that a bundle shall have. path: below the bundle. get: brings it to a path, by way of PATH.part."""

    path: str
    size: int
    sha256: str
    get: Get


class Contents:
    """What the plans need of the lock. images, models: as bundle.json has them, known once `files` was called."""

    def __init__(self, ours: Any, lock: Mapping[str, Any], plans: Iterable[Mapping[str, Any]], source: Source) -> None:
        from sglang_fleet.bundle_images import Images
        from sglang_fleet.lock_credentials import Credentials

        self._ours, self._lock, self._plans, self._source = ours, lock, list(plans), source
        self._registries = Images(Credentials.of_user())
        self.images: dict[str, Any] = {}
        self.models: dict[str, Any] = {}
        self._manifests: dict[str, bytes] = {}

    def files(self, folder: Path) -> list[File]:
        """Every blob and file; the manifests, which say which blobs there are, are fetched for it."""
        found: dict[str, File] = {}
        for plan in self._plans:
            for platform in plan["platforms"]:
                for file in self._of_image(folder, plan["image"], platform):
                    found[file.path] = file
            for file in self._of_model(plan["repository"]):
                found[file.path] = file
        return list(found.values())

    def _of_image(self, folder: Path, reference: str, platform: str) -> Iterable[File]:
        from sglang_fleet.bundle_images import blobs_of
        from sglang_fleet.lock_registry import RegistryError

        locked = self._lock["images"][reference]
        entry = locked["platforms"][platform]
        digest = entry["manifest"]
        held = folder / self._ours.bundle.blob_path(digest)
        try:
            if held.is_file() and f"sha256:{self._ours.disk.sha256_of(str(held))}" == digest:
                content = held.read_bytes()
                manifest = json.loads(content)
            else:
                content, manifest = self._registries.manifest(reference, digest, self._source.mirrors)
        except RegistryError as error:
            raise FleetError(str(error)) from error
        blobs = blobs_of(manifest)
        if blobs[0]["digest"] != entry["config"]:
            raise FleetError(
                f"{reference} for {platform}: its manifest has the configuration {blobs[0]['digest']}, the lock"
                f" {entry['config']}: run sglang-fleet lock"
            )
        image = self.images.setdefault(reference, {"digest": locked["digest"], "platforms": {}})
        image["platforms"][platform] = {
            "manifest": digest,
            "config": entry["config"],
            "blobs": [digest, *(blob["digest"] for blob in blobs)],
        }
        self._manifests[digest] = content

        def write(target: Path) -> None:
            target.write_bytes(content)

        yield self._blob(digest, len(content), write)
        for blob in blobs:
            yield self._blob(blob["digest"], blob["size"], self._getter(reference, blob))

    def _getter(self, reference: str, blob: Mapping[str, Any]) -> Get:
        def get(target: Path) -> None:
            from sglang_fleet.lock_registry import RegistryError

            try:
                self._registries.blob(reference, blob["digest"], blob["size"], target, self._source.mirrors)
            except RegistryError as error:
                raise FleetError(str(error)) from error

        return get

    def _blob(self, digest: str, size: int, get: Get) -> File:
        return File(self._ours.bundle.blob_path(digest), size, digest.partition(":")[2], get)

    def _of_model(self, repository: str) -> Iterable[File]:
        model = self._lock["models"].get(repository)
        if model is None:
            return
        self.models[repository] = {"revision": model["revision"], "bytes": model["bytes"]}
        for file in model["files"]:
            path = self._ours.bundle.weights_path(repository, model["revision"], file["path"])
            yield File(path, file["size"], file["sha256"], self._weights_getter(repository, model["revision"], file))

    def _weights_getter(self, repository: str, revision: str, file: dict[str, Any]) -> Get:
        def get(target: Path) -> None:
            from sglang_fleet import bundle_weights

            source = self._source
            try:
                bundle_weights.fetch(source.endpoint, source.token, repository, revision, file, target)
            except bundle_weights.WeightsError as error:
                raise FleetError(str(error)) from error

        return get

    def layout(self) -> dict[str, str]:
        """The files that make the images' folder an OCI layout, which other programs read as well."""
        manifests = []
        for reference, image in sorted(self.images.items()):
            for name, platform in sorted(image["platforms"].items()):
                content = self._manifests[platform["manifest"]]
                manifests.append(
                    {
                        "mediaType": json.loads(content).get("mediaType", "application/vnd.oci.image.manifest.v1+json"),
                        "digest": platform["manifest"],
                        "size": len(content),
                        "platform": {"os": "linux", "architecture": name},
                        "annotations": {"org.opencontainers.image.ref.name": reference},
                    }
                )
        return {
            f"{self._ours.bundle.IMAGES}/oci-layout": json.dumps({"imageLayoutVersion": "1.0.0"}) + "\n",
            f"{self._ours.bundle.IMAGES}/index.json": json.dumps({"schemaVersion": 2, "manifests": manifests}, indent=1)
            + "\n",
        }
