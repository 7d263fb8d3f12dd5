# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._state import (
    applied_state,
    digest,
    gates_due,
    not_applied,
    previous_state,
    servers_due,
    without,
)

ZERO: dict[str, Any] = {"name": "0", "address": "127.0.0.1", "port": 30000, "tp": 4}
ONE: dict[str, Any] = {"name": "1", "address": "127.0.0.1", "port": 30001, "tp": 4}
UP = {"unit": "active", "outdated": False, "answers": True}
IMAGE = {"id": "sha256:aa", "reference": "lmsysorg/sglang:v1"}
PLAN = {
    "model": "MiniMax-M2.7",
    "model_path": "MiniMaxAI/MiniMax-M2.7",
    "patches": [{"name": "p", "why": "x"}],
    "instances": [ZERO, ONE],
}


@pytest.mark.parametrize(
    ("zero", "written", "due"),
    [
        pytest.param({}, [], [], id="as it should be"),
        pytest.param({}, ["/etc/sglang/1.env"], ["1"], id="one file written"),
        pytest.param({}, ["/etc/systemd/system/sglang@.service"], ["0", "1"], id="the unit written"),
        pytest.param({}, ["/var/lib/sglang-fleet/huggingface"], [], id="an unrelated folder made"),
        pytest.param({"outdated": True}, [], ["0"], id="older than its files"),
        pytest.param({"unit": "failed"}, [], ["0"], id="failed"),
        pytest.param({"unit": "inactive"}, [], ["0"], id="stopped"),
        pytest.param({"unit": ""}, [], ["0"], id="no unit"),
        pytest.param({"unit": "activating"}, [], [], id="about to start"),
    ],
)
def test_which_servers_must_start_anew(zero: dict[str, Any], written: list[str], due: list[str]) -> None:
    found = {"0": {**UP, **zero}, "1": UP}
    assert servers_due([ZERO, ONE], found, written, ["/etc/systemd/system/sglang@.service"]) == due


@pytest.mark.parametrize(
    ("change", "due"),
    [
        pytest.param({}, [], id="passed before"),
        pytest.param({"always": True}, ["0", "1"], id="always"),
        pytest.param({"started": ["1"]}, ["1"], id="started by this run"),
        pytest.param({"image_id": "sha256:bb"}, ["0", "1"], id="another image"),
        pytest.param({"zero": {**ZERO, "tp": 8}}, ["0"], id="another plan"),
        pytest.param({"up": {"answers": False}}, ["0"], id="no answer"),
        pytest.param({"state": {}}, ["0", "1"], id="no record"),
        pytest.param({"gates": ["health"]}, [], id="the gates that it passed"),
        pytest.param({"gates": ["health", "chat"]}, ["0", "1"], id="a gate that it has not passed"),
    ],
)
def test_which_servers_go_through_the_gates(change: dict[str, Any], due: list[str]) -> None:
    state = change.get("state", applied_state(PLAN, IMAGE, ["health"]))
    servers = {"instances": {"0": {**UP, **change.get("up", {})}, "1": UP}, "state": state}
    found = gates_due(
        [change.get("zero", ZERO), ONE],
        change.get("image_id", IMAGE["id"]),
        servers,
        change.get("started", []),
        change.get("always", False),
        change.get("gates", []),
    )
    assert [item["name"] for item in found] == due


@pytest.mark.parametrize(
    ("image", "one", "why"),
    [
        ({}, {}, ""),
        ({"reference": "lmsysorg/sglang:v2"}, {}, "it runs lmsysorg/sglang:v1, the plan has lmsysorg/sglang:v2"),
        ({}, {"tp": 8}, "instance 1 runs with other arguments, GPUs or ports than the plan's"),
        ({}, {"name": "2"}, "there is no record that instance 2 was applied and has passed its gates"),
    ],
)
def test_whether_the_plan_is_what_is_applied(image: dict[str, Any], one: dict[str, Any], why: str) -> None:
    state = applied_state(PLAN, IMAGE, ["health"])
    plan = {**PLAN, "image": {"reference": IMAGE["reference"], **image}, "instances": [ZERO, {**ONE, **one}]}
    assert not_applied(state, plan, ["0", str(plan["instances"][1]["name"])]) == why
    assert not_applied({}, plan, ["0"]) == "there is no record that instance 0 was applied and has passed its gates"


def test_without_facts_every_server_is_tested() -> None:
    assert gates_due([ZERO], None, {}) == [ZERO]


WEIGHTS = {"repository": "MiniMaxAI/MiniMax-M2.7", "revision": "a" * 40, "bytes": 1, "files": []}


@pytest.mark.parametrize(("weights", "revision"), [(WEIGHTS, "a" * 40), (None, None)])
def test_the_state_says_what_was_locked(weights: dict[str, Any] | None, revision: str | None) -> None:
    lock = {"sha256": "c" * 64, "image": {"digest": "sha256:dd", "ids": ["sha256:aa"]}, "weights": weights}
    state = applied_state({**PLAN, "lock": lock}, IMAGE, ["health"])
    assert (state["lock"]["image_digest"], state["lock"]["revision"]) == ("sha256:dd", revision)

    def named(**change: Any) -> Any:
        return applied_state({**PLAN, "lock": {**lock, **change}}, IMAGE, ["health"])["lock"]["sha256"]

    # Other hosts' part of the file is no other lock of this one; its own image or weights are.
    assert named(sha256="e" * 64) == state["lock"]["sha256"]
    assert named(image={"digest": "sha256:ee", "ids": []}) != state["lock"]["sha256"]
    assert named(weights={**WEIGHTS, "revision": "b" * 40}) != state["lock"]["sha256"]


@pytest.mark.parametrize("more", [{}, {"lock": None}])
def test_without_a_lock_the_state_has_none(more: dict[str, Any]) -> None:
    assert "lock" not in applied_state({**PLAN, **more}, IMAGE, ["health"])


def test_the_state_says_what_is_applied() -> None:
    state = applied_state(PLAN, IMAGE, ["health", "chat"])
    assert {key: state[key] for key in ("schema", "model", "image", "patches")} == {
        "schema": 1,
        "model": "MiniMaxAI/MiniMax-M2.7",
        "image": IMAGE,
        "patches": ["p"],
    }
    assert state["instances"]["1"] == {
        "digest": digest(ONE, "sha256:aa"),
        "gates": ["health", "chat"],
        "endpoint": "http://127.0.0.1:30001",
        "plan": ONE,
    }
    json.dumps(state)


def test_a_digest_does_not_depend_on_order() -> None:
    assert digest(dict(reversed(ZERO.items())), "x") == digest(ZERO, "x")


def test_what_starts_anew_has_no_record() -> None:
    state = applied_state(PLAN, IMAGE, ["health"])
    assert list(without(state, ["0"])["instances"]) == ["1"]
    assert without(state, []) == state
    assert without({}, ["0"]) == {}


def state_of(image: str, **digests: str) -> dict[str, Any]:
    """A record of instances and their digests."""
    instances = {name.lstrip("i"): {"digest": value, "gates": ["health"]} for name, value in digests.items()}
    return {"schema": 1, "image": {"id": image}, "instances": instances}


A, B, C = state_of("a", i0="1", i1="2"), state_of("b", i0="1", i1="2"), state_of("a", i0="3", i1="2")


@pytest.mark.parametrize(
    ("found", "new", "previous"),
    [
        pytest.param({}, A, {}, id="the first"),
        pytest.param(A, A, {}, id="the same again"),
        pytest.param(A, B, A, id="another image"),
        pytest.param(A, C, A, id="another plan"),
        pytest.param(A, state_of("a", i0="1"), A, id="an instance less"),
        pytest.param(without(A, ["0", "1"]), B, A, id="taken back before"),
        pytest.param(without(without(A, ["0"]), ["0", "1"]), B, A, id="taken back twice, for what came between failed"),
        pytest.param(without(A, ["0"]), A, {}, id="started anew as it was"),
        pytest.param({**A, "instances": {}, "image": {"id": "b"}}, A, {}, id="a record of old, taken back"),
    ],
)
def test_the_state_to_go_back_to(found: dict[str, Any], new: dict[str, Any], previous: dict[str, Any]) -> None:
    assert previous_state(found, new) == previous


def test_an_ipv6_endpoint_is_a_url() -> None:
    plan = {**PLAN, "instances": [{**ZERO, "address": "fd00::1"}]}
    assert applied_state(plan, IMAGE, [])["instances"]["0"]["endpoint"] == "http://[fd00::1]:30000"
