# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether everyone can read and use the page: names, structure, contrast, sizes, narrow screens, paper."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.page.conftest import Open
from tests.page.support import ROOT, Choice

pytestmark = pytest.mark.lab

#: One of each kind of answer: a plan, one with several servers and patches, one with idle GPUs, two refusals.
KINDS = {
    "plan": Choice(),
    "servers": Choice("MI300X", "8", "MiniMax-M2", "2x4", "off", "on", "cookbook"),
    "idle": Choice("MI300X", "7", "MiniMax-M2.7", "1x4"),
    "refused": Choice(count="3", layout="1x3"),
    "impossible": Choice(gpu="A100"),
}
kinds = pytest.mark.parametrize("choice", KINDS.values(), ids=KINDS)


def unfold(page: Page) -> None:
    """Everything that can be opened is open, and a reason stands below its group."""
    for summary in page.locator("summary:visible").all():
        summary.click()
    greyed = page.locator('input[aria-disabled="true"]:not(:checked)').first
    if greyed.count():
        greyed.click(force=True)
        expect(page.locator(".why:visible")).to_have_count(1)


# --- Size -----------------------------------------------------------------------------------------------------------


@kinds
def test_the_page_never_scrolls_sideways(open_page: Open, choice: Choice) -> None:
    page = open_page(choice).page
    unfold(page)
    for width in (320, 360, 390, 768, 1024, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width
        wide = page.evaluate(
            """(width) => [...document.querySelectorAll("body *:not(pre *):not(.unseen):not(.skip)")].filter(
              (node) => node.getBoundingClientRect().right > width + 0.5).map((node) => node.outerHTML.slice(0, 80))""",
            width,
        )
        assert wide == [], f"sticks out at {width}"


def test_long_lines_scroll_in_their_own_block(open_page: Open) -> None:
    page = open_page(KINDS["servers"], width=390).page
    block = page.locator("pre:visible", has=page.locator("#docker-0"))
    assert block.evaluate("(pre) => pre.scrollWidth > pre.clientWidth")
    block.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('#docker-0').parentElement.scrollLeft > 0")


@kinds
def test_what_is_pressed_is_large_enough_for_a_finger(open_page: Open, choice: Choice) -> None:
    """24 CSS pixels each way: WCAG 2.2, 2.5.8."""
    page = open_page(choice, width=390).page
    small = page.evaluate(
        """() => [...document.querySelectorAll("label.choice, button")].filter((node) => node.offsetParent).map((node) =>
          [node.textContent, node.getBoundingClientRect()]).filter(([, box]) => box.width < 24 || box.height < 24)
          .map(([text]) => text)"""
    )
    assert small == []


# --- Names and structure --------------------------------------------------------------------------------------------


def accessible(page: Page) -> Iterator[dict[str, Any]]:
    """The nodes of the browser's accessibility tree: role, name, description."""
    session = page.context.new_cdp_session(page)
    for node in session.send("Accessibility.getFullAXTree")["nodes"]:
        if not node["ignored"]:
            yield {key: node.get(key, {}).get("value", "") for key in ("role", "name", "description")}


@kinds
def test_everything_that_can_be_used_has_a_name(open_page: Open, choice: Choice) -> None:
    page = open_page(choice).page
    nodes = list(accessible(page))
    used = [
        node for node in nodes if node["role"] in ("radio", "button", "tab", "link", "radiogroup", "tablist", "image")
    ]
    assert len([node for node in used if node["role"] == "radio"]) > 30
    assert [node for node in used if not node["name"]] == []
    groups = [node["name"] for node in nodes if node["role"] == "group"]
    assert groups[:7] == [legend.inner_text() for legend in page.locator("legend").all()]
    buttons = [node["name"] for node in nodes if node["role"] == "button"]
    assert len(buttons) == len(set(buttons)), "two buttons have one name"


def test_the_memory_bar_is_told_in_words(page: Page) -> None:
    label = page.locator("#memory").get_attribute("aria-label") or ""
    assert re.fullmatch(
        r"Of [\d.]+ GiB: Weights [\d.]+ GiB, KV cache [\d.]+ GiB, Head-room [\d.]+ GiB, Reserved [\d.]+ GiB", label
    )


@kinds
def test_the_memory_bar_has_the_shares_of_the_figures(open_page: Open, choice: Choice) -> None:
    page = open_page(choice).page
    if page.locator("#plan").is_hidden():
        return
    widths = page.evaluate(
        "[...document.querySelectorAll('#memory i')].map((part) => part.getBoundingClientRect().width)"
    )
    figures = [float(data.get_attribute("value") or 0) for data in page.locator("#shares data").all()]
    *parts, whole = figures
    drawn = page.locator("#memory").evaluate("(bar) => bar.clientWidth")
    assert widths == pytest.approx([drawn * part / whole for part in parts], abs=2)


@kinds
def test_the_structure_is_sound(open_page: Open, choice: Choice) -> None:
    page = open_page(choice).page
    found = page.evaluate(
        """() => ({
          language: document.documentElement.lang,
          mains: document.querySelectorAll("main").length,
          ids: [...document.querySelectorAll("[id]")].map((node) => node.id),
          headings: [...document.querySelectorAll("h1, h2, h3, h4")].filter((node) => node.offsetParent)
            .map((node) => Number(node.tagName[1])),
          dangling: [...document.querySelectorAll("[aria-labelledby], [aria-describedby], [aria-controls]")].flatMap((node) =>
            ["aria-labelledby", "aria-describedby", "aria-controls"].map((name) => node.getAttribute(name)))
            .filter((id) => id && !document.getElementById(id)),
        })"""
    )
    assert (found["language"], found["mains"], found["dangling"]) == ("en", 1, [])
    assert len(found["ids"]) == len(set(found["ids"])), "an id is there twice"
    levels = found["headings"]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels)), levels


def test_links_of_warnings_lead_to_their_sources(open_page: Open) -> None:
    page = open_page(KINDS["idle"]).page
    links = page.locator("#warnings a")
    assert links.count() >= 2
    for link in links.all():
        assert (link.get_attribute("href") or "").startswith("https://")


# --- Colour ---------------------------------------------------------------------------------------------------------

#: Text below WCAG AA (4.5 to 1) against the nearest ground that is painted.
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
  const faint = [];
  let seen = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.checkVisibility() || ["SCRIPT", "NOSCRIPT"].includes(node.tagName)) continue;
    seen += 1;
    const [one, other] = [light(parse(getComputedStyle(node).color)), light(ground(node))].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < 4.5) faint.push(`${ratio.toFixed(2)} ${walker.currentNode.data.slice(0, 40)}`);
  }
  if (seen < 50) throw new Error(`only ${seen} texts seen`);
  return faint;
}
"""


@kinds
def test_all_text_has_enough_contrast(open_page: Open, choice: Choice) -> None:
    page = open_page(choice).page
    unfold(page)
    page.emulate_media(color_scheme="light")
    assert page.evaluate(_FAINT) == [], "light"
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(_FAINT) == [], "dark"


def test_dark_is_dark_and_light_is_light(page: Page) -> None:
    red = "Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])"
    page.emulate_media(color_scheme="light")
    assert page.evaluate(red) > 200
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(red) < 60


def test_the_focus_is_seen(page: Page) -> None:
    bare = []
    for _press in range(30):
        page.keyboard.press("Tab")
        style = page.evaluate(
            """() => {
              const node = document.activeElement;
              const seen = node.matches(".choice input") ? node.nextElementSibling : node;
              return [getComputedStyle(seen).outlineStyle, parseFloat(getComputedStyle(seen).outlineWidth), seen.outerHTML];
            }"""
        )
        if style[2].startswith("<body"):
            break
        if style[0] == "none" or style[1] < 2:
            bare.append(style)
    assert bare == []


# --- Paper ----------------------------------------------------------------------------------------------------------


def test_paper_has_every_server_and_no_controls(open_page: Open) -> None:
    page = open_page(KINDS["servers"]).page
    page.emulate_media(media="print", color_scheme="dark")
    expect(page.locator("#choices")).to_be_hidden()
    assert page.locator("button:visible").count() == 0
    for server in range(2):
        expect(page.locator(f"#docker-{server}")).to_be_visible()
    assert page.evaluate(_FAINT) == []


# --- Alone ----------------------------------------------------------------------------------------------------------


def test_the_files_name_nothing_outside_the_folder() -> None:
    """Links are the planner's; what the page itself loads lies beside it."""
    folder = ROOT / "docs" / "planner"
    for name in ("index.html", "page.css", "page.js"):
        text = (folder / name).read_text(encoding="utf-8")
        assert not re.search(r"https?://(?!\\/)[a-z]|@import|url\(|\bfetch\(|XMLHttpRequest|\bimport\b", text), name
    html = (folder / "index.html").read_text(encoding="utf-8")
    assert set(re.findall(r'(?:src|href)="([^"#]+)"', html)) == {"page.css", "plans.js", "page.js", "data:,"}
