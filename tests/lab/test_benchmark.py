# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/benchmark.yml on a real server: what it measures, judges and records, and a host that is slower than it was."""

from __future__ import annotations

import json
import re
import secrets as random
from pathlib import Path
from typing import Any

import pytest

from sglang_fleet.report_run import read_run
from tests.lab import secrets
from tests.lab.support import Fleet, Play, run

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("measured")]

HOST, GHOST = "measured-01", "ghost-01"
KEY = f"sk-{random.token_hex(16)}"
RECORDS = "/var/lib/sglang-fleet/records/speed.json"
#: A load of the operator's own, which is in no built-in catalogue.
TINY = {
    "random_input_len": 32, "random_output_len": 16, "random_range_ratio": 0.0, "seed": 1, "num_prompts": 2,
    "max_concurrency": 1, "request_rate": "inf",
}  # fmt: skip
OWN = {
    "fleet_catalogue": {
        "benchmark_profiles": {
            "tiny": {"description": "two short prompts", **TINY, "warmup_requests": 1, "seconds": 100}
        }
    },
    "benchmark_profiles": ["tiny"],
    # The machine is not the test's alone.
    "performance_gate_tolerances": {"median_ttft_ms": 20.0, "median_tpot_ms": 20.0, "median_e2e_latency_ms": 20.0},
}
#: What the host's last good record is made to say: all of it ten times as fast.
DOCTOR = f"""python3 - <<'END'
import json
with open("{RECORDS}") as file:
    kept = json.load(file)
metrics = next(iter(kept["records"].values()))["metrics"]
for name in metrics:
    metrics[name] = metrics[name] * 10 if name.endswith("throughput") else metrics[name]
with open("{RECORDS}", "w") as file:
    json.dump(kept, file)
END
"""


def measure(fleet: Fleet, artifacts: Path, target: str = "gpu_nodes", **more: Any) -> Play:
    return fleet.playbook(
        "playbooks/benchmark.yml",
        extra={**OWN, "fleet_artifacts_dir": str(artifacts), "fleet_target": target, **more},
        host_vars={
            GHOST: {"ansible_host": "127.0.0.1", "ansible_port": 9, "fleet_address": "127.0.0.1", "fleet_model": "M2.7"}
        },
    )


def recorded(play: Play) -> tuple[Path, dict[str, Any]]:
    """The file that the run says it has written, and what is in it by the schema and its sums."""
    named = re.findall(r"^Run recorded: (.*)$", play.out, re.MULTILINE)
    assert len(named) == 1, str(play)
    return Path(named[0]), read_run(Path(named[0]))


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(scope="module")
def first(measured: Fleet, artifacts: Path) -> Play:
    """A host that was never measured."""
    measured.sh(HOST, f"rm -f {RECORDS}")
    return measure(measured, artifacts).succeeded()


@pytest.fixture(scope="module")
def slower(first: Play, measured: Fleet, artifacts: Path) -> Play:
    """The same host, once ten times as fast, beside one that does not answer. The key is sent, and the server wants none."""
    measured.sh(HOST, DOCTOR)
    return measure(measured, artifacts, target=f"{HOST},{GHOST}", fleet_api_key=KEY, smoke_test_gates=["models"])


def test_a_run_of_gates_and_loads_is_recorded(first: Play) -> None:
    path, found = recorded(first)
    assert path.stat().st_mode & 0o777 == 0o600
    assert (found["playbook"], found["previous"], found["fleet"]) == (
        "benchmark.yml", None, {"hosts": 1, "passed": 1, "failed": 0},
    )  # fmt: skip
    (host,) = found["hosts"]
    assert (host["host"], host["status"], host["errors"], host["changed_since"]) == (HOST, "passed", [], [])
    assert host["plan"]["model"] == "MiniMax-M2.7"
    gates = {gate["gate"]: gate for gate in host["gates"]}
    assert list(gates) == [
        *(
            "health",
            "models",
            "chat",
            "stream",
            "reasoning",
            "reasoning_stream",
            "tools",
            "tools_stream",
            "tools_parallel",
        ),
        *("tools_result", "context", "performance 0/tiny"),
    ]
    assert all(gate["passed"] for gate in gates.values())
    assert "not judged" in gates["performance 0/tiny"]["evidence"]
    (record,) = host["benchmarks"]
    assert {name: record["settings"][name] for name in TINY} == TINY
    assert record["metrics"]["completed"] == TINY["num_prompts"]
    assert record["metrics"]["output_throughput"] > 0
    assert record["comparison"] is None
    assert (record["host"], record["instance"], record["gpu"], record["count"]) == (HOST, "0", "H200", 8)
    assert record["driver"]["version"]
    assert record["image"]["digest"].startswith("sha256:")


def test_the_report_is_beside_it(first: Play) -> None:
    path, found = recorded(first)
    folder = path.with_suffix("")
    assert sorted(file.name for file in folder.iterdir()) == ["report.html", "report.json", "report.md"]
    assert (folder.stat().st_mode & 0o777) == 0o700
    page = (folder / "report.html").read_text()
    for text in (HOST, "tiny", "tools_parallel", "performance 0/tiny", "MiniMax-M2.7"):
        assert text in page, text
    assert json.loads((folder / "report.json").read_text())["run"] == found


def test_a_host_that_is_slower_than_it_was_fails(slower: Play) -> None:
    assert slower.rc != 0, str(slower)
    assert "_throughput" in slower.out
    _path, found = recorded(slower)
    host = next(host for host in found["hosts"] if host["host"] == HOST)
    assert host["status"] == "failed"
    gate = next(gate for gate in host["gates"] if gate["gate"] == "performance 0/tiny")
    assert not gate["passed"]
    assert re.match(r"0/tiny: worse than own 0/tiny of \d{4}-.*[:;] \w+_throughput \d.* wanted \d", gate["evidence"])
    (record,) = host["benchmarks"]
    (row,) = [row for row in record["comparison"]["rows"] if row["metric"] == "output_throughput"]
    assert row["verdict"] == "worse"
    assert row["ratio"] < 0.9
    assert any("Refuse a server that is slower" in error and gate["evidence"] in error for error in host["errors"])


def test_a_host_that_does_not_answer_is_in_the_record(slower: Play) -> None:
    _path, found = recorded(slower)
    host = next(host for host in found["hosts"] if host["host"] == GHOST)
    assert (host["status"], host["plan"], host["gates"], host["benchmarks"]) == ("unreachable", None, [], [])
    assert "Connection refused" in host["errors"][0]
    assert found["fleet"] == {"hosts": 2, "passed": 0, "failed": 1}


def test_what_changed_since_the_run_before_is_told(first: Play, slower: Play, tmp_path: Path) -> None:
    before, found = recorded(first)[1], recorded(slower)
    assert found[1]["previous"] == before["run_id"]
    changed = next(host["changed_since"] for host in found[1]["hosts"] if host["host"] == HOST)
    assert "status: passed → failed" in changed
    assert "gate performance 0/tiny: fails now" in changed
    page = (found[0].with_suffix("") / "report.html").read_text()
    assert f"Changed since {before['run_id']}" in page
    assert GHOST in page
    # By hand the same comes out, with the previous run found in the folder.
    run("sglang-fleet", "report", found[0], "-o", tmp_path).succeeded()
    assert (tmp_path / "report.html").read_text() == page


def test_the_good_record_is_kept_from_a_slow_run(slower: Play, measured: Fleet) -> None:
    kept = json.loads(measured.sh(HOST, f"cat {RECORDS}"))["records"]
    [kept] = kept.values()
    (record,) = next(host["benchmarks"] for host in recorded(slower)[1]["hosts"] if host["host"] == HOST)
    assert kept["metrics"]["output_throughput"] > record["metrics"]["output_throughput"]


def test_no_key_in_what_a_run_leaves(slower: Play, measured: Fleet, artifacts: Path) -> None:
    found = secrets.on_controller({"key": KEY}, [artifacts], {"benchmark": slower.out})
    found += secrets.on_node(measured, HOST, {"key": KEY})
    assert found == []
