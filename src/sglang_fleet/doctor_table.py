# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A doctor's findings for people: a row a host, then each finding once, with the hosts that have it.

On a terminal lines are wrapped and coloured; elsewhere a line is as long as it is, so that grep and awk can be used.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from sglang_fleet.doctor import FINDINGS, HEALTHY, Patient, Ward

_STYLES = {"error": "bold red", "warn": "bold yellow"}
_Finding = tuple[str, str, str, str, str]
_KEYS = ("severity", "id", "what", "evidence", "remedy")


def show_findings(ward: Ward, console: Console) -> None:
    hosts = [ward.hosts[name] for name in sorted(ward.hosts)]
    _show_hosts(hosts, console)
    found: dict[_Finding, list[str]] = {}
    for host in hosts:
        for item in host.findings or []:
            severity, identity, what, evidence, remedy = (item[key] for key in _KEYS)
            found.setdefault((severity, identity, what, evidence, remedy), []).append(host.name)
    for (severity, identity, what, evidence, remedy), names in sorted(found.items(), key=lambda row: row[0][:2]):
        console.print()
        title = Text.assemble((f"{severity} {identity}", _STYLES.get(severity, "")), "  ", (", ".join(names), "bold"))
        console.print(title, soft_wrap=_plain(console))
        for label, text in (("", what), ("found  ", evidence), ("do     ", remedy)):
            _indented(Text(label, style="dim"), Text(text), console)
    for host in hosts:
        if host.error is not None:
            console.print()
            title = Text.assemble((host.status, "bold magenta"), "  ", (host.name, "bold"))
            console.print(title, soft_wrap=_plain(console))
            _indented(Text(""), Text(host.error), console)


def _plain(console: Console) -> bool:
    """Whether it goes to no terminal, where lines are as long as they are."""
    return console.width >= 100_000


def _indented(label: Text, text: Text, console: Console) -> None:
    if _plain(console):
        console.print(Text("  ").append_text(label).append_text(text), soft_wrap=True)
        return
    width = max(20, console.width - 2 - len(label))
    lines = text.wrap(console, width)
    for number, line in enumerate(lines):
        head = label if number == 0 else Text(" " * len(label))
        line.rstrip()
        console.print(Text("  ").append_text(head).append_text(line))


def _show_hosts(hosts: Sequence[Patient], console: Console) -> None:
    width = max((len(host.name) for host in hosts), default=0)
    for host in hosts:
        line = Text.assemble((host.name.ljust(width), "bold"), "  ", _summary(host))
        if _plain(console):
            console.print(line, soft_wrap=True)
        else:
            console.print(line, no_wrap=True, overflow="ellipsis")


def _summary(host: Patient) -> Text:
    if host.status == HEALTHY:
        return Text("healthy", style="green")
    if host.status != FINDINGS:
        return Text(f"could not look: {host.status}", style="magenta")
    findings = host.findings or []
    counts = [
        f"{number} {word}{'s' if number > 1 else ''}"
        for word, severity in (("error", "error"), ("warning", "warn"))
        for number in [sum(item["severity"] == severity for item in findings)]
        if number
    ]
    names = list(dict.fromkeys(item["id"] for item in findings))
    style = "red" if any(item["severity"] == "error" for item in findings) else "yellow"
    return Text(f"{', '.join(counts)}: {', '.join(names)}", style=style)
