# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils._detached import Job

# Started as a program of its own: a test process that pytest has set up is nothing to fork.
PROGRAM = """
import os, sys, time
from sglang_fleet.collection import use_checkout
use_checkout()
from ansible_collections.sglang.fleet.plugins.module_utils._detached import Job

class KindError(Exception):
    kind = "registry"

def work(report):
    report({"done": 1, "session": os.getsid(0), "pid": os.getpid()})
    end = time.monotonic() + 20
    while not os.path.exists(sys.argv[1] + "/go") and time.monotonic() < end:
        time.sleep(0.02)
    if os.path.exists(sys.argv[1] + "/fail"):
        raise KindError("no registry")
    report({"done": 2})

print(Job(sys.argv[1], "pull").start(work), os.getsid(0))
"""


def start(folder: Path) -> tuple[str, int]:
    """What the program says: whether it started the work, and its own session. It must end although the work goes on."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)], capture_output=True, text=True, timeout=15, check=True
    )
    started, session = done.stdout.split()
    return started, int(session)


def until(job: Job, **wanted: Any) -> dict[str, Any]:
    for _attempt in range(500):
        state = job.state()
        if all(state.get(key) == value for key, value in wanted.items()):
            return state
        time.sleep(0.02)
    raise AssertionError(f"wanted {wanted}, got {job.state()}")


def test_work_goes_on_without_its_starter(tmp_path: Path) -> None:
    job = Job(str(tmp_path), "pull")
    assert job.state() == {}
    assert not job.running()
    started, session = start(tmp_path)
    assert started == "True"
    state = until(job, state="running", done=1)
    assert state["session"] != session
    assert job.running()
    assert start(tmp_path)[0] == "False", "the same work runs twice"
    (tmp_path / "go").touch()
    assert until(job, state="done")["done"] == 2
    job.forget()
    assert job.state() == {}
    job.forget()


def test_work_that_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / "fail").touch()
    (tmp_path / "go").touch()
    start(tmp_path)
    state = until(Job(str(tmp_path), "pull"), state="failed")
    assert (state["error"], state["kind"], state["done"]) == ("no registry", "registry", 1)


def test_work_that_was_killed_has_failed_without_a_word(tmp_path: Path) -> None:
    job = Job(str(tmp_path), "pull")
    start(tmp_path)
    os.kill(until(job, state="running", done=1)["pid"], 9)
    assert "error" not in until(job, state="failed")
    (tmp_path / "go").touch()
    assert start(tmp_path)[0] == "True", "it does not start anew"
    until(job, state="done")


def test_only_its_user_may_look(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "pull"
    (tmp_path / "run").mkdir()
    Job(str(folder), "pull")
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_state_is_json(tmp_path: Path) -> None:
    job = Job(str(tmp_path), "pull")
    (tmp_path / "go").touch()
    start(tmp_path)
    until(job, state="done")
    assert json.loads((tmp_path / "pull.json").read_text())["state"] == "done"
