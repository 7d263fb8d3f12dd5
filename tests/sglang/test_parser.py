# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every command that the planner can emit, given to the parser of the SGLang version that it is for.

Two sweeps, whose product would be millions of plans: where servers are placed (models, GPUs, counts, layouts, profiles,
versions), and what they are told (parsers, metrics, context, memory, expert parallelism, known issues) for each kind of
server that the first one found.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from images import host, worker

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._files import placeholder
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import Wishes, facts_for
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import PlanError
from ansible_collections.sglang.fleet.plugins.module_utils._planner import Instance, Plan, make_plan
from ansible_collections.sglang.fleet.plugins.module_utils._server_flags import flag_problem, load_flags
from ansible_collections.sglang.fleet.plugins.module_utils._serving import server_config

pytestmark = pytest.mark.lab

CATALOGUE = load_catalogue()
VERSIONS = host.sglang_versions()
COUNTS = (*range(1, 9), 16)
#: the GPUs of one server that SGLang takes at all (test_rules.py)
SIZES = (1, 2, 4, 8)
KNOWN_ISSUES = tuple(CATALOGUE.known_issues)

Words = tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """A server without its place: what the second sweep varies the rest of."""

    model: str
    gpu: str
    version: str | None
    tp: int
    allowed: tuple[str, ...]


@dataclass
class Emitted:
    """All commands of one SGLang version. placed: those of the first sweep, less what depends on the place."""

    commands: dict[Words, Instance]
    placed: dict[Words, Instance]


def layouts(count: int) -> Iterator[str]:
    yield "auto"
    for size in SIZES:
        for instances in range(1, count // size + 1):
            yield f"{instances}x{size}"


def plan_or_none(gpu: str, count: int, **wishes: Any) -> Plan | None:
    try:
        return make_plan(CATALOGUE, facts(gpu, count), Wishes(**wishes))
    except PlanError:
        return None


@functools.cache
def facts(gpu: str, count: int) -> dict[str, Any]:
    return facts_for(CATALOGUE, gpu, count)


@functools.cache
def emitted() -> dict[str, Emitted]:
    """What the planner emits, by SGLang version."""
    found = {version: Emitted({}, {}) for version in VERSIONS}
    kinds: dict[Kind, None] = {}
    for model, gpu, version in itertools.product(CATALOGUE.models, CATALOGUE.gpus, (None, *VERSIONS)):
        for allowed in allowances(gpu):
            for count, layout, profile in placements():
                plan = plan_or_none(
                    gpu,
                    count,
                    model=model,
                    layout=layout,
                    profile=profile,
                    sglang_version=version,
                    allow_known_issues=allowed,
                )
                if plan is not None:
                    add(found, plan, placed=True)
                    kinds[Kind(model, gpu, version, plan.instances[0].tp, allowed)] = None
    for kind in kinds:
        for plan in told(kind):
            add(found, plan, placed=False)
    return found


def allowances(gpu: str) -> Iterator[tuple[str, ...]]:
    """No known issue allowed, and all of them where one changes or refuses plans for this GPU."""
    yield ()
    if any(
        issue.severity in ("block", "change") and gpu in issue.when.get("gpus", (gpu,))
        for issue in CATALOGUE.known_issues.values()
    ):
        yield KNOWN_ISSUES


def placements() -> Iterator[tuple[int, str, str]]:
    for count in COUNTS:
        for layout in layouts(count):
            yield count, layout, "hardened"
            if not layout.startswith("1x"):  # the other profile tells a server where its GPUs begin
                yield count, layout, "cookbook"


def told(kind: Kind) -> Iterator[Plan]:
    switches = (False, True)
    longest = CATALOGUE.models[kind.model].context_length
    asked: list[dict[str, Any]] = [
        {
            "reasoning_parser": reasoning,
            "tool_call_parser": tools,
            "enable_metrics": metrics,
            "context_length": context,
            "mem_fraction_static": fraction,
        }
        for reasoning, tools, metrics, context, fraction in itertools.product(
            switches, switches, switches, (None, 16384, longest), (None, 0.9)
        )
    ]
    asked += [{"ep": ep} for ep in SIZES if kind.tp % ep == 0]
    asked += [{"address": address, "port": port} for address, port in (("0.0.0.0", 1), ("::1", 65535))]
    for wishes in asked:
        plan = plan_or_none(
            kind.gpu,
            kind.tp,
            model=kind.model,
            layout=f"1x{kind.tp}",
            sglang_version=kind.version,
            allow_known_issues=kind.allowed,
            **wishes,
        )
        if plan is not None:
            yield plan


def add(found: dict[str, Emitted], plan: Plan, *, placed: bool) -> None:
    of_version = found[plan.image["sglang_version"]]
    for instance in plan.instances:
        of_version.commands.setdefault(tuple(instance.args), instance)
        if placed:
            of_version.placed.setdefault(without_place(instance.args), instance)


def without_place(words: list[str]) -> Words:
    pairs = list(words)
    for option in ("--host", "--port", "--base-gpu-id"):
        if option in pairs:
            del pairs[pairs.index(option) : pairs.index(option) + 2]
    return tuple(pairs)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_real_parser_accepts_every_command(version: str) -> None:
    commands = emitted()[version].commands
    flags = load_flags(version)
    assert flags is not None
    answers = worker.parse_all(version, list(commands))
    refused = [(words, answer) for words, answer in zip(commands, answers, strict=True) if isinstance(answer, str)]
    assert refused == []
    for instance, answer in zip(commands.values(), answers, strict=True):
        assert isinstance(answer, dict)
        assert answer == {flags[name]["dest"]: value for name, value in instance.server_args.items()}
        assert answer["tensor_parallel_size"] == instance.tp == len(instance.gpus)
        assert answer.get("expert_parallel_size", 1) == instance.ep
        assert (answer["host"], answer["port"]) == (instance.address, instance.port)
    assert {words[words.index("--model-path") + 1] for words in commands} == {
        model.id for model in CATALOGUE.models.values()
    }
    assert len(commands) > 500


@pytest.mark.parametrize("version", VERSIONS)
def test_the_planners_own_list_accepts_every_argument(version: str) -> None:
    flags = load_flags(version)
    assert flags is not None
    given = {
        (name, value if not isinstance(value, list) else tuple(value))
        for instance in emitted()[version].commands.values()
        for name, value in instance.server_args.items()
    }
    assert [(name, problem) for name, value in given if (problem := flag_problem(flags, version, name, value))] == []


@pytest.mark.parametrize("version", VERSIONS)
def test_the_whole_of_server_args_accepts_each_kind_of_server(version: str) -> None:
    """`prepare_server_args` and `check_server_args`: the model's configuration, conflicts, deprecations (on the CPU)."""
    kinds = [[*words, "--device", "cpu"] for words in emitted()[version].placed]
    answers = worker.sglang(version).prepare_all(kinds)
    assert [(words, answer) for words, answer in zip(kinds, answers, strict=True) if answer is not None] == []
    # Four models, on 2, 4 and 8 GPUs at least.
    assert len(kinds) >= 12


#: arguments of an operator whose values are awkward to carry in YAML
AWKWARD: dict[str, Any] = {
    "cuda-graph-bs": [1, 2, 4],
    "schedule-conservativeness": 1e-05,
    "enable-mixed-chunk": True,
    "served-model-name": 'a: "b" #c \\ {d} é',
    "chat-template": "yes",
    "preferred-sampling-params": '{"temperature": 0.5}',
    "chunked-prefill-size": -1,
    "dist-timeout": 7,
    "revision": "0123",
}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_configuration_file_says_the_same_as_the_command(version: str, tmp_path: Path) -> None:
    commands = emitted()[version].commands
    samples = [*itertools.islice(commands.values(), 0, None, max(len(commands) // 40, 1))]
    plan = make_plan(CATALOGUE, facts("MI300X", 8), Wishes(sglang_version=version, extra_args=AWKWARD))
    samples += plan.instances
    vectors, files = [], []
    for number, instance in enumerate(samples):
        path = tmp_path / f"{number}.yaml"
        path.write_text(server_config(instance.server_args, with_api_key=False))
        vectors.append(list(instance.args))
        files.append(["--config", str(path)])
    sglang = worker.sglang(version)
    from_words, from_files = sglang.parse_all(vectors, whole=True), sglang.parse_all(files, whole=True)
    assert from_words == from_files
    [awkward] = from_files[-1:]
    assert isinstance(awkward, dict)
    assert {name: awkward[name.replace("-", "_")] for name in AWKWARD} == {
        **AWKWARD,
        "preferred-sampling-params": {"temperature": 0.5},
    }

    path = tmp_path / "key.yaml"
    path.write_text(server_config(samples[0].server_args, with_api_key=True))
    [with_key] = sglang.parse_all([["--config", str(path)]], whole=True)
    assert isinstance(from_words[0], dict)
    assert with_key == {**from_words[0], "api_key": placeholder("api_key")}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_refusal_is_told(version: str) -> None:
    """The parser's, and that of `__post_init__`: else the tests above would pass with anything."""
    words = list(next(iter(emitted()[version].commands)))
    choice, unknown = worker.parse_all(version, [[*words, "--tool-call-parser", "minimax"], [*words, "--no-such"]])
    assert str(choice).startswith("argument --tool-call-parser: invalid choice: 'minimax' (choose from ")
    assert unknown == "unrecognized arguments: --no-such"
    [reason] = worker.sglang(version).prepare_all([[*words, "--device", "cpu", "--context-length", "999999999"]])
    assert "999999999" in str(reason)
