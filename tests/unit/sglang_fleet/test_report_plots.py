# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plots: marks where the figures are, the page's colours, and SVG that stands in a page with others."""

from __future__ import annotations

import math
import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from sglang_fleet import report_plots
from sglang_fleet.report_plots import Plot, advantage, allowed_edge
from tests.unit.sglang_fleet.report_runs import everything, mi300x

RECORDS = mi300x("a", low=1.2, medium=1.0, high=0.5)["benchmarks"]
TTFT = ("mean_ttft_ms", "median_ttft_ms", "p99_ttft_ms")


def plots() -> list[Plot]:
    found = [
        report_plots.throughput_plot("one", RECORDS),
        report_plots.latency_plot("two", "Time to first token", TTFT, RECORDS),
        report_plots.ratio_plot("three", RECORDS),
        report_plots.fleet_plot("four", [("a", [("worse", 0.5), ("better", 1.2)]), ("b", [("within", 1.0)])]),
    ]
    assert None not in found
    return [plot for plot in found if plot]


def marks(svg: str, variable: str) -> list[tuple[float, float]]:
    """Where the markers of a colour are, in the order in which they were drawn."""
    found = [
        (float(node.attrib["x"]), float(node.attrib["y"]))
        for node in ET.fromstring(svg).iter()  # noqa: S314 - it is our own
        if node.tag.endswith("use") and f"var({variable})" in node.attrib.get("style", "")
    ]
    assert found, f"no mark in {variable}"
    return found


def test_throughput_is_where_its_figures_are() -> None:
    plot = plots()[0]
    run, reference = marks(plot.svg, "--run"), marks(plot.svg, "--reference")
    assert [x for x, _y in run] == [x for x, _y in reference] == sorted(x for x, _y in run)
    figures = [30.47 * 1.2, 511.05, 1642.64 * 0.5, 30.47, 511.05, 1642.64]
    heights = [-y for _x, y in (*run, *reference)]
    # The axis is logarithmic: heights go as the logarithms do.
    slope = (heights[5] - heights[3]) / (math.log(figures[5]) - math.log(figures[3]))
    assert [height - heights[3] for height in heights] == pytest.approx(
        [slope * (math.log(value) - math.log(30.47)) for value in figures], abs=0.1
    )


def test_latencies_are_where_their_figures_are() -> None:
    plot = plots()[1]
    run, reference = marks(plot.svg, "--run"), marks(plot.svg, "--reference")
    # From the last row up: of each the median, then the p99.
    figures = [182.64 / 0.5, 1815.81 / 0.5, 147.43, 898.91, 382.24 / 1.2, 37978.2 / 1.2]
    published = [182.64, 1815.81, 147.43, 898.91, 382.24, 37978.2]
    across = [x for x, _y in (*run, *reference)]
    logs = [math.log(value) for value in (*figures, *published)]
    slope = (across[11] - across[10]) / (logs[11] - logs[10])
    assert [x - across[10] for x in across] == pytest.approx([slope * (log - logs[10]) for log in logs], abs=0.1)


def test_ratios_are_better_to_the_right_and_coloured_by_verdict() -> None:
    plot = plots()[2]
    worse, better = marks(plot.svg, "--bad"), marks(plot.svg, "--good")
    assert max(x for x, _y in worse) < min(x for x, _y in better)
    assert report_plots._SHOWN
    texts = [node.text for node in ET.fromstring(plot.svg).iter() if node.tag.endswith("text")]  # noqa: S314
    assert "median_tpot · 100" in texts
    assert "input_throughput · 100" in texts, "a figure that is worse is drawn whichever it is"
    assert "input_throughput · 16" not in texts


def test_the_fleets_rows_are_in_order() -> None:
    plot = plots()[3]
    [(slow, first)], [(fast, again)], [(_same, second)] = (
        marks(plot.svg, name) for name in ("--bad", "--good", "--run")
    )
    assert slow < fast
    assert first == again < second


@pytest.mark.parametrize("number", range(4))
def test_a_plot_stands_in_a_page_with_others(number: int) -> None:
    plot = plots()[number]
    root = ET.fromstring(plot.svg)  # noqa: S314
    ids = [node.attrib["id"] for node in root.iter() if "id" in node.attrib]
    assert ids
    assert all(name.startswith(f"{plot.name}-") for name in ids)
    used = re.findall(r'(?:url\(#|href="#)([^")]+)', plot.svg)
    assert set(used) == set(ids)
    # A style sheet in it would be the page's; a font would not be; what it needs of others would be missing.
    assert not re.search(r"<style|<metadata|font-family|https?:|xlink|<!--|<\?xml|<!DOCTYPE", plot.svg)


@pytest.mark.parametrize("number", range(4))
def test_all_colours_are_the_pages(number: int) -> None:
    plot = plots()[number]
    assert re.findall(r"#[0-9a-fA-F]{6}\b|\brgb\(", plot.svg) == []
    assert set(re.findall(r"var\((--[a-z]+)\)", plot.svg)) <= set(report_plots._COLOURS.values())


def test_the_same_figures_give_the_same_bytes() -> None:
    assert plots() == plots()


def test_a_plot_is_told_in_words() -> None:
    assert plots()[0].label == (
        "Output tokens a second by requests at once. 1: 36.6, 16: 511, 100: 821. Reference: 1: 30.5, 16: 511, 100: 1,643."
    )
    assert "100 at once: 365 ms to 3.6 s, reference 183 ms to 1.8 s." in plots()[1].label


def test_without_figures_there_is_no_plot() -> None:
    empty = [record | {"metrics": {}, "comparison": None} for record in RECORDS]
    assert report_plots.throughput_plot("x", empty) is None
    assert report_plots.latency_plot("x", "y", TTFT, empty) is None
    assert report_plots.ratio_plot("x", empty) is None
    assert report_plots.fleet_plot("x", [("a", [])]) is None


def test_an_unlike_reference_is_not_drawn() -> None:
    unlike = everything()["hosts"][2]["benchmarks"]
    plot = report_plots.throughput_plot("x", unlike)
    assert plot is not None
    assert "--reference" not in plot.svg
    assert report_plots.ratio_plot("x", unlike) is None


def test_one_point_and_extremes_are_drawn() -> None:
    assert report_plots.throughput_plot("x", RECORDS[:1])
    far = report_plots.fleet_plot("x", [("a", [("worse", 0.001), ("better", 1000.0)])])
    assert far is not None
    [(low, _y)], [(high, _same)] = marks(far.svg, "--bad"), marks(far.svg, "--good")
    assert 0 < low < high < report_plots.WIDTH


@pytest.mark.parametrize(
    ("metric", "ratio", "tolerance", "ahead", "edge"),
    [
        ("output_throughput", 0.8, 0.1, 0.8, 0.9),
        ("median_ttft_ms", 0.8, 0.25, 1.25, 0.8),
        ("p99_ttft_ms", 2.0, 1.0, 0.5, 0.5),
        ("output_throughput", 1.0, [450.0, 550.0], 1.0, 0.9),
        ("median_ttft_ms", 1.0, [450.0, 625.0], 1.0, 0.8),
        ("output_throughput", 1.0, None, 1.0, None),
        ("output_throughput", 1.0, "any", 1.0, None),
        ("output_throughput", 1.0, 1.0, 1.0, None),
    ],
)
def test_advantages(metric: str, ratio: float, tolerance: Any, ahead: float, edge: float | None) -> None:
    row = {"metric": metric, "ratio": ratio, "tolerance": tolerance, "reference": 500.0}
    assert advantage(row) == pytest.approx(ahead)
    assert allowed_edge(row) == (None if edge is None else pytest.approx(edge))


@pytest.mark.parametrize(
    ("name", "short"),
    [("gpu-01", "gpu-01"), ("a" * 20, "a" * 20), ("gb300-01.rack7.example.internal", "gb300-01.…e.internal")],
)
def test_long_names_are_shortened_in_the_middle(name: str, short: str) -> None:
    assert report_plots.shortened(name) == short


@pytest.mark.parametrize(
    ("low", "ticks"), [(0.9, ["0.8×", "1×", "1.25×"]), (0.2, ["0.25×", "0.5×", "1×"])], ids=["near", "far"]
)
def test_ticks_leave_room_for_their_figures(low: float, ticks: list[str]) -> None:
    plot = report_plots.fleet_plot("x", [("a", [("worse", low)])])
    assert plot is not None
    texts = [node.text for node in ET.fromstring(plot.svg).iter() if node.tag.endswith("text")]  # noqa: S314
    assert texts == [*ticks, "a"]


def test_a_name_is_no_formula() -> None:
    plot = report_plots.fleet_plot("one", [("$x_{$", [("worse", 0.5)]), ("b", [("within", 1.0)])])
    assert plot is not None
    assert "$x_{$" in plot.svg
