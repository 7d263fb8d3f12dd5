#!/usr/bin/python
# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: smoke_test
short_description: Put an SGLang server through gates on its behaviour
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Waits until the server is healthy, then checks the model list, the refusal of a request without the key where one
    is set, and one chat turn with the thinking split from the answer.
  - Runs on the node with Python's standard library alone.
  - Stops waiting as soon as the server's unit has failed or goes on restarting, and says what its journal says.
attributes:
  check_mode:
    support: none
    description: Skipped in check mode, because nothing has been started that could be tested.
  diff_mode:
    support: none
    description: There is nothing to show a difference of.
  facts:
    support: none
    description: Returns no facts.
extends_documentation_fragment:
  - sglang.fleet.attributes
options:
  address:
    description: The address that the server listens on.
    type: str
    required: true
  port:
    description: The port that the server listens on.
    type: int
    required: true
  model:
    description: The model name that the server must list, which requests are sent to.
    type: str
    required: true
  unit:
    description: The systemd unit that runs the server.
    type: str
    required: true
  thinking:
    description: Whether the server runs with a reasoning parser, so that an answer without thinking is a failure.
    type: bool
    default: true
  api_key:
    description: The server's API key, where it has one.
    type: str
  startup_seconds:
    description: How long the server may take to become healthy. 230 GB of weights from a cold disk take a while.
    type: int
    default: 1800
  request_seconds:
    description: How long one request may take.
    type: int
    default: 120
  prompt:
    description: What the chat turn asks.
    type: str
    default: Say hello in one short sentence.
  max_tokens:
    description: How many tokens the answer may have, thinking included.
    type: int
    default: 2048
"""

EXAMPLES = r"""
- name: Test the server
  sglang.fleet.smoke_test:
    address: 127.0.0.1
    port: 30000
    model: MiniMaxAI/MiniMax-M2.7
    unit: sglang@0.service
"""

RETURN = r"""
gates:
  description: For each gate its name, whether it passed, the evidence, and how long it took in seconds.
  returned: always
  type: list
  elements: dict
answer:
  description: What the model answered, without its thinking.
  returned: success
  type: str
thinking:
  description: What the model thought.
  returned: success
  type: str
"""

import time
from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.sglang.fleet.plugins.module_utils import _gates
from ansible_collections.sglang.fleet.plugins.module_utils._gates import Answer, GateError
from ansible_collections.sglang.fleet.plugins.module_utils._http import Client
from ansible_collections.sglang.fleet.plugins.module_utils._systemd import parse_show

#: A unit that has started this often since the wait began crashes rather than starts.
CRASHES = 2


class Unit:
    """The server's systemd unit, watched for a crash while its API is awaited."""

    def __init__(self, module: AnsibleModule, name: str) -> None:
        self._run, self.name = module.run_command, name
        self._restarts = self._show()[1]

    def _show(self) -> tuple[str, int]:
        _code, out, _err = self._run(["systemctl", "show", self.name, "--property=ActiveState,NRestarts"])
        shown = parse_show(out)
        return shown.get("ActiveState", ""), int(shown.get("NRestarts") or 0)

    def trouble(self) -> str:
        """Why waiting on makes no sense, or an empty text."""
        state, restarts = self._show()
        if state == "inactive":
            return f"{self.name} is inactive: not deployed, or stopped. Run playbooks/deploy.yml"
        if state == "failed":
            return f"{self.name} is failed. {self._end()}"
        if restarts - self._restarts >= CRASHES:
            return f"{self.name} ended {restarts - self._restarts} times while it was awaited. {self._end()}"
        return ""

    def _end(self) -> str:
        return f"The end of its journal:\n{self.journal(40)}"

    def journal(self, lines: int) -> str:
        words = ["journalctl", "--unit", self.name, f"--lines={lines}", "--no-pager", "--output=cat"]
        _code, out, _err = self._run(words)
        return out.strip()


def wait(client: Client, unit: Unit, seconds: int) -> Answer:
    """The first healthy answer. Raises GateError on a crash, or when time is up."""
    deadline = time.monotonic() + seconds
    while True:
        answer = client.call("/health")
        if answer.status == 200:
            return answer
        trouble = unit.trouble()
        if trouble:
            raise GateError(trouble)
        if time.monotonic() > deadline:
            raise GateError(
                f"after {seconds} s /health answers {answer.status or 'nothing'} ({answer.excerpt()}), but the unit runs:"
                " it may still load the weights, or fetch them first. Wait and run again, put the weights into"
                f" fleet_weights_dir beforehand, or raise smoke_test_startup_seconds. Its last words: {unit.journal(1)}"
            )
        time.sleep(1)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "model": {"type": "str", "required": True},
            "unit": {"type": "str", "required": True},
            "thinking": {"type": "bool", "default": True},
            "api_key": {"type": "str", "no_log": True},
            "startup_seconds": {"type": "int", "default": 1800},
            "request_seconds": {"type": "int", "default": 120},
            "prompt": {"type": "str", "default": "Say hello in one short sentence."},
            "max_tokens": {"type": "int", "default": 2048, "no_log": False},
        },
        supports_check_mode=False,
    )
    p = module.params
    client = Client(p["address"], p["port"], p["api_key"], p["request_seconds"])
    unit = Unit(module, p["unit"])
    chat = {
        "model": p["model"],
        "messages": [{"role": "user", "content": p["prompt"]}],
        "max_tokens": p["max_tokens"],
        "temperature": 0,
    }
    turn: dict[str, Any] = {}

    def ask() -> str:
        turn.update(_gates.check_chat(client.call("/v1/chat/completions", chat), p["thinking"]))
        return str(turn["evidence"])

    gates: list[tuple[str, Callable[[], str]]] = [
        ("health", lambda: _gates.check_health(wait(client, unit, p["startup_seconds"]))),
        ("models", lambda: _gates.check_models(client.call("/v1/models"), p["model"])),
        ("chat", ask),
    ]
    if p["api_key"]:
        gates.insert(1, ("auth", lambda: _gates.check_unauthorised(client.call("/v1/models", with_key=False))))
    results: list[dict[str, Any]] = []
    for name, gate in gates:
        begun = time.monotonic()
        try:
            evidence, passed = gate(), True
        except GateError as error:
            evidence, passed = str(error), False
        results.append(
            {"gate": name, "passed": passed, "evidence": evidence, "seconds": round(time.monotonic() - begun, 2)}
        )
        if not passed:
            module.fail_json(msg=f"{p['unit']} at {client.base}: gate {name} failed: {evidence}", gates=results)
    module.exit_json(changed=False, gates=results, answer=turn["answer"], thinking=turn["thinking"])


if __name__ == "__main__":
    main()
