# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet now: what each host runs, whether the gateways send it anything, and the rollout that is under way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sglang_fleet.planning import FleetError
from sglang_fleet.rollout_drive import Desk, not_stopped
from sglang_fleet.rollout_fleet import KNOWN, Found, Looks, look
from sglang_fleet.rollout_journal import is_alive, read_state, rollout_ids
from sglang_fleet.rollout_lock import asker
from sglang_fleet.rollout_report import result_of
from sglang_fleet.rollout_runner import left_behind


@dataclass
class HostNow:
    """A host. serving: instances that run, of those recorded. traffic: in, out, part, or - where no gateway knows it."""

    name: str
    status: str
    error: str = ""
    model: str = ""
    image: str = ""
    version: str = ""
    instances: int = 0
    serving: int = 0
    answering: int = 0
    passed: bool = True
    traffic: str = "-"
    why_out: str = ""
    in_flight: int | None = None


@dataclass
class Now:
    """lock: what the lock's node says, None where it could not be asked. rollouts: the last one of this controller first."""

    hosts: list[HostNow] = field(default_factory=list)
    gateways: dict[str, str] = field(default_factory=dict)
    lock: Mapping[str, Any] | None = None
    lock_error: str = ""
    rollout: dict[str, Any] | None = None

    def exit_code(self) -> int:
        bad = any(host.status != KNOWN for host in self.hosts) or bool(self.lock_error)
        return 1 if bad or any(self.gateways.values()) else 0

    def to_dict(self) -> dict[str, Any]:
        from dataclasses import asdict

        return {"schema": 1, **asdict(self), "lock": dict(self.lock) if self.lock else None}


def look_now(desk: Desk, limit: str | None) -> Now:
    """Asks nodes, gateways and the lock's node; changes nothing. Raises FleetError where no host can be told anything of."""
    with desk.signals(), desk.scratch() as passed:
        found = look(desk.files.inventory, f"{limit}:gateways" if limit else None, passed, "status.yml", desk.playbooks)
        not_stopped(desk)
        now = Now([_now(host, found) for host in found.nodes().values()])
        now.gateways = dict.fromkeys(found.gateways, "") | found.silent
        try:
            now.lock = asker(desk.files.inventory, passed)("look", {})
        except FleetError as error:
            now.lock_error = str(error)
    now.rollout = last_rollout(desk)
    return now


def last_rollout(desk: Desk) -> dict[str, Any] | None:
    """The last rollout that this controller knows of."""
    known = rollout_ids(desk.rollouts)
    if not known:
        return None
    folder = desk.rollouts / known[-1]
    told: dict[str, Any] = {"id": known[-1], "under_way": is_alive(folder), "playbook": left_behind(folder)}
    try:
        state = read_state(folder)
    except FleetError as error:
        return {**told, "result": str(error), "hosts": {}}
    counts = {at: len(state.names(at=at)) for at in ("new", "old", "unknown")}
    return {**told, "code": state.code, "result": result_of(state), "hosts": counts}


def _now(host: Found, found: Looks) -> HostNow:
    records = host.state.get("instances") or {}
    image = host.state.get("image") or {}
    now = HostNow(host.name, host.status, host.error, passed=host.passed)
    now.model, now.image = str(host.state.get("model") or ""), str(image.get("reference") or "")
    now.version = now.image.rsplit("/", 1)[-1].partition(":")[2]
    now.instances, now.serving = len(records), len(host.serving)
    now.answering = sum(bool((host.units.get(name) or {}).get("answers")) for name in records)
    workers = [worker for ours in found.gateways.values() for worker in ours if worker["host"] == host.name]
    if workers:
        states = {bool(worker["registered"] and worker["healthy"]) for worker in workers}
        now.traffic = "part" if len(states) > 1 else "in" if states == {True} else "out"
        now.why_out = next((str(worker["out"]) for worker in workers if worker["out"]), "")
        if now.traffic != "in" and not now.why_out:
            now.why_out = "a gateway does not find it healthy"
        now.in_flight = sum(int(worker["in_flight"]) for worker in workers)
    return now
