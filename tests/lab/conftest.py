# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab for the tests: nodes like the demo's, but the tests' own.

A demo that runs is left alone: the nodes here have the names, systems and GPUs of its nodes, and containers and
addresses of their own. They are gone at the end; network and registry stay, as they do between Molecule's scenarios.

With SGLANG_FLEET_TESTS_KEEP=1 the nodes stay, and the next run takes them as they are: to work on one test.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from fleetlab.cli import main as lab
from fleetlab.settings import AUTO, Node, demo_nodes
from tests.lab.support import Fleet, fresh_nodes

OWNER = "tests"
# What is broken on purpose, before anything was ever deployed there.
MORE_NODES = (
    Node("spare-01", "bookworm", "h200:8", AUTO, ("spare_nodes", "nvidia")),
    Node("plain-01", "bookworm", "h200:8,noruntime", AUTO, ("spare_nodes", "nvidia")),
    Node("bare-01", "trixie", "mi300x:8,nodriver", AUTO, ("spare_nodes", "amd")),
)


@pytest.fixture(scope="session")
def lab_supply() -> None:
    """Engine, network, registry, and every image: what all nodes need."""
    if lab(["images"]) != 0:
        pytest.fail("the lab does not start; its message is above, and `lab.py doctor` says more", pytrace=False)


@pytest.fixture(scope="module")
def fleet(lab_supply: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Nodes that nothing was ever deployed on, in an inventory with the demo's groups and variables."""
    wanted = [replace(node, ip=AUTO, owner=OWNER) for node in (*demo_nodes(), *MORE_NODES)]
    with fresh_nodes(OWNER, wanted, tmp_path_factory) as made:
        yield made


@pytest.fixture(scope="session")
def measured(lab_supply: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One node that serves M2.7: what gates, benchmarks and accuracy are measured on, one file after the other."""
    node = Node("measured-01", "bookworm", "h200:8", AUTO, ("gpu_nodes", "nvidia"), owner="measured")
    with fresh_nodes("measured", [node], tmp_path_factory) as made:
        made.playbook("deploy.yml", "-l", "gpu_nodes").succeeded()
        yield made
