# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that the page can show is what the planner says, asked now, and what the command line prints."""

from __future__ import annotations

import itertools
import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Page

from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import facts_for
from tests.page.support import (
    CATALOGUE,
    COUNTS,
    LEVELS,
    OPTIONS,
    READ,
    ROOT,
    Choice,
    layouts_within,
    shown,
    wanted,
)

pytestmark = pytest.mark.lab

# Shows every choice of a kind of node through the page's own function and reads the page after each. Texts come back
# once each, by number, or the answers would be hundreds of megabytes.
_WALK = f"""
([gpu, count, models, options]) => {{
  const read = {READ};
  const texts = new Map();
  const number = (text) => {{
    if (!texts.has(text)) texts.set(text, texts.size);
    return texts.get(text);
  }};
  const layouts = planner.offered("layout", {{ gpu, count }});
  const rows = [];
  for (const model of models) for (const layout of layouts) for (const [thinking, tools, profile] of options) {{
    planner.show({{ gpu, count, model, layout, thinking, tools, profile }});
    const answer = read();
    const inputs = [...document.getElementById("choices").elements].filter((control) => control.type === "radio");
    const greyed = inputs.filter((input) => input.getAttribute("aria-disabled") === "true");
    const name = (input) => `${{input.name}} ${{input.value}}`;
    answer.greyed = greyed.map(name);
    answer.unsaid = greyed.filter((input) =>
      !(document.getElementById(input.getAttribute("aria-describedby")) || {{}}).textContent).map(name);
    answer.checked = inputs.filter((input) => input.checked).map(name);
    for (const key of Object.keys(answer)) answer[key] = answer[key].map(number);
    rows.push(answer);
  }}
  return JSON.stringify({{ layouts, rows, texts: [...texts.keys()] }});
}}
"""


class _Possible:
    """For which beginnings of a choice there is a plan."""

    def __init__(self) -> None:
        self._beginnings: set[tuple[str, ...]] = set()

    def add(self, choice: Choice) -> None:
        self._beginnings.update(choice.values[:depth] for depth in range(len(LEVELS) + 1))

    def greyed(self, choice: Choice, offered: dict[str, list[str]]) -> list[str]:
        """The values that nothing is possible with, under choices with which something is."""
        return [
            f"{level} {value}"
            for depth, level in enumerate(LEVELS)
            if choice.values[:depth] in self._beginnings
            for value in offered[level]
            if (*choice.values[:depth], value) not in self._beginnings
        ]


def _asked(gpu: str, count: str, models: list[str]) -> dict[Choice, dict[str, list[str]]]:
    """The planner's answers for a kind of node, with every layout that has room there."""
    facts = facts_for(CATALOGUE, gpu, int(count))
    choices = (
        Choice(gpu, count, model, layout, *options)
        for model in models
        for layout in layouts_within(int(count))
        for options in OPTIONS
    )
    return {choice: wanted(choice, facts) for choice in choices}


def test_every_choice_shows_the_planners_answer(page: Page) -> None:
    models = list(CATALOGUE.models)
    offered = {
        "gpu": list(CATALOGUE.gpus),
        "count": [str(count) for count in COUNTS],
        "model": models,
        "thinking": ["on", "off"],
        "tools": ["on", "off"],
        "profile": list(CATALOGUE.container_profiles),
    }
    possible = _Possible()
    greyed: list[tuple[Choice, list[str], list[str]]] = []
    with ThreadPoolExecutor(max_workers=1) as planner:  # plans while the browser shows
        for gpu, count in itertools.product(offered["gpu"], offered["count"]):
            asked = planner.submit(_asked, gpu, count, models)
            walked = json.loads(page.evaluate(_WALK, [gpu, count, models, OPTIONS]))
            expected = asked.result()
            texts, rows = walked["texts"], iter(walked["rows"])
            for model, layout, options in itertools.product(models, walked["layouts"], OPTIONS):
                choice = Choice(gpu, count, model, layout, *options)
                row = {key: [texts[number] for number in numbers] for key, numbers in next(rows).items()}
                greyed.append((choice, walked["layouts"], row.pop("greyed")))
                assert row.pop("unsaid") == [], f"{choice}: greyed without a reason"
                assert row.pop("checked") == [f"{a} {b}" for a, b in zip(LEVELS, choice.values, strict=True)]
                answer = expected.pop(choice)
                assert row == answer, f"{choice} differs"
                if "refusal" not in answer:
                    possible.add(choice)
            # What the page does not offer, the planner refuses.
            for choice, answer in expected.items():
                assert "refusal" in answer, f"{choice} is possible, and not offered"
    assert len(greyed) > 20_000
    for choice, layouts, seen in greyed:
        assert seen == possible.greyed(choice, {**offered, "layout": layouts}), f"{choice}: greyed are others"


def _sample() -> Iterator[Choice]:
    """Choices that the page offers, of every GPU and model, the same in each run."""
    chance = random.Random(3)  # noqa: S311
    gpus, models = list(CATALOGUE.gpus), list(CATALOGUE.models)
    for index in range(40):
        count = chance.choice((1, 2, 3, 4, 8, 8, 8))
        sizes = [size for size in (1, 2, 4, 8) if size <= count]
        layouts = ["auto", *(f"{count // size}x{size}" for size in sizes)]
        yield Choice(
            gpus[index % len(gpus)],
            str(count),
            models[index % len(models)],
            chance.choice(layouts),
            *chance.choice(OPTIONS),
        )


def _cli(choice: Choice, form: str) -> subprocess.CompletedProcess[str]:
    model = CATALOGUE.models[choice.model]
    words = ["--model", choice.model, "--gpu", choice.gpu, "--count", choice.count, "--format", form]
    if choice.layout != "auto":
        words += ["--layout", choice.layout]
    if choice.profile != "hardened":
        words += ["--profile", choice.profile]
    for value, parser, option in (
        (choice.thinking, model.reasoning_parser, "thinking"),
        (choice.tools, model.tool_call_parser, "tool-calls"),
    ):
        if (value == "on") is not (parser is not None and parser.default):
            words.append(f"--{option}" if value == "on" else f"--no-{option}")
    return subprocess.run(
        [Path(sys.executable).parent / "sglang-fleet", "plan", *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _in_options(text: str) -> str:
    """A refusal as the command line says it: its options in the place of inventory variables."""
    names = {"fleet_allow_known_issues": "--allow-known-issue"}
    return re.sub(r"\bfleet_(\w+)", lambda found: names.get(found[0], "--" + found[1].replace("_", "-")), text)


def test_the_command_line_prints_what_the_page_shows(page: Page) -> None:
    refused = 0
    for choice in _sample():
        page.evaluate("(choice) => planner.show(choice)", dict(zip(LEVELS, choice.values, strict=True)))
        texts = shown(page)
        for form in ("command", "docker", "inventory"):
            ran = _cli(choice, form)
            if "refusal" in texts:
                refused += 1
                assert (ran.returncode, ran.stdout) == (2, ""), f"{choice} {form}: {ran}"
                assert _in_options(texts["refusal"][0]) in ran.stderr, f"{choice} {form}"
                break
            assert ran.returncode == 0, f"{choice} {form}: {ran}"
            blocks = texts[form]
            if len(blocks) > 1:
                ports = [re.findall(r":(\d+),", where)[0] for where in texts["where"]]
                blocks = [
                    f"# instance {index}, port {port}\n{block}"
                    for index, (port, block) in enumerate(zip(ports, blocks, strict=True))
                ]
            assert ran.stdout == "\n\n".join(blocks) + "\n", f"{choice} {form} differs"
    assert 5 <= refused <= 30, "the sample has too few refusals, or too few plans"
