#!/usr/bin/python
# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_facts
short_description: Gather facts about a host's system, packages and kernel modules
version_added: 0.1.0
description:
  - Reads in one call what the roles of the host software decide on. A host that is as it should be costs nothing else.
  - Changes nothing, and needs no Python package beyond the standard library.
options:
  serving:
    description: Whether to ask systemd and Docker for servers that run, too.
    type: bool
    default: false
author:
  - SGLang Fleet contributors (@sglang-fleet)
extends_documentation_fragment:
  - sglang.fleet.attributes.read_only
  - sglang.fleet.attributes.facts
"""

EXAMPLES = r"""
- name: Look at the host's system, packages and kernel modules
  sglang.fleet.host_facts:
"""

RETURN = r"""
ansible_facts:
  description: Facts to add to the host.
  returned: success
  type: dict
  contains:
    fleet_host:
      description: The host's own software.
      type: dict
      contains:
        os: {description: "C(id), C(version_id), C(id_like) and C(codename) of C(/etc/os-release).", type: dict}
        arch: {description: "Machine type, V(x86_64) or V(aarch64).", type: str, sample: x86_64}
        kernel: {description: Release of the running kernel., type: str, sample: 6.1.0-40-cloud-amd64}
        boot_id: {description: Changes with each boot., type: str}
        headers: {description: Whether the build tree of the running kernel is there., type: bool}
        secure_boot: {description: Whether secure boot is on; null where that cannot be told., type: bool}
        cmdline: {description: Command line of the running kernel., type: str}
        packages:
          description: Versions of the installed packages that a role of the host software decides on, by name.
          type: dict
          sample: {docker.io: 26.1.5+dfsg1-9+b9}
        held: {description: Packages that are held from upgrades., type: list, elements: str}
        dkms:
          description: "Modules of DKMS: C(module), C(version), C(kernel), C(state) (V(added), V(built) or V(installed))."
          type: list
          elements: dict
        modules:
          description:
            - For C(nvidia), C(amdgpu) and C(nouveau) the version C(loaded), and the one C(installed) for the running kernel.
            - Null for none, V(in-tree) where the module tells no version, as the kernel's own do.
          type: dict
          sample: {nvidia: {loaded: 580.95.05, installed: 580.95.05}}
        nvswitches: {description: Number of NVSwitches on the PCI bus., type: int}
        fabric_manager: {description: "Version of NVIDIA's Fabric Manager, however it came there; null for none, V(unknown) where it does not tell.", type: str}
        reboot_required: {description: Whether the distribution asks for a reboot., type: bool}
        free_mib: {description: "Free room in MiB of C(/usr), C(/var) and C(/boot).", type: dict}
        sysctl: {description: Kernel settings that a role decides on., type: dict}
        groups: {description: Members of the groups C(render) and C(video), type: dict}
        records: {description: What each role of the host software installed., type: dict}
        serving:
          description:
            - With O(serving), the units and containers of servers that run.
            - Where systemd or Docker is there and does not answer, that stands here too, for a server may run.
          type: list
          elements: str
        time: {description: "The host's clock, C(HH:MM).", type: str}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.sglang.fleet.plugins.module_utils._gpu_common import run_tool
from ansible_collections.sglang.fleet.plugins.module_utils._host import read_host


def main() -> None:
    module = AnsibleModule(argument_spec={"serving": {"type": "bool", "default": False}}, supports_check_mode=True)
    serving = module.params["serving"]
    module.exit_json(changed=False, ansible_facts={"fleet_host": read_host(ask=run_tool, serving=serving).to_dict()})


if __name__ == "__main__":
    main()
