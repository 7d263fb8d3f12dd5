# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the variables of gates and benchmarks: what a run of hours would otherwise end with. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils import _accuracy_gate, _gates_run
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import Catalogue, entries
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue_checks import CatalogueError
from ansible_collections.sglang.fleet.plugins.module_utils._compare import CompareError, metrics_with

#: variable -> the least it may be, and whether it has to be more than that
_LEAST = {
    "smoke_test_min_tokens_per_second": (0, True),
    "smoke_test_first_token_seconds": (0, True),
    "smoke_test_startup_seconds": (0, False),  # one that must be up already
    "smoke_test_request_seconds": (0, True),
    "smoke_test_context_tokens": (0, False),
    "accuracy_limit": (0, False),
}


def check_measures(values: Mapping[str, Any], catalogue: Catalogue) -> Iterator[str]:
    """What is wrong with the values, which have the right types, a line each."""
    for name, (least, more) in _LEAST.items():
        value = values.get(name)
        if value is not None and not (value > least if more else value >= least):
            yield f"{name} is {value}: it must be {'more than' if more else 'at least'} {least}"
        elif value is not None and not math.isfinite(value):
            yield f"{name} is {value}: it must be a number"
    for problem in _gates_run.problems((), values.get("smoke_test_budgets")):
        yield f"smoke_test_budgets: {problem}"
    if "auth" in (values.get("smoke_test_gates") or ()) and not values.get("fleet_api_key"):
        yield "smoke_test_gates: auth needs fleet_api_key, which is not set"
    for name in ("benchmark_profiles", "accuracy_benchmarks"):
        try:
            entries(catalogue.data, name, values.get(name) or ())
        except CatalogueError as error:
            yield str(error)
    try:
        metrics_with(values.get("performance_gate_tolerances"))
    except CompareError as error:
        yield f"performance_gate_tolerances: {error}"
    for problem in _accuracy_gate.problems(values.get("accuracy_gate_minimums"), catalogue.data["accuracy_benchmarks"]):
        yield f"accuracy_gate_minimums: {problem}"
    unknown = sorted(set(values.get("accuracy_data") or ()) - set(catalogue.data["accuracy_benchmarks"]))
    if unknown:
        known = ", ".join(catalogue.data["accuracy_benchmarks"])
        yield f"accuracy_data has files of {', '.join(unknown)}; known benchmarks: {known}"
