# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make ``ansible_collections.sglang.fleet`` importable: the checkout itself, as Ansible sees it. Share work out."""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from sglang_fleet.collection import use_checkout

use_checkout()

#: What `make test` starts with: what takes longest in one piece. Molecule's scenarios stand alone and fill the end.
_FIRST = ("tests/lab/", "tests/gates/", "tests/page/", "tests/sglang/")
_LAST = "tests/lab/test_molecule.py"
#: Tests that cannot run side by side, as they share nodes or a folder: the start of their files' names -> their scope.
_TOGETHER = {
    "tests/lab/test_deploy.py": "demo's nodes",
    "tests/lab/test_plan.py": "demo's nodes",
    "tests/lab/test_gates.py": "measured node",
    "tests/lab/test_benchmark.py": "measured node",
    "tests/lab/test_accuracy.py": "measured node",
    "tests/lab/test_rollout.py": "measured node",
    "tests/gates/": "gates",
    "tests/unit/": "unit",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _rank(item.nodeid))


def _rank(nodeid: str) -> int:
    if nodeid.startswith(_LAST):
        return len(_FIRST) + 1
    return next((rank for rank, start in enumerate(_FIRST) if nodeid.startswith(start)), len(_FIRST))


class _ByFile(LoadScopeScheduling):  # type: ignore[misc]  # it ships no types
    """A file's tests in one process, in their order; Molecule's scenarios one by one."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(_LAST):
            return nodeid
        shared = next((scope for start, scope in _TOGETHER.items() if nodeid.startswith(start)), None)
        return shared or nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    config.option.loadscopereorder = False
    return _ByFile(config, log)
