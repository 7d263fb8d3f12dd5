"""The key that opens the nodes. It is handed to each node, and is in no image."""

from __future__ import annotations

import io
import tarfile
import time
from pathlib import Path

from .settings import Node
from .shell import cache_dir, docker, locked, run


def private_key() -> Path:
    """The key that opens every node, made once and kept in the cache; its public half lies beside it."""
    path = cache_dir("ssh") / "id_ed25519"
    with locked("ssh"):
        if not path.with_suffix(".pub").exists():
            path.unlink(missing_ok=True)
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "sglang-fleet-lab", "-f", path])
    return path


def hand_in(key: Path, node: Node) -> None:
    """Put the authorized key of root and ansible into a node, running or not."""
    text = key.with_suffix(".pub").read_bytes()
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for path, owner in (("root", 0), ("home/ansible", 1000)):
            entry = tarfile.TarInfo(f"{path}/.ssh/authorized_keys")
            entry.size, entry.mode, entry.uid, entry.gid, entry.mtime = len(text), 0o600, owner, owner, time.time()
            archive.addfile(entry, io.BytesIO(text))
    docker("cp", "-", f"{node.container}:/", stdin=stream.getvalue())
