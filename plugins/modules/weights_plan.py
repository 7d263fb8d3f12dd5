#!/usr/bin/python
# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name. This file carries its documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: weights_plan
short_description: Decide who of a run's hosts fetches the weights from where
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Works out, from what M(sglang.fleet.weights_facts) found on every host of the run, who asks the source, who takes from the
    others, who has everything and passes it on, and who waits because another host fetches into the same folder. So the
    source gives each byte once.
  - Refuses a host whose disk has no room for the rest, and names the sizes.
  - Runs on the controller. It needs no connection.
extends_documentation_fragment:
  - sglang.fleet.attributes.read_only
  - sglang.fleet.attributes.controller
  - sglang.fleet.attributes.facts
options:
  locked:
    description: Whether a lock names the weights. Where none does, a warning says what that means, and nothing is decided.
    type: bool
    default: true
  source:
    description: What the weights come from, for the message.
    type: str
    default: hub
"""

EXAMPLES = r"""
- name: Decide who fetches the weights from where
  sglang.fleet.weights_plan:
"""

RETURN = r"""
ansible_facts:
  description: The decision.
  returned: success
  type: dict
  contains:
    fleet_weights_plan:
      description:
        - C(role) (V(none), V(seed), V(peer), V(serve), V(shared)), C(with) (who fetches into the shared folder), C(peers)
          (C(host) and C(url) of each), C(rank), C(fallback), C(serves), C(needed) (paths), C(incoming) (where a bundle's
          files go), C(says) (all of it in a line).
      type: dict
      returned: always
"""
