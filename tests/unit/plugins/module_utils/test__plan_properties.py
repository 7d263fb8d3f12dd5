# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""No plan breaks a rule, none that is possible is refused, and every refusal says what to do: over wishes of all kinds.

The rules and the arithmetic are written a second time here, from the model's published config.json and SGLang's sources.
Nothing of the planner's own is used to judge it.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
import re
import tempfile
import typing as t
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import Catalogue, load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import Wishes, facts_for
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import PlanError
from ansible_collections.sglang.fleet.plugins.module_utils._planner import make_plan

# config.json of MiniMaxAI/MiniMax-M2 and its successors.
HEADS, KV_HEADS, HEAD_DIM, LAYERS, EXPERTS, EXPERT_SIZE, BLOCK = 48, 8, 128, 62, 256, 1536, 128
WEIGHTS, WHOLE_ON_EACH_RANK = 230.1e9, 196e6
CONTEXT = {"M2": 196608, "M2.1": 196608, "M2.5": 196608, "M2.7": 204800}
MIB, GIB = 2**20, 2**30
USEFUL_TOKENS = 8192
#: those below are the system's
LOWEST_PORT = 1024
FP8_CACHE_ON_AMD = ("M2.5", "M2.7")
NO_FP8 = ("A100-40GB", "A100", "A800-40GB", "A800")

# What Hypothesis notes down of the sources, as it collects the tests, goes there and not into the checkout.
set_hypothesis_home_dir(Path(tempfile.gettempdir(), "sglang-fleet-hypothesis"))

_built_in = load_catalogue()
#: With images of a version in which the rules are looser: 0.5.11.
CATALOGUE: Catalogue = load_catalogue(
    {
        "images": {
            f"new-{old}": {**_built_in.data["images"][old], "sglang_version": "0.5.11"}
            for old in ("v0.5.10.post1", "v0.5.10.post1-rocm720-mi30x")
        }
    }
)
#: hardware row of the image table -> versions of SGLang that there are images of, the newest last
VERSIONS = {
    "cuda": ["0.5.9", "0.5.10.post1", "0.5.11"],
    "cuda-grace": ["0.5.9", "0.5.10.post1", "0.5.11"],
    "cuda13": ["0.5.10.post1"],
    "cuda13-grace": ["0.5.10.post1"],
    "mi30x": ["0.5.7", "0.5.9", "0.5.10.post1", "0.5.11"],
    "mi35x": ["0.5.9", "0.5.10.post1"],
}
#: model -> hardware -> version that is published for it; elsewhere the newest is taken
PUBLISHED = {
    "M2": {"mi30x": "0.5.7"},
    "M2.1": {"mi30x": "0.5.7"},
    "M2.5": {"cuda": "0.5.9", "mi30x": "0.5.9", "mi35x": "0.5.9"},
    "M2.7": dict.fromkeys(VERSIONS, "0.5.10.post1"),
}
#: what a refusal tells to do
ADVICE = re.compile(
    r"set fleet_\w+ |leave fleet_\w+ out|leave it out|it takes \d+ x \S+, the host has \d+|use a GPU with more memory|"
    r"add a100-fp8 to fleet_allow_known_issues|set it "
)


@dataclass(frozen=True)
class Ask:
    """A node and what is wished of it."""

    model: str
    gpu: str
    count: int
    memory_mib: int | None
    numa: tuple[int | None, ...]
    pairs: frozenset[tuple[int, int]]
    wishes: dict[str, t.Any]

    def facts(self) -> dict[str, t.Any]:
        facts = facts_for(CATALOGUE, self.gpu, self.count, self.memory_mib)
        for device, node in zip(facts["devices"], self.numa, strict=True):
            device["numa_node"] = node
            device["links"] = sorted(
                other for pair in self.pairs if device["index"] in pair for other in pair if other != device["index"]
            )
        return facts


@st.composite
def asks(draw: st.DrawFn) -> Ask:
    """A node and wishes that are each sound, but for some that are drawn from anything at all."""
    wild = draw(st.sampled_from([None, None, None, "layout", "ep", "port", "context", "fraction", "version", "memory"]))
    gpu = draw(st.sampled_from(sorted(CATALOGUE.gpus)))
    model = draw(st.sampled_from(sorted(CONTEXT)))
    count = draw(st.one_of(st.sampled_from([4, 8]), st.integers(1, 16)))
    tp = draw(st.sampled_from([size for size in (2, 4, 8, 16) if size <= count] or [1]))
    allowed = draw(st.sampled_from([("a100-fp8",), ("a100-fp8", "mi300x-tp4-decode-crash")]))
    wishes = {
        "model": model,
        "layout": draw(st.one_of(st.just("auto"), st.integers(1, count // tp).map(lambda number: f"{number}x{tp}"))),
        "ep": draw(st.sampled_from([None, None, None, 1, 2])),
        "profile": draw(st.sampled_from(["hardened", "hardened", "cookbook"])),
        "port": 30000,
        "context_length": draw(st.one_of(st.none(), st.integers(1, 196608))),
        "mem_fraction_static": draw(st.one_of(st.none(), st.floats(0.7, 0.98))),
        "reasoning_parser": draw(st.sampled_from([None, True, False])),
        "tool_call_parser": draw(st.sampled_from([None, True, False])),
        "enable_metrics": draw(st.booleans()),
        "extra_args": draw(
            st.sampled_from(
                [
                    {},
                    {},
                    *({"kv-cache-dtype": kind} for kind in ("fp8_e4m3", "auto", None)),
                    *({"max-total-tokens": most} for most in (1, 8191, 8192, 300_000)),
                ]
            )
        ),
        "sglang_version": draw(st.sampled_from([None, None, *VERSIONS[CATALOGUE.gpus[gpu].image_class]])),
        "allow_known_issues": draw(st.sampled_from([(), allowed, allowed])) if gpu in NO_FP8 else allowed[1:],
    }
    anything: dict[str, tuple[str, st.SearchStrategy[t.Any]]] = {
        "layout": ("layout", st.builds(lambda n, size: f"{n}x{size}", st.integers(1, 5), st.integers(1, 17))),
        "ep": ("ep", st.integers(-1, 17)),
        "port": (
            "port",
            st.one_of(st.integers(0, 65536), st.sampled_from([0, 1, 1023, 1024, 65533, 65534, 65535, 65536])),
        ),
        "context": ("context_length", st.one_of(st.integers(-1, 1), st.integers(190_000, 210_000))),
        "fraction": ("mem_fraction_static", st.floats(-0.5, 1.5, allow_nan=False)),
        "version": ("sglang_version", st.sampled_from(["0.5.7", "0.5.8", "0.5.9", "0.5.10.post1", "0.5.11"])),
    }
    if wild in anything:
        name, strategy = anything[wild]
        wishes[name] = draw(strategy)
    return Ask(
        model,
        gpu,
        count,
        draw(st.integers(1, 400_000)) if wild == "memory" else draw(st.one_of(st.none(), st.integers(80_000, 300_000))),
        tuple(draw(sockets(count))),
        frozenset(draw(bridges(count))),
        wishes,
    )


def sockets(count: int) -> st.SearchStrategy[list[int | None]]:
    """The GPUs' NUMA nodes: unknown, by halves, by turns, or any."""
    usual: list[list[int | None]] = [
        [None] * count,
        [index * 2 // count for index in range(count)],
        [index % 2 for index in range(count)],
    ]
    anything = st.lists(st.sampled_from([None, 0, 1, 2]), min_size=count, max_size=count)
    return st.one_of(st.sampled_from(usual), anything)


def bridges(count: int) -> st.SearchStrategy[list[tuple[int, int]]]:
    """Pairs of GPUs that are linked: none, all, each with one other, or any."""
    everyone = list(itertools.combinations(range(count), 2))
    usual = [[], everyone, [pair for pair in everyone if pair[1] - pair[0] == max(count // 2, 1)]]
    return st.one_of(
        st.sampled_from(usual), st.lists(st.sampled_from(everyone), unique=True) if everyone else st.just([])
    )


# The judge.
def version_of(ask: Ask) -> str | None:
    """The version of the image; None where there is none of the one asked for."""
    hardware = CATALOGUE.gpus[ask.gpu].image_class
    asked: str | None = ask.wishes["sglang_version"]
    if asked is not None:
        return asked if asked in VERSIONS[hardware] else None
    return PUBLISHED[ask.model].get(hardware, VERSIONS[hardware][-1])


def loose(ask: Ask) -> bool:
    return version_of(ask) == "0.5.11"


def is_legal(ask: Ask, tp: int, ep: int) -> bool:
    on_amd = ask.gpu.startswith("MI")
    return (
        HEADS % tp == 0
        and (KV_HEADS % tp == 0 or tp % KV_HEADS == 0)
        and (tp <= KV_HEADS or loose(ask))
        and tp % ep == 0
        and EXPERTS % ep == 0
        and ((EXPERT_SIZE % (tp // ep) == 0 and EXPERT_SIZE // (tp // ep) % BLOCK == 0) or (on_amd and loose(ask)))
    )


def can_be_legal(ask: Ask, tp: int) -> bool:
    """With the ep asked for, or with no ep or every rank's own experts where the planner may choose."""
    asked: int | None = ask.wishes["ep"]
    return any(is_legal(ask, tp, ep) for ep in ({1, tp} if asked is None else {asked}))


def room(ask: Ask, tp: int) -> tuple[float, float, float, float, float]:
    """Bytes of a GPU that are its own, reserved, weights' and cache's, and tokens of the instance's cache."""
    memory = (ask.memory_mib or CATALOGUE.gpus[ask.gpu].memory_mib) * MIB
    reserved = min((1536 + 205 * tp) * MIB, memory)
    fraction = ask.wishes["mem_fraction_static"] or 0.85
    weights = (WEIGHTS - WHOLE_ON_EACH_RANK) / tp + WHOLE_ON_EACH_RANK
    cache = (memory - reserved) * fraction - weights
    kind = "fp8" if ask.gpu.startswith("MI") and ask.model in FP8_CACHE_ON_AMD else "auto"
    kind = ask.wishes["extra_args"].get("kv-cache-dtype", kind) or "auto"
    token = 2 * max(KV_HEADS / tp, 1) * HEAD_DIM * LAYERS * (1 if kind.startswith("fp8") else 2)
    # The server's own limit leaves the rest of the cache free.
    most = ask.wishes["extra_args"].get("max-total-tokens", math.inf)
    return memory, reserved, weights, min(cache, most * token), min(max(cache / token, 0), most)


def has_room(ask: Ask, tp: int, slack: int = 0) -> bool:
    """slack: tokens by which a figure may be off in rounding."""
    needed = ask.wishes["context_length"] or USEFUL_TOKENS
    return room(ask, tp)[4] >= needed + slack


def sound(ask: Ask) -> bool:
    """Whether all but the layout is."""
    wishes = ask.wishes
    fraction, context, ep = wishes["mem_fraction_static"], wishes["context_length"], wishes["ep"]
    return (
        (fraction is None or 0 < fraction < 1)
        and (context is None or 0 < context <= CONTEXT[ask.model])
        and (ep is None or ep >= 1)
        and version_of(ask) is not None
        and (ask.gpu not in NO_FP8 or "a100-fp8" in wishes["allow_known_issues"])
    )


def possible(ask: Ask, slack: int) -> bool:
    """Whether there is such a plan, ports apart."""
    if not sound(ask):
        return False
    if ask.wishes["layout"] == "auto":
        sizes = range(1, ask.count + 1)
    else:
        instances, size = map(int, ask.wishes["layout"].split("x"))
        if instances * size > ask.count:
            return False
        sizes = range(size, size + 1)
    return any(can_be_legal(ask, tp) and has_room(ask, tp, slack) for tp in sizes)


def spread(ask: Ask, groups: t.Sequence[t.Sequence[int]]) -> tuple[int, int]:
    """Pairs of one instance that are not linked, and NUMA nodes that its GPUs reach over."""
    apart = sum(
        1
        for group in groups
        for pair in itertools.combinations(sorted(group), 2)
        if ask.pairs and pair not in ask.pairs
    )
    nodes = sum(max(len({ask.numa[gpu] for gpu in group} - {None}) - 1, 0) for group in groups)
    return apart, nodes


def judge(ask: Ask, plan: dict[str, t.Any]) -> None:
    wishes = ask.wishes
    assert json.loads(json.dumps(plan)) == plan
    assert "assumed-devices" in {warning["id"] for warning in plan["warnings"]}
    instances = plan["instances"]
    tp = instances[0]["tp"]
    assert plan["layout"] == f"{len(instances)}x{tp}"
    assert wishes["layout"] in ("auto", plan["layout"])
    assert plan["image"]["sglang_version"] == version_of(ask)

    taken = [gpu for one in instances for gpu in one["gpus"]]
    assert len(taken) == len(set(taken)) == len(instances) * tp <= ask.count
    assert set(taken) <= set(range(ask.count))
    assert plan["idle_gpus"] == sorted(set(range(ask.count)) - set(taken))
    assert bool(plan["idle_gpus"]) == any(warning["id"] == "idle-gpus" for warning in plan["warnings"])
    rows = [list(range(first, first + tp)) for first in range(0, len(instances) * tp, tp)]
    groups = [one["gpus"] for one in instances]
    if wishes["profile"] == "cookbook":
        assert groups == rows
    else:
        assert spread(ask, groups) <= spread(ask, rows)

    ports = [one["port"] for one in instances]
    assert ports == list(range(wishes["port"], wishes["port"] + len(ports)))
    assert ports[0] >= LOWEST_PORT
    assert ports[-1] <= 65535
    assert [one["name"] for one in instances] == [str(number) for number in range(len(instances))]

    memory, reserved, weights, cache, tokens = room(ask, tp)
    for one in instances:
        assert one["tp"] == tp
        assert len(one["gpus"]) == tp
        assert is_legal(ask, tp, one["ep"])
        assert wishes["ep"] in (None, one["ep"])
        fit = one["fit"]
        assert abs(fit["kv_tokens"] - tokens) <= 2
        assert fit["kv_tokens"] >= (wishes["context_length"] or USEFUL_TOKENS)
        longest = wishes["context_length"] or CONTEXT[ask.model]
        assert fit["max_context"] == min(fit["kv_tokens"], longest)
        assert fit["full_length_sequences"] == fit["kv_tokens"] // longest
        for name, size in (("memory", memory), ("reserved", reserved), ("weights", weights), ("kv", cache)):
            assert abs(fit[f"{name}_gib_per_gpu"] - size / GIB) <= 0.051
        parts = sum(fit[f"{name}_gib_per_gpu"] for name in ("reserved", "weights", "kv", "headroom"))
        assert abs(parts - fit["memory_gib_per_gpu"]) <= 0.251
        assert fit["headroom_gib_per_gpu"] > 0
        judge_words(ask, one)


def judge_words(ask: Ask, one: dict[str, t.Any]) -> None:
    """The command says what the plan says."""
    args = one["server_args"]
    listed = [
        word for name, value in args.items() for word in ([f"--{name}"] + ([] if value is True else [str(value)]))
    ]
    assert one["args"] == listed
    assert one["command_line"].split() == ["python3", "-m", "sglang.launch_server", *listed]
    assert args["model-path"] == f"MiniMaxAI/MiniMax-{ask.model}"
    assert (args["tp-size"], args.get("ep-size", 1), args["port"]) == (one["tp"], one["ep"], one["port"])
    assert args["mem-fraction-static"] == (ask.wishes["mem_fraction_static"] or 0.85)
    assert args.get("context-length") == ask.wishes["context_length"]
    for wish, name, default in (
        ("tool_call_parser", "tool-call-parser", ask.model == "M2.7"),
        ("reasoning_parser", "reasoning-parser", ask.model == "M2.7"),
        ("enable_metrics", "enable-metrics", False),
    ):
        asked = ask.wishes[wish]
        assert (name in args) is (default if asked is None else asked)
    assert None not in args.values()
    first = min(one["gpus"]) if ask.wishes["profile"] == "cookbook" else 0
    assert args.get("base-gpu-id", 0) == first


def attempt(ask: Ask, facts: dict[str, t.Any] | None = None) -> dict[str, t.Any] | PlanError:
    """The plan or the refusal; another exception is a failure of the test."""
    try:
        return make_plan(CATALOGUE, ask.facts() if facts is None else facts, Wishes(**ask.wishes)).to_dict()
    except PlanError as error:
        return error


@settings(
    max_examples=600, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(asks())
def test_plans_keep_the_rules_and_refusals_are_right(ask: Ask) -> None:
    facts = ask.facts()
    before = copy.deepcopy(facts)
    found = attempt(ask, facts)
    assert facts == before
    if not isinstance(found, PlanError):
        judge(ask, found)
        assert possible(ask, slack=-2)
        assert attempt(ask) == found
        return
    said = str(found)
    assert ADVICE.search(said), said
    if said.startswith("fleet_port "):
        layout = ask.wishes["layout"]
        most = ask.count if layout == "auto" else int(layout.split("x")[0])
        assert not LOWEST_PORT <= ask.wishes["port"] <= 65536 - most
    else:
        assert not possible(ask, slack=2), said
    # A layout that a text names is to be had.
    named = re.search(r"set fleet_layout to (\d+x\d+)", said)
    if named and ask.wishes["port"] == 30000 and sound(ask):
        other = replace(ask, wishes={**ask.wishes, "layout": named[1]})
        plan = attempt(other)
        assert not isinstance(plan, PlanError), said
        judge(other, plan)


def test_every_size_of_every_gpu() -> None:
    """What random wishes might miss: each model, GPU, count and plain layout, planned and judged."""
    planned = refused = 0
    for model, gpu, count in itertools.product(CONTEXT, CATALOGUE.gpus, range(1, 17)):
        shapes = [f"{count // size}x{size}" for size in (1, 2, 3, 4, 6, 8, 12, 16) if size <= count]
        for layout in ("auto", *shapes):
            wishes: dict[str, t.Any] = {
                **{name: field.default for name, field in Wishes.__dataclass_fields__.items() if name != "extra_args"},
                "model": model,
                "layout": layout,
                "extra_args": {},
                "allow_known_issues": ("a100-fp8",),
            }
            ask = Ask(model, gpu, count, None, (None,) * count, frozenset(), wishes)
            plan = attempt(ask)
            if isinstance(plan, PlanError):
                refused += 1
                assert not possible(ask, slack=2), f"{ask}: {plan}"
            else:
                planned += 1
                judge(ask, plan)
    assert (planned > 2000, refused > 2000) == (True, True)


def test_the_judge_is_awake() -> None:
    """What is refused in the field is refused by the second writing too."""
    ask = Ask("M2.7", "H200", 16, None, (None,) * 16, frozenset(), {"ep": None, "sglang_version": None})
    legal = {(tp, ep) for tp in range(1, 17) for ep in range(1, tp + 1) if is_legal(ask, tp, ep)}
    assert legal == {(1, 1), (2, 1), (2, 2), (4, 1), (4, 2), (4, 4), (8, 2), (8, 4), (8, 8)}
    newer = Ask("M2.7", "MI300X", 16, None, (None,) * 16, frozenset(), {"ep": None, "sglang_version": "0.5.11"})
    assert is_legal(newer, 8, 1)
    assert is_legal(newer, 16, 1)
    assert not is_legal(newer, 12, 1)
