# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of sglang.bench_serving's output, figure by figure, and the command that asks for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _bench
from ansible_collections.sglang.fleet.plugins.module_utils._bench import BenchError
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import read_data

BLOCKS = Path(__file__).parent / "fixtures" / "bench"
DATA = read_data()
SPEED: dict[str, dict[str, Any]] = {
    name: entry for name, entry in DATA["references"].items() if entry["kind"] == "speed"
}
PROFILES: dict[str, dict[str, Any]] = DATA["benchmark_profiles"]
LOW = {**PROFILES["low"], "name": "low"}

# The page's blocks to the letter, and here every figure of them once more: label, low, medium, high.
FIGURES = [
    ("duration", 138.49, 79.85, 153.81),
    ("completed", 10, 80, 500),
    ("total_input_tokens", 6101, 39668, 249831),
    ("total_input_text_tokens", 6101, 39668, 249831),
    ("total_input_vision_tokens", 0, 0, 0),
    ("total_output_tokens", 4220, 40805, 252662),
    ("total_output_tokens_retokenized", 4220, 40801, 252540),
    ("request_throughput", 0.07, 1.00, 3.25),
    ("input_throughput", 44.05, 496.81, 1624.24),
    ("output_throughput", 30.47, 511.05, 1642.64),
    ("max_output_tokens_per_s", 46.00, 703.00, 2600.00),
    ("max_concurrent_requests", 2, 20, 107),
    ("total_throughput", 74.53, 1007.86, 3266.88),
    ("concurrency", 1.00, 13.71, 91.12),
    ("mean_e2e_latency_ms", 13844.96, 13683.48, 28030.32),
    ("median_e2e_latency_ms", 10379.28, 14324.05, 26911.51),
    ("mean_ttft_ms", 4489.71, 329.71, 505.29),
    ("median_ttft_ms", 382.24, 147.43, 182.64),
    ("p99_ttft_ms", 37978.20, 898.91, 1815.81),
    ("mean_tpot_ms", 22.21, 26.93, 55.04),
    ("median_tpot_ms", 22.23, 26.52, 57.64),
    ("p99_tpot_ms", 22.24, 38.01, 69.84),
    ("mean_itl_ms", 22.22, 26.23, 54.58),
    ("median_itl_ms", 22.24, 23.44, 38.94),
    ("p95_itl_ms", 22.34, 24.30, 140.77),
    ("p99_itl_ms", 22.39, 123.34, 149.16),
    ("max_itl_ms", 23.61, 632.37, 956.82),
]
RUNS = [("low", 1, "minimax-m2.1-4xmi300x-speed-c1"), ("medium", 16, "minimax-m2.1-4xmi300x-speed-c16")]
RUNS += [("high", 100, "minimax-m2.1-4xmi300x-speed-c100")]


@pytest.mark.parametrize("key", [row[0] for row in FIGURES])
def test_each_figure_of_the_published_blocks(key: str) -> None:
    wanted = next(row[1:] for row in FIGURES if row[0] == key)
    found = [_bench.parse_blocks((BLOCKS / f"minimax-m2.1-{name}.txt").read_text())[0][1][key] for name, _c, _r in RUNS]
    assert tuple(found) == wanted
    assert [type(one) for one in found] == [type(one) for one in wanted]


@pytest.mark.parametrize(("name", "concurrency", "reference"), RUNS)
def test_a_published_block_is_the_catalogue_s_reference_and_no_more(
    name: str, concurrency: int, reference: str
) -> None:
    settings, metrics = _bench.parse_blocks((BLOCKS / f"minimax-m2.1-{name}.txt").read_text())[0]
    assert settings == {"backend": "sglang", "request_rate": "inf", "max_concurrency": concurrency}
    assert metrics == SPEED[reference]["metrics"]


def test_blocks_in_the_middle_of_a_page() -> None:
    page = "# title\n```\n" + "\nwords: 3\n".join(
        (BLOCKS / f"minimax-m2.1-{name}.txt").read_text() for name, _concurrency, _reference in RUNS
    )
    assert [metrics["completed"] for _settings, metrics in _bench.parse_blocks(page)] == [10, 80, 500]


def block(metrics: dict[str, Any]) -> str:
    """The metrics as the tool prints them: whole numbers bare, the others with two decimals."""
    rows = [" Serving Benchmark Result ".center(50, "="), f"{'Backend:':<40} {'sglang':<10}"]
    for label, key in _bench.BLOCK_METRICS.items():
        if key in metrics:
            value = metrics[key]
            rows.append(f"{label + ':':<40} {value if isinstance(value, int) else format(value, '.2f'):<10}")
    return "\n".join([*rows, "=" * 50, ""])


@pytest.mark.parametrize("reference", SPEED)
def test_every_reference_survives_block_and_line(reference: str) -> None:
    """M2.7's page prints fewer figures than M2.1's, M2.5's more."""
    metrics, settings = SPEED[reference]["metrics"], SPEED[reference]["settings"]
    assert _bench.parse_blocks(block(metrics))[0][1] == metrics
    line = json.dumps({**settings, "request_rate": float("inf"), **metrics, "server_info": {"api_key": "s3cret"}})
    assert '"request_rate": Infinity' in line
    told, figures = _bench.parse_line(line)
    assert figures == metrics
    assert told == {key: value for key, value in settings.items() if key not in ("num_prompts", "seed")}


LINE = '{"backend": "sglang", "request_rate": Infinity, "max_concurrency": 1, "duration": 2.5, "completed": 0'


@pytest.mark.parametrize(
    ("rest", "key", "wanted"),
    [
        pytest.param(', "mean_ttft_ms": NaN', "mean_ttft_ms", None, id="not a number"),
        pytest.param(', "output_throughput": Infinity', "output_throughput", None, id="infinite"),
        pytest.param(', "mean_ttft_ms": null', "mean_ttft_ms", None, id="null"),
        pytest.param(', "std_ttft_ms": 1.5', "std_ttft_ms", 1.5, id="a deviation"),
        pytest.param(', "itls": [[0.02, 0.5], [], [0.1]]', "max_itl_ms", 500.0, id="details"),
        pytest.param(', "server_info": {"api_key": "s3cret"}', "server_info", None, id="the server's configuration"),
        pytest.param(', "accept_length": 2.25', "accept_length", 2.25, id="speculative decoding"),
    ],
)
def test_a_line_s_odd_figures(rest: str, key: str, wanted: float | None) -> None:
    settings, metrics = _bench.parse_line(LINE + rest + "}")
    assert metrics.get(key) == wanted
    assert settings == {"backend": "sglang", "request_rate": "inf", "max_concurrency": 1}
    json.dumps([settings, metrics], allow_nan=False)


def test_a_file_of_lines() -> None:
    assert [len(metrics) for _settings, metrics in _bench.parse_jsonl(f'{LINE}}}\n\n{LINE}, "mean_itl_ms": 3}}\n')] == [
        2,
        3,
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(f"{LINE}}}\n{LINE}", "line 2: a line of the benchmark's output is not JSON: ", id="torn"),
        pytest.param("[1]", "line 1: a JSON line of the benchmark's output is no result: ", id="a list"),
        pytest.param(
            '{"backend": "x"}', "line 1: a JSON line of the benchmark's output is no result: ", id="another thing"
        ),
    ],
)
def test_a_file_that_is_not_one(text: str, message: str) -> None:
    with pytest.raises(BenchError) as error:
        _bench.parse_jsonl(text)
    assert str(error.value).startswith(message)


HEAD = " Serving Benchmark Result ".center(50, "=")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(f"{HEAD}\nConcurrency: 1.00\n", "the text ends inside a block: the run was cut short", id="cut"),
        pytest.param(f"{HEAD}\n{HEAD}", "line 2: a block begins inside another, which was cut short", id="twice"),
        pytest.param(
            f"{HEAD}\nWarp factor: 9\n",
            "line 2: 'Warp factor: 9' is no row of the benchmark's block that is known",
            id="unknown",
        ),
        pytest.param(f"{HEAD}\nConcurrency: fast\n", "line 2: Concurrency is 'fast', wanted a figure", id="no figure"),
    ],
)
def test_a_block_that_is_not_one(text: str, message: str) -> None:
    with pytest.raises(BenchError) as error:
        _bench.parse_blocks(text)
    assert str(error.value) == message


def test_a_block_with_nothing_counted() -> None:
    text = f"{HEAD}\nMax request concurrency:    not set\nMean TTFT (ms):   nan\nConcurrency:  0.00\n{'=' * 50}\n"
    assert _bench.parse_blocks(text) == [({}, {"concurrency": 0.0})]


def test_what_a_run_prints_has_one_result_and_the_block_adds_the_largest_gap() -> None:
    printed = f'benchmark_args=Namespace(seed=1)\n{block({"max_itl_ms": 12.5, "mean_itl_ms": 3.0})}{LINE}, "mean_itl_ms": 3.01}}\n'
    _settings, metrics = _bench.parse_output(printed)
    assert metrics == {"duration": 2.5, "completed": 0, "mean_itl_ms": 3.01, "max_itl_ms": 12.5}
    for text, count in ((printed + LINE + "}", 2), ("no luck", 0)):
        with pytest.raises(BenchError, match=f"the benchmark printed {count} results, wanted one"):
            _bench.parse_output(text)


def test_the_command_of_a_load() -> None:
    words = _bench.command(
        LOW, "sglang-0", "http://127.0.0.1:30000", {"path": "/w/m", "served": "m"}, "/tmp/c.json", True
    )
    assert words == [
        *("docker", "exec", "--workdir=/tmp", "--env=HF_HUB_OFFLINE=1", "--env=PYTHONUNBUFFERED=1"),
        *("--env=NO_PROXY=*", "--env=no_proxy=*", "--env=OPENAI_API_KEY", "sglang-0"),
        *("timeout", "--kill-after=10", "1200", "python3", "-m", "sglang.bench_serving"),
        *("--base-url=http://127.0.0.1:30000", "--model=/w/m", "--served-model-name=m", "--tokenizer=/w/m"),
        *("--backend=sglang", "--dataset-name=random", "--random-input-len=1000", "--random-output-len=1000"),
        *("--random-range-ratio=0.0", "--seed=1", "--num-prompts=10", "--max-concurrency=1", "--request-rate=inf"),
        *("--dataset-path=/tmp/c.json", "--warmup-requests=1", "--flush-cache", "--disable-tqdm"),
        "--output-file=/dev/stdout",
    ]
    keyless = _bench.command(LOW, "sglang-0", "http://127.0.0.1:30000", {"path": "/w/m", "served": "m"}, "/c", False)
    assert "--env=OPENAI_API_KEY" not in keyless


@pytest.mark.parametrize(("name", "concurrency"), [("low", 1), ("medium", 16), ("high", 100)])
def test_the_loads_are_those_of_every_published_table(name: str, concurrency: int) -> None:
    """Or no record would ever be compared with one."""
    published = [entry["settings"] for entry in SPEED.values() if entry["settings"]["max_concurrency"] == concurrency]
    assert published
    assert all(settings == _bench.settings_of(PROFILES[name]) for settings in published)
    long = PROFILES[f"{name}-8k"]
    same = {
        "random_input_len": 1000,
        "description": PROFILES[name]["description"],
        "seconds": PROFILES[name]["seconds"],
    }
    assert long["random_input_len"] == 8000
    assert {**long, **same} == PROFILES[name]


@pytest.mark.parametrize(
    ("code", "out", "err", "message"),
    [
        (124, "", "", "it did not end within 1200 s: the server hangs"),
        (137, "", "", "it did not end within 1200 s: the server hangs"),
        (1, "x", "Traceback\nValueError: Warmup failed\n", "it ended with status 1: ValueError: Warmup failed"),
        (1, 'Error\n{"server_info": {"api_key": "s3cret"}}\n', "", "it ended with status 1: Error"),
        (2, "", "", "it ended with status 2: it said nothing"),
    ],
)
def test_why_a_run_failed(code: int, out: str, err: str, message: str) -> None:
    assert _bench.failure(code, out, err, LOW).startswith(message)


def test_no_key_in_a_message() -> None:
    assert _bench.without_key("Bearer s3cret refused", "s3cret") == "Bearer ******** refused"
    assert _bench.without_key("refused", None) == "refused"


@pytest.mark.parametrize(
    ("settings", "completed", "message"),
    [
        pytest.param({"max_concurrency": 1}, 10, None, id="as asked"),
        pytest.param(
            {"max_concurrency": 4}, 10, "the result is of another run: max_concurrency 4, wanted 1", id="another"
        ),
        pytest.param({}, 7, "7 of 10 requests succeeded: the figures of the rest say nothing.", id="failed requests"),
    ],
)
def test_a_result_counts_only_when_all_requests_did(
    settings: dict[str, Any], completed: int, message: str | None
) -> None:
    if message is None:
        _bench.check(LOW, settings, {"completed": completed})
        return
    with pytest.raises(BenchError) as error:
        _bench.check(LOW, settings, {"completed": completed})
    assert str(error.value).startswith(message)


def test_a_record() -> None:
    about = {"host": "n1", "instance": "0", "gpu": "H100"}
    assert _bench.record(
        "low", {"seed": 1}, {"completed": 10, "mean_itl_ms": 1.234567}, about, "2026-01-01T00:00:00Z"
    ) == {
        "schema": 1,
        "kind": "speed",
        "profile": "low",
        "tool": "sglang.bench_serving",
        "settings": {"seed": 1},
        "metrics": {"completed": 10, "mean_itl_ms": 1.2346},
        **about,
        "taken_at": "2026-01-01T00:00:00Z",
    }
