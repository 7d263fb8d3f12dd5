# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, Callable

from ansible_collections.sglang.fleet.plugins.module_utils import _state

DOCUMENTATION = r"""
name: previous_state
short_description: The applied state that a new one takes the place of
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - It is empty where there was none, and where the new one is the same plan on the same image.
positional: _input, new
options:
  _input:
    description: The record as it was found on the node, as C(fleet_servers.state) of M(sglang.fleet.server_facts) has it.
    type: dict
    required: true
  new:
    description: The new record, as P(sglang.fleet.applied_state#filter) gives it.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what a rollback would bring back
  ansible.builtin.debug:
    msg: "{{ ansible_facts.fleet_servers.state | sglang.fleet.previous_state(new) }}"
  vars:
    new: "{{ ansible_facts.fleet_plan | sglang.fleet.applied_state(image=ansible_facts.fleet_local_image, gates=['health']) }}"
"""

RETURN = r"""
_value:
  description: Content of C(/var/lib/sglang-fleet/previous.json), or nothing.
  type: dict
"""


class FilterModule:
    """What a rollback goes back to."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"previous_state": _state.previous_state}
