#!/usr/bin/python
# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_weights
short_description: Send weights from a bundle to a node
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Sends files of a model from a bundle on the controller to a folder of the node, over the connection that its tasks run
    through. No hub is asked.
  - They are not verified there beyond their size; whoever takes them from the folder does that.
  - A file that is there with the right size is not sent again.
extends_documentation_fragment:
  - sglang.fleet.attributes.changes
  - sglang.fleet.attributes.no_facts
options:
  bundle:
    description: The bundle's folder on the controller, made by C(sglang-fleet bundle).
    type: path
    required: true
  repository:
    description: The model's repository.
    type: str
    required: true
  revision:
    description: The locked revision.
    type: str
    required: true
  files:
    description: The files that the node needs, by their paths in the repository.
    type: list
    elements: str
    required: true
  target:
    description: The node's folder that they are sent to.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Send the weights
  sglang.fleet.bundle_weights:
    bundle: /srv/bundle
    repository: MiniMaxAI/MiniMax-M2.7
    revision: 72dec8243251f8af3ec3a829a8fc137515480279
    files: [config.json]
    target: /var/lib/sglang-fleet/huggingface/.sglang-fleet/incoming
"""

RETURN = r"""
bytes:
  description: How many were sent.
  returned: success
  type: int
"""

# What it does is in the action plugin of the same name: it reads the controller's files.
