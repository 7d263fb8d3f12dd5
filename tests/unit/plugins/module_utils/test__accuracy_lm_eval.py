# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fixtures are what lm-eval wrote: fixtures/accuracy/README.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._accuracy import AccuracyError
from ansible_collections.sglang.fleet.plugins.module_utils._accuracy_lm_eval import command, read, task_file
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import read_data

yaml = pytest.importorskip("yaml")

FIXTURES = Path(__file__).parent / "fixtures" / "accuracy"
RESULTS = (FIXTURES / "lm-eval-results.json").read_text()
SAMPLES = (FIXTURES / "lm-eval-samples.jsonl").read_text()
GSM8K = read_data()["accuracy_benchmarks"]["gsm8k"]
SERVER = {"url": "http://10.0.0.5:30000", "model": "MiniMaxAI/MiniMax-M2.7"}
EXTRACTION = "flexible-extract"


def samples(change: dict[int, dict[str, Any]], drop: int | None = None) -> str:
    """The samples with some documents' rows changed."""
    rows = [json.loads(line) for line in SAMPLES.splitlines()]
    return "\n".join(json.dumps({**row, **change.get(row["doc_id"], {})}) for row in rows if row["doc_id"] != drop)


def test_task_from_the_hub() -> None:
    task = yaml.safe_load(task_file(GSM8K, "/env/lm_eval"))
    assert task["include"] == "/env/lm_eval/tasks/gsm8k/gsm8k-cot.yaml"
    assert task["num_fewshot"] == 8
    assert task["generation_kwargs"] == {"until": [], "do_sample": False, "max_gen_toks": 16384, "temperature": 0.0}
    assert "dataset_path" not in task


def test_task_from_a_file() -> None:
    task = yaml.safe_load(task_file(GSM8K, "/env/lm_eval", "/data/it's.jsonl"))
    assert (task["dataset_path"], task["dataset_name"]) == ("json", None)
    assert task["dataset_kwargs"] == {"data_files": {"test": "/data/it's.jsonl"}}


def test_command() -> None:
    words = command("/env/bin/lm_eval", GSM8K, SERVER, "/run", limit=5)
    assert words[:4] == ["/env/bin/lm_eval", "run", "--model=local-chat-completions", "--model_args"]
    assert words[4:10] == [
        "model=MiniMaxAI/MiniMax-M2.7",
        "base_url=http://10.0.0.5:30000/v1/chat/completions",
        "num_concurrent=64",
        "max_retries=3",
        "timeout=3600",
        "think_end_token=</think>",
    ]
    assert words[10:] == [
        "--tasks=sglang_fleet",
        "--include_path=/run/task",
        "--apply_chat_template",
        "--output_path=/run/output",
        "--log_samples",
        "--use_cache=/run/answers",
        "--limit=5",
    ]
    assert not [word for word in command("p", GSM8K, SERVER, "/run") if "limit" in word]


def test_what_it_wrote() -> None:
    assert read(RESULTS, SAMPLES, EXTRACTION) == {
        "questions": 10,
        "tool_version": "0.4.13",
        "metrics": {"pass@1": {"accuracy": 60.0, "correct": 6, "no_answer": 0.0}},
    }
    strict = read(RESULTS, SAMPLES, "strict-match")["metrics"]["pass@1"]
    assert strict == {"accuracy": 0.0, "correct": 0, "no_answer": 100.0}


def test_thinking_that_never_closed_is_no_answer() -> None:
    """Document 0 is right by its number."""
    cut = samples({0: {"resps": [["<think>5 less 3 is 2"]]}, 1: {"filtered_resps": ["[invalid]"], "exact_match": 0.0}})
    results = RESULTS.replace('"exact_match,flexible-extract": 0.6', '"exact_match,flexible-extract": 0.5')
    assert read(results, cut, EXTRACTION)["metrics"]["pass@1"] == {"accuracy": 40.0, "correct": 4, "no_answer": 20.0}


@pytest.mark.parametrize(
    ("results", "rows", "message"),
    [
        pytest.param("{", SAMPLES, "lm-eval's results are not as they should be: JSONDecodeError", id="torn"),
        pytest.param("{}", SAMPLES, "lm-eval's results are not as they should be: KeyError 'results'", id="empty"),
        pytest.param(
            RESULTS, "", "lm-eval's results say 10 questions and 0.6, its samples 0 and 0 right", id="no samples"
        ),
        pytest.param(RESULTS, samples({}, drop=3), "its samples 9 and 5 right", id="a sample less"),
        pytest.param(RESULTS, samples({0: {"exact_match": 0.0}}), "its samples 10 and 5 right", id="of another run"),
    ],
)
def test_what_is_no_result(results: str, rows: str, message: str) -> None:
    with pytest.raises(AccuracyError) as error:
        read(results, rows, EXTRACTION)
    assert message in str(error.value)


def test_a_filter_that_the_task_does_not_have() -> None:
    with pytest.raises(AccuracyError, match="KeyError 'exact_match,loose'"):
        read(RESULTS, SAMPLES, "loose")
