# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles installed on a host, so that they can take that away again and nothing else.

The record is one JSON file: {"schema": 1, "owners": {"rocm": {"packages": {name: version}, "files": [path],
"held": [name], …}}}. An owner is a role; further values are the role's own.
"""

from __future__ import annotations

import contextlib
import copy
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

PATH = "/var/lib/sglang-fleet/installed.json"
SCHEMA = 1
#: The owner that two look for: who gathers the engine's facts, and who plans its packages.
CONTAINER_ENGINE = "container_engine"


class RecordError(ValueError):
    """The record is not one that this version can read."""


def load(path: str = PATH) -> dict[str, dict[str, Any]]:
    """The owners of the record; empty where there is none. Raises RecordError."""
    try:
        with open(path, encoding="utf-8") as handle:
            data = json.load(handle)
    except FileNotFoundError:
        return {}
    except PermissionError as error:
        raise RecordError(
            f"this user may not read {path}, which says what the roles installed: run with become (ansible_become true)"
        ) from error
    except ValueError as error:
        raise RecordError(
            f"{path} is not JSON ({error}); it says what the roles installed. Restore it, or remove it: what was"
            " installed until now then stays when roles are removed"
        ) from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA or not isinstance(data.get("owners"), dict):
        found = data.get("schema") if isinstance(data, dict) else None
        raise RecordError(f"{path} has schema {found!r}, this version of the collection reads {SCHEMA}")
    owners: dict[str, dict[str, Any]] = data["owners"]
    return owners


def save(owners: Mapping[str, Any], path: str = PATH) -> None:
    """Write the record in one step; without owners there is no file."""
    kept = {name: values for name, values in owners.items() if values}
    if not kept:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(path))  # where nothing else is in it
        return
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".installed.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            handle.write(json.dumps({"schema": SCHEMA, "owners": kept}, indent=2, sort_keys=True) + "\n")
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)  # 0600, as mkstemp makes it: a role may have recorded a proxy with its password
    except OSError:
        os.unlink(temporary)
        raise


@contextlib.contextmanager
def locked(path: str = PATH) -> Iterator[None]:
    """Keep other tasks from the record while it is changed."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """`old` with the values of `new`: mappings key by key, lists as a union in order, everything else replaced.

    Examples:
        >>> merged({"files": ["/a"], "n": 1}, {"files": ["/b", "/a"], "n": 2})
        {'files': ['/a', '/b'], 'n': 2}
    """
    result = copy.deepcopy(dict(old))
    for key, value in new.items():
        there = result.get(key)
        if isinstance(there, dict) and isinstance(value, Mapping):
            result[key] = merged(there, value)
        elif isinstance(there, list) and isinstance(value, list):
            result[key] = there + [item for item in value if item not in there]
        else:
            result[key] = copy.deepcopy(value)
    return result
