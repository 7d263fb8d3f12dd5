# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line over stand-in playbooks (rollout_books/), and a fleet of files: what runs on n01 is in world/n01.

The runner, ansible-runner, ansible-playbook, the lock and the journal are the real ones.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

BOOKS = Path(__file__).with_name("rollout_books")
ROOT = Path(__file__).resolve().parents[3]


def main() -> None:
    from sglang_fleet import cli, rollout_drive

    plain = rollout_drive.Desk.__init__

    def with_books(self: rollout_drive.Desk, *args: Any, **more: Any) -> None:
        plain(self, *args, **more)
        self.playbooks = BOOKS

    rollout_drive.Desk.__init__ = with_books  # type: ignore[method-assign]
    cli.main()


class World:
    """A fleet and its controller."""

    def __init__(self, folder: Path, hosts: int = 4) -> None:
        self.folder, self.world = folder, folder / "world"
        self.world.mkdir()
        self.names = [f"n{number:02d}" for number in range(1, hosts + 1)]
        variables = {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
            "world": str(self.world),
            "target": "new",
            "rollout_lock_path": str(self.world / "rollout.lock"),
        }
        inventory = {"all": {"vars": variables, "children": {"gpu_nodes": {"hosts": dict.fromkeys(self.names)}}}}
        self.inventory = folder / "hosts.yml"
        self.inventory.write_text(yaml.safe_dump(inventory))
        for name in self.names:
            (self.world / name).write_text("old\n")

    def fate(self, host: str, fate: str | None) -> None:
        path = self.world / f"fate.{host}"
        if fate is None:
            path.unlink()
        else:
            path.write_text(fate)

    @property
    def runs(self) -> dict[str, str]:
        return {name: (self.world / name).read_text().strip() for name in self.names}

    @property
    def rollouts(self) -> list[Path]:
        return sorted((self.folder / ".artifacts" / "rollouts").iterdir())

    def start(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.unit.sglang_fleet.rollout_controller", words[0]]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
        }
        return subprocess.Popen(
            [*command, "-i", str(self.inventory), *words[1:]],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str) -> tuple[int, str]:
        process = self.start(*words)
        said, _errors = process.communicate(timeout=300)
        return process.returncode, said

    def roll(self, *words: str) -> tuple[int, str]:
        return self.run("rollout", *QUICK, *words)


QUICK: Sequence[str] = ("--waves", "1,100%", "--max-unavailable", "2", "--soak", "0")

if __name__ == "__main__":
    main()
