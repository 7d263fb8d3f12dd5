# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host's part of a rollout."""

from __future__ import annotations

import typing as t

import pytest
import yaml

from ansible_collections.sglang.fleet.plugins.module_utils import _rolling
from ansible_collections.sglang.fleet.plugins.module_utils._rolling import RollingError
from ansible_collections.sglang.fleet.plugins.modules import rollout_stage

TWO = [
    {"name": "0", "gpus": [0, 1, 2, 3], "address": "10.0.0.7", "port": 30000, "tp": 4},
    {"name": "1", "gpus": [4, 5, 6, 7], "address": "10.0.0.7", "port": 30001, "tp": 4},
]
ONE = [{"name": "0", "gpus": [0, 1, 2, 3, 4, 5, 6, 7], "address": "10.0.0.7", "port": 30000, "tp": 8}]


def record(instances: t.Sequence[t.Mapping[str, t.Any]], **more: t.Any) -> dict[str, t.Any]:
    return {
        "model": "MiniMaxAI/MiniMax-M2.7",
        "image": {"reference": "lmsysorg/sglang:v0.5.7", "id": "sha256:1"},
        "patches": ["tidy"],
        "instances": {item["name"]: {"digest": "d", "plan": item} for item in instances},
        **more,
    }


@pytest.mark.parametrize(
    ("due", "instances", "state", "expected"),
    [
        ([], TWO, record(TWO), []),
        (["0", "1"], TWO, record(TWO), [["0"], ["1"]]),
        (["1"], TWO, record(TWO), [["1"]]),
        (["1", "0"], TWO, {"instances": {}, "last_good": record(TWO)}, [["0"], ["1"]]),
        (["0"], ONE, record(TWO), [["0"]]),
        (["0", "1"], TWO, record(ONE), [["0", "1"]]),  # the first one's GPUs are all of them
        (["1"], TWO, record([{**TWO[0], "port": 30005}, TWO[1]]), [["0", "1"]]),
        (["0", "1"], TWO, {}, [["0", "1"]]),
    ],
)
def test_batches(due: list[str], instances: t.Any, state: t.Any, expected: list[list[str]]) -> None:
    assert _rolling.batches(due, instances, state) == expected


def test_the_plan_of_a_record() -> None:
    plan = _rolling.state_plan(record(TWO, lock={"revision": "abc", "image_digest": "sha256:2"}))
    assert plan["instances"] == TWO
    assert plan["lock"] == {"weights": {"repository": "MiniMaxAI/MiniMax-M2.7", "revision": "abc"}}
    assert plan["patches"] == [{"name": "tidy"}]
    assert _rolling.state_plan({"instances": {}, "last_good": record(ONE)})["lock"] is None


@pytest.mark.parametrize("state", [{}, {"instances": {}}])
def test_nothing_to_go_back_to(state: dict[str, t.Any]) -> None:
    with pytest.raises(RollingError, match="nothing to go back to"):
        _rolling.state_plan(state)


def gpu(*holders: dict[str, t.Any], **used: int | None) -> dict[str, t.Any]:
    devices = [{"index": index, "memory_used_mib": used.get(f"gpu{index}", 283)} for index in range(8)]
    return {"devices": devices, "holders": list(holders)}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (gpu(), []),
        (gpu({"pid": 7, "command": "python3", "gpus": [4]}), []),  # the other instance serves
        (
            gpu({"pid": 7, "command": "python3", "gpus": [1, 2]}),
            [f"GPU {n} is held by python3 (pid 7)" for n in (1, 2)],
        ),
        (gpu(gpu3=90000), ["GPU 3 has 90000 MiB in use, and no process that holds them is to be seen"]),
        (gpu(gpu3=None, gpu5=90000), []),
    ],
)
def test_held(found: dict[str, t.Any], expected: list[str]) -> None:
    assert _rolling.held(found, TWO[:1]) == expected


def host(name: str, address: str, **more: t.Any) -> dict[str, t.Any]:
    plan = {"instances": [{**item, "address": address} for item in TWO]}
    return {"inventory_hostname": name, "ansible_facts": {"fleet_plan": plan}, **more}


@pytest.mark.parametrize(
    ("address", "more", "first"),
    [
        ("10.0.0.7", {}, "http://10.0.0.7:30000"),
        ("fd00::7", {}, "http://[fd00::7]:30000"),
        ("0.0.0.0", {"ansible_host": "10.1.1.1"}, "http://10.1.1.1:30000"),
        ("0.0.0.0", {}, "http://gpu-01:30000"),
        ("gpu-01.internal", {}, "http://gpu-01.internal:30000"),
        ("127.0.0.1", {"fleet_worker_address": "10.9.9.9"}, "http://10.9.9.9:30000"),
    ],
)
def test_where_a_gateway_reaches_a_server(address: str, more: dict[str, t.Any], first: str) -> None:
    workers = _rolling.gateway_workers(["gpu-01"], {"gpu-01": host("gpu-01", address, **more)})
    assert workers[0] == {"url": first, "host": "gpu-01", "instance": "0"}
    assert workers[1]["url"].endswith(":30001")


def test_every_host_that_no_gateway_reaches_is_told() -> None:
    variables = {"a": host("a", "127.0.0.1"), "b": {"inventory_hostname": "b"}, "c": host("c", "10.0.0.1")}
    with pytest.raises(RollingError) as refused:
        _rolling.gateway_workers(["a", "b", "c"], variables)
    text = str(refused.value)
    assert "a serves on 127.0.0.1, where no gateway reaches it" in text
    assert "b has no plan in this run" in text
    assert "c " not in text.replace("touched", "")
    assert text.count("where no gateway reaches it") == 1


def test_events() -> None:
    assert _rolling.stage_event("gpu-01", "0", "draining", "", 12.34567) == {
        "event": "stage",
        "host": "gpu-01",
        "instance": "0",
        "stage": "draining",
        "detail": "",
        "at": 12.346,
    }
    with pytest.raises(RollingError, match="dreaming is no stage of a rollout; there are waiting, out"):
        _rolling.stage_event("gpu-01", "0", "dreaming", "", 0)


GATE = {"gate": "chat", "passed": True, "evidence": "Hello", "seconds": 0.5, "budget_seconds": 120.0}


def test_events_of_gates() -> None:
    failed = {**GATE, "gate": "tools", "passed": False, "more": "not told"}
    assert _rolling.gate_events("gpu-01", {"0": [GATE, failed], "1": [GATE]}) == [
        {"event": "gate", "host": "gpu-01", "instance": "0", **GATE},
        {"event": "gate", "host": "gpu-01", "instance": "0", **GATE, "gate": "tools", "passed": False},
        {"event": "gate", "host": "gpu-01", "instance": "1", **GATE},
    ]
    assert _rolling.gate_events("gpu-01", {}) == []


@pytest.mark.parametrize("gates", [{"0": [{"gate": "chat"}]}, {"0": None}, ["0"]])
def test_what_is_no_result_of_a_gate(gates: t.Any) -> None:
    with pytest.raises(RollingError, match="gates has what is no result of a gate"):
        _rolling.gate_events("gpu-01", gates)


def test_the_documented_stages_are_those_that_there_are() -> None:
    assert yaml.safe_load(rollout_stage.DOCUMENTATION)["options"]["stage"]["choices"] == list(_rolling.STAGES)


def test_how_many_requests_are_in_flight_is_told_where_it_is_known() -> None:
    assert "running" not in _rolling.stage_event("gpu-01", "0", "draining", "", 0)
    assert _rolling.stage_event("gpu-01", "0", "draining", "", 0, 3)["running"] == 3


def test_a_skipped_gate_is_told_as_such() -> None:
    [event] = _rolling.gate_events("gpu-01", {"0": [{**GATE, "skipped": True}]})
    assert event["skipped"] is True


@pytest.mark.parametrize(
    ("requests", "seconds", "looks", "heard", "message"),
    [
        pytest.param([0], 600, [5], [], None, id="none"),
        pytest.param([3, 1, 0], 600, [5, 5, 5], [3, 1], None, id="in time"),
        pytest.param([3, 2], 7, [5, 2], [3], "http://a:1 still has 2 requests after 7 s. None was cut.", id="too late"),
        pytest.param([3], 0, [1], [], "http://a:1 still has 3 requests after 0 s. None was cut.", id="no time at all"),
    ],
)
def test_requests_come_to_their_end(
    requests: list[int], seconds: int, looks: list[int], heard: list[int], message: str | None
) -> None:
    asked: list[int] = []
    told: list[int] = []

    def look(part: int) -> dict[str, t.Any]:
        asked.append(part)
        left = requests[len(asked) - 1]
        return {"drained": left == 0, "requests": left, "url": "http://a:1"}

    found = _rolling.drain(look, told.append, seconds)
    assert (asked, told) == (looks, heard)
    assert found.get("failed", False) is (message is not None)
    assert str(found.get("msg", "")).startswith(message or "")


def test_a_server_that_does_not_tell_ends_the_wait() -> None:
    told: list[int] = []
    result = {"failed": True, "msg": "it does not tell its load"}
    assert _rolling.drain(lambda _part: result, told.append, 600) == result
    assert told == []
