# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.sglang.fleet.plugins.module_utils import _rolling

DOCUMENTATION = r"""
name: state_plan
short_description: A plan out of the record of a host
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Has what the roles P(sglang.fleet.sglang_server#role) and P(sglang.fleet.smoke_test#role) need to bring back what ran before.
positional: _input
options:
  _input:
    description: Content of C(state.json) or C(previous.json).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what ran
  ansible.builtin.debug:
    msg: "{{ (ansible_facts.fleet_servers.state | sglang.fleet.state_plan).instances }}"
"""

RETURN = r"""
_value:
  description: The plan.
  type: dict
"""


def state_plan(state: dict[str, Any]) -> dict[str, Any]:
    try:
        return _rolling.state_plan(state)
    except _rolling.RollingError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What a host goes back to, as a plan."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"state_plan": state_plan}
