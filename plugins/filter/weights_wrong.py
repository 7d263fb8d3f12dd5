# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, Callable

from ansible_collections.sglang.fleet.plugins.module_utils import _weights_plan

DOCUMENTATION = r"""
name: weights_wrong
short_description: Which files of the weights are not the locked ones, and why
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - A line for each file that is missing, damaged or not verified.
positional: _input
options:
  _input:
    description: The weights as found, C(fleet_weights).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Name what is wrong
  ansible.builtin.debug:
    msg: "{{ ansible_facts.fleet_weights | sglang.fleet.weights_wrong | join('; ') }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""


class FilterModule:
    """Damage in words."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"weights_wrong": _weights_plan.wrong_files}
