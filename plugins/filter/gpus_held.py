# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, Callable

from ansible_collections.sglang.fleet.plugins.module_utils import _rolling

DOCUMENTATION = r"""
name: gpus_held
short_description: Why the GPUs of some servers are not free
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Looks at the processes that hold memory of them, and at memory in use that no process accounts for.
positional: _input, instances
options:
  _input:
    description: The facts of M(sglang.fleet.gpu_facts).
    type: dict
    required: true
  instances:
    description: Planned instances, of which C(gpus) counts.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Wait until they are free
  sglang.fleet.gpu_facts:
  register: found
  until: found.ansible_facts.gpu | sglang.fleet.gpus_held(ansible_facts.fleet_plan.instances) | length == 0
  retries: 60
  delay: 2
"""

RETURN = r"""
_value:
  description: A line for each GPU that is not free.
  type: list
  elements: str
"""


class FilterModule:
    """What holds GPUs."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"gpus_held": _rolling.held}
