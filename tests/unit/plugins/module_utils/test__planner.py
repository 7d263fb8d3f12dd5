# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import Catalogue, load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._planner import (
    Plan,
    PlanError,
    Wishes,
    check_driver,
    command_line,
    expand_option,
    extra_arg_problem,
    facts_for,
    make_plan,
)

CATALOGUE = load_catalogue()
WEIGHTS = "/var/lib/sglang-fleet/huggingface"


def plan_for(gpu: str, count: int, catalogue: Catalogue = CATALOGUE, **wishes: t.Any) -> Plan:
    return make_plan(catalogue, facts_for(catalogue, gpu, count), Wishes(**wishes))


def failure(gpu: str, count: int, **wishes: t.Any) -> str:
    with pytest.raises(PlanError) as caught:
        plan_for(gpu, count, **wishes)
    return str(caught.value)


# The published command generators, one row a combination: model, GPU, GPUs, tp/ep flags, image.
AMD_FLAGS = "--kv-cache-dtype fp8_e4m3 --attention-backend triton"
MI30X = "lmsysorg/sglang:v0.5.10.post1-rocm720-mi30x"
MI35X = "lmsysorg/sglang:v0.5.10.post1-rocm720-mi35x"
CUDA = "lmsysorg/sglang:v0.5.10.post1"
CUDA13 = "lmsysorg/sglang:v0.5.10.post1-cu130"
PUBLISHED: list[tuple[str, str, int, str, str]] = [
    *[("M2.7", gpu, 4, "--tp-size 4", CUDA) for gpu in ("A100", "H100", "H200", "B200", "GB200")],
    *[("M2.7", gpu, 8, "--tp-size 8 --ep-size 8", CUDA) for gpu in ("A100", "H100", "H200", "B200")],
    ("M2.7", "GB200", 2, "--tp-size 2", CUDA),
    ("M2.7", "GB300", 2, "--tp-size 2", CUDA13),
    ("M2.7", "GB300", 4, "--tp-size 4", CUDA13),
    ("M2.7", "B300", 4, "--tp-size 4", CUDA13),
    ("M2.7", "B300", 8, "--tp-size 8 --ep-size 8", CUDA13),
    *[
        ("M2.7", gpu, count, f"--tp-size {count} --ep-size {count}", MI35X if gpu == "MI355X" else MI30X)
        for gpu in ("MI300X", "MI325X", "MI355X")
        for count in (2, 4, 8)
    ],
    *[("M2.5", gpu, 4, "--tp-size 4", "lmsysorg/sglang:v0.5.9") for gpu in ("A100", "H100", "H200", "B200")],
    *[
        ("M2.5", gpu, 8, "--tp-size 8 --ep-size 8", "lmsysorg/sglang:v0.5.9")
        for gpu in ("A100", "H100", "H200", "B200")
    ],
    *[
        (
            "M2.5",
            gpu,
            count,
            f"--tp-size {count} --ep-size {count}",
            f"lmsysorg/sglang:v0.5.9-rocm720-mi3{'5' if gpu == 'MI355X' else '0'}x",
        )
        for gpu in ("MI300X", "MI325X", "MI355X")
        for count in (2, 4, 8)
    ],
    *[
        (model, gpu, 4, "--tp-size 4", "lmsysorg/sglang:v0.5.7-rocm700-mi30x")
        for model in ("M2", "M2.1")
        for gpu in ("MI300X", "MI325X")
    ],
]


@pytest.mark.parametrize(
    ("tools", "thinking"), [(None, None), (True, True), (True, False), (False, True), (False, False)]
)
@pytest.mark.parametrize(("model", "gpu", "count", "parallel", "image"), PUBLISHED)
def test_published_commands(
    model: str, gpu: str, count: int, parallel: str, image: str, tools: bool | None, thinking: bool | None
) -> None:
    plan = plan_for(
        gpu,
        count,
        model=model,
        layout=f"1x{count}",
        tool_call_parser=tools,
        reasoning_parser=thinking,
        allow_known_issues=("a100-fp8",),
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
    assert plan.instances[0].command_line == " ".join(word for word in words if word)
    assert plan.image["reference"] == image
    assert plan.memory.fits is True
    patched = model in ("M2", "M2.1")
    assert [patch["name"] for patch in plan.patches] == (
        ["transformers-module-name", "minimax-m2-torch-compile"] if patched else []
    )


DEFAULTS: list[tuple[str, str, int, str]] = [
    *[("M2.7", gpu, 8, "1x2") for gpu in ("MI300X", "MI325X", "MI355X")],
    *[("M2.7", gpu, 8, "1x4") for gpu in ("A100", "H100")],
    *[("M2.7", gpu, 8, "1x8") for gpu in ("H200", "B200", "B300")],
    *[("M2.7", gpu, 4, "1x4") for gpu in ("GB200", "GB300")],
    ("M2.5", "MI300X", 8, "1x2"),
    ("M2.1", "MI300X", 8, "1x4"),
    ("M2", "MI325X", 4, "1x4"),
    # Fewer GPUs than the default: the most that are legal and fit.
    ("M2.7", "H200", 7, "1x4"),
    ("M2.7", "H200", 3, "1x2"),
    ("M2.7", "GB300", 3, "1x2"),
    ("M2.1", "MI300X", 3, "1x2"),
    ("M2.7", "MI355X", 1, "1x1"),
    # The default does not fit, more do.
    ("M2.7", "A100-40GB", 8, "1x8"),
    # Known, but in no published generator: the fewest that fit.
    ("M2.7", "MI308X", 8, "1x2"),
]


@pytest.mark.parametrize(("model", "gpu", "count", "layout"), DEFAULTS)
def test_auto_layout(model: str, gpu: str, count: int, layout: str) -> None:
    plan = plan_for(gpu, count, model=model, allow_known_issues=("a100-fp8",))
    assert f"{len(plan.instances)}x{plan.instances[0].tp}" == layout


def test_auto_layout_says_why() -> None:
    assert plan_for("H200", 8).notes[1] == "layout auto chose 1x8: the published default for M2.7 on H200"
    assert plan_for("H200", 3).notes[1] == "layout auto chose 1x2: the published default is 8, the node has 3"


def test_several_instances_have_their_own_gpus_and_ports() -> None:
    plan = plan_for("H200", 8, layout="2x4", port=31000, address="10.0.0.5")
    assert [(one.name, one.gpus, one.port, one.address) for one in plan.instances] == [
        ("0", [0, 1, 2, 3], 31000, "10.0.0.5"),
        ("1", [4, 5, 6, 7], 31001, "10.0.0.5"),
    ]
    assert plan.instances[1].server_args["port"] == 31001
    assert "base-gpu-id" not in plan.instances[1].server_args
    assert not [warning for warning in plan.warnings if "idle" in warning]


IDLE: list[tuple[str, int, str, str]] = [
    ("MI300X", 8, "auto", "GPUs 2 to 7 of 8 idle with the layout 1x2; set fleet_layout to 4x2 to use 8"),
    ("MI300X", 3, "1x2", "GPU 2 of 3 idle with the layout 1x2"),
    ("MI300X", 4, "1x2", "GPUs 2, 3 of 4 idle with the layout 1x2; set fleet_layout to 2x2 to use 4"),
]


@pytest.mark.parametrize(("gpu", "count", "layout", "warning"), IDLE)
def test_idle_gpus_are_named(gpu: str, count: int, layout: str, warning: str) -> None:
    assert warning in plan_for(gpu, count, layout=layout).warnings


FAILURES: list[tuple[str, int, dict[str, t.Any], str]] = [
    (
        "MI300X",
        3,
        {"layout": "1x3"},
        "MI300X x 3: tp 3 is not legal for M2.7: 8 KV heads and tp 3 do not divide one another; "
        "legal: 1, 2, 4, 8 (1 without the memory for it); set fleet_layout to 1x2",
    ),
    (
        "H200",
        8,
        {"layout": "1x5"},
        "H200 x 5: tp 5 is not legal for M2.7: 48 attention heads are not divisible by tp 5; "
        "legal: 1, 2, 4, 8 (1 without the memory for it); set fleet_layout to 1x8",
    ),
    (
        "MI300X",
        8,
        {"model": "M2.1", "layout": "1x8"},
        "MI300X x 8: tp 8 is not legal for M2.1: 1536 / (tp 8 / ep 1) = 192 is not a multiple of the FP8 block size 128; "
        "legal: 1, 2, 4 (1 without the memory for it); set fleet_layout to 2x4",
    ),
    (
        "H200",
        16,
        {"layout": "1x16"},
        "H200 x 16: tp 16 is not legal for M2.7: tp 16 is above the 8 KV heads, which needs SGLang 0.5.11 or newer (the "
        "image has 0.5.10.post1); legal: 1, 2, 4, 8 (1 without the memory for it); set fleet_layout to 2x8",
    ),
    (
        "H100",
        2,
        {},
        "M2.7 does not fit on 2 x H100: of 79.6 GiB a GPU, mem_fraction_static 0.85 leaves 67.7 GiB, the weights take "
        "107.1 GiB (39.4 GiB missing on each); it takes 4 x H100, the host has 2",
    ),
    (
        "H100",
        8,
        {"layout": "4x2"},
        "M2.7 does not fit on 2 x H100: of 79.6 GiB a GPU, mem_fraction_static 0.85 leaves 67.7 GiB, the weights take "
        "107.1 GiB (39.4 GiB missing on each); set fleet_layout to 2x4",
    ),
    (
        "H200",
        2,
        {"context_length": 150000},
        "M2.7 does not fit on 2 x H200: of 140.4 GiB a GPU, mem_fraction_static 0.85 leaves 119.3 GiB, the weights take "
        "107.1 GiB and the rest holds 103102 tokens, 150000 are needed; it takes 4 x H200, the host has 2",
    ),
    (
        "H200",
        8,
        {"layout": "3x4"},
        "fleet_layout 3x4 needs 12 GPUs, the host has 8 x H200; legal: 1, 2, 4, 8 (1 without the memory for it); "
        "set fleet_layout to 1x8",
    ),
    (
        "H200",
        8,
        {"layout": "4by2"},
        "fleet_layout is 4by2: set it to auto, or to INSTANCESxGPUS such as 1x8 or 2x4 (two servers of four GPUs)",
    ),
    ("H200", 8, {"model": "M3"}, "unknown model M3: set fleet_model to one of M2, M2.1, M2.5, M2.7"),
    ("H200", 8, {"profile": "lax"}, "unknown profile lax: set fleet_profile to one of hardened, cookbook"),
    (
        "GB300",
        4,
        {"model": "M2.1"},
        "there is no published image of M2.1 for GB300: M2.1 runs on MI300X, MI308X, MI325X; set fleet_model to one of M2.7",
    ),
    (
        "H200",
        8,
        {"context_length": 300000},
        "fleet_context_length is 300000: M2.7 takes 1 to 204800 tokens; set it within that, or leave it out",
    ),
    (
        "H200",
        8,
        {"mem_fraction_static": 1.5},
        "fleet_mem_fraction_static is 1.5: it is the share of a GPU's memory for weights and KV cache; set it above 0 and "
        "below 1",
    ),
    (
        "H200",
        8,
        {"layout": "2x4", "port": 65535},
        "fleet_port 65535 with 2 instances takes the ports 65535 to 65536: set fleet_port between 1 and 65534",
    ),
    (
        "H200",
        8,
        {"extra_args": {"api-key": "hunter2hunter2"}},
        "fleet_server_args.api-key: the plan sets --api-key itself; use fleet_api_key instead",
    ),
    (
        "H200",
        8,
        {"extra_args": {"--Chunked_prefill": 1}},
        "fleet_server_args.--Chunked_prefill: use SGLang's long option name without the leading dashes, as in "
        "chunked-prefill",
    ),
    (
        "H200",
        8,
        {"extra_args": {"log-level": {"a": 1}}},
        "fleet_server_args.log-level is a dict: give a string, a number, true, or a list of strings and numbers",
    ),
    (
        "A100",
        8,
        {},
        "known issue a100-fp8: the FP8 checkpoint fails on A100 with an fp8e4nv Triton error or an illegal memory access, "
        "at 4 and at 8 GPUs (https://github.com/sgl-project/sglang/issues/18875); use another GPU, or add a100-fp8 to "
        "fleet_allow_known_issues to go on all the same",
    ),
    (
        "H200",
        8,
        {"allow_known_issues": ("a100",)},
        "fleet_allow_known_issues names a100: known are a100-fp8, mi300x-tp4-decode-crash, streaming-tool-calls, "
        "amd-vram-after-kill",
    ),
]


@pytest.mark.parametrize(("gpu", "count", "wishes", "message"), FAILURES)
def test_no_such_plan(gpu: str, count: int, wishes: dict[str, t.Any], message: str) -> None:
    assert failure(gpu, count, **wishes) == message


FACTS_FAILURES: list[tuple[dict[str, t.Any], str]] = [
    (
        {"count": 0, "unknown": []},
        "the host is in the play but has no GPU (no AMD Instinct or NVIDIA data-centre GPU on its PCI bus): take it out of "
        "the group, or look whether the GPU is passed through to it",
    ),
    (
        {"count": 0, "unknown": [{"pci_address": "0000:c1:00.0", "pci_id": "10de:ffff"}]},
        "no GPU that the catalogue knows, but 10de:ffff at 0000:c1:00.0: add it to fleet_catalogue (gpus), or take the host "
        "out of the play",
    ),
    ({"problems": ["MIG is on; do this", "and that"]}, "MIG is on; do this; and that"),
    ({"partitioned": True}, "the GPUs are partitioned: a plan needs whole GPUs"),
    (
        {"driver": {"name": None, "version": None, "loaded": False}},
        "no nvidia driver on the host: lmsysorg/sglang:v0.5.10.post1 (CUDA 12.9.1) needs NVIDIA 575 or newer, or the branch "
        "535, 550, 560, 565 or 570; install NVIDIA 580",
    ),
]


@pytest.mark.parametrize(("facts", "message"), FACTS_FAILURES)
def test_hosts_without_a_plan(facts: dict[str, t.Any], message: str) -> None:
    with pytest.raises(PlanError) as caught:
        make_plan(CATALOGUE, {**facts_for(CATALOGUE, "H200", 8), **facts}, Wishes())
    assert str(caught.value) == message


def test_gpus_without_device_nodes() -> None:
    facts = facts_for(CATALOGUE, "H200", 4)
    facts["devices"][2]["nodes"] = []
    with pytest.raises(PlanError) as caught:
        make_plan(CATALOGUE, facts, Wishes())
    assert str(caught.value) == (
        "GPU 2 without a device node: the driver made none; look at the kernel log (dmesg) of the host"
    )


def test_a_plan_before_the_driver() -> None:
    facts = {**facts_for(CATALOGUE, "MI300X", 8), "driver": {"name": None, "version": None, "loaded": False}}
    plan = make_plan(CATALOGUE, facts, Wishes(), require_driver=False)
    assert (
        "no amdgpu driver on the host: lmsysorg/sglang:v0.5.10.post1-rocm720-mi30x (ROCm 7.2) needs amdgpu 30.10 (module "
        "6.14.14) or newer; install amdgpu 30.30"
    ) in plan.warnings


def test_a_driver_without_a_version_is_a_warning() -> None:
    facts = {**facts_for(CATALOGUE, "MI300X", 8), "driver": {"name": "amdgpu", "version": None, "loaded": True}}
    assert (
        "the amdgpu driver tells no version (the kernel's own does not), so it was not compared with the amdgpu 30.10 "
        "(module 6.14.14) that the image asks for"
    ) in make_plan(CATALOGUE, facts, Wishes()).warnings


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
        "the amdgpu driver is 6.12.12: lmsysorg/sglang:v0.5.7-rocm700-mi30x (ROCm 7.0) needs amdgpu 30.10 (module 6.14.14) "
        "or newer; install amdgpu 30.30",
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


CAPACITIES: list[tuple[str, int, int, int]] = [
    # MiniMax's own guide: 4 x 96 GB holds 400K tokens in all, 8 x 144 GB holds 3M (BF16 cache).
    ("H100-94GB", 4, 96 * 10**9 // 2**20, 400_000),
    ("H200", 8, 144 * 10**9 // 2**20, 3_000_000),
]


@pytest.mark.parametrize(("gpu", "count", "memory_mib", "tokens"), CAPACITIES)
def test_published_capacities_within_15_percent(gpu: str, count: int, memory_mib: int, tokens: int) -> None:
    facts = facts_for(CATALOGUE, gpu, count, memory_mib)
    memory = make_plan(CATALOGUE, facts, Wishes(layout=f"1x{count}")).memory
    assert abs(memory.kv_tokens - tokens) / tokens < 0.15


def test_fp8_cache_holds_twice_the_tokens() -> None:
    half = plan_for("MI300X", 4, layout="1x4", extra_args={"kv-cache-dtype": "auto"}).memory.kv_tokens
    assert abs(plan_for("MI300X", 4, layout="1x4").memory.kv_tokens - 2 * half) <= 2


def test_context_beyond_the_cache_is_a_warning() -> None:
    plan = plan_for("H200", 2)
    assert plan.memory.longest_context == plan.memory.kv_tokens == 103102
    assert (
        "the KV cache of an instance holds 103102 tokens, less than the context of 204800: longer requests are refused"
    ) in plan.warnings


def test_every_legal_layout_keeps_the_rules() -> None:
    """The rules written a second time, over every layout of every model on every GPU."""
    seen = 0
    for model, entry in CATALOGUE.models.items():
        for gpu in CATALOGUE.gpus:
            for instances in range(1, 9):
                for size in range(1, 17):
                    wishes = {"model": model, "layout": f"{instances}x{size}", "allow_known_issues": ("a100-fp8",)}
                    try:
                        plan = plan_for(gpu, 8, **wishes)
                    except PlanError:
                        continue
                    seen += 1
                    taken = [index for one in plan.instances for index in one.gpus]
                    assert len(taken) == len(set(taken)) == instances * size <= 8
                    for one in plan.instances:
                        assert 48 % one.tp == 0
                        assert 8 % one.tp == 0
                        assert (1536 * one.ep // one.tp) % 128 == 0
                        assert one.tp % one.ep == 0
                    weights = entry.architecture.weights_bytes / size
                    assert weights < 0.85 * CATALOGUE.gpus[gpu].memory_mib * 2**20
    assert seen > 150


def test_known_issue_that_is_allowed_is_a_warning() -> None:
    warnings = plan_for("A100", 8, allow_known_issues=("a100-fp8",)).warnings
    assert any(warning.startswith("known issue a100-fp8: ") for warning in warnings)


ISSUES: list[tuple[str, int, dict[str, t.Any], bool]] = [
    ("MI300X", 4, {"layout": "1x4"}, True),
    ("MI300X", 8, {"layout": "1x8"}, False),
    ("MI325X", 4, {"layout": "1x4"}, False),
    ("MI300X", 4, {"layout": "1x4", "model": "M2.1"}, False),
    ("MI300X", 4, {"layout": "1x4", "extra_args": {"attention-backend": "aiter"}}, False),
]


@pytest.mark.parametrize(("gpu", "count", "wishes", "met"), ISSUES)
def test_four_mi300x_are_warned_of(gpu: str, count: int, wishes: dict[str, t.Any], met: bool) -> None:
    warnings = plan_for(gpu, count, **wishes).warnings
    assert any(warning.startswith("known issue mi300x-tp4-decode-crash: ") for warning in warnings) is met


def test_extra_arguments_add_change_and_take_away() -> None:
    args = (
        plan_for(
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
        .instances[0]
        .server_args
    )
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


def test_command_line_quotes_and_spreads_lists() -> None:
    assert command_line({"cuda-graph-bs": [1, 2], "json-model-override-args": '{"a": 1}', "x": True}) == (
        "python3 -m sglang.launch_server --cuda-graph-bs 1 2 --json-model-override-args '{\"a\": 1}' --x"
    )


def test_another_image_keeps_all_else() -> None:
    plan = plan_for("MI300X", 4, model="M2.1", image="mirror.example:5000/sglang:v0.5.7-rocm700-mi30x")
    assert plan.image["reference"] == "mirror.example:5000/sglang:v0.5.7-rocm700-mi30x"
    assert plan.image["sglang_version"] == "0.5.7"
    assert len(plan.patches) == 2
    assert "--label=sglang.fleet.reference=mirror.example:5000/sglang:v0.5.7-rocm700-mi30x" in (
        plan.instances[0].container_options
    )


def amd_facts(count: int) -> dict[str, t.Any]:
    return {**facts_for(CATALOGUE, "MI300X", count), "render_gid": 992, "video_gid": 44}


def test_hardened_amd() -> None:
    plan = make_plan(CATALOGUE, amd_facts(4), Wishes(layout="2x2"))
    assert plan.instances[1].container_options == [
        "--network=host",
        "--ipc=private",
        "--shm-size=16g",
        "--ulimit=memlock=-1",
        "--ulimit=stack=67108864",
        "--init",
        "--device=/dev/kfd",
        "--device=/dev/dri/renderD130",
        "--device=/dev/dri/renderD131",
        "--group-add=44",
        "--group-add=992",
        "--cap-add=SYS_PTRACE",
        "--security-opt=seccomp=unconfined",
        f"--volume={WEIGHTS}:/root/.cache/huggingface",
        f"--label=sglang.fleet.reference={MI30X}",
    ]


def test_hardened_nvidia() -> None:
    plan = plan_for("H200", 8, layout="2x4", weights_dir="/data/hf")
    assert plan.instances[1].container_options == [
        "--network=host",
        "--ipc=private",
        "--shm-size=32g",
        "--ulimit=memlock=-1",
        "--ulimit=stack=67108864",
        "--init",
        '--gpus="device=4,5,6,7"',
        "--device=/dev/nvidiactl",
        "--device=/dev/nvidia-uvm",
        "--device=/dev/nvidia-uvm-tools",
        "--device=/dev/nvidia4",
        "--device=/dev/nvidia5",
        "--device=/dev/nvidia6",
        "--device=/dev/nvidia7",
        "--security-opt=no-new-privileges",
        "--volume=/data/hf:/root/.cache/huggingface",
        f"--label=sglang.fleet.reference={CUDA}",
    ]


def uuid(index: int) -> str:
    return f"GPU-1b5cbdf0-8f1a-44ba-9a6c-{index:012x}"


UNKNOWN_NVIDIA = {"pci_address": "0000:01:00.0", "pci_id": "10de:ffff"}


def nvidia_facts(count: int, unknown: list[dict[str, str]], without_uuid: tuple[int, ...] = ()) -> dict[str, t.Any]:
    facts = {**facts_for(CATALOGUE, "H200", count), "unknown": unknown}
    for index, device in enumerate(facts["devices"]):
        device["uuid"] = None if index in without_uuid else uuid(index)
    return facts


def gpus_option(facts: dict[str, t.Any], **wishes: t.Any) -> str:
    options = make_plan(CATALOGUE, facts, Wishes(**wishes)).instances[-1].container_options
    return next(option for option in options if option.startswith("--gpus="))


def test_gpus_are_named_by_uuid() -> None:
    """Docker counts every GPU of the host, the plan those that the catalogue knows: numbers need not agree."""
    facts = nvidia_facts(4, [UNKNOWN_NVIDIA])
    assert gpus_option(facts, layout="2x2") == f'--gpus="device={uuid(2)},{uuid(3)}"'


def test_gpus_without_uuid_are_named_by_number_where_that_is_certain() -> None:
    amd = {"pci_address": "0000:01:00.0", "pci_id": "1002:ffff"}
    assert gpus_option(nvidia_facts(4, [amd], (3,)), layout="2x2") == '--gpus="device=2,3"'


def test_gpus_without_uuid_beside_unknown_ones_are_refused() -> None:
    facts = nvidia_facts(4, [UNKNOWN_NVIDIA], (1, 3))
    with pytest.raises(PlanError) as caught:
        make_plan(CATALOGUE, facts, Wishes(layout="1x4"))
    assert str(caught.value) == (
        "the driver tells no UUID of GPUs 1, 3, and the host has 10de:ffff at 0000:01:00.0 besides, which the catalogue "
        "does not know: by number the wrong GPUs could be taken; run nvidia-smi on the host to see that its driver works, "
        "or add the others to fleet_catalogue (gpus), or take them out of the host"
    )
    assert gpus_option(facts, layout="1x4", profile="cookbook") == "--gpus=all"


def test_issues_that_are_notes_warn_of_nothing() -> None:
    plan = plan_for("MI300X", 8)
    assert [note for note in plan.notes if note.startswith("known issue amd-vram-after-kill: ")]
    assert not [warning for warning in plan.warnings if "amd-vram-after-kill" in warning]
    assert not [note for note in plan_for("H200", 8).notes if note.startswith("known issue")]


LAYOUT_ARGS = [
    *("dp-size", "data-parallel-size", "pp-size", "pipeline-parallel-size", "nnodes", "node-rank"),
    *("dist-init-addr", "gpu-id-step"),
]


@pytest.mark.parametrize("name", LAYOUT_ARGS)
def test_arguments_that_change_the_gpu_count_are_refused(name: str) -> None:
    assert extra_arg_problem(name, 2) == (
        f"fleet_server_args.{name}: --{name} changes how many GPUs a server takes, or which; the layout of one node is "
        "what is planned: remove it and use fleet_layout"
    )


@pytest.mark.parametrize("name", ["ssl-keyfile", "ssl-certfile", "ssl-keyfile-password", "enable-ssl-refresh"])
def test_tls_arguments_are_refused(name: str) -> None:
    assert extra_arg_problem(name, "/etc/x") == (
        f"fleet_server_args.{name}: the servers speak plain HTTP; remove it and let a proxy or gateway in front of them "
        "do TLS"
    )


@pytest.mark.parametrize("name", ["hf-token", "token", "s3-secret", "db-password", "api-key-file", "client-secret-id"])
def test_secret_arguments_are_refused_unseen(name: str) -> None:
    problem = extra_arg_problem(name, "hunter2")
    assert problem is not None
    assert problem.startswith(f"fleet_server_args.{name}: its value is a secret")
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    "name",
    [
        "max-total-tokens",
        "tokenizer-path",
        "skip-tokenizer-init",
        "speculative-token-map",
        "num-reserved-decode-tokens",
    ],
)
def test_counts_of_tokens_are_no_secrets(name: str) -> None:
    assert extra_arg_problem(name, 1) is None


def test_cookbook_amd_is_the_published_line() -> None:
    """The page's docker run, less -d -it, name, image and shell; weights and label follow."""
    published = (
        "--ipc=host --network=host --privileged --cap-add=CAP_SYS_ADMIN --device=/dev/kfd --device=/dev/dri --device=/dev/mem "
        "--group-add video --cap-add=SYS_PTRACE --security-opt seccomp=unconfined -v /:/work -e SHELL=/bin/bash"
    )
    words = published.replace("-v ", "--volume ").replace("-e ", "--env ").split()
    joined = [
        f"{word}={words[index + 1]}" if index + 1 < len(words) and not words[index + 1].startswith("--") else word
        for index, word in enumerate(words)
        if word.startswith("--")
    ]
    options = (
        make_plan(CATALOGUE, amd_facts(8), Wishes(model="M2.1", profile="cookbook")).instances[0].container_options
    )
    assert options[:-2] == joined
    assert options[-2] == f"--volume={WEIGHTS}:/root/.cache/huggingface"


def test_cookbook_nvidia_and_the_first_gpu_of_each_instance() -> None:
    plan = plan_for("H200", 8, profile="cookbook", layout="2x4")
    assert plan.instances[0].container_options == [
        "--gpus=all",
        "--shm-size=32g",
        "--ipc=host",
        "--network=host",
        f"--volume={WEIGHTS}:/root/.cache/huggingface",
        f"--label=sglang.fleet.reference={CUDA}",
    ]
    assert [one.server_args.get("base-gpu-id") for one in plan.instances] == [None, 4]


def test_unknown_placeholder() -> None:
    with pytest.raises(PlanError) as caught:
        expand_option("--device={gpu}", {"gpu_node": []})
    assert str(caught.value) == "container option --device={gpu}: unknown placeholder {gpu}; known: gpu_node"


@pytest.mark.parametrize("name", ["m2.7", "MiniMax-M2.7", "MiniMaxAI/MiniMax-M2.7"])
def test_names_of_a_model(name: str) -> None:
    assert plan_for("H200", 8, model=name).model == {"name": "M2.7", "id": "MiniMaxAI/MiniMax-M2.7"}


def test_to_dict_is_plain_data() -> None:
    plan = plan_for("MI300X", 8, model="M2.1").to_dict()
    assert json.loads(json.dumps(plan)) == plan
    assert list(plan) == ["model", "gpu", "image", "patches", "profile", "instances", "memory", "warnings", "notes"]
    assert list(plan["instances"][0]) == [
        "name",
        "gpus",
        "address",
        "port",
        "tp",
        "ep",
        "server_args",
        "command_line",
        "container_options",
    ]
    assert plan["gpu"] == {"model": "MI300X", "count": 8, "vendor": "amd", "memory_mib": 196592}


def test_rules_lifted_by_a_newer_image() -> None:
    """An image of 0.5.11 lets tp exceed the KV heads, and skips the block check on ROCm."""
    image = {**CATALOGUE.data["images"]["v0.5.7-rocm700-mi30x"], "sglang_version": "0.5.11"}
    newer = load_catalogue({"images": {"new": image}, "models": {"M2.1": {"images": {"mi30x": "new"}}}})
    assert plan_for("MI300X", 8, newer, model="M2.1", layout="1x8").instances[0].ep == 1
    assert plan_for("MI300X", 16, newer, model="M2.1", layout="1x16").instances[0].tp == 16
