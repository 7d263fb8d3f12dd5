#!/usr/bin/env python3
"""Build the lab's SGLang images and send them to a registry, to this machine's engine, or both.

    python3 molecule/lab/images/build.py --registry 172.30.0.1:5000
    python3 molecule/lab/images/build.py --load --only v0.5.7-rocm700-mi30x

Needs mmdebstrap and a Python 3.11 with pip; an engine only for --load. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import functools
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

if __package__:
    from . import cache, engine, environment, layers, rootfs, versions
    from .registry import Registry
else:  # run as a script
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from images import cache, engine, environment, layers, rootfs, versions
    from images.registry import Registry

HERE = Path(__file__).parent


def build_all(registry: str | None = None, *, load: bool = False, only: tuple[str, ...] = ()) -> dict[str, str]:
    """Build what the cache lacks, then send what the registry and the engine lack.

    registry: `host:port` (plain HTTP) or a URL; None sends nowhere.
    load: put the images into this machine's Docker engine too.
    only: tags to build; all of versions.IMAGES when empty.
    Returns {reference: image ID}. Raises RuntimeError or CalledProcessError with the failing step's own message.
    """
    images = versions.select(only)
    with cache.exclusive():
        built = build(parts(sorted({image.sglang for image in images})))
        documents = [_document(image, built) for image in images]
        if registry:
            target = Registry(registry)
            for document in documents:
                if target.push(document):
                    _say(f"{document.reference}: pushed")
        if load:
            for document in engine.load(documents):
                _say(f"{document.reference}: loaded")
    return {document.reference: document.image_id for document in documents}


@dataclass(frozen=True)
class Part:
    """A layer: its name with the hash of its inputs, which is that of its folder in the cache, and its builder."""

    folder: str
    make: Callable[[Path], None]


def parts(sglang_versions: list[str]) -> dict[str, Part]:
    """The layers of these versions' images by their names."""
    layout = repr((versions.SOURCE_ROOT, versions.PACKAGES, versions.LAUNCHER, versions.HF_HOME, versions.MODELS))
    packing = (HERE / "layers.py", HERE / "rootfs.py")
    code = (*packing, HERE / "environment.py", layout)
    requirements = HERE / "requirements"
    # name of the layer -> hash of its inputs, builder
    plan: dict[str, tuple[str, Callable[[Path], None]]] = {
        "root": (cache.key(*packing), rootfs.build),
        "common": (
            cache.key(*code, requirements / "common.txt", HERE / "files/make_tiny_m2.py"),
            environment.build_common,
        ),
        "launcher": (cache.key(*code, HERE / "files/launcher"), environment.build_launcher),
    }
    for version in sglang_versions:
        plan[f"sglang-{version}"] = (
            cache.key(*code, requirements / f"sglang-{version}.txt", HERE / "files/stubs"),
            functools.partial(environment.build_sglang, version),
        )
    return {name: Part(f"{name}-{key}", make) for name, (key, make) in plan.items()}


def build(plan: dict[str, Part]) -> dict[str, layers.Layer]:
    """Build the layers, each from its own inputs, side by side. Needs cache.exclusive()."""

    def one(name: str) -> layers.Layer:
        part = plan[name]
        started = time.monotonic()
        finished = cache.folder(part.folder, lambda folder: _pack(part.make, folder))
        if (took := time.monotonic() - started) > 1:
            _say(f"layer {name}: {took:.0f} s")
        return layers.read(finished)

    with ThreadPoolExecutor(max_workers=len(plan)) as pool:
        return dict(zip(plan, pool.map(one, plan), strict=True))


def _pack(make: Callable[[Path], None], folder: Path) -> None:
    """Only the packed layer is kept: it is a third of the tree that it is made from."""
    tree = folder / "tree"
    tree.mkdir()
    make(tree)
    root = tree / "root.tar"
    layers.write(root if root.exists() else tree, folder)
    shutil.rmtree(tree)


def _document(image: versions.Image, built: dict[str, layers.Layer]) -> layers.Document:
    chosen = tuple(built[name] for name in ("root", "common", f"sglang-{image.sglang}", "launcher"))
    labels = {
        "org.opencontainers.image.version": image.tag,
        "sglang-fleet.lab": "true",
        "sglang-fleet.lab.sglang": image.sglang,
    }
    return layers.document(image.reference, chosen, {**versions.COMMON_ENVIRONMENT, **image.environment}, labels)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--registry", metavar="HOST:PORT", help="push to this registry")
    parser.add_argument("--load", action="store_true", help="load into this machine's Docker engine")
    parser.add_argument("--only", metavar="TAG", action="append", default=[], help="only this tag (may be repeated)")
    arguments = parser.parse_args()
    try:
        result = build_all(arguments.registry, load=arguments.load, only=tuple(arguments.only))
    except (ValueError, RuntimeError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    for reference, image_id in result.items():
        print(reference, image_id)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
