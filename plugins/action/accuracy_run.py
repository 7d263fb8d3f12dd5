# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gives the module the catalogue's benchmarks, which hosts do not have. The module of the same name carries the documentation."""

from __future__ import annotations

from ansible_collections.sglang.fleet.plugins.plugin_utils.catalogue_action import CatalogueAction


class ActionModule(CatalogueAction):
    MODULE = "sglang.fleet.accuracy_run"
    SECTION = "accuracy_benchmarks"
    NAMES, ENTRIES = "benchmarks", "jobs"
    DEFAULT = ("gsm8k",)
