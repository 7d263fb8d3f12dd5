# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make ``ansible_collections.sglang.fleet`` importable: the checkout itself, as Ansible sees it."""

from sglang_fleet.collection import use_checkout

use_checkout()
