# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.sglang.fleet.plugins.filter.accuracy_judged import accuracy_judged
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import read_data
from ansible_collections.sglang.fleet.plugins.module_utils._judge import slot

NAME = "minimax-m2.7-2xgb300-aime-2025"
RECORD = {
    **read_data()["references"][NAME],
    "instance": "0",
    "benchmark": "aime-2025",
    "questions": 30,
    "taken_at": "2026-01-01T00:00:00Z",
}


def test_the_catalogue_s_references_count() -> None:
    judged = accuracy_judged([RECORD])
    assert judged["passed"]
    assert judged["benchmarks"][0]["comparison"]["reference"] == NAME
    assert judged["stored"] == {"schema": 1, "records": {slot(RECORD): RECORD}}


def test_what_was_stored_is_read_again() -> None:
    stored = accuracy_judged([RECORD])["stored"]
    again = accuracy_judged([{**RECORD, "taken_at": "2026-01-02T00:00:00Z"}], last_good=stored)
    assert again["benchmarks"][0]["comparison"]["reference"] == "own 0/aime-2025 of 2026-01-01T00:00:00Z"
    assert again["stored"] == stored


def test_and_those_of_an_operator() -> None:
    better = {"references": {NAME: {"settings": {"questions": 30}, "metrics": {"majority@8": {"accuracy": 100.0}}}}}
    worse = {**RECORD, "metrics": {"majority@8": {"accuracy": 80.0}}}
    assert not accuracy_judged([worse], catalogue=better)["passed"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"minimums": {"aime-2025": "much"}}, "the minimum of aime-2025 is 'much'"),
        ({"against": "luck"}, "records are compared with"),
        ({"catalogue": {"reference": {}}}, "fleet_catalogue: unknown section reference"),
    ],
)
def test_what_an_operator_got_wrong(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        accuracy_judged([RECORD], **arguments)  # type: ignore[arg-type]
