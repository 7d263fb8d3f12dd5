# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module and its action are thin: what each hands on."""

from __future__ import annotations

import typing as t
from types import SimpleNamespace

import pytest

from ansible_collections.sglang.fleet.plugins.action import doctor as action
from ansible_collections.sglang.fleet.plugins.modules import doctor
from tests.unit.plugins.module_utils.fixtures.doctor import healthy


class LeftError(Exception):
    """What AnsibleModule leaves with."""


class FakeModule:
    def __init__(self, known: t.Any) -> None:
        self.params = {"known_gpus": known, "config_dir": "/c", "state_file": "/s", "weights_dir": "/w"}

    def exit_json(self, **result: t.Any) -> t.NoReturn:
        raise LeftError(result)

    fail_json = exit_json


def left(monkeypatch: pytest.MonkeyPatch, known: t.Any) -> t.Any:
    asked: list[t.Any] = []
    monkeypatch.setattr(doctor, "AnsibleModule", lambda **_words: FakeModule(known))
    monkeypatch.setattr(doctor, "look", lambda *words: asked.append(words) or {"gpu": {"count": 0}})
    with pytest.raises(LeftError) as result:
        doctor.main()
    return result.value.args[0], asked


def test_module(monkeypatch: pytest.MonkeyPatch) -> None:
    result, asked = left(monkeypatch, {"10de:2335": {}})
    assert result == {"changed": False, "snapshot": {"gpu": {"count": 0}}, "ansible_facts": {"gpu": {"count": 0}}}
    assert asked == [({"10de:2335": {}}, "/c", "/s", "/w")]


def test_module_without_its_action(monkeypatch: pytest.MonkeyPatch) -> None:
    result, asked = left(monkeypatch, None)
    assert result["msg"].startswith("doctor got no known_gpus: its action plugin")
    assert asked == []


def acted(
    monkeypatch: pytest.MonkeyPatch, arguments: dict[str, t.Any], host: t.Any = None
) -> tuple[t.Any, list[t.Any]]:
    """The action's result, and what it asked of the host."""
    asked: list[t.Any] = []

    def execute(self: t.Any, module_name: str, module_args: t.Any, task_vars: t.Any) -> t.Any:
        asked.append((module_name, module_args))
        return host

    monkeypatch.setattr(action.ActionBase, "run", lambda *_words: {})
    monkeypatch.setattr(action.ActionBase, "_execute_module", execute, raising=False)
    plugin = action.ActionModule.__new__(action.ActionModule)
    plugin._task = SimpleNamespace(args=arguments)
    return plugin.run(None, {"inventory_hostname": "gpu-1"}), asked


def test_action_tells_the_host_the_gpus_and_judges_what_it_told(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = healthy("nvidia")
    snapshot["host"]["headers"] = False
    result, asked = acted(monkeypatch, {"weights_dir": "/w"}, {"snapshot": snapshot, "changed": False})
    [(name, arguments)] = asked
    assert name == "sglang.fleet.doctor"
    assert arguments["known_gpus"]["10de:2335"]["name"] == "H200"
    assert arguments["weights_dir"] == "/w"
    assert "catalogue" not in arguments
    assert [item["id"] for item in result["findings"]] == ["kernel-headers"]
    assert result["lines"][0].startswith("error kernel-headers: ")


def test_action_with_a_snapshot_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jinja hands an empty plan and an empty refusal for none."""
    snapshot = healthy("nvidia")
    result, asked = acted(monkeypatch, {"snapshot": snapshot, "plan": {}, "refused": ""})
    assert (result["findings"], result["lines"], asked) == ([], ["healthy"], [])
    snapshot["images"] = []
    result, _asked = acted(monkeypatch, {"snapshot": snapshot, "plan": snapshot["plan"], "refused": ""})
    assert [item["id"] for item in result["findings"]] == ["disk-image"]
    result, _asked = acted(monkeypatch, {"snapshot": snapshot, "plan": {}, "refused": "tp 3"})
    assert [item["id"] for item in result["findings"]] == ["no-plan"]


@pytest.mark.parametrize("host", [{"failed": True, "msg": "no Python"}, {"unreachable": True, "msg": "gone"}])
def test_action_hands_on_why_it_could_not_look(monkeypatch: pytest.MonkeyPatch, host: dict[str, t.Any]) -> None:
    result, _asked = acted(monkeypatch, {}, host)
    assert result == host


def test_action_names_the_host_of_a_bad_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    result, asked = acted(monkeypatch, {"catalogue": {"gpuz": {}}})
    assert result["failed"]
    assert result["msg"].startswith("gpu-1: ")
    assert asked == []
