# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of the lab's nodes, from what Docker tells of them."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from fleetlab import nodes
from fleetlab.settings import FIRST_SCENARIO_HOST, LAST_SCENARIO_HOST
from fleetlab.shell import LabError


def docker_with(monkeypatch: pytest.MonkeyPatch, hosts: list[int]) -> list[tuple[Any, ...]]:
    """Docker with a node at each of these addresses; the calls of it."""
    calls: list[tuple[Any, ...]] = []
    out = "".join(json.dumps(["image", "trixie", "none", f"172.30.0.{host}"]) + "\n" for host in hosts)

    def answer(*words: Any, **options: Any) -> subprocess.CompletedProcess[str]:
        calls.append(words)
        return subprocess.CompletedProcess(words, 0, out, "")

    monkeypatch.setattr(nodes, "docker", answer)
    return calls


@pytest.mark.parametrize(
    ("taken", "free"),
    [([], 100), ([100, 101, 103], 102), ([11, 12], 100), ([101], 100)],
)
def test_lowest_free_address_in_one_question(monkeypatch: pytest.MonkeyPatch, taken: list[int], free: int) -> None:
    calls = docker_with(monkeypatch, taken)
    assert nodes.free_ip() == f"172.30.0.{free}"
    assert len(calls) == 1, "between two questions another run may remove a node"


def test_no_address_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    docker_with(monkeypatch, list(range(FIRST_SCENARIO_HOST, LAST_SCENARIO_HOST + 1)))
    with pytest.raises(LabError, match=r"no address is left"):
        nodes.free_ip()
