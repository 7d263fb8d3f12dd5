# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback under the real ansible-playbook, beside a playbook as the collection's lie."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[4]
INVENTORY = """
all:
  vars: {ansible_python_interpreter: "%s"}
  hosts:
    good: {ansible_connection: local, passes: true}
    bad: {ansible_connection: local, passes: false}
    gone: {ansible_host: 127.0.0.1, ansible_port: 1}
"""
PLAYBOOK = """
- hosts: all
  gather_facts: false
  vars: {run_record: "{{ wanted }}"}
  tasks:
    - name: Ask
      ansible.builtin.ping:
    - name: Put through a gate
      ansible.builtin.set_fact:
        api_key: not-to-be-kept
        smoke_test_results:
          "0": [{gate: chat, passed: "{{ passes }}", evidence: as it is, seconds: 0.5, budget_seconds: 60}]
    - name: Refuse
      ansible.builtin.fail: {msg: chat did not answer}
      when: not passes
- hosts: all
  gather_facts: false
  tasks:
    - name: Is of no play that asks for a record
      ansible.builtin.set_fact:
        smoke_test_results: {}
"""


def play(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    (folder / "hosts.yml").write_text(INVENTORY % sys.executable, encoding="utf-8")
    (folder / "verify.yml").write_text(PLAYBOOK, encoding="utf-8")
    plugins = folder / "callback_plugins"
    if not plugins.exists():
        plugins.symlink_to(ROOT / "playbooks" / "callback_plugins")
    return subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "hosts.yml", "verify.yml", *words],
        cwd=folder,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def records(folder: Path) -> list[Any]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted((folder / "runs").glob("*.json"))]


def test_every_host_is_in_the_record(tmp_path: Path) -> None:
    ran = play(tmp_path / "fleet", "-e", "wanted=true")
    artifacts = tmp_path / "fleet" / ".artifacts"
    [run] = records(artifacts)
    assert ran.returncode != 0
    told = {host["host"]: (host["status"], host["gates"], host["errors"]) for host in run["hosts"]}
    gate = {"gate": "chat", "evidence": "as it is", "seconds": 0.5, "budget_seconds": 60, "instance": "0"}
    assert told["good"] == ("passed", [{**gate, "passed": True}], [])
    assert told["bad"] == ("failed", [{**gate, "passed": False}], ["Refuse: chat did not answer"])
    assert told["gone"][:2] == ("unreachable", [])
    [path] = (artifacts / "runs").glob("*.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "not-to-be-kept" not in path.read_text(encoding="utf-8")
    assert f"Run recorded: {path}" in ran.stdout
    assert (path.with_suffix("") / "report.html").is_file()

    # The next one knows it, and neither takes the other's place.
    play(tmp_path / "fleet", "-e", "wanted=true", "-l", "good")
    first, second = records(artifacts)
    assert second["previous"] == first["run_id"]
    assert [host["host"] for host in second["hosts"]] == ["good"]


@pytest.mark.parametrize("words", [["-e", "wanted=false"], ["-e", "wanted=true", "--check"]])
def test_no_record_where_none_is_asked_for(tmp_path: Path, words: list[str]) -> None:
    play(tmp_path / "fleet", "-l", "good", *words)
    assert not (tmp_path / "fleet" / ".artifacts").exists()


def test_a_folder_of_the_operator_s(tmp_path: Path) -> None:
    play(tmp_path / "fleet", "-l", "good", "-e", "wanted=true", "-e", f"fleet_artifacts_dir={tmp_path}/kept")
    assert len(records(tmp_path / "kept")) == 1


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file", encoding="utf-8")
    ran = play(tmp_path / "fleet", "-l", "good", "-e", "wanted=true", "-e", f"fleet_artifacts_dir={tmp_path}/kept")
    assert ran.returncode == 0, "a fleet that is well is not made ill by a record"
    assert "the run could not be recorded:" in " ".join((ran.stdout + ran.stderr).split())
