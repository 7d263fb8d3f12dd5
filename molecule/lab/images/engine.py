"""Put images into the Docker engine of this machine."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import tarfile
from typing import IO

from .layers import Document


def image_id(reference: str) -> str | None:
    command = ["docker", "image", "inspect", "--format", "{{.Id}}", reference]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else None


def load(images: list[Document]) -> list[Document]:
    """Load those that the engine lacks, in one archive so that shared layers travel once."""
    missing = [image for image in images if image_id(image.reference) != image.image_id]
    if not missing:
        return []
    loader = subprocess.Popen(["docker", "load", "--quiet"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    with contextlib.suppress(BrokenPipeError):  # docker says why on standard error
        _write_archive(loader.stdin, missing)
    if loader.wait() != 0:
        raise RuntimeError("docker load failed; is the engine running?")
    return missing


def _write_archive(target: IO[bytes] | None, missing: list[Document]) -> None:
    with contextlib.closing(target) as pipe, tarfile.open(fileobj=pipe, mode="w|") as archive:  # type: ignore[type-var]
        for layer in {layer.digest: layer for image in missing for layer in image.layers}.values():
            archive.add(layer.path, arcname=_layer_name(layer.diff_id))
        for image in missing:
            _add(archive, _config_name(image), image.config)
        manifest = [
            {
                "Config": _config_name(image),
                "RepoTags": [image.reference],
                "Layers": [_layer_name(layer.diff_id) for layer in image.layers],
            }
            for image in missing
        ]
        _add(archive, "manifest.json", json.dumps(manifest).encode())


def _layer_name(diff_id: str) -> str:
    return f"{diff_id.removeprefix('sha256:')}/layer.tar"


def _config_name(image: Document) -> str:
    return f"{image.image_id.removeprefix('sha256:')}.json"


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
