# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``sglang-fleet doctor``: what the events of a run come to, exit statuses, JSON and the table."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from sglang_fleet import doctor
from sglang_fleet.cli import app
from sglang_fleet.doctor import Patient, Rounds, Ward
from sglang_fleet.doctor_table import show_findings
from sglang_fleet.planning import FleetError

ACTION = "sglang.fleet.doctor"


def finding(identity: str = "power-cap", severity: str = "warn") -> dict[str, str]:
    return {
        "id": identity,
        "severity": severity,
        "what": "GPUs are capped below the power that they are made for, and are slower by it",
        "evidence": "0000:05:00.0: 500 W of 750 W",
        "remedy": "`amd-smi set --gpu all --power-cap WATTS` where nobody meant it",
    }


def event(kind: str, action: str, **result: Any) -> dict[str, Any]:
    return {"event": kind, "event_data": {"host": "a", "task_action": action, "res": result}}


LOOKED = event("runner_on_ok", ACTION, findings=[], snapshot={"seconds": 0.7})


@pytest.mark.parametrize(
    ("events", "status", "found", "error", "code"),
    [
        ([LOOKED], "healthy", [], None, 0),
        # The second judgement has the plan: it counts.
        ([LOOKED, event("runner_on_ok", ACTION, findings=[finding()])], "findings", [finding()], None, 1),
        # A plan that is refused is rescued; the doctor says so itself.
        (
            [LOOKED, event("runner_on_failed", "sglang.fleet.launch_plan", msg="a: no"), event("runner_on_ok", ACTION, findings=[finding("no-plan")])],
            "findings", [finding("no-plan")], None, 1,
        ),
        ([event("runner_on_unreachable", ACTION, msg="timed out")], "unreachable", [], "timed out", 2),
        ([event("runner_on_failed", ACTION, msg="a: no Python")], "failed", [], "no Python", 2),
        ([event("runner_on_failed", "sglang.fleet.validate_inventory", msg="a: x")], "failed", [], "x", 2),
        (
            [event("runner_on_ok", "sglang.fleet.validate_inventory")],
            "failed", [], "not examined: the inventory has a problem at another host", 2,
        ),
    ],
)  # fmt: skip
def test_what_events_come_to(
    events: list[dict[str, Any]], status: str, found: list[Any], error: str | None, code: int
) -> None:
    rounds = Rounds()
    for one in events:
        rounds(one)
    ward = rounds.finished()
    assert ward.exit_code() == code
    seconds = 0.7 if events[0] is LOOKED else None
    assert ward.to_dict() == {"hosts": {"a": {"status": status, "findings": found, "error": error, "seconds": seconds}}}


WARD = Ward(
    {
        "gpu-2": Patient("gpu-2", [finding(), finding("driver-mismatch", "error")]),
        "gpu-1": Patient("gpu-1", [finding()]),
        "gpu-10": Patient("gpu-10", []),
        "gpu-3": Patient("gpu-3", None, "timed out", reached=False),
    }
)


def test_not_having_looked_weighs_more_than_findings() -> None:
    assert WARD.exit_code() == 2
    assert Ward({name: host for name, host in WARD.hosts.items() if name != "gpu-3"}).exit_code() == 1


def table(width: int | None) -> list[str]:
    stream = io.StringIO()
    show_findings(WARD, Console(file=stream, width=width or 100_000, highlight=False, color_system=None))
    return stream.getvalue().splitlines()


def test_the_table_for_a_file() -> None:
    lines = table(None)
    assert lines[:4] == [
        "gpu-1   1 warning: power-cap",
        "gpu-10  healthy",
        "gpu-2   1 error, 1 warning: power-cap, driver-mismatch",
        "gpu-3   could not look: unreachable",
    ]
    assert "warn power-cap  gpu-1, gpu-2" in lines, "one finding of two hosts stands there once"
    assert lines.index("error driver-mismatch  gpu-2") < lines.index("warn power-cap  gpu-1, gpu-2")
    assert "  found  0000:05:00.0: 500 W of 750 W" in lines
    assert "  do     `amd-smi set --gpu all --power-cap WATTS` where nobody meant it" in lines
    assert lines[-2:] == ["unreachable  gpu-3", "  timed out"]
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_table_on_a_terminal(width: int) -> None:
    lines = table(width)
    assert all(len(line) <= width and line == line.rstrip() for line in lines)
    text = " ".join(" ".join(lines).split())
    assert "where nobody meant it" in text
    assert "made for, and are slower by it" in text


# --- The command ------------------------------------------------------------------------------------------------------


def call(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        app(list(words))
    return int(left.value.code or 0)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["doctor"], "--inventory"),
        (["doctor", "--bogus"], "--bogus"),
        (["doctor", "-i"], "-i"),
        (["doctor", "-i", "/nowhere/hosts.yml"], "there is no inventory /nowhere/hosts.yml"),
    ],
)
def test_it_could_not_look(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """1 would mean findings."""
    assert call(*words) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert says in written.err


def test_usage_errors_of_other_commands_keep_their_status() -> None:
    assert call("plan", "--bogus") == 1


@pytest.mark.parametrize(("error", "says"), [(FleetError("no"), "no"), (KeyError("x"), "unexpected KeyError")])
def test_nothing_ends_in_a_traceback(
    error: BaseException, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_words: Any) -> Ward:
        raise error

    monkeypatch.setattr(doctor, "examine_fleet", fail)
    assert call("doctor", "-i", "x") == 2
    assert says in capsys.readouterr().err


def test_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "examine_fleet", lambda *_words: WARD)
    assert call("doctor", "-i", "x", "--json") == 2
    hosts = json.loads(capsys.readouterr().out)["hosts"]
    assert list(hosts) == ["gpu-1", "gpu-10", "gpu-2", "gpu-3"]
    assert hosts["gpu-1"] == {"status": "findings", "findings": [finding()], "error": None, "seconds": None}
    assert hosts["gpu-3"]["error"] == "timed out"


def test_a_real_run_that_cannot_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt variable at one host, before any is touched; and a host that nobody is at."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    hosts = {"good": {}, "bad": {"fleet_modell": "M2.7"}}
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"gpu_nodes": {"hosts": hosts}}))
    assert call("doctor", "-i", str(inventory), "--json") == 2
    found = json.loads(capsys.readouterr().out)["hosts"]
    assert "fleet_modell" in found["bad"]["error"]
    assert found["good"]["error"] == "not examined: the inventory has a problem at another host"
