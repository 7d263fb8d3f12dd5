# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes the lock file in an inventory folder, of which Ansible reads every YAML file."""

from __future__ import annotations

DOCUMENTATION = r"""
name: lock
short_description: The lock file of a fleet beside its inventory, which gives no hosts
version_added: 0.1.0
author:
  - SGLang Fleet contributors (@sglang-fleet)
description:
  - Ansible reads every YAML file of an inventory folder. C(fleet.lock.yml), which C(sglang-fleet lock) writes there, names
    this plugin, so that its keys are not taken for groups.
options:
  plugin:
    description: The name of this plugin.
    type: str
    required: true
    choices: [sglang.fleet.lock]
"""

EXAMPLES = r"""
# The head of fleet.lock.yml
plugin: sglang.fleet.lock
schema: 1
"""

from typing import Any

from ansible.plugins.inventory import BaseInventoryPlugin


class InventoryModule(BaseInventoryPlugin):
    NAME = "sglang.fleet.lock"

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Adds nothing: who plans reads the file, and says what is wrong with it."""
