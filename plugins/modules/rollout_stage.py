#!/usr/bin/python
# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name. This file carries its documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_stage
short_description: Tell which stage of a rollout a host is in
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Writes a line to the terminal, and one of JSON to the file that the environment variable E(SGLANG_FLEET_EVENTS) names on the
    controller, C(event) V(stage), C(host), C(instance), C(stage), C(detail) and C(at), seconds since the epoch.
options:
  stage:
    description: The stage. Either this or O(gates), or both.
    type: str
    choices:
      - waiting
      - out
      - draining
      - stopping
      - freeing
      - applying
      - starting
      - gating
      - in
      - done
      - failed
      - rolling_back
      - rolled_back
      - unreachable
      - held
  instances:
    description: The instances that it is about; none for the whole host.
    type: list
    elements: str
    default: []
  detail:
    description: More, in a few words; never a secret.
    type: str
    default: ""
  gates:
    description:
      - By instance, the results of gates as M(sglang.fleet.smoke_test) returns them. Each becomes a line of its own, C(event) V(gate),
        C(host), C(instance), C(gate), C(passed), C(evidence), C(seconds) and C(budget_seconds).
    type: dict
    default: {}
extends_documentation_fragment:
  - sglang.fleet.attributes.read_only
  - sglang.fleet.attributes.controller
"""

EXAMPLES = r"""
- name: Say that the gates begin
  sglang.fleet.rollout_stage:
    stage: gating
    instances: ["0"]

- name: Tell what became of them
  sglang.fleet.rollout_stage:
    gates: "{{ smoke_test_results }}"
"""

RETURN = r"""
stage:
  description: The event.
  returned: success, with a stage
  type: dict
"""
