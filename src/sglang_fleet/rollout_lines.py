# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollout as plain lines, for whoever reads a log: one for each thing that an operator would want to know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sglang_fleet.rollout_lock import age_text
from sglang_fleet.rollout_state import BACK, DONE, ROLLED_BACK, Rollout, listed


def line_of(entry: Mapping[str, Any], state: Rollout) -> str | None:
    """The line of an entry; None where it says nothing that the lines before do not."""
    write = _WRITERS.get(str(entry.get("entry")))
    return write(entry, state) if write else None


def servers(instances: int, gpus: int | None = None) -> str:
    """Capacity in words: 1 server, 8 GPUs."""
    more = "" if gpus is None else f", {gpus} GPU{'' if gpus == 1 else 's'}"
    return f"{instances} server{'' if instances == 1 else 's'}{more}"


def hosts_text(number: int) -> str:
    return f"{number} host{'' if number == 1 else 's'}"


def stamped(entry: Mapping[str, Any], text: str) -> str:
    """With the time of the entry, of this controller's zone."""
    return f"{datetime.fromtimestamp(float(entry.get('at') or 0)).strftime('%H:%M:%S')} {text}"


def _who(entry: Mapping[str, Any]) -> str:
    instance = entry.get("instance")
    return f"{entry['host']} [{instance}]" if instance else str(entry["host"])


def _rollout(entry: Mapping[str, Any], state: Rollout) -> str:
    what = "rollback" if entry["direction"] == BACK else "rollout"
    waves = f" in {len(state.waves)} waves" if len(state.waves) > 1 else ""
    return f"{what} {entry['id']}: {hosts_text(len(state.hosts))}{waves}"


def _wave(entry: Mapping[str, Any], state: Rollout) -> str:
    return f"wave {entry['wave'] + 1} of {len(state.waves)}: {listed(entry['hosts'])}"


def _batch(entry: Mapping[str, Any], _state: Rollout) -> str:
    if entry["direction"] == BACK:
        return f"{listed(entry['hosts'])}: back to what ran before" + (f" ({entry['why']})" if entry.get("why") else "")
    return f"{listed(entry['hosts'])}: to the new version"


def _stage(entry: Mapping[str, Any], _state: Rollout) -> str | None:
    stage = str(entry["stage"])
    if not entry.get("instance") and stage in (DONE, ROLLED_BACK):
        return None  # the outcome says it
    running = entry.get("running")
    flight = f" ({running} requests in flight)" if running is not None else ""
    detail = f": {entry['detail']}" if entry.get("detail") else ""
    return f"{_who(entry)}: {stage.replace('_', ' ')}{flight}{detail}"


def _gate(entry: Mapping[str, Any], _state: Rollout) -> str:
    seconds = entry.get("seconds")
    time = f" in {seconds:.1f} s" if isinstance(seconds, (int, float)) else ""
    if entry.get("passed"):
        return f"{_who(entry)}: gate {entry['gate']} passed{time}"
    return f"{_who(entry)}: gate {entry['gate']} FAILED{time}: {entry.get('evidence') or ''}"


def _outcome(entry: Mapping[str, Any], state: Rollout) -> str:
    host = state.hosts[str(entry["host"])]
    status = str(entry["status"]).replace("_", " ").upper() if entry["status"] != DONE else "done"
    time = f" after {age_text(host.seconds)}" if host.seconds is not None else ""
    return f"{entry['host']}: {status}{time}" + (f": {entry['error']}" if entry.get("error") else "")


def _kept_out(entry: Mapping[str, Any], _state: Rollout) -> str:
    if entry.get("error"):
        return f"{entry['host']}: could NOT be taken out of traffic: {entry['error']}"
    return f"{entry['host']}: stays out of traffic"


_WRITERS: dict[str, Callable[[Mapping[str, Any], Rollout], str | None]] = {
    "rollout": _rollout,
    "wave_begun": _wave,
    "batch": _batch,
    "stage": _stage,
    "gate": _gate,
    "outcome": _outcome,
    "kept_out": _kept_out,
    "soak_begun": lambda entry, _state: (
        f"wave {entry['wave'] + 1}: the canaries serve for {age_text(entry['seconds'])}, then the gates once more"
    ),
    "soaked": lambda entry, _state: f"wave {entry['wave'] + 1}: soaked",
    "wave_ended": lambda entry, state: f"wave {entry['wave'] + 1} of {len(state.waves)}: passed",
    "decision": lambda entry, _state: f"STOPPED: {entry['why']}. Now: {entry['what']}",
    "note": lambda entry, _state: f"note: {entry['text']}",
    "interrupted": lambda entry, _state: f"INTERRUPTED: {entry['why']}",
    "resumed": lambda entry, state: (
        f"resumed by {entry['by']}: {len(state.names(at='new'))} of {len(state.hosts)} hosts are new"
    ),
    "ended": lambda _entry, _state: None,
}
