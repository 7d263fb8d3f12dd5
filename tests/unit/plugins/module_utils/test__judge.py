# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What both gates share. Which comparison counts is in the tables of the two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._compare import CompareError
from ansible_collections.sglang.fleet.plugins.module_utils._judge import (
    Verdict,
    comparison,
    judge,
    read_stored,
    stored,
)


def verdict(passed: bool, kept: bool) -> Verdict:
    return Verdict("0/low", "speed 0/low", passed, kept, "as it is", 1.5, {"passed": passed})


@pytest.mark.parametrize(
    ("passed", "kept", "last_good"),
    [(True, True, "new"), (True, False, "old"), (False, True, "old"), (False, False, "old")],
)
def test_only_what_has_passed_is_kept(passed: bool, kept: bool, last_good: str) -> None:
    def say(_record: Mapping[str, Any]) -> Verdict:
        return verdict(passed, kept)

    judged = judge([{"name": "new"}], {"0/low": {"name": "old"}, "1/low": {}}, say)
    assert judged == {
        "benchmarks": [{"name": "new", "comparison": {"passed": passed}}],
        "gates": [
            {"gate": "speed 0/low", "passed": passed, "evidence": "as it is", "seconds": 1.5, "budget_seconds": None}
        ],
        "passed": passed,
        "last_good": {"0/low": {"name": last_good}, "1/low": {}},
    }


def test_against_what_there_is_not() -> None:
    def compare(*_arguments: Any) -> dict[str, Any]:
        raise AssertionError("nothing is compared")

    with pytest.raises(CompareError, match="records are compared with references or own or auto, not with 'luck'"):
        comparison({}, "0/low", {}, {}, "luck", compare)


def test_the_file() -> None:
    kept = {"1/low": {"a": 1}, "0/low": {}}
    assert list(stored(kept)["records"]) == ["0/low", "1/low"]
    assert read_stored(stored(kept)) == kept


@pytest.mark.parametrize("other", [{}, [], None, {"schema": 2, "records": {"a": {}}}, {"schema": 1, "records": []}])
def test_a_file_in_another_shape(other: Any) -> None:
    assert read_stored(other) == {}
