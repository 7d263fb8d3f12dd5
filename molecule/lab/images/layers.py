"""Image layers and image documents, written without an engine.

A layer is a gzip'ed tar whose bytes depend on its content only, so the same inputs give the same digests and a
registry or an engine that has a layer already is not sent it again.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .rootfs import EPOCH

_CHUNK = 1 << 20
_LEVEL = 1  # a node unpacks each layer once; level 6 costs a minute more and saves a tenth


@dataclass(frozen=True)
class Layer:
    """A finished layer: its file, the digest of the file, and that of the tar inside."""

    path: Path
    digest: str
    diff_id: str
    size: int


class _Hashing:
    """A file to write to that hashes what passes."""

    def __init__(self, target: IO[bytes] | gzip.GzipFile) -> None:
        self.target = target
        self.hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        return self.target.write(data)

    def flush(self) -> None:
        self.target.flush()

    @property
    def digest(self) -> str:
        return f"sha256:{self.hash.hexdigest()}"


def write(source: Path, folder: Path) -> None:
    """Write folder/layer.tar.gz and folder/layer.json from a tar file or from a tree of files."""
    with (folder / "layer.tar.gz").open("wb") as raw:
        outer = _Hashing(raw)
        with gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=outer, mtime=0) as compressed:
            inner = _Hashing(compressed)
            if source.is_dir():
                _pack(source, inner)
            else:
                for chunk in _chunks(source):
                    inner.write(chunk)
    document = {"digest": outer.digest, "diff_id": inner.digest}
    (folder / "layer.json").write_text(json.dumps(document))


def read(folder: Path) -> Layer:
    document = json.loads((folder / "layer.json").read_text())
    path = folder / "layer.tar.gz"
    return Layer(path, document["digest"], document["diff_id"], path.stat().st_size)


def _pack(source: Path, target: _Hashing) -> None:
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
        for path in sorted(source.rglob("*")):
            archive.add(path, arcname=str(path.relative_to(source)), recursive=False, filter=_plain)


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mtime = EPOCH
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


@dataclass(frozen=True)
class Document:
    """An image: its name, its layers, and the configuration whose hash is the image's ID."""

    reference: str
    layers: tuple[Layer, ...]
    config: bytes

    @property
    def image_id(self) -> str:
        return f"sha256:{hashlib.sha256(self.config).hexdigest()}"

    @property
    def manifest(self) -> bytes:
        return json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": {
                    "mediaType": "application/vnd.docker.container.image.v1+json",
                    "size": len(self.config),
                    "digest": self.image_id,
                },
                "layers": [
                    {
                        "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                        "size": layer.size,
                        "digest": layer.digest,
                    }
                    for layer in self.layers
                ],
            }
        ).encode()


MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"


def document(
    reference: str, layers: tuple[Layer, ...], environment: dict[str, str], labels: dict[str, str]
) -> Document:
    created = "2026-01-01T00:00:00Z"
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": created,
        "config": {
            "Env": [f"{name}={value}" for name, value in environment.items()],
            "Cmd": ["/bin/bash"],
            "WorkingDir": "/sgl-workspace/sglang",
            "Labels": labels,
        },
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": created, "created_by": "sglang-fleet lab image"} for _ in layers],
    }
    return Document(reference, layers, json.dumps(config, sort_keys=True).encode())
