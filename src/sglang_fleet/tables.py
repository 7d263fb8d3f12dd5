# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans for people: one plan in full, and a fleet as a row a host.

On a terminal lines are wrapped and coloured. Elsewhere a line is as long as it is, so that grep and awk can be used.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sglang_fleet.fleet import PLANNED, FleetPlan, Host

#: Wider than any line, for output that is no terminal's.
_ENDLESS = 100_000
#: From this width on a fleet's row has room for its image and its change.
_WIDE = 110
_BAR = 48
#: An IPv4 address, which differs from host to host where all else in a message is the same.
_ADDRESS = re.compile(r"\b\d+(?:\.\d+){3}\b")

_SEVERITIES = {"override": "bold magenta", "change": "cyan", "warn": "yellow", "note": "dim"}
_PARTS = (
    ("reserved", "reserved_gib_per_gpu", "magenta", "▒"),
    ("weights", "weights_gib_per_gpu", "blue", "█"),
    ("KV cache", "kv_gib_per_gpu", "green", "▓"),
    ("head-room", "headroom_gib_per_gpu", "dim", "░"),
)
_STYLES = {
    "none": "green",
    "start": "cyan",
    "restart": "yellow",
    "stop": "yellow",
    "check": "magenta",
    "unknown": "dim",
}


def console_for(stream: IO[str] | None = None, width: int | None = None) -> Console:
    """A console on a stream; stdout by default."""
    file = stream or sys.stdout
    if file.isatty() or width is not None:
        return Console(file=file, width=width, highlight=False)
    return Console(file=file, width=_ENDLESS, highlight=False, color_system=None)


def _plain(console: Console) -> bool:
    return console.width >= _ENDLESS


def _print_table(table: Table, console: Console) -> None:
    """A table, off a terminal without the blanks that it pads its lines with."""
    if not _plain(console):
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        console.print(Text(line.rstrip()), soft_wrap=True)


def show_plan(plan: Mapping[str, Any], console: Console) -> None:
    """One plan: what runs where, how the memory is divided, why it is so, and what to know about it."""
    console.print(Text(f"{plan['model']} on {plan['count']} x {plan['gpu']}", style="bold"))
    _show_facts(plan, console)
    console.print()
    _print_table(_instances(plan["instances"], console), console)
    for fit, names in _fits(plan["instances"]):
        console.print()
        _show_memory(fit, names, console)
    _show_list("why", [Text(reason) for reason in plan["reasons"]], console)
    _show_list("warnings", [_warning(warning) for warning in by_severity(plan["warnings"])], console)


def _show_facts(plan: Mapping[str, Any], console: Console) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    image = plan["image"]
    grid.add_row("layout", f"{plan['layout']}, profile {plan['profile']}")
    grid.add_row("image", f"{image['reference']} (SGLang {image['sglang_version']}, {image['user_space']})")
    if plan["patches"]:
        grid.add_row("patches", ", ".join(patch["name"] for patch in plan["patches"]))
    environment = plan["instances"][0]["environment"] if plan["instances"] else {}
    if environment:
        grid.add_row("environment", " ".join(f"{name}={value}" for name, value in environment.items()))
    if plan["idle_gpus"]:
        grid.add_row("idle", Text(_gpus_text(plan["idle_gpus"]), style="yellow"))
    _print_table(grid, console)


def _instances(instances: Sequence[Mapping[str, Any]], console: Console) -> Table:
    table = _table(console)
    table.add_column("instance", no_wrap=True)
    table.add_column("GPUs", no_wrap=True)
    table.add_column("listens on", overflow="fold")  # the one that gives way where there is no room
    table.add_column("tp", justify="right", no_wrap=True)
    table.add_column("ep", justify="right", no_wrap=True)
    table.add_column("KV tokens", justify="right", no_wrap=True)
    gap = " " if _plain(console) else "\n"
    table.add_column(f"longest{gap}context", justify="right", no_wrap=True)
    table.add_column(f"full-length{gap}sequences", justify="right", no_wrap=True)
    for instance in instances:
        fit = instance["fit"]
        table.add_row(
            instance["name"],
            gpus(instance["gpus"]),
            f"{instance['address']}:{instance['port']}",
            str(instance["tp"]),
            str(instance["ep"]),
            f"{fit['kv_tokens']:,}",
            f"{fit['max_context']:,}",
            _number(fit["full_length_sequences"]),
        )
    return table


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def _fits(instances: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], list[str]]]:
    """Each fit that differs, with the names of the instances that have it."""
    found: list[tuple[Mapping[str, Any], list[str]]] = []
    for instance in instances:
        names = next((names for fit, names in found if fit == instance["fit"]), None)
        if names is None:
            found.append((instance["fit"], [instance["name"]]))
        else:
            names.append(instance["name"])
    return found if len(found) > 1 else [(fit, []) for fit, _names in found]


def _show_memory(fit: Mapping[str, Any], names: Sequence[str], console: Console) -> None:
    whose = f" of instance {', '.join(names)}" if names else ""
    total = fit["memory_gib_per_gpu"]
    if _plain(console):
        parts = " + ".join(f"{fit[key]:.1f} {title}" for title, key, _style, _fill in _PARTS)
        console.print(f"memory of a GPU{whose}: {total:.1f} GiB = {parts}")
        return
    console.print(Text.assemble((f"memory of a GPU{whose}", "bold"), f" {total:.1f} GiB"))
    bar, legend = Text(), Text()
    drawn, upto = 0, 0.0
    for title, key, style, fill in _PARTS:
        upto += fit[key]
        end = min(max(round(_BAR * upto / total), drawn + 1), _BAR) if fit[key] else drawn
        bar.append(fill * (end - drawn), style=style)
        drawn = max(drawn, end)
        legend.append("  " if legend else "").append(fill, style=style).append(f" {title} {fit[key]:.1f}")
    console.print(bar)
    console.print(legend)


def _warning(warning: Mapping[str, Any], hosts: Sequence[str] = ()) -> Text:
    text = Text(f"{warning['severity']} {warning['id']}: ", style=_SEVERITIES.get(warning["severity"], ""))
    text.append(f"{', '.join(hosts)}: " if hosts else "", style="bold not dim")
    text.append(warning["message"], style="not bold not dim default")
    if warning["url"]:
        text.append(f" {warning['url']}", style="not bold dim")
    return text


def by_severity(warnings: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The weightiest first."""
    order = list(_SEVERITIES)
    return sorted(warnings, key=lambda warning: order.index(warning["severity"]) if warning["severity"] in order else 0)


def warning_line(warning: Mapping[str, Any]) -> str:
    """A warning as one line without colour."""
    return _warning(warning).plain


def _show_list(title: str, items: Sequence[Text], console: Console, *, first: bool = False) -> None:
    if not items:
        return
    if not first:
        console.print()
    console.print(Text(title, style="bold"))
    for item in items:
        if _plain(console):
            console.print(Text("- ").append_text(item), soft_wrap=True)
        else:
            grid = Table.grid(padding=(0, 1))
            grid.add_row("•", item)
            console.print(grid)


def _table(console: Console) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="" if _plain(console) else "bold dim")
    table.show_header = True
    return table


def show_fleet(fleet: FleetPlan, console: Console) -> None:
    """A row a host that is planned, the hosts that are not with their reasons, the drivers that change, the warnings."""
    hosts = [fleet.hosts[name] for name in sorted(fleet.hosts)]
    planned = [host for host in hosts if host.status == PLANNED]
    if planned:
        (_show_rows if console.width >= _WIDE else _show_blocks)(planned, console)
    shown = bool(planned)
    for status in ("refused", "unreachable", "failed"):
        # Hosts of one kind have one reason.
        reasons: dict[str, list[str]] = {}
        for host in hosts:
            if host.status == status:
                reasons.setdefault(host.error or "", []).append(host.name)
        items = _told_of(reasons)
        _show_list(status, items, console, first=not shown)
        shown = shown or bool(items)
    _show_list("drivers", _told_of(_drivers(planned)), console, first=not shown)
    _show_list(
        "warnings", [_warning(warning, names) for warning, names in _together(planned)], console, first=not shown
    )


def _told_of(reasons: Mapping[str, Sequence[str]]) -> list[Text]:
    return [Text.assemble((", ".join(names), "bold"), ": ", reason) for reason, names in reasons.items()]


def _drivers(hosts: Sequence[Host]) -> dict[str, list[str]]:
    """What becomes of the drivers that a deploy would not leave as they are, each with its hosts."""
    from ansible_collections.sglang.fleet.plugins.module_utils._plan_diff import driver_text

    found: dict[str, list[str]] = {}
    for host in hosts:
        if host.driver and (host.driver["action"] != "none" or host.driver.get("reboot_reasons")):
            found.setdefault(str(driver_text(host.driver)), []).append(host.name)
    return found


def _together(hosts: Sequence[Host]) -> list[tuple[Mapping[str, Any], list[str]]]:
    """The warnings of all hosts, each once with the hosts that it is of; an address that differs is left open."""
    told: dict[tuple[str, str], list[tuple[str, Mapping[str, Any]]]] = {}
    for host in hosts:
        advice = [{"id": "inventory", "severity": "warn", "message": text, "url": None} for text in host.advice]
        for warning in [*advice, *(host.plan or {})["warnings"]]:
            key = (warning["id"], _ADDRESS.sub("…", warning["message"]))
            told.setdefault(key, []).append((host.name, warning))
    merged = []
    for (_id, opened), found in told.items():
        messages = {warning["message"] for _name, warning in found}
        message = messages.pop() if len(messages) == 1 else opened
        merged.append(({**found[0][1], "message": message}, [name for name, _warning in found]))
    weight = {id(warning): number for number, warning in enumerate(by_severity(warning for warning, _names in merged))}
    return sorted(merged, key=lambda entry: weight[id(entry[0])])


def _cells(host: Host) -> list[str]:
    plan = host.plan or {}
    first = plan["instances"][0]
    return [
        host.name,
        f"{plan['count']} x {plan['gpu']}",
        plan["model"],
        plan["layout"],
        f"{first['tp']}/{first['ep']}",
        f"{first['fit']['kv_tokens']:,}",
    ]


def _change(host: Host) -> Text:
    change = host.change or {}
    style = "red" if change["problems"] else _STYLES.get(change["action"], "")
    return Text(change["summary"], style=style)


def _tag(host: Host) -> str:
    reference = str((host.plan or {})["image"]["reference"])
    return reference.rsplit("/", 1)[-1].partition(":")[2] or reference


_TITLES = ("host", "GPUs", "model", "layout", "tp/ep", "KV tokens")


def _show_rows(hosts: Sequence[Host], console: Console) -> None:
    table = _table(console)
    for title in (*_TITLES, "image"):
        table.add_column(title, no_wrap=True, justify="right" if title == "KV tokens" else "left")
    table.add_column("change", overflow="fold")
    for host in hosts:
        table.add_row(*_cells(host), _tag(host), _change(host))
    _print_table(table, console)


def _show_blocks(hosts: Sequence[Host], console: Console) -> None:
    """The same for a narrow terminal: image and change on lines of their own."""
    cells = [_cells(host) for host in hosts]
    widths = [max(len(text) for text in column) for column in zip(_TITLES, *cells, strict=True)]
    right = _TITLES.index("KV tokens")

    def line(row: Sequence[str]) -> str:
        return "  ".join(
            text.rjust(width) if number == right else text.ljust(width)
            for number, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()

    console.print(Text(line(_TITLES), style="bold dim", no_wrap=True, overflow="ellipsis"))
    for host, row in zip(hosts, cells, strict=True):
        console.print(Text(line(row), no_wrap=True, overflow="ellipsis"))
        console.print(Padding(Text.assemble(("image ", "dim"), _tag(host)), (0, 0, 0, widths[0] + 2)))
        console.print(Padding(_change(host), (0, 0, 0, widths[0] + 2)))


def _gpus_text(indices: Sequence[int]) -> str:
    """Indices in the collection's words, such as GPU 2."""
    from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import gpus_text

    return str(gpus_text(indices))


def gpus(indices: Sequence[int]) -> str:
    """Indices in the collection's short form, such as 0-3,6."""
    from ansible_collections.sglang.fleet.plugins.module_utils._plan_diff import gpu_range

    return str(gpu_range(indices))
