# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
  facts:
    description: Action returns an C(ansible_facts) dictionary that updates existing host facts.
"""

    # For what neither changes anything nor could.
    READ_ONLY = r"""
options: {}
attributes:
  check_mode:
    description: Runs the same in check mode, since it changes nothing.
    support: full
  diff_mode:
    description: There is nothing to show, since it changes nothing.
    support: none
"""

    # For what changes something of which there is no text to show.
    CHANGES = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
    support: full
  diff_mode:
    description: There is no text to show a difference of.
    support: none
"""

    # For a module that is documentation, its action plugin's.
    CONTROLLER = r"""
options: {}
attributes:
  action:
    description: Has an action plugin, which does the work on the controller.
    support: full
  connection:
    description: Uses no connection to the host.
    support: none
"""

    FACTS = r"""
options: {}
attributes:
  facts:
    description: Returns C(ansible_facts).
    support: full
"""

    NO_FACTS = r"""
options: {}
attributes:
  facts:
    description: Returns no facts.
    support: none
"""
