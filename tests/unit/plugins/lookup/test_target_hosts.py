# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that would concern no host ends with a message; any other is let pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader

from ansible_collections.sglang.fleet.plugins.lookup.target_hosts import LookupModule

GROUPS = {"all": ["cpu-01", "gpu-01", "gpu-02"], "ungrouped": ["cpu-01"], "gpu_nodes": ["gpu-01", "gpu-02"]}
MANY = {"gpu_nodes": [f"gpu-{number}" for number in range(1, 11)], "ungrouped": ["cpu-01"]}


def look(pattern: str = "gpu_nodes", limit: str | None = None, groups: dict[str, Any] | None = None) -> list[str]:
    variables: dict[str, Any] = {"groups": GROUPS if groups is None else groups}
    if limit is not None:
        variables["ansible_limit"] = limit
    return LookupModule(loader=DataLoader()).run([pattern], variables)


@pytest.mark.parametrize(
    ("pattern", "limit"),
    [
        ("gpu_nodes", None),
        ("gpu_nodes", "gpu_nodes"),
        ("gpu_nodes", "cpu-01,gpu-02"),
        ("gpu_nodes", "all:!gpu-01"),
        ("all", "cpu-01"),
        ("gpu_nodes:!gpu-01", "gpu-02"),
    ],
)
def test_pattern_is_handed_back(pattern: str, limit: str | None) -> None:
    assert look(pattern, limit) == [pattern]


def test_file_as_limit(tmp_path: Path) -> None:
    (tmp_path / "retry").write_text("gpu-02\n")
    assert look(limit=f"@{tmp_path}/retry") == ["gpu_nodes"]
    (tmp_path / "retry").write_text("cpu-01\n")
    with pytest.raises(AnsibleError, match="is in gpu_nodes"):
        look(limit=f"@{tmp_path}/retry")


@pytest.mark.parametrize(
    ("pattern", "limit", "groups", "message"),
    [
        (
            "gpu_nodes",
            "cpu-01",
            GROUPS,
            "no host of 'cpu-01' (--limit) is in gpu_nodes, on which the playbooks run. In it: gpu-01, gpu-02. Limit the run to "
            "some of them, put the hosts that you mean into gpu_nodes, or name another group or pattern with -e "
            "fleet_target=PATTERN. No host was touched",
        ),
        (
            "gpu_nodes",
            "cpu-01",
            MANY,
            "no host of 'cpu-01' (--limit) is in gpu_nodes, on which the playbooks run. In it: gpu-1, gpu-2, gpu-3, gpu-4, "
            "gpu-5, gpu-6, gpu-7, gpu-8 and 2 more. Limit the run to some of them, put the hosts that you mean into gpu_nodes, "
            "or name another group or pattern with -e fleet_target=PATTERN. No host was touched",
        ),
        (
            "h200",
            None,
            GROUPS,
            "the inventory has no host in h200, on which the playbooks run. Put nodes into that group, or name another "
            "group or pattern with -e fleet_target=PATTERN. No host was touched",
        ),
    ],
)
def test_run_without_hosts(pattern: str, limit: str | None, groups: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleError) as caught:
        look(pattern, limit, groups)
    assert str(caught.value) == message
