# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.sglang.fleet.plugins.filter.accuracy_tools import accuracy_tools


@pytest.mark.parametrize(
    ("benchmarks", "tools"),
    [
        (["gsm8k"], ["lm-eval"]),
        (["mmlu-pro", "aime-2025"], ["nemo-skills"]),
        (["mmlu-pro", "gsm8k"], ["lm-eval", "nemo-skills"]),
    ],
)
def test_each_tool_once(benchmarks: list[str], tools: list[str]) -> None:
    assert accuracy_tools(benchmarks) == tools


@pytest.mark.parametrize(
    ("benchmarks", "catalogue", "message"),
    [
        (
            ["gsm8k", "gsm"],
            {},
            r"^accuracy_benchmarks names gsm; known: gsm8k, gpqa-diamond, aime-2025, mmlu-pro\. Add",
        ),
        ([], {}, r"^accuracy_benchmarks names none; known: "),
        (["gsm8k"], {"benchmark": {}}, "fleet_catalogue: unknown section benchmark"),
    ],
)
def test_what_an_operator_got_wrong(benchmarks: list[str], catalogue: dict[str, object], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        accuracy_tools(benchmarks, catalogue)
