# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, Callable

from ansible_collections.sglang.fleet.plugins.module_utils import _state

DOCUMENTATION = r"""
name: applied_state
short_description: The record of a plan that is applied and has passed the gates
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - It holds no time and no secret, so that the same plan gives the same text.
positional: _input
options:
  _input:
    description: The plan.
    type: dict
    required: true
  image:
    description: The image that the instances run, as C(fleet_local_image) has it.
    type: dict
    required: true
  gates:
    description: The names of the gates that were passed.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show the record
  ansible.builtin.debug:
    msg: "{{ ansible_facts.fleet_plan | sglang.fleet.applied_state(image=ansible_facts.fleet_local_image, gates=['health']) }}"
"""

RETURN = r"""
_value:
  description: Content of the state file.
  type: dict
"""


class FilterModule:
    """What is due on a node."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"applied_state": _state.applied_state}
