# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is legal and what fits, for one model and image on one kind of GPU, whatever the layout."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import Catalogue, Image, KnownIssue, Model
from ansible_collections.sglang.fleet.plugins.module_utils._fit import MIN_KV_TOKENS, Memory, memory_of
from ansible_collections.sglang.fleet.plugins.module_utils._known_issues import Circumstances, meets
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import Node, Wishes
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import Rule, broken_rule
from ansible_collections.sglang.fleet.plugins.module_utils._server_args import ServerArgs, planned_args, with_extra
from ansible_collections.sglang.fleet.plugins.module_utils._server_flags import flag_problem, load_flags


class Case:
    """One model and image on one kind of GPU. ``tp`` is the number of GPUs of an instance everywhere."""

    def __init__(self, catalogue: Catalogue, node: Node, model: Model, image: Image, wishes: Wishes) -> None:
        self.catalogue, self.node, self.model, self.image, self.wishes = catalogue, node, model, image, wishes
        asked = wishes.mem_fraction_static
        self.fraction: float = model.mem_fraction_static if asked is None else asked
        self.longest: int = wishes.context_length or model.context_length
        self.flags = load_flags(image.sglang_version)
        self._issues: dict[int, list[KnownIssue]] = {}
        self._args: dict[int, ServerArgs] = {}
        self._memory: dict[int, Memory] = {}

    def ep(self, tp: int) -> int:
        """The expert parallel size: the one asked for, else the published generator's, else one that is legal."""
        if self.wishes.ep is not None:
            return self.wishes.ep
        if tp in self.model.ep_equals_tp_at.get(self.node.vendor, ()):
            return tp
        without = self._rule(tp, 1)
        return tp if without is not None and without.id == "fp8-block" and self._rule(tp, tp) is None else 1

    def broken(self, tp: int) -> Rule | None:
        return self._rule(tp, self.ep(tp))

    def _rule(self, tp: int, ep: int) -> Rule | None:
        return broken_rule(self.model.architecture, self.node.vendor, self.image.sglang_version, tp, ep)

    def unlisted(self, name: str, value: t.Any) -> str | None:
        """What the parser of the image's SGLang version has against an argument; None too where it is not known."""
        return None if self.flags is None else flag_problem(self.flags, self.image.sglang_version, name, value)

    def args(self, tp: int) -> ServerArgs:
        """The server arguments, those that differ between the instances of a node apart."""
        if tp not in self._args:
            self._work_out(tp)
        return self._args[tp]

    def issues(self, tp: int) -> list[KnownIssue]:
        """The known issues that meet an instance of this size."""
        if tp not in self._issues:
            self._work_out(tp)
        return self._issues[tp]

    def environment(self, tp: int) -> dict[str, str]:
        return {
            name: value
            for issue in self.issues(tp)
            if issue.name not in self.wishes.allow_known_issues
            for name, value in issue.change_environment.items()
        }

    def _work_out(self, tp: int) -> None:
        wishes = self.wishes
        args = planned_args(self.model, self.node.vendor, wishes, tp, self.ep(tp), self.fraction)
        args = with_extra(args, wishes.extra_args)
        circumstances = Circumstances(
            self.model.architecture.name,
            self.model.name,
            self.node.gpu.name,
            self.node.gpu.compute_capability,
            self.node.vendor,
            self.image.name,
            tp,
        )
        found = []
        for issue in self.catalogue.known_issues.values():
            if meets(issue, circumstances, args):
                found.append(issue)
                if issue.change_args and issue.name not in wishes.allow_known_issues:
                    args = with_extra(args, issue.change_args)
        self._issues[tp], self._args[tp] = found, args

    def most_tokens(self, tp: int) -> int | None:
        """The server's own limit of its KV cache (max-total-tokens), in tokens; None without one."""
        return _whole(self.args(tp).get("max-total-tokens"))

    def memory(self, tp: int) -> Memory:
        if tp not in self._memory:
            cache_type = str(self.args(tp).get("kv-cache-dtype", "auto"))
            self._memory[tp] = memory_of(
                self.model.architecture,
                self.node.gpu,
                self.node.memory_mib,
                tp,
                self.fraction,
                cache_type,
                self.longest,
                self.most_tokens(tp),
            )
        return self._memory[tp]

    def tokens_needed(self) -> int:
        """An asked-for context must fit; else as much as makes a server useful."""
        return self.wishes.context_length or min(MIN_KV_TOKENS, self.model.context_length)

    def fits(self, tp: int) -> bool:
        return self.memory(tp).kv_tokens >= self.tokens_needed()

    def legal(self, most: int) -> list[int]:
        return [tp for tp in range(1, most + 1) if self.broken(tp) is None]

    def fitting(self, most: int) -> list[int]:
        return [tp for tp in self.legal(most) if self.fits(tp)]

    def smallest_fitting(self) -> int | None:
        """The fewest GPUs that are legal and fit, on however large a node."""
        return next((tp for tp in self.legal(_LARGEST_NODE) if self.fits(tp)), None)


def _whole(value: t.Any) -> int | None:
    """A number of tokens, also with SGLang's suffixes (4k, 4Ki); None where it is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(k|[MGT]|[KMGT]i)?", str(value).strip(), re.ASCII)
    if match is None:
        return None
    suffix = match[2] or ""
    power = "kMGT".index(suffix[0].replace("K", "k")) + 1 if suffix else 0
    return int(float(match[1]) * (1024 if suffix.endswith("i") else 1000) ** power)


#: GPUs of the largest node that is thought of where a message says how many it would take
_LARGEST_NODE: t.Final = 16
