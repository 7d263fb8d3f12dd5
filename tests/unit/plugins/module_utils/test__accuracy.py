# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._accuracy import (
    AccuracyError,
    failure,
    record,
    run_key,
    server_url,
    settings_of,
    without_key,
)
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue, read_data
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue_checks import CatalogueError, check_schema

DATA = read_data()
BENCHMARKS: dict[str, dict[str, Any]] = DATA["accuracy_benchmarks"]
REFERENCES = DATA["references"]
ABOUT = {"host": "a", "instance": "0", "model": "MiniMax-M2.7", "image": {"digest": "sha256:1"}}


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("gpqa-diamond", "minimax-m2.7-2xgb300-gpqa-diamond"),
        ("aime-2025", "minimax-m2.7-2xgb300-aime-2025"),
        ("mmlu-pro", "minimax-m2.7-2xgb300-mmlu-pro"),
    ],
)
def test_settings_are_those_of_the_published_result(name: str, reference: str) -> None:
    benchmark = BENCHMARKS[name]
    assert settings_of(benchmark, benchmark["questions"]) == REFERENCES[reference]["settings"]
    assert benchmark["tool"] == REFERENCES[reference]["tool"]


def test_gsm8k_has_what_the_published_run_tells_of_itself() -> None:
    published = REFERENCES["minimax-m2.7-2xgb300-gsm8k"]["settings"]
    own = settings_of(BENCHMARKS["gsm8k"], 1319)
    assert {key: own[key] for key in published} == published


def test_a_file_is_another_data_set() -> None:
    assert settings_of(BENCHMARKS["gsm8k"], 12, "ab12")["dataset"] == "GSM8K from a file, sha256 ab12"


def test_catalogue_entries_keep_to_their_schema_and_an_operator_s_are_checked() -> None:
    check_schema({"accuracy_benchmarks": BENCHMARKS}, only={"accuracy_benchmarks": set(BENCHMARKS)})
    with pytest.raises(
        CatalogueError, match=r"accuracy_benchmarks\.gsm8k\.max_tokens: 0 is less than the minimum of 1"
    ):
        load_catalogue({"accuracy_benchmarks": {"gsm8k": {"max_tokens": 0}}})
    with pytest.raises(CatalogueError, match="'task' is a required property"):
        load_catalogue({"accuracy_benchmarks": {"own": {**BENCHMARKS["mmlu-pro"], "tool": "lm-eval"}}})


@pytest.mark.parametrize(
    ("address", "same_host", "given", "wanted"),
    [
        pytest.param("10.0.0.5", False, "", "http://10.0.0.5:30000", id="address"),
        pytest.param("fd00::5", False, "", "http://[fd00::5]:30000", id="IPv6"),
        pytest.param("0.0.0.0", False, "", "http://node:30000", id="every address, from elsewhere"),
        pytest.param("0.0.0.0", True, "", "http://127.0.0.1:30000", id="every address, from the host itself"),
        pytest.param("127.0.0.1", True, "", "http://127.0.0.1:30000", id="loopback from the host itself"),
        pytest.param("127.0.0.1", False, "http://127.0.0.1:8000/", "http://127.0.0.1:8000", id="tunnel"),
    ],
)
def test_where_a_server_is_asked(address: str, same_host: bool, given: str, wanted: str) -> None:
    instance = {"name": "0", "address": address, "port": 30000}
    assert server_url(instance, "node", same_host, given) == wanted


@pytest.mark.parametrize(
    ("address", "given", "message"),
    [
        (
            "127.0.0.1",
            "",
            "it listens on 127.0.0.1, which its own host alone reaches: name that host in accuracy_host",
        ),
        ("10.0.0.5", "10.0.0.5:30000", "accuracy_urls has '10.0.0.5:30000' for it: wanted http://HOST:PORT"),
    ],
)
def test_a_server_that_nothing_reaches(address: str, given: str, message: str) -> None:
    with pytest.raises(AccuracyError) as error:
        server_url({"name": "0", "address": address, "port": 30000}, "node", False, given)
    assert str(error.value).startswith(message)


KEY = run_key("gsm8k", BENCHMARKS["gsm8k"], ABOUT, {"limit": 0})


@pytest.mark.parametrize(
    ("change", "about", "more", "same"),
    [
        pytest.param({}, {}, {}, True, id="same"),
        pytest.param({"concurrency": 1, "seconds": 1, "request_seconds": 1}, {}, {}, True, id="how fast it is asked"),
        pytest.param({"max_tokens": 1}, {}, {}, False, id="settings"),
        pytest.param({}, {"image": {"digest": "sha256:2"}}, {}, False, id="another image"),
        pytest.param({}, {"model": "MiniMax-M2"}, {}, False, id="another model"),
        pytest.param({}, {}, {"limit": 5}, False, id="fewer questions"),
    ],
)
def test_a_run_goes_on_with_the_same_questions_to_the_same_server(
    change: dict[str, Any], about: dict[str, Any], more: dict[str, Any], same: bool
) -> None:
    other = run_key("gsm8k", {**BENCHMARKS["gsm8k"], **change}, {**ABOUT, **about}, {"limit": 0, **more})
    assert (other == KEY) == same


def test_record() -> None:
    result = {"questions": 10, "metrics": {"pass@1": {"accuracy": 60.0}}, "tool_version": "0.4.13"}
    made = record("gsm8k", BENCHMARKS["gsm8k"], result, ABOUT, "2026-01-01T00:00:00Z", 12.34)
    assert {key: made[key] for key in ("schema", "kind", "benchmark", "tool", "questions", "seconds", "host")} == {
        "schema": 1,
        "kind": "accuracy",
        "benchmark": "gsm8k",
        "tool": "lm-eval",
        "questions": 10,
        "seconds": 12.3,
        "host": "a",
    }
    assert made["settings"]["questions"] == 10
    json.dumps(made, allow_nan=False)


@pytest.mark.parametrize(
    ("code", "said", "message"),
    [
        (137, "", "it did not end within 60 s, or it was killed. Run it again: it goes on where it was"),
        (124, "", "it did not end within 60 s"),
        (-9, "", "it was ended by signal 9. Run it again"),
        (
            1,
            "first\nValueError: no\n\n",
            "it ended with status 1: ValueError: no. Run it again: it goes on where it was (/log)",
        ),
        (
            1,
            "ConnectionError: Couldn't reach 'openai/gsm8k' on the Hub (LocalEntryNotFoundError)",
            "it ended with status 1: ConnectionError: Couldn't reach 'openai/gsm8k' on the Hub (LocalEntryNotFoundError). "
            "This host does not reach the hub: give the questions as a file, accuracy_data",
        ),
        (2, " \n", "it ended with status 2: it said nothing."),
    ],
)
def test_why_a_tool_ended(code: int, said: str, message: str) -> None:
    assert failure(code, said, 60, "/log").startswith(message)


def test_secrets_are_taken_out() -> None:
    assert without_key("Bearer s3cret and t0ken", ["s3cret", "t0ken", ""]) == "Bearer ******** and ********"
