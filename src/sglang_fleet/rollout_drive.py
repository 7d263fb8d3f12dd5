# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollout from the operator's wish to its exit status: the lock, the look at the fleet, the journal, the engine, the report."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from sglang_fleet.fleet import Passed
from sglang_fleet.planning import FleetError
from sglang_fleet.rollout import Engine, Interrupted, Job
from sglang_fleet.rollout_fleet import KNOWN, Found, Preview, look, preview
from sglang_fleet.rollout_journal import SCHEMA, Journal, new_id, read_state, write_file
from sglang_fleet.rollout_lines import line_of
from sglang_fleet.rollout_lock import FleetLock, asker, whoami
from sglang_fleet.rollout_options import Wishes
from sglang_fleet.rollout_report import result_of, write_summary
from sglang_fleet.rollout_runner import STATES, Files, PlaybookRunner
from sglang_fleet.rollout_state import ALL_BACK, ALL_NEW, BACK, FORWARD, MIXED, NEW, ROLLBACK, Rollout, listed

OPTIONS: Final = "options.json"
PLANS: Final = "plans.json"
VARIABLES: Final = "variables.json"
#: What a host was before a rollback began; its states are what it goes back to.
BEFORE: Final = "before"
_SIGNALS: Final = {signal.SIGINT: "SIGINT (Ctrl-C)", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}

#: Takes each entry of the journal, and what playbooks tell beside it.
Listener = Callable[[Mapping[str, Any]], None]


@dataclass
class Desk:
    """Where the operator is: say writes a line to them. watch: a view of a rollout's state, for as long as it runs. events: a file
    that gets every entry as a line of JSON. playbooks: a folder in the collection's place, for tests."""

    rollouts: Path
    files: Files
    say: Callable[[str], None]
    watch: Callable[[Rollout, Path], Any]
    inline: Mapping[str, Any] = field(default_factory=dict)
    events: Path | None = None
    playbooks: Path | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    stopped_by: str = "the operator"

    def passed(self, scratch: Path | None = None) -> Passed:
        """scratch: a folder for the inline variables, as long as the rollout has none."""
        files = list(self.files.variable_files)
        if self.inline and scratch is not None:
            write_file(scratch / VARIABLES, dict(self.inline))
            files.append(str(scratch / VARIABLES))
        return Passed(tuple(files), self.files.vault_password_files, self.files.vault_ids, cancelled=self.stop.is_set)

    def wait(self, seconds: float) -> None:
        """Sleep; raises Interrupted where the rollout is to end."""
        if self.stop.wait(max(seconds, 0.0)):
            raise Interrupted(f"{self.stopped_by} stopped it")

    @contextmanager
    def signals(self) -> Iterator[None]:
        """A signal ends what is under way, and is written down as such."""

        def take(number: int, _frame: Any) -> None:
            self.stopped_by = _SIGNALS[signal.Signals(number)]
            self.stop.set()

        old = {number: signal.signal(number, take) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)

    @contextmanager
    def scratch(self) -> Iterator[Passed]:
        with tempfile.TemporaryDirectory(prefix="sglang-fleet-") as folder:
            yield self.passed(Path(folder))


def dry_run(desk: Desk, wanted: Wishes, limit: str | None) -> Preview:
    """What a rollout would do; changes nothing, and takes no lock. Raises FleetError."""
    with desk.signals(), desk.scratch() as passed:
        found = look(desk.files.inventory, limit, passed, playbooks=desk.playbooks)
        not_stopped(desk)
        return preview(found.nodes(), wanted.waves, wanted.max_unavailable, wanted.canaries)


def begin(desk: Desk, wanted: Wishes, limit: str | None) -> int:
    """A new rollout, to its end; the exit status. Raises FleetError where it does not begin."""
    name = new_id(time.time())
    with desk.signals(), desk.scratch() as passed, _locked(desk, name, passed) as lock:
        found = look(desk.files.inventory, limit, passed, playbooks=desk.playbooks)
        not_stopped(desk)
        plan = preview(found.nodes(), wanted.waves, wanted.max_unavailable, wanted.canaries)
        for note in plan.notes:
            desk.say(f"note: {note}")
        if not plan.waves:
            desk.say("nothing to do: every host that was reached runs what the inventory says")
            return _no_more(plan)
        spec = _spec(plan, wanted.max_unavailable, wanted.settings())
        spec |= {
            "success": wanted.success,
            "soak_s": wanted.soak_s,
            "on_failure": wanted.on_failure,
            "direction": FORWARD,
            "why": "",
        }
        return _drive(desk, name, lock, plan, spec, {STATES: {one.name: one.state for one in _changing(plan)}})


def rollback(desk: Desk, to: str, limit: str | None, max_unavailable: str | None) -> int:
    """Bring the hosts of a rollout back to what they were before it; the exit status. Raises FleetError."""
    source = desk.rollouts / to
    before = source / BEFORE if (source / BEFORE).is_dir() else source / STATES
    wanted = {path.stem: _state_file(path) for path in sorted(before.glob("*.json"))}
    if not wanted:
        raise FleetError(f"{before} holds no host's state: rollout {to} has changed none that had one")
    old = read_state(source)
    name = new_id(time.time())
    with desk.signals(), desk.scratch() as passed, _locked(desk, name, passed) as lock:
        found = look(desk.files.inventory, limit, passed, "status.yml", desk.playbooks).nodes()
        not_stopped(desk)
        ours = {one: host for one, host in found.items() if one in wanted}
        if not ours:
            raise FleetError(f"none of the hosts of rollout {to} is meant: it changed {listed(wanted)}")
        chosen = [one for one, host in ours.items() if host.status == KNOWN and _differs(host, wanted[one])]
        plan = preview(found, "100%", max_unavailable, chosen=chosen)
        plan.unreachable = [one for one in plan.unreachable if one in wanted]
        if not chosen:
            desk.say(f"nothing to do: every host that was reached runs what it ran before rollout {to}")
            return _no_more(plan)
        settings = old.spec.get("settings") or {}
        spec = _spec(plan, max_unavailable, settings)
        why = f"back to what was before rollout {to}"
        spec |= {"success": 100, "soak_s": 0, "on_failure": ROLLBACK, "direction": BACK, "why": why, "to": to}
        kept = {STATES: {one: wanted[one] for one in chosen}, BEFORE: {one: ours[one].state for one in chosen}}
        return _drive(desk, name, lock, plan, spec, kept)


def resume(desk: Desk, name: str) -> int:
    """Go on with a rollout that was begun; the exit status. Raises FleetError."""
    folder = desk.rollouts / name
    journal = Journal.reopen(folder)
    with desk.signals():
        try:
            state = journal.state
            if state.code in (ALL_NEW, ALL_BACK):
                desk.say(f"rollout {name} has ended, {result_of(state)}: nothing to resume")
                return state.code
            desk.files = _same_files(desk.files, folder)
            busy = [host.name for host in state.hosts.values() if host.active]
            dead = {"rollout_id": name, **state.holder} if state.holder else None
            with _locked(desk, name, desk.passed(), dead) as lock:
                # A rollback that is under way needs no plan.
                if state.aim == NEW:
                    _same_plans(desk, folder, state)
                journal.add("resumed", by=lock.who["holder"], pid=lock.who["pid"])
                return _run(desk, journal, lock, busy)
        finally:
            journal.close()


# --- Parts ---------------------------------------------------------------------------------------------------------


def _no_more(plan: Preview) -> int:
    return 4 if plan.unreachable else ALL_NEW


def _changing(plan: Preview) -> list[Found]:
    return [plan.hosts[name] for name in plan.changing if plan.hosts[name].state]


def _spec(plan: Preview, max_unavailable: str | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "nodes": [{**asdict(node), "gpus": list(node.gpus)} for node in plan.nodes],
        "waves": plan.waves,
        "unreachable": plan.unreachable,
        "max_unavailable": max_unavailable,
        "settings": dict(settings),
    }


@contextmanager
def _locked(desk: Desk, name: str, passed: Passed, dead: Mapping[str, Any] | None = None) -> Iterator[FleetLock]:
    """The fleet's lock, renewed until the end."""
    lock = FleetLock(asker(desk.files.inventory, passed), whoami(), name, os.getpid())
    note = lock.take(dead)
    if note:
        desk.say(f"note: {note}")
    lock.start()
    try:
        yield lock
    finally:
        stopped = desk.stop.is_set()
        desk.stop.clear()  # letting go of it is no step of the rollout
        note = lock.release()
        if note:
            desk.say(f"note: {note}")
        if stopped:
            desk.stop.set()


def _drive(
    desk: Desk,
    name: str,
    lock: FleetLock,
    plan: Preview,
    spec: Mapping[str, Any],
    kept: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> int:
    """From the journal's first entry to the end. kept: folder -> host -> state."""
    folder = desk.rollouts / name
    journal = Journal.begin(folder)
    try:
        folder.chmod(0o700)
        for where, states in kept.items():
            for host, state in states.items():
                write_file(folder / where / f"{host}.json", state)
        if desk.inline:
            write_file(folder / VARIABLES, dict(desk.inline))
            named = (*desk.files.variable_files, str((folder / VARIABLES).resolve()))
            desk.files = Files(desk.files.inventory, named, desk.files.vault_password_files, desk.files.vault_ids)
        write_file(folder / OPTIONS, {**asdict(desk.files), "inventory": str(desk.files.inventory)})
        write_file(folder / PLANS, {one: _plan_entry(plan.hosts[one]) for one in plan.changing})
        who = {"by": lock.who["holder"], "pid": lock.who["pid"]}
        first = journal.add("rollout", id=name, **spec, **who)
        desk.say(line_of(first, journal.state) or name)
        return _run(desk, journal, lock, [], plan.unreachable)
    finally:
        journal.close()


def _run(desk: Desk, journal: Journal, lock: FleetLock, busy: Sequence[str], unreachable: Sequence[str] = ()) -> int:
    runner = PlaybookRunner(
        journal.folder,
        desk.files,
        desk.stop,
        stopped_by=lambda: desk.stopped_by,
        lock=lock.who,
        playbooks=desk.playbooks,
    )

    def guard() -> None:
        desk.wait(0.0)
        lock.guard(desk.wait)

    code = MIXED
    try:
        with desk.watch(journal.state, journal.folder) as view, _file_of(desk.events) as line:
            engine = Engine(journal, runner, wait=desk.wait, guard=guard, listeners=[view, line])
            try:
                engine.take_over(busy, runner.adopt)
                if unreachable:
                    _leave_out(engine, journal, runner, unreachable)
            except Interrupted as stop:
                engine.interrupt(str(stop))
            else:
                code = engine.run()
    finally:
        with suppress(FleetError):
            write_summary(journal.folder, desk.say)
    return code


def _leave_out(engine: Engine, journal: Journal, runner: PlaybookRunner, names: Sequence[str]) -> None:
    """Hosts that nobody reached get no traffic: what they run is not known."""
    try:
        wrong = runner.keep_out(Job(journal.folder.name, tuple(names), BACK, 0))
    except FleetError as error:
        wrong = dict.fromkeys(names, str(error))
    for name, why in wrong.items():
        engine.note(f"{name} could not be taken out of traffic: {why}")


@contextmanager
def _file_of(path: Path | None) -> Iterator[Listener]:
    """A listener that writes each entry to a file as it comes, under the name that the playbooks' own events have, too."""
    if path is None:
        yield lambda _entry: None
        return
    with open_events(path) as file:

        def line(entry: Mapping[str, Any]) -> None:
            with suppress(OSError):  # a rollout does not fail for want of a spectator
                print(json.dumps({"event": entry["entry"], **entry}, ensure_ascii=False), file=file)

        yield line


def open_events(path: Path) -> IO[str]:
    """The file of --events, for more lines; raises FleetError."""
    try:
        return path.open("a", encoding="utf-8", buffering=1)
    except OSError as error:
        raise FleetError(f"--events {path} cannot be written: {error.strerror}") from error


def not_stopped(desk: Desk) -> None:
    """Raises FleetError where a signal has cut a look at the fleet short: it would be taken for the whole."""
    if desk.stop.is_set():
        raise FleetError(f"{desk.stopped_by} stopped it before it began. No host was touched")


def _plan_entry(host: Found) -> dict[str, Any]:
    return {"digest": _digest(host.plan), "change": host.change}


def _digest(plan: Mapping[str, Any] | None) -> str | None:
    """SHA-256 of what of a plan is brought to the host."""
    if plan is None:
        return None
    own = [plan["model"], plan["image"]["reference"], plan["instances"]]
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()


def _same_plans(desk: Desk, folder: Path, state: Rollout) -> None:
    """A rollout goes on to what it was begun for; raises FleetError where the inventory says something else by now."""
    kept = json.loads((folder / PLANS).read_text("utf-8"))
    found = look(desk.files.inventory, ":".join(state.hosts), desk.passed(), playbooks=desk.playbooks).nodes()
    moved = [
        name
        for name, host in found.items()
        if host.plan is not None and name in kept and kept[name]["digest"] not in (None, _digest(host.plan))
    ]
    if moved:
        raise FleetError(
            f"the inventory plans something else for {listed(moved)} than when rollout {folder.name} began: put it back and "
            "resume, bring the hosts back with sglang-fleet rollback, or begin a new rollout"
        )


def _same_files(given: Files, folder: Path) -> Files:
    """The options that the rollout was begun with; new places of passwords count."""
    try:
        kept = json.loads((folder / OPTIONS).read_text("utf-8"))
        variables = tuple(kept["variable_files"])
        passwords, ids = tuple(kept["vault_password_files"]), tuple(kept["vault_ids"])
    except (OSError, ValueError, KeyError) as error:
        raise FleetError(f"{folder / OPTIONS} cannot be read: {error}") from error
    if str(given.inventory) != kept["inventory"]:
        raise FleetError(f"rollout {folder.name} is one of the inventory {kept['inventory']}: give that with -i")
    gone = [path for path in variables if not Path(path).is_file()]
    if gone:
        raise FleetError(f"rollout {folder.name} was begun with -e @{gone[0]}, which is not there any more")
    return Files(
        given.inventory,
        (*variables, *given.variable_files),
        given.vault_password_files or passwords,
        given.vault_ids or ids,
    )


def _state_file(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise FleetError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise FleetError(f"{path} is no record of a host")
    return found


def _differs(host: Found, wanted: Mapping[str, Any]) -> bool:
    """Whether the host is to be brought back: what runs is another, or does not run."""
    return host.state != wanted or not host.passed or set(host.serving) != set(wanted.get("instances") or {})
