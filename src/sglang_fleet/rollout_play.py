# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One playbook of a rollout in a process of its own, which outlives a controller that is killed.

``python -m sglang_fleet.rollout_play ORDER`` runs what the file ORDER says and adds to the rollout's ``events.jsonl`` what
comes of it, so that whoever goes on with the rollout learns it too. A host is thus not left in the middle of its change because
the controller died. SIGTERM and SIGINT end the playbook.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from sglang_fleet import rollout_process
from sglang_fleet.fleet import Passed, message_of, play
from sglang_fleet.planning import FleetError
from sglang_fleet.rollout_journal import write_file

#: Names the file of events for the collection's actions.
EVENTS: Final = "SGLANG_FLEET_EVENTS"
#: Lines of the playbook's output that go into a message, when there is nothing better.
_TAIL: Final = 12
#: Seconds between two looks whether the controller is still there.
_WATCH: Final = 2.0
_GATE: Final = ("gate", "passed", "evidence", "seconds", "budget_seconds")
#: Facts with the gates of speed and accuracy.
_JUDGED: Final = ("performance_gate_result", "accuracy_gate_result")


@dataclass(frozen=True)
class Order:
    """What to run. number: of the play within its rollout. hosts: its limit. results: a folder that gets what each host came to,
    as a report wants it. lock: holder, rollout_id and pid, to be kept where the controller is gone. note: the file that tells of this
    process; begin: where its events begin in theirs; changes: whether hosts are changed. No secret is in it."""

    number: int
    playbook: str
    inventory: str
    hosts: Sequence[str]
    events: str
    log: str
    results: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    variable_files: Sequence[str] = ()
    vault_password_files: Sequence[str] = ()
    vault_ids: Sequence[str] = ()
    lock: Mapping[str, Any] | None = None
    by_limit: bool = True
    note: str = ""
    begin: int = 0
    changes: bool = True

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def passed(self, cancelled: Callable[[], bool]) -> Passed:
        # Hosts of one batch are to go side by side, whatever the number that suits this controller otherwise.
        forks = None if "ANSIBLE_FORKS" in os.environ else min(max(len(self.hosts), 5), 50)
        return Passed(
            tuple(self.variable_files), tuple(self.vault_password_files), tuple(self.vault_ids), forks, cancelled
        )


class Reporter:
    """Takes ansible-runner's events: gates and drops of lines go on at once, all else at the end."""

    def __init__(self, number: int, tell: Callable[[Mapping[str, Any]], None], log: Callable[[str], None]) -> None:
        self._number, self._tell, self._log = number, tell, log
        self.pid: int | None = None
        self.said: list[str] = []
        self.errors: dict[str, str] = {}
        self.stats: Mapping[str, Any] = {}
        self.records: dict[str, Any] = {}

    def __call__(self, event: Mapping[str, Any]) -> bool:
        if self.pid is None and event.get("pid"):
            self.pid = int(event["pid"])
            self._tell({"event": "play_began", "play": self._number, "pid": self.pid})
        if event.get("stdout"):
            self._log(str(event["stdout"]))
        data, kind = event.get("event_data") or {}, str(event.get("event"))
        host, result = data.get("host"), data.get("res") or {}
        if kind == "playbook_on_stats":
            self.stats = data
        elif isinstance(host, str) and isinstance(result, Mapping):
            self._of_host(kind, host, data, result)
        elif event.get("stdout") and kind in ("verbose", "error", "warning"):
            self.said += str(event["stdout"]).splitlines()
        return False

    def _of_host(self, kind: str, host: str, data: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        from ansible_collections.sglang.fleet.plugins.module_utils._run_record import Host

        record = self.records.setdefault(host, Host(host))
        if kind == "runner_on_ok":
            record.take(result)
            self._gates_of_facts(host, result)
        elif kind in ("runner_item_on_ok", "runner_item_on_failed") and isinstance(result.get("gates"), list):
            self._gates(host, str(result.get("item") or ""), result["gates"])
        elif kind == "runner_on_failed" and not data.get("ignore_errors"):
            self.errors[host] = message_of(host, result)
            record.fail(str(data.get("task") or ""), result)
        elif kind == "runner_on_unreachable":
            self.errors[host] = message_of(host, result)
            record.fail(str(data.get("task") or ""), result)
            elsewhere = _delegate(data, result)
            self._tell({"event": "unreachable", "host": host, "elsewhere": elsewhere, "error": self.errors[host]})

    def _gates_of_facts(self, host: str, result: Mapping[str, Any]) -> None:
        facts = result.get("ansible_facts")
        if not isinstance(facts, Mapping):
            return
        for name in _JUDGED:
            self._gates(host, "", (facts.get(name) or {}).get("gates") or [])

    def _gates(self, host: str, instance: str, gates: Sequence[Any]) -> None:
        for gate in gates:
            if isinstance(gate, Mapping) and gate.get("gate"):
                told = {name: gate.get(name) for name in _GATE}
                self._tell({"event": "gate", "host": host, "instance": str(gate.get("instance") or instance), **told})

    def ended(self, status: str, rc: int, hosts: Sequence[str], error: str = "") -> dict[str, Any]:
        """The last line of a play: for each host whether it failed or was not reached, and why."""
        dark, failures, ran = (self.stats.get(name) or {} for name in ("dark", "failures", "processed"))
        told = {
            name: {
                "ran": name in ran,
                "failed": bool(failures.get(name)),
                "dark": bool(dark.get(name)),
                "error": self.errors.get(name, ""),
            }
            for name in hosts
        }
        tail = error or "\n".join(line for line in self.said[-_TAIL:] if line.strip())
        return {"event": "play_ended", "play": self._number, "status": status, "rc": rc, "hosts": told, "said": tail}


class Cancel:
    """Ends the playbook in two steps: it is asked to, so that it ends its own workers, and killed where it does not."""

    def __init__(self, pid: Callable[[], int | None], patience: int = 10) -> None:
        """patience: how often it is looked at, about once a second, until it is killed."""
        self._pid, self._patience, self._looks = pid, patience, 0
        self.asked = False

    def take(self, _number: int, _frame: Any) -> None:
        """A signal's handler."""
        self.asked = True

    def overdue(self) -> bool:
        """Whether it is to be killed now."""
        if not self.asked:
            return False
        pid, self._looks = self._pid(), self._looks + 1
        if pid is None:
            return True
        if self._looks == 1:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        return self._looks > self._patience


def _delegate(data: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """The host that could not be reached, where it is another than the one whose turn it was."""
    told = result.get("_ansible_delegated_vars") or {}
    return str(told.get("ansible_delegated_host") or data.get("delegated_host") or "")


def write_results(reporter: Reporter, folder: Path) -> None:
    """What each host came to, for the report at the end: the last play about it counts."""
    from ansible_collections.sglang.fleet.plugins.module_utils._run_record import host_entry

    dark, failures = (reporter.stats.get(name) or {} for name in ("dark", "failures"))
    for name, record in reporter.records.items():
        entry = host_entry(record, bool(failures.get(name)), bool(dark.get(name)))
        path = folder / f"{name}.json"
        if not entry["gates"] and path.exists() and entry["status"] == "passed":
            continue  # one that had nothing to do says less than what is there
        write_file(path, entry)


def run(order: Order) -> int:
    """Runs it; the playbook's exit status."""
    parent = os.getppid()
    events, log = Path(order.events), Path(order.log)
    descriptors = [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) for path in (events, log)]

    def tell(event: Mapping[str, Any]) -> None:
        # In one piece: the playbook's own processes write to the same file.
        os.write(descriptors[0], json.dumps(event, ensure_ascii=False).encode() + b"\n")

    def note(text: str) -> None:
        os.write(descriptors[1], text.encode() + b"\n")

    start = rollout_process.started(os.getpid())
    process = {"number": order.number, "pid": os.getpid(), "start": start, "begin": order.begin}
    write_file(Path(order.note), {**process, "hosts": list(order.hosts), "changes": order.changes})

    ended = threading.Event()
    watch = threading.Thread(target=_mind_the_lock, args=(order, parent, ended), daemon=True)
    watch.start()
    reporter = Reporter(order.number, tell, note)
    cancel = Cancel(lambda: reporter.pid)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, cancel.take)
    status, rc, error = "failed", 1, ""
    try:
        limit = ":".join(order.hosts) if order.by_limit else None
        more = {EVENTS: order.events}
        status, rc = play(
            order.playbook, Path(order.inventory), limit, reporter, order.variables, order.passed(cancel.overdue), more
        )
    except FleetError as wrong:
        error = str(wrong)
    finally:
        ended.set()
        write_results(reporter, Path(order.results))
        status = "canceled" if cancel.asked else status
        tell(reporter.ended(status, rc, order.hosts, error))
    return rc


def _mind_the_lock(order: Order, parent: int, ended: threading.Event) -> None:
    """Keep the rollout's lock while the playbook works on, where the controller that renewed it is gone."""
    while not ended.wait(_WATCH):
        if os.getppid() != parent and order.lock is not None:
            break
    else:
        return
    from sglang_fleet.rollout_lock import FleetLock, asker

    passed = Passed(
        tuple(order.variable_files), tuple(order.vault_password_files), tuple(order.vault_ids), None, ended.is_set
    )
    FleetLock(asker(Path(order.inventory), passed), **order.lock).renew_until(ended)


def main() -> None:
    """The program."""
    from sglang_fleet.collection import use_collection

    use_collection()
    order = Order(**json.loads(Path(sys.argv[1]).read_text("utf-8")))
    sys.exit(run(order))


if __name__ == "__main__":
    main()
