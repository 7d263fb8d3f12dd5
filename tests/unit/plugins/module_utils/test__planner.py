# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whole plans: their sizes, which GPUs an instance gets, what they hold, why a plan is as it is."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._known_issues import Warn
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import facts_for
from tests.unit.plugins.module_utils.fixtures.plans import (
    CATALOGUE,
    plan_for,
    plan_of,
    refusal,
    warned,
)


def test_b200_with_eight_has_ep_8() -> None:
    plan = plan_for("B200", 8, layout="1x8")
    assert [(one.tp, one.ep) for one in plan.instances] == [(8, 8)]


def test_three_h200_are_never_one_server_of_three() -> None:
    plan = plan_for("H200", 3)
    assert (plan.layout, plan.idle_gpus, [one.gpus for one in plan.instances]) == ("1x2", [2], [[0, 1]])
    assert warned(plan, "idle-gpus") == Warn("idle-gpus", "warn", "GPU 2 of 3 idle with the layout 1x2")
    assert refusal(lambda: plan_for("H200", 3, layout="1x3"))[0] == "kv-heads"


def test_two_h100_are_refused_with_what_is_missing() -> None:
    rule, message = refusal(lambda: plan_for("H100", 2))
    assert rule == "memory"
    assert "(41.2 GiB missing on each, 82.3 GiB in all); it takes 4 x H100, the host has 2" in message


def test_eight_gpus_without_ep_are_refused() -> None:
    rule, message = refusal(lambda: plan_for("H200", 8, layout="1x8", ep=1))
    assert rule == "fp8-block"
    assert "rule fp8-block: 1536 / (tp 8 / ep 1) = 192 is not a multiple of the FP8 block size 128" in message


#: GPU, its MiB, GPUs, what MiniMax's guide says they hold in all
CAPACITIES: list[tuple[str, int, int, int]] = [
    *[("H20", memory_mib, 4, 400_000) for memory_mib in (91553, 97871, 98304)],
    *[("H200", memory_mib, 8, 3_000_000) for memory_mib in (137329, 143771)],
]


@pytest.mark.parametrize(("gpu", "memory_mib", "count", "tokens"), CAPACITIES)
def test_published_capacities_within_15_percent(gpu: str, memory_mib: int, count: int, tokens: int) -> None:
    plan = plan_of(facts_for(CATALOGUE, gpu, count, memory_mib), layout=f"1x{count}")
    assert abs(plan.instances[0].fit["kv_tokens"] - tokens) / tokens < 0.15
    assert plan.memory_mib == memory_mib


def test_the_cache_type_in_force_is_the_one_that_is_reckoned_with() -> None:
    def tokens(**extra: t.Any) -> int | float:
        plan = plan_for("MI300X", 2, extra_args=extra)
        return plan.instances[0].fit["kv_tokens"]

    half = tokens(**{"kv-cache-dtype": "auto"})
    assert abs(tokens() - 2 * half) <= 1
    assert tokens(**{"kv-cache-dtype": False}) == half


def test_several_instances_have_their_own_gpus_and_ports() -> None:
    plan = plan_for("H200", 8, layout="2x4", port=31000, address="10.0.0.5")
    assert [(one.name, one.gpus, one.port, one.address) for one in plan.instances] == [
        ("0", [0, 1, 2, 3], 31000, "10.0.0.5"),
        ("1", [4, 5, 6, 7], 31001, "10.0.0.5"),
    ]
    assert plan.instances[1].server_args["port"] == 31001
    assert plan.instances[1].args[-4:] == ["--host", "10.0.0.5", "--port", "31001"]
    assert "base-gpu-id" not in plan.instances[1].server_args
    assert '--gpus="device=4,5,6,7"' in plan.instances[1].container_options
    assert (plan.idle_gpus, warned(plan, "idle-gpus")) == ([], None)


def test_gpus_of_an_instance_follow_links_and_numa_nodes() -> None:
    facts = facts_for(CATALOGUE, "H200", 8)
    for device in facts["devices"]:
        device["numa_node"] = device["index"] % 2
        device["links"] = [index for index in range(8) if index != device["index"]]
    plan = plan_of(facts, layout="2x4")
    assert [one.gpus for one in plan.instances] == [[0, 2, 4, 6], [1, 3, 5, 7]]
    assert plan.reasons[-1] == (
        "GPUs by their links and NUMA nodes: instance 0 has GPUs 0, 2, 4, 6; instance 1 has GPUs 1, 3, 5, 7"
    )
    assert '--gpus="device=1,3,5,7"' in plan.instances[1].container_options
    assert "--device=/dev/nvidia7" in plan.instances[1].container_options
    # A server that sees all GPUs is told its first: it takes those that follow.
    cookbook = plan_of(facts, layout="2x4", profile="cookbook")
    assert [(one.gpus, one.server_args.get("base-gpu-id")) for one in cookbook.instances] == [
        ([0, 1, 2, 3], None),
        ([4, 5, 6, 7], 4),
    ]
    assert cookbook.instances[1].args[-6:] == ["--base-gpu-id", "4", "--host", "127.0.0.1", "--port", "30001"]
    assert not [reason for reason in cookbook.reasons if reason.startswith("GPUs by their links")]


def test_an_idle_gpu_is_not_one_of_the_linked_pair() -> None:
    facts = facts_for(CATALOGUE, "H200", 3)
    facts["devices"][1]["links"], facts["devices"][2]["links"] = [2], [1]
    plan = plan_of(facts)
    assert ([one.gpus for one in plan.instances], plan.idle_gpus) == ([[1, 2]], [0])
    assert warned(plan, "idle-gpus") == Warn("idle-gpus", "warn", "GPU 0 of 3 idle with the layout 1x2")
    assert plan.reasons[-1] == "GPUs by their links and NUMA nodes: instance 0 has GPUs 1, 2"


IDLE: list[tuple[str, int, str, str | None]] = [
    ("MI300X", 8, "auto", None),
    ("MI300X", 8, "4x2", None),
    ("MI300X", 8, "1x2", "GPUs 2 to 7 of 8 idle with the layout 1x2; fleet_layout 1x8 would use 8"),
    ("MI300X", 3, "1x2", "GPU 2 of 3 idle with the layout 1x2"),
    ("MI300X", 4, "1x2", "GPUs 2, 3 of 4 idle with the layout 1x2; fleet_layout 1x4 would use 4"),
    ("H200", 7, "auto", "GPUs 4 to 6 of 7 idle with the layout 1x4; fleet_layout 3x2 would use 6"),
    ("H200", 8, "3x2", "GPUs 6, 7 of 8 idle with the layout 3x2; fleet_layout 1x8 would use 8"),
    ("H100", 7, "1x4", "GPUs 4 to 6 of 7 idle with the layout 1x4"),
]


@pytest.mark.parametrize(("gpu", "count", "layout", "message"), IDLE)
def test_idle_gpus_are_named(gpu: str, count: int, layout: str, message: str | None) -> None:
    plan = plan_for(gpu, count, layout=layout)
    found = warned(plan, "idle-gpus")
    assert (found and found.message) == message
    used = {index for one in plan.instances for index in one.gpus}
    assert plan.idle_gpus == sorted(set(range(count)) - used)


def test_unpublished_hardware_keeps_the_model_s_own_rules() -> None:
    """M2 on NVIDIA: no published command, so ep only where the FP8 blocks ask for it."""
    assert [(one.tp, one.ep) for one in plan_for("H200", 8, model="M2").instances] == [(8, 8)]
    assert [(one.tp, one.ep) for one in plan_for("H200", 8, model="M2", layout="2x4").instances] == [(4, 1), (4, 1)]
    assert plan_for("H200", 8, model="M2").patches == []


def test_another_version_brings_its_image_and_patches() -> None:
    plan = plan_for("MI300X", 4, sglang_version="0.5.7")
    assert plan.image["name"] == "v0.5.7-rocm700-mi30x"
    assert [patch["name"] for patch in plan.patches] == ["transformers-module-name", "minimax-m2-torch-compile"]
    assert plan.reasons[2] == (
        "image v0.5.7-rocm700-mi30x: the one for this hardware with the SGLang version asked for"
    )


DENSE = {
    key: value
    for key, value in CATALOGUE.data["architectures"]["minimax-m2"].items()
    if key not in ("experts", "moe_intermediate_size", "fp8_block_size", "tp_above_kv_heads_since")
}


def test_a_dense_model_takes_no_ep_and_more_ranks_than_kv_heads() -> None:
    model = {**CATALOGUE.data["models"]["MiniMax-M2.7"], "id": "me/dense", "aliases": [], "architecture": "dense"}
    model.update(ep_equals_tp_at={})
    catalogue = load_catalogue({"architectures": {"dense": DENSE}, "models": {"Dense": model}})
    assert [(one.tp, one.ep) for one in plan_for("H200", 8, catalogue, model="Dense").instances] == [(8, 1)]
    assert plan_for("H200", 16, catalogue, model="Dense", layout="1x16").instances[0].ep == 1
    assert refusal(lambda: plan_for("H200", 8, catalogue, model="Dense", layout="1x8", ep=2))[0] == "experts"


def test_a_model_without_a_generator_follows_the_rules_and_the_memory() -> None:
    model = {key: value for key, value in CATALOGUE.data["models"]["MiniMax-M2.7"].items() if key != "generator"}
    catalogue = load_catalogue({"models": {"Own": {**model, "id": "me/own", "aliases": []}}})
    plan = plan_for("H200", 8, catalogue, model="Own")
    assert plan.reasons[0].startswith("layout 1x8: no published command speaks of it; ")
    found = warned(plan, "unpublished-hardware")
    assert found is not None
    assert found.message.startswith("no published command for Own speaks of H200: ")


def test_a_context_that_is_asked_for_is_what_is_counted() -> None:
    fit = plan_for("H200", 2, context_length=65536).instances[0].fit
    assert (fit["kv_tokens"], fit["max_context"], fit["full_length_sequences"]) == (88671, 65536, 1)
    assert warned(plan_for("H200", 2, context_length=65536), "kv-below-context") is None


def test_another_image_keeps_all_else() -> None:
    mirror = "mirror.example:5000/sglang:v0.5.7-rocm700-mi30x"
    plan = plan_for("MI300X", 4, model="M2.1", image=mirror)
    assert plan.image == {
        "name": "v0.5.7-rocm700-mi30x",
        "reference": mirror,
        "sglang_version": "0.5.7",
        "source_root": "/sgl-workspace/sglang/python/sglang",
        "user_space": "ROCm 7.0",
    }
    assert len(plan.patches) == 2
    assert f"--label=sglang.fleet.reference={mirror}" in plan.instances[0].container_options
    assert plan.reasons[2] == f"image {mirror}: asked for"


REASONS: list[tuple[str, int, dict[str, t.Any], list[str]]] = [
    (
        "H200",
        8,
        {},
        [
            "layout 1x8: the published command for MiniMax-M2.7 on H200 with 8 GPUs",
            "ep 8: the published rule for MiniMax-M2.7 on nvidia with 8 GPUs",
            "image v0.5.10.post1: published for MiniMax-M2.7 on H200",
        ],
    ),
    (
        "H200",
        8,
        {"layout": "2x4", "ep": 2},
        [
            "layout 2x4: asked for; the published generator offers 4 GPUs an instance",
            "ep 2: asked for",
            "image v0.5.10.post1: published for MiniMax-M2.7 on H200",
        ],
    ),
    (
        "H200",
        8,
        {"model": "M2", "layout": "1x8"},
        [
            "layout 1x8: asked for; it follows the model's rules, the published generator offers nothing there",
            "ep 8: without it a GPU's slice of an expert is no whole number of FP8 blocks",
            "image v0.5.10.post1: the one for this hardware",
        ],
    ),
    (
        "MI300X",
        4,
        {"model": "M2"},
        [
            "layout 1x4: the published command for MiniMax-M2 on MI300X with 4 GPUs",
            "no ep: tp 4 needs none",
            "image v0.5.7-rocm700-mi30x: published for MiniMax-M2 on MI300X",
        ],
    ),
]


@pytest.mark.parametrize(("gpu", "count", "wishes", "reasons"), REASONS)
def test_a_sentence_for_each_choice(gpu: str, count: int, wishes: dict[str, t.Any], reasons: list[str]) -> None:
    assert plan_for(gpu, count, **wishes).reasons == reasons


def test_rules_lifted_by_a_newer_image() -> None:
    """An image of 0.5.11 lets tp exceed the KV heads, and skips the block check on ROCm."""
    image = {**CATALOGUE.data["images"]["v0.5.7-rocm700-mi30x"], "sglang_version": "0.5.11"}
    newer = load_catalogue({"images": {"new": image}, "models": {"M2.1": {"images": {"mi30x": "new"}}}})
    assert plan_for("MI300X", 8, newer, model="M2.1", layout="1x8").instances[0].ep == 1
    assert plan_for("MI300X", 16, newer, model="M2.1", layout="1x16").instances[0].tp == 16


def test_to_dict_is_plain_data() -> None:
    plan = plan_for("MI300X", 8, model="M2.1").to_dict()
    assert json.loads(json.dumps(plan)) == plan
    assert list(plan) == [
        "model",
        "model_path",
        "model_class",
        "gpu",
        "count",
        "vendor",
        "memory_mib",
        "image",
        "driver",
        "patches",
        "profile",
        "layout",
        "instances",
        "idle_gpus",
        "warnings",
        "reasons",
        "lock",
    ]
    assert list(plan["instances"][0]) == [
        "name",
        "gpus",
        "address",
        "port",
        "tp",
        "ep",
        "args",
        "server_args",
        "environment",
        "container_options",
        "command_line",
        "fit",
    ]
    assert {key: plan[key] for key in ("model", "model_path", "gpu", "count", "vendor", "memory_mib", "profile")} == {
        "model": "MiniMax-M2.1",
        "model_path": "MiniMaxAI/MiniMax-M2.1",
        "gpu": "MI300X",
        "count": 8,
        "vendor": "amd",
        "memory_mib": 196592,
        "profile": "hardened",
    }
    assert plan["warnings"][0] == {
        "id": "licence",
        "severity": "note",
        "message": "licence of MiniMax-M2.1: modified MIT",
        "url": None,
    }


# Patches.
OURS = {"name": "ours", "file": "a.py", "action": "comment_line", "line": "@x", "why": "w", "source": "s"}


def test_an_operators_patches_come_after_the_images() -> None:
    plan = plan_for("MI300X", 4, model="M2.1", patches=(OURS,))
    assert [patch["name"] for patch in plan.patches] == ["transformers-module-name", "minimax-m2-torch-compile", "ours"]
    assert plan.patches[-1] == OURS
    assert plan_for("H200", 8, patches=(OURS,)).patches == [OURS]


def test_an_operators_patch_that_is_not_right_is_refused() -> None:
    wrong = {**OURS, "name": "minimax-m2-torch-compile"}
    rule, text = refusal(lambda: plan_for("MI300X", 4, model="M2.1", patches=(wrong,)))
    assert rule is None
    assert text.startswith(
        "fleet_patches[0] has the name minimax-m2-torch-compile, which is that of a patch of the image's"
    )
