# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Chromium without a window for the planner's page, opened from the disk as a reader opens it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from fleetlab.engine import ensure_browser, is_root
from fleetlab.shell import LabError
from tests.page.support import URL, Visit

Open = Callable[..., Visit]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    try:
        path = ensure_browser()
    except LabError as error:
        pytest.fail(f"no browser: {error}", pytrace=False)
    with sync_playwright() as playwright:
        # Chromium's sandbox does not start for root.
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"] if is_root() else [])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens the page with a choice in the address; what the page asks of others, or complains of, fails the test."""
    visits: list[Visit] = []

    def go(
        choice: object = "", *, width: int = 1440, permissions: tuple[str, ...] = (), before: str = "", **options: Any
    ) -> Visit:
        """choice: the address from # on. before: a script that runs before the page's own."""
        context = browser.new_context(viewport={"width": width, "height": 900}, permissions=permissions, **options)
        if before:
            context.add_init_script(before)
        visit = Visit(context.new_page())
        visits.append(visit)
        visit.page.goto(f"{URL}{choice}")
        return visit

    yield go
    for visit in visits:
        visit.page.context.close()
    for visit in visits:
        assert visit.complaints == [], "the page complains on the console"
        strange = [url for url in visit.requests if not url.startswith((URL.rpartition("/")[0], "data:"))]
        assert strange == [], "the page asks for what is not its own"


@pytest.fixture
def page(open_page: Open) -> Page:
    return open_page().page
