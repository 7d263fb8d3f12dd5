# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA NeMo-Skills over a server's chat API: its command lines and what its metrics say. Pure.

Read at COMMIT of https://github.com/NVIDIA-NeMo/Skills, which is not on PyPI:

- `ns eval` without a cluster runs on this machine, without containers (pipeline/utils/cluster.py). What stands after its own
  options goes to nemo_skills.inference.generate, by Hydra.
- BENCHMARK:N asks each question N times, with seeds 0 to N-1 and a temperature of 0.7 unless told otherwise; BENCHMARK alone
  answers once (pipeline/utils/eval.py, utils/generation.py).
- The seeds' pages say parse_reasoning=True. That is the name of later commits for what COMMIT calls remove_thinking: the
  text up to </think> is dropped before an answer is looked for, and thinking that never closed leaves an empty one
  (nemo_skills/utils.py).
- The server's type is sglang, not openai: as openai, COMMIT sends presence_penalty 1.0, its neutral value of another option
  (inference/model/openai.py; later commits send none). The key is taken from the variable that api_key_env_var names, and must
  be there then (inference/model/base.py).
- Seeds that ended leave a .done file and are not asked again; of a seed that was cut short the answers are in
  output-rsN.jsonl-async and the rest is asked (++skip_filled=True, which the pipeline adds).
- metrics.json: benchmark -> way to count -> num_entries, symbolic_correct and no_answer in percent; avg-of-k has
  symbolic_correct_statistics, whose std_dev_across_runs is a share, not percent (evaluation/metrics/base.py: the table that it
  prints multiplies by 100).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils._accuracy import AccuracyError

#: 2025-10-17, what roles/accuracy installs
COMMIT = "8b18f3992854bcb668095228a146e214c567b370"
#: where data sets are in an environment, as its Python says it
DATASETS_PROGRAM = "import os, nemo_skills; print(os.path.dirname(nemo_skills.__file__) + '/dataset')"


def prepare_command(program: str, benchmark: Mapping[str, Any]) -> list[str]:
    """The command that fetches the data set and leaves it beside the tool's own files, as {split}.jsonl."""
    more = [f"--split={benchmark['split']}"] if benchmark["split"] != "test" else []
    return [program, "prepare_data", benchmark["benchmark"], *more]


def command(
    program: str,
    benchmark: Mapping[str, Any],
    server: Mapping[str, str],
    folder: str,
    limit: int = 0,
    key: bool = False,
) -> list[str]:
    """The tool's command line. server: {"url", "model"}. folder: the run's own. key: whether OPENAI_API_KEY holds one."""
    many = f":{benchmark['seeds']}" if benchmark["seeds"] > 1 or benchmark["temperature"] else ""
    return [
        program,
        "eval",
        "--server_type=sglang",
        f"--server_address={server['url']}/v1",
        f"--model={server['model']}",
        f"--benchmarks={benchmark['benchmark']}{many}",
        f"--split={benchmark['split']}",
        f"--output_dir={folder}/output",
        f"++prompt_config={benchmark['prompt']}",
        f"++inference.temperature={benchmark['temperature']}",
        *([f"++inference.top_p={benchmark['top_p']}"] if "top_p" in benchmark else []),
        f"++inference.tokens_to_generate={benchmark['max_tokens']}",
        f"++inference.timeout={benchmark['request_seconds']}",
        f"++remove_thinking={benchmark['parse_reasoning']}",
        f"++max_concurrent_requests={benchmark['concurrency']}",
        *([f"++max_samples={limit}"] if limit else []),
        *(["++server.api_key_env_var=OPENAI_API_KEY"] if key else []),
    ]


def metrics_file(benchmark: Mapping[str, Any]) -> str:
    """Where the metrics are, below the run's folder."""
    return f"output/eval-results/{benchmark['benchmark']}/metrics.json"


def ways(benchmark: Mapping[str, Any]) -> tuple[str, ...]:
    """How the answers are counted: the ways of the published tables."""
    seeds = benchmark["seeds"]
    return (f"pass@1[avg-of-{seeds}]", f"majority@{seeds}", f"pass@{seeds}") if seeds > 1 else ("pass@1",)


def read(metrics: str, benchmark: Mapping[str, Any]) -> dict[str, Any]:
    """{"questions", "metrics", "tool_version"} from the text of metrics.json. Raises AccuracyError for what is no result.

    accuracy, no_answer and spread (the standard deviation from seed to seed) are percent.
    """
    name = benchmark["benchmark"]
    try:
        counted = json.loads(metrics)[name]
        missing = [way for way in ways(benchmark) if way not in counted]
        if missing:
            raise AccuracyError(
                f"NeMo-Skills' metrics of {name} have no {', '.join(missing)}; they have {', '.join(counted)}: a seed"
                " has no answers. Run it again: it goes on where it was"
            )
        found = {way: _figures(counted[way]) for way in ways(benchmark)}
        questions = int(counted[ways(benchmark)[0]]["num_entries"])
    except (ValueError, LookupError, TypeError) as error:
        if isinstance(error, AccuracyError):
            raise
        raise AccuracyError(f"NeMo-Skills' metrics are not as they should be: {type(error).__name__} {error}") from None
    return {"questions": questions, "metrics": found, "tool_version": COMMIT[:12]}


def _figures(counted: Mapping[str, Any]) -> dict[str, float]:
    found = {"accuracy": float(counted["symbolic_correct"]), "no_answer": float(counted["no_answer"])}
    spread = counted.get("symbolic_correct_statistics", {}).get("std_dev_across_runs")
    if spread is not None:
        found["spread"] = 100 * float(spread)
    return {key: round(value, 4) for key, value in found.items()}
