# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a fleet's nodes: runs the collection's ``doctor.yml`` and reads what it says of each host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sglang_fleet.fleet import FAILED, UNREACHABLE, Listener, run_playbook

_ACTION: Final = "sglang.fleet.doctor"
#: How a host came out; or unreachable or failed, as in ``fleet``: then nobody could look.
HEALTHY, FINDINGS = "healthy", "findings"


@dataclass
class Patient:
    """What is known of a host. findings: None as long as nobody has looked. seconds: how long the look took there."""

    name: str
    findings: list[dict[str, str]] | None = None
    error: str | None = None
    reached: bool = True
    seconds: float | None = None

    @property
    def status(self) -> str:
        if self.error is not None or self.findings is None:
            return FAILED if self.reached else UNREACHABLE
        return FINDINGS if self.findings else HEALTHY


@dataclass
class Ward:
    hosts: dict[str, Patient] = field(default_factory=dict)

    def exit_code(self) -> int:
        """0 where every host is healthy, 1 with findings, 2 where one could not be looked at."""
        statuses = {host.status for host in self.hosts.values()}
        return 2 if statuses & {FAILED, UNREACHABLE} else 1 if FINDINGS in statuses else 0

    def to_dict(self) -> dict[str, Any]:
        return {
            "hosts": {
                name: {
                    "status": host.status,
                    "findings": host.findings or [],
                    "error": host.error,
                    "seconds": host.seconds,
                }
                for name, host in sorted(self.hosts.items())
            }
        }


class Rounds(Listener[Patient]):
    """What the run of ``doctor.yml`` says of each host."""

    def new(self, name: str) -> Patient:
        return Patient(name)

    def ok(self, host: Patient, action: Any, result: Mapping[str, Any]) -> None:
        # The playbook judges twice, the second time with the plan: that one counts.
        if action == _ACTION and isinstance(result.get("findings"), Sequence):
            host.findings = list(result["findings"])
            host.seconds = (result.get("snapshot") or {}).get("seconds", host.seconds)

    def failed(self, host: Patient, action: Any, result: Mapping[str, Any], message: str) -> None:
        del result
        # A plan that is refused is rescued, and becomes a finding.
        if action != "sglang.fleet.launch_plan":
            host.error = message

    def unreachable(self, host: Patient, message: str) -> None:
        host.error, host.reached = message, False

    def finished(self) -> Ward:
        for host in self.hosts.values():
            if host.findings is None:
                host.error = host.error or "not examined: the inventory has a problem at another host"
        return Ward(self.hosts)


def examine_fleet(inventory: Path, limit: str | None = None) -> Ward:
    """Examines the hosts of the group ``gpu_nodes``, or those of them that ``limit`` names; changes nothing on them.

    Raises FleetError where no host can be told anything of.
    """
    rounds = Rounds()
    run_playbook("doctor.yml", inventory, limit, rounds)
    return rounds.finished()
