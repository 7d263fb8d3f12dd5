# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans of what is published: the generators' commands as they are, and where a known issue changes or refuses one."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._known_issues import Warn
from tests.unit.plugins.module_utils.fixtures.plans import (
    CATALOGUE,
    plan_for,
    refusal,
    warned,
)

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
