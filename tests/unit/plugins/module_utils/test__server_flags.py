# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._server_flags import Flags, flag_problem, load_flags

VERSIONS = ("0.5.7", "0.5.9", "0.5.10.post1")


def flags_of(version: str) -> Flags:
    flags = load_flags(version)
    assert flags is not None
    return flags


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("enable-mixed-chunk", True, id="a flag"),
        pytest.param("enable-mixed-chunk", False, id="a flag taken away"),
        pytest.param("kv-cache-dtype", None, id="a value taken away"),
        pytest.param("kv-cache-dtype", "fp8_e4m3", id="a choice"),
        pytest.param("max-running-requests", 64, id="an integer"),
        pytest.param("max-running-requests", "64", id="an integer as a string"),
        pytest.param("chunked-prefill-size", -1, id="a negative integer"),
        pytest.param("schedule-conservativeness", 1, id="an integer for a number"),
        pytest.param("schedule-conservativeness", 0.3, id="a number"),
        pytest.param("cuda-graph-bs", [1, 2, 4], id="a list"),
        pytest.param("cuda-graph-bs", 8, id="a list of one, without the brackets"),
        pytest.param("log-requests-level", 2, id="a choice of integers"),
        pytest.param("served-model-name", "our-model", id="a string"),
        pytest.param("served-model-name", 7, id="a number for a string"),
        pytest.param("served-model-name", "-", id="a dash alone"),
        pytest.param("chat-template", "- {{ messages }}", id="a dash and a space"),
        pytest.param("preferred-sampling-params", '{"temperature": 1}', id="JSON"),
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_what_the_parser_takes(version: str, name: str, value: Any) -> None:
    assert flag_problem(flags_of(version), version, name, value) is None


@pytest.mark.parametrize(
    ("version", "name", "value", "problem"),
    [
        pytest.param(
            "0.5.9",
            "max-runing-requests",
            64,
            "fleet_server_args.max-runing-requests: SGLang 0.5.9 does not know --max-runing-requests; did you mean "
            "max-running-requests?",
            id="a misspelt option",
        ),
        pytest.param(
            "0.5.9",
            "gpu-memory-utilisation",
            0.9,
            "fleet_server_args.gpu-memory-utilisation: SGLang 0.5.9 does not know --gpu-memory-utilisation; remove it",
            id="an option of something else",
        ),
        pytest.param(
            "0.5.7",
            "enforce-piecewise-cuda-graph",
            True,
            "fleet_server_args.enforce-piecewise-cuda-graph: SGLang 0.5.7 does not know --enforce-piecewise-cuda-graph; "
            "did you mean enable-piecewise-cuda-graph?",
            id="an option of a newer version",
        ),
        pytest.param(
            "0.5.9",
            "not-there",
            False,
            "fleet_server_args.not-there: SGLang 0.5.9 does not know --not-there; remove it",
            id="an unknown option taken away",
        ),
        pytest.param(
            "0.5.9",
            "max-running",
            64,
            "fleet_server_args.max-running: --max-running is an abbreviation of --max-running-requests; write "
            "max-running-requests in full",
            id="an abbreviation",
        ),
        pytest.param(
            "0.5.9",
            "schedule",
            "lpm",
            "fleet_server_args.schedule: --schedule is the beginning of --schedule-policy, "
            "--schedule-low-priority-values-first, --schedule-conservativeness, --scheduler-recv-interval; write one of them "
            "in full",
            id="an abbreviation of several",
        ),
        pytest.param(
            "0.5.10.post1",
            "lora-paths",
            ["a"],
            "fleet_server_args.lora-paths: SGLang 0.5.10.post1 takes --lora-paths on the command line only, and the "
            "servers read a configuration file; remove it",
            id="what no configuration file can carry",
        ),
        pytest.param(
            "0.5.9",
            "enable-mixed-chunk",
            "yes",
            "fleet_server_args.enable-mixed-chunk: --enable-mixed-chunk takes no value; set it to true, or to false to "
            "leave it out",
            id="a flag with a value",
        ),
        pytest.param(
            "0.5.9",
            "served-model-name",
            True,
            "fleet_server_args.served-model-name: --served-model-name needs a value; set it to a string instead of true",
            id="a string that is missing",
        ),
        pytest.param(
            "0.5.9",
            "sampling-backend",
            True,
            "fleet_server_args.sampling-backend: --sampling-backend needs a value; set it to ascend, flashinfer or "
            "pytorch instead of true",
            id="a choice that is missing",
        ),
        pytest.param(
            "0.5.9",
            "preferred-sampling-params",
            True,
            "fleet_server_args.preferred-sampling-params: --preferred-sampling-params needs a value; set it to JSON "
            "instead of true",
            id="JSON that is missing",
        ),
        pytest.param(
            "0.5.9",
            "max-running-requests",
            [64],
            "fleet_server_args.max-running-requests is a list: --max-running-requests takes one value; set it to an "
            "integer",
            id="a list for one value",
        ),
        pytest.param(
            "0.5.9",
            "cuda-graph-bs",
            [],
            "fleet_server_args.cuda-graph-bs is an empty list: set it to one value or more, or to false to leave it out",
            id="an empty list",
        ),
        pytest.param(
            "0.5.9",
            "cuda-graph-bs",
            [1, True],
            "fleet_server_args.cuda-graph-bs holds true: a list for --cuda-graph-bs holds strings and numbers",
            id="a list with true in it",
        ),
        pytest.param(
            "0.5.9",
            "cuda-graph-bs",
            [1, "two"],
            "fleet_server_args.cuda-graph-bs is two: --cuda-graph-bs takes an integer",
            id="a list with a wrong word",
        ),
        pytest.param(
            "0.5.9",
            "max-running-requests",
            64.0,
            "fleet_server_args.max-running-requests is 64.0: --max-running-requests takes an integer",
            id="a number for an integer",
        ),
        pytest.param(
            "0.5.9",
            "schedule-conservativeness",
            "low",
            "fleet_server_args.schedule-conservativeness is low: --schedule-conservativeness takes a number",
            id="a string for a number",
        ),
        pytest.param(
            "0.5.9",
            "max-total-tokens",
            "4Ki",
            "fleet_server_args.max-total-tokens is 4Ki: --max-total-tokens takes an integer",
            id="a size before there were sizes",
        ),
        pytest.param(
            "0.5.10.post1",
            "max-total-tokens",
            "4.5Ki",
            "fleet_server_args.max-total-tokens is 4.5Ki: --max-total-tokens takes an integer, or one with a suffix such "
            "as 4k or 4Ki",
            id="a broken size",
        ),
        pytest.param(
            "0.5.9",
            "preferred-sampling-params",
            "temperature=1",
            "fleet_server_args.preferred-sampling-params: --preferred-sampling-params takes JSON, and its value is not",
            id="a string for JSON",
        ),
        pytest.param(
            "0.5.9",
            "served-model-name",
            "-our-model",
            "fleet_server_args.served-model-name: its value begins with a dash, which SGLang reads as the next option; "
            "give it another form",
            id="a value that reads as an option",
        ),
        pytest.param(
            "0.5.9",
            "kv-cache-dtype",
            "fp8",
            "fleet_server_args.kv-cache-dtype is fp8: SGLang 0.5.9 takes auto, fp8_e5m2, fp8_e4m3, bf16, bfloat16 or "
            "fp4_e2m1",
            id="not one of the choices",
        ),
        pytest.param(
            "0.5.9",
            "log-requests-level",
            4,
            "fleet_server_args.log-requests-level is 4: SGLang 0.5.9 takes 0, 1, 2 or 3",
            id="not one of the numbers",
        ),
        pytest.param(
            "0.5.9",
            "attention-backend",
            "trtlm_mha",
            "fleet_server_args.attention-backend is trtlm_mha: SGLang 0.5.9 takes trtllm_mha, trtllm_mla, triton, "
            "torch_native, flex_attention, nsa, cutlass_mla, fa3, fa4, flashinfer, flashmla, dual_chunk_flash_attn or 5 "
            "others",
            id="not one of many choices",
        ),
    ],
)
def test_what_it_refuses(version: str, name: str, value: Any, problem: str) -> None:
    assert flag_problem(flags_of(version), version, name, value) == problem


def test_a_size_where_the_parser_takes_one() -> None:
    assert flag_problem(flags_of("0.5.10.post1"), "0.5.10.post1", "max-total-tokens", "25.6k") is None


def test_many_options_of_one_beginning_are_counted() -> None:
    problem = flag_problem(flags_of("0.5.9"), "0.5.9", "disable", True)
    assert problem is not None
    assert problem.count("--disable-") == 5
    assert " and " in problem
    assert problem.endswith(" more; write one of them in full")


@pytest.mark.parametrize("value", ["hunter2", "-hunter2", ["hunter2"], True, "{hunter2"])
@pytest.mark.parametrize("name", ["served-model-name", "preferred-sampling-params", "no-such-option"])
def test_a_value_that_may_be_a_secret_is_not_shown(name: str, value: Any) -> None:
    assert "hunter2" not in str(flag_problem(flags_of("0.5.9"), "0.5.9", name, value))


def test_no_list_no_opinion(tmp_path: Path) -> None:
    assert load_flags("0.5.99") is None
    assert load_flags("../images") is None
    assert load_flags("0.5.9", tmp_path) is None


def test_a_broken_list_says_so(tmp_path: Path) -> None:
    (tmp_path / "1.0.json").write_text("{")
    with pytest.raises(ValueError, match=r"cannot read the option list .*1\.0\.json: .*; install the collection again"):
        load_flags("1.0", tmp_path)


def test_a_list_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "1.0.json"
    path.write_text('{"sglang": "1.0", "flags": {"x": {"dest": "x", "kind": "flag"}}}')
    first = load_flags("1.0", tmp_path)
    path.unlink()
    assert load_flags("1.0", tmp_path) is first
