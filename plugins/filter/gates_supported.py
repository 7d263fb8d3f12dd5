# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.sglang.fleet.plugins.module_utils import _gates_run

DOCUMENTATION = r"""
name: gates_supported
short_description: The gates that a planned server goes through
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Those on reasoning and tool calls need the server's parser for them, the one on the key a key.
positional: _input
options:
  _input:
    description: The server arguments of the plan's instance, C(server_args).
    type: dict
    required: true
  key:
    description: Whether the server has an API key.
    type: bool
    default: false
  wanted:
    description: The gates to choose from; empty for all. C(health) always is one.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show the gates of the first server
  ansible.builtin.debug:
    msg: "{{ ansible_facts.fleet_plan.instances[0].server_args | sglang.fleet.gates_supported(key=true) }}"
"""

RETURN = r"""
_value:
  description: Names of the gates, in the order that they are run in.
  type: list
  elements: str
"""


def gates_supported(server_args: dict[str, Any], key: bool = False, wanted: list[str] | None = None) -> list[str]:
    try:
        return _gates_run.supported(server_args, key, wanted or ())
    except ValueError as error:
        raise AnsibleFilterError(f"smoke_test_gates: {error}") from error


class FilterModule:
    """Which gates a server goes through."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"gates_supported": gates_supported}
