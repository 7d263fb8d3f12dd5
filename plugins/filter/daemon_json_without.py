# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, Callable

from ansible_collections.sglang.fleet.plugins.module_utils import _daemon_json

DOCUMENTATION = r"""
name: daemon_json_without
short_description: Docker's options without those that the role added
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - What was changed since by somebody else stays, and what the role had put something else in the place of comes back.
positional: _input, ours, before
options:
  _input:
    description: The options as they are.
    type: dict
    required: true
  ours:
    description: What the role added, as it recorded it.
    type: dict
    required: true
  before:
    description: What stood in the place of it, as it recorded it.
    type: dict
"""

EXAMPLES = r"""
- name: Show what was there before
  ansible.builtin.debug:
    msg: "{{ {'live-restore': true, 'debug': true} | sglang.fleet.daemon_json_without({'live-restore': true}) }}"
"""

RETURN = r"""
_value:
  description: The options that stay.
  type: dict
"""


class FilterModule:
    """Docker's options as they would be without us."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"daemon_json_without": _daemon_json.without}
