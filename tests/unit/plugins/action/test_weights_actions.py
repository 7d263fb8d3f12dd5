# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The actions of the weights on the controller."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.sglang.fleet.plugins.action import weights_transfer
from ansible_collections.sglang.fleet.plugins.action.weights_plan import facts_of_hosts


def test_facts_of_hosts() -> None:
    variables = {
        "ansible_play_hosts": ["gone", "a", "b", "c"],
        "ansible_play_batch": ["a", "b", "c"],
        "hostvars": {
            "a": {"ansible_facts": {"fleet_weights": {"x": 1}, "fleet_weights_marks": {"a": "m"}}},
            "b": {"ansible_facts": {"fleet_weights": {"x": 2}}},
            "c": {"ansible_facts": {}},
            "gone": {"ansible_facts": {"fleet_weights": {"x": 3}}},
        },
    }
    assert facts_of_hosts(variables) == {"a": {"x": 1, "marks": {"a": "m"}}, "b": {"x": 2, "marks": {}}}


def test_key_of_a_run(tmp_path: Path) -> None:
    key = weights_transfer.run_key(str(tmp_path))
    assert len(key) >= 32
    assert weights_transfer.run_key(str(tmp_path)) == key
    [path] = tmp_path.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    (tmp_path / "other").mkdir()
    assert weights_transfer.run_key(str(tmp_path / "other")) != key


@pytest.mark.parametrize(
    ("progress", "said"),
    [
        ({"origins": ["a"]}, "from a"),
        ({"origins": ["a", "b", "c", "d"]}, "from a, b and 2 more"),
        ({"origins": [], "hashing": 2, "note": "x"}, "hashing"),
        ({"note": "the hub asks for 7 s of patience (HTTP 429)"}, "the hub asks for 7 s of patience (HTTP 429)"),
        ({}, ""),
    ],
)
def test_note(progress: dict[str, Any], said: str) -> None:
    assert weights_transfer.note_of(progress) == said


DAMAGED = [{"path": "f1", "reason": "size is 1, locked 2"}, {"path": "f2", "reason": "header"}]


def test_done() -> None:
    answer = {"progress": {"state": "done", "damaged": DAMAGED}, "log": "", "running": False, "changed": False}
    ended = weights_transfer.ended(answer, known={"f1"})
    assert "failed" not in ended
    assert ended["warnings"] == ["weights: f2: header. It was fetched again."]
    assert ended["progress"]["state"] == "done"
    assert ended["changed"] is False  # hashed, and all was right


def test_done_and_something_came() -> None:
    assert weights_transfer.ended({"progress": {"state": "done", "from_hub": 0, "from_peers": 5}})["changed"] is True


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            {"progress": {"state": "failed", "error": "no", "bytes_done": 1, "bytes_total": 2, "damaged": DAMAGED}},
            "weights: no. Not the locked bytes were: f1: size is 1, locked 2; f2: header. What was verified before is kept (1 of 2",
        ),
        ({"progress": {"state": "running"}, "log": "OOM"}, "weights: the transfer ended without saying why (OOM)."),
        ({"progress": {}, "log": ""}, "(docker logs sglang-fleet-weights has nothing)"),
        ({"failed": True, "msg": "weights: docker"}, "weights: docker"),
    ],
)
def test_failed(answer: dict[str, Any], said: str) -> None:
    ended = weights_transfer.ended(answer)
    assert ended["failed"] is True
    assert said in ended["msg"]


def test_damage_that_was_told_before() -> None:
    facts = {"fleet_weights": {"damaged": DAMAGED}}
    assert weights_transfer.known_damage({"ansible_facts": facts}) == {"f1", "f2"}
    assert weights_transfer.known_damage({}) == set()


def test_host_that_had_to_ask_the_hub_itself_says_so() -> None:
    told = {
        "state": "done",
        "fell_back": "no host of the run gave anything for 90 s: asking hub (tried: http://a:30090)",
    }
    [warning] = weights_transfer.ended({"progress": told})["warnings"]
    assert "(tried: http://a:30090). The hosts must reach one another there by TCP" in warning
    assert "fleet_weights_share to false" in warning


def test_line_lost_while_the_module_looks_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    action: Any = object.__new__(weights_transfer.ActionModule)
    action._task = SimpleNamespace(args={"state": "watched"}, check_mode=False)
    action._display = action._connection = Mock()
    action.look = lambda: {"state": "done", "updated": 1.0}
    action._execute_module = Mock(
        side_effect=[AnsibleConnectionFailure("gone"), {"running": False, "progress": {"state": "done"}}]
    )
    monkeypatch.setattr(ActionBase, "run", lambda *_words: {})
    monkeypatch.setattr(weights_transfer, "EVERY", 0)
    assert "failed" not in action.run(None, {"inventory_hostname": "a"})
    assert action._execute_module.call_count == 2
