# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests on the lab share: running playbooks as an operator does, and looking into nodes from outside."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest

from fleetlab.inventory import render
from fleetlab.keys import private_key
from fleetlab.nodes import node_up, remove_all
from fleetlab.settings import Node
from fleetlab.shell import LabError, locked, parallel

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
#: The variables of the demo's groups.
GROUP_VARS = ROOT / "inventories" / "lab" / "group_vars"
GPU_NODES = ("amd-01", "nvidia-01", "grace-01")
PORT = 30000
#: With SGLANG_FLEET_TESTS_KEEP=1 the nodes stay, and the next run takes them as they are: to work on one test.
KEEP = os.environ.get("SGLANG_FLEET_TESTS_KEEP") == "1"
#: What of an output goes into a failure's message.
TAIL_LINES = 100

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_RECAP = re.compile(r"^(\S+)\s+: (ok=\d+.*)$", re.MULTILINE)
_Found = TypeVar("_Found")


def tail(text: str, lines: int = TAIL_LINES) -> str:
    return "\n".join(text.splitlines()[-lines:])


@dataclass(frozen=True)
class Ran:
    """A program that has ended: its exit status, and what it wrote to both streams, without colours."""

    words: tuple[str, ...]
    rc: int
    out: str

    def __str__(self) -> str:
        return f"{' '.join(self.words)}\nexited {self.rc}; the end of its output:\n\n{tail(self.out)}"

    def succeeded(self) -> Self:
        assert self.rc == 0, str(self)
        return self


def run(*words: str | Path, env: Mapping[str, str] | None = None, stdin: str | None = None) -> Ran:
    """Runs a program of the environment from the root of the checkout."""
    command = tuple(str(word) for word in words)
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(env or {}),
        input=stdin or "",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return Ran(command, done.returncode, _ANSI.sub("", done.stdout))


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment with the project's tools first and nothing of Ansible's own settings."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "MOLECULE_"))}
    env["PATH"] = os.pathsep.join([str(BIN), *(p for p in env["PATH"].split(os.pathsep) if p != str(BIN))])
    return {**env, "NO_COLOR": "1", "ANSIBLE_NOCOLOR": "1", **extra}


@dataclass(frozen=True)
class Play(Ran):
    """A run of ansible-playbook. recap: host → {"ok": 3, "changed": 0, …}, as the PLAY RECAP has it."""

    recap: dict[str, dict[str, int]] = field(default_factory=dict)

    def changed(self) -> dict[str, int]:
        return {host: counts["changed"] for host, counts in self.recap.items()}

    def failed(self) -> dict[str, int]:
        return {host: counts["failed"] + counts["unreachable"] for host, counts in self.recap.items()}

    def errors(self) -> list[str]:
        """The host of each failure, once for each time that one was shown."""
        return re.findall(r"^(?:fatal|failed): \[([^\]]+)\]", self.out, re.MULTILINE)

    def messages(self) -> list[str]:
        """The text of each error that Ansible showed."""
        return re.findall(r"^\[ERROR\]: (.*?)\n(?:Origin: |\n)", self.out, re.MULTILINE | re.DOTALL)


def recap_of(output: str) -> dict[str, dict[str, int]]:
    _before, _title, table = output.rpartition("PLAY RECAP")
    return {
        host: {name: int(number) for name, number in (word.split("=") for word in counts.split())}
        for host, counts in _RECAP.findall(table)
    }


@dataclass(frozen=True)
class Fleet:
    """The nodes of the demo, and some more, as nodes of the tests' own; inventory: a folder."""

    nodes: dict[str, Node]
    inventory: Path
    scratch: Path

    def playbook(
        self,
        *words: str,
        extra: Mapping[str, Any] | None = None,
        host_vars: Mapping[str, Mapping[str, Any]] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Play:
        """`ansible-playbook WORDS…` on these nodes, which are the inventory unless WORDS say otherwise.

        extra: extra variables, through a file as secrets should be. host_vars: on top of the inventory's.
        env: on top of the environment.
        """
        command: list[str | Path] = ["ansible-playbook", *words]
        inventory = [str(self.inventory)]
        if host_vars:
            inventory.append(str(self._layer(host_vars)))
        if extra:
            path = self.scratch / "extra.json"
            path.touch(0o600)
            path.write_text(json.dumps(dict(extra)))
            command += ["-e", f"@{path}"]
        ran = run(*command, env={"ANSIBLE_INVENTORY": ",".join(inventory), **(env or {})})
        return Play(ran.words, ran.rc, ran.out, recap_of(ran.out))

    def ansible(self, *words: str) -> Ran:
        """`ansible WORDS…`, a single task without a playbook."""
        return run("ansible", *words, env={"ANSIBLE_INVENTORY": str(self.inventory)})

    def _layer(self, host_vars: Mapping[str, Mapping[str, Any]]) -> Path:
        layer = self.scratch / "layer.json"
        layer.write_text(json.dumps({"all": {"hosts": {host: dict(values) for host, values in host_vars.items()}}}))
        return layer

    def sh(self, host: str, script: str, *, check: bool = True) -> str:
        """What a shell script prints that root runs on a node, from outside: not through ssh, nor through Ansible."""
        ran = run("docker", "exec", "--interactive", self.nodes[host].container, "bash", "-s", stdin=script)
        return (ran.succeeded() if check else ran).out

    def endpoint(self, host: str, port: int = PORT) -> str:
        return f"http://{self.nodes[host].ip}:{port}"

    def get(self, host: str, path: str, *, key: str = "", body: Mapping[str, Any] | None = None) -> tuple[int, str]:
        """Status and text of an answer of the node's server; status 0 when there is none."""
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
        data = None if body is None else json.dumps(dict(body)).encode()
        request = urllib.request.Request(self.endpoint(host) + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")
        except OSError as error:
            return 0, str(error)

    def chat(self, host: str, model: str, *, key: str = "") -> tuple[str, str]:
        """One chat turn: what the model thought, and what it answered."""
        question = {"model": model, "messages": [{"role": "user", "content": "Who are you?"}], "max_tokens": 256}
        status, text = self.get(host, "/v1/chat/completions", key=key, body=question)
        assert status == 200, f"{host} answered {status}: {text}"
        content = json.loads(text)["choices"][0]["message"]["content"]
        assert content.count("</think>") == 1, f"{host}: the thinking is not set off once: {content!r}"
        thinking, answer = content.split("</think>")
        return thinking.removeprefix("<think>").strip(), answer.strip()

    def serves(self, host: str) -> bool:
        return self.get(host, "/health")[0] == 200

    def started(self, host: str) -> str:
        """What changes whenever the server or its unit starts: the container, its start, and the unit's."""
        return self.sh(
            host,
            "docker inspect --format '{{.Id}} {{.State.StartedAt}}' sglang-0\n"
            "systemctl show sglang@0 --property=ActiveEnterTimestamp,MainPID",
        )

    def written(self, host: str) -> str:
        """Every file that a server's deployment writes on a node, with its content's hash, mode and owner.

        The record of what was installed on the host is the host software's, which stays.
        """
        return self.sh(
            host,
            "find /etc/sglang /etc/systemd/system/*sglang* /usr/local/lib/sglang-fleet /var/lib/sglang-fleet -type f "
            "! -path '*/huggingface/*' ! -name installed.json -printf '%p %m %U:%G %s ' -exec sha256sum {} ';' 2> /dev/null | sort",
            check=False,
        )


def eventually(what: str, ask: Callable[[], _Found], attempts: int = 300) -> _Found:
    """The first answer that is not false; asked once a second."""
    for _attempt in range(attempts):
        if found := ask():
            return found
        time.sleep(1)
    raise AssertionError(f"{what}: not so after {attempts} attempts")


def lines_of(text: str, *words: str) -> Sequence[str]:
    """The lines that hold all of the words."""
    return [line for line in text.splitlines() if all(word in line for word in words)]


def start_nodes(nodes: Sequence[Node], inventory: Path) -> dict[str, Node]:
    """Nodes that run, by name, and the inventory's hosts.yml with them. Raises LabError."""
    made = [node for node, _done in parallel(*(functools.partial(node_up, node) for node in nodes))]
    (inventory / "hosts.yml").write_text(render(made, private_key()))
    return {node.name: node for node in made}


@contextlib.contextmanager
def fresh_nodes(
    owner: str, nodes: Sequence[Node], factory: pytest.TempPathFactory, *, group_vars: Path | None = GROUP_VARS
) -> Iterator[Fleet]:
    """Nodes of `owner` alone that nothing was ever deployed on; gone at the end.

    group_vars: a folder whose files are the inventory's group_vars; the folder is a copy that may get more. None for none.
    """
    inventory, scratch = factory.mktemp("inventory"), factory.mktemp("scratch")
    with locked(f"tests-{owner}"):  # a second run on this machine waits
        if not KEEP:
            remove_all(owner)
        try:
            if group_vars:
                shutil.copytree(group_vars, inventory / "group_vars")
            yield Fleet(start_nodes(nodes, inventory), inventory, scratch)
        except LabError as error:
            pytest.fail(f"the lab does not start: {error}", pytrace=False)
        finally:
            if not KEEP:
                remove_all(owner)
