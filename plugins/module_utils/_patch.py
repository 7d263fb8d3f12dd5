# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies patches, which are data, to a source tree. Standard library only.

The same file runs in two places: the unit tests import it, and `image_patch` copies it into the
image that it builds and runs it there with the image's own Python.

A patch is a mapping:
    name     what an operator calls it, unique
    file     path below the source root
    action   "rename" (with `to`, a path below the source root), "comment_line" (with `line`) or
             "replace" (with `old` and `new`, texts to the letter, of any number of lines)
Each says which content it expects. All are applied in memory, and what they make of Python files
is compiled, before the first file is written: a tree is patched whole or left as it was.
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


def _misfit(patch: Mapping[str, Any], text: str) -> PatchError:
    return PatchError(
        f"patch {patch['name']}: {text}"
        " This image's SGLang is not the one that the patch was written for: choose the image that the catalogue"
        " pairs with this patch, or correct the patch."
    )


class _Tree:
    """The files below `root` as the patches leave them, in memory until `write`: path below the root to its text."""

    def __init__(self, root: str) -> None:
        self.root = root
        #: None stands for a file that is gone.
        self._changed: dict[str, str | None] = {}
        #: new path -> the path whose mode it takes
        self._origin: dict[str, str] = {}
        #: path -> names of the patches that changed it
        self._by: dict[str, list[str]] = {}

    def has(self, path: str) -> bool:
        return self._changed[path] is not None if path in self._changed else os.path.isfile(self._full(path))

    def read(self, patch: Mapping[str, Any]) -> str:
        """The text of the patch's file; PatchError where there is none."""
        path = patch["file"]
        if not self.has(path):
            raise PatchError(f"patch {patch['name']}: {path} is not below {self.root}; nothing was changed.")
        held = self._changed.get(path)
        if held is not None:
            return held
        try:
            with open(self._full(path), encoding="utf-8", newline="") as handle:
                return handle.read()
        except UnicodeDecodeError as error:
            raise PatchError(f"patch {patch['name']}: {path} is no UTF-8 text; nothing was changed.") from error

    def put(self, patch: Mapping[str, Any], path: str, text: str, origin: str) -> None:
        self._changed[path] = text
        self._origin[path] = self._origin.get(origin, origin)
        self._by[path] = [*self._by.get(origin, []), patch["name"]]

    def take(self, path: str) -> None:
        self._changed[path] = None

    def check(self) -> None:
        """Raises PatchError where a changed file is no Python any more, by the patches that changed it."""
        for path, text in self._changed.items():
            if text is None or not path.endswith(".py"):
                continue
            try:
                compile(text, path, "exec")
            except (SyntaxError, ValueError) as error:
                line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
                what = error.msg if isinstance(error, SyntaxError) else str(error)
                names = ", ".join(self._by[path])
                raise PatchError(
                    f"patch {names}: {path} would not compile any more{line}: {what}. Correct the patch; nothing was changed."
                ) from error

    def write(self) -> None:
        modes = {path: os.stat(self._full(origin)).st_mode for path, origin in self._origin.items()}
        for path, text in self._changed.items():
            full = self._full(path)
            if text is None:
                if os.path.lexists(full):
                    os.remove(full)
                continue
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full + ".new", "w", encoding="utf-8", newline="") as handle:
                handle.write(text)
            os.chmod(full + ".new", modes[path])
            os.replace(full + ".new", full)

    def _full(self, path: str) -> str:
        return os.path.join(self.root, path)


def _rename(tree: _Tree, patch: Mapping[str, Any]) -> bool:
    """True when it had to be done, False when the tree is so already; so do the other actions."""
    source, target = patch["file"], patch["to"]
    there, done = tree.has(source), tree.has(target)
    if done and not there:
        return False
    if there == done:
        found = "both files are there" if there else "neither file is there"
        raise _misfit(patch, f"wanted to rename {source} to {target} below {tree.root}, but {found}.")
    text = tree.read(patch)
    tree.take(source)
    tree.put(patch, target, text, source)
    return True


def _comment_line(tree: _Tree, patch: Mapping[str, Any]) -> bool:
    file, wanted = patch["file"], patch["line"]
    lines = tree.read(patch).splitlines(True)
    live = [number for number, line in enumerate(lines) if line.strip() == wanted]
    dead = sum(1 for line in lines if line.strip() == f"#{wanted}")
    if not live and dead == 1:
        return False
    if len(live) != 1:
        raise _misfit(patch, f"expected the line `{wanted}` exactly once in {file}, found it {len(live)} times.")
    line = lines[live[0]]
    code = line.lstrip()
    lines[live[0]] = f"{line[: len(line) - len(code)]}#{code}"
    tree.put(patch, file, "".join(lines), file)
    return True


def _replace(tree: _Tree, patch: Mapping[str, Any]) -> bool:
    """Only a change that adds to the old text tells a patched file from one of another version, where neither has it."""
    file, old, new = patch["file"], patch["old"], patch["new"]
    text = tree.read(patch)
    added = text.count(new) if old in new else 0
    # What stands inside the new text is no place to change.
    found = (text.replace(new, "\0") if added else text).count(old)
    if added == 1 and found == 0:
        return False
    if added or found != 1:
        hint = " Its new text is there." if new.strip() and new in text else ""
        lines = old.strip().splitlines()
        first = lines[0].strip() + (" …" if len(lines) > 1 else "")
        times = found + added
        raise _misfit(patch, f"expected the text `{first}` exactly once in {file}, found it {times} times.{hint}")
    tree.put(patch, file, text.replace(old, new), file)
    return True


_ACTIONS = {"rename": _rename, "comment_line": _comment_line, "replace": _replace}


def apply_patches(root: str, patches: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Applies `patches` below `root`, each to what those before it left. Gives [{"name", "outcome": "applied" | "already"}].

    Raises PatchError before anything is changed when one of them does not fit, or when a changed Python file would not
    compile.
    """
    for patch in patches:
        if patch["action"] not in _ACTIONS:
            raise PatchError(
                f"patch {patch['name']}: action `{patch['action']}` is not one of {', '.join(sorted(_ACTIONS))}."
            )
    tree = _Tree(root)
    done = [_ACTIONS[patch["action"]](tree, patch) for patch in patches]
    tree.check()
    tree.write()
    return [{"name": p["name"], "outcome": "applied" if d else "already"} for p, d in zip(patches, done)]


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
    except (PatchError, OSError) as error:
        outcome = {"error": str(error)}
    sys.stdout.write(f"{MARK} {json.dumps(outcome)}\n")
    return 1 if "error" in outcome else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
