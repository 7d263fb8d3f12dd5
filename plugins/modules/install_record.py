#!/usr/bin/python
# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: install_record
short_description: Read and write what the roles installed on a host
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - C(/var/lib/sglang-fleet/installed.json) says what each role installed, so that it can take that away and nothing else.
  - M(sglang.fleet.host_packages) writes packages, files and holds there itself; this module is for what a role has besides.
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    description: The record is the roles' own; there is nothing in it for an operator to review.
extends_documentation_fragment:
  - sglang.fleet.attributes.facts
  - sglang.fleet.attributes
options:
  owner:
    description: The role. Without one the record is only read.
    type: str
  values:
    description: "Merged into what is recorded: mappings key by key, lists as a union, everything else replaced."
    type: dict
    default: {}
  remove:
    description: Values to forget.
    type: list
    elements: str
    default: []
  state:
    description: V(absent) forgets the owner.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Note what was added to the kernel's command line
  sglang.fleet.install_record:
    owner: rocm
    values:
      cmdline_added: [iommu=pt]
"""

RETURN = r"""
ansible_facts:
  description: The record.
  returned: always
  type: dict
  contains:
    fleet_installed:
      description: What is recorded, by owner.
      type: dict
      returned: always
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.sglang.fleet.plugins.module_utils import _installed


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "owner": {"type": "str"},
            "values": {"type": "dict", "default": {}},
            "remove": {"type": "list", "elements": "str", "default": []},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    p = module.params
    try:
        owners = _installed.load()
        changed = False
        if p["owner"]:
            wanted = change(owners, p)
            changed = wanted != owners
            if changed and not module.check_mode:
                with _installed.locked():
                    owners = change(_installed.load(), p)
                    _installed.save(owners)
    except (_installed.RecordError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed, ansible_facts={"fleet_installed": owners})


def change(owners: dict[str, Any], p: dict[str, Any]) -> dict[str, Any]:
    """The owners as they should be."""
    others = {name: values for name, values in owners.items() if name != p["owner"]}
    if p["state"] == "absent":
        return others
    mine = _installed.merged(owners.get(p["owner"], {}), p["values"])
    mine = {key: value for key, value in mine.items() if key not in p["remove"]}
    return {**others, p["owner"]: mine} if mine else others


if __name__ == "__main__":
    main()
