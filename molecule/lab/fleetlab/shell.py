"""Running commands, telling the user what happens, and where the lab keeps its files."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, NoReturn

LAB_DIR = Path(__file__).resolve().parents[1]
PROJECT_DIR = LAB_DIR.parents[1]

_print_lock = threading.Lock()
_children: set[subprocess.Popen[bytes]] = set()


class LabError(Exception):
    """Something the user must know about: one sentence with the remedy, shown without a traceback."""


def cache_dir(*parts: str) -> Path:
    """A folder of the lab's cache, made when it is missing."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base, "sglang-fleet", *parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def say(what: str, detail: str = "") -> None:
    """One line for the user: what, and in a second column how it went."""
    with _print_lock:
        print(f"  {what:<34} {detail}".rstrip(), flush=True)


@contextlib.contextmanager
def step(what: str) -> Iterator[Callable[[str], None]]:
    """Time a step and say one line when it is done; the body may hand in the words to end it with."""
    words = ["done"]
    start = time.monotonic()
    yield lambda text: words.__setitem__(0, text)
    say(what, f"{words[0]} ({time.monotonic() - start:.1f} s)")


def run(
    command: Sequence[str | Path],
    *,
    check: bool = True,
    stdin: bytes | None = None,
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command and keep its output; a failure becomes a LabError with its last lines."""
    words = [str(word) for word in command]
    try:
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **env} if env else None,
        )
    except FileNotFoundError as error:
        raise LabError(f"the program {words[0]} is missing; `lab.py doctor` lists what to install") from error
    _children.add(child)
    try:
        raw_out, raw_err = child.communicate(stdin)
    finally:
        _children.discard(child)
    out, err = raw_out.decode(errors="replace"), raw_err.decode(errors="replace")
    if check and child.returncode != 0:
        tail = " | ".join((err.strip() or out.strip()).splitlines()[-4:])
        raise LabError(f"`{' '.join(words[:6])}{' …' if len(words) > 6 else ''}` failed: {tail or 'no message'}")
    return subprocess.CompletedProcess(words, child.returncode, out, err)


def docker(*words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """`docker WORDS…`."""
    return run(["docker", *words], **options)


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock across processes, so that two scenarios never build or allot the same thing at once."""
    with (cache_dir("locks") / name).open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def parallel(*jobs: Callable[[], Any], workers: int = 4) -> list[Any]:
    """Run independent jobs in threads, wait for all of them, and raise the first failure in their order."""
    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        futures = [pool.submit(job) for job in jobs]
        wait(futures)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return [future.result() for future in futures]


def stop() -> NoReturn:
    """End at once, with every program that was started: unfinished results are never under their final names."""
    for child in list(_children):
        child.terminate()
    os._exit(130)  # the threads that wait for those programs have nothing left to do


def wait_for(what: str, ready: Callable[[], bool], *, seconds: float, remedy: str = "", pause: float = 0.25) -> None:
    """Poll until ready() is true."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise LabError(f"{what} was not ready after {seconds:.0f} s" + (f"; {remedy}" if remedy else ""))
        time.sleep(pause)


def fail(message: str) -> int:
    """Say an error and give the exit code for it."""
    print(f"lab: {message}", file=sys.stderr, flush=True)
    return 1
