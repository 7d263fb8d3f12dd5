# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollout on a terminal: waves, the hosts that matter now, what is out, and how long it will take. Plain lines elsewhere.

Whoever is changing or has failed has a row; all others are counted, so that 2,000 hosts are no longer to look at than 20.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sglang_fleet.planning import FleetError
from sglang_fleet.rollout_lines import line_of, servers, stamped
from sglang_fleet.rollout_lock import age_text
from sglang_fleet.rollout_state import BACK, NEW, OLD, STAGES, HostState, Rollout

#: Frames a second: enough for an eye, and little work.
_FRAMES: Final = 4
#: Lines at the bottom with what happened last.
_NEWS: Final = 4
_WAVES: Final = 8
_STYLES: Final = {
    "failed": "bold red", "unreachable": "bold red", "held": "bold red", "rolling_back": "yellow", "rolled_back": "yellow",
    "done": "green", "gating": "magenta", "draining": "cyan",
}  # fmt: skip
#: Entries after which the time that is left is estimated anew.
_MILESTONES: Final = ("rollout", "outcome", "batch", "decision", "resumed", "wave_ended")
#: Entries that the live view's last lines leave out: the rows show them.
_SHOWN: Final = ("stage", "gate", "batch", "rollout")

Listener = Callable[[Mapping[str, Any]], None]


class Progress:
    """What a view of a rollout needs beside its state: transfers, what happened last, and how long it will take."""

    def __init__(self, state: Rollout, clock: Callable[[], float] = time.time) -> None:
        self.state, self.clock = state, clock
        self.transfers: dict[str, str] = {}
        self.news: list[str] = []
        self.batches_left = 0
        self._at = 0.0

    def take(self, entry: Mapping[str, Any]) -> None:
        kind = entry.get("entry")
        if kind == "progress":
            self.transfers[str(entry.get("host"))] = _transfer(entry)
            return
        if kind in ("stage", "outcome"):
            self.transfers.pop(str(entry.get("host")), None)
        if kind in _MILESTONES:
            self.batches_left = batches_left(self.state)
            self._at = float(entry.get("at") or 0)
        line = line_of(entry, self.state)
        if line and (kind not in _SHOWN or entry.get("passed") is False):
            self.news = [*self.news, stamped(entry, line)][-_NEWS:]

    def left(self) -> float | None:
        """Seconds that it will still take when all goes on as it did; None as long as nothing has come to an end."""
        took = [host.seconds for host in self.state.hosts.values() if host.seconds is not None]
        if not took or self.state.code is not None:
            return None
        mean = sum(took) / len(took)
        now = self.clock()
        begun = [host.begun_at for host in self.state.hosts.values() if host.active and host.begun_at is not None]
        spent = min(now - min(begun), mean) if begun else 0.0
        return max(self.batches_left * mean - spent, 0.0) + self.soak_left(now)

    def soak_left(self, now: float) -> float:
        state = self.state
        if not state.spec.get("soak_s") or 0 in state.soaked or state.aim == OLD or len(state.waves) < 2:
            return 0.0
        began = now if state.soak_began is None else state.soak_began
        return max(began + float(state.spec["soak_s"]) - now, 0.0)


def batches_left(state: Rollout) -> int:
    """How many groups of hosts are still to change one after the other; those that change now are one of them."""
    from ansible_collections.sglang.fleet.plugins.module_utils._waves import WaveError, moments

    if state.code is not None:
        return 0
    wanted = NEW if state.aim == NEW else OLD
    left = [
        [state.nodes[name] for name in names if state.hosts[name].at != wanted and not state.hosts[name].problem]
        for names in state.waves
    ]
    if wanted == OLD:
        left = [[node for wave in left for node in wave]]
    try:
        return len(moments([wave for wave in left if wave], state.allowed))
    except WaveError:
        return sum(map(len, left))


def _transfer(entry: Mapping[str, Any]) -> str:
    done, total, what = entry.get("done") or 0, entry.get("total"), entry.get("what") or "transfer"
    share = f" {100 * done / total:.0f}%" if total else ""
    left = entry.get("left_s")
    return f"{what}{share}" + (f", {age_text(float(left))} left" if left is not None else "")


def frame(progress: Progress, name: str, width: int, height: int) -> RenderableType:
    """The view now, in at most so many lines."""
    state = progress.state
    waves = _waves_table(state)
    room = max(height - min(len(state.waves), _WAVES) - len(progress.news) - 9, 3)
    return Group(
        _head(progress, name),
        waves,
        Text(""),
        _hosts_table(progress, room, width),
        Text(""),
        *[Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in progress.news],
    )


def _head(progress: Progress, name: str) -> Text:
    state = progress.state
    counts = Counter(host.at for host in state.hosts.values())
    active = [host for host in state.hosts.values() if host.active]
    failed = sum(host.problem is not None for host in state.hosts.values())
    flight = [count for host in active if (count := _in_flight(host)) is not None]
    instances, gpus = state.out()
    back = state.aim == OLD
    parts = [
        f"{counts[OLD] if back else counts[NEW]} of {len(state.hosts)} hosts are {'as before' if back else 'new'}",
        f"{len(active)} changing",
        f"{failed} failed" if failed else "",
        f"out: {servers(instances, gpus)} (at most {state.allowed})",
        f"{sum(flight)} requests in flight" if flight else "",
    ]
    left = progress.left()
    if left is not None:
        parts.append(f"about {age_text(left)} left")
    what = "rollback" if state.spec.get("direction") == BACK else "rolling back" if back else "rollout"
    style = "bold red" if failed else "bold"
    return Text.assemble((f"{what} {name}", style), "  ", " · ".join(part for part in parts if part))


def _waves_table(state: Rollout) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    now = state.wave()
    first = max(min((now or 0) - _WAVES // 2, len(state.waves) - _WAVES), 0)
    for number, names in list(enumerate(state.waves))[first : first + _WAVES]:
        members = [state.hosts[name] for name in names]
        new = sum(host.at == NEW for host in members)
        mark, style = "·", "dim"
        if number in state.passed:
            mark, style = "✓", "green"
        elif number == now and number in state.begun:
            mark, style = "▶", "bold"
        bar = "█" * round(20 * new / len(members)) if members else ""
        soak = "  soaking" if number == 0 and state.soak_began is not None else ""
        table.add_row(
            Text(f"{mark} wave {number + 1}", style=style), f"{new}/{len(members)}", Text(bar.ljust(20) + soak)
        )
    return table


def _chosen(state: Rollout, room: int) -> tuple[list[HostState], int]:
    """Whom the rows show, and of how many: what has failed is never hidden behind what goes well."""
    failed = [host for host in state.hosts.values() if host.problem and not host.active]
    active = [host for host in state.hosts.values() if host.active]
    kept = failed[-max(room - len(active), room // 2) :]
    return [*kept, *active][:room], len(failed) + len(active)


def _in_flight(host: HostState) -> int | None:
    """Requests that the host has; what was told before its servers stopped says nothing later."""
    return host.running if host.active and host.stage in ("out", "draining") else None


def _hosts_table(progress: Progress, room: int, width: int) -> RenderableType:
    state = progress.state
    shown, count = _chosen(state, room)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
    for title in ("host", "stage", "", "requests", "gates", "for"):
        table.add_column(title, no_wrap=True)
    table.add_column("", no_wrap=True, overflow="ellipsis", max_width=max(width - 78, 20))
    now = progress.clock()
    for host in shown:
        table.add_row(*_row(progress, host, now))
    rest = Counter(host.stage for host in state.hosts.values() if not (host.active or host.problem))
    others = [f"{number} {stage.replace('_', ' ')}" for stage, number in rest.items()]
    if count > len(shown):
        others.insert(0, f"{count - len(shown)} more that change or have failed")
    return Group(table, Text("and " + ", ".join(others), style="dim") if others else Text(""))


def _row(progress: Progress, host: HostState, now: float) -> list[RenderableType]:
    stage = host.stage if host.active or host.problem is None else (host.stage or host.problem)
    passed = sum(bool(gate.get("passed")) for gate in host.gates.values())
    failed = [gate["gate"] for gate in host.gates.values() if not gate.get("passed")]
    gates = Text(f"{passed} ✓" if passed else "")
    if failed:
        gates.append(f" {len(failed)} ✗ {failed[-1]}", style="bold red")
    steps = STAGES.index(stage) + 1 if stage in STAGES else 0
    bar = ("━" * steps).ljust(len(STAGES), "┄") if host.active and steps else ""
    instances = ", ".join(f"{name} {word}" for name, word in host.stages.items()) if len(host.stages) > 1 else ""
    detail = progress.transfers.get(host.name) or host.error or host.detail or instances
    seconds = now - host.begun_at if host.active and host.begun_at is not None else host.seconds
    out = " (out of traffic)" if host.kept_out else ""
    return [
        host.name,
        Text(stage.replace("_", " ") + out, style=_STYLES.get(stage, "")),
        Text(bar, style="cyan"),
        "" if _in_flight(host) is None else str(_in_flight(host)),
        gates,
        "" if seconds is None else age_text(seconds),
        Text(" ".join(detail.split()), style="red" if host.problem else "dim"),
    ]


@contextmanager
def watching(state: Rollout, folder: Path, console: Console) -> Iterator[Listener]:
    """A listener that shows a rollout for as long as the context is open."""
    if not console.is_terminal:
        yield lambda entry: _print_line(console, entry, state)
        return
    progress = Progress(state)
    if state.spec:
        progress.batches_left = batches_left(state)
    view = _View(progress, folder.name, console)
    with Live(console=console, get_renderable=view.render, refresh_per_second=_FRAMES, transient=True):
        yield progress.take
    console.print(view.render())


class _View:
    def __init__(self, progress: Progress, name: str, console: Console) -> None:
        self._progress, self._name, self._console = progress, name, console

    def render(self) -> RenderableType:
        try:
            return frame(self._progress, self._name, self._console.width, self._console.height)
        except (RuntimeError, KeyError, FleetError):  # the state has moved on under it: the next frame is a moment away
            return Text(f"rollout {self._name}")


def _print_line(console: Console, entry: Mapping[str, Any], state: Rollout) -> None:
    line = line_of(entry, state)
    if line:
        console.print(Text(stamped(entry, line)), soft_wrap=True)
