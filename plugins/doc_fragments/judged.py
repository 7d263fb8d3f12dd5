# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    # For the filters that hold records against others.
    DOCUMENTATION = r"""
options:
  _input:
    description: The records.
    type: list
    elements: dict
    required: true
  last_good:
    description: What C(stored) was the last time, as read from its file; an empty mapping for none.
    type: dict
    default: {}
  against:
    description:
      - What they are held against. V(references) are the catalogue's, V(own) the host's last good ones, V(auto) the host's own
        where there is one like it, and else the catalogue's.
    type: str
    choices: [auto, own, references]
    default: auto
  required:
    description: Whether a record fails that nothing can be held against.
    type: bool
    default: false
  catalogue:
    description: Entries over the built-in catalogue, C(fleet_catalogue).
    type: dict
    default: {}
"""
