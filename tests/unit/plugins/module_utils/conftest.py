# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulated host that the tests of GPU facts build on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.plugins.module_utils.fixtures.gpu.host import Host


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)
