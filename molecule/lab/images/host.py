"""The SGLang environments of the images, run on this machine without an engine.

`sglang_python("0.5.9")` gives a command prefix and an environment in which `import sglang` is that version, on the
CPU: the same files as in the images, unpacked once beside the layers in the cache. Nothing of what is installed here
is seen: neither site-packages nor a PYTHONPATH.
"""

from __future__ import annotations

import functools
import os
import sys
import tarfile
from pathlib import Path

from . import build, cache, environment, versions

#: what the launcher sets in the images, and for the same reasons: no GPU, no compiler, no network
CPU_ENVIRONMENT = {
    "SGLANG_USE_CPU_ENGINE": "1",
    "TORCHDYNAMO_DISABLE": "1",
    "CUDA_VISIBLE_DEVICES": "",
}


def sglang_versions() -> list[str]:
    """The SGLang versions that there are environments of, oldest first."""
    found = {image.sglang for image in versions.IMAGES}
    return sorted(found, key=lambda version: [int(part) for part in version.split(".") if part.isdigit()])


@functools.cache
def folders(version: str) -> tuple[Path, Path]:
    """The unpacked layers: what all versions share (checkpoint included), and this version's. Built when missing."""
    known = sglang_versions()
    if version not in known:
        raise ValueError(f"no environment of SGLang {version}; there are {', '.join(known)}")
    plan = build.parts([version])
    common, sglang = (_unpacked(plan[name], name) for name in ("common", f"sglang-{version}"))
    return common, sglang


def sglang_python(version: str) -> tuple[list[str], dict[str, str]]:
    """A Python command to put arguments behind (`-c …`, `-m sglang.launch_server …`, a script), and its environment."""
    common, sglang = folders(version)
    # -S: site-packages of the interpreter would fill in for what the environment lacks.
    command = [_interpreter(), "-S"]
    hf_home = common / versions.HF_HOME
    paths = (sglang / versions.SOURCE_ROOT, sglang / versions.PACKAGES, common / versions.PACKAGES)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HF_", "SGLANG_"))}
    settings = {
        **kept,
        **{name: value for name, value in versions.COMMON_ENVIRONMENT.items() if name != "PATH"},
        **CPU_ENVIRONMENT,
        "HF_HOME": str(hf_home),
        "HF_HUB_CACHE": str(hf_home / "hub"),
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return command, settings


def checkpoint(version: str, model: str = "MiniMax-M2.7") -> Path:
    """The folder of the tiny checkpoint that answers to this model's name."""
    common, _ = folders(version)
    [snapshot] = (common / versions.HF_HOME / "hub" / f"models--MiniMaxAI--{model}" / "snapshots").iterdir()
    return snapshot


@functools.cache
def _interpreter() -> str:
    """A Python 3.11, for which the wheels are; only building them takes one that has pip."""
    return sys.executable if sys.version_info[:2] == (3, 11) else environment.python()


def _unpacked(part: build.Part, name: str) -> Path:
    folder = f"host-{part.folder}"
    # The lock is for what is being made: another session's build of other layers takes minutes.
    if (cache.root() / folder).is_dir():
        return cache.folder(folder, _never)
    with cache.exclusive():
        layer = build.build({name: part})[name]
        return cache.folder(folder, lambda target: _extract(layer.path, target))


def _never(_folder: Path) -> None:
    raise RuntimeError("a folder of the cache vanished while it was looked at; run this again")


def _extract(archive: Path, target: Path) -> None:
    with tarfile.open(archive) as layer:
        layer.extractall(target, filter="tar")
