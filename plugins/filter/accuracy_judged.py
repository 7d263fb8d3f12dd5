# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible_collections.sglang.fleet.plugins.module_utils._accuracy_gate import judge, problems
from ansible_collections.sglang.fleet.plugins.module_utils._compare import CompareError
from ansible_collections.sglang.fleet.plugins.plugin_utils.judged import judged

DOCUMENTATION = r"""
name: accuracy_judged
short_description: Accuracy records held against published results, or the host's own last good ones
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Only like is compared with like - model, tool and settings. The GPUs may differ, since a model that answers worse on others is
    what is looked for.
  - A record fails where the 95 % interval of the difference lies below zero (Newcombe's hybrid score interval), or where its own lies
    below the benchmark's floor in the catalogue.
  - Gives C(benchmarks) (the records, each with its C(comparison)), C(gates) (a result for each), C(passed), C(last_good) (the
    records to keep) and C(stored) (those as their file holds them).
positional: _input
extends_documentation_fragment:
  - sglang.fleet.judged
options:
  minimums:
    description: The least accuracy in percent, by benchmark. A record fails whose whole interval lies below.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Judge what was measured
  ansible.builtin.debug:
    msg: "{{ (ansible_facts.fleet_accuracy | sglang.fleet.accuracy_judged(minimums={'gsm8k': 90})).gates }}"
"""

RETURN = r"""
_value:
  description: The judgement.
  type: dict
"""


def accuracy_judged(
    records: Sequence[Mapping[str, Any]],
    last_good: Mapping[str, Any] | None = None,
    against: str = "auto",
    required: bool = False,
    minimums: Mapping[str, Any] | None = None,
    catalogue: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    def wishes(data: Mapping[str, Any]) -> dict[str, Any]:
        known = data["accuracy_benchmarks"]
        wrong = problems(minimums, known)
        if wrong:
            raise CompareError("; ".join(wrong))
        floors = {name: entry["floor"] for name, entry in known.items() if "floor" in entry}
        return {"against": against, "required": required, "minimums": minimums, "floors": floors}

    return judged(judge, records, last_good, catalogue, wishes)


class FilterModule:
    """What accuracy records are worth."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"accuracy_judged": accuracy_judged}
