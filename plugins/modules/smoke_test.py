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
  - Waits until the server is healthy and generates, then puts it through the gates on its key, model list, answers, streaming,
    reasoning, tool calls and context, each within a time budget.
  - A failed gate does not keep the others from being run, but for C(health) and C(models). The module fails where one has failed.
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
  gates:
    description:
      - The gates; C(health) always is one.
      - C(auth) needs an O(api_key), C(reasoning) and C(reasoning_stream) a server with a reasoning parser, those on C(tools)
        one with a tool call parser.
    type: list
    elements: str
    choices:
      - health
      - auth
      - models
      - chat
      - stream
      - reasoning
      - reasoning_stream
      - tools
      - tools_stream
      - tools_parallel
      - tools_result
      - context
    default: [health, models, chat, stream]
  budgets:
    description:
      - Seconds that a gate may take, by its name, where it is not the gate's own.
      - That of C(health) is the first token's; O(startup_seconds) comes on top.
    type: dict
    default: {}
  api_key:
    description: The server's API key, where it has one.
    type: str
  startup_seconds:
    description: How long the server may take to become healthy. 230 GB of weights from a cold disk take a while.
    type: int
    default: 1800
  request_seconds:
    description: How long one request may take, within its gate's budget. The long prompt of C(context) has the whole budget.
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
  min_tokens_per_second:
    description: Tokens a second that one streamed answer must come at, for C(stream).
    type: float
    default: 1.0
  first_token_seconds:
    description: How long the first token of a streamed answer may take, for C(stream).
    type: float
    default: 30.0
  context_tokens:
    description:
      - Tokens of the longest request by the plan's fit, for C(context). Zero skips that gate.
      - Skipped too where the server's KV cache holds less than half of it.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Test the server
  sglang.fleet.smoke_test:
    address: 127.0.0.1
    port: 30000
    model: MiniMaxAI/MiniMax-M2.7
    unit: sglang@0.service
    gates: [health, models, chat, stream, reasoning, reasoning_stream]
    budgets:
      chat: 60
"""

RETURN = r"""
gates:
  description: What became of each gate that was run, in their order.
  returned: always
  type: list
  elements: dict
  contains:
    gate:
      description: Its name.
      type: str
    passed:
      description: Whether it passed.
      type: bool
    evidence:
      description: What was found, or why it was skipped.
      type: str
    skipped:
      description: True where there was nothing to test; the gate has passed then.
      type: bool
      returned: when skipped
    seconds:
      description: How long it took.
      type: float
    budget_seconds:
      description: How long it may take.
      type: float
"""

import time
from dataclasses import replace

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.sglang.fleet.plugins.module_utils import _gates_run
from ansible_collections.sglang.fleet.plugins.module_utils._gates import Answer, GateError
from ansible_collections.sglang.fleet.plugins.module_utils._gates_auth import WRONG_KEY
from ansible_collections.sglang.fleet.plugins.module_utils._http import Client
from ansible_collections.sglang.fleet.plugins.module_utils._systemd import parse_show

#: A unit that has started this often since the wait began crashes rather than starts.
CRASHES = 2
#: What one question to /health may take: SGLang itself gives up after 20.
HEALTH_SECONDS = 30


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
        answer = client.call("/health", seconds=HEALTH_SECONDS)
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
            "gates": {
                "type": "list",
                "elements": "str",
                "choices": [
                    "health",
                    "auth",
                    "models",
                    "chat",
                    "stream",
                    "reasoning",
                    "reasoning_stream",
                    "tools",
                    "tools_stream",
                    "tools_parallel",
                    "tools_result",
                    "context",
                ],
                "default": ["health", "models", "chat", "stream"],
            },
            "budgets": {"type": "dict", "default": {}},
            "api_key": {"type": "str", "no_log": True},
            "startup_seconds": {"type": "int", "default": 1800},
            "request_seconds": {"type": "int", "default": 120},
            "prompt": {"type": "str", "default": "Say hello in one short sentence."},
            "max_tokens": {"type": "int", "default": 2048, "no_log": False},
            "min_tokens_per_second": {"type": "float", "default": 1.0, "no_log": False},
            "first_token_seconds": {"type": "float", "default": 30.0, "no_log": False},
            "context_tokens": {"type": "int", "default": 0, "no_log": False},
        },
        supports_check_mode=False,
    )
    p = module.params
    wrong = _gates_run.problems(p["gates"], p["budgets"])
    if "auth" in p["gates"] and not p["api_key"]:
        wrong.append("the gate auth needs an api_key")
    if wrong:
        module.fail_json(msg=f"{p['unit']}: {'; '.join(wrong)}", gates=[])
    client = Client(p["address"], p["port"], p["api_key"], p["request_seconds"])
    unit = Unit(module, p["unit"])
    session = _gates_run.Session(
        api=client,
        stranger=replace(client, key=WRONG_KEY),
        model=p["model"],
        wait=lambda: wait(client, unit, p["startup_seconds"]),
        wishes=_gates_run.Wishes(
            prompt=p["prompt"],
            max_tokens=p["max_tokens"],
            request_seconds=p["request_seconds"],
            first_token_seconds=p["first_token_seconds"],
            least_rate=p["min_tokens_per_second"],
            context_tokens=p["context_tokens"],
        ),
    )
    gates = _gates_run.run(session, {"health", *p["gates"]}, p["startup_seconds"], p["budgets"])
    failed = [f"gate {gate['gate']} failed: {gate['evidence']}" for gate in gates if not gate["passed"]]
    if failed:
        module.fail_json(msg=f"{p['unit']} at {client.base}: {'; '.join(failed)}", gates=gates)
    module.exit_json(changed=False, gates=gates)


if __name__ == "__main__":
    main()
