# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keeps what a run of a playbook came to, with every host of it: also where all have failed, or none answered.

A play after it could not do that: Ansible ends a playbook where a play has lost all of its hosts, and a host that does not
answer takes part in no task. A callback hears of all, and at the end of everything.
"""

from __future__ import annotations

import datetime
import json
import os
import tempfile
import typing as t
from pathlib import Path

from ansible import context
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.callback import CallbackBase
from ansible.template import Templar

from ansible_collections.sglang.fleet.plugins.module_utils import _run_record as record

#: the variable of a play that asks for a record of it
ASKED = "run_record"
#: where the records are, below the folder of the inventory; of a folder Ansible reads each file that is not hidden
FOLDER = ".artifacts"


class RunRecord(CallbackBase):  # type: ignore[misc]  # Ansible has no types
    """Writes RUN_ID.json, and the report beside it where the sglang_fleet package is installed."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NEEDS_ENABLED = False

    def __init__(self) -> None:
        super().__init__()
        self.playbook = ""
        self.started = _now()
        self.hosts: dict[str, record.Host] = {}
        self.recording = False
        self.folder: Path | None = None

    def v2_playbook_on_start(self, playbook: t.Any) -> None:
        self.playbook = os.path.basename(playbook._file_name)
        self.started = _now()

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        self.recording = False
        manager = play.get_variable_manager()
        hosts = manager._inventory.get_hosts(play.hosts)
        if ASKED not in play.vars or not hosts or context.CLIARGS.get("check"):
            return
        variables = manager.get_vars(play=play, host=hosts[0])
        templar = Templar(loader=play.get_loader(), variables=variables)
        self.recording = bool(boolean(templar.template(play.vars[ASKED]), strict=False))
        if not self.recording:
            return
        for host in hosts:
            self.hosts.setdefault(host.get_name(), record.Host(host.get_name()))
        if self.folder is None:
            given = templar.template(variables["fleet_artifacts_dir"]) if variables.get("fleet_artifacts_dir") else ""
            self.folder = Path(given or Path(variables.get("inventory_dir") or "", FOLDER)).expanduser().absolute()

    def _host(self, result: t.Any) -> record.Host | None:
        return self.hosts.get(result._host.get_name()) if self.recording else None

    def v2_runner_on_ok(self, result: t.Any) -> None:
        if host := self._host(result):
            host.take(result._result)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        if (host := self._host(result)) and not ignore_errors:
            host.fail(result._task.get_name().strip(), result._result)

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        if host := self._host(result):
            host.fail(result._task.get_name().strip(), result._result)

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        if not self.hosts or self.folder is None:
            return
        entries = [
            record.host_entry(host, bool(stats.failures.get(name)), bool(stats.dark.get(name)))
            for name, host in self.hosts.items()
        ]
        try:
            path, run = self._write(self.folder / "runs", entries)
        except OSError as error:
            self._display.warning(f"the run could not be recorded: {error.filename or self.folder}: {error.strerror}")
            return
        self._display.display(f"Run recorded: {path}")
        self._report(path, run)

    def _write(self, folder: Path, entries: list[dict[str, t.Any]]) -> tuple[Path, dict[str, t.Any]]:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = os.listdir(folder)
        first = name = record.run_id(self.started, self.playbook)
        again = 1
        while f"{name}.json" in names:
            again += 1
            name = f"{first}-{again}"
        previous = record.last_of(self.playbook, names)
        run = record.run_document(name, (self.started, _now()), self.playbook, entries, previous)
        _tell_changes(run, folder)
        path = folder / f"{name}.json"
        # 0600, as of a temporary file: evidence quotes what models and servers said.
        handle, unfinished = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=folder)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(json.dumps(run, indent=2, ensure_ascii=False) + "\n")
            os.replace(unfinished, path)
        except BaseException:
            Path(unfinished).unlink(missing_ok=True)
            raise
        return path, run

    def _report(self, path: Path, run: t.Mapping[str, t.Any]) -> None:
        output = path.with_suffix("")
        command = f"sglang-fleet report {path} -o {output}"
        try:
            from sglang_fleet.planning import FleetError
            from sglang_fleet.report import write_report
            from sglang_fleet.report_run import check_run, previous_of
        except ImportError:
            self._display.display(f"For the report: {command}")
            return
        try:
            output.mkdir(mode=0o700, exist_ok=True)
            written = write_report(
                check_run(json.loads(path.read_text(encoding="utf-8"))), output, previous_of(run, path.parent)
            )
        except (FleetError, ValueError, OSError) as error:
            self._display.warning(f"the report could not be written: {error}. Try {command}")
        else:
            self._display.display(f"Report: {written[0]}")


def _tell_changes(run: dict[str, t.Any], folder: Path) -> None:
    """What is new on each host since the previous run, where the package that knows is installed."""
    try:
        from sglang_fleet.planning import FleetError
        from sglang_fleet.report_changes import host_changes
        from sglang_fleet.report_run import previous_of
    except ImportError:
        return
    try:
        before = previous_of(run, folder)
    except FleetError:
        return  # the report says it
    hosts = {host["host"]: host for host in before["hosts"]} if before else {}
    for host in run["hosts"]:
        if host["host"] in hosts:
            host["changed_since"] = host_changes(hosts[host["host"]], host)


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
