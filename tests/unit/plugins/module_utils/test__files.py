# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._files import fill, veil

WANTED = 'port: 30000\napi-key: "@@api_key@@"\n'


def test_a_secret_is_filled_in() -> None:
    assert fill(WANTED, {"api_key": "s3cret"}) == 'port: 30000\napi-key: "s3cret"\n'


@pytest.mark.parametrize(
    ("current", "shown"),
    [
        pytest.param('port: 1\napi-key: "s3cret"\n', 'port: 1\napi-key: "@@api_key@@"\n', id="same secret"),
        pytest.param('port: 1\napi-key: "older"\n', "port: 1\napi-key: (a secret)\n", id="another secret"),
        pytest.param("port: 1\n", "port: 1\n", id="no secret"),
        pytest.param('api-key: "older"', "api-key: (a secret)", id="no line end"),
    ],
)
def test_no_secret_is_shown(current: str, shown: str) -> None:
    assert veil(current, WANTED, {"api_key": "s3cret"}) == shown


def test_a_file_that_is_all_secret() -> None:
    assert veil("old", "@@hf_token@@", {"hf_token": "new"}) == "(a secret)"


def test_a_secret_that_is_no_longer_wanted_is_not_shown() -> None:
    assert veil('port: 1\nadmin-api-key: "old"\n', "port: 1\n", {}) == "port: 1\nadmin-api-key: (a secret)\n"
