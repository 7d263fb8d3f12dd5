# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._systemd import environment_words, parse_show


@pytest.mark.parametrize(
    ("words", "value"),
    [
        pytest.param([], '""', id="none"),
        pytest.param(["--rm", "--network=host"], '"--rm --network=host"', id="plain"),
        pytest.param(['--gpus="device=0,1"'], '"\'--gpus=\\"device=0,1\\"\'"', id="double quotes"),
        pytest.param(["a b", ""], "\"'a b' ''\"", id="blank and empty"),
        pytest.param(["it's"], '"\\"it\'s\\""', id="single quote"),
        pytest.param(["$HOME"], '"\\$HOME"', id="dollar"),
    ],
)
def test_words_are_quoted(words: list[str], value: str) -> None:
    assert environment_words(words) == value


@pytest.mark.parametrize("word", ["a\\b", "a\nb", "'\"", "a\0b"])
def test_a_word_that_cannot_be_carried_is_refused(word: str) -> None:
    with pytest.raises(ValueError) as error:
        environment_words([word])
    assert str(error.value) == (
        f"the word {word!r} cannot stand in a systemd environment file: it has a backslash, a line break"
        " or both kinds of quote. Take it out of the container options or server arguments."
    )


def test_show_is_a_mapping() -> None:
    assert parse_show("ActiveState=active\nNRestarts=0\nExecStart={ a=b }\n") == {
        "ActiveState": "active",
        "NRestarts": "0",
        "ExecStart": "{ a=b }",
    }
