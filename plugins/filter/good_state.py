# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, Callable

from ansible_collections.sglang.fleet.plugins.module_utils import _rolling

DOCUMENTATION = r"""
name: good_state
short_description: What last passed its gates on a host
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - It is empty where nothing has.
positional: _input
options:
  _input:
    description: The record of the host, as C(fleet_servers.state) of M(sglang.fleet.server_facts) has it.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what a failed rollout would go back to
  ansible.builtin.debug:
    msg: "{{ ansible_facts.fleet_servers.state | sglang.fleet.good_state }}"
"""

RETURN = r"""
_value:
  description: The record.
  type: dict
"""


class FilterModule:
    """What a host goes back to."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"good_state": _rolling.good_state}
