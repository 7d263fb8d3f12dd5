# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, Callable

from ansible_collections.sglang.fleet.plugins.module_utils import _plan_diff

DOCUMENTATION = r"""
name: plan_change
short_description: What a deploy of a plan would change on a node
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Compares the plan with what was applied on the node and runs there. Nothing is asked and nothing is changed.
positional: _input, servers
options:
  _input:
    description: The plan.
    type: dict
    required: true
  servers:
    description: The servers as found, C(fleet_servers). Left out, nobody has looked.
    type: dict
"""

EXAMPLES = r"""
- name: Show what a deploy would do
  ansible.builtin.debug:
    msg: "{{ (ansible_facts.fleet_plan | sglang.fleet.plan_change(ansible_facts.fleet_servers)).summary }}"
"""

RETURN = r"""
_value:
  description:
    - C(action) (C(restart), C(stop), C(start), C(check), C(none) or C(unknown)), C(instances) with the differences of
      each, C(problems) that a deploy would stop at, and a C(summary) of one line.
  type: dict
"""


class FilterModule:
    """A plan against what runs."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"plan_change": plan_change}


def plan_change(plan: dict[str, Any], servers: dict[str, Any] | None = None) -> dict[str, Any]:
    return _plan_diff.plan_change(plan, servers)
