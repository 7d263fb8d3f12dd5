"""Questions to SGLang's own code: `SGLang("0.5.9").parse_all([["--model-path", …], …])`.

One process per version answers them all (files/host/sglang_worker.py): importing SGLang takes seconds. It is started
with the first question and ends with this process, or with close().
"""

from __future__ import annotations

import atexit
import functools
import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import IO, Any

from . import environment, host

SCRIPT = environment.FILES / "host" / "sglang_worker.py"

Values = dict[str, Any]


class SGLang:
    """One version's worker."""

    def __init__(self, version: str) -> None:
        self.version = version
        command, settings = host.sglang_python(version)
        self._said: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 - as long as the worker
        self._process = subprocess.Popen(
            [*command, str(SCRIPT)],
            env=settings,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )
        atexit.register(self.close)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def flags(self) -> dict[str, Values]:
        """Every long option of ServerArgs, as catalogue/server_flags has them."""
        found: dict[str, Values] = self._ask("flags")
        return found

    def parse_all(self, vectors: Sequence[Sequence[str]], *, whole: bool = False) -> list[Values | str]:
        """For each argument vector the parsed values of the options that it names, or the parser's message.

        whole: the values of all options, the defaults too.
        """
        answers: list[Values | str] = self._ask("parse_all", vectors=[list(words) for words in vectors], whole=whole)
        return answers

    def prepare_all(self, vectors: Sequence[Sequence[str]]) -> list[str | None]:
        """For each vector None, or why `prepare_server_args` (on the CPU) refuses it: 0.1 s each."""
        answers: list[str | None] = self._ask("prepare_all", vectors=[list(words) for words in vectors])
        return answers

    def fp8_blocks(self, sizes: Sequence[tuple[int, int]]) -> list[str | None]:
        """For each (tp, ep) None, or the error of the FP8 experts of the real model."""
        answers: list[str | None] = self._ask("fp8_blocks", sizes=[list(size) for size in sizes])
        return answers

    def heads(self, sizes: Sequence[int], config: Mapping[str, Any]) -> list[dict[str, int] | str]:
        """For each tp the shape of one rank's attention, or the line of SGLang that refuses it."""
        answers: list[dict[str, int] | str] = self._ask("heads", sizes=list(sizes), config=dict(config))
        return answers

    def experts(self, count: int, sizes: Sequence[int]) -> list[str | None]:
        """For each ep None, or the line of SGLang that refuses so many experts."""
        answers: list[str | None] = self._ask("experts", count=count, sizes=list(sizes))
        return answers

    def kv_tokens(self, cases: Sequence[Mapping[str, float | str]], shape: Mapping[str, int]) -> list[int]:
        """For each case (before, after, fraction, tp, cache_type) the tokens that `profile_max_num_token` finds."""
        answers: list[int] = self._ask("kv_tokens", cases=[dict(case) for case in cases], shape=dict(shape))
        return answers

    def _ask(self, do: str, **question: Any) -> Any:
        assert self._process.stdin is not None  # noqa: S101 - they are pipes
        assert self._process.stdout is not None  # noqa: S101
        try:
            self._process.stdin.write(json.dumps({"do": do, **question}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        document = json.loads(line) if line else {"error": f"it ended:\n{self._last_words()}"}
        if "error" in document:
            raise RuntimeError(f"SGLang {self.version}, {do}: {document['error']}")
        return document["answer"]

    def _last_words(self) -> str:
        self._said.seek(0)
        return self._said.read()[-4000:]


@functools.cache
def sglang(version: str) -> SGLang:
    """The worker of this version; the same one for all who ask."""
    return SGLang(version)


def parse_all(version: str, vectors: Sequence[Sequence[str]]) -> list[Values | str]:
    """For each argument vector what the parser of this SGLang version makes of it, or the parser's message."""
    return sglang(version).parse_all(vectors)
