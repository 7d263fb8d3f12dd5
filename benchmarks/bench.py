#!/usr/bin/env python3
# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the automation itself costs, as ratios within one run: `make bench`.

noop    a deploy over nodes that are as they should be, to one ping play over the same nodes
cold    a deploy over fresh nodes, to the cookbook's own steps on fresh nodes, run over ssh in parallel
doctor  `sglang-fleet doctor` over nodes that are as they should be, to one ping play over the same nodes
verify  `playbooks/verify.yml` over one node, whose server passes every gate, to one ping play over it
plan    10,000 plans in one process, to a bare loop that writes as many plans as JSON (no lab needed)
rollout a rollout over 200 simulated hosts: the controller's own CPU time, to that of the playbooks that it runs (no lab needed)
weights the same weights for three nodes, to those for one node alone, from a hub that gives 10 MB/s in all, and from one
        that gives what it can: two ratios

Seconds depend on the machine and are printed for orientation; the ratios are the result.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import rollout as rolling
import verify as gates
import weights as supply
import yaml
from rich.console import Console
from rich.table import Table

from fleetlab.nodes import node_down, node_up
from fleetlab.settings import Node, demo_nodes
from sglang_fleet.collection import use_checkout

use_checkout()

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue  # noqa: E402
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import Wishes, facts_for  # noqa: E402
from ansible_collections.sglang.fleet.plugins.module_utils._planner import make_plan  # noqa: E402

PROJECT = Path(__file__).resolve().parents[1]
STEPS = PROJECT / "benchmarks" / "cookbook_steps.sh"
INVENTORY = PROJECT / "inventories" / "lab" / "hosts.yml"
console = Console(highlight=False)
PLANS = 10_000

#: What the cookbook pages have one type for each demo node: vendor, image, model and flags.
COOKBOOK = {
    "amd-01": ("amd", "lmsysorg/sglang:v0.5.7-rocm700-mi30x", "MiniMaxAI/MiniMax-M2.1", "--tp-size 4"),
    "nvidia-01": ("nvidia", "lmsysorg/sglang:v0.5.10.post1", "MiniMaxAI/MiniMax-M2.7", "--tp 8 --ep 8"),
    "grace-01": ("nvidia", "lmsysorg/sglang:v0.5.10.post1-cu130", "MiniMaxAI/MiniMax-M2.7", "--tp 4"),
}
COMMON = (
    "--tool-call-parser minimax-m2 --reasoning-parser minimax-append-think --trust-remote-code"
    " --mem-fraction-static 0.85"
)


def gpu_nodes() -> list[Node]:
    return [node for node in demo_nodes() if "gpu_nodes" in node.groups]


def timed(action: Callable[[], Any]) -> float:
    begun = time.monotonic()
    action()
    return time.monotonic() - begun


def playbook(name: str) -> None:
    command = [str(Path(sys.executable).with_name("ansible-playbook")), name, "-l", "gpu_nodes"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"bench: {' '.join(command[1:])} failed:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")


def ssh(node: Node) -> list[str]:
    variables = yaml.safe_load(INVENTORY.read_text())["all"]["vars"]
    options = shlex.split(variables["ansible_ssh_common_args"])
    key = variables["ansible_ssh_private_key_file"]
    return ["ssh", "-i", key, *options, f"{variables['ansible_user']}@{node.ip}"]


def by_hand() -> None:
    """The cookbook's steps on every GPU node at once."""

    def one(node: Node) -> None:
        vendor, image, model, flags = COOKBOOK[node.name]
        words = ["sudo", "bash", "-s", "--", vendor, image, model, *shlex.split(f"{flags} {COMMON}")]
        done = subprocess.run([*ssh(node), *words], input=STEPS.read_bytes(), capture_output=True, check=False)
        if done.returncode != 0 or b"choices" not in done.stdout:
            raise SystemExit(f"bench: the cookbook's steps failed on {node.name}: {done.stderr.decode()[-1000:]}")

    with ThreadPoolExecutor() as pool:
        list(pool.map(one, gpu_nodes()))


def fresh_nodes() -> None:
    for node in gpu_nodes():
        node_down(node.name, node.owner)
    with ThreadPoolExecutor() as pool:
        list(pool.map(node_up, gpu_nodes()))


def noop(runs: int) -> dict[str, Any]:
    playbook("deploy.yml")
    pairs = [
        (timed(lambda: playbook("deploy.yml")), timed(lambda: playbook("benchmarks/ping.yml"))) for _ in range(runs)
    ]
    return figures("noop", "no-op deploy.yml", "one ping play", pairs)


def examine() -> dict[str, float]:
    """Seconds that the look at each node took there."""
    program = str(Path(sys.executable).with_name("sglang-fleet"))
    done = subprocess.run(
        [program, "doctor", "-i", str(INVENTORY), "--json"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"bench: the nodes are not healthy:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    return {name: host["seconds"] for name, host in json.loads(done.stdout)["hosts"].items()}


def doctor(runs: int) -> dict[str, Any]:
    playbook("deploy.yml")
    slowest = 0.0
    pairs = []
    for _ in range(runs):
        begun = time.monotonic()
        looks = examine()
        ours = time.monotonic() - begun
        slowest = max(slowest, *looks.values())
        pairs.append((ours, timed(lambda: playbook("benchmarks/ping.yml"))))
    result = figures("doctor", "sglang-fleet doctor", "one ping play", pairs)
    return {**result, "seconds_a_node": slowest}


def cold(runs: int) -> dict[str, Any]:
    pairs = []
    for _ in range(runs):
        fresh_nodes()
        steps = timed(by_hand)
        fresh_nodes()
        pairs.append((timed(lambda: playbook("deploy.yml")), steps))
    return figures("cold", "cold deploy.yml", "the cookbook's steps over ssh", pairs)


def plan(runs: int) -> dict[str, Any]:
    """Four nodes in turn: one published command, two instances that are sorted by NUMA node, a change, a fit elsewhere."""
    catalogue = load_catalogue()
    facts = [facts_for(catalogue, gpu, count) for gpu, count in (("H200", 8), ("H200", 8), ("MI300X", 4), ("H20", 6))]
    for index, device in enumerate(facts[1]["devices"]):
        device["numa_node"] = index % 2
    wishes = [Wishes(), Wishes(layout="2x4"), Wishes(), Wishes(model="M2.1")]

    def plans() -> None:
        for number in range(PLANS):
            make_plan(catalogue, facts[number % 4], wishes[number % 4])

    model = make_plan(catalogue, facts[0], wishes[0]).to_dict()

    def bare() -> None:
        for _number in range(PLANS):
            json.dumps(model)

    return figures(
        "plan", f"{PLANS} plans", "as many plans written as JSON", [(timed(plans), timed(bare)) for _ in range(runs)], 0
    )


def verify(runs: int) -> dict[str, Any]:
    return figures("verify", "verify.yml", "one ping play", gates.measure(runs), 1)


def weights(runs: int) -> list[dict[str, Any]]:
    """Whole runs of benchmarks/weights.yml on nodes that have the image; the median of what the hub served besides."""
    with supply.nodes() as fleet:
        return [
            figures("weights", f"weights for 3 nodes, hub {speed}", "for 1 node", supply.measure(fleet, rate, runs), 3)
            for speed, rate in (("at 10 MB/s", 10_000_000), ("as fast as it goes", 0))
        ]


def figures(
    name: str, ours: str, theirs: str, pairs: list[tuple[float, float]], hosts: int | None = None
) -> dict[str, Any]:
    hosts = len(gpu_nodes()) if hosts is None else hosts
    ratios = sorted(a / b for a, b in pairs)
    return {
        "benchmark": name,
        "what": f"{ours} / {theirs}",
        "hosts": hosts,
        "runs": len(pairs),
        "seconds": statistics.median(a for a, _ in pairs),
        "seconds_base": statistics.median(b for _, b in pairs),
        "ratio_min": ratios[0],
        "ratio": statistics.median(ratios),
        "ratio_max": ratios[-1],
    }


def rollout(runs: int) -> dict[str, Any]:
    pairs = rolling.measure(runs)
    return figures("rollout", "the controller's CPU time", "that of its playbooks", pairs, rolling.HOSTS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "only",
        nargs="?",
        choices=["noop", "cold", "doctor", "plan", "verify", "rollout", "weights"],
        help="one of them",
    )
    parser.add_argument("--runs", type=int, help="pairs of runs (default: 5; 1 for cold and rollout, 3 for weights)")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    os.environ["ANSIBLE_FORCE_COLOR"] = "false"
    wanted = [options.only] if options.only else ["plan", "rollout", "cold", "noop", "doctor", "verify", "weights"]
    if set(wanted) - {"plan", "verify", "rollout", "weights"}:
        subprocess.run([sys.executable, str(PROJECT / "molecule/lab/lab.py"), "up"], check=True)
    benchmarks = {"cold": cold, "noop": noop, "doctor": doctor, "plan": plan, "verify": verify, "rollout": rollout}
    usual = {"cold": 1, "weights": 3, "rollout": 1}
    results = []
    for name in wanted:
        runs = options.runs or usual.get(name, 5)
        results += weights(runs) if name == "weights" else [benchmarks[name](runs)]
    table = Table("benchmark", "hosts", "runs", "seconds", "base", "ratio", "min to max")
    for r in results:
        table.add_row(
            r["what"],
            str(r["hosts"]),
            str(r["runs"]),
            f"{r['seconds']:.1f}",
            f"{r['seconds_base']:.1f}",
            f"{r['ratio']:.2f}",
            f"{r['ratio_min']:.2f} to {r['ratio_max']:.2f}",
        )
    console.print(table)
    for r in results:
        if "seconds_a_node" in r:
            console.print(f"the slowest look at a node took {r['seconds_a_node']:.1f} s there")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
