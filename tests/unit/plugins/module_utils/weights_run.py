# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the transfer's programs as their containers do: from a folder of their own, by any Python."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils._weights_files import Layout
from ansible_collections.sglang.fleet.plugins.module_utils._weights_job import PACKAGE
from ansible_collections.sglang.fleet.plugins.module_utils._weights_scripts import write_scripts
from tests.unit.plugins.module_utils.weights_hub import REPOSITORY, REVISION, Hub, entries


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Host:
    """One host of a run: its folders, its client, its server."""

    def __init__(
        self, folder: Path, hub: Hub, command: Sequence[str] = (sys.executable,), env: Mapping[str, str] | None = None
    ) -> None:
        self.folder, self.command = folder, list(command)
        self.job, self.state = folder / "job", folder / "state"
        for made in (self.job, self.state):
            made.mkdir(parents=True)
        write_scripts(str(self.job))
        self.env = {
            **(os.environ if env is None else env),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
            "HF_HOME": str(folder / "home"),
        }
        self.port = free_port()
        self.layout = Layout(str(folder / "weights"), REPOSITORY, REVISION)
        self.hub = hub
        self.running: list[subprocess.Popen[bytes]] = []
        self.write()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def write(self, token: str = "", key: str = "the key", **changes: Any) -> None:
        job = {
            "work": "w",
            "directory": self.layout.directory,
            "repository": REPOSITORY,
            "revision": REVISION,
            "files": entries(),
            "source": {"kind": "hub", "at": self.hub.endpoint, "name": "the hub"},
            "asks_source": True,
            "fallback": True,
            "rank": 1,
            "stall_seconds": 2,
            "peers": [],
            "jobs": 8,
            "verify": "changed",
            **changes,
        }
        for name, text in {"job.json": json.dumps(job), "key": key, "token": token}.items():
            (self.job / name).write_text(text)

    def start(self, program: str, *words: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [*self.command, "-m", f"{PACKAGE}.{program}", str(self.job), str(self.state), *words],
            cwd=self.job,
            env={
                **self.env,
                "PYTHONPATH": os.pathsep.join(filter(None, [str(self.job), self.env.get("PYTHONPATH", "")])),
            },
            stderr=(self.folder / f"{program}.log").open("ab"),
        )
        self.running.append(process)
        return process

    def client(self) -> subprocess.Popen[bytes]:
        return self.start("_weights_client")

    def fetch(self) -> dict[str, Any]:
        """The whole transfer; what it says at the end."""
        self.client().wait(240)
        return self.progress()

    def serve(self) -> subprocess.Popen[bytes]:
        process = self.start("_weights_peer", str(self.port))
        for _try in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return process
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"no server: {(self.folder / '_weights_peer.log').read_text()}")

    def progress(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.state / "progress.json").read_text())
        return told

    def content(self) -> dict[str, bytes]:
        snapshot = Path(self.layout.snapshot)
        return {str(path.relative_to(snapshot)): path.read_bytes() for path in snapshot.rglob("*") if path.is_file()}

    def end(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()
