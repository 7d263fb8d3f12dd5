# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollout finds before it begins: each host's record, what would change there, and the capacity that this takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sglang_fleet.fleet import FAILED, REFUSED, UNREACHABLE, Listener, Passed, run_playbook
from sglang_fleet.planning import FleetError, refuses
from sglang_fleet.rollout_state import listed

if TYPE_CHECKING:
    from ansible_collections.sglang.fleet.plugins.module_utils._waves import Moment, Node

#: A host that was looked at.
KNOWN: Final = "known"
#: What systemd says of a unit that serves or is about to.
_RUNNING: Final = ("active", "activating", "reloading")
#: What a rollout would do with a host, where it would do nothing.
_SAME: Final = "none"


@dataclass
class Found:
    """A host. state: the record of what last passed its gates, {} where nothing has. change: of the filter ``plan_change``, None
    where nothing was planned. units: ``fleet_servers.instances``. passed: whether what runs is what has passed."""

    name: str
    status: str = FAILED
    state: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] | None = None
    change: dict[str, Any] | None = None
    units: dict[str, Any] = field(default_factory=dict)
    unplanned: list[str] = field(default_factory=list)
    passed: bool = True
    error: str = ""

    @property
    def changes(self) -> bool:
        return self.change is not None and self.change["action"] != _SAME

    @property
    def serving(self) -> list[str]:
        """The recorded instances that run."""
        return [
            name
            for name in self.state.get("instances") or {}
            if name in self.unplanned or (self.units.get(name) or {}).get("unit") in _RUNNING
        ]

    def node(self) -> Node:
        """The host as capacity that serves now."""
        from ansible_collections.sglang.fleet.plugins.module_utils import _rolling
        from ansible_collections.sglang.fleet.plugins.module_utils._waves import Node

        records = self.state.get("instances") or {}
        gpus = tuple(len(records[name]["plan"]["gpus"]) for name in self.serving)
        together = False
        if self.plan is not None and gpus:
            planned = self.plan["instances"]
            groups = _rolling.batches([str(item["name"]) for item in planned], planned, self.state)
            together = len(groups) == 1 and len(gpus) > 1
        return Node(self.name, gpus, self._kind(), together)

    def _kind(self) -> str:
        if self.plan is None:
            return ""
        return f"{self.plan['count']} x {self.plan['gpu']}"


class Looks(Listener[Found]):
    """What the runs of rollout_states.yml and status.yml say of each host, and status.yml of the gateways."""

    def __init__(self) -> None:
        super().__init__()
        self.gateways: dict[str, list[dict[str, Any]]] = {}
        self.silent: dict[str, str] = {}
        self._play = ""

    def __call__(self, event: Mapping[str, Any]) -> bool:
        self._play = str((event.get("event_data") or {}).get("play") or "")
        return super().__call__(event)

    def new(self, name: str) -> Found:
        return Found(name)

    def ok(self, host: Found, action: Any, result: Mapping[str, Any]) -> None:
        facts = result.get("ansible_facts") or {}
        if action == "sglang.fleet.gateway_worker":
            self.gateways[host.name] = list(result["workers"])
        if "fleet_plan" in facts:
            host.plan = facts["fleet_plan"]
        if "rollout_host" in facts:
            told = facts["rollout_host"]
            host.status, host.state, host.change = KNOWN, told["state"] or {}, told.get("plan_change")
            host.units, host.unplanned = told["units"] or {}, list(told["unplanned"])
            host.passed = bool(told.get("passed", True))

    def failed(self, host: Found, action: Any, result: Mapping[str, Any], message: str) -> None:
        if "gateways" in self._play:
            self.silent[host.name] = message
        elif action != "sglang.fleet.driver_plan":  # rescued: the driver is not a rollout's
            refused = action == "sglang.fleet.launch_plan" and refuses(result.get("rule"))
            host.status, host.error = REFUSED if refused else FAILED, message

    def unreachable(self, host: Found, message: str) -> None:
        if "gateways" in self._play:
            self.silent[host.name] = message
        else:
            host.status, host.error = UNREACHABLE, message

    def nodes(self) -> dict[str, Found]:
        """The GPU nodes, in the order of their names."""
        for host in self.hosts.values():
            if host.status == FAILED:
                host.error = host.error or "not looked at: the inventory has a problem at another host"
        others = {*self.gateways, *self.silent}
        return {name: host for name, host in sorted(self.hosts.items()) if name not in others or host.status == KNOWN}


def look(
    inventory: Path,
    limit: str | None,
    passed: Passed,
    playbook: str = "rollout_states.yml",
    playbooks: Path | None = None,
) -> Looks:
    """Looks at the fleet, changing nothing. Raises FleetError where no host can be told anything of."""
    found = Looks()
    run_playbook(str(playbooks / playbook) if playbooks else playbook, inventory, limit, found, None, passed)
    return found


@dataclass
class Preview:
    """What a rollout would do. waves: names of hosts; moments: what is out when. notes: what an operator should know."""

    hosts: dict[str, Found]
    nodes: list[Node] = field(default_factory=list)
    waves: list[list[str]] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def changing(self) -> list[str]:
        return [name for wave in self.waves for name in wave]

    def capacity(self) -> tuple[int, int]:
        """Servers and GPUs that serve now."""
        from ansible_collections.sglang.fleet.plugins.module_utils._waves import total

        found = total(self.nodes)
        return found.instances, found.gpus

    def to_dict(self) -> dict[str, Any]:
        """For programs: --dry-run --json."""
        instances, gpus = self.capacity()
        return {
            "schema": 1,
            "serving": {"instances": instances, "gpus": gpus},
            "waves": self.waves,
            "hosts": {
                name: {
                    "wave": next((number for number, wave in enumerate(self.waves, 1) if name in wave), None),
                    "action": (host.change or {}).get("action"),
                    "summary": (host.change or {}).get("summary"),
                    "restart": restarts(host.change),
                    "change": host.change,
                }
                for name, host in self.hosts.items()
            },
            "moments": [
                {"wave": one.wave, "batch": one.batch, "hosts": list(one.hosts), "out": one.out._asdict()}
                for one in self.moments
            ],
            "unreachable": self.unreachable,
            "notes": self.notes,
        }


def restarts(change: Mapping[str, Any] | None) -> bool:
    """Whether a server of the host starts anew for it."""
    actions = {one["action"] for one in ((change or {}).get("instances") or {}).values()}
    return bool(actions & {"restart", "start"})


def preview(
    hosts: Mapping[str, Found],
    waves: str,
    max_unavailable: str | None,
    canaries: Sequence[str] = (),
    *,
    chosen: Sequence[str] | None = None,
) -> Preview:
    """The waves of what is to change. chosen: these hosts change, in place of those whose plan differs. Raises FleetError where
    there is no such rollout."""
    from ansible_collections.sglang.fleet.plugins.module_utils import _waves

    _refuse(hosts)
    known = {name: host for name, host in hosts.items() if host.status == KNOWN}
    found = Preview(dict(hosts), unreachable=[name for name, host in hosts.items() if host.status == UNREACHABLE])
    if not known:
        raise FleetError(f"no host can be reached: {_first_errors(hosts.values())}")
    found.nodes = [host.node() for host in known.values()]
    changing = set(chosen) if chosen is not None else {name for name, host in known.items() if host.changes}
    ours = [node for node in found.nodes if node.name in changing]
    try:
        sizes = _waves.parse_waves(waves)
        if ours:
            size = None if max_unavailable is None else _waves.parse_size(max_unavailable, "--max-unavailable")
            allowed = _waves.allowance(found.nodes, size)
            planned = _waves.plan_waves(ours, sizes, canaries)
            found.waves = [[node.name for node in wave] for wave in planned]
            found.moments = _waves.moments(planned, allowed)
    except _waves.WaveError as error:
        raise FleetError(f"{error}. No host was touched") from error
    if found.unreachable:
        found.notes.append(
            f"{listed(found.unreachable)} cannot be reached: left out of the rollout, and kept out of traffic until one reaches them"
        )
    fresh = [name for name in found.changing if not known[name].state]
    if fresh:
        found.notes.append(
            f"{listed(fresh)}: nothing that has passed its gates is recorded there, so that there is nothing to go back to"
        )
    return found


def _refuse(hosts: Mapping[str, Found]) -> None:
    """A host without a plan, or with something in the way, would fail once its turn came: that is told before."""
    bad = [host for host in hosts.values() if host.status in (FAILED, REFUSED)]
    bad += [host for host in hosts.values() if host.status == KNOWN and (host.change or {}).get("problems")]
    if not bad:
        return
    others = ":".join(["all", *(f"!{host.name}" for host in bad)])
    raise FleetError(
        f"{_first_errors(bad)}. No host was touched. Put it right, or leave {'it' if len(bad) == 1 else 'them'} out: -l '{others}'"
    )


def _first_errors(hosts: Any, most: int = 8) -> str:
    found = list(hosts)
    said = [
        f"{host.name}: {host.error or '; '.join((host.change or {}).get('problems') or ['unknown'])}"
        for host in found[:most]
    ]
    more = f"; and {len(found) - most} more" if len(found) > most else ""
    return "; ".join(said) + more
