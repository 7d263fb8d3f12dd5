# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _gates_auth
from ansible_collections.sglang.fleet.plugins.module_utils._gates import Answer, GateError


def test_all_are_refused() -> None:
    told = _gates_auth.check_refused({"/a without a key": Answer(401, ""), "/b with a wrong key": Answer(401, "")})
    assert told == "401 for /a without a key, /b with a wrong key"


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"/a": Answer(401, ""), "/b": Answer(200, "")}, "/b was answered 200: wanted 401"),
        ({"/a": Answer(0, ""), "/b": Answer(403, "")}, "/a was answered nothing; /b was answered 403: wanted 401"),
    ],
)
def test_one_that_is_let_in_fails(answers: dict[str, Answer], message: str) -> None:
    with pytest.raises(GateError) as error:
        _gates_auth.check_refused(answers)
    assert str(error.value) == message
