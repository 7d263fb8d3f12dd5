# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollout came to, for people and programs: ``rollout.json`` and ``rollout.md`` in its folder; and the report of its gates
and measurements, as of any run (``run.json``, ``report/``)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sglang_fleet.planning import FleetError
from sglang_fleet.rollout_journal import read_state, write_file
from sglang_fleet.rollout_runner import RESULTS
from sglang_fleet.rollout_state import (
    ALL_BACK,
    ALL_NEW,
    BACK,
    LEFT_OUT,
    NEW,
    OLD,
    UNREACHABLE,
    HostState,
    Rollout,
    listed,
)

SUMMARY: Final = "rollout.json"
MARKDOWN: Final = "rollout.md"
#: What a host is, for people.
_VERSIONS: Final = {OLD: "as before", NEW: "new", "unknown": "not known"}


def result_of(state: Rollout) -> str:
    """How it ended, in one sentence."""
    back = state.spec.get("direction") == BACK
    left = [*state.names(problem=UNREACHABLE), *(state.spec.get("unreachable") or [])]
    if state.code is None:
        return f"interrupted: {state.interrupted}" if state.interrupted else "not at its end"
    if state.code == ALL_NEW:
        return "every host is back as before" if back else "every host is new"
    if state.code == ALL_BACK:
        return "failed, and every host is back as before"
    if state.code == LEFT_OUT:
        return f"{listed(left)} cannot be reached, and {'is' if len(left) == 1 else 'are'} kept out of traffic; {_mix(state)}"
    return f"failed, and the fleet is mixed: {_mix(state)}"


def _mix(state: Rollout) -> str:
    parts = []
    for at, word in ((NEW, "new"), (OLD, "as before"), ("unknown", "not known")):
        names = state.names(at=at)
        if names:
            parts.append(f"{word}: {listed(names)}")
    return "; ".join(parts)


def next_of(state: Rollout, name: str) -> str:
    """What to do next, or an empty text."""
    if state.code == ALL_NEW:
        return ""
    if state.code == ALL_BACK:
        return "put right what failed, and begin a new rollout"
    if state.aim == OLD:
        return f"sglang-fleet resume {name} goes on with the way back"
    resume = f"sglang-fleet resume {name} goes on with it"
    return f"{resume}; sglang-fleet rollback --to {name} brings every host back to what it was before"


def summary(state: Rollout, folder: Path) -> dict[str, Any]:
    """The rollout for programs."""
    plans = _plans(folder)
    began, ended = float(state.spec["at"]), float(state.last_at or state.spec["at"])
    return {
        "schema": 1,
        "id": folder.name,
        "direction": state.spec["direction"],
        "code": state.code,
        "result": result_of(state),
        "next": next_of(state, folder.name),
        "why": state.why,
        "interrupted": state.interrupted,
        "began_at": _time(began),
        "ended_at": _time(ended),
        "seconds": round(ended - began, 1),
        "attempts": state.attempts,
        "by": (state.holder or {}).get("holder"),
        "waves": [
            {"wave": number, "hosts": names, "passed": number - 1 in state.passed}
            for number, names in enumerate(state.waves, 1)
        ],
        "hosts": {host.name: _host(host, plans.get(host.name) or {}) for host in state.hosts.values()},
        "unreachable": list(state.spec.get("unreachable") or []),
        "notes": list(state.notes),
    }


def _host(host: HostState, plan: Mapping[str, Any]) -> dict[str, Any]:
    gates = list(host.gates.values())
    return {
        "wave": host.wave + 1,
        "version": host.at,
        "stage": host.stage,
        "problem": host.problem,
        "in_traffic": not host.kept_out,
        "error": host.error,
        "change": (plan.get("change") or {}).get("summary"),
        "seconds": None if host.seconds is None else round(host.seconds, 1),
        "gates_passed": sum(bool(gate.get("passed")) and not gate.get("skipped") for gate in gates),
        "gates_failed": [
            {"gate": gate["gate"], "instance": gate.get("instance"), "evidence": gate.get("evidence")}
            for gate in gates
            if not gate.get("passed")
        ],
    }


def _plans(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "plans.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def markdown(told: Mapping[str, Any]) -> str:
    """The rollout for people: what failed in full, all else in a row a host."""
    what = "Rollback" if told["direction"] == BACK else "Rollout"
    lines = [f"# {what} {told['id']}", "", f"**{_cell(told['result'])}**", ""]
    lines.append(
        f"From {told['began_at']} to {told['ended_at']} ({told['seconds']:.0f} s), by {told['by'] or 'nobody'}."
    )
    if told["attempts"] > 1:
        lines.append(f"It was resumed {told['attempts'] - 1} times.")
    for key, word in (("why", "Why"), ("interrupted", "Interrupted"), ("next", "Next")):
        if told[key]:
            lines += ["", f"{word}: {_cell(told[key])}"]
    lines += [f"- {_cell(note)}" for note in told["notes"]]
    if told["unreachable"]:
        lines += ["", f"Left out, as they could not be reached: {', '.join(told['unreachable'])}"]
    bad = {name: host for name, host in told["hosts"].items() if host["problem"]}
    if bad:
        lines += ["", "## What failed", ""]
    for name, host in bad.items():
        out = "" if host["in_traffic"] else ", out of traffic"
        lines.append(
            f"- **{name}** ({host['problem']}; {_VERSIONS[host['version']]}{out}): {_cell(host['error'] or '')}"
        )
        lines += [
            f"  - gate {gate['gate']}{' of instance ' + gate['instance'] if gate['instance'] else ''}: "
            f"{_cell(gate['evidence'] or '')}"
            for gate in host["gates_failed"]
        ]
    lines += ["", "## Hosts", "", "| wave | host | version | change | seconds | gates |", "|---|---|---|---|---|---|"]
    for name, host in told["hosts"].items():
        gates = f"{host['gates_passed']} passed" + (
            f", {len(host['gates_failed'])} failed" if host["gates_failed"] else ""
        )
        seconds = "" if host["seconds"] is None else f"{host['seconds']:.0f}"
        lines.append(
            f"| {host['wave']} | {name} | {_VERSIONS[host['version']]} | {_cell(host['change'] or '')} | {seconds} | {gates} |"
        )
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(str(text).replace("|", "\\|").split())


def run_of(state: Rollout, folder: Path) -> dict[str, Any]:
    """The rollout as a run of gates and measurements, of the shape of run.schema.json: what the last play about a host found."""
    from ansible_collections.sglang.fleet.plugins.module_utils._run_record import run_document

    entries = []
    for host in state.hosts.values():
        entry = _entry(folder / RESULTS / f"{host.name}.json", host.name)
        if host.problem is not None:
            entry["status"] = "unreachable" if host.problem == UNREACHABLE else "failed"
            entry["errors"] = [host.error] if host.error else entry.get("errors") or []
        entries.append(entry)
    for name in state.spec.get("unreachable") or []:
        entries.append({**_entry(Path(), name), "status": "unreachable"})
    times = (_time(float(state.spec["at"])), _time(float(state.last_at or 0)))
    return dict(run_document(folder.name, times, "rollout.yml", entries, None))


def _entry(path: Path, name: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        found = None
    if isinstance(found, dict):
        return found
    empty: dict[str, Any] = {"plan": None, "gates": [], "benchmarks": [], "changed_since": []}
    return {"host": name, "status": "not run", "errors": [], **empty}


def write_summary(folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Writes all of it, and says how the rollout ended and where that is told. Raises FleetError."""
    state = read_state(folder)
    told = summary(state, folder)
    write_file(folder / SUMMARY, told)
    try:
        (folder / MARKDOWN).write_text(markdown(told), encoding="utf-8")
    except OSError as error:
        raise FleetError(f"cannot write {folder / MARKDOWN}: {error.strerror}") from error
    what = "rollback" if told["direction"] == BACK else "rollout"
    say(f"{what} {told['id']}: {told['result']}")
    if told["next"]:
        say(f"next: {told['next']}")
    report = _gates_report(state, folder, say)
    say(f"report: {folder / MARKDOWN}" + (f"; gates and measurements: {report}" if report else ""))
    return told


def _gates_report(state: Rollout, folder: Path, say: Callable[[str], None]) -> Path | None:
    run = run_of(state, folder)
    write_file(folder / "run.json", run)
    if not any(host["gates"] or host["benchmarks"] for host in run["hosts"]):
        return None
    from sglang_fleet.report import write_report
    from sglang_fleet.report_run import check_run

    try:
        return write_report(check_run(run), folder / "report")[0]
    except (FleetError, ValueError) as error:
        say(f"note: the report of the gates could not be written: {error}")
        return None
