# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run as Markdown, for an issue or a chat: what is wrong first, then every host's figures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sglang_fleet.report_run import (
    FAILED,
    NONE,
    accuracy_records,
    figure,
    findings,
    gate_name,
    gate_result,
    moment,
    record_name,
    seconds,
    speed_records,
    took,
)

_SPEED = {
    "Output tok/s": "output_throughput",
    "TTFT median, ms": "median_ttft_ms",
    "TTFT p99, ms": "p99_ttft_ms",
    "TPOT median, ms": "median_tpot_ms",
    "TPOT p99, ms": "p99_tpot_ms",
}


def markdown(run: Mapping[str, Any], changes: Mapping[str, Sequence[str]], notes: Sequence[str] = ()) -> str:
    """The file's text; changes and notes as of report_html.page."""
    return "\n".join(_lines(run, changes, notes)) + "\n"


def _lines(run: Mapping[str, Any], changes: Mapping[str, Sequence[str]], notes: Sequence[str]) -> Iterator[str]:
    fleet = run["fleet"]
    yield f"# {fleet['passed']} of {fleet['hosts']} hosts passed"
    yield ""
    yield (
        f"Run {plain(run['run_id'])}, {plain(run['playbook'])}, {moment(run['started_at'])}, took {took(run)}; "
        f"previous run: {plain(run['previous'] or 'none')}."
    )
    if wrong := findings(run):
        yield from ("", "## What is wrong", "")
        yield from (f"- **{plain(entry.host)}**, {plain(entry.where)}: {plain(entry.text)}" for entry in wrong)
    told = [*notes, *(f"{host}: {text}" for host, texts in changes.items() for text in texts)]
    if told:
        yield from ("", "## Changed since the previous run", "")
        yield from (f"- {plain(text)}" for text in told)
    for host in run["hosts"]:
        yield from ("", f"## {plain(host['host'])}: {plain(host['status'])}")
        yield from _host(host)


def _host(host: Mapping[str, Any]) -> Iterator[str]:
    plan = host["plan"]
    if plan:
        yield ""
        yield plain(
            f"{plan['model']} on {plan['count']} × {plan['gpu']}, layout {plan['layout']}, {plan['image']['reference']}"
        )
    if host["gates"]:
        yield ""
        yield from _table(
            ("Gate", "Result", "Took", "Evidence"),
            (
                (
                    gate_name(gate, host).removeprefix("gate "),
                    FAILED.upper() if gate_result(gate) == FAILED else gate_result(gate),
                    seconds(gate["seconds"]),
                    gate["evidence"],
                )
                for gate in host["gates"]
            ),
        )
    if records := speed_records(host):
        yield ""
        yield from _table(
            ("Instance", "Profile", *_SPEED, "Output against reference"),
            (
                (
                    record["instance"],
                    record_name(record),
                    *(figure(record["metrics"].get(key)) for key in _SPEED.values()),
                    _ratio(record),
                )
                for record in records
            ),
        )
    if accuracy := accuracy_records(host):
        yield ""
        yield from _table(
            ("Benchmark", "Counted", "Right, %", "Questions"),
            (
                (record["benchmark"], way, figure(counted.get("accuracy")), figure(record["questions"]))
                for record in accuracy
                for way, counted in record["metrics"].items()
            ),
        )


def _ratio(record: Mapping[str, Any]) -> str:
    rows = (record.get("comparison") or {"rows": []})["rows"]
    for row in rows:
        if row["metric"] == "output_throughput" and row["ratio"] is not None:
            return f"{row['ratio']:.2f}×, {row['verdict']}"
    return NONE


def _table(heads: Sequence[str], rows: Iterator[Sequence[str]] | Any) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'|'.join(' --- ' for _head in heads)}|"
    for row in rows:
        yield f"| {' | '.join(plain(cell) for cell in row)} |"


def plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line: what a server said makes no markup, link or image."""
    return re.sub(r"([\\`*_\[\]<>|#~&!])", r"\\\1", " ".join(text.split()))
