# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs of a transfer as files, for containers that have Python and nothing of this collection."""

from __future__ import annotations

import os
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils import (
    _disk,
    _weights_client,
    _weights_fetch,
    _weights_files,
    _weights_peer,
    _weights_scout,
    _weights_work,
)
from ansible_collections.sglang.fleet.plugins.module_utils._weights_job import PACKAGE

#: What the containers run. Importing it is what brings it to the host.
SCRIPTS: tuple[Any, ...] = (
    _disk,
    _weights_files,
    _weights_fetch,
    _weights_work,
    _weights_client,
    _weights_scout,
    _weights_peer,
)


def source_text(script: Any) -> str:
    """Source of a Python module, out of Ansible's archive or a checkout."""
    source = script.__spec__.loader.get_source(script.__name__)
    return source.decode() if isinstance(source, bytes) else str(source)  # Ansible's own loader gives bytes


def write_private(path: str, text: str) -> None:
    """A file that is root's alone from its first moment on."""
    temporary = f"{path}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
        handle.write(text)
    os.replace(temporary, path)


def write_scripts(folder: str) -> None:
    """What the containers run, below a folder that they start in."""
    package = folder
    for name in PACKAGE.split("."):
        package = os.path.join(package, name)
        os.makedirs(package, exist_ok=True)
        write_private(os.path.join(package, "__init__.py"), "")  # so that no package of the same name hides this one
    for script in SCRIPTS:
        write_private(os.path.join(package, f"{script.__name__.rpartition('.')[2]}.py"), source_text(script))
