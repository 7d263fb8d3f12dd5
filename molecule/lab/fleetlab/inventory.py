"""The demo's inventory, written from the nodes."""

from __future__ import annotations

import os
from pathlib import Path

from .keys import private_key
from .settings import Node
from .shell import PROJECT_DIR

INVENTORY = PROJECT_DIR / "inventories" / "lab" / "hosts.yml"
# The nodes' host keys change whenever a node is made anew, so they are neither checked nor remembered. The keep-alive
# ends a shared connection (ControlPersist) to a node that is gone.
SSH_OPTIONS = (
    "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
    "-o ServerAliveInterval=5 -o ServerAliveCountMax=3",
)


def render(nodes: list[Node], key: Path) -> str:
    """The inventory as YAML."""
    lines = [
        "---",
        "# Written by molecule/lab/lab.py up; changes here are lost. Settings belong in group_vars/.",
        "all:",
        "  vars:",
        "    ansible_user: ansible",
        f"    ansible_ssh_private_key_file: {key}",
        "    ansible_ssh_common_args: >-",
        *(f"      {option}" for option in SSH_OPTIONS),
        "    ansible_ssh_pipelining: true",
        "    ansible_python_interpreter: /usr/bin/python3",
        "  children:",
    ]
    groups: dict[str, list[Node]] = {}
    for node in nodes:
        for group in node.groups:
            groups.setdefault(group, []).append(node)
    seen: set[str] = set()
    for group, members in groups.items():
        lines += [f"    {group}:", "      hosts:"]
        for node in members:
            lines.append(f"        {node.name}:")
            if node.name not in seen:
                lines.append(f"          ansible_host: {node.ip}")
            seen.add(node.name)
    return "\n".join(lines) + "\n"


def write_inventory(nodes: list[Node]) -> str:
    """Write the file when it differs; returns what was done."""
    text = render(nodes, private_key())
    if INVENTORY.exists() and INVENTORY.read_text() == text:
        return "as it was"
    INVENTORY.parent.mkdir(parents=True, exist_ok=True)
    partial = INVENTORY.with_suffix(".partial")
    partial.write_text(text)
    os.replace(partial, INVENTORY)
    return "written"
