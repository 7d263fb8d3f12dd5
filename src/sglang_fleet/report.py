# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of gates and benchmarks as a report: one HTML file that needs no other, JSON, and Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sglang_fleet.planning import FleetError
from sglang_fleet.report_changes import fleet_changes, host_changes
from sglang_fleet.report_markdown import markdown
from sglang_fleet.report_run import findings

#: What figures end in that have their types and make no sense, such as a load of negative requests.
_NO_FIGURES = (ArithmeticError, LookupError, TypeError, ValueError, RecursionError)
#: The files of a report, in its folder.
NAMES = ("report.html", "report.json", "report.md")


def changes_of(
    run: Mapping[str, Any], previous: Mapping[str, Any] | None = None
) -> tuple[dict[str, list[str]], list[str]]:
    """What is new on each host with anything new, and of the fleet.

    The run's own texts come first; the previous run adds what it tells. Raises FleetError where that is another than
    the run names.
    """
    before: dict[str, Any] = {}
    notes: list[str] = []
    if previous is not None:
        if previous["run_id"] != run["previous"]:
            raise FleetError(
                f"run {run['run_id']} names {run['previous'] or 'no run'} as its previous one, and this is "
                f"{previous['run_id']}: give the file of the one it names"
            )
        before = {host["host"]: host for host in previous["hosts"]}
        notes = fleet_changes(previous, run)
    found = {}
    for host in run["hosts"]:
        name = host["host"]
        told = [*host["changed_since"], *(host_changes(before[name], host) if name in before else ())]
        if told:
            found[name] = list(dict.fromkeys(told))
    return found, notes


def document(run: Mapping[str, Any], changes: Mapping[str, Sequence[str]], notes: Sequence[str]) -> dict[str, Any]:
    """The report for programs.

    ``{"schema": 1, "passed": bool, "findings": [{"host", "where", "text"}], "changes": {host: [text]}, "fleet_changes":
    [text], "run": the run}``.
    """
    return {
        "schema": 1,
        "passed": bool(run["hosts"]) and run["fleet"]["passed"] == run["fleet"]["hosts"],
        "findings": [asdict(entry) for entry in findings(run)],
        "changes": {host: list(texts) for host, texts in changes.items()},
        "fleet_changes": list(notes),
        "run": run,
    }


def write_report(run: Mapping[str, Any], folder: Path, previous: Mapping[str, Any] | None = None) -> list[Path]:
    """Write the three files of a checked run; where they are. Raises FleetError."""
    # matplotlib takes long to import; a wrong previous run is told without it.
    changes, notes = changes_of(run, previous)
    from sglang_fleet.report_html import page

    try:
        texts = (
            page(run, changes, notes),
            json.dumps(document(run, changes, notes), indent=2, ensure_ascii=False, allow_nan=False) + "\n",
            markdown(run, changes, notes),
        )
    except _NO_FIGURES as error:
        raise FleetError(
            f"run {run['run_id']} has figures that no measurement gives ({type(error).__name__}: {error}), so that nothing was "
            "written: give the file as playbooks/benchmark.yml wrote it"
        ) from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / name for name in NAMES]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FleetError(f"{error.filename or folder}: cannot be written: {error.strerror}") from error
    return paths
