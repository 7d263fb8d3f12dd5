# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gates on the API key: who has none, or another one, is refused. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.sglang.fleet.plugins.module_utils._gates import Answer, GateError

#: What stands in for a key in the request with a wrong one; it is no secret.
WRONG_KEY = "not-the-key-of-this-server"


def check_refused(answers: Mapping[str, Answer]) -> str:
    """Every one of the answers is a refusal. answers: what was asked, such as "/v1/models without a key" -> the answer."""
    let_in = [
        f"{asked} was answered {answer.status or 'nothing'}"
        for asked, answer in answers.items()
        if answer.status != 401
    ]
    if let_in:
        raise GateError(f"{'; '.join(let_in)}: wanted 401")
    return f"401 for {', '.join(answers)}"
