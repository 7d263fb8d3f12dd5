# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.sglang.fleet.plugins.module_utils import _rolling

DOCUMENTATION = r"""
name: gateway_workers
short_description: The servers of hosts as gateways reach them
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - By the plan of each host, which it must have in this run. The address is C(fleet_worker_address), or the one that the server
    binds, or C(ansible_host) where that is a wildcard.
positional: _input, variables
options:
  _input:
    description: Names of the hosts.
    type: list
    elements: str
    required: true
  variables:
    description: The variables of all hosts, C(hostvars).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show them
  ansible.builtin.debug:
    msg: "{{ groups['gpu_nodes'] | sglang.fleet.gateway_workers(hostvars) }}"
"""

RETURN = r"""
_value:
  description: The C(url), C(host) and C(instance) of each.
  type: list
  elements: dict
"""


def gateway_workers(hosts: list[str], variables: Any) -> list[dict[str, str]]:
    try:
        return _rolling.gateway_workers(hosts, variables)
    except _rolling.RollingError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Whom a gateway reaches where."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"gateway_workers": gateway_workers}
