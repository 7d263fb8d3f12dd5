# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.sglang.fleet.plugins.action.bench_serving import loads
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue_checks import CatalogueError


def test_loads_by_name_and_an_operator_s_own() -> None:
    own = {"benchmark_profiles": {"low": {"num_prompts": 2}}}
    assert [(load["name"], load["num_prompts"]) for load in loads(["high", "low"], own)] == [("high", 500), ("low", 2)]


def test_a_load_that_nobody_knows() -> None:
    with pytest.raises(CatalogueError, match=r"^benchmark_profiles names lo, hi; known: low, medium, high, "):
        loads(["lo", "low", "hi"])
