#!/usr/bin/python
# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name. This file carries its documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_plan
short_description: Plan what a host's container engine needs
version_added: 0.1.0
description:
  - Decides from the facts of M(sglang.fleet.engine_facts) which packages are due, how C(daemon.json) is to be, and whether
    Docker must be restarted for it; and refuses what cannot be, before anything is changed.
  - Runs on the controller and needs no connection.
options:
  vendor:
    description: Whose GPUs the containers get, V(nvidia), V(amd) or V(none).
    type: str
    default: none
  install:
    description: Whether what is missing may be installed.
    type: bool
    default: true
  source:
    description: Where an engine comes from where there is none; empty for the distribution where it has one.
    type: str
    choices: ['', distribution, docker]
    default: ''
  version:
    description: Version of the engine from Docker's repository.
    type: str
    default: ''
  docker:
    description: An own address or key of Docker's repository.
    type: dict
    default: {}
    suboptions:
      url:
        description: Address.
        type: str
        default: ''
      key_url:
        description: Where the key is.
        type: str
        default: ''
      key_fingerprints:
        description: The key's fingerprint, or several.
        type: list
        elements: str
        default: []
  toolkit_version:
    description: Version of the vendor's container toolkit.
    type: str
    default: ''
  toolkit:
    description: An own address or key of the repository of the vendor's container toolkit.
    type: dict
    default: {}
    suboptions:
      url:
        description: Address.
        type: str
        default: ''
      key_url:
        description: Where the key is.
        type: str
        default: ''
      key_fingerprints:
        description: The key's fingerprint, or several.
        type: list
        elements: str
        default: []
  amd_toolkit:
    description: Whether hosts with AMD GPUs get AMD's container toolkit.
    type: bool
    default: false
  registry_mirrors:
    description: Registry mirrors.
    type: list
    elements: str
    default: []
  daemon_options:
    description: Options of C(daemon.json).
    type: dict
    default: {}
  log_max_size:
    description: Size of a container's log.
    type: str
    default: ''
  log_max_file:
    description: How many of them.
    type: str
    default: ''
  live_restore:
    description: Whether containers live on while Docker is restarted, where nothing is said about it.
    type: bool
    default: true
  restart_allowed:
    description: Whether Docker may be restarted while containers run.
    type: bool
    default: false
  fresh:
    description: Whether the engine was installed by this run, so that nothing depends on it yet.
    type: bool
    default: false
  catalogue:
    description: Entries to add to or to change in the catalogue, of the same shape. Needs C(jsonschema) on the controller.
    type: dict
    default: {}
author:
  - SGLang Fleet authors (@sglang-fleet)
extends_documentation_fragment:
  - sglang.fleet.attributes.read_only
  - sglang.fleet.attributes.controller
  - sglang.fleet.attributes.facts
seealso:
  - module: sglang.fleet.engine_facts
  - module: sglang.fleet.host_packages
"""

EXAMPLES = r"""
- name: Plan the engine
  sglang.fleet.engine_plan:
    vendor: nvidia
"""

RETURN = r"""
ansible_facts:
  description: The plan.
  returned: success
  type: dict
  contains:
    fleet_engine:
      description: What is to be done.
      type: dict
      returned: success
      contains:
        packages: {description: 'Arguments for M(sglang.fleet.host_packages), or nothing.', type: dict, returned: success}
        daemon: {description: The whole C(daemon.json) as wanted., type: dict, returned: success}
        daemon_keys: {description: Those of its options that change., type: list, elements: str, returned: success}
        restart: {description: Why Docker must be restarted., type: list, elements: str, returned: success}
        reload: {description: Whether Docker must read its file again., type: bool, returned: success}
        validate: {description: Whether dockerd can check the file before it is written., type: bool, returned: success}
        daemon_added: {description: 'What of it is new, for a removal.', type: dict, returned: success}
        daemon_before: {description: 'What stood in the place of that, for a removal.', type: dict, returned: success}
        steps: {description: 'What the packages are for, C(docker), C(nvidia), C(amd).', type: list, elements: str, returned: success}
        cdi: {description: 'The CDI specification to make, C(command) and C(path), or nothing.', type: dict, returned: success}
        notes: {description: What an operator should know., type: list, elements: str, returned: success}
"""
