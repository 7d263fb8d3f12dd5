# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many instances a node serves, of how many GPUs, and of which. Pure."""

from __future__ import annotations

import itertools
import re
import typing as t
from dataclasses import dataclass, replace
from functools import lru_cache

from ansible_collections.sglang.fleet.plugins.module_utils._fit import GIB
from ansible_collections.sglang.fleet.plugins.module_utils._plan_case import Case
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import published
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import PlanError, any_of, numbers

#: Nodes with more GPUs than this are divided group by group, not by comparing every division.
_COMPARE_ALL: t.Final = 8


@dataclass(frozen=True)
class Layout:
    instances: int
    gpus: int

    @property
    def used(self) -> int:
        return self.instances * self.gpus

    def __str__(self) -> str:
        return f"{self.instances}x{self.gpus}"


def parse_layout(text: str) -> Layout | None:
    """``auto`` gives None. NxT: N instances of T GPUs each."""
    if text == "auto":
        return None
    match = re.fullmatch(r"([1-9]\d{0,2})x([1-9]\d{0,2})", text)
    if match is None:
        raise PlanError(
            f"fleet_layout is {text}: set it to auto, or to INSTANCESxGPUS such as 1x8 or 2x4 (two servers of four GPUs)"
        )
    return Layout(int(match[1]), int(match[2]))


def choose_layout(case: Case, text: str) -> tuple[Layout, str]:
    """The layout and why, in a sentence; a PlanError names the rule broken and the legal counts."""
    asked = parse_layout(text)
    return _automatic(case) if asked is None else (_checked(case, asked), _note(case, asked))


def _automatic(case: Case) -> tuple[Layout, str]:
    """The published generator's command for the node's count of GPUs; else what leaves the fewest GPUs idle.

    The generators set tp to the count of GPUs. Where they do not offer the node's count, several of an offered size
    stand side by side; where none of theirs can be had, the model's rules and the memory decide.
    """
    node = case.node
    what = f"{case.model.name} on {node.gpu.name}"
    fitting = case.fitting(node.count)
    if not fitting:
        legal = case.legal(node.count)
        if not legal:
            rule = case.broken(node.count)
            raise PlanError(
                f"{case.model.name} takes no {node.count} x {node.gpu.name}{_because(rule)}; {legal_counts(case)}",
                _id(rule),
            )
        raise does_not_fit(case, max(legal))
    generator = published(case.model, node.gpu)
    offered = [tp for tp in generator.counts if tp in fitting] if generator else []
    if node.count in offered:
        return Layout(1, node.count), f"the published command for {what} with {node.count} GPUs"
    chosen = max(
        offered or fitting,
        key=lambda tp: (bool(offered) or case.memory(tp).kv_tokens >= case.longest, node.count // tp * tp, tp),
    )
    layout = Layout(node.count // chosen, chosen)
    if generator and node.count in generator.counts:
        # Larger sizes fit where smaller ones do: it can only be that what was asked for makes it illegal.
        rule = case.broken(node.count)
        return layout, (
            f"the published command with {node.count} GPUs is not to be had with ep {case.ep(node.count)}{_because(rule)}"
        )
    if offered:
        return layout, f"the published commands for {what} take {_or(generator)} GPUs, the host has {node.count}"
    why = f"the published commands take {_or(generator)}" if generator else "no published command speaks of it"
    room = "those" if case.memory(chosen).kv_tokens >= case.longest else "none"
    first = " first" if room == "those" else ""
    return layout, (
        f"{why}; of the legal sizes that fit ({numbers(fitting)}), {room} with room for the full context{first}, {chosen} "
        "leaves the fewest GPUs idle and is the largest that does"
    )


def _or(generator: t.Any) -> str:
    return any_of([str(count) for count in generator.counts])


def _because(rule: t.Any) -> str:
    return f": rule {rule.id}: {rule.text}" if rule else ""


def _id(rule: t.Any) -> str | None:
    return rule.id if rule else None


def _checked(case: Case, asked: Layout) -> Layout:
    node = case.node
    if asked.used > node.count:
        raise PlanError(
            f"fleet_layout {asked} needs {asked.used} GPUs, the host has {node.count} x {node.gpu.name}; "
            f"{legal_counts(case)}",
            "gpus",
        )
    rule = case.broken(asked.gpus)
    if rule is not None:
        raise PlanError(
            f"{asked.gpus} x {node.gpu.name}: tp {asked.gpus} with ep {case.ep(asked.gpus)} is not legal for "
            f"{case.model.name}: rule {rule.id}: {rule.text}; {legal_counts(case)}",
            rule.id,
        )
    if not case.fits(asked.gpus):
        raise does_not_fit(case, asked.gpus)
    return asked


def _note(case: Case, asked: Layout) -> str:
    generator = published(case.model, case.node.gpu)
    if generator is not None and asked.gpus in generator.counts:
        return f"asked for; the published generator offers {asked.gpus} GPUs an instance"
    offered = _or(generator) if generator else "nothing"
    return f"asked for; it follows the model's rules, the published generator offers {offered} there"


def legal_counts(case: Case) -> str:
    """The legal GPU counts of this node, those of them that do not fit, and a layout to set."""
    most = case.node.count
    legal, fitting = case.legal(most), case.fitting(most)
    tight = [tp for tp in legal if tp not in fitting]
    with_ep = "" if case.wishes.ep is None else f" with ep {case.wishes.ep}"
    if not legal:
        return f"no number of this host's GPUs is legal{with_ep}; {_ways_out(case)}"
    text = f"legal on this host: {numbers(legal)} GPUs an instance{with_ep}"
    if tight:
        text += f" ({numbers(tight)} without the memory for it)"
    if fitting:
        best = max(fitting, key=lambda tp: (most // tp * tp, tp))
        return f"{text}; set fleet_layout to {most // best}x{best}"
    return f"{text}; {_ways_out(case)}"


def does_not_fit(case: Case, tp: int) -> PlanError:
    """Why an instance of this size has no room, and which would."""
    node, memory, most = case.node, case.memory(tp), case.most_tokens(tp)
    if most is not None and most < case.tokens_needed():
        # No GPU and no layout would hold more.
        return PlanError(
            f"max-total-tokens {most} is less than the {case.tokens_needed()} tokens that are needed: set it to that or more "
            "in fleet_server_args, or leave it out",
            "memory",
        )
    budget = memory.memory - memory.reserved - memory.headroom
    text = (
        f"{case.model.name} does not fit on {tp} x {node.gpu.name}: of {memory.memory / GIB:.1f} GiB a GPU, driver and "
        f"runtime take {memory.reserved / GIB:.1f} GiB, mem_fraction_static {case.fraction:g} of the rest leaves "
        f"{budget / GIB:.1f} GiB, the weights take {memory.weights / GIB:.1f} GiB"
    )
    if memory.kv <= 0:
        missing = -memory.kv / GIB
        text += f" ({missing:.1f} GiB missing" + (f" on each, {missing * tp:.1f} GiB in all)" if tp > 1 else ")")
    else:
        text += f" and the rest holds {memory.kv_tokens} tokens, {case.tokens_needed()} are needed"
    possible = case.fitting(node.count)
    if possible:
        best = max(possible, key=lambda count: (node.count // count * count, count))
        return PlanError(f"{text}; set fleet_layout to {node.count // best}x{best}", "memory")
    return PlanError(f"{text}; {_ways_out(case)}", "memory")


def _ways_out(case: Case) -> str:
    """What to do where no size that is legal fits on the node: more GPUs, or one wish less."""
    node, wishes = case.node, case.wishes
    ways = []
    smallest = case.smallest_fitting()
    if smallest is not None:
        ways.append(f"it takes {smallest} x {node.gpu.name}, the host has {node.count}")
    for variable, less, value in (
        ("fleet_ep", replace(wishes, ep=None), wishes.ep),
        ("fleet_mem_fraction_static", replace(wishes, mem_fraction_static=None), wishes.mem_fraction_static),
        ("fleet_context_length", replace(wishes, context_length=None), wishes.context_length),
    ):
        if value is not None and Case(case.catalogue, node, case.model, case.image, less).fitting(node.count):
            ways.append(f"leave {variable} out")
    return ", or ".join(ways) or "use a GPU with more memory"


Groups = t.Tuple[t.Tuple[int, ...], ...]  # noqa: UP006 (evaluated at run time, by Python 3.9 too)


@lru_cache(maxsize=1024)
def group_gpus(
    layout: Layout, numa: tuple[int | None, ...], links: tuple[frozenset[int], ...], in_a_row: bool
) -> Groups:
    """The GPUs of each instance, by index.

    numa: each GPU's NUMA node, None where unknown. links: the GPUs that each reaches over NVLink or XGMI; all empty says
    nothing. in_a_row: only neighbours by index will do (a server that sees all GPUs is told its first). Groups that are
    linked throughout are the best, then groups within one NUMA node, then the lowest indexes.
    """
    rows = tuple(tuple(range(at, at + layout.gpus)) for at in range(0, layout.used, layout.gpus))
    if in_a_row or layout.gpus == 1 or not any(_cost(row, numa, links) != (0, 0) for row in rows):
        return rows
    everyone = tuple(range(len(numa)))
    if len(numa) <= _COMPARE_ALL:
        return min(
            _divisions(everyone, layout.instances, layout.gpus),
            key=lambda groups: (*_sum(_cost(group, numa, links) for group in groups), groups),
        )
    groups: list[tuple[int, ...]] = []
    left = list(everyone)
    for _instance in range(layout.instances):
        best = min(itertools.combinations(left, layout.gpus), key=lambda group: (*_cost(group, numa, links), group))
        groups.append(best)
        left = [gpu for gpu in left if gpu not in best]
    return tuple(sorted(groups))


def _divisions(gpus: tuple[int, ...], instances: int, size: int) -> t.Iterator[Groups]:
    """Every way to take ``instances`` groups out of the GPUs, each way once."""
    if instances == 0:
        yield ()
        return
    # The group with the lowest index comes first; GPUs below it stay idle.
    for at in range(len(gpus) - instances * size + 1):
        for others in itertools.combinations(gpus[at + 1 :], size - 1):
            group = (gpus[at], *others)
            rest = tuple(gpu for gpu in gpus[at + 1 :] if gpu not in others)
            for more in _divisions(rest, instances - 1, size):
                yield (group, *more)


def _cost(group: tuple[int, ...], numa: tuple[int | None, ...], links: tuple[frozenset[int], ...]) -> tuple[int, int]:
    """Pairs without a link, where the node has links at all; NUMA nodes beyond the first."""
    unlinked = 0
    if any(links):
        unlinked = sum(1 for one, other in itertools.combinations(group, 2) if other not in links[one])
    return unlinked, max(len({numa[gpu] for gpu in group if numa[gpu] is not None}) - 1, 0)


def _sum(costs: t.Iterable[tuple[int, int]]) -> tuple[int, int]:
    pairs = list(costs)
    return sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)
