# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies patches, which are data, to a source tree. Standard library only.

The same file runs in two places: the unit tests import it, and `image_patch` copies it into the
image that it builds and runs it there with the image's own Python.

A patch is a mapping:
    name     what an operator calls it, unique
    file     path below the source root
    action   "rename" (with `to`, a path below the source root) or "comment_line" (with `line`)
Each says which content it expects. All are checked before the first is applied, so that a tree
is patched whole or left as it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

#: Bumped when the same data would give another tree; part of a derived image's tag.
FORMAT = 1

#: What `main` prints before the JSON of its outcome, so that it is found in a build's output.
MARK = "sglang-fleet-patch:"

#: Folder in the derived image that keeps the applied patches as provenance.
IMAGE_FOLDER = "/opt/sglang-fleet"


class PatchError(ValueError):
    """A patch does not fit the tree. The text names the patch, the file and what was looked for."""


def patch_hash(patches: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 (hex) over what the patches do; their prose (`why`, `source`) does not count."""
    effective = [{k: v for k, v in sorted(p.items()) if k not in ("why", "source")} for p in patches]
    text = json.dumps([FORMAT, effective], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def patched_tag(base_id: str, patches: Sequence[Mapping[str, Any]], repository: str = "sglang-fleet/patched") -> str:
    """The reference of the image derived from `base_id` (sha256:…) by `patches`: it changes when either does."""
    return f"{repository}:{base_id.rsplit(':', 1)[-1][:12]}-{patch_hash(patches)[:12]}"


def _read(path: str) -> str:
    with open(path, encoding="utf-8", newline="") as handle:
        return handle.read()


def _commented(line: str) -> str:
    indent = line[: len(line) - len(line.lstrip())]
    return f"{indent}#{line.lstrip()}"


def _check_rename(root: str, patch: Mapping[str, Any]) -> bool:
    """True when there is something to do, False when the tree is so already."""
    source, target = os.path.join(root, patch["file"]), os.path.join(root, patch["to"])
    there, done = os.path.isfile(source), os.path.isfile(target)
    if there and not done:
        return True
    if done and not there:
        return False
    found = "both files are there" if there else "neither file is there"
    raise PatchError(
        f"patch {patch['name']}: wanted to rename {patch['file']} to {patch['to']} below {root}, but {found}."
        " This image's SGLang is not the one that the patch was written for: choose the image that the catalogue"
        " pairs with this patch, or correct the patch."
    )


def _check_comment(root: str, patch: Mapping[str, Any]) -> bool:
    path, wanted = os.path.join(root, patch["file"]), patch["line"]
    if not os.path.isfile(path):
        raise PatchError(f"patch {patch['name']}: {patch['file']} is not below {root}; nothing was changed.")
    lines = [line.rstrip("\r\n") for line in _read(path).splitlines(True)]
    live = sum(1 for line in lines if line.strip() == wanted)
    dead = sum(1 for line in lines if line.strip() == f"#{wanted}")
    if live == 1:
        return True
    if live == 0 and dead == 1:
        return False
    raise PatchError(
        f"patch {patch['name']}: expected the line `{wanted}` exactly once in {patch['file']}, found it {live} times."
        " This image's SGLang is not the one that the patch was written for: choose the image that the catalogue"
        " pairs with this patch, or correct the patch."
    )


def _apply_rename(root: str, patch: Mapping[str, Any]) -> None:
    os.rename(os.path.join(root, patch["file"]), os.path.join(root, patch["to"]))


def _apply_comment(root: str, patch: Mapping[str, Any]) -> None:
    path, wanted = os.path.join(root, patch["file"]), patch["line"]
    lines = [_commented(line) if line.strip() == wanted else line for line in _read(path).splitlines(True)]
    text = "".join(lines)
    compile(text, path, "exec")
    mode = os.stat(path).st_mode
    with open(path + ".new", "w", encoding="utf-8", newline="") as handle:
        handle.write(text)
    os.chmod(path + ".new", mode)
    os.replace(path + ".new", path)


_ACTIONS = {"rename": (_check_rename, _apply_rename), "comment_line": (_check_comment, _apply_comment)}


def apply_patches(root: str, patches: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Applies `patches` below `root`, in order. Gives [{"name", "outcome": "applied" | "already"}].

    Raises PatchError before anything is changed when one of them does not fit.
    """
    for patch in patches:
        if patch["action"] not in _ACTIONS:
            raise PatchError(
                f"patch {patch['name']}: action `{patch['action']}` is not one of {', '.join(sorted(_ACTIONS))}."
            )
    due = [_ACTIONS[patch["action"]][0](root, patch) for patch in patches]
    for patch, wanted in zip(patches, due):
        if wanted:
            _ACTIONS[patch["action"]][1](root, patch)
    return [{"name": p["name"], "outcome": "applied" if d else "already"} for p, d in zip(patches, due)]


def outcome_of(output: str) -> dict[str, Any]:
    """The outcome that `main` printed somewhere in a build's output: {"patches": […]} or {"error": …}, or {}."""
    for line in output.splitlines():
        if MARK in line:
            found: dict[str, Any] = json.loads(line.split(MARK, 1)[1])
            return found
    return {}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Apply patches to a source tree.")
    parser.add_argument("--root", required=True)
    parser.add_argument("--patches", required=True, help="JSON file")
    options = parser.parse_args(arguments)
    with open(options.patches, encoding="utf-8") as handle:
        patches = json.load(handle)
    try:
        outcome: dict[str, Any] = {"patches": apply_patches(options.root, patches)}
    except (PatchError, SyntaxError, OSError) as error:
        outcome = {"error": str(error)}
    sys.stdout.write(f"{MARK} {json.dumps(outcome)}\n")
    return 1 if "error" in outcome else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
