# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""rollout.yml where nothing is to be started anew. Under load, and where things break: tests/chaos, by `make chaos`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab.support import Fleet, Play

pytestmark = pytest.mark.lab

HOST = "measured-01"
# An image of a version whose arguments the catalogue does not list, so that SGLang itself is asked.
REFUSED = {
    "fleet_server_args": {"no-such-flag": True},
    "fleet_catalogue": {"images": {"v0.5.10.post1": {"sglang_version": "0.5.10.post2"}}},
}


def stages(path: Path) -> list[str]:
    return [one["stage"] for one in map(json.loads, path.read_text().splitlines()) if one["event"] == "stage"]


def test_what_is_there_is_left_alone(measured: Fleet, tmp_path: Path) -> None:
    before, events = (measured.started(HOST), measured.written(HOST)), tmp_path / "events.jsonl"
    play = measured.playbook("playbooks/rollout.yml", "-l", HOST, env={"SGLANG_FLEET_EVENTS": str(events)})
    play.succeeded()
    assert play.changed() == {HOST: 0}, str(play)
    assert stages(events) == ["waiting", "in", "done"]
    assert (measured.started(HOST), measured.written(HOST)) == before


def test_check_mode_says_what_would_be_done(measured: Fleet) -> None:
    before = (measured.started(HOST), measured.written(HOST))
    play: Play = measured.playbook(
        "playbooks/rollout.yml", "--check", "-l", HOST, extra={"fleet_server_args": {"watchdog-timeout": 299}}
    )
    play.succeeded()
    assert f"{HOST}: would be taken out of the traffic and started anew: sglang@0" in play.out, str(play)
    assert (measured.started(HOST), measured.written(HOST)) == before


def test_arguments_that_sglang_refuses_are_refused_before_the_traffic_is_taken(measured: Fleet, tmp_path: Path) -> None:
    before, events = (measured.started(HOST), measured.written(HOST)), tmp_path / "events.jsonl"
    play = measured.playbook(
        "playbooks/rollout.yml", "-l", HOST, extra=REFUSED, env={"SGLANG_FLEET_EVENTS": str(events)}
    )
    assert play.rc != 0, str(play)
    [message] = play.messages()
    assert "unrecognized arguments: --no-such-flag" in message
    assert stages(events) == ["waiting"]
    assert (measured.started(HOST), measured.written(HOST)) == before
