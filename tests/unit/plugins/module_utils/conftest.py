# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tests of the host's parts build on."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _installed
from tests.unit.plugins.module_utils.fixtures.gpu.host import Host


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def own_record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A record of what was installed, of the test's own."""
    path = str(tmp_path / "lib" / "installed.json")
    load, save, locked = _installed.load, _installed.save, _installed.locked
    monkeypatch.setattr(_installed, "load", lambda: load(path))
    monkeypatch.setattr(_installed, "save", lambda owners: save(owners, path))
    monkeypatch.setattr(_installed, "locked", lambda: locked(path))
