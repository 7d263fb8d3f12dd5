#!/usr/bin/python
# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name. This file carries its documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: driver_plan
short_description: Plan which GPU driver a host gets
version_added: 0.1.0
description:
  - Decides from the host's facts, the planned image and the operator's wishes whether a driver is installed, upgraded or
    left alone, from where and as which packages, and whether a reboot is due.
  - A driver that the image starts on is left alone, unless another is asked for by name.
  - Refuses what cannot be, and names what is allowed.
  - Runs on the controller. It needs no connection, but the facts of M(sglang.fleet.host_facts) and
    M(sglang.fleet.gpu_facts). Where there is no plan of M(sglang.fleet.launch_plan), no image asks for a driver.
options:
  nvidia:
    description:
      - Wishes for NVIDIA's driver, C(driver), C(branch), C(version), C(source), C(modules), C(imex), C(headers),
        C(repository_url), C(key_url), C(key_fingerprints). See the role P(sglang.fleet.nvidia_driver#role).
    type: dict
    default: {}
  amd:
    description:
      - Wishes for AMD's driver and ROCm. See the role P(sglang.fleet.rocm#role).
    type: dict
    default: {}
  catalogue:
    description: Entries to add to or to change in the catalogue, of the same shape. Needs C(jsonschema) on the controller.
    type: dict
    default: {}
author:
  - SGLang Fleet contributors (@sglang-fleet)
extends_documentation_fragment:
  - sglang.fleet.attributes.read_only
  - sglang.fleet.attributes.controller
  - sglang.fleet.attributes.facts
seealso:
  - module: sglang.fleet.host_facts
  - module: sglang.fleet.launch_plan
"""

EXAMPLES = r"""
- name: Look at the host
  sglang.fleet.host_facts:

- name: Plan its driver
  sglang.fleet.driver_plan:
    nvidia:
      branch: "580"
"""

RETURN = r"""
ansible_facts:
  description: Facts to add to the host.
  returned: success
  type: dict
  contains:
    fleet_drivers:
      description: What to do, and what the host must have in the end.
      type: dict
      contains:
        vendor: {description: Whose GPUs they are., type: str, sample: nvidia}
        action: {description: "V(none), V(install) or V(upgrade).", type: str, sample: none}
        reason:
          description: Why, in a sentence.
          type: str
          sample: "NVIDIA 570.133.20 is left alone: the image's own list accepts branch 570"
        repositories: {description: Repositories to have., type: list, elements: dict}
        packages: {description: Packages to have., type: list, elements: dict}
        hold: {description: Packages to hold., type: list, elements: str}
        remove: {description: Packages that are in the way., type: list, elements: str}
        expect: {description: Kernel modules that must be loaded in the end with their versions., type: dict}
        reboot_reasons: {description: Why a reboot is due as things stand., type: list, elements: str}
"""
