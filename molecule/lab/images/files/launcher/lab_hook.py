"""Imported by every Python start in the image (sglang-lab.pth): hands server launches to lab_launcher.

`python3 -m sglang.launch_server …` and `sglang serve …` are caught however they are started: as the container's
command, through `docker exec`, from a shell. Nothing else is: multiprocessing's children run `python3 -c`.
"""

from __future__ import annotations

import sys


def server_entry(command: list[str]) -> str | None:
    """Which of SGLang's two server entry points this interpreter was started with, if any."""
    words = iter(command[1:])
    for word in words:
        if word == "-m":
            return "launch_server" if next(words, None) == "sglang.launch_server" else None
        if word in ("-W", "-X"):
            next(words, None)
        elif word == "-c":
            return None
        elif not word.startswith("-"):
            return "serve" if word.rpartition("/")[2] == "sglang" and next(words, None) == "serve" else None
    return None


if _entry := server_entry(sys.orig_argv):
    import lab_launcher

    lab_launcher.run(_entry)
