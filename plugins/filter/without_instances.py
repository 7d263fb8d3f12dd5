# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, Callable

from ansible_collections.sglang.fleet.plugins.module_utils import _state

DOCUMENTATION = r"""
name: without_instances
short_description: The state without the record of some instances
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - What is started anew has not passed the gates yet, so that its record must not outlive it.
positional: _input
options:
  _input:
    description: The state, C(fleet_servers.state).
    type: dict
    required: true
  names:
    description: The instances' names.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show the state without the first instance
  ansible.builtin.debug:
    msg: "{{ ansible_facts.fleet_servers.state | sglang.fleet.without_instances(['0']) }}"
"""

RETURN = r"""
_value:
  description: The state.
  type: dict
"""


class FilterModule:
    """What is due on a node."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"without_instances": _state.without}
