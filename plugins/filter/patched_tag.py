# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable

from ansible_collections.sglang.fleet.plugins.module_utils._patch import patched_tag

DOCUMENTATION = r"""
name: patched_tag
short_description: The reference of a patched image
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - It holds the base's content and the patches' hash, as M(sglang.fleet.image_patch) tags what it builds.
positional: _input
options:
  _input:
    description: ID of the base image's content.
    type: str
    required: true
  patches:
    description: The patches, in order.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the reference
  ansible.builtin.debug:
    msg: "{{ ansible_facts.fleet_local_image.id | sglang.fleet.patched_tag(ansible_facts.fleet_plan.patches) }}"
"""

RETURN = r"""
_value:
  description: The reference.
  type: str
"""


class FilterModule:
    """Names of patched images."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"patched_tag": patched_tag}
