# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollout before it begins, and a fleet as it is now, as tables for people."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sglang_fleet.rollout_fleet import KNOWN, Preview, restarts
from sglang_fleet.rollout_lines import hosts_text, servers
from sglang_fleet.rollout_lock import age_text
from sglang_fleet.rollout_state import listed
from sglang_fleet.rollout_status import HostNow, Now


def _print(table: Table, console: Console) -> None:
    """A table, off a terminal without the blanks that it pads its lines with."""
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        console.print(Text.from_ansi(line.rstrip()), soft_wrap=True)


def show_preview(found: Preview, console: Console) -> None:
    """Waves, what changes on each host, and what is out at each moment."""
    instances, gpus = found.capacity()
    same = [name for name, host in found.hosts.items() if host.status == KNOWN and name not in found.changing]
    console.print(
        f"{hosts_text(len(found.changing))} to change, {len(same)} to stay as they are; serving now: {servers(instances, gpus)}"
    )
    for note in found.notes:
        console.print(Text(f"note: {note}", style="yellow"), soft_wrap=True)
    if not found.waves:
        return
    console.print()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
    for title in ("wave", "host", "servers", "start anew"):
        table.add_column(title, no_wrap=True)
    table.add_column("change", overflow="fold")
    nodes = {node.name: node for node in found.nodes}
    for number, names in enumerate(found.waves, 1):
        for name in names:
            change = found.hosts[name].change
            how = "all at once" if nodes[name].together else "one by one" if len(nodes[name].gpus) > 1 else "yes"
            anew = how if restarts(change) else "no"
            table.add_row(
                str(number), name, str(len(nodes[name].gpus)), anew, Text(str((change or {}).get("summary") or ""))
            )
    _print(table, console)
    console.print()
    moments = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
    for title in ("wave", "step", "out at most", "of GPUs"):
        moments.add_column(title, no_wrap=True)
    moments.add_column("hosts", overflow="fold")
    for one in found.moments:
        share = f"{100 * one.out.gpus / gpus:.0f}%" if gpus else "-"
        out = servers(*one.out)
        moments.add_row(str(one.wave), str(one.batch), out, share, listed(one.hosts, 12))
    _print(moments, console)


def show_status(now: Now, console: Console) -> None:
    """A row a host; below it gateways, the lock, and the last rollout of this controller."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
    for title in ("host", "version", "model", "servers", "traffic", "requests"):
        table.add_column(title, no_wrap=True)
    table.add_column("", overflow="fold")
    for host in now.hosts:
        table.add_row(*_row(host))
    _print(table, console)
    console.print()
    for name, error in now.gateways.items():
        console.print(Text(f"gateway {name}: {error or 'answers'}", style="red" if error else ""), soft_wrap=True)
    console.print(Text(_lock(now)), soft_wrap=True)
    if now.rollout:
        console.print(Text(_rollout(now.rollout)), soft_wrap=True)


def _row(host: HostNow) -> list[Text | str]:
    if host.status != KNOWN:
        return [host.name, "-", "-", "-", host.traffic, "", Text(f"{host.status}: {host.error}", style="red")]
    servers = Text(f"{host.answering}/{host.instances}", style="" if host.answering == host.instances else "red")
    notes = [host.why_out] if host.why_out else []
    if not host.instances:
        notes.append("nothing that has passed its gates is recorded")
    elif not host.passed:
        notes.append("what runs has not passed its gates; the version is that of what last did")
    style = {"in": "green", "out": "bold red", "part": "yellow"}.get(host.traffic, "dim")
    flight = "" if host.in_flight is None else str(host.in_flight)
    model = host.model.rsplit("/", 1)[-1]
    return [host.name, host.version or host.image or "-", model or "-", servers, Text(host.traffic, style=style), flight, Text("; ".join(notes), style="yellow")]  # fmt: skip


def _lock(now: Now) -> str:
    if now.lock_error:
        return f"lock: {now.lock_error}"
    lock = (now.lock or {}).get("lock")
    if not lock:
        return "no rollout is under way"
    age = age_text((now.lock or {}).get("age"))
    if (now.lock or {}).get("stale"):
        return f"the controller of {lock['holder']} died {age} ago in rollout {lock['rollout_id']}: resume it there"
    return f"rollout {lock['rollout_id']} of {lock['holder']} is under way (last sign of life {age} ago)"


def _rollout(told: dict[str, object]) -> str:
    words = "under way here" if told["under_way"] else str(told["result"])
    more = "; its playbook still works" if told["playbook"] and not told["under_way"] else ""
    return f"last rollout of this controller: {told['id']}, {words}{more}"
