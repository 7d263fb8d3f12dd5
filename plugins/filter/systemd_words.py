# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.sglang.fleet.plugins.module_utils._systemd import environment_words

DOCUMENTATION = r"""
name: systemd_words
short_description: Quote words for a variable in a systemd environment file
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Gives the value that makes C($NAME) in a unit's C(ExecStart) expand to exactly these words.
positional: _input
options:
  _input:
    description: The words.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show the line of an environment file
  ansible.builtin.debug:
    msg: OPTIONS={{ ['--gpus', '"device=0,1"'] | sglang.fleet.systemd_words }}
"""

RETURN = r"""
_value:
  description: The quoted value.
  type: str
"""


def systemd_words(words: list[Any]) -> str:
    try:
        return environment_words([str(word) for word in words])
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Filters of systemd's formats."""

    def filters(self) -> dict[str, Callable[..., str]]:
        return {"systemd_words": systemd_words}
