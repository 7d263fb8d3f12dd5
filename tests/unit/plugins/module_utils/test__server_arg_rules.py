# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What neither an operator nor the catalogue may set among the server's arguments."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._server_arg_rules import (
    LAYOUT_ARGS,
    OWNED_ARGS,
    extra_arg_problem,
)
from ansible_collections.sglang.fleet.plugins.module_utils._server_flags import load_flags


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("tp", "fleet_layout"),
        ("tensor-parallel-size", "fleet_layout"),
        ("ep-size", "fleet_ep"),
        ("expert-parallel-size", "fleet_ep"),
        ("base-gpu-id", "fleet_layout"),
        ("model-path", "fleet_model"),
        ("model", "fleet_model"),
        ("host", "fleet_address"),
        ("port", "fleet_port"),
        ("context-length", "fleet_context_length"),
        ("mem-fraction-static", "fleet_mem_fraction_static"),
        ("enable-metrics", "fleet_enable_metrics"),
        ("api-key", "fleet_api_key"),
        ("admin-api-key", "fleet_api_key"),
        ("config", "fleet_server_args"),
    ],
)
def test_what_the_plan_sets_itself(name: str, variable: str) -> None:
    assert extra_arg_problem(name, 2) == (
        f"fleet_server_args.{name}: the plan sets --{name} itself; use {variable} instead"
    )


@pytest.mark.parametrize("version", ["0.5.7", "0.5.9", "0.5.10.post1"])
def test_no_alias_of_an_argument_of_ours_is_let_through(version: str) -> None:
    """SGLang gives many options several names; each of them is refused with the one that the plan knows."""
    flags = load_flags(version)
    assert flags is not None
    for ours in (frozenset(OWNED_ARGS), LAYOUT_ARGS):
        meant = {flags[name]["dest"] for name in ours if name in flags}
        assert {name for name, flag in flags.items() if flag["dest"] in meant} <= ours


@pytest.mark.parametrize(
    "name",
    [
        *("dp-size", "data-parallel-size", "pp-size", "pipeline-parallel-size", "nnodes", "node-rank"),
        *("dist-init-addr", "gpu-id-step", "moe-dp-size", "moe-data-parallel-size", "attn-cp-size"),
    ],
)
def test_arguments_that_change_how_the_model_is_spread(name: str) -> None:
    assert extra_arg_problem(name, 2) == (
        f"fleet_server_args.{name}: --{name} changes how many GPUs a server takes, or what each holds; the layout of one "
        "node is what is planned: remove it and use fleet_layout"
    )


@pytest.mark.parametrize("name", ["ssl-keyfile", "ssl-certfile", "ssl-keyfile-password", "enable-ssl-refresh"])
def test_tls_arguments(name: str) -> None:
    assert extra_arg_problem(name, "/etc/x") == (
        f"fleet_server_args.{name}: the servers speak plain HTTP; remove it and let a proxy or gateway in front of them do TLS"
    )


@pytest.mark.parametrize("name", ["hf-token", "token", "s3-secret", "db-password", "api-key-file", "client-secret-id"])
def test_secret_arguments_are_refused_unseen(name: str) -> None:
    assert extra_arg_problem(name, "hunter2") == (
        f"fleet_server_args.{name}: its value is a secret, and would stand in the plan and in files that others read; remove "
        "it (keys of clients go to fleet_api_key, a Hugging Face token to fleet_hf_token)"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max-total-tokens", 1),
        ("tokenizer-path", "/x"),
        ("skip-tokenizer-init", True),
        ("speculative-token-map", "/x"),
        ("num-reserved-decode-tokens", 1),
        ("cuda-graph-bs", [1, 2.5, "4"]),
        ("attention-backend", None),
        ("trust-remote-code", False),
    ],
)
def test_sound_arguments(name: str, value: t.Any) -> None:
    assert extra_arg_problem(name, value) is None


@pytest.mark.parametrize(
    ("name", "dashed"),
    [
        ("--Chunked_prefill", "chunked-prefill"),
        ("max_total_tokens", "max-total-tokens"),
        ("--log-level", "log-level"),
        (5.5, "5-5"),
        ("a--b", "a-b"),
        ("log-level-", "log-level"),
    ],
)
def test_names_that_are_no_option(name: t.Any, dashed: str) -> None:
    assert extra_arg_problem(name, 1) == (
        f"fleet_server_args.{name}: use SGLang's long option name without the leading dashes, as in {dashed}"
    )


@pytest.mark.parametrize(("value", "kind"), [({"a": 1}, "dict"), ([["a"]], "list"), (b"x", "bytes")])
def test_values_that_are_none(value: t.Any, kind: str) -> None:
    assert extra_arg_problem("log-level", value) == (
        f"fleet_server_args.log-level is a {kind}: give a string, a number, true, or a list of strings and numbers"
    )
