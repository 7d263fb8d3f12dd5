# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle: a folder of the controller with the images and weights of a lock, for hosts that reach nothing but ssh.

    bundle.json               what is in it, with size and SHA-256 of every file; written last
    fleet.lock.yml            the lock that it was made from
    images/                   an OCI image layout: oci-layout, index.json, blobs/sha256/…
    weights/<repository>/<revision>/<path>

Runs on the controller (standard library only).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils._disk import sha256_of

SCHEMA = 1
FILE = "bundle.json"
LOCK = "fleet.lock.yml"
IMAGES = "images"


class BundleError(ValueError):
    """The bundle lacks something or is not one; the text says what was found and what to do."""


def folder_of(given: str) -> str:
    """A bundle's folder as an operator names it (fleet_bundle), absolute."""
    return os.path.abspath(os.path.expanduser(given))


def blob_path(digest: str) -> str:
    """Where a blob lies below the bundle. digest: sha256:…"""
    return f"{IMAGES}/blobs/{digest.replace(':', '/')}"


def weights_path(repository: str, revision: str, path: str = "") -> str:
    """Where a file of the weights lies below the bundle; without a path, the folder of all."""
    return "/".join(part for part in ("weights", repository, revision, path) if part)


def load_bundle(folder: str) -> dict[str, Any]:
    """What bundle.json of a folder says; raises BundleError."""
    path = os.path.join(folder, FILE)
    again = "make it with `sglang-fleet bundle`, or correct fleet_bundle"
    try:
        with open(path, encoding="utf-8") as handle:
            bundle = json.load(handle)
    except FileNotFoundError as error:
        raise BundleError(f"{folder} holds no whole bundle, for {FILE} is not there: {again}") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise BundleError(f"cannot read {path}: {reason}") from error
    except ValueError as error:
        raise BundleError(f"{path} is not JSON: {error}; {again}") from error
    wanted = ("schema", "lock", "images", "models", "files")
    if not isinstance(bundle, dict) or any(key not in bundle for key in wanted):
        raise BundleError(f"{path} is not a bundle's: it must have {', '.join(wanted)}; {again}")
    if bundle["schema"] != SCHEMA:
        raise BundleError(
            f"{path} has schema {bundle['schema']}, and this version of the collection knows {SCHEMA}: {again}"
        )
    found: dict[str, Any] = bundle
    return found


def render_bundle(
    lock_digest: str, images: Mapping[str, Any], models: Mapping[str, Any], files: Mapping[str, Any]
) -> str:
    """The text of bundle.json.

    images: reference → {"digest", "platforms": {architecture: {"manifest", "config", "blobs": [digest]}}}.
    models: repository → {"revision", "bytes"}. files: path below the bundle → {"size", "sha256"}.
    """
    bundle = {"schema": SCHEMA, "lock": lock_digest, "images": images, "models": models, "files": files}
    return json.dumps(bundle, indent=1, sort_keys=True) + "\n"


def image_blobs(bundle: Mapping[str, Any], reference: str, ids: Sequence[str]) -> dict[str, Any]:
    """What a host needs of an image: {"manifest", "config", "blobs": [{"digest", "path", "size", "sha256"}]}.

    ids: what the lock accepts as the image's ID on that host, which names the platform. Raises BundleError.
    """
    image = bundle["images"].get(reference)
    again = "make the bundle anew from this lock with `sglang-fleet bundle`"
    if image is None:
        there = ", ".join(sorted(bundle["images"])) or "none"
        raise BundleError(f"the bundle has no image {reference} (it has {there}): {again}")
    for platform in image["platforms"].values():
        if platform["config"] in ids and platform["manifest"] in ids:
            blobs = [
                {"digest": digest, "path": blob_path(digest), **bundle["files"][blob_path(digest)]}
                for digest in platform["blobs"]
            ]
            return {"manifest": platform["manifest"], "config": platform["config"], "blobs": blobs}
    there = ", ".join(f"{name} {entry['manifest']}" for name, entry in sorted(image["platforms"].items()))
    raise BundleError(f"the bundle has {reference} as {there}, and the lock wants one of {', '.join(ids)}: {again}")


def weights_files(
    bundle: Mapping[str, Any], repository: str, revision: str, paths: Iterable[str]
) -> list[dict[str, Any]]:
    """The files of the weights as [{"path", "source" (below the bundle), "size", "sha256"}]; raises BundleError."""
    found, missing = [], []
    for path in paths:
        source = weights_path(repository, revision, path)
        if source in bundle["files"]:
            found.append({"path": path, "source": source, **bundle["files"][source]})
        else:
            missing.append(path)
    if missing:
        there = (
            ", ".join(f"{name} at {model['revision']}" for name, model in sorted(bundle["models"].items())) or "none"
        )
        raise BundleError(
            f"the bundle lacks {len(missing)} files of {repository} at {revision}, such as {missing[0]} (it has weights of"
            f" {there}): make the bundle anew from this lock with `sglang-fleet bundle`"
        )
    return found


def _gaps(bundle: Mapping[str, Any]) -> Iterator[str]:
    """What bundle.json names and has no file of, a sentence each."""
    again = "make it anew with `sglang-fleet bundle`"
    for reference, image in sorted(bundle["images"].items()):
        blobs = {blob for platform in image["platforms"].values() for blob in platform["blobs"]}
        lost = sorted(blob for blob in blobs if blob_path(blob) not in bundle["files"])
        if lost:
            yield f"{FILE} lists {len(blobs) - len(lost)} of {len(blobs)} blobs of {reference}, not {lost[0]}: {again}"
    for repository, model in sorted(bundle["models"].items()):
        below = weights_path(repository, model["revision"]) + "/"
        listed = sum(entry["size"] for path, entry in bundle["files"].items() if path.startswith(below))
        if listed != model["bytes"]:
            yield f"{FILE} lists {listed} of {model['bytes']} bytes of {repository}: {again}"


def lock_problems(bundle: Mapping[str, Any], lock: Mapping[str, Any], repository: str | None) -> Iterator[str]:
    """What of the bundle the lock does not have so, a sentence each. repository: of the host's model, None for an unknown one.

    A bundle of a lock that has grown since, or of some hosts only, is no error in itself.
    """
    again = "make the bundle anew from this lock with `sglang-fleet bundle`"
    for name, model in sorted(bundle["models"].items()):
        locked = lock["models"].get(name)
        if locked is not None and locked["revision"] != model["revision"]:
            yield f"the bundle has {name} at {model['revision']}, the lock {locked['revision']}: {again}"
    if repository in lock["models"] and repository not in bundle["models"]:
        there = ", ".join(sorted(bundle["models"])) or "none"
        yield f"the bundle has no weights of {repository} (it has {there}): {again}"
    if bundle["images"] and not {*bundle["images"]} & {*lock["images"]}:
        there, locked_ones = (", ".join(sorted(images)) or "none" for images in (bundle["images"], lock["images"]))
        yield f"the bundle has no image of the lock's (it has {there}, the lock {locked_ones}): {again}"


def problems(folder: str, bundle: Mapping[str, Any], hashing: bool) -> Iterator[str]:
    """What of the files is not as bundle.json says, a sentence each. hashing: their content too, else their sizes only."""
    yield from _gaps(bundle)
    for path, entry in sorted(bundle["files"].items()):
        full = os.path.join(folder, path)
        try:
            size = os.path.getsize(full)
        except OSError:
            yield f"{path} is not there"
            continue
        if size != entry["size"]:
            yield f"{path} has {size} bytes, {entry['size']} are wanted"
        elif hashing and sha256_of(full) != entry["sha256"]:
            yield f"{path} has another content: its SHA-256 is not {entry['sha256']}. Delete it, and run sglang-fleet bundle"


def archive_texts(name: str, manifest: str, size: int, blobs: Mapping[str, Any]) -> dict[str, str]:
    """The small files that make blobs an archive that `docker load` takes, of any store: Docker's manifest.json, and the
    OCI layout's index.

    name: what the loaded image is called, NAME:TAG. manifest: its digest; size: the manifest's bytes. blobs: the
    manifest's content.
    """
    tag = name.rsplit(":", 1)[1]
    described = {
        "mediaType": blobs.get("mediaType", "application/vnd.oci.image.manifest.v1+json"),
        "digest": manifest,
        "size": size,
        "annotations": {"io.containerd.image.name": f"docker.io/{name}", "org.opencontainers.image.ref.name": tag},
    }
    docker = {
        "Config": _in_archive(blobs["config"]["digest"]),
        "RepoTags": [name],
        "Layers": [_in_archive(layer["digest"]) for layer in blobs["layers"]],
    }
    return {
        "oci-layout": json.dumps({"imageLayoutVersion": "1.0.0"}),
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [described]}),
        "manifest.json": json.dumps([docker]),
    }


def _in_archive(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"
