# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drives a rollout: asks its state what is next, has the runner do it, and writes down what came of it, until it has ended.

It decides nothing itself (``rollout_state`` does) and knows nothing of a deployment (the playbooks do).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sglang_fleet.planning import FleetError
from sglang_fleet.rollout_journal import Journal
from sglang_fleet.rollout_state import (
    BACK,
    DONE,
    FAILED,
    MIXED,
    ROLLED_BACK,
    UNREACHABLE,
    Rollout,
    Step,
    next_step,
)

#: An outcome of a host whose turn did not come.
UNTOUCHED = "untouched"
#: What a playbook's stage event has for the journal.
_STAGE = ("host", "instance", "stage", "detail", "running")
_GATE = ("host", "instance", "gate", "passed", "evidence", "seconds", "budget_seconds")

Hear = Callable[[Mapping[str, Any]], None]


class Interrupted(Exception):  # noqa: N818 (it is no error)
    """The rollout is not to go on in this process: the operator stopped it, or the fleet's lock is another's."""


@dataclass(frozen=True)
class Outcome:
    """How the change of a host ended: done, rolled_back, failed, unreachable or untouched. touched: of a failed one, whether
    its change had begun, which makes what it is now unknown."""

    status: str
    error: str = ""
    touched: bool = True


@dataclass(frozen=True)
class Job:
    """Hosts that change at the same time. wave: its number, from 1; 0 for none."""

    rollout_id: str
    hosts: tuple[str, ...]
    direction: str
    wave: int
    settings: Mapping[str, Any] = field(default_factory=dict)


class Runner(Protocol):
    """What acts on the fleet. Each call may raise FleetError where it cannot even begin."""

    def change(self, job: Job, hear: Hear) -> Mapping[str, Outcome]:
        """Take the hosts to the new version, or back; a host that is there already stays as it is."""

    def keep_out(self, job: Job) -> Mapping[str, str]:
        """Have the gateways send the hosts nothing; none of them is asked. Gives a reason for each where that failed."""

    def check(self, job: Job, hear: Hear) -> Mapping[str, Outcome]:
        """Put the hosts' servers through the gates, changing nothing."""


class Engine:
    """One attempt at a rollout: from its beginning, or from where another left it."""

    def __init__(
        self,
        journal: Journal,
        runner: Runner,
        *,
        wait: Callable[[float], None],
        guard: Callable[[], None] = lambda: None,
        listeners: Sequence[Callable[[Mapping[str, Any]], None]] = (),
    ) -> None:
        """wait: sleeps so many seconds. guard: called before each step. Both raise Interrupted where this is to end."""
        self._journal, self._runner = journal, runner
        self._wait, self._guard = wait, guard
        self._listeners = listeners

    @property
    def state(self) -> Rollout:
        return self._journal.state

    def run(self) -> int:
        """The exit status. Raises FleetError where the journal cannot be written; then nothing more was begun."""
        try:
            while True:
                self._guard()
                step = next_step(self.state)
                if step.kind == "end":
                    return self._end(step)
                self._perform(step)
        except Interrupted as stop:
            return self.interrupt(str(stop))

    def take_over(self, busy: Sequence[str], adopt: Callable[[Hear], Mapping[str, Outcome]]) -> None:
        """What a killed controller left behind comes to its end first. busy: the hosts that were changing as far as the journal
        knows; all that is known of others is in it already. Raises Interrupted where this is to end meanwhile."""
        found = adopt(self._ear(busy))
        self._write({name: one for name, one in found.items() if name in busy})

    def interrupt(self, why: str) -> int:
        """Write down that this attempt ends here."""
        self._add("interrupted", why=why)
        return MIXED

    def note(self, text: str) -> None:
        """Keep something that the report tells."""
        self._add("note", text=text)

    def _perform(self, step: Step) -> None:
        if step.kind == "begin_wave":
            self._add("wave_begun", wave=step.wave, hosts=list(step.hosts))
        elif step.kind == "end_wave":
            self._add("wave_ended", wave=step.wave)
        elif step.kind == "decide":
            self._add("decision", what=self.state.spec["on_failure"], why=step.why)
        elif step.kind == "keep_out":
            self._keep_out(step)
        elif step.kind == "soak":
            self._soak(step)
        else:
            self._run(step)

    def _end(self, step: Step) -> int:
        code = MIXED if step.code is None else step.code
        if self.state.code is None:
            self._add("ended", code=code)
        return code

    def _run(self, step: Step) -> None:
        waves = {self.state.hosts[name].wave for name in step.hosts}
        wave = waves.pop() + 1 if len(waves) == 1 else 0
        self._add("batch", hosts=list(step.hosts), direction=step.direction, wave=wave, why=step.why)
        found = self._asked(step, lambda job: self._runner.change(job, self._ear(step.hosts)), wave)
        settled = self._write(found)
        if not settled:  # without this the same step would come again for ever
            why = next((one.error for one in found.values() if one.error), "the playbook ended before any host's turn")
            for name in step.hosts:
                self._add("outcome", host=name, status=FAILED, error=f"not begun: {why}", touched=False)

    def _asked(self, step: Step, ask: Callable[[Job], Mapping[str, Outcome]], wave: int) -> dict[str, Outcome]:
        job = Job(str(self.state.spec["id"]), step.hosts, step.direction, wave, self.state.spec.get("settings") or {})
        try:
            told = ask(job)
        except FleetError as error:
            told = {name: Outcome(UNTOUCHED, str(error), False) for name in step.hosts}
        return {name: told.get(name, Outcome(UNTOUCHED, "", False)) for name in step.hosts}

    def _write(self, found: Mapping[str, Outcome]) -> bool:
        """Write the outcomes down; whether any host's turn came."""
        turns = False
        for name, one in found.items():
            if one.status == UNTOUCHED:
                continue
            turns = True
            self._add("outcome", host=name, status=one.status, error=one.error, touched=one.touched)
        return turns

    def _ear(self, hosts: Sequence[str]) -> Hear:
        """Takes a playbook's events: stages and gates go to the journal, all else only to those who watch."""
        ours = frozenset(hosts)

        def hear(event: Mapping[str, Any]) -> None:
            kind, host = event.get("event"), event.get("host")
            if host in ours and kind == "stage" and event.get("stage"):
                self._add("stage", **{name: event[name] for name in _STAGE if event.get(name) is not None})
            elif host in ours and kind == "gate" and event.get("gate"):
                skipped = {"skipped": True} if event.get("skipped") else {}
                self._add("gate", **{name: event.get(name) for name in _GATE}, **skipped)
            else:
                self._tell({**event, "entry": str(kind)})

        return hear

    def _keep_out(self, step: Step) -> None:
        job = Job(str(self.state.spec["id"]), step.hosts, BACK, 0, self.state.spec.get("settings") or {})
        try:
            wrong = self._runner.keep_out(job)
        except FleetError as error:
            wrong = dict.fromkeys(step.hosts, str(error))
        for name in step.hosts:
            self._add("kept_out", host=name, error=wrong.get(name, ""))

    def _soak(self, step: Step) -> None:
        """Wait while the canaries serve, then put them through the gates once more."""
        if self.state.soak_began is None:
            self._add("soak_begun", wave=step.wave, seconds=self.state.spec["soak_s"])
        began, now = self.state.soak_began or 0.0, self._journal.now()
        left = began + float(self.state.spec["soak_s"]) - now
        if left > 0:
            self._wait(min(left, float(self.state.spec["soak_s"])))
        found = self._asked(step, lambda job: self._runner.check(job, self._ear(step.hosts)), step.wave + 1)
        for name, one in found.items():
            if one.status not in (DONE, ROLLED_BACK):
                error = f"after its soak: {one.error or 'could not be tested'}"
                # It serves the new version and is not well: what it is now has to be found out.
                status = UNREACHABLE if one.status == UNREACHABLE else FAILED
                self._add("outcome", host=name, status=status, error=error, touched=True)
        self._add("soaked", wave=step.wave)

    def _add(self, kind: str, **values: Any) -> None:
        self._tell(self._journal.add(kind, **values))

    def _tell(self, entry: Mapping[str, Any]) -> None:
        for listener in self._listeners:
            listener(entry)
