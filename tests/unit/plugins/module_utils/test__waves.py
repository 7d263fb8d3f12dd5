# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waves and what they take out of service."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path

import pytest

pytest.importorskip("hypothesis")

from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from ansible_collections.sglang.fleet.plugins.module_utils._waves import (
    Capacity,
    Node,
    Size,
    WaveError,
    allowance,
    in_order,
    moments,
    next_batch,
    parse_size,
    parse_waves,
    plan_waves,
    total,
    wave_ends,
)

set_hypothesis_home_dir(Path(tempfile.gettempdir(), "sglang-fleet-hypothesis"))


def fleet(count: int, *gpus: int, kind: str = "", start: int = 1) -> list[Node]:
    return [Node(f"{kind or 'n'}{number}", gpus, kind) for number in range(start, start + count)]


# --- Words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "hosts", "ends"),
    [
        ("1, 10%, 50%, 100%", 200, [1, 20, 100, 200]),
        ("1, 10%, 50%, 100%", 3, [1, 2, 3]),  # a tenth of three is the canary again
        ("1, 10%, 50%, 100%", 1, [1]),
        ("100%", 7, [7]),
        ("1,5,20", 20, [1, 5, 20]),
        ("1, 50", 20, [1, 20]),  # more than there are
        (" 12.5 % ,100% ", 16, [2, 16]),
        ("12.5%, 100%", 9, [2, 9]),  # rounded up
        ("5, 10%, 100%", 20, [5, 20]),  # a tenth adds none
    ],
)
def test_waves_are_cumulative(text: str, hosts: int, ends: list[int]) -> None:
    assert wave_ends(parse_waves(text), hosts) == ends


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--waves is empty: give counts and shares of the hosts, such as '1, 10%, 50%, 100%'"),
        (" , ", "--waves is empty: give counts and shares of the hosts, such as '1, 10%, 50%, 100%'"),
        ("1,,100%", "a wave of --waves is '': give a count such as 2 or a share such as 10%"),
        ("one, 100%", "a wave of --waves is 'one': give a count such as 2 or a share such as 10%"),
        ("-1, 100%", "a wave of --waves is '-1': give a count such as 2 or a share such as 10%"),
        (
            "0, 100%",
            "a wave of --waves is '0': a count is a whole number from 1, a share more than 0% and at most 100%",
        ),
        (
            "1.5, 100%",
            "a wave of --waves is '1.5': a count is a whole number from 1, a share more than 0% and at most 100%",
        ),
        (
            "101%",
            "a wave of --waves is '101%': a count is a whole number from 1, a share more than 0% and at most 100%",
        ),
        (
            "50%, 10%, 100%",
            "--waves has 10% after 50%: each wave says how many hosts are new at its end, so that the numbers grow, as in "
            "'1, 10%, 50%, 100%'",
        ),
        (
            "5, 10%, 5, 100%",
            "--waves has 5 after 5: each wave says how many hosts are new at its end, so that the numbers grow, as in "
            "'1, 10%, 50%, 100%'",
        ),
        ("1, 100%, 7", "--waves has 7 after 100%: nothing can follow all hosts"),
    ],
)
def test_waves_that_mean_nothing(text: str, message: str) -> None:
    with pytest.raises(WaveError) as caught:
        parse_waves(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "hosts", "message"),
    [
        ("1, 50%", 10, "--waves ends with 50%, which reaches 5 of 10 hosts: end with 100%"),
        ("1, 5", 10, "--waves ends with 5, which reaches 5 of 10 hosts: end with 100%"),
        ("5, 10%", 20, "--waves ends with 10%, which reaches 5 of 20 hosts: end with 100%"),
    ],
)
def test_the_last_wave_must_reach_all(text: str, hosts: int, message: str) -> None:
    with pytest.raises(WaveError) as caught:
        wave_ends(parse_waves(text), hosts)
    assert str(caught.value) == message


def test_sizes_show_as_they_were_given() -> None:
    assert [str(parse_size(text, "x")) for text in ("2", "10%", "12.50%")] == ["2", "10%", "12.5%"]


# --- Order ----------------------------------------------------------------------------------------------------------


def test_early_waves_meet_every_kind() -> None:
    nodes = [*fleet(3, 8, kind="h"), *fleet(1, 8, kind="m"), *fleet(2, 4, kind="g")]
    assert [node.name for node in in_order(nodes)] == ["h1", "m1", "g1", "h2", "g2", "h3"]


def test_canaries_go_first_in_their_order() -> None:
    nodes = fleet(4, 8)
    waves = plan_waves(nodes, parse_waves("2, 100%"), ["n3", "n2"])
    assert [[node.name for node in wave] for wave in waves] == [["n3", "n2"], ["n1", "n4"]]


@pytest.mark.parametrize(
    ("nodes", "canaries", "message"),
    [
        (fleet(2, 8), ["x"], "--canary x: no such host has anything to change. Those that have: n1, n2"),
        (
            fleet(9, 8),
            ["x"],
            "--canary x: no such host has anything to change. Those that have: n1, n2, n3, n4, n5, n6, n7, n8 and 1 more",
        ),
        (fleet(2, 8), ["n1", "n1"], "--canary n1 is given twice: give it once"),
        ([*fleet(2, 8), *fleet(1, 8)], [], "n1 is there twice: name a host once"),
    ],
)
def test_canaries_that_are_none(nodes: list[Node], canaries: list[str], message: str) -> None:
    with pytest.raises(WaveError) as caught:
        in_order(nodes, canaries)
    assert str(caught.value) == message


def test_without_hosts_there_are_no_waves() -> None:
    assert plan_waves([], parse_waves("100%")) == []
    assert moments([], allowance([])) == []


# --- Capacity -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "most"),
    [
        (Node("n", (8,)), Capacity(1, 8)),
        (Node("n", (4, 4)), Capacity(1, 4)),  # one server after the other: half of the node serves
        (Node("n", (4, 2)), Capacity(1, 4)),
        (Node("n", (4, 4), together=True), Capacity(2, 8)),
        (Node("n", ()), Capacity(0, 0)),  # nothing serves there
    ],
)
def test_what_a_node_takes_out(node: Node, most: Capacity) -> None:
    assert node.most == most


@pytest.mark.parametrize(
    ("nodes", "size", "most"),
    [
        (fleet(8, 8), None, Capacity(-1, 16)),
        (fleet(8, 8), "50%", Capacity(-1, 32)),
        (fleet(8, 8), "13%", Capacity(-1, 8)),
        (fleet(8, 8), "3", Capacity(3, -1)),
        (fleet(3, 8), None, Capacity(-1, 8)),  # one server, though that is a third
        (fleet(1, 8), "100%", Capacity(-1, 8)),
        (fleet(1, 8), "1", Capacity(1, -1)),
        ([], None, Capacity(-1, 0)),
        (fleet(3), None, Capacity(-1, 0)),  # nobody serves: there is nothing to lose
    ],
)
def test_what_may_be_out(nodes: list[Node], size: str | None, most: Capacity) -> None:
    assert allowance(nodes, parse_size(size, "x") if size else None).most == most


@pytest.mark.parametrize(
    ("nodes", "size", "message"),
    [
        (
            fleet(3, 8),
            "10%",
            "--max-unavailable 10% is too little for n1: 10% of 24 GPUs is 2.4, and while it changes one of its servers is "
            "out, 1 server, 8 GPUs. Give at least 34%",
        ),
        (
            [*fleet(3, 8), Node("x", (4, 4), together=True)],
            "1",
            "--max-unavailable 1 is too little for x: that is 1 of 5 servers, and while it changes all its servers are out at "
            "once, as its GPUs are divided anew, 2 servers, 8 GPUs. Give at least 2",
        ),
        (
            fleet(1, 8),
            None,
            "all that serves (1 server, 8 GPUs) would be out while n1 changes: add a host, divide its GPUs among several "
            "servers (fleet_layout), or accept the outage with --max-unavailable 100%",
        ),
    ],
)
def test_what_can_never_be_done(nodes: list[Node], size: str | None, message: str) -> None:
    with pytest.raises(WaveError) as caught:
        allowance(nodes, parse_size(size, "x") if size else None)
    assert str(caught.value) == message


def test_a_batch_fills_the_room_there_is() -> None:
    nodes = [Node("a", (8,)), Node("b", (4,)), Node("c", (8,)), Node("d", (4,))]
    allowed = allowance(nodes, parse_size("34%", "x"))  # 8 of 24
    assert [step.hosts for step in moments([nodes], allowed)] == [("a",), ("b", "d"), ("c",)]
    assert [node.name for node in next_batch(nodes, allowed, Capacity(1, 4))] == ["b"]
    assert next_batch(nodes, allowed, Capacity(1, 8)) == []


def test_what_does_not_serve_costs_nothing() -> None:
    nodes = [Node("a", (8,)), Node("b", ()), Node("c", (8,))]
    assert [step.hosts for step in moments([nodes], allowance(nodes, parse_size("1", "x")))] == [("a", "b"), ("c",)]


def test_moments_tell_wave_batch_and_loss() -> None:
    nodes = fleet(5, 4, 4)
    waves = plan_waves(nodes, parse_waves("1, 100%"))
    found = moments(waves, allowance(nodes, parse_size("2", "x")))
    assert found == [
        (1, 1, ("n1",), Capacity(1, 4)),
        (2, 1, ("n2", "n3"), Capacity(2, 8)),
        (2, 2, ("n4", "n5"), Capacity(2, 8)),
    ]


# --- Whatever the fleet ---------------------------------------------------------------------------------------------

SIZES = st.one_of(
    st.builds(lambda n: Size(Fraction(n), False), st.integers(1, 40)),
    st.builds(lambda n: Size(Fraction(n), True), st.integers(1, 100)),
)
FLEETS = st.lists(
    st.tuples(st.lists(st.sampled_from([1, 2, 4, 8]), max_size=4), st.sampled_from("hmg"), st.booleans()), max_size=40
).map(lambda rows: [Node(f"n{n}", tuple(gpus), kind, both) for n, (gpus, kind, both) in enumerate(rows)])
WAVES = st.lists(st.integers(1, 99), max_size=4, unique=True).map(
    lambda shares: ", ".join([*(f"{share}%" for share in sorted(shares)), "100%"])
)


@given(nodes=FLEETS, text=WAVES, size=st.none() | SIZES)
def test_every_fleet_rolls_within_its_allowance(nodes: list[Node], text: str, size: Size | None) -> None:
    try:
        allowed = allowance(nodes, size)
    except WaveError:
        # Refused is only what could not be done, or what nobody has asked for.
        whole = total(nodes)
        if size is None:
            assert any(node.most.gpus == whole.gpus for node in nodes)
        elif size.percent:
            assert any(node.most.gpus * 100 > whole.gpus * size.number for node in nodes)
        else:
            assert any(node.most.instances > size.number for node in nodes)
        return
    waves = plan_waves(nodes, parse_waves(text))
    steps = moments(waves, allowed)
    by_name = {node.name: node for node in nodes}

    told = [name for step in steps for name in step.hosts]
    assert sorted(told) == sorted(by_name)  # each once, and all of them at the end
    assert [node.name for wave in waves for node in wave if node.kind == "h"] == [
        n.name for n in nodes if n.kind == "h"
    ]
    whole = total(nodes)
    for step in steps:
        out = sum(max(by_name[name].gpus, default=0) for name in step.hosts if not by_name[name].together)
        out += sum(sum(by_name[name].gpus) for name in step.hosts if by_name[name].together)
        assert step.out.gpus == out
        if size is not None and size.percent:
            assert out * 100 <= whole.gpus * size.number
        elif size is not None:
            assert step.out.instances <= size.number
        else:
            assert out * 4 <= whole.gpus or out <= max(node.most.gpus for node in nodes)


@given(hosts=st.integers(1, 300), text=WAVES)
def test_waves_grow_and_reach_all(hosts: int, text: str) -> None:
    ends = wave_ends(parse_waves(text), hosts)
    assert ends == sorted(set(ends))
    assert ends[-1] == hosts
    share = Fraction(text.partition("%")[0]) / 100
    assume(share < 1)
    # A wave is never smaller than its share, nor by a whole host larger.
    assert 0 <= ends[0] - share * hosts < 1
