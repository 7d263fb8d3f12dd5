# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gives the module the catalogue's loads, which hosts do not have. The module of the same name carries the documentation."""

from __future__ import annotations

from ansible_collections.sglang.fleet.plugins.plugin_utils.catalogue_action import CatalogueAction


class ActionModule(CatalogueAction):
    MODULE = "sglang.fleet.bench_serving"
    SECTION = "benchmark_profiles"
    NAMES, ENTRIES = "profiles", "loads"
    DEFAULT = ("low", "medium", "high")
