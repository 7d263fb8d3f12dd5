# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._lock import make_lock, plan_entry
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import Wishes, facts_for
from ansible_collections.sglang.fleet.plugins.module_utils._plan_lock import with_lock
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import PlanError
from ansible_collections.sglang.fleet.plugins.module_utils._planner import Plan, make_plan
from tests.unit.plugins.module_utils.test__lock import IMAGES, MODELS, A, B, C

CATALOGUE = load_catalogue()
REVISION = "d" * 40


def plan(gpu: str = "H200", count: int = 8, **wishes: t.Any) -> Plan:
    return make_plan(CATALOGUE, facts_for(CATALOGUE, gpu, count), Wishes(**wishes))


def lock(of: Plan, models: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
    entry = plan_entry(of.to_dict())
    images = {entry["image"]: next(iter(IMAGES.values()))}
    return make_lock(images, MODELS if models is None else models, [entry])


def held(of: Plan, content: dict[str, t.Any], weights: str = "auto", **gpu: t.Any) -> Plan:
    return with_lock(of, content, CATALOGUE, gpu, weights)


def test_locked_weights_are_the_only_ones() -> None:
    bare = plan(layout="2x4", address="10.0.0.7", extra_args={"schedule-policy": "lpm"})
    locked = held(bare, lock(bare))
    assert locked.lock is not None
    assert locked.lock["weights"]["revision"] == REVISION
    assert locked.reasons[-2:] == [
        f"image locked at {A}",
        f"weights locked at revision {REVISION}, 2 files",
    ]
    for before, after in zip(bare.instances, locked.instances, strict=True):
        assert after.args[:4] == ["--model-path", "MiniMaxAI/MiniMax-M2.7", "--revision", REVISION]
        assert [word for word in after.args if word not in ("--revision", REVISION)] == before.args
        assert after.server_args == {**before.server_args, "revision": REVISION}
        assert f"--revision {REVISION}" in after.command_line
        assert after.environment == {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": "/root/.cache/huggingface/hub"}
        assert after.container_options == [
            *before.container_options,
            "--env=HF_HUB_OFFLINE=1",
            "--env=HF_HUB_CACHE=/root/.cache/huggingface/hub",
        ]
    assert (bare.lock, bare.instances[0].environment) == (None, {})


def test_a_locked_plan_has_the_entry_that_it_was_locked_by() -> None:
    bare = plan()
    assert plan_entry(held(bare, lock(bare)).to_dict()) == plan_entry(bare.to_dict())


def test_weights_that_are_the_servers_own() -> None:
    bare = plan()
    locked = held(bare, lock(bare), "server")
    assert locked.lock is not None
    assert locked.lock["weights"] is None
    assert (locked.instances, locked.warnings) == (bare.instances, bare.warnings)


def test_a_lock_without_the_weights_is_told_of() -> None:
    bare = plan()
    locked = held(bare, lock(bare, {}))
    assert locked.instances == bare.instances
    assert [(one.id, one.severity, one.message) for one in locked.warnings if one not in bare.warnings] == [
        (
            "weights-not-locked",
            "warn",
            "the lock has no weights of MiniMaxAI/MiniMax-M2.7, so that the server downloads what the hub has when it "
            "starts: run sglang-fleet lock, or set fleet_weights to server",
        )
    ]


def test_a_folder_is_nobodys_to_lock() -> None:
    bare = replace(plan(), model_path="/models/MiniMax-M2.7")
    assert held(bare, lock(bare, {})).warnings == bare.warnings


@pytest.mark.parametrize(
    ("gpu", "facts", "ids"),
    [
        ("H200", {}, [C, B, A]),
        ("H200", {"architecture": "arm64"}, [B, C, A]),
        ("GB300", {}, [B, C, A]),
        ("GB300", {"architecture": "amd64"}, [C, B, A]),  # as the lab's node
        ("GB300", {"architecture": ""}, [B, C, A]),
    ],
)
def test_the_image_is_that_of_the_hosts_architecture(gpu: str, facts: dict[str, str], ids: list[str]) -> None:
    bare = plan(gpu, 4)
    locked = held(bare, lock(bare), **facts).lock
    assert locked is not None
    assert locked["image"]["ids"] == ids


def test_another_plan_is_refused_by_the_rule() -> None:
    with pytest.raises(PlanError, match="layout 2x4, locked 1x8") as caught:
        held(plan(layout="2x4"), lock(plan()))
    assert caught.value.rule == "lock"


def test_a_revision_of_the_operators_own() -> None:
    same = plan(extra_args={"revision": REVISION})
    assert held(same, lock(plan())).instances[0].server_args["revision"] == REVISION
    with pytest.raises(PlanError) as caught:
        held(plan(extra_args={"revision": "v2"}), lock(plan()))
    assert (caught.value.rule, str(caught.value)) == (
        "lock",
        f"fleet_server_args.revision is v2, and the lock has {REVISION}: take it away, or run sglang-fleet lock",
    )
