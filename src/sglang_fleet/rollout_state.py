# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollout as its journal tells it, and what is to be done next. Pure: entries in, one step out.

All that a rollout knows is in the entries of its journal, so that one that was killed goes on as if it had not been. An
entry is a mapping with ``entry``, its kind, and ``at``, seconds since the epoch by the controller's clock; the kinds are the
methods of ``Rollout`` that begin with ``_on_``.

A host is ``old``, ``new``, or ``unknown`` while it changes. A problem is one of this attempt: whoever resumes tries again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ansible_collections.sglang.fleet.plugins.module_utils._waves import Allowance, Capacity, Node

OLD, NEW, UNKNOWN = "old", "new", "unknown"
FORWARD, BACK = "forward", "back"
FAILED, UNREACHABLE = "failed", "unreachable"
ROLLBACK, HOLD = "rollback", "hold"

#: The stages of a host that changes, in their order, before the last one.
STAGES: Final = ("out", "draining", "stopping", "freeing", "applying", "starting", "gating", "in")
WAITING, DONE, ROLLING_BACK, ROLLED_BACK, HELD = "waiting", "done", "rolling_back", "rolled_back", "held"

#: Exit statuses of a rollout.
ALL_NEW, WRONG, ALL_BACK, MIXED, LEFT_OUT = 0, 1, 2, 3, 4


@dataclass
class HostState:
    """A host. wave: its wave's index, from 0. stages: of each instance that is changing, "" for the host as a whole.
    tried: in this attempt it was tried to take it back. kept_out: it is out of traffic for good. came_from: what it was when
    its change began. fell: it was well, and could not be taken back."""

    name: str
    wave: int
    at: str = OLD
    stage: str = WAITING
    stages: dict[str, str] = field(default_factory=dict)
    detail: str = ""
    running: int | None = None
    problem: str | None = None
    tried: bool = False
    kept_out: bool = False
    came_from: str = OLD
    fell: bool = False
    error: str = ""
    gates: dict[str, dict[str, Any]] = field(default_factory=dict)
    direction: str = FORWARD
    active: bool = False
    begun_at: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Step:
    """What is to be done next.

    kind: begin_wave, run (hosts, direction), keep_out (hosts), soak (hosts), end_wave, decide, end.
    """

    kind: str
    hosts: tuple[str, ...] = ()
    direction: str = FORWARD
    why: str = ""
    wave: int = 0
    code: int | None = None


class Rollout:
    """The state after some entries. Each takes the same time, however many hosts there are; ``next_step`` looks at all."""

    def __init__(self) -> None:
        self.spec: dict[str, Any] = {}
        self.hosts: dict[str, HostState] = {}
        self.nodes: dict[str, Node] = {}
        self.waves: list[list[str]] = []
        self.begun: set[int] = set()
        self.passed: set[int] = set()
        self.soaked: set[int] = set()
        self.soak_began: float | None = None
        self.aim = NEW
        self.decided: str | None = None
        self.why = ""
        self.code: int | None = None
        self.interrupted = ""
        self.notes: list[str] = []
        self.attempts = 1
        self.holder: dict[str, Any] | None = None
        self.last_at: float | None = None
        self._allowed: Allowance | None = None

    # --- Entries ---------------------------------------------------------------------------------------------------

    def apply(self, entry: Mapping[str, Any]) -> None:
        """Take an entry of the journal. One of a later version's kind says nothing."""
        self.last_at = entry.get("at", self.last_at)
        take = getattr(self, f"_on_{entry.get('entry')}", None)
        if take is not None:
            take(entry)

    def _on_rollout(self, entry: Mapping[str, Any]) -> None:
        """What is asked for: id, nodes [{"name", "gpus", "kind", "together"}], waves [[names]], unreachable [names],
        max_unavailable, success (percent of a wave's hosts), soak_s, on_failure, direction (back: of a rollback), why; settings,
        variables for the playbooks; by, pid."""
        from ansible_collections.sglang.fleet.plugins.module_utils._waves import Node

        self.spec = dict(entry)
        self._held_by(entry)
        for node in entry["nodes"]:
            self.nodes[node["name"]] = Node(node["name"], tuple(node["gpus"]), node["kind"], node["together"])
        self.waves = [list(names) for names in entry["waves"]]
        for number, names in enumerate(self.waves):
            for name in names:
                self.hosts[name] = HostState(name, number)
        if entry["direction"] == BACK:
            self.aim, self.why = OLD, str(entry["why"])
            for host in self.hosts.values():
                host.at = host.came_from = NEW

    def _on_wave_begun(self, entry: Mapping[str, Any]) -> None:
        self.begun.add(int(entry["wave"]))

    def _on_batch(self, entry: Mapping[str, Any]) -> None:
        """hosts, direction: their change begins."""
        for name in entry["hosts"]:
            host = self.hosts[name]
            host.direction, host.active, host.begun_at = entry["direction"], True, entry["at"]
            host.stages, host.running = {}, None
            if host.at != UNKNOWN:
                host.came_from = host.at
            if host.direction == BACK:
                host.stage = ROLLING_BACK
            else:
                host.gates = {}

    def _on_stage(self, entry: Mapping[str, Any]) -> None:
        """host, instance, stage, detail: as the playbook tells it."""
        host = self.hosts.get(str(entry.get("host")))
        if host is None:
            return
        stage, instance = str(entry.get("stage")), str(entry.get("instance") or "")
        host.detail = str(entry.get("detail") or "")
        host.running = _running(entry)
        if instance:
            host.stages[instance] = stage
        # What is said of one of several servers is not yet so of the host.
        if not instance or stage not in (DONE, ROLLED_BACK):
            host.stage = stage
        if stage in STAGES or stage in (ROLLING_BACK, HELD, UNREACHABLE):
            host.at = UNKNOWN
        if stage in (FAILED, UNREACHABLE):
            host.problem, host.error = stage, host.detail or host.error
        if not instance and stage in (DONE, ROLLED_BACK):
            self._settle(host, OLD if stage == ROLLED_BACK or host.direction == BACK else NEW, entry)

    def _on_gate(self, entry: Mapping[str, Any]) -> None:
        """host, instance, gate, passed, evidence, seconds, budget_seconds: a gate's result."""
        host = self.hosts.get(str(entry.get("host")))
        if host is not None:
            key = f"{entry.get('instance') or ''}/{entry['gate']}"
            host.gates[key] = {name: value for name, value in entry.items() if name not in ("entry", "at", "host")}

    def _on_outcome(self, entry: Mapping[str, Any]) -> None:
        """host, status (done, rolled_back, failed, unreachable, untouched), error: how its change ended."""
        host, status = self.hosts[entry["host"]], entry["status"]
        back = host.direction == BACK
        host.active = False
        if entry.get("error"):
            host.error = str(entry["error"])
        if status == DONE:
            self._settle(host, OLD if back else NEW, entry)
        elif status == ROLLED_BACK:
            self._settle(host, OLD, entry)
        elif status in (FAILED, UNREACHABLE):
            host.problem, host.stage = status, status
            host.tried = host.tried or back
            host.fell = host.fell or (back and host.came_from == NEW)
            if entry.get("touched") or status == UNREACHABLE:
                host.at = UNKNOWN
        # untouched: the run ended before its turn, which comes again

    def _settle(self, host: HostState, at: str, entry: Mapping[str, Any]) -> None:
        if host.begun_at is not None and host.active:
            host.seconds = float(entry["at"]) - host.begun_at
        host.at, host.active, host.running, host.kept_out = at, False, None, False
        if at == NEW:
            host.stage, host.problem, host.tried, host.error = DONE, None, False, ""
        else:
            host.stage = ROLLED_BACK
            if host.problem is not None or host.direction == FORWARD:
                # It is well again, and still one that the new version has failed on.
                host.problem, host.tried = FAILED, True

    def _on_kept_out(self, entry: Mapping[str, Any]) -> None:
        """host, error: it was taken out of traffic, or could not be."""
        host = self.hosts[entry["host"]]
        host.kept_out = True
        if entry.get("error"):
            self.notes.append(f"{host.name} could not be taken out of traffic: {entry['error']}")

    def _on_soak_begun(self, entry: Mapping[str, Any]) -> None:
        self.soak_began = float(entry["at"])

    def _on_soaked(self, entry: Mapping[str, Any]) -> None:
        self.soaked.add(int(entry["wave"]))
        self.soak_began = None

    def _on_wave_ended(self, entry: Mapping[str, Any]) -> None:
        self.passed.add(int(entry["wave"]))

    def _on_decision(self, entry: Mapping[str, Any]) -> None:
        """what: rollback or hold, why."""
        self.decided, self.why = entry["what"], entry["why"]
        if self.decided == ROLLBACK:
            self.aim = OLD

    def _on_note(self, entry: Mapping[str, Any]) -> None:
        self.notes.append(str(entry["text"]))

    def _on_interrupted(self, entry: Mapping[str, Any]) -> None:
        self.interrupted = str(entry["why"])
        self._nobody_works()

    def _on_ended(self, entry: Mapping[str, Any]) -> None:
        self.code = int(entry["code"])

    def _held_by(self, entry: Mapping[str, Any]) -> None:
        """by, pid: who is at it, as its lock says."""
        if entry.get("by") and entry.get("pid"):
            self.holder = {"holder": entry["by"], "pid": entry["pid"]}

    def _on_resumed(self, entry: Mapping[str, Any]) -> None:
        """Somebody goes on with it. What has failed is tried again where the rollout had come to an end."""
        self.attempts, self.interrupted = self.attempts + 1, ""
        self._held_by(entry)
        self._nobody_works()
        if self.code is None:
            return
        self.code, self.decided = None, None
        for host in self.hosts.values():
            host.problem, host.tried, host.kept_out, host.error, host.fell = None, False, False, "", False
        self.passed = {
            number for number in self.passed if all(self.hosts[name].at == NEW for name in self.waves[number])
        }

    def _nobody_works(self) -> None:
        """Whoever was changing may be further than the journal knows."""
        for host in self.hosts.values():
            if host.active:
                host.active, host.at = False, UNKNOWN

    # --- What follows from them ------------------------------------------------------------------------------------

    @property
    def allowed(self) -> Allowance:
        if self._allowed is None:
            from ansible_collections.sglang.fleet.plugins.module_utils import _waves

            text = self.spec["max_unavailable"]
            size = None if text is None else _waves.parse_size(text, "--max-unavailable")
            self._allowed = _waves.allowance(list(self.nodes.values()), size)
        return self._allowed

    def lost(self) -> Capacity:
        """What is out for good: hosts that could not be taken back, and those that nobody reaches."""
        from ansible_collections.sglang.fleet.plugins.module_utils._waves import total

        return total(self.nodes[host.name] for host in self.hosts.values() if _is_lost(host))

    def out(self) -> Capacity:
        """What is out now at most."""
        found = self.lost()
        for host in self.hosts.values():
            if host.active and not _is_lost(host):
                found = found.plus(self.nodes[host.name].most)
        return found

    def wave(self) -> int | None:
        """The index of the wave that is under way or next; None when all have passed."""
        return next((number for number in range(len(self.waves)) if number not in self.passed), None)

    def names(self, *, at: str | None = None, problem: str | None = None) -> list[str]:
        return [
            host.name
            for host in self.hosts.values()
            if (at is None or host.at == at) and (problem is None or host.problem == problem)
        ]


def _is_lost(host: HostState) -> bool:
    return host.at == UNKNOWN and host.problem is not None and host.tried


def _running(entry: Mapping[str, Any]) -> int | None:
    """Requests in flight, which an event may tell."""
    found = entry.get("running")
    return int(found) if isinstance(found, (int, float)) and not isinstance(found, bool) else None


def next_step(state: Rollout) -> Step:
    """What is to be done now; the same state has the same answer."""
    if state.code is not None:
        return Step("end", code=state.code)
    hosts = state.hosts.values()
    # Before anything else: whoever has failed goes back, and who cannot stays out of traffic.
    lame = [host.name for host in hosts if host.at == UNKNOWN and host.problem and not host.tried]
    if lame:
        return Step("run", tuple(lame), BACK, "back at once")
    stray = [host.name for host in hosts if not host.kept_out and _is_lost(host)]
    if stray:
        return Step("keep_out", tuple(stray))
    if state.decided == HOLD:
        return Step("end", code=exit_code(state))
    return _backward(state) if state.aim == OLD else _forward(state)


def _backward(state: Rollout) -> Step:
    # The newest first, as they came: what was changed last is known least.
    hosts = state.hosts.values()
    left = [host for host in reversed(hosts) if host.at != OLD and not (host.problem and host.tried)]
    if not left:
        return Step("end", code=exit_code(state))
    # Whoever is out already costs nothing.
    begun = [host.name for host in left if host.at == UNKNOWN]
    batch = begun or _room(state, [host.name for host in left])
    if not batch and not any(host.fell for host in hosts):
        batch = [left[0].name]  # what the new version took does not stop the way back
    if not batch:
        # The old one does not come back either: those that serve are left alone.
        return Step("end", code=exit_code(state))
    return Step("run", tuple(batch), BACK, state.why)


def _forward(state: Rollout) -> Step:
    number = state.wave()
    if number is None:
        return Step("end", code=exit_code(state))
    if number not in state.begun:
        return Step("begin_wave", tuple(state.waves[number]), wave=number)
    members = [state.hosts[name] for name in state.waves[number]]
    pending = [host for host in members if host.at != NEW and not host.problem]
    # Those that an interruption left half-way are out already: whatever is decided next, they come to an end first.
    begun = [host.name for host in pending if host.at == UNKNOWN]
    if begun:
        return Step("run", tuple(begun), FORWARD, wave=number)
    well = sum(host.at == NEW for host in members)
    needed = math.ceil(len(members) * state.spec["success"] / 100)
    if well + len(pending) < needed:
        return Step("decide", why=_shortfall(number, members, needed), wave=number)
    if pending:
        batch = _room(state, [host.name for host in pending])
        if not batch:
            why = f"no room for another host: {state.lost().gpus} GPUs are lost, --max-unavailable is {state.allowed}"
            return Step("decide", why=why, wave=number)
        return Step("run", tuple(batch), FORWARD, wave=number)
    if _soaks(state, number):
        return Step("soak", tuple(host.name for host in members if host.at == NEW), wave=number)
    return Step("end_wave", tuple(host.name for host in members), wave=number)


def _soaks(state: Rollout, number: int) -> bool:
    """The canaries' wave only, and where others come after it."""
    return number == 0 and bool(state.spec["soak_s"]) and number not in state.soaked and len(state.waves) > 1


def _room(state: Rollout, names: Sequence[str]) -> list[str]:
    from ansible_collections.sglang.fleet.plugins.module_utils._waves import next_batch

    return [node.name for node in next_batch([state.nodes[name] for name in names], state.allowed, state.lost())]


def _shortfall(number: int, members: Sequence[HostState], needed: int) -> str:
    bad = [host for host in members if host.problem]
    first = f" {bad[0].name}: {bad[0].error or bad[0].problem}" if bad else ""
    names = listed([host.name for host in bad])
    return f"wave {number + 1}: {names} failed, and {needed} of {len(members)} hosts must be well.{first}"


def listed(names: Iterable[str], most: int = 8) -> str:
    """Names for a sentence, a long list cut short."""
    found = list(names)
    return ", ".join(found[:most]) + (f" and {len(found) - most} more" if len(found) > most else "")


def exit_code(state: Rollout) -> int:
    """0 all new (of a rollback: all back), 2 all as before, 3 some are not, 4 some could not be reached."""
    at = {host.at for host in state.hosts.values()}
    if state.names(problem=UNREACHABLE) or state.spec.get("unreachable"):
        return LEFT_OUT
    if at <= {OLD if state.spec["direction"] == BACK else NEW}:
        return ALL_NEW
    return ALL_BACK if at == {OLD} else MIXED
