# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One node that serves M2.7 with the real server on the CPU, for the benchmark of playbooks/verify.yml."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from fleetlab.cli import main as lab
from fleetlab.inventory import render
from fleetlab.keys import private_key
from fleetlab.nodes import node_up, remove_all
from fleetlab.settings import AUTO, Node
from fleetlab.shell import locked

PROJECT = Path(__file__).resolve().parents[1]
OWNER = "bench-verify"
NODE = Node("bench-verify-01", "trixie", "h200:8", AUTO, ("gpu_nodes", "nvidia"), OWNER)


def playbook(inventory: Path, name: str) -> float:
    """Seconds that it took."""
    command = [str(Path(sys.executable).with_name("ansible-playbook")), name, "-l", "gpu_nodes"]
    env = {**os.environ, "ANSIBLE_INVENTORY": str(inventory)}
    begun = time.monotonic()
    done = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, check=False)
    took = time.monotonic() - begun
    if done.returncode != 0:
        raise SystemExit(f"bench: {' '.join(command[1:])} failed:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    return took


@contextlib.contextmanager
def served() -> Iterator[Path]:
    """The inventory of the node, which is gone at the end."""
    if lab(["images"]) != 0:
        raise SystemExit("bench: the lab does not start; its message is above")
    with locked(OWNER), tempfile.TemporaryDirectory() as folder:
        remove_all(OWNER)
        try:
            node, _done = node_up(NODE)
            inventory = Path(folder)
            (inventory / "hosts.yml").write_text(render([node], private_key()))
            (inventory / "group_vars").symlink_to(PROJECT / "inventories" / "lab" / "group_vars")
            playbook(inventory, "deploy.yml")
            yield inventory
        finally:
            remove_all(OWNER)


def measure(runs: int) -> list[tuple[float, float]]:
    """(seconds of playbooks/verify.yml, seconds of one ping play) of each run."""
    with served() as inventory:
        return [
            (playbook(inventory, "playbooks/verify.yml"), playbook(inventory, "benchmarks/ping.yml"))
            for _run in range(runs)
        ]
