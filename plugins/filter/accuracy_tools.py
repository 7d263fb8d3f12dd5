# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue_checks import CatalogueError

DOCUMENTATION = r"""
name: accuracy_tools
short_description: The tools that accuracy benchmarks need
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Fails for a benchmark that the catalogue does not have, before anything is installed or asked.
positional: _input
options:
  _input:
    description: Names of benchmarks.
    type: list
    elements: str
    required: true
  catalogue:
    description: Entries over the built-in catalogue, C(fleet_catalogue).
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Tell what is needed
  ansible.builtin.debug:
    msg: "{{ ['gsm8k', 'aime-2025'] | sglang.fleet.accuracy_tools }}" # ['lm-eval', 'nemo-skills']
"""

RETURN = r"""
_value:
  description: Names of tools, each once.
  type: list
  elements: str
"""


def accuracy_tools(benchmarks: Sequence[str], catalogue: Mapping[str, Any] | None = None) -> list[str]:
    try:
        known = load_catalogue(catalogue or None).data["accuracy_benchmarks"]
    except CatalogueError as error:
        raise AnsibleFilterError(str(error)) from error
    unknown = [name for name in benchmarks if name not in known]
    if unknown or not benchmarks:
        raise AnsibleFilterError(
            f"accuracy_benchmarks names {', '.join(unknown) or 'none'}; known: {', '.join(known)}. Add your own to"
            " fleet_catalogue.accuracy_benchmarks"
        )
    return sorted({known[name]["tool"] for name in benchmarks})


class FilterModule:
    """What accuracy benchmarks need."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"accuracy_tools": accuracy_tools}
