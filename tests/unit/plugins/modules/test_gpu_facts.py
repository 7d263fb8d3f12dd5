# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module and its action are thin: what each hands on, and that every fact is documented."""

from __future__ import annotations

import typing as t
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from ansible_collections.sglang.fleet.plugins.action import gpu_facts as action
from ansible_collections.sglang.fleet.plugins.module_utils._gpu import Device, GpuFacts, Hidden
from ansible_collections.sglang.fleet.plugins.module_utils._gpu_common import Holder, run_tool
from ansible_collections.sglang.fleet.plugins.modules import gpu_facts
from tests.unit.plugins.module_utils.fixtures.gpu.host import KNOWN, Host, Tools


class LeftError(Exception):
    """What AnsibleModule leaves with."""


class FakeModule:
    def __init__(self, known: t.Any) -> None:
        self.params = {"known_gpus": known, "catalogue": {}}

    def exit_json(self, **result: t.Any) -> t.NoReturn:
        raise LeftError(result)

    fail_json = exit_json


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> t.Callable[[t.Any], t.Any]:
    """Runs the module on a tree with one GPU; the result is what it leaves with."""
    Host(tmp_path).nvidia(1)
    asked: list[t.Any] = []

    def read(known: t.Any, ask: t.Any) -> GpuFacts:
        asked.append(ask)
        return real(known, str(tmp_path), Tools({}))

    real = gpu_facts.read_gpus
    monkeypatch.setattr(gpu_facts, "read_gpus", read)

    def go(known: t.Any) -> t.Any:
        monkeypatch.setattr(gpu_facts, "AnsibleModule", lambda **_kwargs: FakeModule(known))
        with pytest.raises(LeftError) as left:
            gpu_facts.main()
        assert all(ask is run_tool for ask in asked)
        return left.value.args[0]

    return go


def test_facts(run: t.Callable[[t.Any], t.Any]) -> None:
    result = run(KNOWN)
    assert result["changed"] is False
    assert result["ansible_facts"]["gpu"]["model"] == "H200"


def test_without_its_action(run: t.Callable[[t.Any], t.Any]) -> None:
    assert run(None)["msg"].startswith("gpu_facts got no known_gpus: its action plugin")


def test_action_tells_the_host_which_ids_are_virtual(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, t.Any] = {}

    def execute(module_name: str, module_args: dict[str, t.Any], **_kwargs: t.Any) -> dict[str, t.Any]:
        told.update(module_args, module=module_name)
        return {"changed": False}

    module: t.Any = action.ActionModule.__new__(action.ActionModule)
    module._task = type("Task", (), {"args": {"catalogue": {"gpus": {"H200": {"memory_mib": 140000}}}}})
    module._execute_module = execute
    monkeypatch.setattr(action.ActionBase, "run", lambda *_args: {})
    assert module.run(None, {"inventory_hostname": "node-1"}) == {"changed": False}
    assert set(told) == {"known_gpus", "module"}
    assert told["known_gpus"]["1002:74b5"] == {**KNOWN["1002:74a1"], "virtual": True}
    assert told["known_gpus"]["10de:2335"]["memory_mib"] == 140000


def documented(*path: str) -> set[str]:
    entry = yaml.safe_load(gpu_facts.RETURN)["ansible_facts"]["contains"]["gpu"]
    for name in path:
        entry = entry["contains"][name]
    return set(entry["contains"])


@pytest.mark.parametrize(
    ("kind", "path"), [(GpuFacts, ()), (Device, ("devices",)), (Holder, ("holders",)), (Hidden, ("hidden",))]
)
def test_every_fact_is_documented(kind: t.Any, path: tuple[str, ...]) -> None:
    assert documented(*path) == {field.name for field in fields(kind)}
