# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line's contract: what goes to which stream, and with which status it exits."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ansible_collections.sglang.fleet.plugins.module_utils import _render
from sglang_fleet import cli, fleet
from sglang_fleet.fleet import FAILED, PLANNED, REFUSED, UNREACHABLE, FleetPlan, Host
from sglang_fleet.planning import FleetError, plan_single

PLAN_KEYS = {
    "model", "model_path", "model_class", "gpu", "count", "vendor", "memory_mib", "image", "driver", "patches", "profile", "layout", "instances",
    "idle_gpus", "warnings", "reasons", "lock",
}  # fmt: skip
INSTANCE_KEYS = {
    "name", "gpus", "address", "port", "tp", "ep", "args", "server_args", "environment", "container_options",
    "command_line", "fit",
}  # fmt: skip
FIT_KEYS = {
    "memory_gib_per_gpu", "reserved_gib_per_gpu", "weights_gib_per_gpu", "kv_gib_per_gpu", "headroom_gib_per_gpu",
    "kv_tokens", "max_context", "full_length_sequences",
}  # fmt: skip


def run(*words: str) -> Result:
    return CliRunner().invoke(cli.app, list(words))


def plan(*words: str) -> Result:
    return run("plan", *words)


def test_json_is_the_plan_and_nothing_else() -> None:
    done = plan("--gpu", "H200", "--count", "8", "--layout", "2x4", "--format", "json")
    assert (done.exit_code, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert set(found) == PLAN_KEYS
    assert [set(instance) for instance in found["instances"]] == [INSTANCE_KEYS] * 2
    assert set(found["instances"][0]["fit"]) == FIT_KEYS
    assert {"id", "severity", "message", "url"} == set(found["warnings"][0])
    assert found == plan_single({"layout": "2x4"}, "H200", 8).plan


@pytest.mark.parametrize(
    ("options", "wishes"),
    [
        (["--no-thinking", "--no-tool-calls"], {"reasoning_parser": False, "tool_call_parser": False}),
        (["--thinking", "--tool-calls"], {"reasoning_parser": True, "tool_call_parser": True}),
        (["--layout", "1x8", "--ep", "8"], {"layout": "1x8", "ep": 8}),
        (["--profile", "cookbook"], {"profile": "cookbook"}),
        (["--address", "10.0.0.1", "--port", "31000"], {"address": "10.0.0.1", "port": 31000}),
        (
            ["--context-length", "65536", "--mem-fraction-static", "0.8"],
            {"context_length": 65536, "mem_fraction_static": 0.8},
        ),
        (["--enable-metrics"], {"enable_metrics": True}),
        (["--image", "mirror.example.com/sglang:v1"], {"image": "mirror.example.com/sglang:v1"}),
        (["--weights-dir", "/data/weights"], {"weights_dir": "/data/weights"}),
        (
            ["--server-arg", "max-running-requests=64", "--server-arg", "disable-radix-cache"],
            {"extra_args": {"max-running-requests": 64, "disable-radix-cache": True}},
        ),
        (["--allow-known-issue", "streaming-tool-calls"], {"allow_known_issues": ("streaming-tool-calls",)}),
        (["--sglang-version", "0.5.9"], {"sglang_version": "0.5.9"}),
        (["--model", "M2.5"], {"model": "M2.5"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_reach_the_planner(options: list[str], wishes: dict[str, Any]) -> None:
    done = plan("--gpu", "H200", "--count", "8", *options, "--format", "json")
    assert done.exit_code == 0, done.stderr
    wanted = plan_single(wishes, "H200", 8).plan
    assert json.loads(done.stdout) == wanted
    if "thinking" not in options[0] or "no" in options[0]:  # both parsers are on by default
        assert wanted != plan_single({}, "H200", 8).plan, "this option makes no difference"


def test_memory_of_a_gpu_reaches_the_planner() -> None:
    done = plan("--gpu", "H200", "--count", "8", "--gpu-memory-mib", "100000", "--format", "json")
    assert json.loads(done.stdout)["memory_mib"] == 100000


def test_catalogue_file_reaches_the_planner(tmp_path: Path) -> None:
    file = tmp_path / "more.yml"
    file.write_text("fleet_catalogue: {gpus: {H200: {memory_mib: 196608}}}")
    done = plan("--gpu", "H200", "--count", "8", "--catalogue", str(file), "--format", "json")
    assert json.loads(done.stdout)["memory_mib"] == 196608


@pytest.mark.parametrize("face", ["command", "docker"])
def test_what_is_piped_into_a_shell_is_nothing_but_the_command(face: str) -> None:
    done = plan("--gpu", "H200", "--count", "8", "--format", face)
    single = plan_single({}, "H200", 8)
    render = _render.command if face == "command" else _render.docker_run
    assert done.exit_code == 0
    assert done.stdout == render(single.plan, single.plan["instances"][0]).rstrip("\n") + "\n"
    for reason in single.plan["reasons"]:
        assert f"why: {reason}\n" in done.stderr
    for warning in single.plan["warnings"]:
        assert f"{warning['severity']} {warning['id']}: {warning['message']}" in done.stderr
        assert warning["url"] is None or warning["url"] in done.stderr


@pytest.mark.parametrize("face", ["command", "docker"])
@pytest.mark.parametrize("options", [["--gpu", "H200"], ["--gpu", "MI300X", "--model", "M2.1"]], ids=" ".join)
def test_several_instances_are_one_shell_script(face: str, options: list[str]) -> None:
    done = plan(*options, "--count", "8", "--layout", "2x4", "--format", face)
    assert done.exit_code == 0
    assert "# instance 1, port 30001\n" in done.stdout
    checked = subprocess.run(["bash", "-n"], input=done.stdout, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_inventory_is_yaml_of_the_wishes() -> None:
    done = plan("--gpu", "H200", "--count", "8", "--layout", "2x4", "--no-thinking", "--format", "inventory")
    single = plan_single({"layout": "2x4", "reasoning_parser": False}, "H200", 8)
    assert done.exit_code == 0
    assert done.stdout == _render.inventory(single.plan, single.wishes).rstrip("\n") + "\n"
    assert "why: " in done.stderr


def test_table_holds_the_warnings_and_says_nothing_beside() -> None:
    done = plan("--gpu", "H200", "--count", "3")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "idle" in done.stdout
    assert "licence of MiniMax-M2.7" in done.stdout


@pytest.mark.parametrize("face", ["table", "json", "command", "docker", "inventory"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--gpu", "H100", "--count", "2"], ["(rule memory)", "GiB missing", "4 x H100"]),
        (
            ["--gpu", "H200", "--count", "8", "--layout", "1x8", "--ep", "1"],
            ["rule fp8-block: 1536", "192", "set --layout to"],
        ),
        (["--gpu", "H200", "--count", "3", "--layout", "1x3"], ["rule kv-heads: 8 KV heads", "legal"]),
        (["--gpu", "A100", "--count", "8"], ["(rule known-issue)", "a100-fp8", "--allow-known-issue"]),
        (["--gpu", "H200", "--context-length", "300000"], ["(rule context)", "--context-length is 300000"]),
        (["--gpu", "H200", "--sglang-version", "0.5.7"], ["(rule image)", "set --sglang-version to one of 0.5.9"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_no_such_plan_exits_2_with_an_empty_stdout(face: str, options: list[str], words: list[str]) -> None:
    done = plan(*options, "--format", face)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("sglang-fleet: there is no such plan")
    assert [word for word in words if word not in done.stderr] == []
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Usage"),
        (["plan"], "give --gpu NAME"),
        (["plan", "--nonsense"], "--nonsense"),
        (["nonsense"], "nonsense"),
        (["plan", "--gpu"], "--gpu"),
        (["plan", "--gpu", "H200", "--count", "many"], "--count"),
        (["plan", "--gpu", "H200", "--format", "xml"], "xml"),
        (["plan", "--gpu", "H200", "--model", "M9"], "unknown model M9: set --model to one of MiniMax-M2,"),
        (["plan", "--gpu", "Z9"], "unknown GPU Z9: set --gpu to one of A100-40GB,"),
        (["plan", "--gpu", "H200", "--count", "0"], "0 GPUs"),
        (["plan", "--gpu", "H200", "--layout", "x"], "--layout is x: set it to auto"),
        (["plan", "--gpu", "H200", "--catalogue", "/nowhere/x.yml"], "cannot read /nowhere/x.yml"),
        (["plan", "--gpu", "H200", "--server-arg", "=1"], "give NAME=VALUE"),
        (["plan", "--gpu", "H200", "--server-arg", "no-such-flag=1"], "sglang-fleet: --server-arg no-such-flag"),
        (["plan", "--gpu", "H200", "--server-arg", "api-key=secret"], "use fleet_api_key instead"),
        (["plan", "--gpu", "H200", "--cached"], "--cached is for a fleet"),
        (["plan", "--gpu", "H200", "--no-lock"], "--no-lock is for a fleet"),
        (["plan", "--gpu", "H200", "-l", "x"], "--limit is for a fleet"),
        (["plan", "-i", "x", "--gpu", "H200"], "--gpu is for GPUs without a host"),
        (["plan", "-i", "x", "--count", "8"], "--count is for GPUs without a host"),
        (["plan", "-i", "x", "--gpu-memory-mib", "8"], "--gpu-memory-mib is for GPUs without a host"),
        (["plan", "-i", "x", "--format", "docker"], "a fleet takes table or json"),
        (["plan", "-i", "/nowhere/hosts.yml"], "there is no inventory /nowhere/hosts.yml"),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else "",
)
def test_anything_else_exits_1(words: list[str], message: str) -> None:
    done = run(*words)
    assert done.exit_code == 1
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert words == [] or done.stdout == ""


def test_an_unexpected_error_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_words: Any) -> None:
        raise KeyError("x")

    monkeypatch.setattr("sglang_fleet.planning.plan_single", broken)
    monkeypatch.delenv(cli.DEBUG, raising=False)
    done = plan("--gpu", "H200")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"sglang-fleet: unexpected KeyError: 'x' (set {cli.DEBUG}=1 to see where)\n"


def host(name: str, status: str) -> Host:
    if status != PLANNED:
        return Host(name, status, error="why not")
    change = {"action": "none", "instances": {}, "problems": [], "summary": "same"}
    return Host(name, status, plan_single({}, "H200", 8).plan, change=change)


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ([PLANNED, PLANNED], 0),
        ([PLANNED, REFUSED], 2),
        ([PLANNED, UNREACHABLE], 1),
        ([PLANNED, FAILED], 1),
        ([REFUSED, UNREACHABLE, FAILED], 2),
    ],
)
@pytest.mark.parametrize("face", ["table", "json"])
def test_a_fleets_exit_status(monkeypatch: pytest.MonkeyPatch, statuses: list[str], code: int, face: str) -> None:
    found = FleetPlan({f"host-{number}": host(f"host-{number}", status) for number, status in enumerate(statuses)})
    monkeypatch.setattr(fleet, "plan_fleet", lambda *_words, **_more: found)
    done = plan("-i", "x", "--format", face)
    assert (done.exit_code, done.stderr) == (code, "")
    if face == "json":
        hosts = json.loads(done.stdout)["hosts"]
        assert {name: set(told) for name, told in hosts.items()} == {
            key: {"plan", "error", "driver", "change"} for key in found.hosts
        }
        assert [bool(told["plan"]) for told in hosts.values()] == [status == PLANNED for status in statuses]
        assert [told["error"] for told in hosts.values()] == [None if s == PLANNED else "why not" for s in statuses]
    else:
        assert all(name in done.stdout for name in found.hosts)


def test_a_fleets_overrides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []

    def keep(*words: Any, locked: bool) -> None:
        asked.extend([*words, locked])
        raise FleetError("enough")

    monkeypatch.setattr(fleet, "plan_fleet", keep)
    file = tmp_path / "more.yml"
    file.write_text("gpus: {H200: {memory_mib: 196608}}")
    done = plan("-i", "hosts", "-l", "a*", "--cached", "--layout", "2x4", "--no-thinking", "--catalogue", str(file))
    assert (done.exit_code, done.stderr) == (1, "sglang-fleet: enough\n")
    assert asked == [
        Path("hosts"), "a*", True, {"layout": "2x4", "reasoning_parser": False}, {"gpus": {"H200": {"memory_mib": 196608}}},
        True,
    ]  # fmt: skip


def test_a_wrong_catalogue_file_is_found_before_a_fleet_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fleet, "plan_fleet", lambda *_words, **_more: pytest.fail("the fleet was asked"))
    file = tmp_path / "more.yml"
    file.write_text("gpu: {}")
    done = plan("-i", "hosts", "--catalogue", str(file))
    assert done.exit_code == 1
    assert f"{file}: unknown section gpu" in done.stderr
