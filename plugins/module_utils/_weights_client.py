# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings a host's weights to the lock. Runs detached, in a container of the server's image, until it is done or cannot go on:

    python3 -m ansible_collections.sglang.fleet.plugins.module_utils._weights_client JOB-FOLDER STATE-FOLDER

JOB-FOLDER holds job.json (`_weights_job.job`), key and token; they are read again while it runs, so that a later run of
the playbook can name other hosts. STATE-FOLDER/progress.json says how far it is, every second.

A file comes from a host of the run that has it verified, else from the source, which only the seed asks. So the hub gives each
byte once; and each host passes on what it has verified while the rest still comes. One process for each file: hashing and
downloading use as many cores as there are.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import random
import signal
import sys
import time
from collections.abc import Mapping
from multiprocessing.connection import wait
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils._weights_fetch import REACH, FetchError
from ansible_collections.sglang.fleet.plugins.module_utils._weights_files import (
    DAMAGED,
    UNVERIFIED,
    VERIFIED,
    Layout,
    Wanted,
    disk_problem,
    read_record,
    survey,
    throw_away,
    wanted_files,
    write_json,
)
from ansible_collections.sglang.fleet.plugins.module_utils._weights_scout import load_job, scout, stalled_for
from ansible_collections.sglang.fleet.plugins.module_utils._weights_work import (
    FORK,
    Item,
    Running,
    backoff,
    parallel,
    partial_size,
    work,
)

#: Tries of one file that bring no byte, and wrong answers for it, until the transfer gives up.
TRIES, WRONG = 8, 3
#: Seconds that count as a host's silence once every host that asks the source has given up.
GIVEN_UP = 5.0
#: Times that a place may ask for patience in a row.
PATIENCE = 100


def say(text: str) -> None:
    """A line for `docker logs`."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


class Transfer:
    """The whole of it. One thread, so that it can fork."""

    def __init__(self, folder: str, state: str, clock: Any = time.monotonic) -> None:
        self.folder, self.state_file = folder, os.path.join(state, "progress.json")
        self.clock = clock
        self.job = load_job(folder)
        self.layout = Layout(self.job["directory"], self.job["repository"], self.job["revision"])
        self.files = wanted_files(self.job["files"])
        self.asks_source: bool = self.job["asks_source"]
        self.todo: dict[str, Item] = {}
        self.done: dict[str, Wanted] = {}
        self.running: list[Running] = []
        self.offers: dict[str, Any] = {}
        self.seen: dict[str, Any] = {}
        self.hold_until, self.holds = 0.0, 0
        self.record: dict[str, Any] = {}
        self.got = {"hub": 0, "peer": 0, "http": 0, "folder": 0}
        self.damaged: list[dict[str, str]] = []
        self.note = self.fell_back = ""
        self._told = 0.0
        self._started = 0

    # --- what is to do -------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Sort the files; throw away what is damaged for certain."""
        self.record = read_record(self.layout.record)
        for found in survey(self.layout, self.files, always=self.job["verify"] == "always"):
            if found.state == VERIFIED:
                self.done[found.wanted.path] = found.wanted
                continue
            if found.state == DAMAGED:
                self.damage(found.wanted, found.reason)
                throw_away(self.layout, found.wanted)
            self.todo[found.wanted.path] = Item(found.wanted, found.state == UNVERIFIED)
        self.record = {path: entry for path, entry in self.record.items() if path in self.done}
        if not self.asks_source:  # hosts that take files in another order have more to give one another
            order = list(self.todo.items())
            random.shuffle(order)
            self.todo = dict(order)

    def damage(self, wanted: Wanted, reason: str) -> None:
        if {"path": wanted.path, "reason": reason} not in self.damaged:
            self.damaged.append({"path": wanted.path, "reason": reason})
        say(f"{wanted.path}: {reason}")

    def origin_for(self, item: Item, now: float) -> dict[str, str] | None:
        """Where to take a file from now, or None to wait."""
        if item.here:
            return {"kind": "present", "place": "this host", "at": ""}
        if now < item.not_before:
            return None
        urls = {peer["host"]: peer["url"] for peer in self.job["peers"]}
        holders = [
            host
            for host, offer in self.offers.items()
            if host in urls and item.wanted.path in offer["files"] and item.avoid.get(host, 0.0) <= now
        ]
        if holders:
            host = random.choice(holders)  # noqa: S311 - spreads load
            return {"kind": "peer", "place": host, "at": urls[host]}
        source = self.job["source"]
        if self.asks_source and now >= self.hold_until:
            return {"kind": source["kind"], "place": source["name"], "at": source["at"]}
        return None

    # --- doing it ------------------------------------------------------------------------------------------------------

    def start(self, item: Item, origin: dict[str, str]) -> None:
        ours, theirs = FORK.Pipe(duplex=False)
        process = FORK.Process(target=work, args=(self.layout, item.wanted, origin, self.folder, theirs), daemon=True)
        process.start()
        theirs.close()
        self.running.append(Running(item, origin, process, ours))
        self._started += 1

    def fill(self, now: float) -> None:
        """Start as many files as there is room for."""
        room = parallel(len(self.files), self.job["jobs"]) - len(self.running)
        busy = {running.item.wanted.path for running in self.running}
        same = {running.item.wanted.sha256 for running in self.running}
        for path, item in self.todo.items():
            if room <= 0:
                return
            origin = None if path in busy or item.wanted.sha256 in same else self.origin_for(item, now)
            if origin:
                self.start(item, origin)
                same.add(item.wanted.sha256)
                room -= 1

    def settle(self, running: Running, now: float) -> None:
        """Take the result of one process."""
        try:
            result = running.pipe.recv()
        except EOFError:
            running.process.join()
            result = {
                "outcome": "again",
                "text": f"the process ended with {running.process.exitcode}",
                "after": 0,
                "got": 0,
            }
        running.process.join()
        running.pipe.close()
        self.running.remove(running)
        item, kind = running.item, running.origin["kind"]
        if kind in self.got:
            self.got[kind] += result["got"]
        if result["outcome"] == VERIFIED:
            self.holds = 0
            self.note = ""
            self.record[item.wanted.path] = {name: result[name] for name in ("size", "mtime_ns", "inode", "sha256")}
            write_json(self.layout.record, self.record)
            del self.todo[item.wanted.path]
            self.done[item.wanted.path] = item.wanted
            return
        self.trouble(item, running.origin, result, now)

    def trouble(self, item: Item, origin: Mapping[str, str], result: Mapping[str, Any], now: float) -> None:
        """Decide on the next try. FetchError("fatal") where there is none."""
        outcome, text, kind = result["outcome"], result["text"], origin["kind"]
        self.note = text
        say(text)
        if outcome == "fatal":
            raise FetchError("fatal", text)
        if kind == "present":
            item.here = False
            self.damage(item.wanted, text)
        elif kind == "peer":
            item.avoid[origin["place"]] = now + 10.0
            if outcome == "wrong":
                item.avoid[origin["place"]] = float("inf")
                self.damage(item.wanted, text)
        elif outcome == "later":
            self.holds += 1
            self.hold_until = max(self.hold_until, now + result["after"])
            if self.holds > PATIENCE:
                raise FetchError("fatal", f"{text}, {PATIENCE} times in a row")
        elif outcome == "refused":
            # What was here when the bundle's files were sent, and is thrown away since, is not among them.
            raise FetchError(
                "fatal", f"{text}: the next run sends it from the bundle" if self.of_bundle(origin) else text
            )
        elif outcome == "wrong" and self.of_bundle(origin):
            # Thrown away, or the next run would take it for what the bundle has, however that was mended.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(origin["at"], *item.wanted.path.split("/")))
            self.damage(item.wanted, text)
            raise FetchError(
                "fatal",
                f"{text}: `sglang-fleet bundle --check` tells whether the bundle has it so; mend it there, and run again",
            )
        elif outcome == "wrong":
            item.wrong += 1
            self.damage(item.wanted, text)
            if item.wrong >= WRONG:
                raise FetchError("fatal", f"{text}; {WRONG} times. Nothing of it is kept")
        else:
            item.tries = 1 if result["got"] else item.tries + 1
            item.not_before = now + backoff(item.tries)
            if item.tries >= TRIES:
                raise FetchError("fatal", f"{text}; {TRIES} tries brought nothing more")

    def of_bundle(self, origin: Mapping[str, str]) -> bool:
        """Whether it is what the controller has sent of a bundle."""
        return origin["kind"] == "folder" and origin["at"] == self.layout.incoming

    def watch_peers(self, now: float) -> None:
        """See whether the others still bring something; else ask the source oneself, or give up."""
        if self.asks_source or not self.todo or self.running:
            self.seen.clear()
            return
        silent, limit = stalled_for(self.offers, self.seen, now), float(self.job["stall_seconds"])
        sources = [offer["state"] for offer in self.offers.values() if offer["asks_source"]]
        if sources and set(sources) == {"failed"}:
            limit = min(limit, GIVEN_UP)
        if self.job["fallback"] and silent > limit * (1 + min(self.job["rank"], 4) / 2):
            self.asks_source = True
            self.note = f"no host of the run gave anything for {silent:.0f} s: asking {self.job['source']['name']}"
            self.fell_back = f"{self.note} (tried: {self.tried()})"
            say(self.note)
        elif silent > 10 * limit:
            said = [
                f"{host}: {offer['error'] or offer['state']}" for host, offer in self.offers.items() if offer["state"]
            ]
            raise FetchError(
                "fatal",
                f"no host of the run gave anything for {silent:.0f} s ({'; '.join(said) or 'none answers'}; asked:"
                f" {self.tried()}). {REACH}",
            )

    def tried(self) -> str:
        """The addresses of the other hosts, for a message."""
        return (
            ", ".join(peer["url"] for peer in self.job["peers"])
            or "nobody, for no other host of the run has or fetches them"
        )

    # --- telling -------------------------------------------------------------------------------------------------------

    def tell(self, state: str, error: str = "") -> None:
        partial = sum(
            min(item.wanted.size, partial_size(self.layout, item.wanted))
            for item in self.todo.values()
            if not item.here
        )
        now = [running for running in self.running if running.origin["kind"] != "present"]
        progress = {
            "state": state,
            "work": self.job["work"],
            "bytes_done": sum(wanted.size for wanted in self.done.values()) + partial,
            "bytes_total": sum(wanted.size for wanted in self.files),
            "from_hub": self.got["hub"],
            "from_peers": self.got["peer"],
            "from_source": self.got["http"] + self.got["folder"],
            "verified": len(self.done),
            "file": now[0].item.wanted.path if now else "",
            "origins": sorted({running.origin["place"] for running in now}),
            "hashing": len(self.running) - len(now),
            "note": self.note,
            "error": error,
            "damaged": self.damaged,
            "asks_source": self.asks_source,
            "fell_back": self.fell_back,
            "updated": time.time(),
        }
        write_json(self.state_file, progress)
        self._told = self.clock()

    # --- all of it -----------------------------------------------------------------------------------------------------

    def locked(self) -> Any:
        """Wait until nobody else writes to this folder, as on a filesystem that another host shares. None where it has no locks."""
        os.makedirs(self.layout.own, exist_ok=True)
        handle = open(self.layout.record[: -len(".json")] + ".lock", "w", encoding="utf-8")  # noqa: SIM115 - held to the end
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return handle
            except BlockingIOError:
                self.note = "another host writes to this folder: waiting for it"
                self.tell("waiting")
                time.sleep(1)
            except OSError:
                return None

    def reload(self) -> None:
        """Who shares, and whom to ask, may have changed with a later run of the playbook."""
        with contextlib.suppress(OSError, ValueError):  # it has cleared up
            self.job = load_job(self.folder)
            # One that asks goes on asking: the host that took its place may be gone by now.
            self.asks_source = self.asks_source or bool(self.job["asks_source"])

    def run(self) -> None:
        """Until every file is verified. FetchError("fatal") where that cannot be."""
        # Here, so that not each of the processes does it again; they are forked from this one.
        with contextlib.suppress(ImportError):  # a process that needs it says so
            importlib.import_module("huggingface_hub.file_download")
        lock = self.locked()
        self.note = ""
        self.look()
        self.tell("running")
        ours, theirs = FORK.Pipe(duplex=False)
        scouting = FORK.Process(target=scout, args=(self.folder, theirs), daemon=True)
        scouting.start()
        theirs.close()
        if self.job["peers"] and self.todo and ours.poll(6):  # what others have needs no hub
            self.offers = ours.recv()
        try:
            while self.todo:
                now = self.clock()
                self.fill(now)
                ready = wait([ours, *[running.pipe for running in self.running]], timeout=0.5)
                now = self.clock()
                if ours in ready:
                    self.offers = ours.recv()  # EOFError: the scout died, which it does on a bug only
                for running in [running for running in self.running if running.pipe in ready]:
                    self.settle(running, now)
                self.watch_peers(now)
                if now - self._told >= 1:
                    self.reload()
                    self.tell("running")
        finally:
            # Killed, not asked: a SIGTERM that comes while a process is still being forked is lost, and its end waited for in vain.
            for process in [scouting, *[running.process for running in self.running]]:
                process.kill()
                process.join()
            if lock:
                lock.close()
        write_json(self.layout.record, self.record)


def main(folder: str, state: str) -> int:
    def stop(_number: int, _frame: Any) -> None:
        raise SystemExit(143)

    signal.signal(signal.SIGTERM, stop)
    transfer = Transfer(folder, state)
    try:
        return ended(transfer)
    finally:
        # It has no further use, and the playbook that would clear up may be dead.
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(folder, "token"))


def ended(transfer: Transfer) -> int:
    """The exit status, once progress.json says how it ended."""
    try:
        transfer.run()
    except FetchError as trouble:
        transfer.tell("failed", str(trouble))
        return 1
    except EOFError:
        transfer.tell("failed", "the part that asks the other hosts ended; see docker logs sglang-fleet-weights")
        return 1
    except OSError as error:
        transfer.tell("failed", disk_problem(error, "fleet_weights_dir"))
        return 1
    transfer.tell("done")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
