#!/usr/bin/python
# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name. This file carries its documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: validate_inventory
short_description: Check a host's inventory variables before it is touched
version_added: 0.1.0
description:
  - Checks every variable of the host that starts with C(fleet_) or with the name of one of the collection's roles.
    It must be known (a misspelt one is answered with the nearest name), of the right type, and mean something that
    there is, for example a model of the catalogue.
  - Collects all problems of a host in one message. The values of secrets are never shown.
  - Runs on the controller. It needs no connection and no facts.
author:
  - SGLang Fleet contributors (@sglang-fleet)
extends_documentation_fragment:
  - sglang.fleet.attributes.read_only
  - sglang.fleet.attributes.controller
"""

EXAMPLES = r"""
- name: Check the variables of every host of the play
  sglang.fleet.validate_inventory:
"""

RETURN = r"""
problems:
  description: What is wrong, each with its remedy.
  returned: failure
  type: list
  elements: str
  sample:
    - "fleet_modl is not a variable of this collection: did you mean fleet_model?"
"""
