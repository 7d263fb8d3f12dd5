# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet that rollouts' tests can do anything with: what the playbooks would do, as far as a controller can tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils._waves import (
    Node,
    allowance,
    parse_size,
    parse_waves,
    plan_waves,
)
from sglang_fleet.planning import FleetError
from sglang_fleet.rollout import Engine, Interrupted, Job, Outcome
from sglang_fleet.rollout_journal import SCHEMA, Journal
from sglang_fleet.rollout_state import STAGES, Rollout


class Killed(BaseException):
    """The controller is gone: nothing may catch this."""


@dataclass(frozen=True)
class Fate:
    """What happens to a host that is to change: at stage `at`, `how` = ok, fails, unreachable, untouched, undone (fails, and
    the playbook takes it back itself)."""

    how: str = "ok"
    at: str = "gating"


OK = Fate()


@dataclass
class Fleet:
    """The hosts as they are. version: what runs; serving: whether the gateways send it anything."""

    nodes: Sequence[Node]
    forward: Mapping[str, Fate] = field(default_factory=dict)
    back: Mapping[str, Fate] = field(default_factory=dict)
    soak: Mapping[str, Fate] = field(default_factory=dict)
    version: dict[str, str] = field(default_factory=dict)
    serving: dict[str, bool] = field(default_factory=dict)
    starts: dict[str, int] = field(default_factory=dict)
    jobs: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    worst_gpus: int = 0
    worst_instances: int = 0
    events: int = 0

    def __post_init__(self) -> None:
        for node in self.nodes:
            self.version.setdefault(node.name, "old")
            self.serving.setdefault(node.name, True)
            self.starts.setdefault(node.name, 0)

    def change(self, job: Job, hear: Callable[[Mapping[str, Any]], None]) -> dict[str, Outcome]:
        """All hosts go from stage to stage together, which is when most of them are out."""
        self.jobs.append((job.direction, job.hosts))
        fates = {name: (self.forward if job.direction == "forward" else self.back).get(name, OK) for name in job.hosts}
        found: dict[str, Outcome] = {}
        for stage in STAGES:
            for name in job.hosts:
                fate = fates[name]
                if name in found:
                    continue
                if fate.how == "untouched":
                    found[name] = Outcome("untouched", "", touched=False)
                elif fate.how == "unreachable" and stage == fate.at:
                    found[name] = Outcome("unreachable", "timed out")
                else:
                    self._stage(name, stage, job, hear)
                    if fate.how in ("fails", "undone") and stage == fate.at:
                        found[name] = self._fails(name, fate, hear)
            self._measure()
        for name in job.hosts:
            if name not in found:
                hear({"event": "stage", "host": name, "stage": "done", "detail": "", "at": "t"})
                found[name] = Outcome("done")
        return found

    def _stage(self, name: str, stage: str, job: Job, hear: Callable[[Mapping[str, Any]], None]) -> None:
        wanted = "new" if job.direction == "forward" else "old"
        if stage == "out":
            self.serving[name] = False
        elif stage == "applying" and self.version[name] != wanted:
            self.version[name] = wanted
            self.starts[name] += 1
        elif stage == "in":
            self.serving[name] = True
        self.events += 1
        hear({"event": "stage", "host": name, "stage": stage, "instance": "0", "detail": "", "running": 3, "at": "t"})

    def _fails(self, name: str, fate: Fate, hear: Callable[[Mapping[str, Any]], None]) -> Outcome:
        hear({"event": "stage", "host": name, "stage": "failed", "detail": f"{fate.at} went wrong"})
        if fate.how == "fails":
            return Outcome("failed", f"{fate.at} went wrong")
        hear({"event": "stage", "host": name, "stage": "rolling_back", "detail": ""})
        self.version[name], self.serving[name] = "old", True
        hear({"event": "stage", "host": name, "stage": "rolled_back", "detail": ""})
        return Outcome("rolled_back", f"{fate.at} went wrong")

    def _measure(self) -> None:
        out = [node for node in self.nodes if not self.serving[node.name]]
        self.worst_gpus = max(self.worst_gpus, sum(node.most.gpus for node in out))
        self.worst_instances = max(self.worst_instances, sum(node.most.instances for node in out))

    def keep_out(self, job: Job) -> dict[str, str]:
        for name in job.hosts:
            self.serving[name] = False
        return {}

    def check(self, job: Job, hear: Callable[[Mapping[str, Any]], None]) -> dict[str, Outcome]:
        self.jobs.append(("check", job.hosts))
        for name in job.hosts:
            hear(
                {
                    "event": "gate",
                    "host": name,
                    "gate": "chat",
                    "passed": self.soak.get(name, OK).how == "ok",
                    "evidence": "e",
                }
            )
        return {
            name: Outcome("done") if self.soak.get(name, OK).how == "ok" else Outcome("failed", "chat: no answer")
            for name in job.hosts
        }


class Broken(Fleet):
    """No playbook can be run at all."""

    def change(self, _job: Job, _hear: Callable[[Mapping[str, Any]], None]) -> dict[str, Outcome]:
        raise FleetError("there is no inventory x")


def spec(nodes: Sequence[Node], **wanted: Any) -> dict[str, Any]:
    """The first entry of a journal."""
    text = wanted.pop("waves", "1, 50%, 100%")
    size = wanted.get("max_unavailable", "50%")
    allowance(nodes, parse_size(size, "--max-unavailable") if size else None)
    return {
        "schema": SCHEMA,
        "id": "20260101-000000-0000",
        "nodes": [{"name": n.name, "gpus": list(n.gpus), "kind": n.kind, "together": n.together} for n in nodes],
        "waves": [[node.name for node in wave] for wave in plan_waves(nodes, parse_waves(text))],
        "max_unavailable": size,
        "success": 100,
        "soak_s": 0,
        "on_failure": "rollback",
        "direction": "forward",
        "why": "",
        "unreachable": [],
        **wanted,
    }


def nodes(count: int, *gpus: int) -> list[Node]:
    return [Node(f"n{number:02d}", gpus or (8,)) for number in range(1, count + 1)]


class Clock:
    """A second more each time somebody looks."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        self.now += 1
        return self.now

    def wait(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Mortal:
    """A journal's `add` that dies with the controller: after so many entries, or before the one after them is written."""

    def __init__(self, journal: Journal, lives: int, *, written: bool = True) -> None:
        self._add, self._left, self._written = journal.add, lives, written
        journal.add = self.add  # type: ignore[method-assign]

    def add(self, kind: str, **values: Any) -> dict[str, Any]:
        if self._left <= 0 and not self._written:
            raise Killed
        entry = self._add(kind, **values)
        self._left -= 1
        if self._left <= 0 and self._written:
            raise Killed
        return entry


def engine(journal: Journal, fleet: Fleet, clock: Clock | None = None, **more: Any) -> Engine:
    return Engine(journal, fleet, wait=(clock or Clock()).wait, **more)


def rolled(folder: Path, fleet: Fleet, clock: Clock | None = None, **wanted: Any) -> tuple[int, Rollout]:
    """The exit status and the state of a rollout that nobody disturbs."""
    clock = clock or Clock()
    journal = Journal.begin(folder, clock)
    journal.add("rollout", **spec(fleet.nodes, **wanted))
    code = engine(journal, fleet, clock).run()
    journal.close()
    return code, journal.state


def resumed(folder: Path, fleet: Fleet, clock: Clock | None = None) -> tuple[int, Rollout]:
    clock = clock or Clock()
    journal = Journal.reopen(folder, clock)
    journal.add("resumed", by="ada@one", pid=1)
    code = engine(journal, fleet, clock).run()
    journal.close()
    return code, journal.state


def stop_at(step: int) -> Callable[[], None]:
    """A guard that lets so many steps pass."""
    left = [step]

    def guard() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Interrupted("the operator stopped it")

    return guard
