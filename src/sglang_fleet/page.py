# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table that the planner's web page (``docs/planner``) looks its answers up in.

``python -m sglang_fleet.page`` has the planner answer every choice that the page offers and writes the answers to
``docs/planner/plans.js``; with ``--check`` it writes nothing and exits 1 when that file is stale.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sglang_fleet.collection import CHECKOUT, use_checkout

use_checkout()  # the collection is importable from here on

from ansible_collections.sglang.fleet.plugins.module_utils import _render  # noqa: E402
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import Catalogue, load_catalogue  # noqa: E402
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import Wishes, facts_for  # noqa: E402
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import PlanError  # noqa: E402
from ansible_collections.sglang.fleet.plugins.module_utils._planner import make_plan  # noqa: E402

PLANS = CHECKOUT / "docs" / "planner" / "plans.js"

#: GPUs in a node
COUNTS = tuple(range(1, 9))
#: what the page shows before anything was chosen; the model's own defaults decide on thinking and tool calls
START = {"gpu": "H200", "count": 8, "model": "MiniMax-M2.7", "layout": "auto", "profile": "hardened"}

_HEAD = "// Made by `python -m sglang_fleet.page` from the planner and its catalogue: change those, not this.\n"


@dataclass(frozen=True)
class Choice:
    """One setting of everything that the page offers; layout is ``auto`` or ``NxT``."""

    gpu: str
    count: int
    model: str
    layout: str
    thinking: bool
    tool_calls: bool
    profile: str


def wishes(catalogue: Catalogue, choice: Choice) -> Wishes:
    """The choice as the planner takes it. What the model does by itself is not wished for, as in a short inventory."""
    model = catalogue.models[choice.model]

    def wish(parser: Any, on: bool) -> bool | None:
        return None if on == (parser is not None and parser.default) else on

    return Wishes(
        model=choice.model,
        layout=choice.layout,
        profile=choice.profile,
        reasoning_parser=wish(model.reasoning_parser, choice.thinking),
        tool_call_parser=wish(model.tool_call_parser, choice.tool_calls),
    )


def answer(catalogue: Catalogue, choice: Choice, facts: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the page shows for a choice: the parts of the plan, or ``{"refusal": why}``.

    facts: those of the choice's GPU and count where the caller has them at hand.
    """
    wanted = wishes(catalogue, choice)
    try:
        found = facts_for(catalogue, choice.gpu, choice.count) if facts is None else facts
        plan = make_plan(catalogue, found, wanted).to_dict()
    except PlanError as error:
        return {"refusal": str(error)}
    instances = plan["instances"]
    fit = instances[0]["fit"]
    if any(instance["fit"] != fit for instance in instances):
        raise ValueError(f"{choice}: the page shows one memory bar, and the instances of this plan differ in fit")
    return {
        # What thinking, tool calls and profile do not change is held once for them all.
        "node": {key: plan[key] for key in ("layout", "image", "patches", "idle_gpus", "reasons")} | {"fit": fit},
        "warnings": plan["warnings"],
        "inventory": _render.inventory(plan, wanted),
        "instances": [
            {
                **{key: instance[key] for key in ("name", "gpus", "address", "port", "tp", "ep")},
                "command": _render.command(plan, instance),
                "docker": _render.docker_run(plan, instance),
            }
            for instance in instances
        ],
    }


class Pool:
    """Values of JSON with everything that is equal held once: a value is a number, that of its node.

    A node is a string of one line, a number, a truth value or null as it is, or a list whose first entry says what the
    others, numbers of nodes, make: 0 a text of those lines, 1 a list, from 2 on an object with the keys of
    ``shapes[first - 2]``.
    """

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.shapes: list[list[str]] = []
        self._numbers: dict[Hashable, int] = {}
        self._kinds: dict[tuple[str, ...], int] = {}

    def add(self, value: Any) -> int:
        """The number of the value's node."""
        if isinstance(value, str) and "\n" in value:
            return self._node([0, *(self.add(line) for line in value.split("\n"))])
        if isinstance(value, Mapping):
            return self._node([self._kind(tuple(value)), *(self.add(item) for item in value.values())])
        if isinstance(value, (list, tuple)):
            return self._node([1, *(self.add(item) for item in value)])
        return self._node(value)

    def _kind(self, keys: tuple[str, ...]) -> int:
        if keys not in self._kinds:
            self._kinds[keys] = len(self.shapes) + 2
            self.shapes.append(list(keys))
        return self._kinds[keys]

    def _node(self, node: Any) -> int:
        # 1, 1.0 and true are equal in Python, and are not in JSON.
        key = tuple(node) if isinstance(node, list) else (type(node), node)
        if key not in self._numbers:
            self._numbers[key] = len(self.nodes)
            self.nodes.append(node)
        return self._numbers[key]

    def by_use(self) -> tuple[list[Any], list[int]]:
        """The nodes, those that others use most first, so that the numbers written most are short; old → new numbers."""
        uses = Counter(number for node in self.nodes if isinstance(node, list) for number in node[1:])
        order = sorted(range(len(self.nodes)), key=lambda number: -uses[number])
        new = [0] * len(order)
        for place, number in enumerate(order):
            new[number] = place
        nodes = [self.nodes[number] for number in order]
        return [
            [node[0], *(new[number] for number in node[1:])] if isinstance(node, list) else node for node in nodes
        ], new


def read_node(table: Mapping[str, Any], number: int) -> Any:
    """The value of a node, as it was given to Pool.add; page.js does the same."""
    node = table["nodes"][number]
    if not isinstance(node, list):
        return node
    kind, *numbers = node
    values = [read_node(table, part) for part in numbers]
    if kind == 0:
        return "\n".join(values)
    return values if kind == 1 else dict(zip(table["shapes"][kind - 2], values, strict=True))


def read_answer(table: Mapping[str, Any], choice: Choice) -> dict[str, Any]:
    """What the table says to a choice that it offers."""
    gpu = [entry["name"] for entry in table["gpus"]].index(choice.gpu)
    count = table["counts"].index(choice.count)
    model = [entry["name"] for entry in table["models"]].index(choice.model)
    layout = table["layouts"][gpu][count].index(choice.layout)
    options = _options(table["profiles"]).index((choice.thinking, choice.tool_calls, choice.profile))
    found: dict[str, Any] = read_node(table, table["answers"][gpu][count][model][layout][options])
    return found


def _options(profiles: Sequence[Mapping[str, str]]) -> list[tuple[bool, bool, str]]:
    """Thinking, tool calls and profile in the order of an answers row."""
    return [
        (thinking, tools, profile["name"])
        for thinking in (True, False)
        for tools in (True, False)
        for profile in profiles
    ]


def make_table(catalogue: Catalogue | None = None) -> dict[str, Any]:
    """The planner's answer to every choice, and the choices; answers is indexed by GPU, count, model, layout, options."""
    known = load_catalogue() if catalogue is None else catalogue
    pool = Pool()
    profiles = [{"name": name} for name in known.container_profiles]
    layouts: list[list[list[str]]] = []
    answers: list[list[list[list[list[int]]]]] = []
    for gpu in known.gpus:
        layouts.append([])
        answers.append([])
        for count in COUNTS:
            asked = _Node(known, gpu, count, _options(profiles))
            offered = list(asked.layouts())
            layouts[-1].append(offered)
            answers[-1].append(
                [[[pool.add(row) for row in asked.row(model, layout)] for layout in offered] for model in known.models]
            )
    nodes, new = pool.by_use()
    return {
        "start": START,
        "gpus": [{"name": name, "title": gpu.title, "vendor": gpu.vendor} for name, gpu in known.gpus.items()],
        "counts": list(COUNTS),
        "models": [
            {
                "name": name,
                "thinking": model.reasoning_parser is not None and model.reasoning_parser.default,
                "tool_calls": model.tool_call_parser is not None and model.tool_call_parser.default,
            }
            for name, model in known.models.items()
        ],
        "profiles": profiles,
        "layouts": layouts,
        "shapes": pool.shapes,
        "answers": [
            [[[[new[number] for number in row] for row in rows] for rows in models] for models in counts]
            for counts in answers
        ],
        "nodes": nodes,
    }


class _Node:
    """The answers for one kind of node, each asked for once."""

    def __init__(self, catalogue: Catalogue, gpu: str, count: int, options: Sequence[tuple[bool, bool, str]]) -> None:
        self._catalogue = catalogue
        self._first = Choice(gpu, count, "", "auto", True, True, "")
        self._options = options
        self._facts = facts_for(catalogue, gpu, count)
        self._rows: dict[tuple[str, str], list[dict[str, Any]]] = {}

    def row(self, model: str, layout: str) -> list[dict[str, Any]]:
        """The answers for every setting of the options."""
        if (model, layout) not in self._rows:
            self._rows[model, layout] = [
                answer(
                    self._catalogue,
                    replace(
                        self._first, model=model, layout=layout, thinking=thinking, tool_calls=tools, profile=profile
                    ),
                    self._facts,
                )
                for thinking, tools, profile in self._options
            ]
        return self._rows[model, layout]

    def layouts(self) -> Iterator[str]:
        """``auto``, and what fills the node at each size; the smaller numbers of servers too where one alone is possible."""
        yield "auto"
        for size in range(self._first.count, 0, -1):
            most = self._first.count // size
            if any("refusal" not in row for model in self._catalogue.models for row in self.row(model, f"1x{size}")):
                yield from (f"{servers}x{size}" for servers in range(most, 0, -1))
            else:
                yield f"{most}x{size}"


def render(table: Mapping[str, Any]) -> str:
    """The table as the JavaScript file; the same table gives the same bytes."""
    parts = []
    for key, value in table.items():
        if isinstance(value, list):
            # A line for each entry: a change of the catalogue is a difference of some lines.
            inner = ",\n".join(_json(entry) for entry in value)
            parts.append(f"{_json(key)}:[\n{inner}\n]")
        else:
            parts.append(f"{_json(key)}:{_json(value)}")
    return _HEAD + "window.PLANS = {\n" + ",\n".join(parts) + "\n};\n"


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def main(words: Sequence[str] | None = None) -> int:
    """Write the table, or tell whether it is what the planner says now; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m sglang_fleet.page", description="Make the table of docs/planner.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the file is stale")
    parser.add_argument("--output", type=Path, default=PLANS, help="the file (default: docs/planner/plans.js)")
    arguments = parser.parse_args(words)
    path: Path = arguments.output
    wanted = render(make_table())
    current = path.read_text(encoding="utf-8") if path.exists() else None
    if wanted == current:
        return 0
    if arguments.check:
        state = "is not there" if current is None else "is not what the planner says now"
        print(f"{path} {state}: run python -m sglang_fleet.page", file=sys.stderr)
        return 1
    path.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
