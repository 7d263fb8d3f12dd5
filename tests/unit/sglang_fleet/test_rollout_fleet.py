# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a look at a fleet comes to: capacity, waves, refusals, and a fleet's status."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sglang_fleet import rollout_status
from sglang_fleet.planning import FleetError
from sglang_fleet.rollout_drive import Desk
from sglang_fleet.rollout_fleet import KNOWN, Found, Looks, preview, restarts
from sglang_fleet.rollout_runner import Files
from sglang_fleet.rollout_status import look_now
from sglang_fleet.rollout_tables import show_preview, show_status


def instance(name: str, gpus: list[int], port: int = 30000) -> dict[str, Any]:
    return {"name": name, "gpus": gpus, "address": "0.0.0.0", "port": port}


ONE = [instance("0", list(range(8)))]
TWO = [instance("0", [0, 1, 2, 3]), instance("1", [4, 5, 6, 7], 30001)]


def state(instances: list[dict[str, Any]], version: str = "v0.5.7") -> dict[str, Any]:
    return {
        "model": "MiniMaxAI/MiniMax-M2.7",
        "image": {"reference": f"lmsysorg/sglang:{version}"},
        "instances": {item["name"]: {"plan": item} for item in instances},
    }


def host(
    name: str, now: list[dict[str, Any]] | None = None, then: list[dict[str, Any]] | None = None, **more: Any
) -> Found:
    now = ONE if now is None else now
    units = {item["name"]: {"unit": "active", "answers": True} for item in now}
    plan = {"gpu": "H200", "count": 8, "instances": now if then is None else then}
    change = {
        "action": "restart",
        "summary": "restart: image v0.5.7→v0.5.10.post1",
        "problems": [],
        "instances": {"0": {"action": "restart"}},
    }
    values = {"state": state(now) if now else {}, "plan": plan, "change": change, "units": units, **more}
    return Found(name, KNOWN, **values)


SAME = {"action": "none", "summary": "same", "problems": [], "instances": {"0": {"action": "none"}}}


def fleet(*hosts: Found) -> dict[str, Found]:
    return {one.name: one for one in hosts}


@pytest.mark.parametrize(
    ("found", "gpus", "together"),
    [
        (host("a"), (8,), False),
        (host("a", TWO), (4, 4), False),
        (host("a", TWO, ONE), (4, 4), True),
        (host("a", []), (), False),
        # What does not run is no capacity; what runs beside the plan is.
        (host("a", TWO, units={"0": {"unit": "failed"}, "1": {"unit": "active"}}), (4,), False),
        (host("a", TWO, ONE, units={"0": {"unit": "active"}}, unplanned=["1"]), (4, 4), True),
    ],
)
def test_capacity(found: Found, gpus: tuple[int, ...], together: bool) -> None:
    node = found.node()
    assert (node.gpus, node.together, node.kind) == (gpus, together, "8 x H200")


def test_hosts_that_stay_as_they_are_count_as_capacity_and_are_in_no_wave() -> None:
    found = preview(fleet(host("a"), host("b", change=SAME), host("c"), host("d")), "1,100%", "25%")
    assert found.waves == [["a"], ["c", "d"]]
    assert found.capacity() == (4, 32)
    assert [(one.wave, one.hosts, one.out.gpus) for one in found.moments] == [
        (1, ("a",), 8),
        (2, ("c",), 8),
        (2, ("d",), 8),
    ]
    assert found.to_dict()["hosts"]["b"] == {
        "wave": None,
        "action": "none",
        "summary": "same",
        "restart": False,
        "change": SAME,
    }


def test_an_outage_is_not_planned_by_itself() -> None:
    with pytest.raises(
        FleetError, match=r"^all that serves .* would be out while a changes: .*100%\. No host was touched$"
    ):
        preview(fleet(host("a")), "100%", None)
    assert preview(fleet(host("a")), "100%", "100%").waves == [["a"]]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            Found("b", "refused", error="8 x L4: no such GPU"),
            "b: 8 x L4: no such GPU. No host was touched. Put it right, or leave it out: -l 'all:!b'",
        ),
        (host("b", change={**SAME, "problems": ["port 30000 is held by nc (pid 7)"]}), "b: port 30000 is held by nc"),
    ],
)
def test_what_would_fail_later_is_refused_now(bad: Found, message: str) -> None:
    with pytest.raises(FleetError) as refused:
        preview(fleet(host("a"), bad), "1,100%", None)
    assert str(refused.value).startswith(message)


def test_unreachable_and_new_hosts_are_told() -> None:
    gone = Found("c", "unreachable", error="timed out")
    found = preview(fleet(host("a"), host("b", []), gone, host("d")), "100%", "50%")
    assert found.unreachable == ["c"]
    assert found.notes == [
        "c cannot be reached: left out of the rollout, and kept out of traffic until one reaches them",
        "b: nothing that has passed its gates is recorded there, so that there is nothing to go back to",
    ]
    with pytest.raises(FleetError, match=r"^no host can be reached: c: timed out$"):
        preview(fleet(gone), "100%", None)


def test_restarts() -> None:
    assert restarts({"instances": {"0": {"action": "none"}, "1": {"action": "start"}}})
    assert not restarts({"instances": {"0": {"action": "check"}}})
    assert not restarts(None)


def shown(show: Any, what: Any) -> str:
    console = Console(file=io.StringIO(), width=170, highlight=False, color_system=None)
    show(what, console)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_the_preview_of_people() -> None:
    text = shown(show_preview, preview(fleet(host("a", TWO), host("b", TWO, ONE), host("c")), "1,100%", "50%"))
    assert text.splitlines()[0] == "3 hosts to change, 0 to stay as they are; serving now: 5 servers, 24 GPUs"
    assert "1     a     2        one by one   restart: image v0.5.7→v0.5.10.post1" in text
    assert "2     b     2        all at once  restart: image v0.5.7→v0.5.10.post1" in text
    assert "1     1     1 server, 4 GPUs   17%      a" in text


def event(kind: str, name: str, action: str, play: str = "See what the nodes run", **result: Any) -> dict[str, Any]:
    return {"event": kind, "event_data": {"host": name, "task_action": action, "play": play, "res": result}}


def worker(name: str, number: str, **more: Any) -> dict[str, Any]:
    usual = {"url": f"http://{name}:3000{number}", "registered": True, "healthy": True, "in_flight": 2, "out": ""}
    return {**usual, "host": name, "instance": number, **more}


def test_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Looks()
    told = {"state": state(TWO), "units": {"0": {"unit": "active", "answers": True}}, "unplanned": ["1"]}
    for one in [
        event("runner_on_ok", "a", "set_fact", ansible_facts={"rollout_host": {**told, "passed": False}}),
        event("runner_on_ok", "b", "set_fact", ansible_facts={"rollout_host": told}),
        event("runner_on_unreachable", "c", "sglang.fleet.server_facts", msg="timed out"),
        event("runner_on_ok", "gw-1", "sglang.fleet.gateway_worker", "See what the gateways send on", workers=[
            worker("a", "0"), worker("a", "1"), worker("b", "0"), worker("b", "1", registered=False, out="rollout r1"),
        ]),
        event("runner_on_unreachable", "gw-2", "sglang.fleet.gateway_worker", "See what the gateways send on", msg="no route"),
    ]:  # fmt: skip
        looks(one)
    lock = {"outcome": "held", "age": 12.0, "lock": {"holder": "ada@one", "rollout_id": "r1"}}
    monkeypatch.setattr(rollout_status, "look", lambda *_args, **_more: looks)
    monkeypatch.setattr(rollout_status, "asker", lambda *_args: lambda _action, _variables: lock)
    desk = Desk(tmp_path, Files(tmp_path), print, lambda *_args: None)
    now = look_now(desk, None)
    assert now.exit_code() == 1
    assert [(one.name, one.traffic, one.serving, one.answering, one.in_flight) for one in now.hosts] == [
        ("a", "in", 2, 1, 4),
        ("b", "part", 2, 1, 4),
        ("c", "-", 0, 0, None),
    ]
    text = shown(show_status, now)
    assert "b     v0.5.7   MiniMax-M2.7  1/2      part     4         rollout r1" in text
    assert "what runs has not passed its gates; the version is that of what last did" in text
    assert "unreachable: timed out" in text
    assert "gateway gw-1: answers\ngateway gw-2: no route\n" in text
    assert "rollout r1 of ada@one is under way (last sign of life 12 s ago)" in text
    lock["stale"] = True
    assert "the controller of ada@one died 12 s ago in rollout r1: resume it there" in shown(show_status, now)
