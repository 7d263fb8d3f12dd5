# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet of the chaos tests: one gateway, three GPU nodes, four servers. `make chaos` runs them, `make test` does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fleetlab.cli import main as lab
from fleetlab.settings import AUTO, Node
from tests.chaos.support import GATEWAY, HOSTS, Rolling
from tests.lab.support import KEEP, fresh_nodes

OWNER = "chaos"


@pytest.fixture(scope="session")
def rolling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rolling]:
    """Deployed with the old version, and serving behind its gateway."""
    if lab(["images"]) != 0:
        pytest.fail("the lab does not start; its message is above, and `lab.py doctor` says more", pytrace=False)
    nodes = [Node(GATEWAY, "bookworm", "none", AUTO, ("gateways",), owner=OWNER)]
    nodes += [Node(name, "bookworm", "mi300x:8", AUTO, ("gpu_nodes",), owner=OWNER) for name in HOSTS]
    with fresh_nodes(OWNER, nodes, tmp_path_factory, group_vars=None) as made:
        fleet = Rolling(made.nodes, made.inventory, made.scratch)
        fleet.wish()
        if not (KEEP and fleet.healthy()):
            fleet.playbook("deploy.yml", "-e", "fleet_serial=100%").succeeded()
            fleet.playbook("playbooks/gateway.yml").succeeded()
        yield fleet
