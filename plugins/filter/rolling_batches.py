# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, Callable

from ansible_collections.sglang.fleet.plugins.module_utils import _rolling

DOCUMENTATION = r"""
name: rolling_batches
short_description: Which servers of a host to take down together
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - One after the other, so that the rest of the host goes on serving; all at once where the plan has other instances, GPUs or ports
    than what is recorded.
positional: _input, instances, state
options:
  _input:
    description: The names of the instances that must start anew.
    type: list
    elements: str
    required: true
  instances:
    description: The instances of the plan.
    type: list
    elements: dict
    required: true
  state:
    description: The record of the host, as C(fleet_servers.state) of M(sglang.fleet.server_facts) has it.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the order
  ansible.builtin.debug:
    msg: >-
      {{ ansible_facts.sglang_server_due
         | sglang.fleet.rolling_batches(ansible_facts.fleet_plan.instances, ansible_facts.fleet_servers.state) }}
"""

RETURN = r"""
_value:
  description: Names of instances, group by group.
  type: list
  elements: list
"""


class FilterModule:
    """The order of a host's servers."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"rolling_batches": _rolling.batches}
