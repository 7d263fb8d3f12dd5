# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a known issue meets a plan, and what is said of it."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import KnownIssue, load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._known_issues import (
    Circumstances,
    Warn,
    check_allowed,
    meets,
    warning_of,
)
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import PlanError

CATALOGUE = load_catalogue()
URL = "https://example.org/1"
ISSUE = KnownIssue("it", "warn", {}, "it breaks", "do this", URL, {}, {})
HERE = Circumstances("minimax-m2", "MiniMax-M2.7", "MI300X", None, "amd", "v1", 4)
ARGS = {"attention-backend": "triton", "trust-remote-code": True}

MEETS: list[tuple[dict[str, t.Any], bool]] = [
    ({}, True),
    ({"architectures": ["minimax-m2"]}, True),
    ({"architectures": ["other"]}, False),
    ({"models": ["MiniMax-M2.5", "MiniMax-M2.7"]}, True),
    ({"models": ["MiniMax-M2.5"]}, False),
    ({"compute_capabilities": ["8.0"]}, False),
    ({"gpus": ["MI300X"]}, True),
    ({"gpus": ["MI325X"]}, False),
    ({"vendors": ["amd"]}, True),
    ({"vendors": ["nvidia"]}, False),
    ({"images": ["v1"]}, True),
    ({"images": ["v2"]}, False),
    ({"gpus_per_instance": [2, 4]}, True),
    ({"gpus_per_instance": [8]}, False),
    ({"server_args": {"attention-backend": "triton"}}, True),
    ({"server_args": {"attention-backend": "triton", "trust-remote-code": True}}, True),
    ({"server_args": {"attention-backend": "aiter"}}, False),
    ({"server_args": {"absent": "x"}}, False),
    ({"vendors": ["amd"], "gpus": ["MI325X"]}, False),
    ({"vendors": ["amd"], "gpus": ["MI300X"], "gpus_per_instance": [4]}, True),
]


@pytest.mark.parametrize(("when", "met"), MEETS)
def test_every_condition_counts(when: dict[str, t.Any], met: bool) -> None:
    assert meets(replace(ISSUE, when=when), HERE, ARGS) is met


@pytest.mark.parametrize(("capability", "met"), [("8.0", True), ("9.0", True), ("8.6", False), (None, False)])
def test_compute_capabilities(capability: str | None, met: bool) -> None:
    when = {"compute_capabilities": ["8.0", "9.0"]}
    assert meets(replace(ISSUE, when=when), replace(HERE, compute_capabilities=capability), ARGS) is met


@pytest.mark.parametrize("severity", ["note", "warn"])
def test_an_issue_that_is_told(severity: str) -> None:
    assert warning_of(replace(ISSUE, severity=severity), ()) == Warn("it", severity, "it breaks; do this", URL)


def test_an_issue_that_blocks() -> None:
    with pytest.raises(PlanError) as caught:
        warning_of(replace(ISSUE, severity="block"), ("other",))
    assert caught.value.rule == "known-issue"
    assert str(caught.value) == (
        "known issue it: it breaks (https://example.org/1); do this, or add it to fleet_allow_known_issues to go on all the "
        "same"
    )


def test_an_issue_that_changes_the_plan() -> None:
    issue = replace(
        ISSUE, severity="change", change_args={"a": "x", "flag": True, "n": 2}, change_environment={"KEY": "1"}
    )
    assert warning_of(issue, ()) == Warn(
        "it",
        "change",
        "it breaks; do this, so the plan has --a x --flag --n 2 KEY=1; add it to fleet_allow_known_issues for the published "
        "flags",
        URL,
    )


@pytest.mark.parametrize("severity", ["note", "warn", "change", "block"])
def test_an_issue_that_is_set_aside_is_recorded(severity: str) -> None:
    assert warning_of(replace(ISSUE, severity=severity), ("other", "it")) == Warn(
        "it", "override", "set aside by fleet_allow_known_issues: it breaks", URL
    )


def test_only_known_issues_can_be_set_aside() -> None:
    check_allowed(CATALOGUE, tuple(CATALOGUE.known_issues))
    with pytest.raises(PlanError) as caught:
        check_allowed(CATALOGUE, ("a100", "a100-fp8", "b"))
    assert str(caught.value) == (
        "fleet_allow_known_issues names a100, b: known are a100-fp8, mi300x-tp4-decode-crash, streaming-tool-calls, "
        "amd-vram-after-kill"
    )


def test_a_warning_may_have_no_link() -> None:
    assert Warn("a", "warn", "text").url is None
