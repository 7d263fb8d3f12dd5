# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module: what it waits for, what it hands the gates, and how it ends."""

from __future__ import annotations

import typing as t

import pytest
import yaml

from ansible_collections.sglang.fleet.plugins.module_utils import _gates_run
from ansible_collections.sglang.fleet.plugins.module_utils._gates import GateError
from ansible_collections.sglang.fleet.plugins.modules import smoke_test
from tests.unit.plugins.module_utils.fixtures.chat_server import KEY, MODEL, chat_server

OPTIONS = yaml.safe_load(smoke_test.DOCUMENTATION)["options"]


class LeftError(Exception):
    """What AnsibleModule leaves with."""


class FakeModule:
    """With the documented defaults. shown: what each `systemctl show` says, the last again and again."""

    def __init__(self, params: dict[str, t.Any], shown: t.Sequence[str]) -> None:
        defaults = {name: option.get("default") for name, option in OPTIONS.items()}
        self.params = {**defaults, "address": "127.0.0.1", "model": MODEL, "unit": "sglang@0.service", **params}
        self._shown = list(shown)

    def run_command(self, words: list[str]) -> tuple[int, str, str]:
        if words[0] == "journalctl":
            return 0, "out of memory\n", ""
        return 0, self._shown.pop(0) if len(self._shown) > 1 else self._shown[0], ""

    def exit_json(self, **result: t.Any) -> t.NoReturn:
        raise LeftError(result)

    def fail_json(self, **result: t.Any) -> t.NoReturn:
        raise LeftError({"failed": True, **result})


def unit(state: str, restarts: int = 0) -> str:
    return f"ActiveState={state}\nNRestarts={restarts}\n"


def left(monkeypatch: pytest.MonkeyPatch, shown: t.Sequence[str] = (unit("active"),), **params: t.Any) -> t.Any:
    made: dict[str, t.Any] = {}

    def make(**words: t.Any) -> FakeModule:
        made.update(words)
        return FakeModule(params, shown)

    monkeypatch.setattr(smoke_test, "AnsibleModule", make)
    with pytest.raises(LeftError) as result:
        smoke_test.main()
    assert made["argument_spec"]["api_key"]["no_log"] is True
    return result.value.args[0]


def test_the_gates_on_offer_are_those_that_there_are() -> None:
    assert OPTIONS["gates"]["choices"] == list(_gates_run.GATES)


def test_a_server_that_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    with chat_server() as port:
        result = left(monkeypatch, port=port, api_key=KEY, gates=list(_gates_run.GATES), context_tokens=12000)
    assert result["changed"] is False
    assert [gate["gate"] for gate in result["gates"]] == list(_gates_run.GATES)
    assert all(gate["passed"] for gate in result["gates"])
    assert "a prompt of 11" in result["gates"][-1]["evidence"]


def test_health_is_always_a_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    with chat_server() as port:
        result = left(monkeypatch, port=port, api_key=KEY, gates=["chat"], startup_seconds=5, budgets={"chat": 7})
    assert [(gate["gate"], gate["budget_seconds"]) for gate in result["gates"]] == [("health", 65), ("chat", 7)]


def test_every_failed_gate_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with chat_server("arguments cut in streaming") as port:
        gates = ["tools", "tools_stream", "tools_parallel"]
        result = left(monkeypatch, port=port, api_key=KEY, gates=gates)
    said = """the arguments of get_weather are not JSON: '{"city": "Paris'"""
    assert result["msg"] == (
        f"sglang@0.service at http://127.0.0.1:{port}: gate tools_stream failed: {said}; "
        f"gate tools_parallel failed: {said}"
    )
    assert [gate["passed"] for gate in result["gates"]] == [True, True, False, False]


@pytest.mark.parametrize(
    ("params", "gate", "evidence"),
    [
        ({"min_tokens_per_second": 15.0}, "stream", "a second, wanted 15"),
        ({"first_token_seconds": 0.05}, "stream", "wanted it within 0.05 s"),
        ({"max_tokens": 2}, "chat", "finish_reason length, wanted stop"),
        ({"request_seconds": 0}, "models", "/v1/models answered nothing (no answer within 0.0 s), wanted 200"),
    ],
)
def test_what_the_operator_wants_reaches_the_gates(
    monkeypatch: pytest.MonkeyPatch, params: dict[str, t.Any], gate: str, evidence: str
) -> None:
    with chat_server("slow tokens") as port:
        result = left(monkeypatch, port=port, api_key=KEY, **params)
    (failed,) = (found for found in result["gates"] if not found["passed"])
    assert failed["gate"] == gate
    assert evidence in failed["evidence"]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"budgets": {"chatt": 3}}, "sglang@0.service: there is no gate chatt: known are health, auth"),
        ({"gates": ["auth"]}, "sglang@0.service: the gate auth needs an api_key"),
    ],
)
def test_a_wrong_choice_is_told(monkeypatch: pytest.MonkeyPatch, params: dict[str, t.Any], message: str) -> None:
    result = left(monkeypatch, port=9, **params)
    assert result["failed"]
    assert result["msg"].startswith(message)


@pytest.mark.parametrize(
    ("shown", "message"),
    [
        ([unit("inactive")], "sglang@0.service is inactive: not deployed, or stopped. Run playbooks/deploy.yml"),
        ([unit("failed")], "sglang@0.service is failed. The end of its journal:\nout of memory"),
        (
            [unit("active", 3), unit("active", 4), unit("activating", 5)],
            "sglang@0.service ended 2 times while it was awaited. The end of its journal:\nout of memory",
        ),
    ],
)
def test_a_crash_ends_the_wait(monkeypatch: pytest.MonkeyPatch, shown: list[str], message: str) -> None:
    monkeypatch.setattr(smoke_test.time, "sleep", lambda _seconds: None)
    result = left(monkeypatch, shown, port=9)
    assert result["msg"] == f"sglang@0.service at http://127.0.0.1:9: gate health failed: {message}"


def test_the_wait_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    result = left(monkeypatch, port=9, startup_seconds=0)
    assert "gate health failed: after 0 s /health answers nothing" in result["msg"]
    assert "raise smoke_test_startup_seconds. Its last words: out of memory" in result["msg"]


def test_one_question_about_health_does_not_hold_up_the_wait() -> None:
    asked: list[t.Any] = []

    class Api:
        def call(self, path: str, **more: t.Any) -> t.Any:
            asked.append((path, more))
            raise GateError("asked")

    with pytest.raises(GateError):
        smoke_test.wait(Api(), None, 0)
    assert asked == [("/health", {"seconds": smoke_test.HEALTH_SECONDS})]
