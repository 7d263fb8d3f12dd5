# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every wrong option of a rollout is one message, and nothing is run for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sglang_fleet import rollout_drive
from sglang_fleet.cli import app
from sglang_fleet.planning import FleetError
from sglang_fleet.rollout_options import Wishes, duration, files, inline, wishes

USUAL: dict[str, Any] = {
    "waves": "1,100%",
    "max_unavailable": None,
    "canaries": [],
    "soak": "5m",
    "drain": "10m",
    "gates": "smoke",
    "on_failure": "rollback",
    "success": "100%",
}


def test_usual() -> None:
    found = wishes(**USUAL)
    assert found == Wishes("1,100%", None, (), 300.0, 600, ("smoke",), "rollback", 100)
    assert found.settings() == {"rollout_drain_seconds": 600, "rollout_gates": ["smoke"]}
    assert wishes(**{**USUAL, "gates": "performance", "success": "90"}).gates == ("smoke", "performance")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--waves", "1,x", "a wave of --waves is 'x': give a count such as 2 or a share such as 10%"),
        ("--waves", "2,1", "--waves has 1 after 2: each wave says how many hosts are new at its end"),
        ("--max-unavailable", "0", "--max-unavailable is '0': a count is a whole number from 1"),
        ("--soak", "soon", "--soak is 'soon': give a time such as 90s, 10m or 1h, or 0 for none"),
        ("--drain", "-1", "--drain is '-1': give a time"),
        ("--gates", "speed", "--gates is 'speed': give some of smoke, performance"),
        ("--gates", "", "--gates is '': give some of smoke"),
        ("--on-failure", "cry", "--on-failure is 'cry': give rollback or hold"),
        ("--success-threshold", "0%", "--success-threshold is '0%': give a share of a wave's hosts from 1% to 100%"),
        ("--success-threshold", "101", "--success-threshold is '101'"),
        ("-e", "nothing", "-e is 'nothing': give NAME=VALUE, @FILE, or a mapping in JSON"),
        ("-e", "@/no/such.yml", "-e @/no/such.yml: there is no such file"),
        ("-e", "fleet_api_key=abc", "-e fleet_api_key=… is a secret on a command line"),
        ("-e", '{"fleet_hf_token": "abc"}', "-e fleet_hf_token=… is a secret on a command line"),
        ("--vault-password-file", "/no/such", "--vault-password-file /no/such: there is no such file"),
        ("--vault-id", "prod", "--vault-id is 'prod': give LABEL@FILE"),
        ("--vault-id", "prod@prompt", "--vault-id prod@prompt: a rollout asks for nothing; give a file"),
        ("--events", "/no/such/file", "--events /no/such/file cannot be written: No such file or directory"),
        ("-i", "/no/inventory", "there is no inventory /no/inventory"),
    ],
)
def test_one_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
    value: str,
    message: str,
) -> None:
    for name in ("look", "asker"):
        monkeypatch.setattr(rollout_drive, name, lambda *_args, **_more: pytest.fail("something was asked"))
    (tmp_path / "hosts.yml").write_text("{}")
    given = ["rollout", "-i", str(tmp_path / "hosts.yml"), option, value]
    with pytest.raises(SystemExit) as end:
        app(given)
    assert end.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("sglang-fleet: ")
    assert message in said
    assert "abc" not in said


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("90", 90), ("1.5m", 90), ("10 min", 600), ("2H", 7200)])
def test_duration(text: str, seconds: float) -> None:
    assert duration(text, "--soak") == seconds


def test_inline_variables() -> None:
    given = ["a=1 b='x y'", '{"c": [1, 2]}', "@file", "a=2"]
    assert inline(given) == {"a": "2", "b": "x y", "c": [1, 2]}
    with pytest.raises(FleetError, match=r"^-e '\{a: b: c\}' is no YAML or JSON"):
        inline(["{a: b: c}"])


def test_files_are_known_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("hosts.yml", "v.yml", "pass"):
        Path(name).touch()
    found = files(Path("hosts.yml"), ["@v.yml", "a=1"], [Path("pass")], ["prod@pass"])
    assert found.inventory == tmp_path / "hosts.yml"
    assert found.variable_files == (str(tmp_path / "v.yml"),)
    assert (found.vault_password_files, found.vault_ids) == (
        (str(tmp_path / "pass"),),
        (f"prod@{tmp_path / 'pass'}",),
    )
