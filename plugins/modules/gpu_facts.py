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
  - Finds device nodes, NUMA nodes, the driver and its version, GPUs that are not bound to it, partitioned AMD GPUs
    and MIG, and GPU-class devices that the catalogue does not know.
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
      - The GPUs to look for, by PCI ID, each with C(name), C(memory_mib) and C(vendor).
      - The action plugin fills this in from the catalogue; leave it out.
    type: dict
author:
  - SGLang Fleet contributors (@sglang-fleet)
attributes:
  check_mode:
    description: Runs the same in check mode, since it changes nothing.
    support: full
  diff_mode:
    description: There is nothing to show, since it changes nothing.
    support: none
  facts:
    description: Returns ansible_facts.
    support: full
extends_documentation_fragment: []
"""

EXAMPLES = r"""
- name: Gather the facts of the GPUs
  sglang.fleet.gpu_facts:

- name: Gather them with a GPU that the catalogue does not know
  sglang.fleet.gpu_facts:
    catalogue:
      gpus:
        H20:
          title: NVIDIA H20
          vendor: nvidia
          pci_ids: ["10de:2329"]
          memory_mib: 97871
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
        control_nodes: {description: "Device nodes that all GPUs share, which need not be there yet.", type: list, elements: str, sample: [/dev/kfd]}
        render_gid: {description: Numeric ID of the group render; null without it., type: int}
        video_gid: {description: Numeric ID of the group video; null without it., type: int}
        partitioned: {description: Whether the GPUs are partitioned (AMD) or in MIG mode (NVIDIA)., type: bool}
        unknown: {description: "GPU-class devices that the catalogue does not know: C(pci_address), C(pci_id).", type: list, elements: dict}
        problems: {description: "What stands in the way of a plan, each with its remedy.", type: list, elements: str}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.sglang.fleet.plugins.module_utils._gpu import SMI_QUERY, read_gpus


def query_smi(module: AnsibleModule) -> tuple[str, list[str]]:
    """nvidia-smi's rows, and what it complains about. Not run for hosts whose driver is not loaded."""
    smi = module.get_bin_path("nvidia-smi")
    if smi is None:
        return "", []
    rc, out, err = module.run_command([smi, f"--query-gpu={','.join(SMI_QUERY)}", "--format=csv,noheader,nounits"])
    if rc == 0:
        return out, []
    said = (out + err).strip().splitlines()
    if said and "version mismatch" in said[0]:
        return "", [f"nvidia-smi says: {said[0]}: the loaded driver is not the installed one, reboot the host"]
    return "", [f"nvidia-smi failed with rc {rc}: {said[0] if said else 'no message'}: mend the driver on the host"]


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
    facts = read_gpus(known).to_dict()
    if facts["vendor"] == "nvidia" and facts["driver"]["loaded"]:
        smi, problems = query_smi(module)
        facts = read_gpus(known, smi_csv=smi).to_dict()
        facts["problems"] += problems
    module.exit_json(changed=False, ansible_facts={"gpu": facts})


if __name__ == "__main__":
    main()
