# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real lm-eval asks the real server a sample of our own, is killed, and goes on.

The tiny model answers each question with "Hello from the tiny MiniMax-M2!", whose last number is 2: right for the five of the
twelve rows in gsm8k_sample.jsonl whose answer is 2.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.lab.support import Fleet, Play, eventually

pytestmark = pytest.mark.lab

HOST = "measured-01"
SAMPLE = Path(__file__).with_name("gsm8k_sample.jsonl")
ROWS = [json.loads(line) for line in SAMPLE.read_text().splitlines()]
QUESTIONS = [row["question"] for row in ROWS]
RIGHT = 5
#: 5 / 12
SCORE = {"pass@1": {"accuracy": 41.6667, "correct": RIGHT, "no_answer": 0.0}}
KEY = "accuracy-key-of-the-test"
#: answers that the first run gets before it is killed
BEFORE = 4


class Counter(ThreadingHTTPServer):
    """Passes everything on to the server behind, and notes each question; after `allowed` of them it holds the rest."""

    def __init__(self, behind: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behind = behind
        self.lock = threading.Lock()
        self.open = threading.Event()
        self.begin()

    def begin(self, allowed: int | None = None) -> None:
        self.asked: list[str] = []
        self.keys: set[str | None] = set()
        self.allowed = allowed
        self.open.clear()


class Handler(BaseHTTPRequestHandler):
    server: Counter

    def _pass_on(self, data: bytes | None) -> None:
        request = urllib.request.Request(self.server.behind + self.path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self) -> None:
        self._pass_on(None)

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        question = json.loads(data)["messages"][-1]["content"].removeprefix("Q: ").removesuffix("\nA:")
        with self.server.lock:
            self.server.asked.append(question)
            self.server.keys.add(self.headers["Authorization"])
            held = self.server.allowed is not None and len(self.server.asked) > self.server.allowed
        if held:
            self.server.open.wait()
            self.close_connection = True
            return
        self._pass_on(data)

    def log_message(self, *_words: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def counter(measured: Fleet) -> Iterator[Counter]:
    server = Counter(measured.endpoint(HOST))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.open.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("accuracy")


def measure(fleet: Fleet, counter: Counter, work: Path, **more: Any) -> Play:
    extra = {
        "accuracy_urls": {"0": f"http://127.0.0.1:{counter.server_address[1]}"},
        "accuracy_data": {"gsm8k": str(SAMPLE)},
        "accuracy_work_dir": str(work),
        "accuracy_api_key": KEY,
        # The lab's server has room for 16384 tokens in all, and a model that is right by chance.
        "fleet_catalogue": {"accuracy_benchmarks": {"gsm8k": {"max_tokens": 256, "concurrency": 2, "floor": 0}}},
        **more,
    }
    return fleet.playbook("playbooks/accuracy.yml", "-l", HOST, extra=extra)


def kept(work: Path) -> int:
    """How many answers the run that is under way has on the disk."""
    for path in work.glob(f"{HOST}-0-gsm8k-*/answers_rank0.db"):
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as found:
            try:
                return int(found.execute("SELECT COUNT(*) FROM unnamed").fetchone()[0])
            except sqlite3.OperationalError:  # not made yet, or being written
                return 0
    return 0


def processes(work: Path) -> list[int]:
    """lm-eval's own processes that work there, without the program that times them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(str(work) in word for word in words) and "lm_eval" in words[1] and "python" in words[0]:
            found.append(int(path.parent.name))
    return found


def record(work: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((work / "last" / f"{HOST}-0-gsm8k" / "record.json").read_text())
    return found


def test_a_killed_run_goes_on(measured: Fleet, counter: Counter, work: Path) -> None:
    """Only what has no answer yet is asked again, and the score is that of one run."""
    counter.begin(allowed=BEFORE)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(measure, measured, counter, work)
        eventually("answers on the disk", lambda: running.done() or kept(work) >= BEFORE)
        assert not running.done(), str(running.result())
        [pid] = processes(work)
        os.kill(pid, signal.SIGKILL)
        counter.open.set()
        killed = running.result()
    assert killed.failed()[HOST] == 1, str(killed)
    assert "it was ended by signal 9. Run it again: it goes on where it was" in " ".join(killed.out.split())
    answered = counter.asked[:BEFORE]

    counter.begin()
    measure(measured, counter, work).succeeded()
    assert sorted(counter.asked) == sorted(set(QUESTIONS) - set(answered))
    assert record(work)["metrics"] == SCORE
    stored = json.loads(measured.sh(HOST, "cat /var/lib/sglang-fleet/records/accuracy.json"))
    assert list(stored["records"].values()) == [record(work)]


def test_a_whole_run_says_the_same_and_is_held_against_the_first(measured: Fleet, counter: Counter, work: Path) -> None:
    before = record(work)
    counter.begin()
    ran = measure(measured, counter, work, accuracy_gate_required=True).succeeded()
    assert sorted(counter.asked) == sorted(QUESTIONS), "answers of a run that has ended are not taken again"
    now = record(work)
    assert now["metrics"] == before["metrics"] == SCORE
    assert (now["tool"], now["questions"], now["model"], now["image"]["digest"] or "") == (
        *("lm-eval", len(ROWS), "MiniMax-M2.7"),
        before["image"]["digest"] or "",
    )
    assert f"not worse than own 0/gsm8k of {before['taken_at']}" in " ".join(ran.out.split())
    assert ran.changed()[HOST] == 0


def test_the_key_is_sent_and_in_no_file(counter: Counter, work: Path) -> None:
    assert counter.keys == {f"Bearer {KEY}"}
    files = [path for path in work.rglob("*") if path.is_file()]
    assert [path for path in files if "results_" in path.name]
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
