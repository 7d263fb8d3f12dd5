# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes ``ansible_collections.sglang.fleet`` importable outside of Ansible."""

from __future__ import annotations

from pathlib import Path

from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

#: The checkout that this package is part of.
CHECKOUT = Path(__file__).resolve().parents[2]


def use_checkout(root: Path = CHECKOUT) -> None:
    """Have Python import the collection from a checkout, through Ansible's own finder.

    A plain entry in sys.path does not do: the `ansible` package brings an ``ansible_collections`` of its own.
    """
    _AnsibleCollectionFinder(paths=[str(root / "collections")])._install()
