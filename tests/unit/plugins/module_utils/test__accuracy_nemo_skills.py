# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fixtures are what NeMo-Skills wrote: fixtures/accuracy/README.md. Its own parser took the command lines below then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._accuracy import AccuracyError
from ansible_collections.sglang.fleet.plugins.module_utils._accuracy_nemo_skills import (
    COMMIT,
    command,
    metrics_file,
    prepare_command,
    read,
)
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import read_data

yaml = pytest.importorskip("yaml")

FIXTURES = Path(__file__).parent / "fixtures" / "accuracy"
ROLE = Path(__file__).parents[4] / "roles" / "accuracy"
BENCHMARKS = read_data()["accuracy_benchmarks"]
SERVER = {"url": "http://10.0.0.5:30000", "model": "MiniMaxAI/MiniMax-M2.7"}
SAMPLED = [
    "++inference.temperature=0.6",
    "++inference.top_p=0.95",
    "++inference.tokens_to_generate=120000",
    "++inference.timeout=14400",
    "++remove_thinking=True",
    "++max_concurrent_requests=64",
]


@pytest.mark.parametrize(
    ("name", "asked", "split", "rest"),
    [
        ("gpqa-diamond", "gpqa:8", "diamond", ["++prompt_config=eval/aai/mcq-4choices", *SAMPLED]),
        ("aime-2025", "aime25:8", "test", ["++prompt_config=generic/math", *SAMPLED]),
        (
            "mmlu-pro",
            "mmlu-pro",
            "test",
            [
                "++prompt_config=eval/aai/mcq-10choices",
                "++inference.temperature=0.0",
                "++inference.tokens_to_generate=32768",
                *SAMPLED[3:],
            ],
        ),
    ],
)
def test_command(name: str, asked: str, split: str, rest: list[str]) -> None:
    assert command("/env/bin/ns", BENCHMARKS[name], SERVER, "/run") == [
        "/env/bin/ns",
        "eval",
        "--server_type=sglang",
        "--server_address=http://10.0.0.5:30000/v1",
        "--model=MiniMaxAI/MiniMax-M2.7",
        f"--benchmarks={asked}",
        f"--split={split}",
        "--output_dir=/run/output",
        *rest,
    ]


def test_command_with_a_key_and_a_limit() -> None:
    words = command("ns", BENCHMARKS["aime-2025"], SERVER, "/run", limit=3, key=True)
    assert words[-2:] == ["++max_samples=3", "++server.api_key_env_var=OPENAI_API_KEY"]


def test_one_answer_at_a_temperature_is_sampled() -> None:
    words = command("ns", {**BENCHMARKS["mmlu-pro"], "temperature": 0.6}, SERVER, "/run")
    assert "--benchmarks=mmlu-pro:1" in words


def test_data_sets() -> None:
    assert prepare_command("ns", BENCHMARKS["gpqa-diamond"]) == ["ns", "prepare_data", "gpqa", "--split=diamond"]
    assert prepare_command("ns", BENCHMARKS["aime-2025"]) == ["ns", "prepare_data", "aime25"]


def test_the_role_installs_what_was_read() -> None:
    source = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())["accuracy_nemo_skills_source"]
    assert source == f"git+https://github.com/NVIDIA-NeMo/Skills@{COMMIT}"


GPQA = (FIXTURES / "nemo-skills-gpqa.json").read_text()
MMLU_PRO = (FIXTURES / "nemo-skills-mmlu-pro.json").read_text()


def test_what_it_wrote_of_eight_seeds() -> None:
    """The table that the tool printed: 40.00% ± 18.52% and 15.00%, 40.00% and 0.00%, 100.00% and 0.00%."""
    assert read(GPQA, BENCHMARKS["gpqa-diamond"]) == {
        "questions": 5,
        "tool_version": COMMIT[:12],
        "metrics": {
            "pass@1[avg-of-8]": {"accuracy": 40.0, "no_answer": 15.0, "spread": 18.5164},
            "majority@8": {"accuracy": 40.0, "no_answer": 0.0},
            "pass@8": {"accuracy": 100.0, "no_answer": 0.0},
        },
    }


def test_what_it_wrote_of_greedy_answers() -> None:
    assert read(MMLU_PRO, BENCHMARKS["mmlu-pro"]) == {
        "questions": 4,
        "tool_version": COMMIT[:12],
        "metrics": {"pass@1": {"accuracy": 50.0, "no_answer": 25.0}},
    }


def test_a_seed_without_answers() -> None:
    metrics = json.loads(GPQA)
    for way in ("pass@8", "pass@1[avg-of-8]", "majority@8"):
        del metrics["gpqa"][way]
    with pytest.raises(AccuracyError) as error:
        read(json.dumps(metrics), BENCHMARKS["gpqa-diamond"])
    assert str(error.value).startswith(
        "NeMo-Skills' metrics of gpqa have no pass@1[avg-of-8], majority@8, pass@8; they have pass@1, pass@2, "
    )


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        pytest.param("{", "JSONDecodeError", id="torn"),
        pytest.param(MMLU_PRO, "KeyError 'gpqa'", id="of another benchmark"),
        pytest.param(GPQA.replace("symbolic_correct", "judge_correct"), "KeyError 'symbolic_correct'", id="judged"),
    ],
)
def test_what_is_no_result(metrics: str, message: str) -> None:
    with pytest.raises(AccuracyError) as error:
        read(metrics, BENCHMARKS["gpqa-diamond"])
    assert str(error.value).startswith(f"NeMo-Skills' metrics are not as they should be: {message}")


def test_where_it_writes() -> None:
    assert metrics_file(BENCHMARKS["aime-2025"]) == "output/eval-results/aime25/metrics.json"
