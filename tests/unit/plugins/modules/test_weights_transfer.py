# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting and clearing up a transfer, with a Docker that only notes what it is told."""

from __future__ import annotations

import json
import os
import stat
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _weights_job as job_of
from ansible_collections.sglang.fleet.plugins.module_utils._docker import DockerError
from ansible_collections.sglang.fleet.plugins.modules import weights_transfer
from tests.unit.plugins.module_utils.weights_hub import REPOSITORY, REVISION, entries


class Docker:
    """Containers by name: their label, and whether they run. Stands in for AnsibleModule, too."""

    def __init__(self, **options: Any) -> None:
        self.containers: dict[str, tuple[str, bool]] = {}
        self.started: list[list[str]] = []
        self.log = ""
        self.params: dict[str, Any] = {
            "name": "node-01",
            "repository": REPOSITORY,
            "revision": REVISION,
            "files": entries(),
            "image": "img",
            "fetch": True,
            "ask": True,
            "fallback": False,
            "rank": 0,
            "peers": [],
            "serve": False,
            "port": 30090,
            "address": "",
            "source": "hub",
            "endpoint": "https://huggingface.co",
            "verify": "changed",
            "jobs": 8,
            "stall_seconds": 60,
            "token": "hf_secret",
            "key": "secret-key",
            "force": False,
            **options,
        }

    def run_command(self, words: list[str]) -> tuple[int, str, str]:
        verb = words[1]
        if verb == "logs":
            return 0, self.log, ""
        if verb == "ps":
            prefix = words[-1].partition("^/?")[2].rstrip("$")
            exact = words[-1].endswith("$")
            return 0, "\n".join(name for name in self.containers if name == prefix or not exact), ""
        if words[1:3] == ["container", "inspect"]:
            shown = []
            for name in words[3:]:
                label, running = self.containers[name]
                shown.append(
                    {"Name": f"/{name}", "State": {"Running": running}, "Config": {"Labels": {job_of.LABEL: label}}}
                )
            return 0, json.dumps(shown), ""
        if verb == "run":
            name = next(word.partition("=")[2] for word in words if word.startswith("--name="))
            label = next(word.rpartition("=")[2] for word in words if word.startswith("--label="))
            assert name not in self.containers, "the name is taken"
            self.containers[name] = (label, True)
            self.started.append(words)
        if verb == "rm":
            del self.containers[words[-1]]
        return 0, "", ""


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, path in {"BASE": "", "JOB": "/job", "STATE": "/state", "PROGRESS": "/state/progress.json"}.items():
        monkeypatch.setattr(job_of, name, f"{tmp_path}/run{path}")
    monkeypatch.setattr(weights_transfer.Host, "wait_for_server", lambda *_words: None)
    return tmp_path


def host(base: Path, **options: Any) -> tuple[Any, Docker]:
    docker: Any = Docker(directory=str(base / "w"), **options)
    return weights_transfer.Host(docker), docker


def test_start(base: Path) -> None:
    one, docker = host(base)
    assert one.start() is True
    assert list(docker.containers) == [job_of.CLIENT]
    assert not any("secret" in word for word in docker.started[0])
    for name, text in {"token": "hf_secret", "key": "secret-key"}.items():
        path = base / "run/job" / name
        assert path.read_text() == text
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((base / "run").stat().st_mode) == 0o700
    scripts = base / "run/job" / Path(*job_of.PACKAGE.split("."))
    assert "def main(" in (scripts / "_weights_client.py").read_text()


def test_transfer_of_the_same_files_goes_on(base: Path) -> None:
    one, docker = host(base)
    one.start()
    again, docker.params["key"] = weights_transfer.Host(docker), "another"
    assert again.start() is False
    assert len(docker.started) == 1
    assert (base / "run/job/key").read_text() == "another"


@pytest.mark.parametrize("change", [{"revision": "2" * 40}, {"endpoint": "http://mirror"}])
def test_transfer_of_other_files_makes_way(base: Path, change: dict[str, str]) -> None:
    one, docker = host(base)
    one.start()
    docker.params.update(change)
    assert one.start() is True
    assert len(docker.started) == 2


def test_transfer_that_ended_is_started_anew(base: Path) -> None:
    one, docker = host(base)
    one.start()
    docker.containers[job_of.CLIENT] = (docker.containers[job_of.CLIENT][0], False)
    assert one.start() is True


def test_server(base: Path) -> None:
    one, docker = host(base, fetch=False, serve=True)
    assert one.start() is False
    assert list(docker.containers) == [job_of.PEER]
    one.start()
    assert len(docker.started) == 1
    docker.params["port"] = 30091
    one.start()
    assert len(docker.started) == 2
    docker.params["address"] = "10.0.0.1"
    one.start()
    assert docker.started[2][-2:] == ["30091", "10.0.0.1"]


@pytest.mark.parametrize(
    ("options", "token"),
    [
        ({"ask": False, "fallback": True}, "hf_secret"),
        ({"ask": False}, ""),
        ({"fetch": False, "serve": True}, ""),
        ({"source": "https://shop/x"}, ""),
    ],
)
def test_token_is_with_those_who_may_ask_the_hub(base: Path, options: dict[str, Any], token: str) -> None:
    one, _docker = host(base, **options)
    one.start()
    assert (base / "run/job/token").read_text() == token


def test_folder_that_is_not_there(base: Path) -> None:
    one, docker = host(base, source="/nowhere")
    with pytest.raises(ValueError, match="fleet_weights_source is /nowhere, and the host has no such folder"):
        one.start()
    assert docker.started == []


def test_marks(base: Path) -> None:
    one, _docker = host(base, name="node/01")
    marks = one.mark()
    assert list(marks) == ["node/01"]
    two, _docker = host(base, name="node-02")
    assert two.mark().items() > marks.items()
    assert two.mark() == one.mark()
    third, _docker = host(base / "elsewhere", name="node-03")
    assert list(third.mark()) == ["node-03"]


def test_stop(base: Path) -> None:
    one, docker = host(base, serve=True)
    one.mark()
    one.start()
    docker.containers[job_of.CLIENT] = ("x", False)
    (base / "run/state/progress.json").write_text('{"state": "done"}')
    incoming = base / "w/.sglang-fleet/incoming"
    incoming.mkdir()
    one.stop()
    assert docker.containers == {}
    assert not (base / "run").exists()
    assert not incoming.exists()
    assert os.listdir(base / "w/.sglang-fleet/hosts") == []


def test_stop_leaves_a_transfer_that_runs_with_its_job(base: Path) -> None:
    one, docker = host(base, serve=True)
    one.start()
    one.stop()
    assert list(docker.containers) == [job_of.CLIENT]
    assert (base / "run/job/job.json").exists()
    docker.params["force"] = True
    one.stop()
    assert docker.containers == {}
    assert not (base / "run").exists()


def test_failed_transfer_keeps_what_a_bundle_brought(base: Path) -> None:
    one, docker = host(base)
    one.start()
    docker.containers[job_of.CLIENT] = ("x", False)
    (base / "run/state/progress.json").write_text('{"state": "failed"}')
    (base / "w/.sglang-fleet/incoming").mkdir()
    one.stop()
    assert (base / "w/.sglang-fleet/incoming").exists()


@pytest.mark.parametrize(
    ("said", "runs", "message"),
    [
        pytest.param("listening on every address, port 30090\n", True, "", id="it listens"),
        pytest.param(
            "port 30090 is taken\n", False, r"port 30090, .*cannot be had \(port 30090 is taken\)", id="taken"
        ),
        pytest.param("", True, r"cannot be had \(it said nothing\)", id="silent, whoever answers on the port"),
    ],
)
def test_the_runs_own_server_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, runs: bool, message: str
) -> None:
    docker: Any = Docker(directory=str(tmp_path))
    docker.containers[job_of.PEER] = ("l", runs)
    docker.log = said
    monkeypatch.setattr(weights_transfer, "LISTENING", 1)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    with pytest.raises(ValueError, match=message) if message else nullcontext():
        weights_transfer.Host(docker).wait_for_server(30090)


@pytest.mark.parametrize(
    ("said", "tolerated"),
    [
        ("removal of container sglang-fleet-weights is already in progress", True),
        ("No such container: sglang-fleet-weights", True),
        ("permission denied", False),
    ],
)
def test_two_runs_that_clear_up_at_once(
    base: Path, monkeypatch: pytest.MonkeyPatch, said: str, tolerated: bool
) -> None:
    one, _docker = host(base)
    one.start()

    as_it_is = one.docker.call

    def call(*words: str) -> Any:
        if words[0] == "rm":
            raise DockerError("other", said)
        return as_it_is(*words)

    monkeypatch.setattr(one.docker, "call", call)
    with nullcontext() if tolerated else pytest.raises(DockerError):
        assert one.remove(job_of.CLIENT)
