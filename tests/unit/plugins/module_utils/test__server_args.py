# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The server's arguments: the plan's own, and the operator's over them."""

from __future__ import annotations

import shlex
import typing as t

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import Wishes
from ansible_collections.sglang.fleet.plugins.module_utils._server_args import (
    ServerArgs,
    command_line,
    planned_args,
    with_extra,
    words,
)

CATALOGUE = load_catalogue()
TOOLS, THINKING = ["--tool-call-parser", "minimax-m2"], ["--reasoning-parser", "minimax-append-think"]
ALWAYS = ["--trust-remote-code", "--mem-fraction-static", "0.85"]
AMD = ["--kv-cache-dtype", "fp8_e4m3", "--attention-backend", "triton"]

PLANNED: list[tuple[str, str, dict[str, t.Any], int, int, list[str]]] = [
    ("M2.7", "nvidia", {}, 4, 1, ["--tp-size", "4", *TOOLS, *THINKING, *ALWAYS]),
    ("M2.7", "nvidia", {}, 8, 8, ["--tp-size", "8", "--ep-size", "8", *TOOLS, *THINKING, *ALWAYS]),
    ("M2.7", "amd", {}, 2, 2, ["--tp-size", "2", "--ep-size", "2", *TOOLS, *THINKING, *ALWAYS, *AMD]),
    ("M2.7", "nvidia", {"tool_call_parser": False}, 4, 1, ["--tp-size", "4", *THINKING, *ALWAYS]),
    ("M2.7", "nvidia", {"reasoning_parser": False}, 4, 1, ["--tp-size", "4", *TOOLS, *ALWAYS]),
    ("M2.5", "nvidia", {}, 4, 1, ["--tp-size", "4", *ALWAYS]),
    ("M2.5", "nvidia", {"tool_call_parser": True}, 4, 1, ["--tp-size", "4", *TOOLS, *ALWAYS]),
    ("M2.1", "amd", {"reasoning_parser": True}, 4, 1, ["--tp-size", "4", *THINKING, *ALWAYS]),
    (
        "M2.5",
        "nvidia",
        {"context_length": 65536, "enable_metrics": True},
        4,
        1,
        ["--tp-size", "4", *ALWAYS, "--context-length", "65536", "--enable-metrics"],
    ),
]


@pytest.mark.parametrize(("model", "vendor", "wishes", "tp", "ep", "args"), PLANNED)
def test_what_a_plan_sets(model: str, vendor: str, wishes: dict[str, t.Any], tp: int, ep: int, args: list[str]) -> None:
    entry = CATALOGUE.model_names[model.lower()]
    found = planned_args(entry, vendor, Wishes(**wishes), tp, ep, 0.85)
    assert words(found) == ["--model-path", entry.id, *args]


def test_the_fraction_is_the_one_given() -> None:
    found = planned_args(CATALOGUE.models["MiniMax-M2.5"], "nvidia", Wishes(), 4, 1, 0.9)
    assert found["mem-fraction-static"] == 0.9


def test_extra_arguments_add_change_and_take_away() -> None:
    base: ServerArgs = {"a": 1, "b": "x", "flag": True, "gone": "y"}
    assert with_extra(base, {"b": "z", "flag": False, "gone": None, "new": True, "zero": 0, "empty": ""}) == {
        "a": 1,
        "b": "z",
        "new": True,
        "zero": 0,
        "empty": "",
    }
    assert base == {"a": 1, "b": "x", "flag": True, "gone": "y"}


def test_words_of_a_command_line() -> None:
    args: ServerArgs = {
        "cuda-graph-bs": [1, 2],
        "json-model-override-args": '{"a": 1}',
        "x": True,
        "n": 0,
        "share": 0.85,
    }
    listed = words(args)
    assert listed == [
        "--cuda-graph-bs",
        "1",
        "2",
        "--json-model-override-args",
        '{"a": 1}',
        "--x",
        "--n",
        "0",
        "--share",
        "0.85",
    ]
    assert command_line(listed) == (
        "python3 -m sglang.launch_server --cuda-graph-bs 1 2 --json-model-override-args '{\"a\": 1}' --x --n 0 --share 0.85"
    )
    assert shlex.split(command_line(listed))[3:] == listed
