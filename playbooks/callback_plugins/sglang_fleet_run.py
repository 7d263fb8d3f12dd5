# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible loads what lies here with any playbook beside it, so that nobody has to enable it."""

from __future__ import annotations

from ansible_collections.sglang.fleet.plugins.plugin_utils.run_record import RunRecord

DOCUMENTATION = r"""
name: sglang_fleet_run
type: aggregate
short_description: Records what a run of gates and benchmarks came to
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Writes a record of each play that sets C(run_record), with every host of it, and the report where the package
    C(sglang-fleet) is installed beside Ansible.
"""


class CallbackModule(RunRecord):  # type: ignore[misc]  # Ansible has no types
    CALLBACK_NAME = "sglang_fleet_run"
