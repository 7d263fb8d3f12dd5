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
    key_of,
    read_stored,
    slot,
    stored,
)


def verdict(passed: bool, kept: bool) -> Verdict:
    return Verdict("speed 0/low", passed, kept, "as it is", 1.5, {"passed": passed})


@pytest.mark.parametrize(
    ("passed", "kept", "last_good"),
    [(True, True, "new"), (True, False, "old"), (False, True, "old"), (False, False, "old")],
)
def test_only_what_has_passed_is_kept(passed: bool, kept: bool, last_good: str) -> None:
    def say(_record: Mapping[str, Any]) -> Verdict:
        return verdict(passed, kept)

    new = {"name": "new", "instance": "0", "profile": "low", "settings": {}}
    judged = judge([new], {slot(new): {"name": "old"}, "1/low": {}}, say)
    assert judged == {
        "benchmarks": [{**new, "comparison": {"passed": passed}}],
        "gates": [
            {"gate": "speed 0/low", "passed": passed, "evidence": "as it is", "seconds": 1.5, "budget_seconds": None}
        ],
        "passed": passed,
        "last_good": {slot(new): new if last_good == "new" else {"name": "old"}, "1/low": {}},
    }


def test_against_what_there_is_not() -> None:
    def compare(*_arguments: Any) -> dict[str, Any]:
        raise AssertionError("nothing is compared")

    with pytest.raises(CompareError, match="records are compared with references or own or auto, not with 'luck'"):
        comparison({}, {}, {}, "luck", compare)


def test_where_a_record_is_kept() -> None:
    speed = {"kind": "speed", "instance": "0", "profile": "low", "gpu": "H200", "settings": {"num_prompts": 10}}
    accuracy = {"kind": "accuracy", "instance": "0", "benchmark": "gsm8k", "gpu": "H200", "settings": {"questions": 10}}
    assert (key_of(speed), key_of(accuracy)) == ("0/low", "0/gsm8k")
    for record in (speed, accuracy):
        assert slot(record).startswith(f"{key_of(record)} ")
        assert slot(record) == slot({**record, "metrics": {}, "image": {}, "taken_at": "later"})
        assert slot(record) != slot({**record, "settings": {}})
    assert slot(speed) != slot({**speed, "gpu": "H100"})
    assert slot(accuracy) == slot({**accuracy, "gpu": "H100"}), "a worse answer on other GPUs is what is looked for"


def test_the_file() -> None:
    kept = {"1/low": {"a": 1}, "0/low": {}}
    assert list(stored(kept)["records"]) == ["0/low", "1/low"]
    assert read_stored(stored(kept)) == kept


@pytest.mark.parametrize("other", [{}, [], None, {"schema": 2, "records": {"a": {}}}, {"schema": 1, "records": []}])
def test_a_file_in_another_shape(other: Any) -> None:
    assert read_stored(other) == {}
