#!/usr/bin/env python3
"""Write catalogue/server_flags/<SGLang version>.json: every long option of each version's own parser.

    PYTHONPATH=molecule/lab python -m images.flag_lists            # all versions that there are environments of
    PYTHONPATH=molecule/lab python -m images.flag_lists 0.5.9

One option a line, in the parser's order, so that a difference reads as one. tests/sglang proves that what is committed
is what this writes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

if __package__:
    from . import host, worker
else:  # run as a script
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from images import host, worker

FOLDER = Path(__file__).resolve().parents[3] / "catalogue" / "server_flags"


def text(version: str) -> str:
    """The file's content: {"sglang": VERSION, "flags": {NAME: {"dest", "kind", "type"?, "choices"?, "config"?}}}.

    kind: flag (no value), value, optional (with or without one), list (one or more words). type: int, float, size (an
    integer, or one with a suffix as in 4Ki), json or str. config: false where a configuration file cannot carry it.
    """
    flags = worker.sglang(version).flags()
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(flag)}" for name, flag in flags.items())
    return f'{{"sglang": {json.dumps(version)}, "flags": {{\n{lines}\n}}}}\n'


def path(version: str) -> Path:
    return FOLDER / f"{version}.json"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("version", nargs="*", help="SGLang versions; all when none is given")
    wanted = parser.parse_args().version or host.sglang_versions()
    FOLDER.mkdir(exist_ok=True)
    for version in wanted:
        try:
            content = text(version)
        except ValueError as error:
            parser.exit(1, f"{parser.prog}: {error}\n")
        path(version).write_text(content)
        print(path(version))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
