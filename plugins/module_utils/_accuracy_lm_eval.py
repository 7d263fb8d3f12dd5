# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""EleutherAI's lm-eval over a server's chat API: its task file, its command line and what its output says. Pure.

Read in lm-eval 0.4.13 (PyPI; https://github.com/EleutherAI/lm-evaluation-harness):

- `local-chat-completions` (models/openai_completions.py) takes the API key from OPENAI_API_KEY alone. The results file holds
  the model's arguments, so a key or header among them would be in it. It needs no tokenizer and no torch.
- `--use_cache` keeps each answer in SQLite as it arrives, under a hash of prompt and sampling and of nothing else: neither the
  model nor the server is in it. So each server, and each run that ended, has a file of its own.
- `think_end_token` drops all before its last occurrence. An answer that never closed its thinking stays as it is, and
  a filter would find numbers in it.
- A task may include another by its absolute path; what it says itself wins (tasks/_yaml_loader.py). A `data_files` with the
  builder `json` takes JSON lines.
- In the samples file, one JSON object a line, each document stands once for each filter; a filter that finds nothing gives
  `[invalid]`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils._accuracy import AccuracyError, percent

TASK = "sglang_fleet"
THINK_START, THINK_END = "<think>", "</think>"
INVALID = "[invalid]"
#: where tasks are in an environment, as its Python says it
TASKS_PROGRAM = "import lm_eval, os; print(lm_eval.__version__); print(os.path.dirname(lm_eval.__file__))"


def task_file(benchmark: Mapping[str, Any], package: str, data: str = "") -> str:
    """The text of our task: the tool's own, with our sampling, and a local file's rows in the place of the hub's.

    package: the folder of lm_eval. data: a file of JSON lines with the task's columns. JSON is YAML.
    """
    task: dict[str, Any] = {
        "include": f"{package}/tasks/{benchmark['task']}",
        "task": TASK,
        "num_fewshot": benchmark["shots"],
        "generation_kwargs": {
            # A stop word of the original, such as "Q:", would cut thinking short.
            "until": [],
            # Answers that are sampled are not kept, which a run that goes on needs; the server samples by the temperature.
            "do_sample": False,
            "max_gen_toks": benchmark["max_tokens"],
            **{key: benchmark[key] for key in ("temperature", "top_p") if key in benchmark},
        },
    }
    if data:
        task.update(dataset_path="json", dataset_name=None, dataset_kwargs={"data_files": {"test": data}})
    return json.dumps(task, indent=2) + "\n"


def command(
    program: str, benchmark: Mapping[str, Any], server: Mapping[str, str], folder: str, limit: int = 0
) -> list[str]:
    """The tool's command line. server: {"url", "model"}. folder: the run's own, with the task in task/."""
    arguments = {
        "model": server["model"],
        "base_url": f"{server['url']}/v1/chat/completions",
        "num_concurrent": benchmark["concurrency"],
        "max_retries": 3,
        "timeout": benchmark["request_seconds"],
        "think_end_token": THINK_END,
    }
    return [
        program,
        "run",
        "--model=local-chat-completions",
        "--model_args",
        *(f"{key}={value}" for key, value in arguments.items()),
        f"--tasks={TASK}",
        f"--include_path={folder}/task",
        "--apply_chat_template",
        f"--output_path={folder}/output",
        "--log_samples",
        f"--use_cache={folder}/answers",
        *([f"--limit={limit}"] if limit else []),
    ]


def _invalid(sample: Mapping[str, Any]) -> bool:
    """Whether the question has no answer: nothing found in it, or its thinking never closed."""
    said = str(sample["resps"][0][0])
    return sample["filtered_resps"][0] == INVALID or said.lstrip().startswith(THINK_START)


def read(results: str, samples: str, extraction: str) -> dict[str, Any]:
    """{"questions", "metrics", "tool_version"} of a run that ended, from the texts of its two files.

    An answer that never closed its thinking counts as none, and is wrong whatever number stands in it.
    Raises AccuracyError for what is no result, or where the two files are not of one run.
    """
    try:
        data = json.loads(results)
        claimed = data["results"][TASK][f"exact_match,{extraction}"]
        questions = int(data["n-samples"][TASK]["effective"])
        rows = [json.loads(line) for line in samples.splitlines() if line.strip()]
        counted = [row for row in rows if row["filter"] == extraction]
        right = [row for row in counted if row["exact_match"] == 1]
        none = sum(_invalid(row) for row in counted)
        correct = sum(not _invalid(row) for row in right)
    except (ValueError, LookupError, TypeError) as error:
        raise AccuracyError(f"lm-eval's results are not as they should be: {type(error).__name__} {error}") from None
    if len(counted) != questions or not questions or abs(len(right) / questions - claimed) > 1e-9:
        raise AccuracyError(
            f"lm-eval's results say {questions} questions and {claimed}, its samples {len(counted)} and {len(right)} right"
        )
    return {
        "questions": questions,
        "tool_version": str(data.get("lm_eval_version", "")),
        "metrics": {
            "pass@1": {
                "accuracy": percent(correct / questions),
                "correct": correct,
                "no_answer": percent(none / questions),
            }
        },
    }
