# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts of a fleet change when, and what capacity that takes: waves, batches within them, what is out at once. Pure.

Capacity is counted in instances (servers) and in their GPUs. A node with several instances changes one after the other, so
that at most one of them is out; where the new layout divides the GPUs anew, all are (`together`). What does not serve when
the rollout begins is no capacity: it neither counts nor is lost.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

#: Waves where none are given: one host, a tenth, half, all.
DEFAULT_WAVES = "1, 10%, 50%, 100%"
#: What may be out where nothing is said, and at least one instance, whatever its share.
DEFAULT_UNAVAILABLE = "25%"

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(%?)")


class WaveError(ValueError):
    """What was asked for makes no rollout; the message says what is allowed."""


class Size(NamedTuple):
    """A count, or a share in percent."""

    number: Fraction
    percent: bool

    def of(self, total: int) -> Fraction:
        return self.number * total / 100 if self.percent else self.number

    def __str__(self) -> str:
        number = f"{float(self.number):g}"
        return f"{number}%" if self.percent else number


class Capacity(NamedTuple):
    """Servers and their GPUs."""

    instances: int = 0
    gpus: int = 0

    def plus(self, other: Capacity) -> Capacity:
        return Capacity(self.instances + other.instances, self.gpus + other.gpus)


#: Nothing at all.
NOTHING = Capacity()


@dataclass(frozen=True)
class Node:
    """A host of the rollout. gpus: of each instance that serves now. kind: nodes of one kind are spread over the waves."""

    name: str
    gpus: tuple[int, ...] = ()
    kind: str = ""
    together: bool = False

    @property
    def all(self) -> Capacity:
        """What is lost with the whole node."""
        return Capacity(len(self.gpus), sum(self.gpus))

    @property
    def most(self) -> Capacity:
        """What is out at most while the node changes."""
        if self.together or not self.gpus:
            return self.all
        return Capacity(1, max(self.gpus))


@dataclass(frozen=True)
class Allowance:
    """What may be out at once. A count is one of instances, a share one of the fleet's GPUs."""

    size: Size
    most: Capacity  # -1 in the part that is not limited

    def holds(self, out: Capacity) -> bool:
        """Whether that much may be out."""
        return all(limit < 0 or part <= limit for part, limit in zip(out, self.most))

    def __str__(self) -> str:
        return str(self.size)


class Moment(NamedTuple):
    """One step of the plan: these hosts change at the same time, and at most `out` is lost meanwhile."""

    wave: int  # from 1
    batch: int  # from 1, within the wave
    hosts: tuple[str, ...]
    out: Capacity


def parse_size(text: str, what: str) -> Size:
    """A count such as 2, or a share such as 10%. Raises WaveError; what: the option, for the message."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise WaveError(f"{what} is {text.strip()!r}: give a count such as 2 or a share such as 10%")
    number, percent = Fraction(match.group(1)), bool(match.group(2))
    if number <= 0 or (percent and number > 100) or (not percent and number.denominator != 1):
        raise WaveError(
            f"{what} is {text.strip()!r}: a count is a whole number from 1, a share more than 0% and at most 100%"
        )
    return Size(number, percent)


def parse_waves(text: str) -> tuple[Size, ...]:
    """Waves as cumulative counts and shares of the hosts, such as `1, 10%, 50%, 100%`. Raises WaveError."""
    words = [word.strip() for word in text.split(",")]
    if not any(words):
        raise WaveError(f"--waves is empty: give counts and shares of the hosts, such as {DEFAULT_WAVES!r}")
    sizes = tuple(parse_size(word, "a wave of --waves") for word in words)
    for percent in (False, True):
        same = [size for size in sizes if size.percent is percent]
        for before, after in zip(same, same[1:]):
            if after.number <= before.number:
                raise WaveError(
                    f"--waves has {after} after {before}: each wave says how many hosts are new at its end, "
                    f"so that the numbers grow, as in {DEFAULT_WAVES!r}"
                )
    for number, size in enumerate(sizes[:-1]):
        if size.percent and size.number == 100:
            raise WaveError(f"--waves has {sizes[number + 1]} after 100%: nothing can follow all hosts")
    return sizes


def wave_ends(sizes: Sequence[Size], hosts: int) -> list[int]:
    """How many of the hosts are new after each wave; waves that would add none are left out. Raises WaveError."""
    ends: list[int] = []
    for size in sizes:
        end = min(hosts, math.ceil(size.of(hosts)))
        if end > (ends[-1] if ends else 0):
            ends.append(end)
    if not ends or ends[-1] < hosts:
        raise WaveError(
            f"--waves ends with {sizes[-1]}, which reaches {ends[-1] if ends else 0} of {hosts} hosts: end with 100%"
        )
    return ends


def in_order(nodes: Sequence[Node], canaries: Sequence[str] = ()) -> list[Node]:
    """Canaries first, as they are named; then kind after kind in turn, so that early waves meet every kind of node.

    Within a kind the order stays. Raises WaveError for a canary that is none of the nodes.
    """
    by_name = {node.name: node for node in nodes}
    if len(by_name) < len(nodes):
        names = [node.name for node in nodes]
        raise WaveError(f"{next(name for name in names if names.count(name) > 1)} is there twice: name a host once")
    for number, name in enumerate(canaries):
        if name not in by_name:
            some = ", ".join(list(by_name)[:8]) + ("" if len(by_name) <= 8 else f" and {len(by_name) - 8} more")
            raise WaveError(f"--canary {name}: no such host has anything to change. Those that have: {some}")
        if name in canaries[:number]:
            raise WaveError(f"--canary {name} is given twice: give it once")
    kinds: dict[str, list[Node]] = {}
    for node in nodes:
        if node.name not in canaries:
            kinds.setdefault(node.kind, []).append(node)
    ordered = [by_name[name] for name in canaries]
    queues = list(kinds.values())
    for turn in range(max((len(queue) for queue in queues), default=0)):
        ordered += [queue[turn] for queue in queues if turn < len(queue)]
    return ordered


def plan_waves(nodes: Sequence[Node], sizes: Sequence[Size], canaries: Sequence[str] = ()) -> list[list[Node]]:
    """The nodes of each wave: every node is in one of them. Raises WaveError."""
    if not nodes:
        return []
    ordered = in_order(nodes, canaries)
    ends = wave_ends(sizes, len(ordered))
    return [ordered[start:end] for start, end in zip([0, *ends], ends)]


def total(nodes: Iterable[Node]) -> Capacity:
    """What serves now."""
    found = Capacity()
    for node in nodes:
        found = found.plus(node.all)
    return found


def allowance(nodes: Sequence[Node], size: Size | None = None) -> Allowance:
    """What may be out at once; without a size the default, or one instance where that is more.

    Raises WaveError where some node could never change, or where nothing but a full outage would do and nobody has said so.
    """
    serving = [node for node in nodes if node.gpus]
    fleet = total(serving)
    wanted = size or parse_size(DEFAULT_UNAVAILABLE, "--max-unavailable")
    if wanted.percent:
        limit = math.floor(wanted.of(fleet.gpus))
        if size is None:
            limit = max([limit, *(node.most.gpus for node in serving)])
        allowed = Allowance(wanted, Capacity(-1, limit))
    else:
        allowed = Allowance(wanted, Capacity(int(wanted.number), -1))
    for node in serving:
        if not allowed.holds(node.most):
            raise WaveError(_too_small(node, fleet, allowed))
    if size is None and fleet.gpus and allowed.most.gpus >= fleet.gpus:
        node = max(serving, key=lambda node: node.most.gpus)
        raise WaveError(
            f"all that serves ({_text(fleet)}) would be out while {node.name} changes: add a host, divide its GPUs among "
            "several servers (fleet_layout), or accept the outage with --max-unavailable 100%"
        )
    return allowed


def _too_small(node: Node, fleet: Capacity, allowed: Allowance) -> str:
    needed = node.most
    why = (
        "all its servers are out at once, as its GPUs are divided anew"
        if node.together
        else "one of its servers is out"
    )
    if allowed.size.percent:
        share = math.ceil(Fraction(100 * needed.gpus, fleet.gpus))
        least, have = f"{share}%", f"{allowed} of {fleet.gpus} GPUs is {float(allowed.size.of(fleet.gpus)):g}"
    else:
        least, have = str(needed.instances), f"that is {allowed.most.instances} of {fleet.instances} servers"
    return (
        f"--max-unavailable {allowed} is too little for {node.name}: {have}, and while it changes {why}, {_text(needed)}. "
        f"Give at least {least}"
    )


def _text(capacity: Capacity) -> str:
    return f"{capacity.instances} {'server' if capacity.instances == 1 else 'servers'}, {capacity.gpus} GPUs"


def next_batch(nodes: Sequence[Node], allowed: Allowance, out: Capacity = NOTHING) -> list[Node]:
    """Those of the nodes that can change at once while `out` is lost already: in their order, as many as there is room for."""
    batch: list[Node] = []
    for node in nodes:
        then = out.plus(node.most)
        if allowed.holds(then):
            batch.append(node)
            out = then
    return batch


def moments(waves: Sequence[Sequence[Node]], allowed: Allowance) -> list[Moment]:
    """What happens after what when all goes well, and the capacity that is lost meanwhile."""
    found: list[Moment] = []
    for wave, nodes in enumerate(waves, 1):
        left, number = list(nodes), 0
        while left:
            batch, number = next_batch(left, allowed), number + 1
            if not batch:
                raise WaveError(f"{left[0].name} needs more than --max-unavailable {allowed} allows: allow more")
            out = Capacity()
            for node in batch:
                out = out.plus(node.most)
            found.append(Moment(wave, number, tuple(node.name for node in batch), out))
            names = {node.name for node in batch}
            left = [node for node in left if node.name not in names]
    return found
