#!/usr/bin/python
# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: doctor
short_description: Find out what is wrong with a GPU node
version_added: 0.1.0
description:
  - Looks at drivers, GPUs, containers, servers, the kernel's log and disks of a host, all at once and each with a time
    limit, and says what is wrong, by which evidence, and what to do about it. A healthy host gives no finding.
  - Changes nothing, starts no process in a container, and needs no Python package beyond the standard library. A tool
    that is not there is passed over; one that does not answer within five seconds is a finding itself.
  - An action plugin of the same name knows the catalogue and judges on the controller what the host told.
  - Findings are no failure. The command C(sglang-fleet doctor) turns them into an exit status.
options:
  plan:
    description:
      - The plan for the host, C(fleet_plan), to hold its driver and its disks against.
      - Left out, only what was applied there is judged.
    type: dict
  refused:
    description: Why there is no plan, which becomes a finding.
    type: str
  snapshot:
    description: What an earlier call returned as C(snapshot). It is judged, and the host is not asked again.
    type: dict
  catalogue:
    description:
      - Entries to add to or to change in the collection's catalogue, of the same shape. See the variable
        C(fleet_catalogue).
      - Needs C(jsonschema) on the controller.
    type: dict
    default: {}
  weights_dir:
    description: The folder of the weights.
    type: path
    default: /var/lib/sglang-fleet/huggingface
  config_dir:
    description: Where the instances' configuration is.
    type: path
    default: /etc/sglang
  state_file:
    description: What was applied last.
    type: path
    default: /var/lib/sglang-fleet/state.json
  known_gpus:
    description: The GPUs to look for, as for M(sglang.fleet.gpu_facts). The action plugin fills this in; leave it out.
    type: dict
author:
  - SGLang Fleet contributors (@sglang-fleet)
extends_documentation_fragment:
  - sglang.fleet.attributes.read_only
  - sglang.fleet.attributes.facts
"""

EXAMPLES = r"""
- name: Examine the node
  sglang.fleet.doctor:
  register: examined

- name: Examine it again for what is planned, without asking it again
  sglang.fleet.doctor:
    snapshot: "{{ examined.snapshot }}"
    plan: "{{ ansible_facts.fleet_plan }}"
"""

RETURN = r"""
findings:
  description: What is wrong, the errors first; empty for a healthy host.
  returned: success
  type: list
  elements: dict
  contains:
    id: {description: The kind of finding; it stays the same over versions., type: str, sample: driver-mismatch}
    severity: {description: "V(error) or V(warn).", type: str, sample: error}
    what: {description: What is wrong., type: str}
    evidence: {description: What was read., type: str}
    remedy: {description: What to do about it., type: str}
lines:
  description: The findings in a line each, for people.
  returned: success
  type: list
  elements: str
  sample: [healthy]
snapshot:
  description: What was read of the host; its shape may change with any version.
  returned: when the host was asked
  type: dict
ansible_facts:
  description: Facts to add to the host.
  returned: when the host was asked
  type: dict
  contains:
    gpu: {description: "The GPUs, as M(sglang.fleet.gpu_facts) finds them.", type: dict}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.sglang.fleet.plugins.module_utils._doctor_probe import look


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "plan": {"type": "dict"},
            "refused": {"type": "str"},
            "snapshot": {"type": "dict"},
            "catalogue": {"type": "dict", "default": {}},
            "weights_dir": {"type": "path", "default": "/var/lib/sglang-fleet/huggingface"},
            "config_dir": {"type": "path", "default": "/etc/sglang"},
            "state_file": {"type": "path", "default": "/var/lib/sglang-fleet/state.json"},
            "known_gpus": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    options = module.params
    if options["known_gpus"] is None:
        module.fail_json(
            msg="doctor got no known_gpus: its action plugin, which fills them in, did not run; call the module by its "
            "full name, sglang.fleet.doctor"
        )
    snapshot = look(options["known_gpus"], options["config_dir"], options["state_file"], options["weights_dir"])
    module.exit_json(changed=False, snapshot=snapshot, ansible_facts={"gpu": snapshot["gpu"]})


if __name__ == "__main__":
    main()
