# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, Callable

from ansible_collections.sglang.fleet.plugins.module_utils import _weights_plan

DOCUMENTATION = r"""
name: weights_summary
short_description: What came from where, over all hosts of a run
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - A line with the bytes that the hub or another source gave, and those that the hosts gave one another. Empty where nothing
    came.
positional: _input
options:
  _input:
    description: What M(sglang.fleet.weights_transfer) returned when it watched, of each host.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Say what came from where
  ansible.builtin.debug:
    msg: "{{ [watched] | sglang.fleet.weights_summary }}"
"""

RETURN = r"""
_value:
  description: The line.
  type: str
"""


class FilterModule:
    """The end of a transfer in words."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"weights_summary": _weights_plan.summary}
