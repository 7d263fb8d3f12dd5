# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table behind the planner's page: nothing lost, the same bytes each time, and a stale one is noticed."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import Catalogue, load_catalogue
from sglang_fleet import page
from sglang_fleet.page import Choice, Pool

GPUS = ("H200", "A100")


def small_catalogue() -> Catalogue:
    """Two kinds of GPU: one with plans, one that a known issue refuses."""
    full = load_catalogue()
    return replace(full, gpus={name: full.gpus[name] for name in GPUS})


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return small_catalogue()


@pytest.fixture(scope="module")
def table(catalogue: Catalogue) -> dict[str, Any]:
    """As the browser has it: from the text of the file."""
    text = page.render(page.make_table(catalogue))
    head, _equals, rest = text.partition("window.PLANS = ")
    assert head.startswith("//")
    assert head.count("\n") == 1
    result: dict[str, Any] = json.loads(rest.removesuffix(";\n"))
    return result


def choices(table: dict[str, Any]) -> Iterator[Choice]:
    for (place, gpu), count in itertools.product(enumerate(GPUS), table["counts"]):
        for model, layout in itertools.product(table["models"], table["layouts"][place][count - 1]):
            for thinking, tools, profile in itertools.product((True, False), (True, False), table["profiles"]):
                yield Choice(gpu, count, model["name"], layout, thinking, tools, profile["name"])


# --- Pool -----------------------------------------------------------------------------------------------------------

VALUES = [
    "",
    "one line",
    "two\nlines\n",
    "\n",
    0,
    0.0,
    1,
    1.0,
    True,
    False,
    None,
    [],
    {},
    [[], [[]]],
    {"b": 1, "a": [1.0, True, "1"]},
    {"a": [1.0, True, "1"], "b": 1},
    {"text": "two\nlines\n", "refusal": None},
    ["lines", "two", "two\nlines"],
]


def _table(pool: Pool, numbers: list[int]) -> tuple[dict[str, Any], list[int]]:
    nodes, new = pool.by_use()
    return json.loads(json.dumps({"nodes": nodes, "shapes": pool.shapes})), [new[number] for number in numbers]


def test_a_pool_gives_back_what_was_put_in() -> None:
    pool = Pool()
    table, numbers = _table(pool, [pool.add(value) for value in VALUES])
    back = [page.read_node(table, number) for number in numbers]
    # As text: 1, 1.0 and true, and the order of keys, tell apart what == does not.
    assert [json.dumps(value) for value in back] == [json.dumps(value) for value in VALUES]


def test_a_pool_holds_what_is_equal_once() -> None:
    pool = Pool()
    first = pool.add({"text": "a\nb", "list": ["a", "b"]})
    size = len(pool.nodes)
    assert pool.add({"text": "a\nb", "list": ["a", "b"]}) == first
    assert pool.add(["a", "b"]) != pool.add("a\nb")
    assert len(pool.nodes) == size
    assert pool.nodes.count("a") == 1


def test_what_is_used_most_has_the_shortest_numbers() -> None:
    pool = Pool()
    pool.add(["rare", "often"])
    pool.add(["often", "often", "often"])
    nodes, _new = pool.by_use()
    assert nodes[0] == "often"


# --- Table ----------------------------------------------------------------------------------------------------------


def test_the_table_has_the_planners_answer_to_every_choice(catalogue: Catalogue, table: dict[str, Any]) -> None:
    plans = refusals = 0
    for choice in choices(table):
        wanted = page.answer(catalogue, choice)
        assert page.read_answer(table, choice) == wanted, choice
        refusals += "refusal" in wanted
        plans += "refusal" not in wanted
    assert plans > 500
    assert refusals > 500


def test_answers_are_the_planners(catalogue: Catalogue) -> None:
    plan = page.answer(catalogue, Choice("H200", 8, "MiniMax-M2.7", "2x4", True, False, "hardened"))
    assert plan["node"]["layout"] == "2x4"
    assert [instance["gpus"] for instance in plan["instances"]] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    for number, instance in enumerate(plan["instances"]):
        assert instance["command"].endswith(f"--port {30000 + number}")
        assert "--reasoning-parser" in instance["command"]
        assert "--tool-call-parser" not in instance["docker"]
    assert 'fleet_layout: "2x4"' in plan["inventory"].splitlines()
    assert "fleet_tool_call_parser: false" in plan["inventory"].splitlines()


def test_a_refusal_is_the_planners_with_the_inventorys_names(catalogue: Catalogue) -> None:
    answer = page.answer(catalogue, Choice("H200", 8, "MiniMax-M2.7", "1x6", True, True, "hardened"))
    assert list(answer) == ["refusal"]
    assert "tp 6" in answer["refusal"]
    assert "fleet_layout" in answer["refusal"]


@pytest.mark.parametrize(("model", "own"), [("MiniMax-M2.7", True), ("MiniMax-M2", False)])
def test_what_the_model_does_by_itself_is_not_wished_for(catalogue: Catalogue, model: str, own: bool) -> None:
    wishes = page.wishes(catalogue, Choice("H200", 8, model, "auto", own, own, "hardened"))
    assert (wishes.reasoning_parser, wishes.tool_call_parser) == (None, None)
    wishes = page.wishes(catalogue, Choice("H200", 8, model, "auto", not own, own, "hardened"))
    assert (wishes.reasoning_parser, wishes.tool_call_parser) == (not own, None)


def test_sizes_that_can_be_had_are_offered_with_every_number_of_servers(table: dict[str, Any]) -> None:
    eight = table["layouts"][GPUS.index("H200")][7]
    assert eight[0] == "auto"
    assert {"1x8", "2x4", "1x4", "4x2", "3x2", "2x2", "1x2"} <= set(eight)
    # Of those that cannot, the one that fills the node stands for all, to be greyed.
    assert {"1x7", "1x6", "1x5", "2x3", "8x1"} <= set(eight)
    assert not {"1x3", "1x1", "7x1"} & set(eight)
    assert len(eight) == len(set(eight))


def test_the_start_is_offered_and_possible() -> None:
    known = load_catalogue()
    start = page.START
    model = known.models[start["model"]]
    assert model.reasoning_parser is not None
    choice = Choice(start["gpu"], start["count"], start["model"], start["layout"], True, True, start["profile"])
    assert "refusal" not in page.answer(known, choice)


def test_the_same_table_gives_the_same_bytes_whatever_the_hash_seed() -> None:
    script = (
        "import sys; sys.path.insert(0, '.'); from tests.unit.sglang_fleet import test_page as t; "
        "sys.stdout.write(t.page.render(t.page.make_table(t.small_catalogue())))"
    )
    script = f"import sglang_fleet.collection as c; c.use_checkout(); {script}"
    texts = [
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=page.CHECKOUT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert len(texts[0]) > 10_000
    assert texts[0] == texts[1]


# --- The file -------------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, table: dict[str, Any]) -> dict[str, Any]:
    """The program with a table at hand, which the test may change."""
    current = dict(table)
    monkeypatch.setattr(page, "make_table", lambda: current)
    return current


def test_a_missing_file_is_stale(quick: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plans.js"
    assert page.main(["--check", "--output", str(file)]) == 1
    assert capsys.readouterr().err == f"{file} is not there: run python -m sglang_fleet.page\n"
    assert not file.exists()


def test_a_written_file_is_current(quick: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plans.js"
    assert page.main(["--output", str(file)]) == 0
    assert page.main(["--check", "--output", str(file)]) == 0
    assert capsys.readouterr() == ("", "")


def test_another_answer_makes_the_file_stale(
    quick: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plans.js"
    page.main(["--output", str(file)])
    before = file.read_bytes()
    quick["nodes"] = [*quick["nodes"], "another"]
    assert page.main(["--check", "--output", str(file)]) == 1
    assert capsys.readouterr().err == f"{file} is not what the planner says now: run python -m sglang_fleet.page\n"
    assert file.read_bytes() == before
    assert page.main(["--output", str(file)]) == 0
    assert file.read_bytes() != before


def test_the_table_of_the_checkout_is_current_and_small(capsys: pytest.CaptureFixture[str]) -> None:
    assert page.main(["--check"]) == 0, capsys.readouterr().err
    assert page.PLANS.stat().st_size < 2_000_000
