# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue_checks import CatalogueError
from ansible_collections.sglang.fleet.plugins.module_utils._compare import CompareError
from ansible_collections.sglang.fleet.plugins.module_utils._performance import judge, stored

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
options:
  _input:
    description: The records, C(fleet_benchmarks).
    type: list
    elements: dict
    required: true
  last_good:
    description: The host's last good records, C(fleet_benchmarks_last_good).
    type: dict
    default: {}
  against:
    description:
      - What they are held against. V(references) are the catalogue's, V(own) the host's last good ones, V(auto) the host's own
        where there is one like it, and else the catalogue's.
    type: str
    choices: [auto, own, references]
    default: auto
  required:
    description: Whether a record fails that nothing can be held against.
    type: bool
    default: false
  tolerances:
    description: Tolerances in the place of the built-in ones, a fraction by metric.
    type: dict
    default: {}
  catalogue:
    description: Entries over the built-in catalogue, C(fleet_catalogue).
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
    try:
        references = load_catalogue(catalogue or None).data["references"]
        judged = judge(records, references, last_good or {}, against, required, tolerances)
    except (CatalogueError, CompareError) as error:
        raise AnsibleFilterError(str(error)) from error
    return {**judged, "stored": stored(judged["last_good"])}


class FilterModule:
    """What benchmark records are worth."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"performance_judged": performance_judged}
