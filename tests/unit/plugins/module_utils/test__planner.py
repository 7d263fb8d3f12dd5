# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whole plans: what the published generators say, what is warned of, what is refused."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import Catalogue, load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._known_issues import Warn
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import Wishes, facts_for
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import PlanError
from ansible_collections.sglang.fleet.plugins.module_utils._planner import Plan, check_driver, make_plan

CATALOGUE = load_catalogue()
WEIGHTS = "/var/lib/sglang-fleet/huggingface"


def plan_for(gpu: str, count: int, catalogue: Catalogue = CATALOGUE, **wishes: t.Any) -> Plan:
    return make_plan(catalogue, facts_for(catalogue, gpu, count), Wishes(**wishes))


def plan_of(facts: dict[str, t.Any], **wishes: t.Any) -> Plan:
    return make_plan(CATALOGUE, facts, Wishes(**wishes))


def refusal(call: t.Callable[[], t.Any]) -> tuple[str | None, str]:
    with pytest.raises(PlanError) as caught:
        call()
    return caught.value.rule, str(caught.value)


def warned(plan: Plan, name: str) -> Warn | None:
    found = [warning for warning in plan.warnings if warning.id == name]
    assert len(found) < 2
    return found[0] if found else None


# The published command generators: model, GPU, GPUs, flags of parallelism, image. Every combination that they offer.
HUB = "lmsysorg/sglang"
AMD_FLAGS = "--kv-cache-dtype fp8_e4m3 --attention-backend triton"
GENERATED: list[tuple[str, str, int, str, str]] = [
    *[("M2.7", gpu, 4, "--tp-size 4", "v0.5.10.post1") for gpu in ("A100", "H100", "H200", "B200", "GB200")],
    *[("M2.7", gpu, 8, "--tp-size 8 --ep-size 8", "v0.5.10.post1") for gpu in ("A100", "H100", "H200", "B200")],
    ("M2.7", "GB200", 2, "--tp-size 2", "v0.5.10.post1"),
    ("M2.7", "GB300", 2, "--tp-size 2", "v0.5.10.post1-cu130"),
    ("M2.7", "GB300", 4, "--tp-size 4", "v0.5.10.post1-cu130"),
    ("M2.7", "B300", 4, "--tp-size 4", "v0.5.10.post1-cu130"),
    ("M2.7", "B300", 8, "--tp-size 8 --ep-size 8", "v0.5.10.post1-cu130"),
    *[
        (model, gpu, count, f"--tp-size {count} --ep-size {count}", f"{version}-rocm720-mi{kind}x")
        for model, version in (("M2.7", "v0.5.10.post1"), ("M2.5", "v0.5.9"))
        for gpu, kind in (("MI300X", 30), ("MI325X", 30), ("MI355X", 35))
        for count in (2, 4, 8)
    ],
    *[("M2.5", gpu, 4, "--tp-size 4", "v0.5.9") for gpu in ("A100", "H100", "H200", "B200")],
    *[("M2.5", gpu, 8, "--tp-size 8 --ep-size 8", "v0.5.9") for gpu in ("A100", "H100", "H200", "B200")],
    *[
        (model, gpu, 4, "--tp-size 4", "v0.5.7-rocm700-mi30x")
        for model in ("M2", "M2.1")
        for gpu in ("MI300X", "MI325X")
    ],
]
#: What is set aside for the published command to come out as it is, and the plan of it without that.
SET_ASIDE = ("a100-fp8", "mi300x-tp4-decode-crash")


def test_the_table_has_every_count_that_a_generator_offers() -> None:
    speaks = {
        (model.aliases[0], gpu.name, count)
        for model in CATALOGUE.models.values()
        for gpu in CATALOGUE.gpus.values()
        if gpu.generator and gpu.image_class in model.images and (model.generator or model.generator_of_gpu)
        for count in (model.generator or gpu.generator).counts
    }
    # The pages speak of one A100 and one H100, and of GB200 for M2.7 alone; the memory variants are the catalogue's own.
    variants = {row for row in speaks if row[1] in ("A100-40GB", "H100-94GB")}
    assert speaks - variants == {row[:3] for row in GENERATED}


@pytest.mark.parametrize(
    ("tools", "thinking"), [(None, None), (True, True), (True, False), (False, True), (False, False)]
)
@pytest.mark.parametrize("layout", ["auto", "the count"])
@pytest.mark.parametrize(("model", "gpu", "count", "parallel", "image"), GENERATED)
def test_published_commands(
    model: str,
    gpu: str,
    count: int,
    parallel: str,
    image: str,
    layout: str,
    tools: bool | None,
    thinking: bool | None,
) -> None:
    plan = plan_for(
        gpu,
        count,
        model=model,
        layout="auto" if layout == "auto" else f"1x{count}",
        tool_call_parser=tools,
        reasoning_parser=thinking,
        allow_known_issues=SET_ASIDE,
    )
    on_by_default = model == "M2.7"
    words = [
        f"python3 -m sglang.launch_server --model-path MiniMaxAI/MiniMax-{model} {parallel}",
        "--tool-call-parser minimax-m2" if (on_by_default if tools is None else tools) else "",
        "--reasoning-parser minimax-append-think" if (on_by_default if thinking is None else thinking) else "",
        "--trust-remote-code --mem-fraction-static 0.85",
        AMD_FLAGS if gpu.startswith("MI") and model in ("M2.5", "M2.7") else "",
        "--host 127.0.0.1 --port 30000",
    ]
    assert [one.command_line for one in plan.instances] == [" ".join(word for word in words if word)]
    assert plan.image["reference"] == f"{HUB}:{image}"
    assert (plan.model, plan.model_path) == (f"MiniMax-{model}", f"MiniMaxAI/MiniMax-{model}")
    assert (plan.idle_gpus, plan.instances[0].gpus) == ([], list(range(count)))
    assert plan.instances[0].environment == {}
    assert [patch["name"] for patch in plan.patches] == (
        ["transformers-module-name", "minimax-m2-torch-compile"] if model in ("M2", "M2.1") else []
    )
    assert not [warning for warning in plan.warnings if warning.id.startswith("unpublished")]


SM80 = (
    "the FP8 checkpoint fails on A100 and its kin (compute capability 8.0) with an fp8e4nv Triton error or an illegal memory "
    "access, at 4 and at 8 GPUs"
)


@pytest.mark.parametrize(
    ("gpu", "layout"),
    [
        *[(gpu, layout) for gpu in ("A100", "A800") for layout in ("auto", "1x4", "1x8")],
        *[(gpu, "auto") for gpu in ("A100-40GB", "A800-40GB")],
    ],
)
@pytest.mark.parametrize("model", ["M2", "M2.1", "M2.5", "M2.7"])
def test_a100_is_blocked_until_the_issue_is_set_aside(model: str, gpu: str, layout: str) -> None:
    assert refusal(lambda: plan_for(gpu, 8, model=model, layout=layout)) == (
        "known-issue",
        f"known issue a100-fp8: {SM80} (https://github.com/sgl-project/sglang/issues/18875); use another GPU, or add a100-fp8 "
        "to fleet_allow_known_issues to go on all the same",
    )
    plan = plan_for(gpu, 8, model=model, layout=layout, allow_known_issues=("a100-fp8",))
    assert warned(plan, "a100-fp8") == Warn(
        "a100-fp8",
        "override",
        f"set aside by fleet_allow_known_issues: {SM80}",
        "https://github.com/sgl-project/sglang/issues/18875",
    )


def test_four_mi300x_are_changed_until_the_issue_is_set_aside() -> None:
    plan = plan_for("MI300X", 4)
    assert plan.instances[0].command_line == (
        "python3 -m sglang.launch_server --model-path MiniMaxAI/MiniMax-M2.7 --tp-size 4 --ep-size 4 --tool-call-parser "
        "minimax-m2 --reasoning-parser minimax-append-think --trust-remote-code --mem-fraction-static 0.85 --kv-cache-dtype "
        "fp8_e4m3 --attention-backend aiter --disable-custom-all-reduce --host 127.0.0.1 --port 30000"
    )
    said = "decoding on 4 x MI300X with the published flags can crash or hang while /v1/models still answers 200"
    url = "https://github.com/sgl-project/sglang/issues/22714"
    name = "mi300x-tp4-decode-crash"
    assert warned(plan, name) == Warn(
        name,
        "change",
        f"{said}; the aiter attention backend without the custom all-reduce was stable, so the plan has --attention-backend "
        f"aiter --disable-custom-all-reduce; add {name} to fleet_allow_known_issues for the published flags",
        url,
    )
    aside = plan_for("MI300X", 4, allow_known_issues=(name,))
    assert warned(aside, name) == Warn(name, "override", f"set aside by fleet_allow_known_issues: {said}", url)
    assert aside.instances[0].server_args["attention-backend"] == "triton"
    assert "disable-custom-all-reduce" not in aside.instances[0].server_args


NOT_MET: list[tuple[str, int, dict[str, t.Any]]] = [
    ("MI300X", 8, {"layout": "1x8"}),
    ("MI300X", 2, {}),
    ("MI325X", 4, {}),
    ("MI308X", 4, {}),
    ("MI300X", 4, {"model": "M2.1"}),
    ("MI300X", 4, {"model": "M2.5"}),
    ("MI300X", 4, {"sglang_version": "0.5.9"}),
    ("MI300X", 4, {"extra_args": {"attention-backend": "aiter"}}),
]


@pytest.mark.parametrize(("gpu", "count", "wishes"), NOT_MET)
def test_only_four_mi300x_with_the_published_flags_are_changed(gpu: str, count: int, wishes: dict[str, t.Any]) -> None:
    plan = plan_for(gpu, count, **wishes)
    assert warned(plan, "mi300x-tp4-decode-crash") is None
    assert "disable-custom-all-reduce" not in plan.instances[0].server_args


def test_a_known_issue_of_ones_own_changes_arguments_and_environment() -> None:
    issue = {
        "severity": "change",
        "when": {"gpus": ["H200"], "gpus_per_instance": [8]},
        "message": "it is slow",
        "remedy": "another setting is fast",
        "source": "https://example.org/1",
        "change": {"server_args": {"schedule-policy": "lpm"}, "environment": {"NCCL_DEBUG": "WARN", "A": "b c"}},
    }
    catalogue = load_catalogue({"known_issues": {"slow": issue}})
    plan = plan_for("H200", 8, catalogue)
    assert plan.instances[0].environment == {"NCCL_DEBUG": "WARN", "A": "b c"}
    assert plan.instances[0].container_options[-2:] == ["--env=NCCL_DEBUG=WARN", "--env=A=b c"]
    assert plan.instances[0].server_args["schedule-policy"] == "lpm"
    assert list(plan.instances[0].server_args)[-2:] == ["host", "port"]
    assert warned(plan, "slow") == Warn(
        "slow",
        "change",
        "it is slow; another setting is fast, so the plan has --schedule-policy lpm NCCL_DEBUG=WARN A=b c; add slow to "
        "fleet_allow_known_issues for the published flags",
        "https://example.org/1",
    )
    aside = plan_for("H200", 8, catalogue, allow_known_issues=("slow",))
    assert (aside.instances[0].environment, "schedule-policy" in aside.instances[0].server_args) == ({}, False)
    assert warned(plan_for("H200", 8, catalogue, layout="2x4"), "slow") is None


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


# What each plan warns of, in order: id and severity.
LICENCE, TOOLS, VRAM = ("licence", "note"), ("streaming-tool-calls", "warn"), ("amd-vram-after-kill", "note")
ASSUMED, AHEAD = ("assumed-devices", "note"), ("small-headroom", "fit-unknown", "idle-gpus")
NO_DRIVER = {"driver": {"name": None, "version": None, "loaded": False}}
NO_VERSION = {"driver": {"name": "amdgpu", "version": None, "loaded": True}}
WARNINGS: list[tuple[str, int, dict[str, t.Any], dict[str, t.Any], list[tuple[str, str]]]] = [
    ("H200", 8, {}, {}, [LICENCE, TOOLS]),
    ("H200", 8, {}, {"tool_call_parser": False}, [LICENCE]),
    ("H200", 8, {}, {"model": "M2.5"}, [LICENCE]),
    ("MI300X", 8, {}, {}, [LICENCE, TOOLS, VRAM]),
    ("MI300X", 4, {}, {}, [LICENCE, ("mi300x-tp4-decode-crash", "change"), TOOLS, VRAM]),
    (
        "A100",
        8,
        {},
        {"allow_known_issues": ("a100-fp8", "streaming-tool-calls")},
        [LICENCE, ("a100-fp8", "override"), ("streaming-tool-calls", "override")],
    ),
    ("H200", 2, {}, {}, [LICENCE, ("kv-below-context", "warn"), TOOLS]),
    ("H200", 3, {}, {}, [LICENCE, ("kv-below-context", "warn"), ("idle-gpus", "warn"), TOOLS]),
    ("H200", 8, {}, {"mem_fraction_static": 0.97}, [LICENCE, ("small-headroom", "warn"), TOOLS]),
    ("H200", 8, {}, {"extra_args": {"quantization": "fp8"}}, [LICENCE, ("fit-unknown", "warn"), TOOLS]),
    ("H200", 8, {}, {"extra_args": {"quantization": None}}, [LICENCE, TOOLS]),
    ("H200", 8, {}, {"sglang_version": "0.5.9"}, [LICENCE, ("unpublished-version", "warn"), TOOLS]),
    ("H200", 8, {}, {"model": "M2"}, [LICENCE, ("unpublished-hardware", "warn")]),
    ("H20", 8, {}, {}, [LICENCE, ("unpublished-hardware", "note"), TOOLS]),
    ("MI308X", 8, {}, {}, [LICENCE, ("unpublished-hardware", "note"), TOOLS, VRAM]),
    ("MI300X", 8, NO_DRIVER, {}, [LICENCE, ("driver", "warn"), TOOLS, VRAM]),
    ("MI300X", 8, NO_VERSION, {}, [LICENCE, ("driver-version", "warn"), TOOLS, VRAM]),
    (
        "H200",
        8,
        {"unknown": [{"pci_address": "0000:c1:00.0", "pci_id": "1002:ffff"}]},
        {},
        [LICENCE, ("unknown-gpu", "warn"), TOOLS],
    ),
]


@pytest.mark.parametrize(("gpu", "count", "facts", "wishes", "ids"), WARNINGS)
def test_what_is_warned_of(
    gpu: str, count: int, facts: dict[str, t.Any], wishes: dict[str, t.Any], ids: list[tuple[str, str]]
) -> None:
    whole = {**facts_for(CATALOGUE, gpu, count), **facts}
    plan = make_plan(CATALOGUE, whole, Wishes(**wishes), require_driver=False)
    found = [(warning.id, warning.severity) for warning in plan.warnings]
    assert [row for row in found if row != ASSUMED] == ids
    # Of the node's own warnings it is the first.
    ahead = [row[0] for row in found[: found.index(ASSUMED)]]
    assert set(ahead) <= {"licence", "unpublished-hardware", "unpublished-version", "kv-below-context", *AHEAD}
    assert not {"licence", "kv-below-context", *AHEAD} & {row[0] for row in found[found.index(ASSUMED) :]}


def test_a_host_s_own_facts_are_not_assumed() -> None:
    facts = facts_for(CATALOGUE, "H200", 8)
    assert warned(plan_of(facts), "assumed-devices") == Warn(
        "assumed-devices",
        "note",
        "no host was asked: device nodes are the usual ones, and the numeric groups of a host's GPU devices are left out; a "
        "plan from a host's own facts has both",
    )
    del facts["assumed"]
    assert warned(plan_of(facts), "assumed-devices") is None


MESSAGES: list[tuple[str, int, dict[str, t.Any], str, str]] = [
    ("H200", 8, {}, "licence", "licence of MiniMax-M2.7: non-commercial without written authorisation"),
    ("H200", 8, {"model": "M2.5"}, "licence", "licence of MiniMax-M2.5: modified MIT"),
    (
        "H200",
        2,
        {},
        "kv-below-context",
        "the KV cache of an instance holds 88671 tokens, less than the context of 204800: longer requests are refused",
    ),
    (
        "H200",
        8,
        {"mem_fraction_static": 0.97},
        "small-headroom",
        "mem_fraction_static 0.97 leaves 4.1 GiB a GPU for activations, CUDA graphs and the request table; below 6 GiB the "
        "server may run out of memory under load: set fleet_mem_fraction_static lower",
    ),
    (
        "H200",
        8,
        {"sglang_version": "0.5.9"},
        "unpublished-version",
        "SGLang 0.5.9 is not the version published for MiniMax-M2.7 on H200 (0.5.10.post1)",
    ),
    (
        "H200",
        8,
        {"model": "M2"},
        "unpublished-hardware",
        "MiniMax-M2 is not published for H200: the plan follows the model's rules and the memory, on "
        "lmsysorg/sglang:v0.5.10.post1, the image for this hardware with SGLang 0.5.10.post1",
    ),
    (
        "B300",
        8,
        {"model": "M2.5"},
        "unpublished-hardware",
        "MiniMax-M2.5 is not published for B300: the plan follows the model's rules and the memory, on "
        "lmsysorg/sglang:v0.5.10.post1-cu130, the image for this hardware with SGLang 0.5.10.post1",
    ),
    (
        "H20",
        8,
        {},
        "unpublished-hardware",
        "no published command for MiniMax-M2.7 speaks of H20: the plan follows the model's rules and the memory, on the "
        "image of its kin",
    ),
    (
        "H200",
        8,
        {},
        "streaming-tool-calls",
        "tool calls of streamed answers can be malformed; have clients that use tools ask for whole answers (stream false)",
    ),
]


@pytest.mark.parametrize(("gpu", "count", "wishes", "name", "message"), MESSAGES)
def test_what_a_warning_says(gpu: str, count: int, wishes: dict[str, t.Any], name: str, message: str) -> None:
    found = warned(plan_for(gpu, count, **wishes), name)
    assert found is not None
    assert found.message == message


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


HOLDER = {"pid": 4711, "command": "python3", "container": None, "memory_mib": 5000, "gpus": [1, 2]}
HOLDERS: list[t.Any] = [
    pytest.param(
        {},
        "python3 (pid 4711) holds 5000 MiB of GPUs 1, 2: stop it before the server starts, which else has no room",
        id="host",
    ),
    pytest.param(
        {"container": "jupyter", "memory_mib": None},
        "python3 (pid 4711) holds memory of GPUs 1, 2: stop it before the server starts, which else has no room",
        id="container, no figure",
    ),
    pytest.param(
        {"gpus": [1, 7]},
        "python3 (pid 4711) holds 5000 MiB of GPU 1: stop it before the server starts, which else has no room",
        id="an idle GPU is not told",
    ),
    pytest.param({"gpus": [7]}, None, id="an idle GPU alone"),
    pytest.param({"container": "sglang-0"}, None, id="a server of ours"),
]


@pytest.mark.parametrize(("change", "message"), HOLDERS)
def test_who_holds_memory_of_the_gpus(change: dict[str, t.Any], message: str | None) -> None:
    facts = {**facts_for(CATALOGUE, "H200", 8), "holders": [{**HOLDER, **change}]}
    found = warned(plan_of(facts, layout="1x4"), "memory-held")
    assert found == (None if message is None else Warn("memory-held", "warn", message))


def test_gpus_that_the_runtime_does_not_see() -> None:
    hidden = [
        {"index": index, "pci_address": f"0000:0{index}:00.0", "reason": "not in the CDI file"} for index in (1, 6)
    ]
    facts = {**facts_for(CATALOGUE, "H200", 8), "hidden": hidden}
    plan = plan_of(facts, layout="1x4")
    assert warned(plan, "hidden-gpu") == Warn("hidden-gpu", "warn", "GPU 1 (0000:01:00.0): not in the CDI file")


def test_unknown_devices_beside_known_gpus() -> None:
    facts = {
        **facts_for(CATALOGUE, "H200", 8),
        "unknown": [{"pci_address": "0000:c1:00.0", "pci_id": "1002:ffff"}],
    }
    assert warned(plan_of(facts), "unknown-gpu") == Warn(
        "unknown-gpu", "warn", "0000:c1:00.0 (1002:ffff) looks like a GPU, is not in the catalogue and is not used"
    )


WISHES: list[tuple[dict[str, t.Any], str | None, str]] = [
    (
        {"model": "M3"},
        None,
        "unknown model M3: set fleet_model to one of MiniMax-M2, MiniMax-M2.1, MiniMax-M2.5, MiniMax-M2.7",
    ),
    ({"profile": "lax"}, None, "unknown profile lax: set fleet_profile to one of hardened, cookbook"),
    (
        {"context_length": 300000},
        "context",
        "fleet_context_length is 300000: MiniMax-M2.7 takes 1 to 204800 tokens; set it within that, or leave it out",
    ),
    (
        {"context_length": 0, "model": "M2.5"},
        "context",
        "fleet_context_length is 0: MiniMax-M2.5 takes 1 to 196608 tokens; set it within that, or leave it out",
    ),
    *[
        (
            {"mem_fraction_static": fraction},
            None,
            f"fleet_mem_fraction_static is {fraction:g}: set it above 0 and below 1, for example 0.85",
        )
        for fraction in (1.5, 1.0, 0.0, -0.5)
    ],
    (
        {"ep": 0},
        None,
        "fleet_ep is 0: set it to 1 for no expert parallelism, to a size that divides tp, or leave it out",
    ),
    (
        {"layout": "2x4", "port": 65535},
        None,
        "fleet_port is 65535: set it between 1024 and 65534 (the layout takes 2 ports from there on)",
    ),
    ({"layout": "1x8", "port": 1023}, None, "fleet_port is 1023: set it between 1024 and 65535"),
    (
        {"address": "256.0.0.1"},
        None,
        "fleet_address is '256.0.0.1': set it to an IP address of the host, such as 127.0.0.1, to 0.0.0.0 for all, or to a "
        "host name",
    ),
    (
        {"weights_dir": "weights"},
        None,
        "fleet_weights_dir is 'weights': set it to an absolute path of letters, digits and . _ @ + -, for example "
        "/var/lib/sglang-fleet/huggingface",
    ),
    (
        {"image": "lmsysorg/sglang"},
        None,
        "fleet_image is 'lmsysorg/sglang': set it to NAME:TAG or NAME@sha256:DIGEST, or leave it out for the published one",
    ),
    (
        {"extra_args": {"max-total-tokens": 8191}},
        "memory",
        "max-total-tokens 8191 is less than the 8192 tokens that are needed: set it to that or more in fleet_server_args, or "
        "leave it out",
    ),
    (
        {"extra_args": {"max-total-tokens": "10k"}, "layout": "2x4", "context_length": 20000},
        "memory",
        "max-total-tokens 10000 is less than the 20000 tokens that are needed: set it to that or more in fleet_server_args, "
        "or leave it out",
    ),
    (
        {"extra_args": {"api-key": "hunter2hunter2"}},
        "server-args",
        "fleet_server_args.api-key: the plan sets --api-key itself; use fleet_api_key instead",
    ),
    (
        {"extra_args": {"tp": 4}},
        "server-args",
        "fleet_server_args.tp: the plan sets --tp itself; use fleet_layout instead",
    ),
    (
        {"extra_args": {"log-level": {"a": 1}}},
        "server-args",
        "fleet_server_args.log-level is a dict: give a string, a number, true, or a list of strings and numbers",
    ),
    (
        {"allow_known_issues": ("a100",)},
        None,
        "fleet_allow_known_issues names a100: known are a100-fp8, mi300x-tp4-decode-crash, streaming-tool-calls, "
        "amd-vram-after-kill",
    ),
    (
        {"sglang_version": "0.5.8"},
        "image",
        "there is no image of SGLang 0.5.8 for H200 in the catalogue: set fleet_sglang_version to one of 0.5.9, "
        "0.5.10.post1, or add the image to fleet_catalogue (images)",
    ),
]


@pytest.mark.parametrize(("wishes", "rule", "message"), WISHES)
def test_wishes_that_give_no_plan(wishes: dict[str, t.Any], rule: str | None, message: str) -> None:
    assert refusal(lambda: plan_for("H200", 8, **wishes)) == (rule, message)


def test_the_first_and_last_ports_there_are() -> None:
    assert [one.port for one in plan_for("H200", 8, layout="2x4", port=1024).instances] == [1024, 1025]
    assert [one.port for one in plan_for("H200", 8, layout="1x8", port=65535).instances] == [65535]
    assert [one.port for one in plan_for("H200", 8, layout="2x4", port=65534).instances] == [65534, 65535]


@pytest.mark.parametrize(
    "extra", [{"no-such-option": 1}, {"schedule-policy": "fastest"}, {"log-requests": "yes"}, {"no-such-option": None}]
)
def test_extra_arguments_are_held_against_the_parser_s_list(extra: dict[str, t.Any]) -> None:
    rule, message = refusal(lambda: plan_for("H200", 8, extra_args=extra))
    assert rule == "server-args"
    assert message.startswith(f"fleet_server_args.{next(iter(extra))}")


def test_a_version_without_a_list_of_arguments_is_told() -> None:
    image = {**CATALOGUE.data["images"]["v0.5.10.post1"], "sglang_version": "0.5.99"}
    catalogue = load_catalogue({"images": {"v0.5.99": image}})
    wishes = {"sglang_version": "0.5.99", "extra_args": {"no-such-option": 1}}
    assert warned(plan_for("H200", 8, catalogue, **wishes), "unchecked-args") == Warn(
        "unchecked-args",
        "warn",
        "fleet_server_args was not checked: the catalogue has no list of the arguments of SGLang 0.5.99",
    )
    assert warned(plan_for("H200", 8, catalogue, sglang_version="0.5.99"), "unchecked-args") is None
    assert warned(plan_for("H200", 8, extra_args={"log-requests": True}), "unchecked-args") is None


def test_extra_arguments_add_change_and_take_away() -> None:
    plan = plan_for(
        "MI300X",
        2,
        extra_args={
            "attention-backend": "aiter",
            "kv-cache-dtype": False,
            "log-requests": True,
            "schedule-policy": "lpm",
        },
        enable_metrics=True,
        context_length=65536,
    )
    args = plan.instances[0].server_args
    assert args == {
        "model-path": "MiniMaxAI/MiniMax-M2.7",
        "tp-size": 2,
        "ep-size": 2,
        "tool-call-parser": "minimax-m2",
        "reasoning-parser": "minimax-append-think",
        "trust-remote-code": True,
        "mem-fraction-static": 0.85,
        "attention-backend": "aiter",
        "context-length": 65536,
        "enable-metrics": True,
        "log-requests": True,
        "schedule-policy": "lpm",
        "host": "127.0.0.1",
        "port": 30000,
    }
    assert list(args)[-2:] == ["host", "port"]


#: max-total-tokens as given, tokens that it means
LIMITS: list[tuple[t.Any, int]] = [
    (100_000, 100_000),
    ("100000", 100_000),
    ("100k", 100_000),
    ("96Ki", 98_304),
    ("0.5M", 500_000),
    ("\u00b2", 3_036_065),
    (10**9, 3_036_065),
    (None, 3_036_065),
]


@pytest.mark.parametrize(("given", "tokens"), LIMITS)
def test_the_server_s_own_limit_of_its_cache_counts(given: t.Any, tokens: int) -> None:
    image = {**CATALOGUE.data["images"]["v0.5.10.post1"], "sglang_version": "0.5.99"}
    catalogue = load_catalogue({"images": {"v0.5.99": image}})
    # A version without a list takes any value.
    plan = plan_for("H200", 8, catalogue, sglang_version="0.5.99", extra_args={"max-total-tokens": given})
    fit = plan.instances[0].fit
    assert fit["kv_tokens"] == tokens
    assert (warned(plan, "kv-below-context") is None) == (tokens >= 204800)
    names = ("reserved", "weights", "kv", "headroom")
    assert abs(sum(fit[f"{name}_gib_per_gpu"] for name in names) - fit["memory_gib_per_gpu"]) < 0.25


def test_memory_that_the_plan_cannot_reckon_with_is_told() -> None:
    extra = {"speculative-algorithm": "EAGLE", "quantization": "fp8", "cpu-offload-gb": None, "enable-lora": False}
    plan = plan_for("H200", 8, extra_args=extra)
    assert warned(plan, "fit-unknown") == Warn(
        "fit-unknown",
        "warn",
        "what weights and KV cache take with --quantization, --speculative-algorithm is not known: the memory figures are "
        "those without",
    )
    assert plan.instances[0].fit == plan_for("H200", 8).instances[0].fit


CATALOGUE_ARGS: list[tuple[dict[str, t.Any], str]] = [
    (
        {"models": {"M2.7": {"server_args": {"nvidia": {"no-such-option": 1}}}}},
        "no-such-option: SGLang 0.5.10.post1 does not know --no-such-option; remove it",
    ),
    (
        {"models": {"M2.7": {"server_args": {"nvidia": {"log-requests": "yes"}}}}},
        "log-requests: --log-requests takes no value; set it to true, or to false to leave it out",
    ),
    (
        {"known_issues": {"streaming-tool-calls": {"severity": "change", "change": {"server_args": {"quik": True}}}}},
        "quik: SGLang 0.5.10.post1 does not know --quik; remove it",
    ),
]


@pytest.mark.parametrize(("overrides", "said"), CATALOGUE_ARGS)
def test_the_catalogue_s_arguments_are_held_against_the_parser_s_list_too(
    overrides: dict[str, t.Any], said: str
) -> None:
    catalogue = load_catalogue(overrides)
    assert refusal(lambda: plan_for("H200", 8, catalogue)) == (
        "server-args",
        f"the catalogue gives MiniMax-M2.7 the server argument {said}",
    )


def test_an_argument_of_the_catalogue_that_is_false_is_left_out() -> None:
    catalogue = load_catalogue({"models": {"M2.7": {"server_args": {"amd": {"attention-backend": False}}}}})
    assert "attention-backend" not in plan_for("MI300X", 8, catalogue).instances[0].server_args


def test_the_profile_is_named_as_the_catalogue_has_it() -> None:
    catalogue = load_catalogue({"container_profiles": {"Site": CATALOGUE.data["container_profiles"]["hardened"]}})
    assert [plan_for("H200", 8, catalogue, profile=name).profile for name in ("COOKBOOK", "site", "Hardened")] == [
        "cookbook",
        "Site",
        "hardened",
    ]


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


def test_a_known_issue_of_a_compute_capability_meets_every_gpu_that_has_it() -> None:
    issue = {**CATALOGUE.data["known_issues"]["a100-fp8"], "when": {"compute_capabilities": ["9.0"]}}
    catalogue = load_catalogue({"known_issues": {"a100-fp8": issue}})
    # The issue still asks for the architecture; of the capabilities, 9.0 stands for 8.0 now.
    for gpu, capability in (("H200", "9.0"), ("H20", "9.0"), ("B200", "10.0"), ("A100", "8.0"), ("MI300X", None)):
        assert catalogue.gpus[gpu].compute_capability == capability
        if capability == "9.0":
            assert refusal(lambda gpu=gpu: plan_for(gpu, 8, catalogue))[0] == "known-issue"
        else:
            assert warned(plan_for(gpu, 8, catalogue), "a100-fp8") is None


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


# Drivers.
ABSENT = (
    "no amdgpu driver on the host: lmsysorg/sglang:v0.5.10.post1-rocm720-mi30x (ROCm 7.2) needs amdgpu 30.10 (module 6.14.14) "
    "or newer; install amdgpu 30.30"
)


def test_a_driver_that_is_missing() -> None:
    facts = {**facts_for(CATALOGUE, "MI300X", 8), **NO_DRIVER}
    assert refusal(lambda: plan_of(facts)) == ("driver", ABSENT)
    plan = make_plan(CATALOGUE, facts, Wishes(), require_driver=False)
    assert warned(plan, "driver") == Warn("driver", "warn", ABSENT)


def test_a_driver_without_a_version_is_a_warning() -> None:
    facts = {**facts_for(CATALOGUE, "MI300X", 8), **NO_VERSION}
    assert warned(plan_of(facts), "driver-version") == Warn(
        "driver-version",
        "warn",
        "the amdgpu driver tells no version (the kernel's own does not), so it was not compared with the amdgpu 30.10 (module "
        "6.14.14) that the image asks for",
    )


def test_gpus_without_device_nodes() -> None:
    facts = facts_for(CATALOGUE, "H200", 4)
    facts["devices"][2]["nodes"] = []
    said = "GPU 2 without a device node: the driver made none; look at the kernel log (dmesg) of the host"
    assert refusal(lambda: plan_of(facts)) == ("driver", said)
    assert warned(make_plan(CATALOGUE, facts, Wishes(), require_driver=False), "driver") == Warn("driver", "warn", said)
    # A GPU that stays idle needs none, nor does a container that sees all of /dev.
    assert warned(plan_of(facts, layout="1x2"), "driver") is None
    assert warned(plan_of(facts, profile="cookbook"), "driver") is None


def test_a_profile_that_asks_for_no_node_of_a_gpu_does_without() -> None:
    entry = CATALOGUE.data["container_profiles"]["hardened"]
    nvidia = entry["nvidia"]
    options = [option for option in nvidia["options"] if "{gpu_node}" not in option]
    assert len(options) < len(nvidia["options"])
    own = {**entry, "nvidia": {**nvidia, "options": options}}
    catalogue = load_catalogue({"container_profiles": {"own": own}})
    facts = facts_for(CATALOGUE, "H200", 4)
    for device in facts["devices"]:
        device["nodes"] = []
    plan = make_plan(catalogue, facts, Wishes(profile="own"))
    assert (plan.layout, warned(plan, "driver")) == ("1x4", None)


UNKNOWN = {"pci_address": "0000:01:00.0", "pci_id": "10de:ffff"}


@pytest.mark.parametrize("layout", ["2x4", "1x4", "1x8"])
def test_servers_that_see_every_gpu_are_refused_beside_unknown_ones(layout: str) -> None:
    facts = {**facts_for(CATALOGUE, "H200", 8), "unknown": [UNKNOWN]}
    assert refusal(lambda: plan_of(facts, profile="cookbook", layout=layout)) == (
        "gpus",
        "a server that sees every GPU takes its own by number, and the host has 10de:ffff at 0000:01:00.0 besides, which the "
        "catalogue does not know: the wrong GPUs could be taken; set fleet_profile to hardened, or take the others out of "
        "the host",
    )
    # What another vendor's driver drives is not counted.
    facts["unknown"] = [{**UNKNOWN, "pci_id": "1002:ffff"}]
    assert plan_of(facts, profile="cookbook", layout=layout).layout == layout


NVIDIA_12 = (
    "lmsysorg/sglang:v0.5.10.post1 (CUDA 12.9.1) needs NVIDIA 575 or newer, or the branch 535, 550, 560, 565 or 570"
)
NVIDIA_13 = (
    "lmsysorg/sglang:v0.5.10.post1-cu130 (CUDA 13.0) needs NVIDIA 580 or newer, or the branch 535, 550, 565, 570 or 575"
)
DRIVERS: list[tuple[str, str, str | None]] = [
    *[("v0.5.10.post1", version, None) for version in ("575.57.08", "580.65.06", "590.1", "570.148.08", "535.309.01")],
    *[
        ("v0.5.10.post1", version, f"the nvidia driver is {version}: {NVIDIA_12}; install NVIDIA 580")
        for version in ("525.60.13", "545.23.06", "555.42.02")
    ],
    *[("v0.5.10.post1-cu130", version, None) for version in ("580.65.06", "575.57.08", "565.1", "535.309.01")],
    *[
        ("v0.5.10.post1-cu130", version, f"the nvidia driver is {version}: {NVIDIA_13}; install NVIDIA 580")
        for version in ("560.35.03", "545.23.06", "525.60.13")
    ],
    *[("v0.5.7-rocm700-mi30x", version, None) for version in ("6.14.14", "6.16.6", "6.16.13", "7.0")],
    (
        "v0.5.7-rocm700-mi30x",
        "6.12.12",
        "the amdgpu driver is 6.12.12: lmsysorg/sglang:v0.5.7-rocm700-mi30x (ROCm 7.0) needs amdgpu 30.10 (module 6.14.14) or "
        "newer; install amdgpu 30.30",
    ),
]


@pytest.mark.parametrize(("image", "version", "message"), DRIVERS)
def test_driver_floor(image: str, version: str, message: str | None) -> None:
    driver = {"name": "x", "version": version, "loaded": True}
    assert check_driver(CATALOGUE.images[image], driver) == message


def test_driver_that_is_not_loaded() -> None:
    assert check_driver(CATALOGUE.images["v0.5.10.post1"], {"name": "nvidia", "version": None, "loaded": False}) == (
        "the nvidia driver is installed but not loaded: run `modprobe nvidia` or reboot the host"
    )


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (
            "570.133.20",
            ["driver 570.133.20 is left alone, though older than NVIDIA 575: the image's own list accepts branch 570"],
        ),
        ("580.95.05", []),
    ],
)
def test_plan_says_why_an_older_driver_is_left_alone(version: str, said: list[str]) -> None:
    facts = facts_for(CATALOGUE, "H200", 8)
    facts["driver"] = {**facts["driver"], "version": version}
    assert [reason for reason in make_plan(CATALOGUE, facts, Wishes()).reasons if "left alone" in reason] == said
