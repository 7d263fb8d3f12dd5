# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of a rollout that may outlive whoever started them: known by number and start, so that none is mistaken for another."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

#: Seconds that a process has to end once it was asked to.
GRACE: Final = 20.0


def started(pid: int) -> str | None:
    """When the process began, in the system's own words; None where there is none (a dead one that nobody has taken note of is
    none)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
        return _by_ps(pid)  # a controller without /proc
    except OSError:
        return None
    # The name, in parentheses, may hold blanks.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else fields[19]


def _by_ps(pid: int) -> str | None:
    done = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def runs(pid: int, start: str | None) -> bool:
    """Whether that very process is there."""
    return start is not None and started(pid) == start


def end(pid: int, start: str | None, grace: float = GRACE) -> None:
    """Have it end, by its group where it does not by itself."""
    if not runs(pid, start):
        return
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    for _ in range(int(grace / 0.1)):
        if not runs(pid, start):
            return
        time.sleep(0.1)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
