# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every Molecule scenario: check mode on nodes that the role never saw, converge, idempotence, verify."""

from __future__ import annotations

import pytest

from tests.lab.support import ROOT, run

pytestmark = pytest.mark.lab

SCENARIOS = sorted(path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml"))


def test_there_are_scenarios() -> None:
    assert SCENARIOS


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(lab_supply: None, scenario: str) -> None:
    run("molecule", "test", "--scenario-name", scenario).succeeded()
