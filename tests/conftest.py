# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make ``ansible_collections.sglang.fleet`` importable: the checkout itself, as Ansible sees it."""

from pathlib import Path

from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

ROOT = Path(__file__).resolve().parent.parent

# The third-party collections of the environment are found by themselves; ours first.
_AnsibleCollectionFinder(paths=[str(ROOT / "collections")])._install()
