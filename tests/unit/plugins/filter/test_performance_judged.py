# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.sglang.fleet.plugins.filter.performance_judged import performance_judged
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import read_data
from ansible_collections.sglang.fleet.plugins.module_utils._judge import slot

NAME = "minimax-m2.7-2xgb300-speed-c100"
REFERENCE = read_data()["references"][NAME]
RECORD = {**REFERENCE, "instance": "0", "profile": "high", "taken_at": "2026-01-01T00:00:00Z"}


def test_the_catalogue_s_references_count() -> None:
    judged = performance_judged([RECORD])
    assert judged["passed"]
    assert judged["benchmarks"][0]["comparison"]["reference"] == NAME
    assert judged["stored"] == {"schema": 1, "records": {slot(RECORD): RECORD}}


def test_what_was_stored_is_the_next_run_s_measure() -> None:
    own = performance_judged([RECORD])["stored"]
    again = performance_judged([{**RECORD, "taken_at": "2026-01-02T00:00:00Z"}], last_good=own)
    assert again["benchmarks"][0]["comparison"]["reference"] == "own 0/high of 2026-01-01T00:00:00Z"


def test_and_those_of_an_operator() -> None:
    faster = {"references": {NAME: {"metrics": {"output_throughput": 5000.0}}}}
    assert not performance_judged([RECORD], catalogue=faster)["passed"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tolerances": {"speed": 1}}, "speed is no metric that is judged"),
        ({"against": "luck"}, "records are compared with"),
        ({"catalogue": {"reference": {}}}, "fleet_catalogue: unknown section reference"),
    ],
)
def test_what_an_operator_got_wrong(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        performance_judged([RECORD], **arguments)  # type: ignore[arg-type]
