# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._weights_work import backoff, parallel


@pytest.mark.parametrize(("files", "most", "at_once"), [(1, 8, 2), (24, 8, 3), (130, 8, 8), (1000, 8, 8), (130, 1, 2)])
def test_parallel(files: int, most: int, at_once: int) -> None:
    assert parallel(files, most) == at_once


def test_backoff() -> None:
    assert [backoff(tries) for tries in (1, 2, 3, 7, 30)] == [1, 2, 4, 60, 60]
