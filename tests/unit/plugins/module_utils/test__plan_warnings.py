# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a plan warns of, in which words, and who is in the way on the GPUs."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._known_issues import Warn
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import Wishes, facts_for
from ansible_collections.sglang.fleet.plugins.module_utils._planner import make_plan
from tests.unit.plugins.module_utils.fixtures.plans import (
    CATALOGUE,
    NO_DRIVER,
    NO_VERSION,
    plan_for,
    plan_of,
    warned,
)

# What each plan warns of, in order: id and severity.
LICENCE, TOOLS, VRAM = ("licence", "note"), ("streaming-tool-calls", "warn"), ("amd-vram-after-kill", "note")


ASSUMED, AHEAD = ("assumed-devices", "note"), ("small-headroom", "fit-unknown", "idle-gpus")


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
