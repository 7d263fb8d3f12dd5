# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host of a report's page: what it serves and how that fits, its gates, its speed and its accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from sglang_fleet import report_plots
from sglang_fleet.report_markup import Markup, facts, join, mark, table, tag
from sglang_fleet.report_run import (
    FAILED,
    LATENCIES,
    NONE,
    PASSED,
    SKIPPED,
    Finding,
    accuracy_records,
    figure,
    gate_name,
    gate_result,
    host_findings,
    lengths,
    measure,
    record_name,
    seconds,
    speed_records,
    tolerance_text,
)

#: A host's plots are 30 KB. With more hosts those with findings come first; the others' figures are in tables.
PLOTTED_HOSTS = 40
_VERDICTS = {
    "better": ("good", "better"),
    "within": ("good", "within"),
    "worse": ("bad", "worse"),
    "not compared": ("odd", "not compared"),
}
_PARTS = (("Weights", "weights"), ("KV cache", "kv"), ("Head-room", "headroom"), ("Reserved", "reserved"))
_HEADS = {"median": "median", "mean": "mean", "p95": "p95", "p99": "p99", "max": "largest"}


def host_section(host: Mapping[str, Any], place: str, changes: Sequence[str], plotted: bool) -> Markup:
    """The host's part of the page; place is its id there, plotted whether its plots are drawn."""
    wrong = host_findings(host)
    return tag(
        "section",
        tag("h2", host["host"], " ", status(host), id=place),
        tag("ul", [finding_item(entry) for entry in wrong], class_="findings") if wrong else None,
        _plan(host),
        [tag("h3", "Changed since the previous run"), tag("ul", [tag("li", text) for text in changes])]
        if changes
        else None,
        _gates(host),
        list(_speed(host, place, plotted)),
        _accuracy(host),
        class_="panel host",
        aria_labelledby=place,
    )


def _plan(host: Mapping[str, Any]) -> Markup:
    plan = host["plan"]
    if plan is None:
        return tag("p", "This host has no plan.", class_="hint")
    image, measured = plan["image"], next(iter(host["benchmarks"]), None)
    digest = image.get("digest") or (measured["image"].get("digest") if measured else None)
    driver = (measured.get("driver") if measured else None) or plan.get("driver") or {}
    parts = [
        tag("h3", "Plan and fit"),
        facts(
            [
                ("Model", plan["model"]),
                ("GPUs", f"{plan['count']} × {plan['gpu']}"),
                ("Layout", plan["layout"]),
                ("SGLang", image.get("sglang_version")),
                ("Image", image["reference"]),
                ("Digest", digest),
                ("Driver", " ".join(str(driver[key]) for key in ("name", "version") if driver.get(key))),
            ]
        ),
    ]
    seen: list[tuple[Any, list[str]]] = []
    for instance in plan["instances"]:
        same = next((names for fit, names in seen if fit == instance["fit"]), None)
        told = (
            f"{instance['name']} ({instance['address']}:{instance['port']}, tp {instance['tp']}, ep {instance['ep']})"
        )
        if same is None:
            seen.append((instance["fit"], [told]))
        else:
            same.append(told)
    parts += [_fit(fit, names) for fit, names in seen]
    notes = [tag("li", tag("b", entry["severity"]), " ", entry["message"]) for entry in plan["warnings"]]
    reasons = [tag("li", text) for text in plan["reasons"]]
    commands = [tag("pre", tag("code", entry["command_line"]), tabindex="0") for entry in plan["instances"]]
    inner = [tag("ul", notes + reasons) if notes or reasons else None, commands]
    return join(parts, tag("details", tag("summary", "Why it is so, and the commands"), inner))


def _fit(fit: Mapping[str, Any], names: Sequence[str]) -> Markup:
    whole = fit["memory_gib_per_gpu"]
    shares = [(title, part, fit[f"{part}_gib_per_gpu"]) for title, part in _PARTS]
    label = f"Of {figure(whole)} GiB: " + ", ".join(f"{title} {share:.1f} GiB" for title, _part, share in shares)
    bar = [tag("i", class_=part, style=f"width:{max(share, 0) / whole * 100:.2f}%") for _title, part, share in shares]
    legend = [tag("li", tag("i", class_=f"swatch {part}"), f"{title} {share:.1f} GiB") for title, part, share in shares]
    return tag(
        "div",
        tag("p", "Server " if len(names) == 1 else "Servers ", "; ".join(names)),
        tag("div", bar, class_="memory", role="img", aria_label=label),
        tag("ul", legend, class_="legend"),
        tag("p", f"{fit['kv_tokens']:,} tokens of KV cache; a request of up to {fit['max_context']:,} tokens."),
        class_="fit",
    )


_RESULTS = {PASSED: ("good", PASSED), FAILED: ("bad", FAILED), SKIPPED: ("odd", SKIPPED)}


def _gates(host: Mapping[str, Any]) -> Markup:
    if not host["gates"]:
        return join(tag("h3", "Gates"), tag("p", "None was run.", class_="hint"))
    rows = [
        [
            gate_name(gate, host).removeprefix("gate "),
            mark(*_RESULTS[gate_result(gate)]),
            seconds(gate["seconds"]) + (f" of {seconds(gate['budget_seconds'])}" if gate["budget_seconds"] else ""),
            gate["evidence"],
        ]
        for gate in host["gates"]
    ]
    heads = ["Gate", "Result", "Took", "Evidence"]
    return join(tag("h3", "Gates"), table("The gates in the order in which they were run", heads, rows, "cards gates"))


def _speed(host: Mapping[str, Any], place: str, plotted: bool) -> Iterator[Markup]:
    records = speed_records(host)
    several = len({record["instance"] for record in records}) > 1
    for number, (key, grouped) in enumerate(groupby(records, key=lambda entry: (entry["instance"], *lengths(entry)))):
        group = list(grouped)
        of_length = f", {key[1]} tokens in and {key[2]} out" if key[1] and key[2] else ""
        yield tag("h3", f"Speed{f' of instance {key[0]}' if several else ''}{of_length}")
        if plotted:
            yield tag("div", list(_plots(f"{place}-{number}", group)), class_="plots")
        yield from _measured(group)
        for record in group:
            if comparison := record.get("comparison"):
                yield _comparison(record_name(record), comparison)
    if records and not plotted:
        yield tag("p", f"Plots are drawn for {PLOTTED_HOSTS} hosts, those with findings first.", class_="hint")


def _plots(name: str, records: Sequence[Mapping[str, Any]]) -> Iterator[Markup]:
    told = "● this run" + (", ◇ dashed: reference." if any(map(report_plots.reference_of, records)) else ".")
    yield figure_of(report_plots.throughput_plot(f"{name}-t", records), f"{told} Logarithmic.")
    for number, title in enumerate(("Time to first token", "Time per output token", "Between two tokens")):
        plot = report_plots.latency_plot(f"{name}-l{number}", title, LATENCIES[title], records)
        yield figure_of(plot, "● median, | percentiles up to p99. Above: this run; below: the reference. Logarithmic.")
    plot = report_plots.ratio_plot(f"{name}-r", records)
    yield figure_of(
        plot, "Right of 1 is better, of times too. ▼ worse, ● within, ▲ better; | how far it may be.", "tall"
    )


def _measured(records: Sequence[Mapping[str, Any]]) -> Iterator[Markup]:
    """Tables: what was done in which time, and the percentiles of each latency in milliseconds."""
    keys = ("output_throughput", "input_throughput", "request_throughput", "concurrency", "completed", "duration")
    heads = ["Profile", "Output tok/s", "Input tok/s", "Requests/s", "Mean at once", "Requests", "Took"]
    rows = [
        [
            record_name(record),
            *(figure(record["metrics"].get(key)) for key in keys[:-1]),
            seconds(record["metrics"].get("duration")),
        ]
        for record in records
    ]
    yield table("Throughput", heads, rows, "cards")
    percentiles = []
    for title, wanted in LATENCIES.items():
        there = [key for key in wanted if any(record["metrics"].get(key) is not None for record in records)]
        heads = ["Profile", *(_HEADS[key.split("_")[0]] for key in there)]
        rows = [[record["profile"], *(figure(record["metrics"].get(key)) for key in there)] for record in records]
        percentiles.append(table(f"{title}, ms", heads, rows, "figures") if there else None)
    yield tag("div", percentiles, class_="percentiles")


def _comparison(name: str, comparison: Mapping[str, Any]) -> Markup:
    rows = [
        [
            row["metric"],
            measure(row["value"], row["unit"]),
            measure(row["reference"], row["unit"]),
            NONE if row["ratio"] is None else f"{row['ratio']:.2f}×",
            tolerance_text(row) or NONE,
            mark(*_VERDICTS[row["verdict"]]),
        ]
        for row in comparison["rows"]
    ]
    heads = ["Metric", "This run", "Reference", "Ratio", "Allowed", "Verdict"]
    worse = sum(row["verdict"] == "worse" for row in comparison["rows"])
    said = f"{name} against {comparison['reference']}: " + (
        f"{worse} of {len(rows)} worse" if worse else "none worse" if rows else "no figures"
    )
    unlike = "Not like for like: " + "; ".join(comparison["why_not"]) if not comparison["like_for_like"] else None
    return tag(
        "details",
        tag("summary", said),
        tag("p", unlike) if unlike else None,
        table(f"Against {comparison['reference']}", heads, rows, "cards") if rows else None,
        open=bool(worse),
    )


def _accuracy(host: Mapping[str, Any]) -> Markup | None:
    records = accuracy_records(host)
    if not records:
        return None
    rows = [
        [
            record["benchmark"],
            way,
            f"{figure(counted.get('accuracy'))} %"
            + (f" ± {figure(counted['spread'])}" if counted.get("spread") is not None else ""),
            NONE if counted.get("no_answer") is None else f"{figure(counted['no_answer'])} %",
            f"{record['questions']:,}",
            record["tool"],
        ]
        for record in records
        for way, counted in record["metrics"].items()
    ]
    heads = ["Benchmark", "Counted", "Right", "No answer", "Questions", "Tool"]
    compared = [
        _comparison(record_name(record), record["comparison"]) for record in records if record.get("comparison")
    ]
    return join(
        tag("h3", "Accuracy"),
        table("The share of the questions that was answered right", heads, rows, "cards"),
        compared,
    )


def status(host: Mapping[str, Any]) -> Markup:
    """The host's status as a verdict."""
    state = {PASSED: "good", FAILED: "bad"}.get(host["status"], "odd")
    return mark(state, host["status"])


def finding_item(entry: Finding) -> Markup:
    """A finding as an item of a host's list."""
    return tag("li", tag("b", entry.where), ": ", entry.text)


def figure_of(plot: report_plots.Plot | None, caption: str, class_: str | None = None) -> Markup:
    """The plot with its title and how to read it; nothing for no plot."""
    if plot is None:
        return Markup()
    drawing = tag("div", Markup(plot.svg), role="img", aria_label=plot.label)
    return tag("figure", tag("figcaption", tag("b", plot.title), tag("span", caption)), drawing, class_=class_)
