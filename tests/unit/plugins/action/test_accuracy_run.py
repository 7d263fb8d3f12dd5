# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.sglang.fleet.plugins.action.accuracy_run import jobs
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue_checks import CatalogueError


def test_benchmarks_by_name_and_an_operator_s_own() -> None:
    own = {"accuracy_benchmarks": {"gsm8k": {"max_tokens": 2048}}}
    found = [(job["name"], job["tool"], job["max_tokens"]) for job in jobs(["aime-2025", "gsm8k"], own)]
    assert found == [("aime-2025", "nemo-skills", 120000), ("gsm8k", "lm-eval", 2048)]


def test_a_benchmark_that_nobody_knows() -> None:
    with pytest.raises(CatalogueError, match=r"^accuracy_benchmarks names gsm; known: gsm8k, "):
        jobs(["gsm", "gsm8k"])
