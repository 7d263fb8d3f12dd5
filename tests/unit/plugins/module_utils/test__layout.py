# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Layouts that are chosen, asked for and refused, and which GPUs stand together."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._layout import (
    Groups,
    Layout,
    choose_layout,
    group_gpus,
    parse_layout,
)
from ansible_collections.sglang.fleet.plugins.module_utils._plan_case import Case
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import (
    Wishes,
    facts_for,
    pick_image,
    pick_model,
    read_node,
)
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import PlanError

CATALOGUE = load_catalogue()
COUNTS = (1, 2, 3, 4, 5, 6, 7, 8, 16)


def case_of(gpu: str, count: int, **wishes: t.Any) -> Case:
    asked = Wishes(**wishes)
    node = read_node(CATALOGUE, facts_for(CATALOGUE, gpu, count))
    model = pick_model(CATALOGUE, asked.model)
    image, _published = pick_image(CATALOGUE, model, node.gpu, asked.sglang_version)
    return Case(CATALOGUE, node, model, image, asked)


def chosen(gpu: str, count: int, **wishes: t.Any) -> tuple[str, str]:
    layout, why = choose_layout(case_of(gpu, count, **wishes), wishes.get("layout", "auto"))
    return str(layout), why


@pytest.mark.parametrize(("text", "layout"), [("1x8", Layout(1, 8)), ("2x4", Layout(2, 4)), ("16x1", Layout(16, 1))])
def test_a_layout_is_read(text: str, layout: Layout) -> None:
    assert parse_layout(text) == layout
    assert str(layout) == text
    assert layout.used == layout.instances * layout.gpus


def test_auto_is_no_layout() -> None:
    assert parse_layout("auto") is None


@pytest.mark.parametrize(
    "text", ["", "8", "x8", "0x8", "1x0", "4by2", "2 x 4", "2X4", "-1x8", "1x8 ", "1x1000", "01x8"]
)
def test_what_is_no_layout(text: str) -> None:
    with pytest.raises(PlanError) as caught:
        parse_layout(text)
    assert str(caught.value) == (
        f"fleet_layout is {text}: set it to auto, or to INSTANCESxGPUS such as 1x8 or 2x4 (two servers of four GPUs)"
    )


#: What auto gives for 1 to 8 GPUs and for 16; - where there is no such plan.
AUTO = """
M2.7 A100-40GB  -   -   -   -   -   -   -   1x8 2x8
M2.7 A100       -   -   -   1x4 1x4 1x4 1x4 1x8 2x8
M2.7 A800-40GB  -   -   -   -   -   -   -   1x8 2x8
M2.7 A800       -   -   -   1x4 1x4 1x4 1x4 1x8 2x8
M2.7 H100       -   -   -   1x4 1x4 1x4 1x4 1x8 2x8
M2.7 H100-94GB  -   -   -   1x4 1x4 1x4 1x4 1x8 2x8
M2.7 H800       -   -   -   1x4 1x4 1x4 1x4 1x8 2x8
M2.7 H20        -   -   -   1x4 1x4 1x4 1x4 1x8 2x8
M2.7 H20-141GB  -   1x2 1x2 1x4 1x4 1x4 1x4 1x8 2x8
M2.7 H200       -   1x2 1x2 1x4 1x4 1x4 1x4 1x8 2x8
M2.7 B200       -   1x2 1x2 1x4 1x4 1x4 1x4 1x8 2x8
M2.7 GB200      -   1x2 1x2 1x4 1x4 3x2 3x2 2x4 4x4
M2.7 B300       1x1 1x2 1x2 1x4 1x4 1x4 1x4 1x8 2x8
M2.7 GB300      1x1 1x2 1x2 1x4 1x4 3x2 3x2 2x4 4x4
M2.7 MI300X     -   1x2 1x2 1x4 1x4 3x2 3x2 1x8 2x8
M2.7 MI308X     -   1x2 1x2 1x4 1x4 3x2 3x2 1x8 2x8
M2.7 MI325X     -   1x2 1x2 1x4 1x4 3x2 3x2 1x8 2x8
M2.7 MI350X     1x1 1x2 3x1 1x4 5x1 3x2 7x1 1x8 2x8
M2.7 MI355X     1x1 1x2 1x2 1x4 1x4 3x2 3x2 1x8 2x8
M2.5 H200       -   1x2 1x2 1x4 1x4 1x4 1x4 1x8 2x8
M2.5 GB200      -   1x2 1x2 1x4 1x4 3x2 3x2 1x8 2x8
M2.5 B300       1x1 1x2 1x2 1x4 1x4 3x2 3x2 1x8 2x8
M2.5 MI300X     -   1x2 1x2 1x4 1x4 3x2 3x2 1x8 2x8
M2.1 MI300X     -   1x2 1x2 1x4 1x4 1x4 1x4 2x4 4x4
M2.1 MI325X     -   1x2 1x2 1x4 1x4 1x4 1x4 2x4 4x4
M2.1 MI308X     -   1x2 1x2 1x4 1x4 3x2 3x2 1x8 2x8
M2   MI300X     -   1x2 1x2 1x4 1x4 1x4 1x4 2x4 4x4
M2   MI355X     1x1 1x2 1x2 1x4 1x4 3x2 3x2 1x8 2x8
M2   H200       -   1x2 1x2 1x4 1x4 1x4 1x4 1x8 2x8
"""


@pytest.mark.parametrize("row", AUTO.strip().splitlines())
def test_what_auto_chooses(row: str) -> None:
    model, gpu, *layouts = row.split()
    found = []
    for count in COUNTS:
        try:
            found.append(chosen(gpu, count, model=model)[0])
        except PlanError as error:
            found.append("-" if error.rule == "memory" else str(error))
    assert found == layouts


def test_auto_is_tried_on_every_gpu() -> None:
    assert {row.split()[1] for row in AUTO.strip().splitlines()} == set(CATALOGUE.gpus)


RULED_BY_FIT = "leaves the fewest GPUs idle and is the largest that does"
WHY: list[tuple[str, int, dict[str, t.Any], str, str]] = [
    ("H200", 8, {}, "1x8", "the published command for MiniMax-M2.7 on H200 with 8 GPUs"),
    ("MI300X", 2, {}, "1x2", "the published command for MiniMax-M2.7 on MI300X with 2 GPUs"),
    ("MI300X", 4, {"model": "M2"}, "1x4", "the published command for MiniMax-M2 on MI300X with 4 GPUs"),
    ("H200", 7, {}, "1x4", "the published commands for MiniMax-M2.7 on H200 take 4 or 8 GPUs, the host has 7"),
    ("H200", 16, {}, "2x8", "the published commands for MiniMax-M2.7 on H200 take 4 or 8 GPUs, the host has 16"),
    ("MI300X", 3, {}, "1x2", "the published commands for MiniMax-M2.7 on MI300X take 2, 4 or 8 GPUs, the host has 3"),
    (
        "MI300X",
        8,
        {"model": "M2.1"},
        "2x4",
        "the published commands for MiniMax-M2.1 on MI300X take 4 GPUs, the host has 8",
    ),
    (
        "H200",
        8,
        {"ep": 1},
        "2x4",
        "the published command with 8 GPUs is not to be had with ep 1: rule fp8-block: 1536 / (tp 8 / ep 1) = 192 is not a "
        "multiple of the FP8 block size 128",
    ),
    (
        "H200",
        3,
        {},
        "1x2",
        "the published commands take 4 or 8; of the legal sizes that fit (2), none with room for the full context, 2 "
        f"{RULED_BY_FIT}",
    ),
    (
        "A800",
        8,
        {},
        "1x8",
        "no published command speaks of it; of the legal sizes that fit (4, 8), those with room for the full context first, "
        f"8 {RULED_BY_FIT}",
    ),
    (
        "H200",
        8,
        {"model": "M2"},
        "1x8",
        "no published command speaks of it; of the legal sizes that fit (2, 4, 8), those with room for the full context "
        f"first, 8 {RULED_BY_FIT}",
    ),
    ("H200", 8, {"layout": "2x4"}, "2x4", "asked for; the published generator offers 4 GPUs an instance"),
    (
        "H200",
        8,
        {"layout": "4x2"},
        "4x2",
        "asked for; it follows the model's rules, the published generator offers 4 or 8 there",
    ),
    (
        "A800",
        8,
        {"layout": "2x4"},
        "2x4",
        "asked for; it follows the model's rules, the published generator offers nothing there",
    ),
]


@pytest.mark.parametrize(("gpu", "count", "wishes", "layout", "why"), WHY)
def test_a_layout_says_why(gpu: str, count: int, wishes: dict[str, t.Any], layout: str, why: str) -> None:
    assert chosen(gpu, count, **wishes) == (layout, why)


H100_PAIR = (
    "MiniMax-M2.7 does not fit on 2 x H100: of 79.6 GiB a GPU, driver and runtime take 1.9 GiB, mem_fraction_static 0.85 of "
    "the rest leaves 66.1 GiB, the weights take 107.2 GiB (41.2 GiB missing on each, 82.3 GiB in all)"
)
REFUSED: list[tuple[str, int, dict[str, t.Any], str, str]] = [
    (
        "MI300X",
        3,
        {"layout": "1x3"},
        "kv-heads",
        "3 x MI300X: tp 3 with ep 1 is not legal for MiniMax-M2.7: rule kv-heads: 8 KV heads and tp 3 do not divide one "
        "another; legal on this host: 1, 2 GPUs an instance (1 without the memory for it); set fleet_layout to 1x2",
    ),
    (
        "H200",
        3,
        {"layout": "1x3"},
        "kv-heads",
        "3 x H200: tp 3 with ep 1 is not legal for MiniMax-M2.7: rule kv-heads: 8 KV heads and tp 3 do not divide one "
        "another; legal on this host: 1, 2 GPUs an instance (1 without the memory for it); set fleet_layout to 1x2",
    ),
    (
        "H200",
        8,
        {"layout": "1x5"},
        "attention-heads",
        "5 x H200: tp 5 with ep 1 is not legal for MiniMax-M2.7: rule attention-heads: 48 attention heads are not divisible "
        "by tp 5; legal on this host: 1, 2, 4, 8 GPUs an instance (1 without the memory for it); set fleet_layout to 1x8",
    ),
    (
        "H200",
        8,
        {"layout": "1x8", "ep": 1},
        "fp8-block",
        "8 x H200: tp 8 with ep 1 is not legal for MiniMax-M2.7: rule fp8-block: 1536 / (tp 8 / ep 1) = 192 is not a "
        "multiple of the FP8 block size 128; legal on this host: 1, 2, 4 GPUs an instance with ep 1 (1 without the memory "
        "for it); set fleet_layout to 2x4",
    ),
    (
        "H200",
        16,
        {"layout": "1x16"},
        "tp-above-kv-heads",
        "16 x H200: tp 16 with ep 1 is not legal for MiniMax-M2.7: rule tp-above-kv-heads: tp 16 is above the 8 KV heads, "
        "which needs SGLang 0.5.11 or newer (the image has 0.5.10.post1); legal on this host: 1, 2, 4, 8 GPUs an instance "
        "(1 without the memory for it); set fleet_layout to 2x8",
    ),
    (
        "H200",
        8,
        {"layout": "1x4", "ep": 8},
        "ep-divides-tp",
        "4 x H200: tp 4 with ep 8 is not legal for MiniMax-M2.7: rule ep-divides-tp: tp 4 is not divisible by ep 8; legal on "
        "this host: 8 GPUs an instance with ep 8; set fleet_layout to 1x8",
    ),
    (
        "H200",
        8,
        {"layout": "1x3", "ep": 3},
        "experts",
        "3 x H200: tp 3 with ep 3 is not legal for MiniMax-M2.7: rule experts: 256 experts are not divisible by ep 3; no "
        "number of this host's GPUs is legal with ep 3; leave fleet_ep out",
    ),
    (
        "H200",
        8,
        {"ep": 5},
        "ep-divides-tp",
        "MiniMax-M2.7 takes no 8 x H200: rule ep-divides-tp: tp 8 is not divisible by ep 5; no number of this host's GPUs is "
        "legal with ep 5; leave fleet_ep out",
    ),
    (
        "H200",
        2,
        {"ep": 4},
        "ep-divides-tp",
        "MiniMax-M2.7 takes no 2 x H200: rule ep-divides-tp: tp 2 is not divisible by ep 4; no number of this host's GPUs is "
        "legal with ep 4; it takes 4 x H200, the host has 2, or leave fleet_ep out",
    ),
    (
        "A100-40GB",
        8,
        {"layout": "1x8", "ep": 1},
        "fp8-block",
        "8 x A100-40GB: tp 8 with ep 1 is not legal for MiniMax-M2.7: rule fp8-block: 1536 / (tp 8 / ep 1) = 192 is not a "
        "multiple of the FP8 block size 128; legal on this host: 1, 2, 4 GPUs an instance with ep 1 (1, 2, 4 without the "
        "memory for it); leave fleet_ep out",
    ),
    (
        "H200",
        8,
        {"layout": "3x4"},
        "gpus",
        "fleet_layout 3x4 needs 12 GPUs, the host has 8 x H200; legal on this host: 1, 2, 4, 8 GPUs an instance (1 without "
        "the memory for it); set fleet_layout to 1x8",
    ),
    ("H100", 2, {}, "memory", f"{H100_PAIR}; it takes 4 x H100, the host has 2"),
    ("H100", 3, {}, "memory", f"{H100_PAIR}; it takes 4 x H100, the host has 3"),
    ("H100", 8, {"layout": "4x2"}, "memory", f"{H100_PAIR}; set fleet_layout to 1x8"),
    (
        "H200",
        1,
        {},
        "memory",
        "MiniMax-M2.7 does not fit on 1 x H200: of 140.4 GiB a GPU, driver and runtime take 1.7 GiB, mem_fraction_static "
        "0.85 of the rest leaves 117.9 GiB, the weights take 214.3 GiB (96.4 GiB missing); it takes 2 x H200, the host has 1",
    ),
    (
        "H200",
        2,
        {"context_length": 150000},
        "memory",
        "MiniMax-M2.7 does not fit on 2 x H200: of 140.4 GiB a GPU, driver and runtime take 1.9 GiB, mem_fraction_static "
        "0.85 of the rest leaves 117.7 GiB, the weights take 107.2 GiB and the rest holds 88671 tokens, 150000 are needed; "
        "it takes 4 x H200, the host has 2, or leave fleet_context_length out",
    ),
    (
        "H200",
        8,
        {"mem_fraction_static": 0.1},
        "memory",
        "MiniMax-M2.7 does not fit on 8 x H200: of 140.4 GiB a GPU, driver and runtime take 3.1 GiB, mem_fraction_static "
        "0.1 of the rest leaves 13.7 GiB, the weights take 26.9 GiB (13.2 GiB missing on each, 105.7 GiB in all); leave "
        "fleet_mem_fraction_static out",
    ),
    (
        "H200",
        1,
        {"mem_fraction_static": 0.1},
        "memory",
        "MiniMax-M2.7 does not fit on 1 x H200: of 140.4 GiB a GPU, driver and runtime take 1.7 GiB, mem_fraction_static "
        "0.1 of the rest leaves 13.9 GiB, the weights take 214.3 GiB (200.4 GiB missing); use a GPU with more memory",
    ),
    (
        "A100-40GB",
        4,
        {},
        "memory",
        "MiniMax-M2.7 does not fit on 4 x A100-40GB: of 40.0 GiB a GPU, driver and runtime take 2.3 GiB, "
        "mem_fraction_static 0.85 of the rest leaves 32.0 GiB, the weights take 53.7 GiB (21.7 GiB missing on each, 86.7 GiB "
        "in all); it takes 8 x A100-40GB, the host has 4",
    ),
]


@pytest.mark.parametrize(("gpu", "count", "wishes", "rule", "message"), REFUSED)
def test_what_is_refused(gpu: str, count: int, wishes: dict[str, t.Any], rule: str, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        chosen(gpu, count, **wishes)
    assert (caught.value.rule, str(caught.value)) == (rule, message)


def test_the_longest_context_counts_before_the_last_idle_gpu() -> None:
    """Six of them make three pairs, none of which holds a request of full length; four GPUs do."""
    memory = case_of("H20-141GB", 6)
    assert memory.memory(2).kv_tokens < 204800 < memory.memory(4).kv_tokens
    assert chosen("H20-141GB", 6)[0] == "1x4"
    # Where the shorter request is all that is asked for, the pairs are the better use.
    assert chosen("H20-141GB", 6, context_length=65536)[0] == "3x2"


def full(*groups: t.Sequence[int]) -> tuple[frozenset[int], ...]:
    """Links that join each group throughout."""
    member = {gpu: frozenset(group) - {gpu} for group in groups for gpu in group}
    return tuple(member[gpu] for gpu in range(len(member)))


ALL8 = full(range(8))
NONE4, NONE8 = full(*([[gpu] for gpu in range(4)])), full(*([[gpu] for gpu in range(8)]))
TWO_SOCKETS = (0, 0, 0, 0, 1, 1, 1, 1)
INTERLEAVED = (0, 1, 0, 1, 0, 1, 0, 1)
UNKNOWN4: tuple[None, ...] = (None, None, None, None)
PAIRS = full((0, 2), (1, 3))

GROUPS: list[t.Any] = [
    pytest.param(Layout(1, 8), TWO_SOCKETS, ALL8, False, ((0, 1, 2, 3, 4, 5, 6, 7),), id="all of a node"),
    pytest.param(Layout(2, 4), TWO_SOCKETS, ALL8, False, ((0, 1, 2, 3), (4, 5, 6, 7)), id="SXM, two sockets"),
    pytest.param(Layout(2, 4), INTERLEAVED, ALL8, False, ((0, 2, 4, 6), (1, 3, 5, 7)), id="SXM, sockets take turns"),
    pytest.param(
        Layout(4, 2), INTERLEAVED, ALL8, False, ((0, 2), (1, 3), (4, 6), (5, 7)), id="pairs, sockets take turns"
    ),
    pytest.param(Layout(2, 4), INTERLEAVED, NONE8, False, ((0, 2, 4, 6), (1, 3, 5, 7)), id="no links, sockets count"),
    pytest.param(Layout(2, 2), (0, 0, 0, 0), PAIRS, False, ((0, 2), (1, 3)), id="bridged pairs"),
    pytest.param(Layout(2, 2), (0, 0, 1, 1), PAIRS, False, ((0, 2), (1, 3)), id="a bridge counts before a socket"),
    pytest.param(Layout(1, 4), (0, 0, 1, 1), PAIRS, False, ((0, 1, 2, 3),), id="four of two bridged pairs"),
    pytest.param(Layout(2, 2), UNKNOWN4, NONE4, False, ((0, 1), (2, 3)), id="nothing known"),
    pytest.param(Layout(2, 2), (None, 1, None, 0), NONE4, False, ((0, 1), (2, 3)), id="unknown sockets cost nothing"),
    pytest.param(Layout(1, 2), (0, 0, 0), full((0,), (1, 2)), False, ((1, 2),), id="the idle GPU is not of the pair"),
    pytest.param(Layout(1, 2), (0, 1, 1, 1), full(range(4)), False, ((1, 2),), id="the idle GPUs are the others'"),
    pytest.param(Layout(3, 1), (0, 1, 0, 1), PAIRS, False, ((0,), (1,), (2,)), id="one GPU each"),
    pytest.param(Layout(2, 4), INTERLEAVED, ALL8, True, ((0, 1, 2, 3), (4, 5, 6, 7)), id="in a row, whatever else"),
    pytest.param(Layout(2, 2), (0, 0, 0, 0), PAIRS, True, ((0, 1), (2, 3)), id="in a row, bridges or not"),
    pytest.param(
        Layout(2, 8),
        tuple([gpu % 2 for gpu in range(16)]),
        full(range(16)),
        False,
        (tuple(range(0, 16, 2)), tuple(range(1, 16, 2))),
        id="sixteen, sockets take turns",
    ),
    pytest.param(
        Layout(4, 4),
        tuple([0] * 16),
        full(*[range(first, 16, 4) for first in range(4)]),
        False,
        tuple(tuple(range(first, 16, 4)) for first in range(4)),
        id="sixteen, four islands of links",
    ),
    pytest.param(
        Layout(1, 8),
        tuple([0] * 12),
        full(range(4), range(4, 12)),
        False,
        (tuple(range(4, 12)),),
        id="twelve, the big island",
    ),
]


@pytest.mark.parametrize(("layout", "numa", "links", "in_a_row", "groups"), GROUPS)
def test_gpus_that_stand_together(
    layout: Layout, numa: tuple[int | None, ...], links: tuple[frozenset[int], ...], in_a_row: bool, groups: Groups
) -> None:
    assert group_gpus(layout, numa, links, in_a_row) == groups
