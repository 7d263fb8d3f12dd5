"""The Debian root below every lab image."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

SUITE = "bookworm"  # its python3 is 3.11, for which the environments are built
PACKAGES = ("python3", "ca-certificates", "curl", "procps", "libnuma1", "libgomp1")
# A fixed time for files that the bootstrap itself writes.
EPOCH = 1767225600
_EXCLUDED = ("doc", "man", "info", "locale", "lintian")


def command(target: Path) -> list[str]:
    exclusions = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _EXCLUDED]
    return [
        "mmdebstrap",
        "--quiet",
        "--mode=auto",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        *exclusions,
        SUITE,
        str(target),
    ]


def build(folder: Path) -> None:
    """Write folder/root.tar."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)}
    subprocess.run(command(folder / "root.tar"), check=True, env=environment)
