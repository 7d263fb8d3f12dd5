# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wishes that give no plan, and what server arguments do to one."""

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
