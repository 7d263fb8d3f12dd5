# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""verify.yml against SGLang's real server behind proxies with a fault each, as so many hosts of one run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.lab.fault_proxy import CHAT, FAULTS, KEY
from tests.lab.support import ROOT, Fleet, Play, run

pytestmark = pytest.mark.lab

HOST = "measured-01"
MODEL = "MiniMaxAI/MiniMax-M2.7"
UNIT = "lab-fault-proxy"
FIRST_PORT = 31000
ALL = ["health", "auth", "models", "chat", "stream", "reasoning", "reasoning_stream"]
ALL += ["tools", "tools_stream", "tools_parallel", "tools_result", "context"]
OPEN_ENDED = "<think> never closes, so there is no answer: the token limit may be too low for this prompt"
CUT = 'the arguments of get_weather are not JSON: \'{"city": "Paris"\''
LET_IN = [
    f"{path} {how} was answered 200" for path in ("/v1/models", CHAT) for how in ("without a key", "with a wrong key")
]


@dataclass(frozen=True)
class Caught:
    """failed: gate -> what its evidence begins with. went: the gates that were run. wishes: variables for this host."""

    failed: dict[str, str] = field(default_factory=dict)
    went: list[str] = field(default_factory=lambda: ALL)
    wishes: dict[str, Any] = field(default_factory=dict)


CAUGHT = {
    "none": Caught(),
    "tags-scattered": Caught(),  # no fault: that is how a stream may be cut
    "hung": Caught(
        {"health": "/health answered 200, but no token was generated: no answer within 4.0 s"},
        ["health"],
        {"smoke_test_budgets": {"health": 4}, "smoke_test_request_seconds": 4},
    ),
    "never-closed": Caught({"reasoning": OPEN_ENDED, "reasoning_stream": OPEN_ENDED}),
    "arguments-cut": Caught({"tools_stream": CUT, "tools_parallel": CUT}),
    "call-lost": Caught(
        {
            "tools_parallel": 'the number of calls is not the same: 1 streamed (get_weather {"city": "Paris"}), '
            '2 unstreamed (get_weather {"city": "Paris"}, get_weather {"city": "London"})'
        }
    ),
    "wrong-name": Caught(
        {"models": f"/v1/models lists MiniMaxAI/MiniMax-M2, wanted {MODEL}"}, ["health", "auth", "models"]
    ),
    # Whole answers take half a minute each, which is within their gates' budgets: too long for a test.
    "slow": Caught(
        {"stream": "3 tokens came at 0.3"},
        ["health", "auth", "models", "stream"],
        {"smoke_test_gates": ["auth", "models", "stream"], "smoke_test_budgets": {"stream": 11}},
    ),
    "no-key-check": Caught({"auth": f"{'; '.join(LET_IN)}: wanted 401"}),
}


@dataclass(frozen=True)
class Verified:
    """results: fault -> the gates' results. told: fault -> the message of the failed task."""

    play: Play
    results: dict[str, list[dict[str, Any]]]
    told: dict[str, str]


@pytest.fixture(scope="module")
def proxies(measured: Fleet) -> Iterator[dict[str, int]]:
    """fault -> port of the node where the server answers with it."""
    ports = {fault: FIRST_PORT + number for number, fault in enumerate(FAULTS)}
    words = " ".join(f"{fault}={port}" for fault, port in ports.items())
    program = (ROOT / "tests" / "lab" / "fault_proxy.py").read_text()
    stop = f"systemctl stop {UNIT} 2> /dev/null"
    start = f"systemd-run --quiet --collect --unit={UNIT} python3 /run/fault_proxy.py {measured.endpoint(HOST)} {words}"
    address = measured.nodes[HOST].ip
    answering = (
        f"timeout 30 bash -c 'until : < /dev/tcp/{address}/{max(ports.values())}; do sleep 0.1; done' 2> /dev/null"
    )
    measured.sh(HOST, f"{stop}\ncat > /run/fault_proxy.py <<'END'\n{program}\nEND\n{start}\n{answering}\n")
    yield ports
    measured.sh(HOST, stop, check=False)


@pytest.fixture(scope="module")
def verified(measured: Fleet, proxies: dict[str, int]) -> Verified:
    """One run over as many hosts as there are faults: all of them the same node, each by another port."""
    address = measured.nodes[HOST].ip
    hosts = {
        fault: {
            "ansible_host": address,
            "fleet_model": "M2.7",
            "fleet_port": port,
            "fleet_api_key": KEY,
            "smoke_test_context_tokens": 2048,
            **CAUGHT[fault].wishes,
        }
        for fault, port in proxies.items()
    }
    play = measured.playbook(
        "playbooks/verify.yml",
        extra={"fleet_target": ",".join(hosts)},
        host_vars=hosts,
        env={"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"},
    )
    start = play.out.find('{\n    "')
    assert start >= 0, str(play)
    ran, _end = json.JSONDecoder().raw_decode(play.out[start:])
    tasks = [task["hosts"] for one in ran["plays"] for task in one["tasks"]]
    results, told = {}, {}
    for answers in tasks:
        for host, answer in answers.items():
            for gates in answer.get("ansible_facts", {}).get("smoke_test_results", {}).values():
                results[host] = gates
            for item in answer.get("results", []):
                if item.get("failed"):
                    told[host] = item["msg"]
    return Verified(play, results, told)


def test_every_fault_is_put_to_the_test(proxies: dict[str, int], verified: Verified) -> None:
    assert set(CAUGHT) == set(proxies) == set(verified.results), str(verified.play)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_caught_by_the_gates_that_should(verified: Verified, fault: str) -> None:
    gates, caught = verified.results[fault], CAUGHT[fault]
    assert [gate["gate"] for gate in gates] == caught.went
    failed = {gate["gate"]: gate["evidence"] for gate in gates if not gate["passed"]}
    assert list(failed) == list(caught.failed), failed
    for gate, evidence in caught.failed.items():
        assert failed[gate].startswith(evidence), failed[gate]


@pytest.mark.parametrize("fault", FAULTS)
def test_the_operator_is_told_of_each(measured: Fleet, proxies: dict[str, int], verified: Verified, fault: str) -> None:
    if not CAUGHT[fault].failed:
        assert fault not in verified.told
        return
    failed = [gate for gate in verified.results[fault] if not gate["passed"]]
    sentences = [f"gate {gate['gate']} failed: {gate['evidence']}" for gate in failed]
    address = f"http://{measured.nodes[HOST].ip}:{proxies[fault]}"
    assert verified.told[fault] == f"sglang@0.service at {address}: {'; '.join(sentences)}"


def test_the_gates_saw_what_they_should(verified: Verified) -> None:
    evidence = {gate["gate"]: gate["evidence"] for gate in verified.results["none"]}
    assert evidence["health"] == "200, a token was generated"
    assert evidence["auth"].startswith("401 for /v1/models without a key")
    assert evidence["tools_parallel"] == 'get_weather {"city": "Paris"}, get_weather {"city": "London"}'
    assert evidence["tools_result"].startswith("1 result(s) sent back, answered '")
    assert "tokens was answered; the plan reckons with 2048, the KV cache holds " in evidence["context"]


def test_tags_may_be_scattered(verified: Verified) -> None:
    """That they were: the same answer came in many more pieces."""
    whole, scattered = (
        next(gate["evidence"] for gate in verified.results[fault] if gate["gate"] == "reasoning_stream")
        for fault in ("none", "tags-scattered")
    )
    assert scattered.partition(", in ")[0] == whole.partition(", in ")[0]
    assert int(scattered.split()[-2]) > 5 * int(whole.split()[-2])


def test_what_hangs_is_found_out_within_its_budget(verified: Verified) -> None:
    (health,) = verified.results["hung"]
    assert health["budget_seconds"] == 1804  # the wait for the start included, which the server has behind it


def test_a_server_that_is_not_planned_is_told_of(measured: Fleet) -> None:
    measured.sh(HOST, "cp /etc/sglang/0.env /etc/sglang/1.env")
    try:
        play = measured.playbook("playbooks/verify.yml", "-l", "gpu_nodes")
    finally:
        measured.sh(HOST, "rm /etc/sglang/1.env")
    assert play.errors() == [HOST], str(play)
    (message,) = play.messages()
    assert f"{HOST}: sglang@1 is set up there and not planned; planned: sglang@0." in message


@pytest.mark.parametrize("name", ["chat.py", "reasoning.py", "tools.py", "chat.sh", "stream.sh", "tools.sh"])
def test_an_example_for_users_works(measured: Fleet, name: str) -> None:
    ran = run(
        "python" if name.endswith(".py") else "bash", f"examples/{name}", env={"SGLANG_URL": measured.endpoint(HOST)}
    )
    ran.succeeded()
    # The model's own words for an answer and for a call.
    assert ("get_weather" if name == "tools.sh" else "Hello") in ran.out


def test_no_key_is_shown(verified: Verified) -> None:
    assert KEY not in verified.play.out
