# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: target_hosts
short_description: A pattern of hosts, if there is one that it and the limit name
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - For the C(hosts) of a play. A play without hosts is skipped by Ansible, and the run ends well though it did nothing;
    this ends it with a message before any host is asked.
options:
  _terms:
    description: The pattern.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Look at the GPU nodes
  hosts: "{{ lookup('sglang.fleet.target_hosts', fleet_target | default('gpu_nodes')) }}"
  gather_facts: false
  tasks:
    - name: Look at the GPUs
      sglang.fleet.gpu_facts:
"""

RETURN = r"""
_list:
  description: The pattern as it was given.
  type: list
  elements: str
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ansible import context
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.plugins.lookup import LookupBase

#: Options of ansible-playbook that run nothing.
_ONLY_LOOKS = ("syntax", "listhosts", "listtasks", "listtags")


class LookupModule(LookupBase):
    def run(self, terms: Sequence[str], variables: Mapping[str, Any] | None = None, **kwargs: Any) -> list[str]:
        if any(context.CLIARGS.get(option) for option in _ONLY_LOOKS):
            return list(terms)
        known = variables or {}
        limit = known.get("ansible_limit")
        for pattern in terms:
            manager = _inventory(self._loader, known.get("groups") or {})
            in_pattern = [host.name for host in manager.get_hosts(pattern)]
            manager.subset(limit)
            if not manager.get_hosts(pattern):
                raise AnsibleError(_message(pattern, limit, in_pattern))
        return list(terms)


def _inventory(loader: Any, groups: Mapping[str, Sequence[str]]) -> InventoryManager:
    """The run's inventory, as far as patterns go: the run's own one is not handed to plugins."""
    manager = InventoryManager(loader, parse=False)
    for group, hosts in groups.items():
        manager.add_group(group)
        for host in hosts:
            manager.add_host(host, group=group)
    return manager


def _message(pattern: str, limit: str | None, hosts: Sequence[str]) -> str:
    if not hosts:
        return (
            f"the inventory has no host in {pattern}, on which the playbooks run. Put nodes into that group, or name "
            "another group or pattern with -e fleet_target=PATTERN. No host was touched"
        )
    some = ", ".join(hosts[:8]) + (f" and {len(hosts) - 8} more" if len(hosts) > 8 else "")
    return (
        f"no host of {limit!r} (--limit) is in {pattern}, on which the playbooks run. In it: {some}. Limit the run to some of "
        f"them, put the hosts that you mean into {pattern}, or name another group or pattern with -e fleet_target=PATTERN. "
        "No host was touched"
    )
