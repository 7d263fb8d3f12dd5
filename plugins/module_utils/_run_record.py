# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of a playbook as a record: what each host came to, from what its tasks have left. Pure.

The record has the shape of src/sglang_fleet/run.schema.json. Of the facts only what is named here goes into it: facts and
variables hold secrets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SCHEMA = 1
PASSED, FAILED, UNREACHABLE, NOT_RUN = "passed", "failed", "unreachable", "not run"
#: the facts that a record is made of
FACTS = (
    "fleet_plan",
    "smoke_test_results",
    "fleet_benchmarks",
    "performance_gate_result",
    "fleet_accuracy",
    "accuracy_gate_result",
)
#: a task's result has these besides its facts: what had been measured before it failed
_RECORDS = "records"
#: characters of a task's message that are kept
MESSAGE_LENGTH = 2000

_PLAN = ("model", "model_path", "gpu", "count", "vendor", "memory_mib", "profile", "layout", "reasons")
_IMAGE = ("name", "reference", "digest", "sglang_version", "user_space")
_INSTANCE = ("name", "gpus", "address", "port", "tp", "ep", "command_line", "fit")
_WARNING = ("id", "severity", "message", "url")
_GATE = ("gate", "passed", "skipped", "evidence", "seconds", "budget_seconds")
#: what either kind of record has; `metrics` and `settings` are figures and words that the tool was given
_RECORD = (
    *(
        "schema",
        "kind",
        "profile",
        "benchmark",
        "tool",
        "settings",
        "metrics",
        "questions",
        "host",
        "instance",
        "model",
    ),
    *("gpu", "count", "tp", "ep", "image", "driver", "corpus", "dataset", "taken_at", "comparison"),
)


@dataclass
class Host:
    """What is known of one host: its facts of FACTS, and (task, message) of each task that failed."""

    name: str
    facts: dict[str, Any] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)
    ran: bool = False

    def take(self, result: Mapping[str, Any]) -> None:
        """Keep what a task's result says."""
        self.ran = True
        facts = result.get("ansible_facts")
        if isinstance(facts, Mapping):
            self.facts.update({name: facts[name] for name in FACTS if name in facts})

    def fail(self, task: str, result: Mapping[str, Any]) -> None:
        """Keep why a task failed, and the measurements that it made before."""
        self.take(result)
        self.failures.append((task, str(result.get("msg") or "it failed without a message").strip()[:MESSAGE_LENGTH]))
        records = result.get(_RECORDS)
        if isinstance(records, list) and all(isinstance(record, Mapping) and "kind" in record for record in records):
            for kind, fact in (("speed", "fleet_benchmarks"), ("accuracy", "fleet_accuracy")):
                if found := [record for record in records if record["kind"] == kind]:
                    self.facts[fact] = found


def _only(data: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: data[name] for name in names if name in data}


def plan_of(plan: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The plan without what the servers are given: environment, options of the container, the lock."""
    if not plan:
        return None
    return {
        **_only(plan, _PLAN),
        "image": _only(plan["image"], _IMAGE),
        "driver": _only(plan.get("driver") or {}, ("name", "minimum")),
        "instances": [_only(instance, _INSTANCE) for instance in plan["instances"]],
        "warnings": [_only(warning, _WARNING) for warning in plan.get("warnings") or ()],
    }


def gates_of(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each gate that was run: on behaviour, by its instance, then on speed and on accuracy."""
    found = [
        {**_only(gate, _GATE), "instance": str(instance)}
        for instance, gates in (facts.get("smoke_test_results") or {}).items()
        for gate in gates
    ]
    for fact in ("performance_gate_result", "accuracy_gate_result"):
        found += [_only(gate, _GATE) for gate in (facts.get(fact) or {}).get("gates") or ()]
    return found


def records_of(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each measurement, with its comparison where one was made."""
    found: list[dict[str, Any]] = []
    for judged, measured in (
        ("performance_gate_result", "fleet_benchmarks"),
        ("accuracy_gate_result", "fleet_accuracy"),
    ):
        records = (facts.get(judged) or {}).get("benchmarks") or facts.get(measured) or ()
        found += [{"comparison": None, **_only(record, _RECORD)} for record in records]
    return found


def host_entry(host: Host, failed: bool, unreachable: bool) -> dict[str, Any]:
    """A host of the record. failed, unreachable: as the play's recap counts them; a task that was rescued is no failure."""
    gates = gates_of(host.facts)
    if unreachable:
        status = UNREACHABLE
    elif failed or not all(gate["passed"] for gate in gates):
        status = FAILED
    else:
        status = PASSED if host.ran else NOT_RUN
    told = status in (FAILED, UNREACHABLE)
    return {
        "host": host.name,
        "status": status,
        # The last: a block's rescue may have dealt with those before it.
        "errors": [f"{task}: {message}" for task, message in host.failures[-1:]] if told else [],
        "plan": plan_of(host.facts.get("fleet_plan")),
        "gates": gates,
        "benchmarks": records_of(host.facts),
        "changed_since": [],
    }


def run_id(started: str, playbook: str) -> str:
    """20261122T195012Z-benchmark: such names sort by time. started: as 2026-11-22T19:50:12+00:00 or with Z."""
    return f"{re.sub(r'[-:]', '', started.replace('+00:00', 'Z'))}-{stem(playbook)}"


def stem(playbook: str) -> str:
    """The playbook's name as a file's name."""
    return re.sub(r"[^A-Za-z0-9_.]+", "_", re.sub(r"\.ya?ml$", "", playbook)) or "playbook"


def last_of(playbook: str, names: Iterable[str]) -> str | None:
    """The run_id of the newest file (RUN_ID.json) among names that is a run of this playbook; None where there is none."""
    wanted = re.compile(r"(\d{8}T\d{6}Z-" + re.escape(stem(playbook)) + r"(?:-\d+)?)\.json")
    return max((match[1] for match in map(wanted.fullmatch, names) if match), key=_order, default=None)


def _order(name: str) -> tuple[str, int]:
    """By time, and then by the number that tells runs of one second apart."""
    again = re.search(r"-(\d+)$", name)
    return name[:16], int(again[1]) if again else 1


def run_document(
    name: str, times: tuple[str, str], playbook: str, hosts: Sequence[Mapping[str, Any]], previous: str | None
) -> dict[str, Any]:
    """The whole record. times: start and end, ISO 8601, UTC. previous: the run_id of the last run, where there is one."""
    counted = [host["status"] for host in hosts]
    return {
        "schema": SCHEMA,
        "run_id": name,
        "started_at": times[0],
        "ended_at": times[1],
        "playbook": playbook,
        "previous": previous,
        "fleet": {"hosts": len(hosts), "passed": counted.count(PASSED), "failed": counted.count(FAILED)},
        "hosts": [dict(host) for host in hosts],
    }
