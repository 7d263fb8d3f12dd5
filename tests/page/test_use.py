# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page as a reader uses it: with a mouse, with the keyboard alone, from a link, back again, and copying."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.page.conftest import Open
from tests.page.support import CATALOGUE, Choice, checked, radio, shown, wanted

pytestmark = pytest.mark.lab

START = Choice()
#: What is greyed there: this layout of these GPUs.
GREYED = START.but(layout="1x6")


def click(page: Page, level: str, value: str) -> None:
    """Clicks the label, as a person does; greyed ones too."""
    page.locator("label", has=radio(page, level, value)).click(force=True)


def fragment(page: Page) -> str:
    return "#" + page.url.partition("#")[2]


def is_consistent(page: Page, choice: Choice) -> None:
    """The controls, the address and what is shown all belong to this choice."""
    assert checked(page) == choice
    assert fragment(page) == str(choice)
    assert shown(page) == wanted(choice)


# --- Choosing -------------------------------------------------------------------------------------------------------


def test_the_page_starts_with_a_plan(page: Page) -> None:
    assert checked(page) == START
    assert shown(page) == wanted(START)
    assert "#" not in page.url
    expect(page.locator("#status")).to_contain_text("Layout 1x8: 1 server of 8 GPUs; tp 8, ep 8; no GPU idle")


@pytest.mark.parametrize(
    ("level", "value"),
    [
        ("gpu", "MI325X"),
        ("count", "5"),
        ("model", "MiniMax-M2.5"),
        ("layout", "2x4"),
        ("thinking", "off"),
        ("tools", "off"),
        ("profile", "cookbook"),
    ],
)
def test_a_click_chooses(page: Page, level: str, value: str) -> None:
    click(page, level, value)
    is_consistent(page, START.but(**{level: value}))


def test_clicks_add_up(page: Page) -> None:
    for level, value in (("gpu", "B300"), ("count", "4"), ("layout", "2x2"), ("profile", "cookbook"), ("tools", "off")):
        click(page, level, value)
    is_consistent(page, Choice("B300", "4", "MiniMax-M2.7", "2x2", "on", "off", "cookbook"))


def test_a_layout_that_new_hardware_cannot_have_goes_back_to_auto_and_that_is_said(page: Page) -> None:
    click(page, "layout", "2x4")
    click(page, "count", "2")
    is_consistent(page, START.but(count="2"))
    said = "The layout 2x4 is not possible here, so it is auto now."
    expect(page.locator("#said")).to_contain_text(said)
    expect(page.locator("#announce")).to_contain_text(said)
    click(page, "thinking", "off")
    expect(page.locator("#said")).to_be_hidden()


def test_a_layout_that_breaks_a_rule_on_new_hardware_is_explained_by_the_planner(page: Page) -> None:
    """4x2 fits on 8 x H200, and 2 x H100 have no room for the weights."""
    click(page, "layout", "4x2")
    click(page, "gpu", "H100")
    is_consistent(page, START.but(gpu="H100"))
    [why] = wanted(START.but(gpu="H100", layout="4x2"))["refusal"]
    expect(page.locator("#said")).to_contain_text(why)


def test_a_count_that_new_hardware_cannot_have_becomes_the_next_that_it_can(page: Page) -> None:
    click(page, "count", "2")
    click(page, "gpu", "H100")
    is_consistent(page, START.but(gpu="H100", count="4"))
    expect(page.locator("#said")).to_contain_text("The GPU count 2 is not possible here, so it is 4 now.")


# --- Greyed choices -------------------------------------------------------------------------------------------------


def test_a_greyed_choice_cannot_be_clicked_and_says_why(page: Page) -> None:
    [why] = wanted(GREYED)["refusal"]
    click(page, "layout", "1x6")
    assert checked(page) == START
    assert "#" not in page.url
    expect(page.locator("#choose-layout .why")).to_have_text(f"1x6 is not possible: {why}")
    expect(page.locator("#announce")).to_have_text(f"1x6 is not possible: {why}")


def test_a_greyed_choice_is_described_by_its_reason(page: Page) -> None:
    [why] = wanted(GREYED)["refusal"]
    expect(radio(page, "layout", "1x6")).to_have_attribute("aria-disabled", "true")
    expect(radio(page, "layout", "1x6")).to_have_accessible_description(why)
    expect(radio(page, "layout", "1x8")).not_to_have_attribute("aria-disabled", "true")
    expect(radio(page, "layout", "1x8")).to_have_accessible_description("")


def test_every_greyed_choice_is_in_the_list_with_its_reason(page: Page) -> None:
    page.locator("#choose-layout summary").click()
    items = page.locator("#choose-layout details li")
    greyed = [
        value or ""
        for value in (
            input_.get_attribute("value") for input_ in page.locator('input[name=layout][aria-disabled="true"]').all()
        )
    ]
    assert len(greyed) >= 4
    assert items.all_inner_texts() == [f"{value}: {wanted(START.but(layout=value))['refusal'][0]}" for value in greyed]


def test_hardware_that_nothing_runs_on_is_greyed(page: Page) -> None:
    [why] = wanted(START.but(gpu="A100"))["refusal"]
    assert "known issue" in why
    click(page, "gpu", "A100")
    assert checked(page) == START
    expect(page.locator("#choose-gpu .why")).to_contain_text(why)


# --- Links ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "choice",
    [
        Choice("MI300X", "8", "MiniMax-M2.1", "2x4", "off", "off", "cookbook"),
        Choice("GB300", "4", "MiniMax-M2.7", "auto", "on", "off", "hardened"),
        Choice("H20", "8", "MiniMax-M2.5", "1x8", "off", "on", "hardened"),
    ],
    ids=str,
)
def test_a_link_restores_the_choice(open_page: Open, choice: Choice) -> None:
    is_consistent(open_page(choice).page, choice)


def test_a_short_link_leaves_the_rest_at_the_start(open_page: Open) -> None:
    page = open_page("#gpu=MI355X&model=MiniMax-M2").page
    model = CATALOGUE.models["MiniMax-M2"]
    assert model.reasoning_parser is not None
    on_off = "on" if model.reasoning_parser.default else "off"
    assert checked(page) == Choice("MI355X", "8", "MiniMax-M2", "auto", on_off, on_off)
    expect(page.locator("#said")).to_be_hidden()


def test_a_link_to_what_is_not_there_says_so(open_page: Open) -> None:
    page = open_page("#gpu=RTX5090&layout=9x9&thinking=off&colour=<b>red</b>").page
    assert checked(page) == START.but(thinking="off")
    said = page.locator("#said")
    expect(said).to_contain_text("The link asks for the hardware RTX5090, which is not offered here: it is H200.")
    expect(said).to_contain_text("The link asks for the layout 9x9, which is not offered here: it is auto.")
    expect(said).to_contain_text("The link's colour means nothing here.")


def test_a_link_to_a_refused_plan_shows_the_reason_and_what_is_possible(open_page: Open) -> None:
    choice = START.but(count="3", layout="1x3")
    page = open_page(choice).page
    is_consistent(page, choice)
    [why] = wanted(choice)["refusal"]
    expect(page.locator("#announce")).to_contain_text(why)
    expect(page.locator("#plan")).to_be_hidden()
    instead = page.locator("#instead button")
    assert instead.all_inner_texts() == [
        layout for layout in ("auto", "1x3", "1x2", "3x1") if "refusal" not in wanted(choice.but(layout=layout))
    ]
    instead.filter(has_text="1x2").click()
    is_consistent(page, choice.but(layout="1x2"))
    expect(radio(page, "layout", "1x2")).to_be_focused()


def test_a_refusal_above_the_layout_offers_what_is_wrong(open_page: Open) -> None:
    page = open_page(START.but(gpu="H100", count="2")).page
    counts = page.locator("#instead button").all_inner_texts()
    assert counts == [str(n) for n in range(1, 9) if "refusal" not in wanted(START.but(gpu="H100", count=str(n)))]
    assert "4" in counts
    page.locator("#instead button", has_text="4").click()
    is_consistent(page, START.but(gpu="H100", count="4"))


def test_back_and_forward_go_through_the_choices(page: Page) -> None:
    steps = [
        START.but(gpu="MI300X"),
        START.but(gpu="MI300X", layout="4x2"),
        START.but(gpu="MI300X", layout="4x2", tools="off"),
    ]
    click(page, "gpu", "MI300X")
    click(page, "layout", "4x2")
    click(page, "tools", "off")
    is_consistent(page, steps[2])
    page.go_back()
    is_consistent(page, steps[1])
    page.go_back()
    is_consistent(page, steps[0])
    page.go_back()
    assert (checked(page), shown(page)) == (START, wanted(START))
    page.go_forward()
    is_consistent(page, steps[0])


def test_a_changed_address_is_followed(page: Page) -> None:
    choice = Choice("B200", "8", "MiniMax-M2.7", "2x4", "off", "on", "hardened")
    page.evaluate("(fragment) => { location.hash = fragment; }", str(choice))
    page.wait_for_function("document.querySelector('input[name=gpu]:checked').value === 'B200'")
    is_consistent(page, choice)


# --- Keyboard -------------------------------------------------------------------------------------------------------


def focused(page: Page) -> str:
    """Name and value of the radio that has the focus, or what else has it."""
    where: str = page.evaluate(
        "() => { const node = document.activeElement; return node.name ? `${node.name} ${node.value}` : "
        "node.id || node.dataset.of || `${node.tagName.toLowerCase()} of ${(node.closest('fieldset') || {}).id}`; }"
    )
    return where


def tab_to(page: Page, where: str) -> None:
    for _press in range(60):
        page.keyboard.press("Tab")
        if focused(page) == where:
            return
    raise AssertionError(f"Tab does not come to {where}")


def test_tab_goes_through_the_page_in_the_order_of_reading(page: Page) -> None:
    seen = []
    for _press in range(60):
        page.keyboard.press("Tab")
        seen.append(focused(page))
        if seen[-1].startswith("body"):
            break
    groups = [f"{level} {value}" for level, value in zip(START.__dict__, START.values, strict=True)]
    order = ["skip", groups[0], "summary of choose-gpu", groups[1], "summary of choose-count", groups[2], groups[3]]
    order += ["summary of choose-layout", *groups[4:]]
    assert seen[: len(order)] == order
    copies = [name for name in seen if name in ("command-0", "docker-0", "inventory")]
    assert copies == ["command-0", "docker-0", "inventory"]


def test_everything_can_be_chosen_with_the_keyboard(page: Page) -> None:
    tab_to(page, "gpu H200")
    page.keyboard.press("ArrowRight")
    assert focused(page) == "gpu B200"
    is_consistent(page, START.but(gpu="B200"))
    page.keyboard.press("ArrowLeft")
    is_consistent(page, START)
    tab_to(page, "layout auto")
    page.keyboard.press("ArrowDown")
    is_consistent(page, START.but(layout="1x8"))
    tab_to(page, "thinking on")
    page.keyboard.press("ArrowRight")
    tab_to(page, "tools on")
    page.keyboard.press("ArrowRight")
    tab_to(page, "profile hardened")
    page.keyboard.press("ArrowRight")
    is_consistent(page, Choice("H200", "8", "MiniMax-M2.7", "1x8", "off", "off", "cookbook"))


def test_arrows_walk_over_greyed_choices_and_show_their_reasons(open_page: Open) -> None:
    choice = START.but(layout="1x8")
    page = open_page(choice).page
    tab_to(page, "layout 1x8")
    for value in ("1x7", "1x6"):
        page.keyboard.press("ArrowRight")
        assert focused(page) == f"layout {value}"
        assert checked(page) == choice
        [why] = wanted(START.but(layout=value))["refusal"]
        expect(page.locator("#choose-layout .why")).to_have_text(f"{value} is not possible: {why}")
    page.keyboard.press("Space")
    assert checked(page) == choice
    expect(page.locator("#announce")).to_contain_text("1x6 is not possible")
    for _press in range(2):
        page.keyboard.press("ArrowRight")
    assert focused(page) == "layout 2x4"
    is_consistent(page, START.but(layout="2x4"))
    expect(page.locator("#choose-layout .why")).to_be_hidden()


def test_tab_leaves_a_group_from_a_greyed_choice(open_page: Open) -> None:
    page = open_page(START.but(layout="1x8")).page
    tab_to(page, "layout 1x8")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    assert focused(page) in ("layout 1x8", "summary of choose-layout")
    tab_to(page, "thinking on")
    assert checked(page) == START.but(layout="1x8")


def test_the_arrows_keep_the_focus_where_the_layouts_change(page: Page) -> None:
    tab_to(page, "count 8")
    for count in ("7", "6"):
        page.keyboard.press("ArrowLeft")
        assert focused(page) == f"count {count}"
    is_consistent(page, START.but(count="6"))


def test_the_list_of_reasons_opens_with_the_keyboard(page: Page) -> None:
    tab_to(page, "summary of choose-layout")
    page.keyboard.press("Enter")
    expect(page.locator("#choose-layout details li").first).to_be_visible()


def test_the_skip_link_goes_to_the_plan_and_keeps_the_choice(open_page: Open) -> None:
    choice = START.but(layout="2x4")
    page = open_page(choice).page
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert focused(page) == "result"
    is_consistent(page, choice)


# --- Several servers ------------------------------------------------------------------------------------------------


def test_each_server_has_a_tab(open_page: Open) -> None:
    page = open_page(START.but(layout="4x2")).page
    tabs = page.get_by_role("tab")
    assert tabs.all_inner_texts() == ["Server 0", "Server 1", "Server 2", "Server 3"]
    for index in range(4):
        tabs.nth(index).click()
        expect(tabs.nth(index)).to_have_attribute("aria-selected", "true")
        panel = page.get_by_role("tabpanel")
        expect(panel).to_have_count(1)
        expect(panel).to_contain_text(f"--port {30000 + index}")


def test_the_tabs_obey_the_arrows(open_page: Open) -> None:
    page = open_page(START.but(layout="2x4")).page
    tab_to(page, "tab-0")
    for key, server in (("ArrowRight", 1), ("ArrowRight", 0), ("ArrowLeft", 1), ("Home", 0), ("End", 1)):
        page.keyboard.press(key)
        assert focused(page) == f"tab-{server}"
        expect(page.get_by_role("tabpanel")).to_contain_text(f"Server {server}:")
    page.keyboard.press("Tab")
    assert focused(page) == "command-1"


def test_one_server_has_no_tabs(page: Page) -> None:
    expect(page.get_by_role("tab")).to_have_count(0)
    expect(page.get_by_role("tablist")).to_have_count(0)


# --- Copying --------------------------------------------------------------------------------------------------------


CLIPBOARD = ("clipboard-read", "clipboard-write")
#: As in a browser that gives the page no clipboard: what was asked for is noted.
_NO_INTERFACE = "Object.defineProperty(navigator, 'clipboard', { value: undefined });"
_NO_COPYING = _NO_INTERFACE + "document.execCommand = () => false;"


def read_clipboard(page: Page) -> str:
    text: str = page.evaluate("navigator.clipboard.readText()")
    return text


@pytest.mark.parametrize("of", ["command", "docker", "inventory"])
def test_the_copy_button_copies_exactly_the_text(open_page: Open, of: str) -> None:
    choice = Choice("MI300X", "8", "MiniMax-M2.1", "2x4", "off", "off")
    page = open_page(choice, permissions=CLIPBOARD).page
    if of == "inventory":
        button, text = page.locator('[data-of="inventory"]'), wanted(choice)[of][0]
    else:
        page.get_by_role("tab").nth(1).click()
        button, text = page.locator(f'[data-of="{of}-1"]'), wanted(choice)[of][1]
    button.click()
    expect(button).to_contain_text("Copied")
    expect(page.locator("#announce")).to_have_text("Copied.")
    assert read_clipboard(page) == text


def test_copying_works_with_the_keyboard(open_page: Open) -> None:
    page = open_page(permissions=CLIPBOARD).page
    tab_to(page, "docker-0")
    page.keyboard.press("Enter")
    expect(page.locator("#announce")).to_have_text("Copied.")
    assert read_clipboard(page) == wanted(START)["docker"][0]
    assert focused(page) == "docker-0"


def test_copying_works_without_the_clipboards_interface(open_page: Open) -> None:
    page = open_page(before=_NO_INTERFACE).page
    # What the browser itself puts on the clipboard, seen when it is pasted.
    page.locator('[data-of="command-0"]').click()
    expect(page.locator("#announce")).to_have_text("Copied.")
    assert focused(page) == "command-0"
    page.evaluate("document.body.append(Object.assign(document.createElement('textarea'), { id: 'pasted' }))")
    page.locator("#pasted").focus()
    page.keyboard.press("Control+V")
    expect(page.locator("#pasted")).to_have_value(wanted(START)["command"][0])


def test_where_copying_is_not_allowed_the_text_is_selected(open_page: Open) -> None:
    page = open_page(before=_NO_COPYING).page
    page.locator('[data-of="command-0"]').click()
    expect(page.locator("#announce")).to_contain_text("press Ctrl+C")
    assert page.evaluate("getSelection().toString()") == wanted(START)["command"][0]


# --- Without the table ----------------------------------------------------------------------------------------------


def test_a_missing_table_is_said(open_page: Open) -> None:
    visit = open_page(before="Object.defineProperty(window, 'PLANS', { get: () => undefined, set: () => {} });")
    expect(visit.page.locator("#status")).to_contain_text(re.compile("plans.js is missing"))
