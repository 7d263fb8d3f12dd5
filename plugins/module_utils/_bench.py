# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""sglang.bench_serving: the command of a profile, and what its output says. Pure; the calls are in `bench_serving`.

Read in SGLang 0.5.7, 0.5.9 and 0.5.10.post1 (python/sglang/bench_serving.py):

- The API key comes from the environment alone: OPENAI_API_KEY is sent as a bearer token, on /flush_cache and the
  server's information too.
- The JSON line holds `server_info`, which is the server's whole configuration with its API key in clear. So the line goes
  to the standard output and into no file, and only the keys named here are taken from it.
- `random` draws the lengths from the seed and the text from a file in ShareGPT's form, which is fetched from the hub
  where no file is given. So the tokens are the same in number whatever the text is.
- With no request left to count, figures are NaN; a rate without limit is Infinity. Neither is JSON, both stand there bare.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

#: what a line says of the run, as catalogue/references.yml has it; num_prompts and seed stand on the command line only
LINE_SETTINGS = (
    "backend",
    "dataset_name",
    "random_input_len",
    "random_output_len",
    "random_range_ratio",
    "max_concurrency",
    "request_rate",
)

#: the label in the text block -> the key in the JSON line. Units stand in both: s, ms, requests or tokens a second.
BLOCK_METRICS: dict[str, str] = {
    "Successful requests": "completed",
    "Benchmark duration (s)": "duration",
    "Total input tokens": "total_input_tokens",
    "Total input text tokens": "total_input_text_tokens",
    "Total input vision tokens": "total_input_vision_tokens",
    "Total generated tokens": "total_output_tokens",
    "Total generated tokens (retokenized)": "total_output_tokens_retokenized",
    "Request throughput (req/s)": "request_throughput",
    "Input token throughput (tok/s)": "input_throughput",
    "Output token throughput (tok/s)": "output_throughput",
    "Total token throughput (tok/s)": "total_throughput",
    "Peak output token throughput (tok/s)": "max_output_tokens_per_s",
    "Peak concurrent requests": "max_concurrent_requests",
    "Concurrency": "concurrency",
    "Accept length": "accept_length",
    **{
        f"{title} {label} (ms)": f"{rank}_{key}_ms"
        for label, key in (("E2E Latency", "e2e_latency"), ("TTFT", "ttft"), ("TPOT", "tpot"), ("ITL", "itl"))
        for title, rank in (
            ("Mean", "mean"),
            ("Median", "median"),
            ("P90", "p90"),
            ("P95", "p95"),
            ("P99", "p99"),
            ("Max", "max"),
        )
    },
}

#: metrics of the JSON line; the standard deviations are not in the block
LINE_METRICS = frozenset(
    {*BLOCK_METRICS.values(), *(f"std_{key}_ms" for key in ("e2e_latency", "ttft", "tpot", "itl"))}
)

_TITLE = "Serving Benchmark Result"
_BLOCK_SETTINGS = {
    "Backend": "backend",
    "Traffic request rate": "request_rate",
    "Max request concurrency": "max_concurrency",
}
_ROW = re.compile(r"([A-Z][^:]*):\s+(\S.*?)\s*")

Figures = tuple[dict[str, Any], dict[str, Any]]


class BenchError(ValueError):
    """A run has no result that counts; the text says what was found and what to do."""


def number(text: str) -> int | float:
    """A printed figure; one without a point is a whole number. inf, nan and anything else raise ValueError."""
    return int(text) if re.fullmatch(r"-?\d+", text) else _finite(float(text))


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{value} is no figure")
    return value


def rate(value: Any) -> Any:
    """Requests a second as catalogue/references.yml has it: Infinity is the text inf."""
    return "inf" if value in ("inf", math.inf) else value


def parse_line(text: str) -> Figures:
    """(settings, metrics) of one JSON line. A metric that is null or NaN is left out: there was nothing to count.

    max_itl_ms is in no line; of one with details (--output-details) it is the largest of `itls`, which are in seconds.
    Raises BenchError for what is no result.
    """
    try:
        data = json.loads(text)  # takes bare Infinity and NaN
    except ValueError as error:
        raise BenchError(f"a line of the benchmark's output is not JSON: {error}") from None
    if not isinstance(data, dict) or "duration" not in data or "backend" not in data:
        raise BenchError("a JSON line of the benchmark's output is no result: it has no backend and duration")
    settings = {key: data[key] for key in LINE_SETTINGS if data.get(key) is not None}
    if "request_rate" in settings:
        settings["request_rate"] = rate(settings["request_rate"])
    gaps = [gap for request in data.get("itls") or () for gap in request]
    if gaps and "max_itl_ms" not in data:
        data["max_itl_ms"] = max(gaps) * 1000
    metrics = {
        key: value
        for key, value in data.items()
        if key in LINE_METRICS and isinstance(value, (int, float)) and math.isfinite(value)
    }
    return settings, metrics


def parse_jsonl(text: str) -> list[Figures]:
    """(settings, metrics) of each line of a results file. Raises BenchError with the line's number."""
    results = []
    for count, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                results.append(parse_line(line))
            except BenchError as error:
                raise BenchError(f"line {count}: {error}") from None
    return results


def parse_blocks(text: str) -> list[Figures]:
    """(settings, metrics) of each printed block, which may stand in any other text, a log or a page.

    Raises BenchError for a block that was cut short, or has a row that is not known.
    """
    results: list[Figures] = []
    settings: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    inside = False
    for count, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if _TITLE in bare:
            if inside:
                raise BenchError(f"line {count}: a block begins inside another, which was cut short")
            inside, settings, metrics = True, {}, {}
        elif inside and bare and not bare.strip("="):
            results.append((settings, metrics))
            inside = False
        elif inside and bare and not bare.startswith("---"):
            _read_row(bare, count, settings, metrics)
    if inside:
        raise BenchError("the text ends inside a block: the run was cut short")
    return results


def _read_row(row: str, count: int, settings: dict[str, Any], metrics: dict[str, Any]) -> None:
    match = _ROW.fullmatch(row)
    label, value = (match[1], match[2]) if match else ("", "")
    if label in BLOCK_METRICS:
        try:
            metrics[BLOCK_METRICS[label]] = number(value)
        except ValueError:
            if value not in ("nan", "inf"):
                raise BenchError(f"line {count}: {label} is {value!r}, wanted a figure") from None
    elif label in _BLOCK_SETTINGS:
        if value != "not set":
            settings[_BLOCK_SETTINGS[label]] = number(value) if re.fullmatch(r"[\d.]+", value) else value
    else:
        raise BenchError(f"line {count}: {row!r} is no row of the benchmark's block that is known")


def parse_output(text: str) -> Figures:
    """The one result of what a run printed, its JSON line among the rest; max_itl_ms comes from the block.

    Raises BenchError where there is not exactly one line.
    """
    lines = [line for line in text.splitlines() if line.startswith("{") and '"duration"' in line]
    if len(lines) != 1:
        raise BenchError(f"the benchmark printed {len(lines)} results, wanted one")
    settings, metrics = parse_line(lines[0])
    for _block_settings, printed in parse_blocks("\n".join(line for line in text.splitlines() if line != lines[0])):
        if "max_itl_ms" in printed:
            metrics.setdefault("max_itl_ms", printed["max_itl_ms"])
    return settings, metrics


def settings_of(profile: Mapping[str, Any]) -> dict[str, Any]:
    """A profile's settings, with the keys of catalogue/references.yml."""
    return {
        "backend": "sglang",
        "dataset_name": "random",
        **{key: profile[key] for key in ("random_input_len", "random_output_len", "random_range_ratio", "seed")},
        **{key: profile[key] for key in ("num_prompts", "max_concurrency", "request_rate")},
    }


def command(
    profile: Mapping[str, Any], container: str, base_url: str, model: Mapping[str, str], dataset: str, key: bool
) -> list[str]:
    """`docker exec` of the profile's run in the server's own container, whose tokenizer and image it then has.

    model: {"path", "served"}. dataset: a file in the container in ShareGPT's form. key: whether the server asks for one,
    which docker then takes from its own environment (OPENAI_API_KEY). The time limit is kept inside the container: ending
    the client would leave the run going.
    """
    settings = settings_of(profile)
    # Unbuffered, or the JSON line, which the tool writes past its buffer, could stand in the middle of another.
    environment = ["HF_HUB_OFFLINE=1", "PYTHONUNBUFFERED=1", "NO_PROXY=*", "no_proxy=*"]
    environment += ["OPENAI_API_KEY"] if key else []
    return [
        *("docker", "exec", "--workdir=/tmp"),
        *(f"--env={setting}" for setting in environment),
        container,
        *("timeout", "--kill-after=10", str(profile["seconds"])),
        *("python3", "-m", "sglang.bench_serving"),
        f"--base-url={base_url}",
        f"--model={model['path']}",
        f"--served-model-name={model['served']}",
        f"--tokenizer={model['path']}",
        *(f"--{name.replace('_', '-')}={value}" for name, value in settings.items()),
        f"--dataset-path={dataset}",
        f"--warmup-requests={profile['warmup_requests']}",
        "--flush-cache",
        "--disable-tqdm",
        "--output-file=/dev/stdout",
    ]


def without_key(text: str, key: str | None) -> str:
    """The text with the key taken out, for a message."""
    return text.replace(key, "********") if key else text


def failure(code: int, out: str, err: str, profile: Mapping[str, Any]) -> str:
    """Why a run ended with that status, from the end of what it printed."""
    if code in (124, 137):
        return (
            f"it did not end within {profile['seconds']} s: the server hangs or is far too slow, or it restarted. Look at"
            " its journal, or raise the profile's seconds"
        )
    said = [line.strip() for line in (err.strip() or out.strip()).splitlines() if line.strip()]
    # JSON holds the server's configuration.
    said = [line for line in said if not line.startswith("{")]
    return f"it ended with status {code}: {said[-1] if said else 'it said nothing'}"


def check(profile: Mapping[str, Any], settings: Mapping[str, Any], metrics: Mapping[str, Any]) -> None:
    """Raises BenchError where the result is not that of the profile, or a request of it failed."""
    wanted = settings_of(profile)
    differing = [
        f"{key} {found}, wanted {wanted[key]}"
        for key, found in settings.items()
        if key in wanted and wanted[key] != found
    ]
    if differing:
        raise BenchError(f"the result is of another run: {'; '.join(differing)}")
    completed = metrics.get("completed", 0)
    if completed != wanted["num_prompts"]:
        raise BenchError(
            f"{completed} of {wanted['num_prompts']} requests succeeded: the figures of the rest say nothing."
            " Look at the server's journal"
        )


def record(
    profile: str, settings: Mapping[str, Any], metrics: Mapping[str, Any], about: Mapping[str, Any], taken_at: str
) -> dict[str, Any]:
    """What is kept of one profile on one instance.

    about: host, instance, model, gpu, count, tp, ep, image (reference, digest, sglang_version), driver (name, version),
    corpus (name, sha256). taken_at: ISO 8601, UTC.
    """
    return {
        "schema": 1,
        "kind": "speed",
        "profile": profile,
        "tool": "sglang.bench_serving",
        "settings": dict(settings),
        "metrics": {key: round(value, 4) if isinstance(value, float) else value for key, value in metrics.items()},
        **about,
        "taken_at": taken_at,
    }
