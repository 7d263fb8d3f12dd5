# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What examples/README.md tells users to run, against a server that answers as SGLang does."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.plugins.module_utils.fixtures.chat_server import KEY, MODEL, chat_server

EXAMPLES = Path(__file__).parents[3] / "examples"


def ask(name: str, *words: str, fault: str = "", key: str = KEY) -> subprocess.CompletedProcess[str]:
    """Runs an example."""
    program = [sys.executable] if name.endswith(".py") else ["bash"]
    with chat_server(fault) as port:
        url = f"http://127.0.0.1:{port}"
        environment = {**os.environ, "SGLANG_URL": url, "SGLANG_MODEL": MODEL, "SGLANG_API_KEY": key}
        return subprocess.run(
            [*program, str(EXAMPLES / name), *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def test_a_chat_turn_with_curl() -> None:
    done = ask("chat.sh")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["choices"][0]["message"]["content"].endswith("Hello from the tiny MiniMax-M2!")


def test_a_stream_with_curl() -> None:
    done = ask("stream.sh")
    assert done.returncode == 0, done.stderr
    events = done.stdout.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    texts = [json.loads(event.removeprefix("data: "))["choices"] for event in events[:-2]]
    assert "".join(choices[0]["delta"].get("content") or "" for choices in texts if choices).endswith("MiniMax-M2!")


def test_a_tool_call_with_curl() -> None:
    done = ask("tools.sh")
    assert done.returncode == 0, done.stderr
    (call,) = json.loads(done.stdout)["choices"][0]["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"city": "Paris"}


@pytest.mark.parametrize("name", ["chat.sh", "stream.sh", "tools.sh"])
def test_another_key_is_refused(name: str) -> None:
    done = ask(name, key="another")
    assert done.returncode != 0
    assert "401" in done.stderr


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.sh")))
def test_no_key_stands_in_a_command_line(name: str) -> None:
    assert '--header "Authorization' not in (EXAMPLES / name).read_text()


def test_a_chat_turn_in_python() -> None:
    done = ask("chat.py", "Say", "hello.")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "<think>\nThe user said something.\n</think>\n\nHello from the tiny MiniMax-M2!\n"


@pytest.mark.parametrize("how", ["", "tags broken over chunks", "reasoning_content"])
def test_thinking_and_answer_in_python(how: str) -> None:
    done = ask("reasoning.py", fault=how)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "The user said something."
    assert done.stdout.strip() == "Hello from the tiny MiniMax-M2!"


def test_the_weather_round_trip_in_python() -> None:
    done = ask("tools.py")
    assert done.returncode == 0, done.stderr
    assert done.stderr == 'get_weather {"city": "Paris"}\n'
    assert done.stdout.endswith("Hello from the tiny MiniMax-M2!\n")


def splitter() -> Any:
    return runpy.run_path(str(EXAMPLES / "reasoning.py"))["Splitter"]()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 100])
@pytest.mark.parametrize(
    ("text", "thinking", "answer"),
    [
        ("<think>a < b</think>c <th d", "a < b", "c <th d"),
        ("<think>never closed </thin", "never closed </thin", ""),
        ("no thinking", "", "no thinking"),
        ("", "", ""),
    ],
)
def test_the_examples_splitter(text: str, thinking: str, answer: str, size: int) -> None:
    split = splitter()
    parts = [part for start in range(0, len(text), size) for part in split.feed(text[start : start + size])]
    parts += split.end()
    assert "".join(piece for thinks, piece in parts if thinks) == thinking
    assert "".join(piece for thinks, piece in parts if not thinks) == answer
