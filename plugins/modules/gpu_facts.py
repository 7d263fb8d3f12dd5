#!/usr/bin/python
# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_facts
short_description: Gather facts about the GPUs of a host
version_added: 0.1.0
description:
  - Finds AMD Instinct and NVIDIA data-centre GPUs by their numeric PCI IDs in sysfs, so it works before a driver is
    installed and with any version of the host's PCI ID database.
  - Reads the memory per GPU from the driver where there is one, and takes the catalogue's figure where not.
  - Finds device nodes, NUMA nodes, links between GPUs, the driver and its version, GPUs that are not bound to it,
    partitioned AMD GPUs and MIG, virtual functions, and GPU-class devices that the catalogue does not know.
  - Finds who holds GPU memory, and the GPUs that containers would not get.
  - C(nvidia-smi) is called up to three times, and only where its driver is loaded. C(amd-smi) is called once, and only
    where sysfs does not tell the memory or the version of a loaded driver. A tool that does not answer within a minute
    is left alone and becomes one of the C(problems).
  - An action plugin of the same name reads the catalogue on the controller. The host is asked once, and needs no
    Python package beyond the standard library.
options:
  catalogue:
    description:
      - Entries to add to or to change in the collection's catalogue, of the same shape, for example a GPU that it
        does not know. See the variable C(fleet_catalogue).
      - Needs C(jsonschema) on the controller.
    type: dict
    default: {}
  known_gpus:
    description:
      - The GPUs to look for, by PCI ID, each with C(name), C(memory_mib), C(vendor) and C(virtual).
      - The action plugin fills this in from the catalogue; leave it out.
    type: dict
author:
  - SGLang Fleet contributors (@sglang-fleet)
extends_documentation_fragment:
  - sglang.fleet.attributes.read_only
  - sglang.fleet.attributes.facts
"""

EXAMPLES = r"""
- name: Gather the facts of the GPUs
  sglang.fleet.gpu_facts:

- name: Gather them with a GPU that the catalogue does not know
  sglang.fleet.gpu_facts:
    catalogue:
      gpus:
        L40S:
          title: NVIDIA L40S
          vendor: nvidia
          pci_ids: ["10de:26b9"]
          memory_mib: 46068
          memory_source: nvidia-smi on our own hosts
          image_class: cuda
"""

RETURN = r"""
ansible_facts:
  description: Facts to add to the host.
  returned: success
  type: dict
  contains:
    gpu:
      description: The GPUs of the host.
      type: dict
      contains:
        vendor: {description: "V(amd), V(nvidia) or V(none).", type: str, sample: amd}
        model: {description: The catalogue's name of the GPU; null without one or with several models., type: str, sample: MI300X}
        count: {description: Number of GPUs., type: int, sample: 8}
        memory_mib: {description: Memory of one GPU in MiB., type: int, sample: 196592}
        memory_source: {description: "Who said so: V(driver) or V(catalogue).", type: str, sample: driver}
        driver: {description: "C(name), null when none is installed; C(version); C(loaded).", type: dict}
        devices:
          description: The GPUs by PCI address.
          type: list
          elements: dict
          contains:
            index: {description: Position by PCI address., type: int}
            pci_address: {description: PCI address., type: str, sample: "0000:05:00.0"}
            pci_id: {description: Vendor and device ID., type: str, sample: "1002:74a1"}
            uuid: {description: "NVIDIA's UUID of the GPU; null where the driver tells none, and for AMD.", type: str}
            numa_node: {description: NUMA node; null where the firmware names none., type: int}
            memory_mib: {description: Memory in MiB., type: int}
            nodes: {description: "Device nodes, which need not be there yet.", type: list, elements: str, sample: [/dev/dri/renderD128]}
            memory_used_mib:
              description:
                - Memory in use in MiB, the driver's own part too; null where the driver does not tell.
                - What no entry of C(holders) accounts for is held by a process that died, or by one of another PID
                  namespace.
              type: int
              sample: 283
            links:
              description: The GPUs that this one reaches directly over NVLink or XGMI, by C(index); empty where unknown.
              type: list
              elements: int
              sample: [1, 2, 3]
            virtual: {description: "Whether it is a virtual function, seen from inside the guest that has it.", type: bool}
        control_nodes: {description: "Device nodes that all GPUs share, which need not be there yet.", type: list, elements: str, sample: [/dev/kfd]}
        render_gid: {description: Numeric ID of the group render; null without it., type: int}
        video_gid: {description: Numeric ID of the group video; null without it., type: int}
        partitioned: {description: Whether the GPUs are partitioned (AMD) or in MIG mode (NVIDIA)., type: bool}
        holders:
          description: The live processes of the host that hold GPU memory, by PID.
          type: list
          elements: dict
          contains:
            pid: {description: Process ID on the host., type: int}
            command: {description: "Name of the program, never its arguments.", type: str, sample: python3}
            container:
              description: Name of the container that it runs in, the short ID where the name is not known, null in none.
              type: str
            memory_mib: {description: Memory that it holds on all GPUs in MiB; null where the driver does not tell., type: int}
            gpus: {description: "The GPUs that it holds memory on, by C(index).", type: list, elements: int, sample: [0, 1]}
        hidden:
          description:
            - The GPUs that a container would not get. They are bound to another driver, the driver's tool does not list
              them, their device node is missing, or the host's CDI specifications do not name them.
          type: list
          elements: dict
          contains:
            index: {description: "C(index) of the device.", type: int}
            pci_address: {description: PCI address., type: str, sample: "0000:05:00.0"}
            reason: {description: What is wrong and what to do about it., type: str}
        virtual_functions:
          description:
            - Virtual functions that this host made for its guests; they are counted nowhere else.
            - C(pci_address), C(pci_id) and, of the GPU that they are a part of, C(physical_address).
          type: list
          elements: dict
        unknown: {description: "GPU-class devices that the catalogue does not know: C(pci_address), C(pci_id).", type: list, elements: dict}
        problems: {description: "What stands in the way of a plan, each with its remedy.", type: list, elements: str}
        architecture: {description: "Architecture of the host in a registry's words, C(amd64) or C(arm64).", type: str, sample: amd64}
"""

import platform
from dataclasses import replace

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.sglang.fleet.plugins.module_utils._gpu import architecture_of, read_gpus
from ansible_collections.sglang.fleet.plugins.module_utils._gpu_common import run_tool


def main() -> None:
    module = AnsibleModule(
        argument_spec={"catalogue": {"type": "dict", "default": {}}, "known_gpus": {"type": "dict"}},
        supports_check_mode=True,
    )
    known = module.params["known_gpus"]
    if known is None:
        module.fail_json(
            msg="gpu_facts got no known_gpus: its action plugin, which fills them in, did not run; "
            "call the module by its full name, sglang.fleet.gpu_facts"
        )
    facts = replace(read_gpus(known, ask=run_tool), architecture=architecture_of(platform.machine()))
    module.exit_json(changed=False, ansible_facts={"gpu": facts.to_dict()})


if __name__ == "__main__":
    main()
