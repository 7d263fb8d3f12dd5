# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, Callable

from ansible_collections.sglang.fleet.plugins.module_utils import _state

DOCUMENTATION = r"""
name: gates_due
short_description: Which planned instances must go through the gates
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - All but those that run unchanged, answer, and have passed the gates with the same plan before.
positional: _input
options:
  _input:
    description: The plan's instances.
    type: list
    elements: dict
    required: true
  image_id:
    description: ID of the image that they run.
    type: str
    required: true
  servers:
    description: The servers as found, C(fleet_servers).
    type: dict
    required: true
  started:
    description: The instances that this run has started.
    type: list
    elements: str
    default: []
  always:
    description: Take every instance.
    type: bool
    default: false
  gates:
    description: The gates that an instance must have passed.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Work out which servers are to be tested
  ansible.builtin.debug:
    msg: >-
      {{ ansible_facts.fleet_plan.instances | sglang.fleet.gates_due(
           image_id=ansible_facts.fleet_local_image.id, servers=ansible_facts.fleet_servers) }}
"""

RETURN = r"""
_value:
  description: The instances.
  type: list
  elements: dict
"""


class FilterModule:
    """What is due on a node."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"gates_due": _state.gates_due}
