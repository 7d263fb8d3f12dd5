# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plots of a report as inline SVG: the page's own colours, light and dark, and its own font.

A plot is drawn in stand-ins for colours that become the page's CSS variables; its text stays text. It is as wide as a
phone, so that nothing in it has to be read smaller than the page's own text there.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from sglang_fleet.report_run import at_once, concurrency, figure, lower_is_better

#: CSS pixels. matplotlib's SVG has 72 of its points an inch, which the page takes for pixels.
WIDTH = 352
_INCH = 72
_FONT = 12

#: Stand-in, and the variable that the page has for it.
_COLOURS = {
    "#010101": "--text",
    "#020202": "--soft",
    "#030303": "--line",
    "#040404": "--run",
    "#050505": "--reference",
    "#060606": "--good",
    "#070707": "--bad",
    "#080808": "--band",
}
_TEXT, _SOFT, _LINE, _RUN, _REFERENCE, _GOOD, _BAD, _BAND = _COLOURS
_VERDICTS = {"better": _GOOD, "within": _RUN, "worse": _BAD, "not compared": _REFERENCE}
_MARKERS = {"better": "^", "within": "o", "worse": "v", "not compared": "D"}
#: What of a comparison is drawn though it is not worse: the others say nearly the same again.
_SHOWN = (
    "output_throughput",
    "median_ttft_ms",
    "p99_ttft_ms",
    "median_tpot_ms",
    "p99_tpot_ms",
    "p99_itl_ms",
    "median_e2e_latency_ms",
)
#: Ratios further off stand at the edge.
_FURTHEST = 8.0


@dataclass(frozen=True)
class Plot:
    """name is unique in a page; svg goes into it as it is; label tells the plot in words."""

    name: str
    title: str
    svg: str
    label: str


def reference_of(record: Mapping[str, Any]) -> dict[str, float]:
    """The reference's figures by metric, where the record was compared, like for like."""
    comparison = record.get("comparison")
    if not comparison or not comparison["like_for_like"]:
        return {}
    return {row["metric"]: row["reference"] for row in comparison["rows"] if row["reference"] is not None}


def throughput_plot(name: str, records: Sequence[Mapping[str, Any]]) -> Plot | None:
    """Tokens a second over the requests at once; None where nothing was measured."""
    run = _points(records, lambda record: record["metrics"].get("output_throughput"))
    if not run:
        return None
    reference = _points(records, lambda record: reference_of(record).get("output_throughput"))
    with _drawing(name, 214) as (axes, finish):
        places = {at: place for place, at in enumerate(sorted({concurrency(record) for record in records}))}
        for points, other, colour, ours in ((reference, run, _REFERENCE, False), (run, reference, _RUN, True)):
            # The reference's marks are hollow and larger: where both are at one place, both are seen.
            axes.plot(
                [places[at] for at, _value in points],
                [value for _at, value in points],
                color=colour,
                linestyle="-" if ours else (0, (4, 3)),
                marker="o" if ours else "D",
                markersize=7 if ours else 11,
                markerfacecolor=colour if ours else "none",
                zorder=2 if ours else 3,
                linewidth=2 if ours else 1.5,
            )
            for at, value in points:
                # Above the other's mark or below it, so that neither crosses the other's figure.
                against = dict(other).get(at, 0.0)
                above = value > against or (ours and value == against)
                axes.annotate(
                    figure(value),
                    (places[at], value),
                    xytext=(0, 9 if above else -17),
                    textcoords="offset points",
                    ha="center",
                    color=_TEXT if ours else _SOFT,
                    fontsize=_FONT,
                )
        _decades(axes, "y", [value for _at, value in (*run, *reference)], _round_figure, room=0.32)
        axes.set_xlim(-0.45, len(places) - 0.55)
        axes.set_xticks(list(places.values()), [str(at or "no limit") for at in places])
        axes.set_xlabel("requests at once", color=_SOFT, fontsize=_FONT)
        axes.grid(axis="y", color=_LINE)
        svg = finish()
    told = ", ".join(f"{at or 'no limit'}: {figure(value)}" for at, value in run)
    theirs = ", ".join(f"{at or 'no limit'}: {figure(value)}" for at, value in reference)
    label = f"Output tokens a second by requests at once. {told}." + (f" Reference: {theirs}." if theirs else "")
    return Plot(name, "Output tokens a second", svg, label)


def latency_plot(name: str, title: str, keys: Sequence[str], records: Sequence[Mapping[str, Any]]) -> Plot | None:
    """A bar from the median to the last percentile for each measurement, the reference's beneath it.

    keys are those of bench_serving's line, of which those of a median and of percentiles count.
    """
    wanted = [key for key in keys if key.startswith(("median_", "p"))]
    rows: list[tuple[str, list[float], list[float]]] = []
    for record in sorted(records, key=concurrency, reverse=True):
        figures: Mapping[str, float | None] = record["metrics"]
        reference = reference_of(record)
        if told := [value for key in wanted if (value := figures.get(key))]:
            rows.append((at_once(record), told, [reference[key] for key in wanted if reference.get(key)]))
    if not rows:
        return None
    values = [value for _name, measured, published in rows for value in (*measured, *published)]
    with _drawing(name, 62 + 46 * len(rows)) as (axes, finish):
        for place, (_name, measured, published) in enumerate(rows):
            for found, height, colour in ((measured, place + 0.16, _RUN), (published, place - 0.2, _REFERENCE)):
                if found:
                    axes.plot([found[0], found[-1]], [height] * 2, color=colour, linewidth=3)
                    axes.plot(found[0], height, "o", color=colour, markersize=8)
                    axes.plot(found[1:], [height] * (len(found) - 1), "|", color=colour, markersize=12, mew=2.5)
        axes.set_yticks(range(len(rows)), [row[0] for row in rows])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        _decades(axes, "x", values, milliseconds, room=0.06)
        axes.grid(axis="x", color=_LINE)
        svg = finish()
    spans = "; ".join(
        f"{row}: {_span(measured)}" + (f", reference {_span(published)}" if published else "")
        for row, measured, published in reversed(rows)
    )
    label = f"{title}, from the median up: {spans}"
    return Plot(name, title, svg, label + ".")


def ratio_plot(name: str, records: Sequence[Mapping[str, Any]]) -> Plot | None:
    """Figures against their reference: right of 1 is better, whichever way the metric counts.

    Of a comparison those of _SHOWN, and all that are worse.
    """
    rows = [
        (f"{row['metric'].removesuffix('_ms')} · {concurrency(record) or 'no limit'}", row)
        for record in sorted(records, key=concurrency)
        for row in (record.get("comparison") or {"rows": []})["rows"]
        if row["ratio"]
        and (row["verdict"] == "worse" or (row["metric"] in _SHOWN and row["verdict"] != "not compared"))
    ]
    if not rows:
        return None
    with _drawing(name, 46 + 21 * len(rows)) as (axes, finish):
        _advantages(axes, [[(row["verdict"], advantage(row))] for _name, row in rows], [name for name, _row in rows])
        for place, (_name, row) in enumerate(rows):
            if (edge := allowed_edge(row)) is not None:
                axes.plot([max(edge, 1 / _FURTHEST)] * 2, [place - 0.36, place + 0.36], color=_SOFT, linewidth=1.5)
        svg = finish()
    counted = {verdict: sum(row["verdict"] == verdict for _name, row in rows) for verdict in _VERDICTS}
    label = "Against the reference: " + ", ".join(f"{count} {name}" for name, count in counted.items() if count) + "."
    return Plot(name, "Against the reference", svg, label)


def fleet_plot(name: str, hosts: Sequence[tuple[str, Sequence[tuple[str, float]]]]) -> Plot | None:
    """A row a host with a mark for each measurement: verdict, and how many times the reference's output throughput."""
    shown = [(host, marks) for host, marks in hosts if marks]
    if not shown:
        return None
    with _drawing(name, 46 + 24 * len(shown)) as (axes, finish):
        _advantages(axes, [marks for _host, marks in shown], [shortened(host) for host, _marks in shown])
        svg = finish()
    label = "Output throughput against the reference. " + "; ".join(
        f"{host}: {', '.join(f'{ratio:.2f} times' for _verdict, ratio in marks)}" for host, marks in shown
    )
    return Plot(name, "Output throughput against the reference", svg, label + ".")


def advantage(row: Mapping[str, Any]) -> float:
    """How many times better than the reference, whichever way the metric counts."""
    ratio = float(row["ratio"])
    return 1 / ratio if lower_is_better(row["metric"]) else ratio


def allowed_edge(row: Mapping[str, Any]) -> float | None:
    """The advantage at which a figure would begin to be worse, where its tolerance is a share or a range."""
    tolerance, less = row["tolerance"], lower_is_better(row["metric"])
    if isinstance(tolerance, list) and row["reference"]:
        edge = float(tolerance[1 if less else 0] / row["reference"])
    elif isinstance(tolerance, (int, float)):
        edge = 1.0 + tolerance if less else 1.0 - tolerance
    else:
        return None
    if edge <= 0:
        return None
    return 1 / edge if less else edge


def _round_figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _span(values: Sequence[float]) -> str:
    ends = [milliseconds(value) for value in (values[0], values[-1])]
    return ends[0] if len(values) == 1 else " to ".join(ends)


def shortened(name: str, most: int = 20) -> str:
    """A name that leaves room for the plot: its beginning and its end."""
    return name if len(name) <= most else f"{name[: most - most // 2 - 1]}…{name[-(most // 2) :]}"


def milliseconds(value: float) -> str:
    """A latency as an axis has it: 22 ms, 1.8 s, 38 s."""
    return f"{value:.3g} ms" if value < 1000 else f"{value / 1000:.2g} s"


def _points(
    records: Sequence[Mapping[str, Any]], read: Callable[[Mapping[str, Any]], float | None]
) -> list[tuple[int, float]]:
    found = ((concurrency(record), read(record)) for record in sorted(records, key=concurrency))
    return [(at, value) for at, value in found if value]


def _advantages(axes: Axes, rows: Sequence[Sequence[tuple[str, float]]], names: Sequence[str]) -> None:
    """Marks on a row each, over a logarithmic axis with 1 in it, the first row on top."""
    axes.axvline(1, color=_REFERENCE, linewidth=1.5, linestyle=(0, (4, 3)))
    low, high = 0.8, 1.25
    for place, marks in enumerate(rows):
        for verdict, ratio in marks:
            at = min(max(ratio, 1 / _FURTHEST), _FURTHEST)
            low, high = min(low, at), max(high, at)
            axes.plot(at, place, _MARKERS[verdict], color=_VERDICTS[verdict], markersize=9, markeredgecolor=_BAND)
    axes.set_xscale("log")
    low, high = low / 1.1, high * 1.1
    axes.set_xlim(low, high)
    steps = [step for step in (0.125, 0.25, 0.5, 0.8, 1, 1.25, 2, 4, 8) if low < step < high]
    if high / low > 2:  # these stand too near to 1
        steps = [step for step in steps if step not in (0.8, 1.25)]
    axes.xaxis.set_major_locator(FixedLocator(steps))
    axes.set_xticklabels([f"{step:g}×" for step in steps])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x", color=_LINE)


def _decades(axes: Axes, side: str, values: Sequence[float], write: Callable[[float], str], room: float) -> None:
    """A logarithmic axis, with ticks at few round figures; room: decades left free at each end, as a share."""
    low, high = math.log10(min(values)), math.log10(max(values))
    margin = max((high - low) * room, 0.12)
    low, high = low - margin, high + margin
    wide = high - low > 2.2
    steps = [
        step * 10.0**decade
        for decade in range(math.floor(low), math.ceil(high) + 1)
        for step in ((1,) if wide else (1, 2, 5))
        if low <= math.log10(step) + decade <= high
    ]
    getattr(axes, f"set_{side}scale")("log")
    getattr(axes, f"set_{side}lim")(10**low, 10**high)
    axis = getattr(axes, f"{side}axis")
    axis.set_major_locator(FixedLocator(steps))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    getattr(axes, f"set_{side}ticklabels")([write(step) for step in steps])


# --- SVG ------------------------------------------------------------------------------------------------------------


def _rules(name: str) -> dict[str, Any]:
    # A $ in a name is no formula.
    return {"svg.fonttype": "none", "svg.hashsalt": name, "font.size": _FONT, "text.parse_math": False}


@contextmanager
def _drawing(name: str, height: float) -> Iterator[tuple[Axes, Callable[[], str]]]:
    """Axes to draw on, and what ends the drawing: the SVG."""
    with matplotlib.rc_context(_rules(name)):
        canvas = Figure(figsize=(WIDTH / _INCH, height / _INCH), layout="constrained")
        axes = canvas.add_subplot()
        canvas.patch.set_visible(False)
        axes.patch.set_visible(False)
        axes.tick_params(which="both", length=0, labelcolor=_TEXT, labelsize=_FONT)
        axes.set_axisbelow(True)
        for spine in axes.spines.values():
            spine.set_visible(False)

        def finish() -> str:
            text = io.StringIO()
            FigureCanvasSVG(canvas).print_svg(text, metadata={"Date": None, "Creator": None})
            return _inline(text.getvalue(), name)

        yield axes, finish


def _inline(svg: str, name: str) -> str:
    """The drawing alone, its ids and colours made the page's."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # A rule for every element of the page; the page's own style sheet has it for plots.
    svg = re.sub(r'\s*<defs>\s*<style type="text/css">.*?</style>\s*</defs>', "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s*<!--.*?-->", "", svg, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(#|xlink:href="#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda hit: f' id="{name}-{hit[1]}"' if hit[1] in used else "", svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg).replace('xlink:href="#', f'href="#{name}-')
    for stand_in, variable in _COLOURS.items():
        svg = svg.replace(stand_in, f"var({variable})")
    svg = re.sub(r" font-family: [^;\"]*;", "", svg)
    svg = re.sub(r"\s*<g/>", "", svg)
    svg = re.sub(r"\s*\n\s*", "\n", svg)
    head, body = svg.split(">", 1)
    box = re.search(r'viewBox="[^"]+"', head)
    assert box is not None, "matplotlib's SVG has a viewBox"  # noqa: S101
    return f'<svg {box[0]} class="plot" aria-hidden="true" focusable="false">{body.strip()}'
