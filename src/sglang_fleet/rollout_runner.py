# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What acts on the fleet for a rollout: the collection's playbooks, each in a process of its own, heard live.

The process is noted in the rollout's folder (``play.json``) before anything else, so that whoever resumes a rollout whose
controller was killed finds a playbook that still works, and waits for it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sglang_fleet import rollout_process
from sglang_fleet.planning import FleetError
from sglang_fleet.rollout import UNTOUCHED, Hear, Interrupted, Job, Outcome
from sglang_fleet.rollout_journal import write_file
from sglang_fleet.rollout_play import Order
from sglang_fleet.rollout_state import BACK, DONE, FAILED, HELD, ROLLED_BACK, UNREACHABLE, WAITING

PLAY: Final = "play.json"
EVENTS: Final = "events.jsonl"
LOG: Final = "ansible.log"
RESULTS: Final = "hosts"
STATES: Final = "states"
#: What tells two results of gates apart.
GATE_FIELDS: Final = ("host", "instance", "gate", "passed", "evidence", "seconds")
#: Seconds between two looks at the file of events.
_LOOK: Final = 0.1
#: Stages in which nothing of a host has been changed yet.
_BEFORE: Final = (WAITING, FAILED, UNREACHABLE)


@dataclass(frozen=True)
class Files:
    """What the operator's options name: the inventory, files of variables, and where passwords of vaults are."""

    inventory: Path
    variable_files: tuple[str, ...] = ()
    vault_password_files: tuple[str, ...] = ()
    vault_ids: tuple[str, ...] = ()


@dataclass
class _Hosts:
    """What a play's lines have come to so far."""

    settled: dict[str, str] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    errors: dict[str, str] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)
    elsewhere: dict[str, str] = field(default_factory=dict)
    end: Mapping[str, Any] | None = None
    playbook: int | None = None

    def take(self, event: Mapping[str, Any]) -> None:
        kind, host = event.get("event"), str(event.get("host") or "")
        if kind == "stage":
            stage = str(event.get("stage"))
            if stage not in _BEFORE and (event.get("instance") or stage not in (DONE, ROLLED_BACK, HELD)):
                self.touched.add(host)
            if stage == FAILED:
                self.errors[host] = str(event.get("detail") or "")
            if not event.get("instance") and stage in (DONE, ROLLED_BACK, HELD):
                self.settled[host] = stage
                if stage == HELD:
                    first = self.errors.get(host)
                    self.errors[host] = "; and the way back: ".join(
                        text for text in (first, str(event.get("detail") or "")) if text
                    )
        elif kind == "unreachable":
            (self.elsewhere if event.get("elsewhere") else self.gone)[host] = str(event.get("error") or "")
            if event.get("elsewhere"):
                self.elsewhere[host] = f"{event['elsewhere']} cannot be reached: {event.get('error')}"
        elif kind == "play_began":
            self.playbook = int(event["pid"])
        elif kind == "play_ended":
            self.end = event

    def outcome(self, host: str) -> Outcome:
        """How the host's change ended. One that is in the middle of it while the playbook is over has failed."""
        told = ((self.end or {}).get("hosts") or {}).get(host) or {}
        error = self.errors.get(host) or str(told.get("error") or "")
        settled = self.settled.get(host)
        if settled == DONE:
            return Outcome(DONE)
        if settled == ROLLED_BACK:
            return Outcome(ROLLED_BACK, error)
        if settled == HELD:
            return Outcome(FAILED, error, True)
        if host in self.elsewhere:  # not the host's fault, and a gateway that is gone says nothing of it
            return Outcome(FAILED, self.elsewhere[host], host in self.touched)
        if host in self.gone or told.get("dark"):
            return Outcome(UNREACHABLE, self.gone.get(host) or error or "it does not answer")
        if told.get("failed") and host not in self.touched:
            return Outcome(FAILED, error or "it failed without a message", False)
        if host in self.touched:
            return Outcome(FAILED, error or "the playbook ended in the middle of its change", True)
        return Outcome(UNTOUCHED, self.why(), False)

    def tested(self, host: str) -> Outcome:
        """How the gates went on a host, on which nothing is changed."""
        told = ((self.end or {}).get("hosts") or {}).get(host) or {}
        if host in self.gone or told.get("dark"):
            return Outcome(UNREACHABLE, self.gone.get(host) or "it does not answer")
        if told.get("ran") and not told.get("failed"):
            return Outcome(DONE)
        return Outcome(FAILED, str(told.get("error") or "") or self.why())

    def why(self) -> str:
        """Why the play as a whole has come to nothing."""
        if self.end is None:
            return "the playbook's process has died"
        return str(self.end.get("said") or f"ansible-playbook ended with {self.end.get('rc')}")


class PlaybookRunner:
    """The fleet by its playbooks. stop: set where the rollout is to end now."""

    def __init__(
        self,
        folder: Path,
        files: Files,
        stop: threading.Event,
        *,
        stopped_by: Callable[[], str] = lambda: "the operator",
        lock: Mapping[str, Any] | None = None,
        playbooks: Path | None = None,
    ) -> None:
        """folder: the rollout's. playbooks: a folder in the collection's place, for tests."""
        self._folder, self._files, self._stop = folder.resolve(), files, stop
        self._lock, self._playbooks = lock, playbooks
        self._stopped_by = stopped_by

    def change(self, job: Job, hear: Hear) -> Mapping[str, Outcome]:
        variables = {
            "rollout_id": job.rollout_id,
            "rollout_direction": job.direction,
            "fleet_serial": "100%",
            "rollout_max_fail_percentage": 100,  # how many may fail is judged here, and the others of a batch come to their end
            **job.settings,
        }
        if job.direction == BACK:
            variables["rollout_states"] = str(self._folder / STATES)
        found = self._play("rollout.yml", job.hosts, variables, hear)
        return {name: found.outcome(name) for name in job.hosts}

    def keep_out(self, job: Job) -> Mapping[str, str]:
        variables = {
            "traffic_hosts": ",".join(job.hosts),
            "traffic_state": "out",
            "traffic_reason": f"rollout {job.rollout_id}: failed, or not reached",
        }
        found = self._play("traffic.yml", job.hosts, variables, lambda _event: None, by_limit=False)
        if found.end is not None and found.end["rc"] == 0:
            return {}
        errors = [str(one["error"]) for one in ((found.end or {}).get("hosts") or {}).values() if one["error"]]
        return dict.fromkeys(job.hosts, errors[0] if errors else found.why())

    def check(self, job: Job, hear: Hear) -> Mapping[str, Outcome]:
        found = self._play("verify.yml", job.hosts, {"rollout_id": job.rollout_id}, hear)
        return {name: found.tested(name) for name in job.hosts}

    # --- One play --------------------------------------------------------------------------------------------------

    def _play(
        self, name: str, hosts: Sequence[str], variables: Mapping[str, Any], hear: Hear, *, by_limit: bool = True
    ) -> _Hosts:
        if self._stop.is_set():
            raise Interrupted(f"{self._stopped_by()} stopped it")
        events = self._folder / EVENTS
        begin = events.stat().st_size if events.exists() else 0
        number = 1 + int((read_play(self._folder) or {}).get("number") or 0)
        order = Order(
            number=number,
            playbook=str(self._playbooks / name) if self._playbooks else name,
            inventory=str(self._files.inventory.resolve()),
            hosts=list(hosts),
            events=str(events),
            log=str(self._folder / LOG),
            results=str(self._folder / RESULTS),
            variables=variables,
            variable_files=self._files.variable_files,
            vault_password_files=self._files.vault_password_files,
            vault_ids=self._files.vault_ids,
            lock=self._lock,
            by_limit=by_limit,
            note=str(self._folder / PLAY),
            begin=begin,
            # What only looks, and what concerns gateways alone, is nothing to be told of hosts afterwards.
            changes=name == "rollout.yml",
        )
        file = self._folder / "order.json"
        write_file(file, order.to_dict())
        process = _start(file, self._folder / LOG)
        start = rollout_process.started(process.pid)

        def there() -> bool:
            return process.poll() is None

        found = self._follow(begin, there, hear, (process.pid, start))
        process.wait()
        return found

    def _follow(self, begin: int, there: Callable[[], bool], hear: Hear, process: tuple[int, str | None]) -> _Hosts:
        """Hear a play to its end, or end it where the rollout is to stop."""
        found, tail, gates = _Hosts(), Tail(self._folder / EVENTS, begin), set[str]()

        def listen() -> None:
            for event in tail.news():
                plain = _plain(event)
                found.take(plain)
                if plain.get("event") == "gate":
                    # The playbook tells of its gates, and so does the task that has tried them.
                    told = json.dumps([plain.get(name) for name in GATE_FIELDS])
                    if told in gates:
                        continue
                    gates.add(told)
                hear(plain)

        try:
            while there():
                listen()
                if self._stop.wait(_LOOK):
                    break
        except BaseException:  # nobody would hear it any more: the journal cannot be written
            rollout_process.end(*process)
            raise
        if self._stop.is_set():
            rollout_process.end(*process)
        listen()
        self._bury(found)
        if self._stop.is_set():
            raise Interrupted(f"{self._stopped_by()} stopped it")
        return found

    @staticmethod
    def _bury(found: _Hosts) -> None:
        """Where the play's process has died without a word, its playbook must not go on alone."""
        if found.end is None and found.playbook is not None:
            rollout_process.end(found.playbook, rollout_process.started(found.playbook), 5.0)

    # --- After a kill ----------------------------------------------------------------------------------------------

    def adopt(self, hear: Hear) -> Mapping[str, Outcome]:
        """Wait for the playbook that a controller left behind when it was killed; how it went with each of its hosts, where it
        came to an end of its own. What only looked is ended."""
        play = read_play(self._folder)
        if play is None:
            return {}
        pid, start = int(play["pid"]), play["start"]
        if not play["changes"]:
            rollout_process.end(pid, start)
            return {}
        found = self._follow(int(play["begin"]), lambda: rollout_process.runs(pid, start), hear, (pid, start))
        if found.end is None or found.end.get("status") == "canceled":
            return {}
        return {name: found.outcome(name) for name in play["hosts"]}


def _plain(event: dict[str, Any]) -> dict[str, Any]:
    """Without the host's name before what is said of it, as messages of the collection have it."""
    if isinstance(event.get("detail"), str):
        event["detail"] = event["detail"].removeprefix(f"{event.get('host')}: ")
    return event


class Tail:
    """A file of JSON lines that others write, from some byte on."""

    def __init__(self, path: Path, begin: int) -> None:
        self._path, self._at = path, begin

    def news(self) -> Iterator[dict[str, Any]]:
        """The whole lines since the last call; what is no line of JSON says nothing."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                text = file.read()
        except FileNotFoundError:
            return
        whole = text[: text.rfind(b"\n") + 1]
        self._at += len(whole)
        for line in whole.splitlines():
            with suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict):
                    yield event


def read_play(folder: Path) -> dict[str, Any] | None:
    """The last play of a rollout; None where there was none."""
    try:
        found = json.loads((folder / PLAY).read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise FleetError(f"{folder / PLAY} cannot be read: {error}") from error
    return found if isinstance(found, dict) else None


def left_behind(folder: Path) -> bool:
    """Whether a playbook of it still works, whoever started it."""
    play = read_play(folder)
    return play is not None and rollout_process.runs(int(play["pid"]), play["start"])


def _start(order: Path, log: Path) -> subprocess.Popen[bytes]:
    """In a session of its own: a key pressed in the terminal is the controller's to deal with."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "sglang_fleet.rollout_play", str(order)],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
        )
    except OSError as error:
        raise FleetError(f"cannot run {sys.executable}: {error.strerror}") from error
    finally:
        os.close(descriptor)
