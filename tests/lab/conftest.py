# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab for the tests: nodes like the demo's, but the tests' own.

A demo that runs is left alone: the nodes here have the names, systems and GPUs of its nodes, and containers and
addresses of their own. They are gone at the end; network and registry stay, as they do between Molecule's scenarios.

With SGLANG_FLEET_TESTS_KEEP=1 the nodes stay, and the next run takes them as they are: to work on one test.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fleetlab.cli import main as lab
from fleetlab.inventory import render
from fleetlab.keys import private_key
from fleetlab.nodes import node_up, remove_all
from fleetlab.settings import AUTO, Node, demo_nodes
from fleetlab.shell import LabError, locked, parallel
from tests.lab.support import ROOT, Fleet

OWNER = "tests"
KEEP = os.environ.get("SGLANG_FLEET_TESTS_KEEP") == "1"
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
    with locked("tests"):  # a second run on this machine waits
        if not KEEP:
            remove_all(OWNER)
        try:
            yield _start(tmp_path_factory.mktemp("inventory"), tmp_path_factory.mktemp("scratch"))
        finally:
            if not KEEP:
                remove_all(OWNER)


def _start(inventory: Path, scratch: Path) -> Fleet:
    wanted = [replace(node, ip=AUTO, owner=OWNER) for node in (*demo_nodes(), *MORE_NODES)]
    try:
        made = [node for node, _done in parallel(*(functools.partial(node_up, node) for node in wanted))]
    except LabError as error:
        pytest.fail(f"the lab's nodes do not start: {error}", pytrace=False)
    (inventory / "hosts.yml").write_text(render(made, private_key()))
    (inventory / "group_vars").symlink_to(ROOT / "inventories" / "lab" / "group_vars")
    return Fleet({node.name: node for node in made}, inventory, scratch)
