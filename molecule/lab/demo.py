#!/usr/bin/env python3
# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From nothing to a chat answer on every GPU node of the lab: `make demo`.

The lab is brought up, `deploy.yml` runs as it would on real nodes, and each node is asked for a chat
answer from outside, as a client of the fleet would ask.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from fleetlab.cli import main as lab
from fleetlab.settings import Node, demo_nodes
from fleetlab.shell import LabError, docker, fail
from sglang_fleet.collection import use_checkout

PROJECT = Path(__file__).resolve().parents[2]
QUESTION = "Who are you?"
console = Console(highlight=False)


@dataclass(frozen=True)
class Served:
    """One server of one node, as the node's state file has it, and what it answered."""

    node: Node
    endpoint: str
    model: str
    image: str
    layout: str
    accepted: str
    thinking: str
    answer: str


def ask(endpoint: str, model: str) -> tuple[str, str]:
    """(thinking, answer) of one chat turn over the OpenAI-compatible API."""
    use_checkout()
    from ansible_collections.sglang.fleet.plugins.module_utils._gates import Answer, first_choice, split_thinking

    payload = {"model": model, "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 256}
    request = urllib.request.Request(
        f"{endpoint}/v1/chat/completions", json.dumps(payload).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        message = first_choice(Answer(answer.status, answer.read().decode()))["message"]
    thinking, text = split_thinking(message.get("content") or "", message.get("reasoning_content"))
    if not thinking or not text:
        raise LabError(f"{endpoint}: an answer with its thinking was wanted, it was {str(message)[:200]}")
    return thinking, text


def accepted_by_parser(node: Node, instance: str) -> str:
    """The line in the server's journal in which SGLang's own parser accepted the production command line."""
    journal = docker("exec", node.container, "journalctl", f"--unit=sglang@{instance}", "--output=cat", "--no-pager")
    lines = [line for line in journal.stdout.splitlines() if "ServerArgs accepted" in line]
    if not lines:
        raise LabError(f"{node.name}: no line of sglang@{instance}'s journal says that the parser accepted its command")
    return lines[-1]


def served_by(node: Node) -> list[Served]:
    """Asks every server of the node."""
    state = json.loads(docker("exec", node.container, "cat", "/var/lib/sglang-fleet/state.json").stdout)
    found = []
    for name, instance in state["instances"].items():
        thinking, text = ask(instance["endpoint"], state["model"])
        plan = instance["plan"]
        found.append(
            Served(
                node=node,
                endpoint=instance["endpoint"],
                model=state["model"],
                image=state["image"]["reference"] + (" (patched)" if state["patches"] else ""),
                layout=f"TP{plan['tp']}" + (f" EP{plan['ep']}" if plan["ep"] > 1 else ""),
                accepted=accepted_by_parser(node, name),
                thinking=thinking,
                answer=text,
            )
        )
    return found


def report(servers: list[Served], seconds: float) -> None:
    for server in servers:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim")
        table.add_column(overflow="fold")
        for label, value in (
            ("model", f"{server.model}  {server.layout}"),
            ("image", server.image),
            ("parser", server.accepted),
            ("question", QUESTION),
            ("thinking", server.thinking),
            ("answer", f"[bold]{server.answer}[/bold]"),
            ("endpoint", server.endpoint),
        ):
            table.add_row(label, value)
        console.print(Panel(table, title=f"{server.node.name} · {server.node.gpu}", title_align="left"))
    first = servers[0]
    body = json.dumps({"model": first.model, "messages": [{"role": "user", "content": "Hello"}]})
    console.print(f"{len(servers)} servers answered, {seconds / 60:.1f} minutes from start to end. Try one:\n")
    console.print(
        f"  curl {first.endpoint}/v1/chat/completions -H 'Content-Type: application/json' \\\n    -d '{body}'\n",
        soft_wrap=True,
        markup=False,
    )
    console.print("The nodes stay up: `make demo-down` takes them away.")


def main() -> int:
    begun = time.monotonic()
    console.rule("The lab: nodes with simulated GPUs, a registry, the SGLang images", align="left")
    if lab(["up"]) != 0:
        return 1
    console.rule("ansible-playbook deploy.yml -l gpu_nodes", align="left")
    deploy = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "deploy.yml", "-l", "gpu_nodes"],
        cwd=PROJECT,
        check=False,
        env={**os.environ, "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "false", "ANSIBLE_FORCE_COLOR": str(console.is_terminal)},
    )
    if deploy.returncode != 0:
        return fail("the deployment failed; its messages above say on which host and why")
    console.rule("A chat answer of each server", align="left")
    try:
        servers = [s for node in demo_nodes() if "gpu_nodes" in node.groups for s in served_by(node)]
    except (LabError, OSError, ValueError) as error:
        return fail(str(error))
    report(servers, time.monotonic() - begun)
    return 0


if __name__ == "__main__":
    sys.exit(main())
