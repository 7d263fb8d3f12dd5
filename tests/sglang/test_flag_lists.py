# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""catalogue/server_flags against the parsers that it is written from, and against what the planner makes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from images import flag_lists, host, worker

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._server_arg_rules import LAYOUT_ARGS, OWNED_ARGS
from ansible_collections.sglang.fleet.plugins.module_utils._server_flags import Flags, flag_problem, load_flags

pytestmark = pytest.mark.lab

VERSIONS = host.sglang_versions()


def flags_of(version: str) -> Flags:
    flags = load_flags(version)
    assert flags is not None
    return flags


def test_each_version_of_the_catalogue_has_its_list() -> None:
    assert {image.sglang_version for image in load_catalogue().images.values()} == set(VERSIONS)
    assert {path.stem for path in flag_lists.FOLDER.glob("*.json")} == set(VERSIONS)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_list_is_that_of_the_real_parser(version: str) -> None:
    assert flag_lists.path(version).read_text() == flag_lists.text(version), (
        "run PYTHONPATH=molecule/lab python -m images.flag_lists"
    )


def test_an_unknown_version_is_refused_by_the_generator() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "images.flag_lists", "0.4.0"],
        env={**os.environ, "PYTHONPATH": "molecule/lab"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 1
    assert answer.stderr.endswith(": no environment of SGLang 0.4.0; there are 0.5.7, 0.5.9, 0.5.10.post1\n")


@pytest.mark.parametrize("version", VERSIONS)
def test_no_other_name_of_an_owned_option_is_left_open(version: str) -> None:
    """An alias that OWNED_ARGS forgets would let fleet_server_args change what the plan is made from."""
    flags = flags_of(version)
    owned = {*OWNED_ARGS, *LAYOUT_ARGS}
    dests = {flags[name]["dest"] for name in owned if name in flags}
    assert {name for name, flag in flags.items() if flag["dest"] in dests} <= owned


#: values to try on every option: each is something that an operator might write
SAMPLES: tuple[Any, ...] = (True, "x", "-x", 1, -1, 2.5, "2.5", "4k", "4Ki", "4.5Ki", '{"a": 1}', "[1]", "1 2", "")


@pytest.mark.parametrize("version", VERSIONS)
def test_flag_problem_judges_every_option_as_the_parser_does(version: str) -> None:
    """Each option with each sample: what flag_problem lets pass the real parser accepts, and the other way round."""
    flags = flags_of(version)
    cases: list[tuple[str, Any]] = []
    for name, flag in flags.items():
        if flag.get("config") is not False:
            # Bare, an option that takes any number of words is an empty list; nobody who writes true means that.
            samples = SAMPLES[1:] if flag["kind"] == "list" else SAMPLES
            cases += [(name, value) for value in (*samples, *flag.get("choices", ()))]
            cases += [(name, [1, 2]), (name, ["x", "y"])]
    # This one option looks into its words for an adapter's name and path.
    cases = [case for case in cases if case != ("lora-paths", '{"a": 1}')]
    vectors = []
    for name, value in cases:
        given = [] if value is True else [str(item) for item in value] if isinstance(value, list) else [str(value)]
        vectors.append(["--model-path", "m", f"--{name}", *given])
    answers = worker.parse_all(version, vectors)
    different = [
        (name, value, answer if isinstance(answer, str) else "accepted", flag_problem(flags, version, name, value))
        for (name, value), answer in zip(cases, answers, strict=True)
        if isinstance(answer, str) != (flag_problem(flags, version, name, value) is not None)
    ]
    assert not different
    assert len(cases) > 4000


@pytest.mark.parametrize("version", VERSIONS)
def test_names_that_the_parser_does_not_know(version: str) -> None:
    flags = flags_of(version)
    known = {name for other in VERSIONS for name in flags_of(other)}
    vectors = [["--model-path", "m", f"--{name}"] for name in sorted(known - set(flags))]
    assert vectors
    for vector, answer in zip(vectors, worker.parse_all(version, vectors), strict=True):
        assert answer == f"unrecognized arguments: {vector[-1]}"
        assert flag_problem(flags, version, vector[-1][2:], True) is not None


def test_the_file_is_one_option_a_line() -> None:
    for version in VERSIONS:
        lines = flag_lists.path(version).read_text().splitlines()
        assert len(lines) == len(flags_of(version)) + 2
        assert all(json.loads("{" + line.removesuffix(",") + "}") for line in lines[1:-1])
