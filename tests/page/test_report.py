# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report in a browser: widths from a phone's to a desk's, light and dark, paper, names, and plots that are drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from sglang_fleet.report import write_report
from tests.page.support import Visit
from tests.unit.sglang_fleet.report_runs import everything, host, mi300x, run_of

pytestmark = pytest.mark.lab

RUNS = {
    "everything": everything(),
    "healthy": run_of(mi300x("gpu-01")),
    "bare": run_of(host("gpu-01", "unreachable"), host("gpu-02")),
}
runs = pytest.mark.parametrize("name", RUNS)
schemes = pytest.mark.parametrize("scheme", ["light", "dark"])

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The HTML file of each run, in a folder of its own."""
    return {name: write_report(run, tmp_path_factory.mktemp(name))[0] for name, run in RUNS.items()}


@pytest.fixture
def open_report(browser: Browser, files: dict[str, Path]) -> Iterator[Open]:
    """Opens a report; what it asks for but itself, or complains of, fails the test."""
    visits: list[tuple[Visit, str]] = []

    def go(name: str = "everything", width: int = 1280, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        visit = Visit(context.new_page())
        url = files[name].as_uri()
        visits.append((visit, url))
        visit.page.goto(url)
        return visit.page

    yield go
    for visit, url in visits:
        visit.page.context.close()
        assert visit.complaints == [], "the report complains on the console"
        assert [asked for asked in visit.requests if not asked.startswith((url, "data:"))] == []


def unfold(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((node) => { node.open = true; })")


@runs
def test_the_report_never_scrolls_sideways(open_report: Open, name: str) -> None:
    page = open_report(name)
    unfold(page)
    for width in (320, 360, 390, 768, 800, 1024, 1100, 1440, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width
        wide = page.evaluate(
            """(width) => [...document.querySelectorAll("body *:not(.skip):not(thead):not(thead *):not(svg *)")].filter(
              (node) => node.getBoundingClientRect().right > width + 0.5).map((node) => node.outerHTML.slice(0, 90))""",
            width,
        )
        assert wide == [], f"sticks out at {width}"


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_of_a_plot_is_cut_off_or_too_small(open_report: Open, width: int) -> None:
    page = open_report(width=width)
    found = page.evaluate(
        """() => [...document.querySelectorAll("svg.plot")].map((plot) => {
          const box = plot.getBoundingClientRect();
          const texts = [...plot.querySelectorAll("text")].map((text) => [text.textContent, text.getBoundingClientRect()]);
          return { texts: texts.length, height: box.height, width: box.width,
            cut: texts.filter(([, at]) => at.left < box.left - 1 || at.right > box.right + 1
              || at.top < box.top - 1 || at.bottom > box.bottom + 1).map(([text]) => text),
            small: texts.filter(([, at]) => at.height < 9).map(([text]) => text),
            crossed: texts.flatMap(([one, a], index) => texts.slice(index + 1).filter(([, b]) =>
              a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 4 && b.top < a.bottom - 4)
              .map(([other]) => `${one} on ${other}`)) };
        })"""
    )
    # Four of the five hosts are measured, one of them with two servers; an unlike reference makes no plot.
    assert len(found) == 1 + 5 + 5 + 4 + 10
    for plot in found:
        assert plot["texts"] >= 3
        assert plot["height"] > 60
        assert (plot["cut"], plot["small"], plot["crossed"]) == ([], [], [])


@runs
def test_the_structure_is_sound(open_report: Open, name: str) -> None:
    page = open_report(name)
    found = page.evaluate(
        """() => ({
          language: document.documentElement.lang,
          ids: [...document.querySelectorAll("[id]")].map((node) => node.id),
          headings: [...document.querySelectorAll("h1, h2, h3, h4")].map((node) => Number(node.tagName[1])),
          dangling: [...document.querySelectorAll("[aria-labelledby]")].filter((node) =>
            !document.getElementById(node.getAttribute("aria-labelledby"))).length
            + [...document.querySelectorAll("a[href^='#']")].filter((link) => !document.querySelector(link.hash)).length,
          unnamed: [...document.querySelectorAll("[role=img]")].filter((node) => !node.getAttribute("aria-label")).length,
          uncaptioned: [...document.querySelectorAll("table")].filter((node) => !node.caption.textContent).length,
          title: document.title,
        })"""
    )
    assert (found["language"], found["dangling"], found["unnamed"], found["uncaptioned"]) == ("en", 0, 0, 0)
    assert len(found["ids"]) == len(set(found["ids"])), "an id is there twice"
    assert found["headings"][0] == 1
    assert found["headings"].count(1) == 1
    fleet = RUNS[name]["fleet"]
    assert found["title"].startswith(f"{fleet['passed']} of {fleet['hosts']} hosts passed")


def test_the_policy_allows_the_reports_own_style(open_report: Open) -> None:
    page = open_report()
    assert page.locator(".panel").first.evaluate("(node) => parseFloat(getComputedStyle(node).paddingLeft)") > 10
    widths = page.locator(".memory").first.locator("i").evaluate_all("(parts) => parts.map((part) => part.offsetWidth)")
    fit = RUNS["everything"]["hosts"][0]["plan"]["instances"][0]["fit"]
    shares = [fit[f"{part}_gib_per_gpu"] for part in ("weights", "kv", "headroom", "reserved")]
    assert widths == pytest.approx([sum(widths) * share / sum(shares) for share in shares], abs=2)


# --- Colour ---------------------------------------------------------------------------------------------------------

#: Texts below 4.5 to 1 (WCAG AA) against the ground that is painted, and marks and lines of plots below 3 to 1.
_FAINT = """
() => {
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    throw new Error("no ground");
  };
  const ratio = (colour, node) => {
    const [one, other] = [light(parse(colour)), light(ground(node))].sort((a, b) => b - a);
    return (one + 0.05) / (other + 0.05);
  };
  const faint = [];
  let seen = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.checkVisibility()) continue;
    seen += 1;
    const style = getComputedStyle(node);
    const found = ratio(node.closest("svg") ? style.fill : style.color, node);
    if (found < 4.5) faint.push(`${found.toFixed(2)} ${walker.currentNode.data.slice(0, 40)}`);
  }
  for (const mark of document.querySelectorAll("svg.plot use")) {
    const found = Math.max(...["fill", "stroke"].map((key) => getComputedStyle(mark)[key]).filter((colour) => colour !== "none")
      .map((colour) => ratio(colour, mark)));
    if (found < 3) faint.push(`${found.toFixed(2)} a mark`);
  }
  if (seen < 30) throw new Error(`only ${seen} texts seen`);
  return faint;
}
"""


@runs
@schemes
def test_all_text_and_marks_have_enough_contrast(open_report: Open, name: str, scheme: str) -> None:
    page = open_report(name, color_scheme=scheme)
    unfold(page)
    assert page.evaluate(_FAINT) == []


def test_dark_is_dark_and_light_is_light(open_report: Open) -> None:
    red = "Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])"
    ink = "getComputedStyle(document.querySelector('svg.plot text')).fill"
    light, dark = open_report(color_scheme="light"), open_report(color_scheme="dark")
    assert light.evaluate(red) > 200
    assert dark.evaluate(red) < 60
    assert light.evaluate(ink) != dark.evaluate(ink)


# --- Use ------------------------------------------------------------------------------------------------------------


def test_a_finding_leads_to_its_host(open_report: Open) -> None:
    page = open_report(width=390)
    page.locator("section", has=page.locator("#wrong")).get_by_role("link", name="h200-09").click()
    assert page.url.endswith("#host-4")
    assert page.locator("#host-4").evaluate("(node) => node.getBoundingClientRect().top >= 0")


def test_a_narrow_row_names_its_cells(open_report: Open) -> None:
    page = open_report(width=390)
    cell = page.locator("table.cards td[data-label='Serves']").first
    assert cell.evaluate("(node) => getComputedStyle(node, '::before').content") == '"Serves"'
    page.set_viewport_size({"width": 1280, "height": 900})
    assert cell.evaluate("(node) => getComputedStyle(node, '::before').content") == "none"


def test_the_focus_is_seen(open_report: Open) -> None:
    page = open_report()
    for _press in range(12):
        page.keyboard.press("Tab")
        style, width = page.evaluate(
            """() => { const style = getComputedStyle(document.activeElement);
              return [style.outlineStyle, parseFloat(style.outlineWidth)]; }"""
        )
        assert (style != "none", width >= 2) == (True, True)


# --- Paper ----------------------------------------------------------------------------------------------------------


def test_paper_is_light_and_has_what_is_folded_away(open_report: Open) -> None:
    page = open_report(color_scheme="dark")
    folded = page.locator("details:not([open]) table").first
    assert not folded.evaluate("(node) => node.checkVisibility({ contentVisibilityAuto: true })")
    page.emulate_media(media="print", color_scheme="dark")
    assert folded.evaluate("(node) => node.getBoundingClientRect().height") > 50
    assert page.locator("details:not([open]) pre").first.evaluate("(node) => node.getBoundingClientRect().height") > 10
    assert page.evaluate(_FAINT) == []
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_paper_cuts_nothing_off(open_report: Open, tmp_path: Path) -> None:
    """A4 between margins of 12 mm is 703 pixels wide."""
    page = open_report(width=703)
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 703
    sheet = page.pdf(format="A4", margin=dict.fromkeys(("top", "bottom", "left", "right"), "12mm"))
    assert sheet.startswith(b"%PDF")
    assert 5 <= sheet.count(b"/Type /Page\n") + sheet.count(b"/Type /Page ") <= 40
