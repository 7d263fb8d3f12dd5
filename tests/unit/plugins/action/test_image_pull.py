# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the action makes of the facts, and of a pull that takes more than one call."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.plugins.action import ActionBase

from ansible_collections.sglang.fleet.plugins.action import image_pull
from ansible_collections.sglang.fleet.plugins.action.image_pull import ActionModule, Shown

SEEN = {"reference": "r:v1", "id": "sha256:aa", "digest": "sha256:dd"}
FACT = {"ansible_facts": {"fleet_local_image": SEEN}}


def state(phase: str, done: int, total: int | None = 100) -> dict[str, Any]:
    return {"state": "running", "phase": phase, "done": done, "total": total, "layers": 3, "layers_here": 1}


class Recorder:
    """Progress, written down: host, what, done, total, note."""

    said: list[tuple[Any, ...]] = []  # noqa: RUF012 (one for a test, see `said`)

    def __init__(self, host: str, what: str, start: int | None = None) -> None:
        assert (start == 0) == (what == "image")
        self._whose = host, what

    def update(self, done: int, total: int | None, note: str = "") -> None:
        self.said.append((*self._whose, done, total, note))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    monkeypatch.setattr(Recorder, "said", [])
    monkeypatch.setattr(image_pull, "Progress", Recorder)
    return Recorder.said


def run(
    monkeypatch: pytest.MonkeyPatch, answers: list[dict[str, Any]], images: tuple[Any, ...] = (), **arguments: Any
) -> dict[str, Any]:
    """The action's result where the module answers so, in turn; every answer is asked for."""

    calls = len(answers)

    def base(_self: Any, _tmp: Any, _variables: Any) -> dict[str, Any]:
        return {"invocation": "x"}

    def execute(module_args: dict[str, Any], **_variables: Any) -> dict[str, Any]:
        # Only the first call may start a pull; the others would start one that has failed again.
        assert bool(module_args.get("watching")) == (len(answers) < calls)
        return answers.pop(0)

    monkeypatch.setattr(ActionBase, "run", base)
    action = object.__new__(ActionModule)
    action._task = SimpleNamespace(args={"reference": "r:v1", **arguments})
    action._execute_module = execute
    variables = {"inventory_hostname": "n", "ansible_facts": {"container_engine": {"images": images}}}
    result: dict[str, Any] = action.run(None, variables)
    assert not answers, "the module was not asked"
    return result


@pytest.mark.parametrize(
    "arguments",
    [{}, {"digest": "sha256:dd"}, {"digest": ""}, {"digest": "sha256:ee", "ids": ["sha256:aa"]}],
    ids=["any", "digest", "no digest", "ID"],
)
def test_facts_that_have_the_image_cost_no_call(monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any]) -> None:
    result = run(monkeypatch, [], (SEEN,), **arguments)
    assert result["changed"] is False
    assert result["ansible_facts"]["fleet_local_image"]["id"] == "sha256:aa"
    assert result["ansible_facts"]["fleet_local_image"]["digest"] == (arguments.get("digest") or "sha256:dd")


def test_another_digest_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, [{"changed": True, **FACT}], (SEEN,), digest="sha256:ee", ids=["sha256:ab"])
    assert result == {"invocation": "x", "changed": True, **FACT}


def test_a_pull_of_several_calls(monkeypatch: pytest.MonkeyPatch, said: list[tuple[Any, ...]]) -> None:
    answers = [
        {"changed": True, "pulling": True, "progress": {"state": "running"}},
        {"changed": True, "pulling": True, "progress": state("download", 10, None)},
        {"changed": True, "pulling": True, "progress": state("download", 60)},
        {"changed": True, "pulling": True, "progress": state("unpack", 40, 110)},
        # The call in which the pull has ended may find the image there, and no pull.
        {"changed": False, **FACT},
    ]
    assert run(monkeypatch, answers) == {"invocation": "x", "changed": True, **FACT}
    assert said == [
        ("n", "image", 10, None, ""),
        ("n", "image", 60, 100, ""),
        ("n", "image", 110, 110, ""),
        ("n", "image, unpacking", 40, 110, "1 of 3 layers"),
    ]


def test_the_end_of_unpacking_is_not_shown_as_a_transfer(said: list[tuple[Any, ...]]) -> None:
    shown = Shown("n")
    shown.update(state("unpack", 100))
    shown.update({})
    assert said == [("n", "image", 100, 100, "")]


def test_a_failure_names_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [
        {"changed": True, "pulling": True, "progress": state("download", 1)},
        {"failed": True, "msg": "image r:v1: no room"},
    ]
    result = run(monkeypatch, answers)
    assert (result["failed"], result["msg"]) == (True, "n: image r:v1: no room")
