# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._plan_diff import (
    driver_text,
    gpu_range,
    plan_change,
    plan_lines,
)
from ansible_collections.sglang.fleet.plugins.module_utils._state import applied_state

Change = Callable[[dict[str, Any], dict[str, Any]], None]


def instance(name: str = "0", gpus: tuple[int, ...] = (0, 1, 2, 3), port: int = 30000) -> dict[str, Any]:
    return {
        "name": name,
        "gpus": list(gpus),
        "address": "127.0.0.1",
        "port": port,
        "tp": 4,
        "ep": 1,
        "args": [],
        "server_args": {
            "model-path": "MiniMaxAI/MiniMax-M2.7",
            "tp-size": 4,
            "trust-remote-code": True,
            "mem-fraction-static": 0.85,
            "host": "127.0.0.1",
            "port": port,
        },
        "environment": {"SGLANG_USE_AITER": "1"},
        "container_options": ["--network=host", f"--device=/dev/nvidia{gpus[0]}", "--label=v0.5.10.post1"],
        "command_line": "python3 -m sglang.launch_server",
        "fit": {"kv_tokens": 1000, "max_context": 900},
    }


def plan() -> dict[str, Any]:
    """Two instances of four GPUs each."""
    return {
        "model": "MiniMax-M2.7",
        "model_path": "MiniMaxAI/MiniMax-M2.7",
        "gpu": "H200",
        "count": 8,
        "layout": "2x4",
        "image": {"reference": "lmsysorg/sglang:v0.5.10.post1"},
        "patches": [{"name": "one"}],
        "instances": [instance(), instance("1", (4, 5, 6, 7), 30001)],
        "idle_gpus": [],
    }


def found(**other: Any) -> dict[str, Any]:
    """How server_facts finds an instance that is as it should be."""
    return {
        "unit": "active",
        "enabled": True,
        "needs_reload": False,
        "outdated": False,
        "answers": True,
        "address_problem": "",
        "port_holder": {},
        **other,
    }


def servers(applied: dict[str, Any] | None = None) -> dict[str, Any]:
    """A node on which a plan was applied that passed its gates."""
    applied = plan() if applied is None else applied
    image = {"reference": applied["image"]["reference"], "id": "sha256:1", "patched": ["one"]}
    return {
        "instances": {item["name"]: found() for item in applied["instances"]},
        "unplanned": [],
        "foreign_unit": False,
        "state": applied_state(applied, image, ["health", "chat"]),
    }


def both(change: Callable[[dict[str, Any]], None]) -> Change:
    """A difference in the plan of each instance."""

    def apply(planned: dict[str, Any], _node: dict[str, Any]) -> None:
        for item in planned["instances"]:
            change(item)

    return apply


def virgin(_planned: dict[str, Any], node: dict[str, Any]) -> None:
    node["state"] = {}
    node["instances"] = {name: found(unit="", enabled=False, answers=False) for name in node["instances"]}


def only_one(planned: dict[str, Any], node: dict[str, Any]) -> None:
    """The plan has one instance; two run."""
    del planned["instances"][1], node["instances"]["1"]
    node["unplanned"] = ["1"]


def one_more(_planned: dict[str, Any], node: dict[str, Any]) -> None:
    """Two instances are planned; one runs."""
    node["instances"]["1"] = found(unit="", enabled=False, answers=False)
    del node["state"]["instances"]["1"]


def other_image(planned: dict[str, Any], _node: dict[str, Any]) -> None:
    planned["image"]["reference"] = "lmsysorg/sglang:v0.5.11"
    for item in planned["instances"]:
        item["container_options"][-1] = "--label=v0.5.11"


def other_repository(planned: dict[str, Any], _node: dict[str, Any]) -> None:
    planned["image"]["reference"] = "mirror.example.com:5000/sglang:v0.5.10.post1"


def pinned(planned: dict[str, Any], _node: dict[str, Any]) -> None:
    planned["image"]["reference"] = "mirror.example.com:5000/sglang"


def other_digest(planned: dict[str, Any], node: dict[str, Any]) -> None:
    """The same reference, and another image."""
    planned["lock"] = {"image": {"digest": "sha256:" + "b" * 64}}
    node["state"]["image"]["digest"] = "sha256:" + "a" * 64


def same_digest(planned: dict[str, Any], node: dict[str, Any]) -> None:
    """What the lock gave counts more than what the engine called it."""
    other_digest(planned, node)
    node["state"]["lock"] = {"image_digest": "sha256:" + "b" * 64}


def unknown_digest(planned: dict[str, Any], node: dict[str, Any]) -> None:
    """An image that was applied without a digest, as one that was built on the node."""
    other_digest(planned, node)
    node["state"]["image"]["digest"] = None


def other_gpus(planned: dict[str, Any], _node: dict[str, Any]) -> None:
    planned["instances"][0]["gpus"] = [0, 2, 4, 6]
    planned["instances"][0]["container_options"][1] = "--device=/dev/nvidia2"


def older_record(_planned: dict[str, Any], node: dict[str, Any]) -> None:
    """As an older version wrote it: without what is newer in a plan."""
    for record in node["state"]["instances"].values():
        for key in ("environment", "args", "fit"):
            del record["plan"][key]


def one(**other: Any) -> Change:
    """The first instance is found otherwise."""
    return lambda _planned, node: node["instances"]["0"].update(other)


def unrecorded(_planned: dict[str, Any], node: dict[str, Any]) -> None:
    """As after a deploy that stopped at its gates."""
    node["state"]["instances"] = {}


ROWS: list[tuple[str, Change, str, str]] = [
    ("nothing", lambda _planned, _node: None, "none", "same"),
    ("virgin", virgin, "start", "new"),
    ("older record", older_record, "none", "same"),
    ("image", other_image, "restart", "restart: image v0.5.10.post1→v0.5.11"),
    (
        "repository",
        other_repository,
        "restart",
        "restart: image lmsysorg/sglang:v0.5.10.post1→mirror.example.com:5000/sglang:v0.5.10.post1",
    ),
    (
        "no tag",
        pinned,
        "restart",
        "restart: image lmsysorg/sglang:v0.5.10.post1→mirror.example.com:5000/sglang",
    ),
    ("digest", other_digest, "restart", "restart: image v0.5.10.post1 aaaaaaaaaaaa→bbbbbbbbbbbb"),
    ("same digest", same_digest, "none", "same"),
    ("unknown digest", unknown_digest, "none", "same"),
    (
        "patches",
        lambda planned, _node: planned.update(patches=[{"name": "two"}]),
        "restart",
        "restart: +patch two, −patch one",
    ),
    (
        "model",
        both(lambda item: item["server_args"].update({"model-path": "MiniMaxAI/MiniMax-M2.1"})),
        "restart",
        "restart: model MiniMax-M2.7→MiniMax-M2.1",
    ),
    (
        "flag",
        both(lambda item: item["server_args"].update({"enable-metrics": True})),
        "restart",
        "restart: +--enable-metrics",
    ),
    (
        "argument with a value",
        both(lambda item: item["server_args"].update({"context-length": 4096})),
        "restart",
        "restart: +--context-length 4096",
    ),
    (
        "argument gone",
        both(lambda item: item["server_args"].pop("trust-remote-code")),
        "restart",
        "restart: −--trust-remote-code",
    ),
    (
        "argument changed",
        both(lambda item: item["server_args"].update({"mem-fraction-static": 0.8})),
        "restart",
        "restart: --mem-fraction-static 0.85→0.8",
    ),
    (
        "address, told once",
        both(lambda item: (item.update(address="10.0.0.1"), item["server_args"].update(host="10.0.0.1"))),  # type: ignore[func-returns-value]
        "restart",
        "restart: address 127.0.0.1→10.0.0.1",
    ),
    (
        "port of one",
        lambda planned, _node: planned["instances"][1].update(port=30009),
        "restart",
        "restart instance 1: port 30001→30009",
    ),
    ("GPUs of one", other_gpus, "restart", "restart instance 0: GPUs 0-3→0,2,4,6"),
    (
        "environment",
        both(lambda item: item.update(environment={"A": "1"})),
        "restart",
        "restart: +A=1, −SGLANG_USE_AITER",
    ),
    (
        "environment changed",
        both(lambda item: item.update(environment={"SGLANG_USE_AITER": "0"})),
        "restart",
        "restart: SGLANG_USE_AITER 1→0",
    ),
    (
        "container options alone",
        both(lambda item: item["container_options"].append("--shm-size=64g")),
        "restart",
        "restart: container options",
    ),
    (
        "order of container options",
        both(lambda item: item["container_options"].reverse()),
        "none",
        "same",
    ),
    ("one less", only_one, "stop", "stop: instance 1"),
    ("one more", one_more, "start", "new: instance 1"),
    ("files newer", one(outdated=True), "restart", "restart instance 0: its files are newer than what runs"),
    ("stopped", one(unit="inactive", answers=False), "start", "start instance 0: not running (inactive)"),
    ("unit gone", one(unit="", answers=False), "start", "start instance 0: not running (no unit)"),
    ("mute", one(answers=False), "check", "check instance 0: runs, and does not answer"),
    ("starting", one(unit="activating", answers=False), "check", "check instance 0: runs, and does not answer"),
    ("untested", unrecorded, "check", "check: runs, and has no record of passing its gates"),
    (
        "port held",
        one(port_holder={"pid": 7, "command": "nginx"}, answers=False, unit="inactive"),
        "start",
        "start instance 0: not running (inactive); in the way: port 30000 is held by nginx (pid 7)",
    ),
    (
        "foreign unit",
        lambda _planned, node: node.update(foreign_unit=True),
        "none",
        "same; in the way: the unit sglang@.service is somebody else's",
    ),
    (
        "address of another",
        one(address_problem="10.9.9.9 is not an address of the host"),
        "none",
        "same; in the way: fleet_address: 10.9.9.9 is not an address of the host",
    ),
]


@pytest.mark.parametrize(("differ", "action", "summary"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_change(differ: Change, action: str, summary: str) -> None:
    planned, node = plan(), servers()
    differ(planned, node)
    before = copy.deepcopy((planned, node))
    change = plan_change(planned, node)
    assert (change["action"], change["summary"]) == (action, summary)
    assert (planned, node) == before, "it was given these to read"


def test_unknown_where_nobody_has_looked() -> None:
    change = plan_change(plan(), None)
    assert (change["action"], change["summary"]) == ("unknown", "what runs is not known")


def test_details_of_an_instance() -> None:
    planned, node = plan(), servers()
    planned["image"]["reference"] = "lmsysorg/sglang:v0.5.11"
    args = planned["instances"][0]["server_args"]
    args.update({"enable-metrics": True, "tp-size": 8})
    del args["trust-remote-code"]
    planned["instances"][0].update(gpus=list(range(8)), port=30005)
    changed = plan_change(planned, node)["instances"]["0"]
    assert changed == {
        "action": "restart",
        "why": [],
        "image": ["lmsysorg/sglang:v0.5.10.post1", "lmsysorg/sglang:v0.5.11"],
        "patches": None,
        "gpus": [[0, 1, 2, 3], [0, 1, 2, 3, 4, 5, 6, 7]],
        "address": None,
        "port": [30000, 30005],
        "args": {
            "added": {"enable-metrics": True},
            "removed": {"trust-remote-code": True},
            "changed": {"tp-size": [4, 8]},
        },
        "environment": {"added": {}, "removed": {}, "changed": {}},
        "container_options": {"added": [], "removed": []},
    }


def test_the_weightiest_action_is_the_nodes() -> None:
    planned, node = plan(), servers()
    only_one(planned, node)
    other_image(planned, node)
    change = plan_change(planned, node)
    assert change["action"] == "restart"
    assert change["summary"] == "restart instance 0: image v0.5.10.post1→v0.5.11; stop: instance 1"


def test_facts_from_before_another_layout() -> None:
    """From a cache: what was looked at is what an earlier plan had, one instance."""
    applied = {**plan(), "instances": [instance("0", tuple(range(8)))]}
    change = plan_change(plan(), servers(applied))
    assert change["instances"]["0"]["gpus"] == [list(range(8)), [0, 1, 2, 3]]
    assert change["instances"]["1"]["action"] == "start"


def test_what_the_cache_had_planned_is_stopped() -> None:
    planned = {**plan(), "instances": [instance()]}
    assert plan_change(planned, servers())["instances"]["1"]["action"] == "stop"


@pytest.mark.parametrize(
    ("gpus", "text"), [([], ""), ([3], "3"), ([0, 1, 2, 3], "0-3"), ([6, 0, 1, 4], "0-1,4,6"), ([1, 3], "1,3")]
)
def test_gpu_range(gpus: list[int], text: str) -> None:
    assert gpu_range(gpus) == text


def test_lines_of_a_plan() -> None:
    planned = {**plan(), "instances": [instance()], "idle_gpus": [4, 5, 6, 7], "layout": "1x4"}
    assert plan_lines(planned, plan_change(planned, {"state": {}})) == [
        "MiniMax-M2.7 on 8 x H200: layout 1x4, lmsysorg/sglang:v0.5.10.post1",
        "instance 0: GPUs 0-3, 127.0.0.1:30000, tp 4, ep 1, 1000 KV tokens, context up to 900",
        "idle: GPUs 4 to 7",
        "change: new",
    ]
    kept = {"action": "none", "reason": "NVIDIA 580.95.05 is left alone", "reboot_reasons": []}
    assert plan_lines(planned, plan_change(planned, {"state": {}}), kept)[-2:] == [
        "driver: keep: NVIDIA 580.95.05 is left alone",
        "change: new",
    ]


@pytest.mark.parametrize(
    ("driver", "text"),
    [
        ({"action": "none", "reason": "it does", "reboot_reasons": []}, "keep: it does"),
        (
            {"action": "none", "reason": "it does", "reboot_reasons": ["580 is installed and 570 is loaded"]},
            "keep: it does; reboot: 580 is installed and 570 is loaded",
        ),
        (
            {"action": "install", "reason": "there is none", "reboot_reasons": ["a", "b"]},
            "install: there is none; reboot: a; b",
        ),
        ({"action": "refused", "reason": "no room"}, "refused: no room"),
    ],
)
def test_driver_in_a_line(driver: dict[str, Any], text: str) -> None:
    assert driver_text(driver) == text
