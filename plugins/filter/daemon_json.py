# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

from ansible_collections.sglang.fleet.plugins.module_utils import _daemon_json

DOCUMENTATION = r"""
name: daemon_json
short_description: Docker's options as the text of daemon.json
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Keys stay in their order, so that a difference shows what changed and nothing else.
positional: _input
options:
  _input:
    description: The options.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the file
  ansible.builtin.debug:
    msg: "{{ {'live-restore': true} | sglang.fleet.daemon_json }}"
"""

RETURN = r"""
_value:
  description: The text.
  type: str
"""


class FilterModule:
    """Docker's options for its file."""

    def filters(self) -> dict[str, Callable[[Mapping[str, Any]], str]]:
        return {"daemon_json": _daemon_json.render}
