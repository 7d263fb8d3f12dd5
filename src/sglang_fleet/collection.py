# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes ``ansible_collections.sglang.fleet`` importable outside of Ansible."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

#: The checkout that this package is part of.
CHECKOUT = Path(__file__).resolve().parents[2]

_PACKAGE = "ansible_collections"
_COLLECTION = Path(_PACKAGE, "sglang", "fleet")
#: where Ansible itself looks when no setting says otherwise
_USUAL = ("~/.ansible/collections", "/usr/share/ansible/collections")


class CollectionMissingError(Exception):
    """The collection is not there; the text says where it was looked for and what to do."""


def use_checkout(root: Path = CHECKOUT) -> None:
    """Have Python import the collection from a checkout, through Ansible's own finder.

    A plain entry in sys.path does not do: the `ansible` package brings an ``ansible_collections`` of its own.
    """
    from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

    if isinstance(sys.modules.get(_PACKAGE), _Light):
        # The packages make way for Ansible's own; the modules that were imported through them stay.
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] == _PACKAGE and hasattr(module, "__path__"):
                del sys.modules[name]
    _AnsibleCollectionFinder(paths=[str(root / "collections")])._install()


def use_collection() -> Path:
    """Have Python import the collection without importing Ansible, which takes longer than a plan does.

    Gives the collection's folder. In a checkout that is the checkout's own; with this package installed elsewhere it is
    the one that ansible-galaxy installed. Only ``module_utils`` that import nothing of Ansible can be had so. Raises
    CollectionMissingError.
    """
    root = collections_root()
    if _PACKAGE not in sys.modules:
        # A package that is there already, with this one folder: Python's own finder does the rest.
        sys.modules[_PACKAGE] = _Light(root)
    return root / _COLLECTION


def collections_root() -> Path:
    """The folder with ``ansible_collections/sglang/fleet`` in it; raises CollectionMissingError."""
    configured = os.environ.get("ANSIBLE_COLLECTIONS_PATH", "").split(os.pathsep)
    installed = [Path(folder).expanduser().resolve() for folder in (*configured, *_USUAL) if folder]
    for root in (CHECKOUT / "collections", *installed):
        if (root / _COLLECTION / "plugins" / "module_utils").is_dir():
            return root
    raise CollectionMissingError(
        "the Ansible collection sglang.fleet is not there: this program is not run from its checkout, and none of "
        f"{', '.join(str(root) for root in installed)} holds it; install it (in a checkout `make build`, then "
        "`ansible-galaxy collection install build/sglang-fleet-*.tar.gz`), set ANSIBLE_COLLECTIONS_PATH to the folder "
        "that holds ansible_collections, or install this program from the checkout with `pip install -e`"
    )


class _Light(ModuleType):
    """``ansible_collections`` with one folder and without Ansible."""

    def __init__(self, root: Path) -> None:
        super().__init__(_PACKAGE)
        self.__path__ = [str(root / _PACKAGE)]
