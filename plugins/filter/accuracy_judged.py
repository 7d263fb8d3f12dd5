# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.sglang.fleet.plugins.module_utils._accuracy_gate import judge
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue_checks import CatalogueError
from ansible_collections.sglang.fleet.plugins.module_utils._compare import CompareError
from ansible_collections.sglang.fleet.plugins.module_utils._performance import read_stored, stored

DOCUMENTATION = r"""
name: accuracy_judged
short_description: Accuracy records held against published results, or the host's own last good ones
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Only like is compared with like - model, tool and settings. The GPUs may differ, since a model that answers worse on others is
    what is looked for.
  - A record fails where the 95 % interval of the difference lies below zero (Newcombe's hybrid score interval).
  - Gives C(benchmarks) (the records, each with its C(comparison)), C(gates) (a result for each), C(passed), C(last_good) (the
    records to keep) and C(stored) (those as their file holds them).
positional: _input
options:
  _input:
    description: The records, C(fleet_accuracy).
    type: list
    elements: dict
    required: true
  last_good:
    description: What C(stored) was the last time, as read from its file; an empty mapping for none.
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
  minimums:
    description: The least accuracy in percent, by benchmark. A record fails whose whole interval lies below.
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
    try:
        references = load_catalogue(catalogue or None).data["references"]
        judged = judge(records, references, read_stored(last_good), against, required, minimums)
    except (CatalogueError, CompareError) as error:
        raise AnsibleFilterError(str(error)) from error
    return {**judged, "stored": stored(judged["last_good"])}


class FilterModule:
    """What accuracy records are worth."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"accuracy_judged": accuracy_judged}
