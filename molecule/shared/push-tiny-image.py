#!/usr/bin/env python3
# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts an image of one small file into a registry: push-tiny-image.py ADDRESS NAME TAG [CONTENT].

Prints the digests of its manifest and of its configuration.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import sys
import tarfile
import urllib.error
import urllib.request

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def call(method: str, url: str, data: bytes | None = None, kind: str = "application/octet-stream") -> tuple[int, str]:
    request = urllib.request.Request(url, data, {"Content-Type": kind}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers.get("Location", "")
    except urllib.error.HTTPError as error:
        return error.code, ""


def expect(wanted: int, status: int) -> None:
    if status != wanted:
        sys.exit(f"the registry answered {status}, not {wanted}")


def main(address: str, name: str, tag: str, content: str = "") -> None:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        text = f"{content or tag}\n".encode() * 1000
        entry = tarfile.TarInfo("content")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
    layer = gzip.compress(raw.getvalue(), mtime=0)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [sha(raw.getvalue())]},
        }
    ).encode()
    for blob in (layer, config):
        if call("HEAD", f"http://{address}/v2/{name}/blobs/{sha(blob)}")[0] != 200:
            _status, place = call("POST", f"http://{address}/v2/{name}/blobs/uploads/", b"")
            status, _place = call("PUT", f"{place}{'&' if '?' in place else '?'}digest={sha(blob)}", blob)
            expect(201, status)
    kinds = ("application/vnd.docker.container.image.v1+json", "application/vnd.docker.image.rootfs.diff.tar.gzip")
    parts = [
        {"mediaType": kind, "size": len(data), "digest": sha(data)}
        for kind, data in zip(kinds, (config, layer), strict=True)
    ]
    manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": parts[0], "layers": parts[1:]}).encode()
    status, _place = call("PUT", f"http://{address}/v2/{name}/manifests/{tag}", manifest, MANIFEST)
    expect(201, status)
    print(sha(manifest), sha(config))


if __name__ == "__main__":
    main(*sys.argv[1:])
