# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loads an image whose blobs lie in a folder: as an archive that is made while it is read, so that it needs no room."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import tarfile

from ansible_collections.sglang.fleet.plugins.module_utils._bundle import archive_texts
from ansible_collections.sglang.fleet.plugins.module_utils._docker import explain


def load(folder: str, manifest: str, name: str) -> None:
    """Streams the blobs to `docker load` as an archive. Raises DockerError."""
    path = os.path.join(folder, manifest.replace(":", "-"))
    with open(path, encoding="utf-8") as handle:
        content = handle.read()
    described = json.loads(content)
    digests = [manifest, *dict.fromkeys(item["digest"] for item in (described["config"], *described["layers"]))]
    process = subprocess.Popen(
        ["docker", "load", "--quiet"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    # Where the client ends before it has read all, it says why.
    with contextlib.suppress(BrokenPipeError), tarfile.open(fileobj=process.stdin, mode="w|") as archive:
        for small, text in archive_texts(name, manifest, len(content.encode()), described).items():
            info = tarfile.TarInfo(small)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
        for digest in digests:
            archive.add(os.path.join(folder, digest.replace(":", "-")), f"blobs/{digest.replace(':', '/')}")
    _out, said = process.communicate()
    if process.returncode:
        raise explain("load", said.decode(errors="replace"))
