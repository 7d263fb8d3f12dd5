# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, Callable

from ansible_collections.sglang.fleet.plugins.module_utils import _state

DOCUMENTATION = r"""
name: servers_due
short_description: Which planned instances must start anew
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Those whose files were written, whose container is older than its files, or which do not run.
positional: _input
options:
  _input:
    description: The plan's instances.
    type: list
    elements: dict
    required: true
  found:
    description: The servers as found, C(fleet_servers.instances).
    type: dict
    required: true
  written:
    description: The paths that this run wrote.
    type: list
    elements: str
    required: true
  shared:
    description: The paths that concern every instance.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Work out which servers are due
  ansible.builtin.debug:
    msg: >-
      {{ ansible_facts.fleet_plan.instances | sglang.fleet.servers_due(
           found=ansible_facts.fleet_servers.instances, written=['/etc/sglang/0.env'], shared=[]) }}
"""

RETURN = r"""
_value:
  description: The instances' names.
  type: list
  elements: str
"""


class FilterModule:
    """What is due on a node."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"servers_due": _state.servers_due}
