# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes, a hub and a lock for the benchmark of weights: what one node takes, and what three take together."""

from __future__ import annotations

import contextlib
import functools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from fleetlab.cli import main as lab
from fleetlab.hub import Hub, ensure_hub
from fleetlab.inventory import render
from fleetlab.keys import private_key
from fleetlab.nodes import node_up, remove_all
from fleetlab.settings import AUTO, REGISTRY_IP, Node
from fleetlab.shell import docker, locked, parallel

PROJECT = Path(__file__).resolve().parents[1]
PLAYBOOK = "benchmarks/weights.yml"
FOLDER = "/var/lib/sglang-fleet/huggingface"
OWNER = "bench"
NODES = tuple(
    Node(f"bench-0{number}", "trixie", "h200:8", AUTO, ("gpu_nodes", "nvidia"), OWNER) for number in (1, 2, 3)
)


@dataclass(frozen=True)
class Fleet:
    """Nodes that have the image; inventory: a folder, with a lock."""

    inventory: Path
    hub: Hub

    def run(self, program: str, *words: str) -> None:
        command = [str(Path(sys.executable).with_name(program)), *words]
        env = {**os.environ, "ANSIBLE_INVENTORY": str(self.inventory)}
        done = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"bench: {' '.join(command[1:])} failed:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")

    def fetch(self, nodes: tuple[Node, ...]) -> tuple[float, int]:
        """Seconds for the weights on these nodes, which have none before, and the bytes that the hub served."""
        for node in NODES:
            docker("exec", node.container, "rm", "--recursive", "--force", FOLDER)
        with self.hub.counting() as counted:
            begun = time.monotonic()
            self.run("ansible-playbook", PLAYBOOK, "-l", ",".join(node.name for node in nodes))
            took = time.monotonic() - begun
        return took, int(counted["bytes"])


@contextlib.contextmanager
def nodes() -> Iterator[Fleet]:
    """Three nodes of the benchmark's own, with the image; gone at the end."""
    with locked(OWNER), tempfile.TemporaryDirectory() as folder:
        if lab(["images"]) != 0:
            raise SystemExit("bench: the lab does not start")
        hub = ensure_hub().space(OWNER)
        remove_all(OWNER)
        try:
            made = [node for node, _done in parallel(*(functools.partial(node_up, node) for node in NODES))]
            variables = {
                "fleet_address": "{{ ansible_host }}",
                "fleet_registry_mirrors": [f"http://{REGISTRY_IP}:5000"],
                "fleet_hf_endpoint": hub.endpoint,
            }
            inventory = Path(folder)
            (inventory / "hosts.yml").write_text(render(made, private_key()))
            (inventory / "group_vars").mkdir()
            (inventory / "group_vars" / "all.yml").write_text(yaml.safe_dump(variables))
            fleet = Fleet(inventory, hub)
            fleet.run("sglang-fleet", "lock", "-i", str(inventory))
            fleet.run("ansible-playbook", PLAYBOOK, "--tags", "sglang_image")
            yield fleet
        finally:
            remove_all(OWNER)


def measure(fleet: Fleet, rate: int, runs: int) -> list[tuple[float, float]]:
    """(seconds for three, seconds for one) for each run, with a hub that gives so many bytes a second, 0 for all it can."""
    fleet.hub.set(rate=rate)
    pairs, served = [], []
    for _run in range(runs):
        one, once = fleet.fetch(NODES[:1])
        three, bytes_ = fleet.fetch(NODES)
        pairs.append((three, one))
        served.append(bytes_ / once)
    print(f"for three nodes the hub served {statistics.median(served):.2f} times the bytes that it served for one")
    return pairs
