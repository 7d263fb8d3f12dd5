# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible_collections.sglang.fleet.plugins.module_utils._performance import judge
from ansible_collections.sglang.fleet.plugins.plugin_utils.judged import judged

DOCUMENTATION = r"""
name: performance_judged
short_description: Benchmark records held against published results, or the host's own last good ones
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Only like is compared with like - model, GPU, their number, tensor and expert parallel size, and the load.
  - Gives C(benchmarks) (the records, each with its C(comparison)), C(gates) (a result for each), C(passed), C(last_good) (the
    records to keep) and C(stored) (those as their file holds them).
positional: _input
extends_documentation_fragment:
  - sglang.fleet.judged
options:
  tolerances:
    description: Tolerances in the place of the built-in ones, a fraction by metric.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Judge what was measured
  ansible.builtin.debug:
    msg: "{{ (ansible_facts.fleet_benchmarks | sglang.fleet.performance_judged).gates }}"
"""

RETURN = r"""
_value:
  description: The judgement.
  type: dict
"""


def performance_judged(
    records: Sequence[Mapping[str, Any]],
    last_good: Mapping[str, Any] | None = None,
    against: str = "auto",
    required: bool = False,
    tolerances: Mapping[str, Any] | None = None,
    catalogue: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    wishes = {"against": against, "required": required, "tolerances": tolerances}
    return judged(judge, records, last_good, catalogue, lambda _data: wishes)


class FilterModule:
    """What benchmark records are worth."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"performance_judged": performance_judged}
