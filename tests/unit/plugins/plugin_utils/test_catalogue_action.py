# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue_checks import CatalogueError
from ansible_collections.sglang.fleet.plugins.plugin_utils.catalogue_action import entries


def test_benchmarks_by_name_and_an_operator_s_own() -> None:
    own = {"accuracy_benchmarks": {"gsm8k": {"max_tokens": 2048}}}
    jobs = entries("accuracy_benchmarks", ["aime-2025", "gsm8k"], own)
    found = [(job["name"], job["tool"], job["max_tokens"]) for job in jobs]
    assert found == [("aime-2025", "nemo-skills", 120000), ("gsm8k", "lm-eval", 2048)]


def test_loads_by_name_and_an_operator_s_own() -> None:
    loads = entries("benchmark_profiles", ["high", "low"], {"benchmark_profiles": {"low": {"num_prompts": 2}}})
    assert [(load["name"], load["num_prompts"]) for load in loads] == [("high", 500), ("low", 2)]


@pytest.mark.parametrize(
    ("section", "names", "message"),
    [
        (
            "accuracy_benchmarks",
            ["gsm", "gsm8k"],
            r"^accuracy_benchmarks names gsm; known: gsm8k, .*fleet_catalogue\.acc",
        ),
        ("benchmark_profiles", ["lo", "low", "hi"], r"^benchmark_profiles names lo, hi; known: low, medium, high, "),
    ],
)
def test_what_nobody_knows(section: str, names: list[str], message: str) -> None:
    with pytest.raises(CatalogueError, match=message):
        entries(section, names)
