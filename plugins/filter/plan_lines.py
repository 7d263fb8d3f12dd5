# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Callable

from ansible_collections.sglang.fleet.plugins.module_utils import _plan_diff

DOCUMENTATION = r"""
name: plan_lines
short_description: A plan and its change in a few lines
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Says for people what the plan serves, on which GPUs, how much fits, what becomes of the driver, and what a deploy would change.
positional: _input, change, driver
options:
  _input:
    description: The plan.
    type: dict
    required: true
  change:
    description: What P(sglang.fleet.plan_change#filter) gives for it.
    type: dict
    required: true
  driver:
    description:
      - C(action), C(reason) and C(reboot_reasons) of C(fleet_drivers), which M(sglang.fleet.driver_plan) gives; or the action
        V(refused) with the reason. Left out, nothing is said of the driver.
    type: dict
"""

EXAMPLES = r"""
- name: Show the plan
  ansible.builtin.debug:
    msg: "{{ ansible_facts.fleet_plan | sglang.fleet.plan_lines(ansible_facts.fleet_plan | sglang.fleet.plan_change) }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""


class FilterModule:
    """A plan for people."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        return {"plan_lines": _plan_diff.plan_lines}
