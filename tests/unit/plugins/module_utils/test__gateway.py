# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a gateway has and should have. The texts are sglang-router 0.3.2's and SGLang 0.5.7's and 0.5.10.post1's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _gateway
from ansible_collections.sglang.fleet.plugins.module_utils._gateway import Gateway, GatewayError, Worker

A, B, C = "http://127.0.0.1:41001", "http://127.0.0.1:41002", "http://127.0.0.1:41003"

WORKERS = (
    '{"workers":[{"id":"966d97f4-4655-4a82-86f9-a30835a65b81","url":"http://127.0.0.1:41002","model_id":"M2.7","priority":50,'
    '"cost":1.0,"worker_type":"regular","is_healthy":true,"load":4,"connection_mode":"HTTP","disable_health_check":false},'
    '{"id":"5617b0c2-603a-4f3d-9c8f-9dc49c250f4f","url":"http://127.0.0.1:41001","model_id":"M2.7","priority":50,"cost":1.0,'
    '"worker_type":"regular","is_healthy":false,"load":0,"connection_mode":"HTTP","disable_health_check":false}],'
    '"total":2,"stats":{"prefill_count":0,"decode_count":0,"regular_count":2}}'
)
METRICS = (
    "# TYPE smg_worker_requests_active gauge\n"
    'smg_worker_requests_active{worker="http://127.0.0.1:41001"} 0\n'
    'smg_worker_requests_active{worker="http://127.0.0.1:41002"} 3\n'
    'smg_worker_health{worker="http://127.0.0.1:41002"} 1\n'
)
GET_LOAD = (
    '[{"rid":null,"http_worker_ipc":null,"dp_rank":null,"num_reqs":%d,"num_waiting_reqs":%d,"num_tokens":0,'
    '"ts_tic":40546.993522494}]'
)
V1_LOADS = (
    '{"timestamp":"2026-11-22T19:49:01.829118+00:00","version":"0.5.10.post1","dp_rank_count":1,"loads":'
    '[{"num_running_reqs":%d,"num_waiting_reqs":%d,"num_used_tokens":0,"num_total_reqs":0}],"aggregate":{"total_reqs":0}}'
)


def test_the_workers_that_it_has() -> None:
    assert _gateway.registered(WORKERS) == {
        B: Worker("966d97f4-4655-4a82-86f9-a30835a65b81", B, True, 4),
        A: Worker("5617b0c2-603a-4f3d-9c8f-9dc49c250f4f", A, False, 0),
    }


@pytest.mark.parametrize("body", ["", "[]", '{"workers": [{"url": "x"}]}', "No models available"])
def test_what_is_no_list_of_workers(body: str) -> None:
    with pytest.raises(GatewayError, match="list of workers is none"):
        _gateway.registered(body)


def test_requests_in_flight() -> None:
    assert _gateway.active(METRICS) == {A: 0, B: 3}


@pytest.mark.parametrize(
    ("wanted", "out", "has", "up", "expected"),
    [
        ([A, B], [], [], [A, B], ([A, B], [])),
        ([A, B], [], [A, B], [], ([], [])),
        ([A, B], [B], [A, B], [A, B], ([], [B])),
        ([A, B], [], [A], [A], ([], [])),  # B does not answer: it would get in whenever it does, unasked
        ([A], [], [A, C], [A, C], ([], [C])),
        ([A], [C], [A], [A, C], ([], [])),
    ],
)
def test_changes(
    wanted: list[str], out: list[str], has: list[str], up: list[str], expected: tuple[list[str], list[str]]
) -> None:
    assert _gateway.changes(wanted, out, has, up.__contains__) == expected


def test_who_took_it_out_first_stays() -> None:
    out = _gateway.taken_out({A: "by hand"}, [A, B], "rollout 7")
    assert out == {A: "by hand", B: "rollout 7"}
    assert _gateway.put_in(out, [B, C]) == {A: "by hand"}


@pytest.mark.parametrize(
    ("urls", "at_least", "refused"),
    [([A], 1, False), ([A], 2, True), ([A, B], 1, True), ([A, B], 0, False), ([C], 5, False)],
)
def test_how_many_stay(urls: list[str], at_least: int, refused: bool) -> None:
    has = {A: Worker("a", A, True, 0), B: Worker("b", B, True, 0)}
    assert bool(_gateway.stays_up(has, urls, at_least)) is refused


def test_an_unhealthy_one_is_not_counted() -> None:
    has = {A: Worker("a", A, True, 0), B: Worker("b", B, False, 0)}
    assert "would have 0 healthy workers of 2, and 1 have to stay" in _gateway.stays_up(has, [A], 1)


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (GET_LOAD % (0, 0), 0),
        (GET_LOAD % (2, 1), 3),
        (V1_LOADS % (0, 0), 0),
        (V1_LOADS % (0, 2), 2),
        (V1_LOADS % (3, 0), 3),
    ],
)
def test_a_servers_own_count(body: str, count: int) -> None:
    assert _gateway.running(body) == count


@pytest.mark.parametrize("body", ["[]", "{}", '{"loads": []}', '{"loads": [{"num_running_reqs": null}]}', "<html>"])
def test_what_tells_no_load(body: str) -> None:
    """No load is not the same as nothing running."""
    with pytest.raises((ValueError, KeyError)):
        _gateway.running(body)


class Fake(Gateway):
    """A gateway that notes what it is asked."""

    def workers(self) -> dict[str, Worker]:
        return {A: Worker("a", A, True, 0), C: Worker("c", C, True, 0)}

    def add(self, url: str) -> None:
        self.config["asked"].append(("add", url))

    def remove(self, worker: Worker) -> None:
        self.config["asked"].append(("remove", worker.id))


def test_sync() -> None:
    config = {"workers": [{"url": A}, {"url": B}], "asked": []}
    assert Fake(config, "").sync([A], lambda _url: True) == ([B], [A, C])
    assert config["asked"] == [("remove", "a"), ("remove", "c"), ("add", B)]


def test_files(tmp_path: Path) -> None:
    path = str(tmp_path / "out.json")
    assert _gateway.read_json(path, {}) == {}
    with _gateway.alone(path):
        _gateway.write_out({A: "why"}, path)
    assert json.loads(Path(path).read_text("utf-8")) == {A: "why"}
    Path(path).write_text("{", "utf-8")
    with pytest.raises(GatewayError, match=r"is not JSON .* playbooks/gateway.yml"):
        _gateway.read_json(path, {})


def test_a_gateway_that_is_not_there() -> None:
    gateway = Gateway({"address": "0.0.0.0", "port": 1, "workers": []}, "key")
    with pytest.raises(GatewayError, match="answered GET workers with nothing"):
        gateway.workers()


def test_wait_asks_at_least_once() -> None:
    assert _gateway.wait(lambda: True, 0)
    assert not _gateway.wait(lambda: False, 0)


def test_urls() -> None:
    assert _gateway.url_of("10.0.0.1", 30000) == "http://10.0.0.1:30000"
    assert _gateway.url_of("fd00::1", 30000) == "http://[fd00::1]:30000"


def test_it_needs_the_standard_library_alone() -> None:
    """The role copies the file to hosts that have no Ansible."""
    text = Path(_gateway.__file__).read_text("utf-8")
    assert "ansible" not in [line.split()[1].split(".")[0] for line in text.splitlines() if line.startswith("from ")]
    assert "ansible_collections" not in text
