# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run as one HTML file: no script, nothing asked of others, light and dark, for phones and for paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from sglang_fleet import __version__, report_plots
from sglang_fleet.report_host import PLOTTED_HOSTS, figure_of, finding_item, host_section, status
from sglang_fleet.report_markup import Markup, facts, join, table, tag
from sglang_fleet.report_run import (
    NONE,
    PASSED,
    SKIPPED,
    Finding,
    at_once,
    findings,
    gate_result,
    host_findings,
    measure,
    moment,
    share,
    speed_records,
    took,
)

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(run: Mapping[str, Any], changes: Mapping[str, Sequence[str]], notes: Sequence[str] = ()) -> str:
    """The file's text.

    changes: what is new on each host since the previous run; notes: what is new of the fleet itself.
    """
    wrong = findings(run)
    hosts = run["hosts"]
    places = {host["host"]: f"host-{number}" for number, host in enumerate(hosts)}
    plotted = _plotted(hosts)
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    body = tag(
        "body",
        tag("a", "To the hosts", class_="skip", href="#hosts"),
        _header(run),
        tag(
            "main",
            _summary(run, wrong),
            _wrong(wrong, places),
            _changed(run, changes, notes, places),
            _fleet(hosts, places),
            [
                host_section(host, places[host["host"]], changes.get(host["host"], ()), host["host"] in plotted)
                for host in hosts
            ],
        ),
        tag("footer", tag("p", f"Made by sglang-fleet {__version__} from run {run['run_id']}.")),
    )
    fleet = run["fleet"]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{fleet['passed']} of {fleet['hosts']} hosts passed: {run['run_id']}"),
        tag("link", rel="icon", href="data:,"),
        tag("style", Markup(style)),
    )
    return "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"


# --- The fleet ------------------------------------------------------------------------------------------------------


def _header(run: Mapping[str, Any]) -> Markup:
    return tag(
        "header",
        tag("h1", "SGLang fleet: gates and benchmarks"),
        facts(
            [
                ("Run", run["run_id"]),
                ("Playbook", run["playbook"]),
                ("Started", moment(run["started_at"])),
                ("Took", took(run)),
                ("Previous run", run["previous"] or "none"),
            ]
        ),
    )


def _summary(run: Mapping[str, Any], wrong: Sequence[Finding]) -> Markup:
    fleet, hosts = run["fleet"], run["hosts"]
    whole = fleet["passed"] == fleet["hosts"]
    gates = [gate_result(gate) for host in hosts for gate in host["gates"]]
    verdicts = [
        row["verdict"]
        for host in hosts
        for record in host["benchmarks"]
        for row in (record.get("comparison") or {"rows": []})["rows"]
        if row["verdict"] != "not compared"
    ]
    tiles = [
        ("hosts passed", share(fleet["passed"], fleet["hosts"])),
        ("gates passed", share(gates.count(PASSED), len(gates) - gates.count(SKIPPED))),
        *([("gates skipped", str(gates.count(SKIPPED)))] if SKIPPED in gates else []),
        *(
            [("figures as good as their reference", share(len(verdicts) - verdicts.count("worse"), len(verdicts)))]
            if verdicts
            else []
        ),
        ("findings", str(len(wrong))),
    ]
    if not hosts:
        said = "The run had no hosts."
    elif whole:
        said = "Every host has passed." if len(hosts) > 1 else "The host has passed."
    else:
        said = f"{fleet['hosts'] - fleet['passed']} of {fleet['hosts']} hosts did not pass."
    return tag(
        "section",
        tag("h2", said, id="verdict"),
        tag("ul", [tag("li", tag("b", value), " ", name) for name, value in tiles], class_="tiles"),
        class_=f"panel verdict {'good' if whole and hosts else 'bad'}",
        aria_labelledby="verdict",
    )


def _wrong(wrong: Sequence[Finding], places: Mapping[str, str]) -> Markup | None:
    if not wrong:
        return None
    items = [
        tag("li", tag("a", host, href=f"#{places[host]}"), tag("ul", [finding_item(entry) for entry in group]))
        for host, group in ((host, list(group)) for host, group in groupby(wrong, key=lambda entry: entry.host))
    ]
    return tag("section", tag("h2", "What is wrong", id="wrong"), tag("ul", items, class_="findings"), class_="panel")


def _changed(
    run: Mapping[str, Any], changes: Mapping[str, Sequence[str]], notes: Sequence[str], places: Mapping[str, str]
) -> Markup | None:
    if run["previous"] is None:
        return None
    by_text: dict[str, list[str]] = {}
    for host, texts in changes.items():
        for text in texts:
            by_text.setdefault(text, []).append(host)
    items = [tag("li", note) for note in notes]
    for text, hosts in by_text.items():
        links = [
            join(", " if number else "", tag("a", host, href=f"#{places[host]}")) for number, host in enumerate(hosts)
        ]
        items.append(tag("li", text, " (", links, ")"))
    said = tag("ul", items) if items else tag("p", "Nothing that this report knows of.")
    return tag("section", tag("h2", f"Changed since {run['previous']}", id="changed"), said, class_="panel")


def _fleet(hosts: Sequence[Mapping[str, Any]], places: Mapping[str, str]) -> Markup:
    rows = []
    for host in hosts:
        plan = host["plan"]
        gates = [gate_result(gate) for gate in host["gates"]]
        skipped = gates.count(SKIPPED)
        best = _most_throughput(host)
        rows.append(
            [
                tag("a", host["host"], href=f"#{places[host['host']]}"),
                status(host),
                f"{plan['model']} on {plan['count']} × {plan['gpu']}, {plan['layout']}" if plan else NONE,
                share(gates.count(PASSED), len(gates) - skipped) + (f", {skipped} skipped" if skipped else "")
                if gates
                else NONE,
                f"{measure(best['metrics']['output_throughput'], 'tok/s')}, {at_once(best)}" if best else NONE,
                _worst(host),
            ]
        )
    heads = ["Host", "Status", "Serves", "Gates", "Highest output", "Furthest behind"]
    plot = report_plots.fleet_plot("fleet", _compared(hosts))
    return tag(
        "section",
        tag("h2", "Hosts", id="hosts"),
        table("A row for each host of the run", heads, rows, "cards"),
        tag(
            "div",
            figure_of(
                plot,
                "A mark for each measurement, at how many times its reference’s output throughput it is: ▼ worse, ● within, "
                f"▲ better. {_left_out(hosts)}",
            ),
            class_="plots wide",
        )
        if plot
        else None,
        class_="panel",
    )


def _most_throughput(host: Mapping[str, Any]) -> Mapping[str, Any] | None:
    measured = [record for record in speed_records(host) if record["metrics"].get("output_throughput")]
    return max(measured, key=lambda record: record["metrics"]["output_throughput"], default=None)


def _worst(host: Mapping[str, Any]) -> str:
    """The figure that is furthest behind its reference, for how far it may be."""
    rows = [
        (report_plots.advantage(row) / (report_plots.allowed_edge(row) or 1), row, record)
        for record in speed_records(host)
        for row in (record.get("comparison") or {"rows": []})["rows"]
        if row["ratio"] and row["verdict"] != "not compared"
    ]
    if not rows:
        return NONE
    _behind, row, record = min(rows, key=lambda entry: entry[0])
    return f"{row['metric']} {row['ratio']:.2f}×, {at_once(record)}"


def _compared(hosts: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[tuple[str, float]]]]:
    """The plot's rows: the hosts furthest behind, as many as are plotted, in the run's order."""
    found = []
    for host in hosts:
        marks = [
            (row["verdict"], row["ratio"])
            for record in speed_records(host)
            for row in (record.get("comparison") or {"rows": []})["rows"]
            if row["metric"] == "output_throughput" and row["ratio"] and row["verdict"] != "not compared"
        ]
        if marks:
            found.append((host["host"], marks))
    kept = sorted(found, key=lambda entry: min(ratio for _verdict, ratio in entry[1]))[:PLOTTED_HOSTS]
    return [entry for entry in found if entry in kept]


def _left_out(hosts: Sequence[Mapping[str, Any]]) -> str:
    return f"Of more hosts, the {PLOTTED_HOSTS} furthest behind." if len(hosts) > PLOTTED_HOSTS else ""


def _plotted(hosts: Sequence[Mapping[str, Any]]) -> set[str]:
    first = sorted(hosts, key=lambda host: not host_findings(host))
    return {host["host"] for host in first[:PLOTTED_HOSTS]}
