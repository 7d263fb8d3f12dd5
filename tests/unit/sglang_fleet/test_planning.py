# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import Wishes
from sglang_fleet.collection import CHECKOUT
from sglang_fleet.planning import (
    WISHES,
    FleetError,
    RefusedError,
    catalogue_of_fleet,
    in_options,
    plan_single,
    read_patches,
    server_args,
    with_options_named,
)

H200_192 = {"gpus": {"H200": {"memory_mib": 196608}}}


def test_every_wish_of_the_planner_has_an_option() -> None:
    assert {wish.field for wish in WISHES} == {field.name for field in fields(Wishes)}


def test_every_wish_is_a_variable_of_the_inventory() -> None:
    """Else an override of a fleet's plan would be refused as a misspelt variable."""
    specs = yaml.safe_load((CHECKOUT / "roles/validate_inventory/meta/argument_specs.yml").read_text())
    known = specs["argument_specs"]["inventory"]["options"]
    assert [wish.variable for wish in WISHES if wish.variable not in known] == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("set fleet_layout to 2x4", "set --layout to 2x4"),
        ("fleet_context_length is 9: set it", "--context-length is 9: set it"),
        ("add a100-fp8 to fleet_allow_known_issues to go on", "add a100-fp8 to --allow-known-issue to go on"),
        ("fleet_server_args.max-running-requests is a dict", "--server-arg max-running-requests is a dict"),
        ("remove it from fleet_server_args.", "remove it from --server-arg."),
        ("add it to fleet_catalogue (gpus)", "add it to --catalogue (gpus)"),
        ("fleet_reasoning_parser and fleet_tool_call_parser", "--thinking and --tool-calls"),
        ("unknown GPU Z: set the GPU to one of H100", "unknown GPU Z: set --gpu to one of H100"),
        # What has no option is the inventory's matter.
        ("use fleet_api_key instead", "use fleet_api_key instead"),
        ("/var/lib/sglang-fleet/huggingface", "/var/lib/sglang-fleet/huggingface"),
    ],
)
def test_messages_name_options(text: str, wanted: str) -> None:
    assert in_options(text) == wanted


def test_sentences_of_a_plan_name_options_and_figures_stay() -> None:
    plan: dict[str, Any] = {
        "count": 3,
        "reasons": ["fleet_layout says so"],
        "warnings": [{"id": "x", "severity": "warn", "message": "set fleet_port", "url": None}],
    }
    shown = with_options_named(plan)
    assert shown["reasons"] == ["--layout says so"]
    assert shown["warnings"] == [{"id": "x", "severity": "warn", "message": "set --port", "url": None}]
    assert shown["count"] == 3
    assert plan["reasons"] == ["fleet_layout says so"]


@pytest.mark.parametrize(
    ("words", "args"),
    [
        ([], {}),
        (["max-running-requests=64"], {"max-running-requests": 64}),
        (["disable-radix-cache"], {"disable-radix-cache": True}),
        (
            ["disable-radix-cache=true", "trust-remote-code=false"],
            {"disable-radix-cache": True, "trust-remote-code": False},
        ),
        (["schedule-policy=lpm"], {"schedule-policy": "lpm"}),
        (["cuda-graph-bs=[1, 2, 4]"], {"cuda-graph-bs": [1, 2, 4]}),
        (["schedule-conservativeness=0.5"], {"schedule-conservativeness": 0.5}),
        (['json-model-override-args={"a": 1}'], {"json-model-override-args": '{"a": 1}'}),
        (["served-model-name=a=b"], {"served-model-name": "a=b"}),
        (["served-model-name=a: b: c"], {"served-model-name": "a: b: c"}),
        (["served-model-name="], {"served-model-name": ""}),
    ],
)
def test_server_args(words: list[str], args: dict[str, Any]) -> None:
    assert server_args(words) == args


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["=1"], "--server-arg '=1': give NAME=VALUE, such as --server-arg max-running-requests=64"),
        (["a=1", "a=2"], "--server-arg a is given twice: give it once, several values as NAME=[A,B]"),
    ],
)
def test_wrong_server_args(words: list[str], message: str) -> None:
    with pytest.raises(FleetError) as caught:
        server_args(words)
    assert str(caught.value) == message


@pytest.mark.parametrize("content", [H200_192, {"fleet_catalogue": H200_192}], ids=["bare", "as the variable"])
def test_catalogue_file_changes_the_plan(tmp_path: Path, content: dict[str, Any]) -> None:
    file = tmp_path / "more.yml"
    file.write_text(yaml.safe_dump(content))
    assert plan_single({}, "H200", 8, catalogue_file=file).plan["memory_mib"] == 196608
    assert plan_single({}, "H200", 8).plan["memory_mib"] < 196608
    assert catalogue_of_fleet(file) == H200_192


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["cannot read {file}: No such file"]),
        ("", ["{file} is empty"]),
        ("- a", ["{file} holds a list: it must be a mapping"]),
        ("fleet_catalogue: 3", ["{file} holds a int"]),
        ("a: b: c", ["{file} is not YAML"]),
        ("gpu: {}", ["{file}: unknown section gpu; known:"]),
        ("gpus: []", ["{file}: gpus must be a mapping"]),
        ("gpus: {H200: {memory_mib: many}}", ["{file}: gpus.H200.memory_mib"]),
        ("gpus: {H2: {title: x}}", ["{file}: gpus.H2"]),
        ("models: {M2.7: {architecture: nope}}", ["{file}: ", "nope"]),
    ],
)
def test_wrong_catalogue_file(tmp_path: Path, content: str | None, words: list[str]) -> None:
    file = tmp_path / "more.yml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(FleetError) as caught:
        plan_single({}, "H200", 8, catalogue_file=file)
    for word in words:
        assert word.format(file=file) in str(caught.value)
    assert "fleet_catalogue" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("gpu: {}", "{file}: unknown section gpu; known: "),
        ("gpus: []", "{file}: gpus must be a mapping of name to entry, not list"),
        ("- a", "{file} holds a list"),
    ],
)
def test_shape_of_a_fleets_catalogue_file(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "more.yml"
    file.write_text(content)
    with pytest.raises(FleetError) as caught:
        catalogue_of_fleet(file)
    assert str(caught.value).startswith(message.format(file=file))


def test_a_fleets_catalogue_file_may_build_on_entries_that_are_not_here(tmp_path: Path) -> None:
    file = tmp_path / "more.yml"
    file.write_text("gpus: {OfTheInventory: {memory_mib: 1000}}")
    assert catalogue_of_fleet(file) == {"gpus": {"OfTheInventory": {"memory_mib": 1000}}}


def test_count_that_is_left_out_is_the_generators_and_said() -> None:
    plan = plan_single({"model": "M2.1"}, "MI300X").plan
    assert plan["count"] == 4
    assert plan["reasons"][0] == (
        "4 GPUs, no count being given: the default of the published command generator for MiniMax-M2.1 on MI300X"
    )
    assert not any("no count" in reason for reason in plan_single({"model": "M2.1"}, "MI300X", 4).plan["reasons"])


def test_refusal_carries_the_rule() -> None:
    with pytest.raises(RefusedError) as caught:
        plan_single({"layout": "1x8", "ep": 1}, "H200", 8)
    assert caught.value.rule == "fp8-block"
    assert "set --layout to" in str(caught.value)


PATCH = {"name": "ours", "file": "a.py", "action": "comment_line", "line": "@x", "why": "w", "source": "s"}


@pytest.mark.parametrize("data", [[PATCH], {"fleet_patches": [PATCH]}])
def test_patches_of_a_file(tmp_path: Path, data: Any) -> None:
    file = tmp_path / "patches.yml"
    file.write_text(yaml.safe_dump(data))
    assert read_patches(file) == (PATCH,)
    assert plan_single({"patches": read_patches(file)}, "H200", 8).plan["patches"] == [PATCH]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read {file}: No such file or directory"),
        ("", "{file} is empty: it must hold a list of patches"),
        ("name: x", "{file} holds a dict: it must be a list of patches"),
    ],
)
def test_what_are_no_patches(tmp_path: Path, text: str | None, message: str) -> None:
    file = tmp_path / "patches.yml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(FleetError) as error:
        read_patches(file)
    assert str(error.value) == message.format(file=file)


def test_a_patch_that_is_not_right_names_the_option() -> None:
    with pytest.raises(RefusedError, match=r"^--patches\[0\] has no name"):
        plan_single({"patches": ({"file": "a.py"},)}, "H200", 8)
