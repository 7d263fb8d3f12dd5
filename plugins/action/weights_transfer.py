# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shows how far a transfer is while it runs. The module of the same name carries the documentation."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import tempfile
import time
from collections.abc import Container, Mapping
from typing import Any

from ansible import constants
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.sglang.fleet.plugins.module_utils._weights_fetch import REACH
from ansible_collections.sglang.fleet.plugins.module_utils._weights_job import PROGRESS
from ansible_collections.sglang.fleet.plugins.plugin_utils.progress import Progress

#: Seconds between two looks.
EVERY = 2.0
#: Seconds without news until the module has a look at the container itself.
SILENT = 15.0
#: Seconds that a host may be out of reach; its transfer goes on meanwhile.
OUT_OF_REACH = 600.0
_ENDED = ("done", "failed")


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        host = str(variables.get("inventory_hostname"))
        state = self._task.args.get("state")
        if state != "watched" or self._task.check_mode:
            more = {"key": run_key(constants.DEFAULT_LOCAL_TMP)} if state == "started" else {}
            answer = self._execute_module(module_args={**self._task.args, **more}, task_vars=variables)
            return _named(host, {**result, **answer})
        shown = Progress(host, "weights")
        news, since, lost = 0.0, time.monotonic(), 0.0
        while True:
            now = time.monotonic()
            try:
                progress = self.look()
                if progress.get("updated", 0.0) != news:
                    news, since = progress.get("updated", 0.0), now
                    if progress.get("bytes_total"):
                        shown.update(progress["bytes_done"], progress["bytes_total"], note_of(progress))
                if progress.get("state") in _ENDED or not progress or now - since > SILENT:
                    answer = self._execute_module(task_vars=variables)
                    if answer.get("failed") or not answer.get("running"):
                        return _named(host, {**result, **ended(answer, known_damage(variables))})
                    since = now
                lost = 0.0
            except AnsibleConnectionFailure:
                if not lost:
                    lost = now
                    self._display.warning(
                        f"{host} is out of reach: its transfer of weights goes on, and is looked for again"
                    )
                if now - lost > OUT_OF_REACH:
                    raise
                self._connection.reset()
                time.sleep(EVERY)
                continue
            time.sleep(EVERY)

    def look(self) -> dict[str, Any]:
        """progress.json, for the price of a `cat`; empty where there is none."""
        answer = self._low_level_execute_command(f"cat {PROGRESS}", sudoable=True)
        if answer.get("rc") != 0:
            return {}
        try:
            progress: dict[str, Any] = json.loads(answer["stdout"])
            return progress
        except ValueError:
            return {}


def run_key(folder: str) -> str:
    """What the hosts of this run know one another by: made once, kept in Ansible's own folder of the run, which is private and
    goes with it. So it stands in no variable."""
    path = os.path.join(folder, "sglang-fleet-weights-key")
    if not os.path.exists(path):
        descriptor, temporary = tempfile.mkstemp(dir=folder)
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            handle.write(secrets.token_urlsafe(32))
        with contextlib.suppress(FileExistsError):  # the process of another host was first
            os.link(temporary, path)
        os.unlink(temporary)
    with open(path, encoding="utf-8") as handle:
        return handle.read()


def note_of(progress: Mapping[str, Any]) -> str:
    """Where it comes from, or what it waits for, in a few words."""
    origins = progress.get("origins") or []
    if origins:
        more = f" and {len(origins) - 2} more" if len(origins) > 2 else ""
        return f"from {', '.join(origins[:2])}{more}"
    if progress.get("hashing"):
        return "hashing"
    return str(progress.get("note") or "")


def known_damage(variables: Mapping[str, Any]) -> set[str]:
    """The paths that the run has named as damaged before the transfer began."""
    found = (variables.get("ansible_facts") or {}).get("fleet_weights") or {}
    return {entry["path"] for entry in found.get("damaged") or []}


def ended(answer: Mapping[str, Any], known: Container[str] = ()) -> dict[str, Any]:
    """The result of a transfer that does not run any more. known: paths whose damage needs no second warning."""
    if answer.get("failed"):
        return dict(answer)
    progress = answer.get("progress") or {}
    damaged = [f"{entry['path']}: {entry['reason']}" for entry in progress.get("damaged") or []]
    news = [
        f"{entry['path']}: {entry['reason']}" for entry in progress.get("damaged") or [] if entry["path"] not in known
    ]
    kept = {name: value for name, value in answer.items() if name not in ("log", "invocation")}
    if progress.get("state") == "done":
        came = any(progress.get(name) for name in ("from_hub", "from_source", "from_peers"))
        warnings = [f"weights: {line}. It was fetched again." for line in news]
        if progress.get("fell_back"):
            warnings.append(f"weights: {progress['fell_back']}. {REACH}.")
        return {**kept, "changed": came, "warnings": warnings}
    if progress.get("state") == "failed":
        why = progress.get("error")
    else:
        why = f"the transfer ended without saying why ({answer.get('log') or 'docker logs sglang-fleet-weights has nothing'})"
    said = f" Not the locked bytes were: {'; '.join(damaged)}." if damaged else ""
    done, total = progress.get("bytes_done", 0), progress.get("bytes_total")
    return {
        **kept,
        "failed": True,
        "msg": f"weights: {why}.{said} What was verified before is kept ({done} of {total} bytes); run again to fetch the rest."
        " No server was started on it.",
    }


def _named(host: str, answer: dict[str, Any]) -> dict[str, Any]:
    """The same with the host before its message and its warnings."""
    if answer.get("failed"):
        answer["msg"] = f"{host}: {answer.get('msg')}"
    if answer.get("warnings"):
        answer["warnings"] = [f"{host}: {line}" for line in answer["warnings"]]
    return answer
