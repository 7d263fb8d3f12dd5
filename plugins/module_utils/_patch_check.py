# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tries whether SGLang's class of the model imports in a patched image. Standard library only.

The same file runs in two places: `image_patch` uses it, and gives it to the image's own Python on standard input.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

#: What `main` prints before the JSON of its outcome.
MARK = "sglang-fleet-import:"

#: Seconds: an import takes 10 to 60, and one that hangs is no import.
LIMIT = 600

#: Options of the server's container that its import does without: the network, its name, and what is the host's.
_LEFT_OUT = re.compile(r"--(network|net|publish|volume|mount|name|restart|detach|label)(=|$)|-[pvd]")


def container_words(options: Sequence[str]) -> list[str]:
    """The server's container options (a word each) less those that an import does without: devices and groups stay."""
    return [word for word in options if not _LEFT_OUT.match(word)]


def check_command(image: str, options: Sequence[str], model_class: str, source_root: str) -> list[str]:
    """The words of `docker run` that read this file on standard input."""
    return [
        *("docker", "run", "--rm", "--interactive", "--network=none", "--log-driver=none", "--entrypoint=python3"),
        *container_words(options),
        image,
        *("-", "--model-class", model_class, "--source-root", source_root),
    ]


def outcome_of(output: str) -> dict[str, Any]:
    """What `main` printed: {"class": dotted name} or {"error", "files"}; {} where it did not come so far."""
    for line in output.splitlines():
        if MARK in line:
            found: dict[str, Any] = json.loads(line.split(MARK, 1)[1])
            return found
    return {}


def blamed(patches: Sequence[Mapping[str, Any]], files: Sequence[str]) -> list[str]:
    """Names of the patches of the innermost file of a traceback that is patched; of all where none is."""
    for file in reversed(files):
        names = [str(patch["name"]) for patch in patches if file in (patch["file"], patch.get("to"))]
        if names:
            return names
    return [str(patch["name"]) for patch in patches]


def find_module(source_root: str, model_class: str) -> str:
    """The module of SGLang's that defines the class; LookupError where none does."""
    folder = os.path.join(source_root, "srt", "models")
    for name in sorted(os.listdir(folder)):
        if name.endswith(".py"):
            with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as handle:
                if re.search(rf"^class {re.escape(model_class)}\b", handle.read(), re.MULTILINE):
                    return f"sglang.srt.models.{name[:-3]}"
    raise LookupError(f"no file of {folder} has a class {model_class}")


def try_import(source_root: str, model_class: str) -> dict[str, Any]:
    """Imports the class as the server's registry does. Gives what `outcome_of` gives."""
    try:
        module = importlib.import_module(find_module(source_root, model_class))
        entries = getattr(module, "EntryClass", ())
        entries = entries if isinstance(entries, (list, tuple)) else [entries]
        if model_class not in [getattr(entry, "__name__", "") for entry in entries]:
            raise LookupError(f"{module.__name__} does not offer {model_class} as its EntryClass")
        return {"class": f"{module.__name__}.{model_class}"}
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        root = os.path.realpath(source_root) + os.sep
        frames = [
            (os.path.realpath(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)
        ]
        inside = [(path[len(root) :], line) for path, line in frames if path.startswith(root)]
        where = f" ({inside[-1][0]}, line {inside[-1][1]})" if inside else ""
        said = " ".join(str(error).split())[:500]
        return {"error": f"{type(error).__name__}: {said}{where}", "files": [path for path, _line in inside]}


def _too_long(_number: int, _frame: FrameType | None) -> None:
    raise TimeoutError(f"it was not done after {LIMIT} s")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Import SGLang's class of a model.")
    parser.add_argument("--model-class", required=True)
    parser.add_argument("--source-root", required=True)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(LIMIT)
    outcome = try_import(options.source_root, options.model_class)
    sys.stdout.write(f"\n{MARK} {json.dumps(outcome)}\n")
    sys.stdout.flush()
    # No tidying up: what an imported library does at exit is no part of the question.
    os._exit(1 if "error" in outcome else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
