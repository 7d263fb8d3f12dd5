# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The published results in the catalogue: their schema, the names that they use, every figure, and their arithmetic.

The tables below are the pages' own printed figures, kept a second time so that a slip of the pen in either is seen.
"""

from __future__ import annotations

import copy
import json
import math
import typing as t

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import read_data
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue_checks import DEFAULT_DIRECTORY

jsonschema = pytest.importorskip("jsonschema")
yaml = pytest.importorskip("yaml")

Entry = t.Dict[str, t.Any]  # noqa: UP006

SCHEMA = json.loads((DEFAULT_DIRECTORY / "schema" / "references.json").read_text("utf-8"))
DOCUMENT = yaml.safe_load((DEFAULT_DIRECTORY / "references.yml").read_text("utf-8"))
REFERENCES: dict[str, Entry] = DOCUMENT["references"]
SPEED = {name: entry for name, entry in REFERENCES.items() if entry["kind"] == "speed"}
ACCURACY = {name: entry for name, entry in REFERENCES.items() if entry["kind"] == "accuracy"}

# One row a figure, one column a run; - where the page does not print it.
M21 = """
duration                            138.49      79.85     153.81
completed                               10         80        500
total_input_tokens                    6101      39668     249831
total_input_text_tokens               6101      39668     249831
total_input_vision_tokens                0          0          0
total_output_tokens                   4220      40805     252662
total_output_tokens_retokenized       4220      40801     252540
request_throughput                    0.07       1.00       3.25
input_throughput                     44.05     496.81    1624.24
output_throughput                    30.47     511.05    1642.64
total_throughput                     74.53    1007.86    3266.88
mean_e2e_latency_ms               13844.96   13683.48   28030.32
median_e2e_latency_ms             10379.28   14324.05   26911.51
mean_ttft_ms                       4489.71     329.71     505.29
median_ttft_ms                      382.24     147.43     182.64
p99_ttft_ms                       37978.20     898.91    1815.81
mean_tpot_ms                         22.21      26.93      55.04
median_tpot_ms                       22.23      26.52      57.64
p99_tpot_ms                          22.24      38.01      69.84
mean_itl_ms                          22.22      26.23      54.58
median_itl_ms                        22.24      23.44      38.94
p95_itl_ms                           22.34      24.30     140.77
p99_itl_ms                           22.39     123.34     149.16
max_itl_ms                           23.61     632.37     956.82
concurrency                           1.00      13.71      91.12
max_output_tokens_per_s              46.00     703.00    2600.00
max_concurrent_requests                  2         20        107
"""

M2 = """
duration                            138.91      81.07     153.71
completed                               10         80        500
total_input_tokens                    6101      39668     249831
total_input_text_tokens               6101      39668     249831
total_input_vision_tokens                0          0          0
total_output_tokens                   4220      40805     252662
total_output_tokens_retokenized       4220      40803     250982
request_throughput                    0.07       0.99       3.25
input_throughput                     43.92     489.29    1625.33
output_throughput                    30.38     503.32    1643.75
total_throughput                     74.30     992.61    3269.09
mean_e2e_latency_ms               13887.62   13925.95   28017.24
median_e2e_latency_ms             10377.26   14348.75   26865.28
mean_ttft_ms                       4528.94     532.32     387.41
median_ttft_ms                      385.23     147.69     183.90
p99_ttft_ms                       38338.51    1978.48    1192.44
mean_tpot_ms                         22.21      27.49      55.23
median_tpot_ms                       22.24      26.56      57.84
p99_tpot_ms                          22.25      46.52      70.23
mean_itl_ms                          22.23      26.31      54.79
median_itl_ms                        22.24      23.47      39.01
p95_itl_ms                           22.35      24.37     143.10
p99_itl_ms                           22.41     125.10     150.46
max_itl_ms                           23.64    1192.51     986.14
concurrency                           1.00      13.74      91.14
max_output_tokens_per_s              46.00     704.00    2597.00
max_concurrent_requests                  2         19        107
"""

M25 = """
duration                             35.44      43.68      80.63
completed                               10         80        500
total_input_tokens                    6101      39668     249831
total_input_text_tokens               6101      39668     249831
total_output_tokens                   4220      40805     252662
total_output_tokens_retokenized       4220      40805     252331
request_throughput                    0.28       1.83       6.20
input_throughput                    172.16     908.19    3098.45
output_throughput                   119.08     934.22    3133.56
total_throughput                    291.24    1842.42    6232.01
mean_e2e_latency_ms                3542.38    7551.91   14604.59
median_e2e_latency_ms              2791.92    8094.28   14044.04
p90_e2e_latency_ms                 6317.77   12606.99   26456.53
p99_e2e_latency_ms                 7780.15   14977.84   30136.68
mean_ttft_ms                        145.20     116.86     149.32
median_ttft_ms                       80.38      82.33      95.16
p99_ttft_ms                         633.08     240.59     374.62
mean_tpot_ms                          8.05      14.81      28.92
median_tpot_ms                        8.08      14.98      30.09
p99_tpot_ms                           8.09      17.98      34.31
mean_itl_ms                           8.07      14.61      28.66
median_itl_ms                         8.08      13.50      21.52
p95_itl_ms                            8.12      14.15      66.90
p99_itl_ms                            8.16      66.52      96.76
max_itl_ms                           10.10     107.39     376.34
concurrency                           1.00      13.83      90.56
max_output_tokens_per_s             127.00    1184.00    4800.00
max_concurrent_requests                  2         20        113
"""

M27 = """
duration                   34.33     100.20
completed                     10        500
total_input_tokens          6101     249831
total_output_tokens         4220     252662
request_throughput          0.29       4.99
input_throughput          177.71    2493.41
output_throughput         122.92    2521.66
total_throughput          300.63    5015.07
mean_e2e_latency_ms      3431.21   18072.69
median_e2e_latency_ms    2742.57   17761.84
mean_ttft_ms               50.28     247.94
median_ttft_ms             53.85      92.05
mean_tpot_ms                8.02      35.75
median_tpot_ms              8.01      36.67
mean_itl_ms                 8.03      35.34
median_itl_ms               8.02      30.55
concurrency                    -      90.19
"""

#: run -> table and column
PRINTED: dict[str, tuple[str, int]] = {
    "minimax-m2.1-4xmi300x-speed-c1": (M21, 0),
    "minimax-m2.1-4xmi300x-speed-c16": (M21, 1),
    "minimax-m2.1-4xmi300x-speed-c100": (M21, 2),
    "minimax-m2-4xmi300x-speed-c1": (M2, 0),
    "minimax-m2-4xmi300x-speed-c16": (M2, 1),
    "minimax-m2-4xmi300x-speed-c100": (M2, 2),
    "minimax-m2.5-8xh100-speed-c1": (M25, 0),
    "minimax-m2.5-8xh100-speed-c16": (M25, 1),
    "minimax-m2.5-8xh100-speed-c100": (M25, 2),
    "minimax-m2.7-2xgb300-speed-c1": (M27, 0),
    "minimax-m2.7-2xgb300-speed-c100": (M27, 1),
}

PARSERS = {"tool-call-parser": "minimax-m2", "reasoning-parser": "minimax-append-think"}
COMMON = {"trust-remote-code": True, "mem-fraction-static": 0.85}

#: model -> what its results were taken on; None: the page gives no server command for the run
ENVIRONMENTS: dict[str, tuple[str, int, int, int, str, str, dict[str, t.Any] | None]] = {
    "MiniMax-M2": ("MI300X", 4, 4, 1, "v0.5.7-rocm700-mi30x", "0.5.7", COMMON),
    "MiniMax-M2.1": ("MI300X", 4, 4, 1, "v0.5.7-rocm700-mi30x", "0.5.7", {**PARSERS, **COMMON}),
    "MiniMax-M2.5": ("H100", 8, 8, 8, "v0.5.9", "0.5.9", {**PARSERS, **COMMON}),
    "MiniMax-M2.7": ("GB300", 2, 2, 1, "v0.5.10.post1-cu130", "0.5.10.post1", None),
}

#: concurrency -> prompts, and the tokens that the tool's seed and lengths ask for
WORKLOADS = {1: (10, 6101, 4220), 16: (80, 39668, 40805), 100: (500, 249831, 252662)}

NEMO = "nemo-skills"
SAMPLED = {"seeds": 8, "temperature": 0.6, "top_p": 0.95, "max_tokens": 120000, "parse_reasoning": True}

#: run -> model, tool, settings, metrics
SCORES: dict[str, tuple[str, str, dict[str, t.Any], dict[str, dict[str, float]]]] = {
    "minimax-m2.7-2xgb300-gpqa-diamond": (
        "MiniMax-M2.7",
        NEMO,
        {"dataset": "GPQA Diamond", "questions": 198, "prompt": "eval/aai/mcq-4choices", **SAMPLED},
        {
            "pass@1[avg-of-8]": {"accuracy": 84.91, "no_answer": 3.54},
            "majority@8": {"accuracy": 88.89, "no_answer": 0.0},
            "pass@8": {"accuracy": 96.46, "no_answer": 0.0},
        },
    ),
    "minimax-m2.7-2xgb300-aime-2025": (
        "MiniMax-M2.7",
        NEMO,
        {"dataset": "AIME 2025", "questions": 30, "prompt": "generic/math", **SAMPLED},
        {
            "pass@1[avg-of-8]": {"accuracy": 92.50, "spread": 5.56, "no_answer": 2.92},
            "majority@8": {"accuracy": 97.08, "no_answer": 0.0},
            "pass@8": {"accuracy": 100.00, "no_answer": 0.0},
        },
    ),
    "minimax-m2.7-2xgb300-mmlu-pro": (
        "MiniMax-M2.7",
        NEMO,
        {
            "dataset": "MMLU-Pro",
            "questions": 12032,
            "prompt": "eval/aai/mcq-10choices",
            "seeds": 1,
            "temperature": 0.0,
            "max_tokens": 32768,
            "parse_reasoning": True,
        },
        {"pass@1": {"accuracy": 69.41, "no_answer": 18.75}},
    ),
    "minimax-m2.7-2xgb300-gsm8k": (
        "MiniMax-M2.7",
        "a client of the OpenAI-compatible API, which the page does not name",
        {"dataset": "GSM8K", "questions": 1319, "shots": 8, "prompt": "chain of thought"},
        {"pass@1": {"accuracy": 92.34, "correct": 1218}},
    ),
    "minimax-m2-4xmi300x-gsm8k": (
        "MiniMax-M2",
        "sglang.test.few_shot_gsm8k",
        {"dataset": "GSM8K", "questions": 200, "shots": 5, "temperature": 0.0, "max_tokens": 512, "concurrency": 128},
        {"pass@1": {"accuracy": 95.0, "no_answer": 0.0, "latency": 15.120, "output_throughput": 1306.711}},
    ),
}

HALF_CENT = 0.005 + 1e-9  # a figure printed with two decimals is this far from the true one at most


def findings(document: t.Any) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(document)]


def printed(table: str, column: int) -> dict[str, float]:
    rows = [line.split() for line in table.strip().splitlines()]
    return {row[0]: float(row[1 + column]) for row in rows if row[1 + column] != "-"}


def test_keeps_to_its_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert findings(DOCUMENT) == []


C1 = "minimax-m2.1-4xmi300x-speed-c1"
GPQA = "minimax-m2.7-2xgb300-gpqa-diamond"


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        pytest.param(C1, ("colour",), "red", id="unknown key"),
        pytest.param(C1, ("kind",), "taste", id="unknown kind"),
        pytest.param(C1, ("tp",), 0, id="no GPUs"),
        pytest.param(C1, ("sglang_version",), 0.5, id="version as a number"),
        pytest.param(C1, ("metrics", "mean_ttft"), 1.0, id="metric that the tool does not write"),
        pytest.param(C1, ("metrics", "output_throughput"), 0, id="no throughput"),
        pytest.param(C1, ("metrics", "mean_ttft_ms"), "4489.71", id="figure as text"),
        pytest.param(C1, ("settings", "request_rate"), "unlimited", id="unknown rate"),
        pytest.param(C1, ("settings", "temperature"), 0.6, id="accuracy setting in a speed run"),
        pytest.param(C1, ("server_args", "--tp"), 4, id="option with dashes"),
        pytest.param(GPQA, ("metrics", "pass@eight"), {"accuracy": 1.0}, id="unknown way to count"),
        pytest.param(GPQA, ("metrics", "pass@8", "accuracy"), 196.46, id="more than all"),
        pytest.param(GPQA, ("metrics", "pass@8", "mean_ttft_ms"), 1.0, id="speed figure in an accuracy run"),
        pytest.param(GPQA, ("settings", "num_prompts"), 10, id="speed setting in an accuracy run"),
    ],
)
def test_schema_refuses(name: str, path: tuple[str, ...], value: t.Any) -> None:
    document = {"references": {name: copy.deepcopy(REFERENCES[name])}}
    place: Entry = document["references"][name]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert findings(document)


@pytest.mark.parametrize("name", [C1, GPQA])
def test_schema_wants_every_key_but_the_optional_ones(name: str) -> None:
    for key in REFERENCES[name]:
        entry = {other: value for other, value in REFERENCES[name].items() if other != key}
        expected = 0 if key in ("server_args", "note") else 1
        assert bool(findings({"references": {name: entry}})) == bool(expected), key


@pytest.mark.parametrize("name", REFERENCES)
def test_names_are_in_the_catalogue(name: str) -> None:
    entry, catalogue = REFERENCES[name], read_data()
    models = {model["id"].rpartition("/")[2]: model for model in catalogue["models"].values()}
    assert entry["model"] in {**models, **catalogue["models"]}
    gpu, image = catalogue["gpus"][entry["gpu"]], catalogue["images"][entry["image"]]
    assert image["vendor"] == gpu["vendor"]
    assert image["sglang_version"] == entry["sglang_version"]
    assert entry["count"] == entry["tp"]  # one server over all GPUs of the run
    assert entry["tp"] % entry["ep"] == 0


@pytest.mark.parametrize("name", REFERENCES)
def test_name_tells_model_hardware_and_run(name: str) -> None:
    entry = REFERENCES[name]
    stem = f"{entry['model']}-{entry['count']}x{entry['gpu']}".lower()
    if entry["kind"] == "speed":
        run = f"speed-c{entry['settings']['max_concurrency']}"
    else:
        run = entry["settings"]["dataset"].lower().replace(" ", "-")
    assert name == f"{stem}-{run}"


@pytest.mark.parametrize("name", REFERENCES)
def test_environment(name: str) -> None:
    entry = REFERENCES[name]
    found = (*(entry[key] for key in ("gpu", "count", "tp", "ep", "image", "sglang_version")), entry.get("server_args"))
    assert found == ENVIRONMENTS[entry["model"]]
    assert entry["source"].startswith("the MiniMax-M2")
    assert "cookbook page" in entry["source"]


def test_every_run_is_held_here() -> None:
    assert set(SPEED) == set(PRINTED)
    assert set(ACCURACY) == set(SCORES)


@pytest.mark.parametrize("name", SPEED)
def test_speed_figures(name: str) -> None:
    assert SPEED[name]["metrics"] == printed(*PRINTED[name])


@pytest.mark.parametrize("name", SPEED)
def test_speed_settings(name: str) -> None:
    concurrency = int(name.rpartition("-c")[2])
    assert SPEED[name]["tool"] == "sglang.bench_serving"
    assert SPEED[name]["settings"] == {
        "backend": "sglang",
        "dataset_name": "random",
        "random_input_len": 1000,
        "random_output_len": 1000,
        "random_range_ratio": 0.0,
        "seed": 1,
        "num_prompts": WORKLOADS[concurrency][0],
        "max_concurrency": concurrency,
        "request_rate": "inf",
    }


@pytest.mark.parametrize("name", SPEED)
def test_same_settings_asked_for_the_same_tokens(name: str) -> None:
    metrics, settings = SPEED[name]["metrics"], SPEED[name]["settings"]
    asked = (metrics["completed"], metrics["total_input_tokens"], metrics["total_output_tokens"])
    assert asked == WORKLOADS[settings["max_concurrency"]]
    assert metrics["completed"] == settings["num_prompts"]
    text = metrics.get("total_input_text_tokens", metrics["total_input_tokens"])
    assert text + metrics.get("total_input_vision_tokens", 0) == metrics["total_input_tokens"]


@pytest.mark.parametrize("name", SPEED)
def test_throughputs_agree(name: str) -> None:
    m = SPEED[name]["metrics"]
    # Three rounded figures, so three halves of the last decimal at most.
    assert math.isclose(m["input_throughput"] + m["output_throughput"], m["total_throughput"], abs_tol=3 * HALF_CENT)
    for count, rate in (
        ("completed", "request_throughput"),
        ("total_input_tokens", "input_throughput"),
        ("total_output_tokens", "output_throughput"),
    ):
        slowest, fastest = m[count] / (m["duration"] + HALF_CENT), m[count] / (m["duration"] - HALF_CENT)
        assert slowest - HALF_CENT <= m[rate] <= fastest + HALF_CENT, rate
    assert m.get("max_output_tokens_per_s", math.inf) >= m["output_throughput"]


@pytest.mark.parametrize("name", SPEED)
def test_concurrency_is_time_in_requests_over_time(name: str) -> None:
    m, settings = SPEED[name]["metrics"], SPEED[name]["settings"]
    reached = m["completed"] * m["mean_e2e_latency_ms"] / 1000 / m["duration"]
    assert reached <= settings["max_concurrency"]
    if "concurrency" in m:
        assert math.isclose(m["concurrency"], reached, abs_tol=2 * HALF_CENT)


@pytest.mark.parametrize("name", SPEED)
def test_latencies_are_in_order(name: str) -> None:
    m = SPEED[name]["metrics"]
    for what in ("e2e_latency", "ttft", "tpot", "itl"):
        ranks = [m[key] for rank in ("median", "p90", "p95", "p99", "max") if (key := f"{rank}_{what}_ms") in m]
        assert ranks == sorted(ranks), what
        assert m[f"mean_{what}_ms"] <= m.get(f"max_{what}_ms", math.inf)
    assert m["mean_ttft_ms"] < m["mean_e2e_latency_ms"]
    # The inter-token latencies of a run add up to what its requests took after their first tokens.
    after_first = m["completed"] * (m["mean_e2e_latency_ms"] - m["mean_ttft_ms"])
    gaps = m["total_output_tokens"] - m["completed"]
    assert math.isclose(after_first, m["mean_itl_ms"] * gaps, rel_tol=0.01)


@pytest.mark.parametrize("model", sorted({entry["model"] for entry in SPEED.values()}))
def test_more_concurrency_is_more_throughput_and_slower_tokens(model: str) -> None:
    runs = sorted(
        (entry["settings"]["max_concurrency"], entry["metrics"]) for entry in SPEED.values() if entry["model"] == model
    )
    for key in ("output_throughput", "total_throughput", "mean_tpot_ms", "mean_itl_ms"):
        values = [metrics[key] for _concurrency, metrics in runs]
        assert values == sorted(set(values)), key


@pytest.mark.parametrize("name", ACCURACY)
def test_accuracy_figures_and_settings(name: str) -> None:
    entry = ACCURACY[name]
    assert (entry["model"], entry["tool"], entry["settings"], entry["metrics"]) == SCORES[name]


@pytest.mark.parametrize("name", ACCURACY)
def test_scores_are_whole_numbers_of_answers(name: str) -> None:
    settings = ACCURACY[name]["settings"]
    for how, m in ACCURACY[name]["metrics"].items():
        # majority@k shares a question out where its votes tie, so it too counts answers rather than questions.
        answers = settings["questions"] * (1 if how.startswith("pass@") and "[" not in how else settings["seeds"])
        for key in ("accuracy", "no_answer"):
            if key in m:
                assert abs(round(m[key] / 100 * answers) / answers * 100 - m[key]) <= HALF_CENT, (how, key)
        if "correct" in m:
            assert math.isclose(m["correct"] / settings["questions"] * 100, m["accuracy"], abs_tol=HALF_CENT)
        assert m["accuracy"] + m.get("no_answer", 0) <= 100


@pytest.mark.parametrize("name", ACCURACY)
def test_counting_kinder_gives_more(name: str) -> None:
    metrics = ACCURACY[name]["metrics"]
    order = [how for how in ("pass@1[avg-of-8]", "majority@8", "pass@8") if how in metrics]
    scores = [metrics[how]["accuracy"] for how in order]
    assert scores == sorted(scores)
    assert all(how in metrics for how in ("pass@8", "majority@8")) == (ACCURACY[name]["settings"].get("seeds") == 8)


def test_note_of_the_run_that_was_cut_short() -> None:
    noted = [name for name, entry in REFERENCES.items() if "note" in entry]
    assert noted == ["minimax-m2.7-2xgb300-mmlu-pro"]
    assert "32768 tokens" in REFERENCES[noted[0]]["note"]


def test_readable_as_json() -> None:
    json.dumps(DOCUMENT, allow_nan=False)  # a page or another tool may read it; Infinity is not JSON
