# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollout over 200 simulated hosts: the real waves, journal, runner, ansible-playbook and view; only the servers are none.

The stand-in playbook (rollout_books/rollout.yml) tells a host's stages and does nothing else, so that the base is as small as it
can be: whatever servers do comes on top of it.
"""

from __future__ import annotations

import io
import json
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from sglang_fleet.collection import use_checkout

use_checkout()

from ansible_collections.sglang.fleet.plugins.module_utils import _waves  # noqa: E402
from sglang_fleet.rollout import Engine  # noqa: E402
from sglang_fleet.rollout_journal import SCHEMA, Journal  # noqa: E402
from sglang_fleet.rollout_report import write_summary  # noqa: E402
from sglang_fleet.rollout_runner import Files, PlaybookRunner  # noqa: E402
from sglang_fleet.rollout_view import Progress, frame  # noqa: E402

HOSTS = 200
BOOKS = Path(__file__).with_name("rollout_books")
#: Frames a second of the view.
FRAMES = 4


def own() -> float:
    """Seconds of CPU time of this process alone."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def children() -> float:
    """Seconds of CPU time of the processes that it has run: the playbooks, with all of Ansible."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Screen:
    """The live view, drawn as often as on a terminal, and how long the slowest frame took."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._ended = progress, threading.Event()
        self._console = Console(file=io.StringIO(), width=120, height=40, force_terminal=True)
        self._thread = threading.Thread(target=self._draw)
        self.slowest = 0.0

    def __enter__(self) -> Screen:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _draw(self) -> None:
        while not self._ended.wait(1 / FRAMES):
            begun = time.monotonic()
            try:
                self._console.print(frame(self._progress, "bench", 120, 40))
            except RuntimeError:  # the state has moved on under it
                continue
            self.slowest = max(self.slowest, time.monotonic() - begun)


def spec(nodes: list[_waves.Node]) -> Mapping[str, Any]:
    waves = _waves.plan_waves(nodes, _waves.parse_waves(_waves.DEFAULT_WAVES))
    return {
        "schema": SCHEMA,
        "id": "bench",
        "nodes": [{"name": n.name, "gpus": list(n.gpus), "kind": n.kind, "together": n.together} for n in nodes],
        "waves": [[node.name for node in wave] for wave in waves],
        "max_unavailable": "25%",
        "success": 100,
        "soak_s": 0,
        "on_failure": "rollback",
        "direction": "forward",
        "why": "",
        "unreachable": [],
        "settings": {},
    }


def once(folder: Path) -> tuple[float, float, float, float]:
    """(the controller's CPU seconds, those of the playbooks, seconds in all, seconds of the slowest frame)."""
    names = [f"gpu-{number:03d}" for number in range(1, HOSTS + 1)]
    inventory = folder / "hosts.json"
    hosts = {"all": {"children": {"gpu_nodes": {"hosts": dict.fromkeys(names)}}}}
    inventory.write_text(json.dumps(hosts))
    begun, mine, others = time.monotonic(), own(), children()
    nodes = [_waves.Node(name, (8,)) for name in names]
    _waves.moments(_waves.plan_waves(nodes, _waves.parse_waves(_waves.DEFAULT_WAVES)), _waves.allowance(nodes))
    journal = Journal.begin(folder / "bench")
    journal.add("rollout", **spec(nodes))
    progress = Progress(journal.state)
    runner = PlaybookRunner(journal.folder, Files(inventory), threading.Event(), playbooks=BOOKS)
    with Screen(progress) as screen:
        code = Engine(journal, runner, wait=time.sleep, listeners=[progress.take]).run()
    write_summary(journal.folder, lambda _text: None)
    journal.close()
    if code != 0:
        raise SystemExit(
            f"bench: the rollout ended with {code}:\n{(journal.folder / 'ansible.log').read_text()[-2000:]}"
        )
    return own() - mine, children() - others, time.monotonic() - begun, screen.slowest


def measure(runs: int) -> list[tuple[float, float]]:
    """(the controller's CPU seconds, those of the playbooks) of each run."""
    found = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            mine, others, took, slowest = once(Path(folder))
        print(
            f"{HOSTS} hosts: {1000 * mine / HOSTS:.0f} ms of the controller a host, {1000 * others / HOSTS:.0f} ms of Ansible, "
            f"{took:.0f} s in all, the slowest frame {1000 * slowest:.0f} ms",
            file=sys.stderr,
        )
        found.append((mine, others))
    return found
