# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transfer as a whole: its program, its server and a stand-in for the hub."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._weights_client import Transfer
from ansible_collections.sglang.fleet.plugins.module_utils._weights_fetch import FetchError
from ansible_collections.sglang.fleet.plugins.module_utils._weights_scout import stalled_for
from ansible_collections.sglang.fleet.plugins.module_utils._weights_work import Item
from tests.unit.plugins.module_utils.weights_hub import FILES, REPOSITORY, REVISION, Hub, serving
from tests.unit.plugins.module_utils.weights_run import Host

SHARD = "model-00002-of-00004.safetensors"
SLOW = pytest.mark.slow
TOTAL = sum(len(data) for data in FILES.values())


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as served:
        yield served


@pytest.fixture
def make(tmp_path: Path, hub: Hub) -> Iterator[Callable[[str], Host]]:
    hosts: list[Host] = []

    def made(name: str) -> Host:
        hosts.append(Host(tmp_path / name, hub))
        return hosts[-1]

    yield made
    for host in hosts:
        host.end()


def wait_until(true: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def test_everything_from_the_hub(make: Callable[[str], Host], hub: Hub) -> None:
    host = make("a")
    told = host.fetch()
    assert (told["state"], told["error"]) == ("done", "")
    assert (told["bytes_done"], told["bytes_total"], told["from_hub"], told["verified"]) == (
        TOTAL,
        TOTAL,
        TOTAL,
        len(FILES),
    )
    assert host.content() == FILES
    assert hub.bytes == TOTAL
    assert host.fetch()["from_hub"] == 0  # and nothing the second time
    assert hub.bytes == TOTAL


def test_killed_and_run_again(make: Callable[[str], Host], hub: Hub) -> None:
    host = make("a")
    hub.faults = [
        {"match": "resolve/.*00003", "times": 99, "status": 503}
    ]  # one that does not come, so that it goes on
    first = host.client()
    wait_until(lambda: (host.state / "progress.json").exists() and host.progress()["verified"] == len(FILES) - 1)
    first.kill()
    hub.faults, before = [], hub.bytes
    told = host.fetch()
    assert told["state"] == "done"
    assert hub.bytes - before == told["from_hub"] == len(FILES["model-00003-of-00004.safetensors"])


@SLOW
def test_children_end_with_their_parent(make: Callable[[str], Host], hub: Hub) -> None:
    """They hold the lock: one that lived on would keep the next run waiting."""
    host = make("a")
    hub.faults = [{"match": "resolve", "times": 99, "status": 429, "retry_after": 60}]
    first = host.client()
    wait_until((host.state / "progress.json").exists)
    first.kill()
    hub.faults = []
    assert host.fetch()["state"] == "done"


@SLOW
def test_transfer_waits_while_another_host_writes_to_the_folder(make: Callable[[str], Host], hub: Hub) -> None:
    """Two hosts, one filesystem that nobody took for shared."""
    host = make("a")
    lock = Path(host.layout.record.removesuffix(".json") + ".lock")
    lock.parent.mkdir(parents=True)
    with lock.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        client = host.client()
        wait_until((host.state / "progress.json").exists)
        assert host.progress()["state"] == "waiting"
        assert host.progress()["note"] == "another host writes to this folder: waiting for it"
        assert hub.bytes == 0
    assert client.wait(240) == 0
    assert (hub.bytes, host.progress()["state"]) == (TOTAL, "done")


@SLOW
@pytest.mark.parametrize("damage", ["byte", "short", "header", "gone"])
def test_damaged_file_alone_comes_again(make: Callable[[str], Host], hub: Hub, damage: str) -> None:
    host = make("a")
    host.fetch()
    path = Path(host.layout.snapshot) / SHARD
    if damage == "short":
        os.truncate(path, 100)
    elif damage == "gone":
        path.resolve().unlink()
    else:
        with path.open("r+b") as handle:
            handle.seek(0 if damage == "header" else 1_000_000)
            handle.write(bytes(16))
    before = hub.bytes
    told = host.fetch()
    assert (told["state"], told["from_hub"], hub.bytes - before) == ("done", len(FILES[SHARD]), len(FILES[SHARD]))
    assert [entry["path"] for entry in told["damaged"]] == ([] if damage == "gone" else [SHARD])
    assert host.content() == FILES


@SLOW
def test_patience_that_the_hub_asks_for(make: Callable[[str], Host], hub: Hub) -> None:
    host = make("a")
    hub.faults = [{"match": "resolve", "times": 2, "status": 429, "retry_after": 2}]
    begin = time.monotonic()
    assert host.fetch()["state"] == "done"
    assert time.monotonic() - begin >= 2
    assert hub.bytes == TOTAL


@SLOW
def test_wrong_bytes_again_and_again(make: Callable[[str], Host], hub: Hub) -> None:
    host = make("a")
    hub.faults = [{"match": SHARD, "times": 99, "flip": 1_000_000}]
    told = host.fetch()
    assert told["state"] == "failed"
    assert told["error"].startswith(f"{SHARD} from the hub: SHA-256 is ")
    assert told["error"].endswith("3 times. Nothing of it is kept")
    assert hub.given(f"cdn/{SHARD}") == 3
    assert SHARD not in host.content()
    sha256 = hashlib.sha256(FILES[SHARD]).hexdigest()
    assert not (Path(host.layout.blobs) / f"{sha256}.incomplete").exists()


@SLOW
def test_wrong_bytes_once(make: Callable[[str], Host], hub: Hub) -> None:
    host = make("a")
    hub.faults = [{"match": SHARD, "times": 1, "flip": 1_000_000}]
    told = host.fetch()
    assert (told["state"], [entry["path"] for entry in told["damaged"]]) == ("done", [SHARD])
    assert host.content() == FILES


@SLOW
def test_token_that_lacks(make: Callable[[str], Host], hub: Hub) -> None:
    host = make("a")
    hub.token = "hf_right"
    told = host.fetch()
    assert told["state"] == "failed"
    assert "the hub refuses" in told["error"]
    assert "fleet_hf_token" in told["error"]
    assert not (host.job / "token").exists()  # which has no further use, whoever clears up
    host.write(token="hf_right")
    assert host.fetch()["state"] == "done"
    assert not (host.job / "token").exists()
    assert (
        "hf_right" not in (host.state / "progress.json").read_text() + (host.folder / "_weights_client.log").read_text()
    )


@SLOW
def test_plain_source(make: Callable[[str], Host], hub: Hub) -> None:
    host = make("a")
    host.write(source={"kind": "http", "at": f"{hub.endpoint}/plain", "name": "a shop"})
    told = host.fetch()
    assert (told["error"], told["state"], told["from_source"], told["from_hub"]) == ("", "done", TOTAL, 0)


def test_plain_source_that_refuses(make: Callable[[str], Host], hub: Hub) -> None:
    host = make("a")
    hub.faults = [{"match": "plain", "times": 99, "status": 403}]
    host.write(source={"kind": "http", "at": f"{hub.endpoint}/plain", "name": "a shop"})
    told = host.fetch()
    assert told["state"] == "failed"
    assert "(HTTP 403). No token is sent there: give fleet_weights_source with the user" in told["error"]


# --- hosts of a run -----------------------------------------------------------------------------------------------------


def together(make: Callable[[str], Host], *names: str) -> list[Host]:
    """Hosts that know one another; the first asks the hub."""
    hosts = [make(name) for name in names]
    for number, host in enumerate(hosts):
        peers = [{"host": other.folder.name, "url": other.url} for other in hosts if other is not host]
        host.write(asks_source=number == 0, rank=number, peers=peers)
    return hosts


def test_three_hosts_and_one_asks_the_hub(make: Callable[[str], Host], hub: Hub) -> None:
    hosts = together(make, "a", "b", "c")
    for host in hosts:
        host.serve()
    clients = [host.client() for host in hosts]
    assert [client.wait(240) for client in clients] == [0, 0, 0]
    assert hub.bytes == TOTAL
    assert [host.progress()["from_peers"] for host in hosts] == [0, TOTAL, TOTAL]
    assert all(host.content() == FILES for host in hosts)


@SLOW
def test_seed_takes_what_another_host_has(make: Callable[[str], Host], hub: Hub) -> None:
    one, two = together(make, "a", "b")
    two.write(asks_source=True)
    assert two.fetch()["state"] == "done"
    two.serve()
    before = hub.bytes
    told = one.fetch()
    assert (told["from_hub"], told["from_peers"], hub.bytes) == (0, TOTAL, before)


@SLOW
def test_another_host_takes_the_place_of_a_seed_that_fell_silent(make: Callable[[str], Host], hub: Hub) -> None:
    _dead, two = together(make, "a", "b")
    told = two.fetch()
    assert (told["state"], told["from_hub"]) == ("done", TOTAL)
    assert told["fell_back"].endswith(f"(tried: {_dead.url})")
    assert "no host of the run gave anything" in (two.folder / "_weights_client.log").read_text()


@SLOW
def test_host_that_may_not_ask_gives_up_and_says_whom_it_asked(make: Callable[[str], Host], hub: Hub) -> None:
    one, two = together(make, "a", "b")
    two.write(asks_source=False, fallback=False, peers=[{"host": "a", "url": one.url}], stall_seconds=0.2)
    told = two.fetch()
    assert told["state"] == "failed"
    assert f"none answers; asked: {one.url}). The hosts must reach one another there by TCP" in told["error"]


@SLOW
def test_file_that_a_host_passes_on_wrongly(make: Callable[[str], Host], hub: Hub) -> None:
    """It changed after it was verified, and its record with it: the taker sees it, and asks the hub."""
    one, two = together(make, "a", "b")
    one.fetch()
    path = Path(one.layout.snapshot) / SHARD
    with path.open("r+b") as handle:
        handle.seek(1_000_000)
        handle.write(bytes(16))
    record = json.loads(Path(one.layout.record).read_text())
    record[SHARD]["mtime_ns"] = path.stat().st_mtime_ns
    Path(one.layout.record).write_text(json.dumps(record))
    one.serve()
    two.write(asks_source=True, peers=[{"host": "a", "url": one.url}])
    told = two.fetch()
    assert (told["state"], told["from_hub"]) == ("done", len(FILES[SHARD]))
    assert [entry["path"] for entry in told["damaged"]] == [SHARD]
    assert two.content() == FILES


# --- the server -----------------------------------------------------------------------------------------------------------


def asked(url: str, key: str = "the key", **headers: str) -> tuple[int, bytes, dict[str, str]]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}", **headers})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read(), {}


def test_server(make: Callable[[str], Host], hub: Hub) -> None:
    host = make("a")
    host.fetch()
    host.serve()
    listing = f"{host.url}/api/models/{REPOSITORY}/revision/{REVISION}"
    file = f"{host.url}/{REPOSITORY}/resolve/{REVISION}/{SHARD}"
    told = json.loads(asked(listing)[1])
    assert sorted(entry["rfilename"] for entry in told["siblings"]) == sorted(FILES)
    assert told["progress"]["state"] == "done"
    status, body, headers = asked(file, Range="bytes=3000000-")
    assert (status, body) == (206, FILES[SHARD][3000000:])
    assert headers["X-Linked-Size"] == str(len(FILES[SHARD]))
    assert headers["X-Repo-Commit"] == REVISION
    for url in (listing, file):
        assert asked(url, key="another")[0] == 401
        assert asked(url, key="")[0] == 401
        assert asked(url.replace(REVISION, "2" * 40))[0] == 404
    (host.job / "key").write_text("the next run's")
    assert (asked(file)[0], asked(file, key="the next run's")[0]) == (401, 200)


@SLOW
def test_server_gives_nothing_but_locked_verified_files(make: Callable[[str], Host], hub: Hub) -> None:
    host = make("a")
    host.fetch()
    host.serve()
    file = f"{host.url}/{REPOSITORY}/resolve/{REVISION}"
    (Path(host.layout.snapshot) / "private").write_text("x")
    for path in ("private", "..%2f..%2frefs", "%2e%2e/%2e%2e/x", "/etc/passwd"):
        assert asked(f"{file}/{path}")[0] == 404
    os.utime(Path(host.layout.snapshot) / SHARD)
    assert asked(f"{file}/{SHARD}")[0] == 404


# --- arithmetic -------------------------------------------------------------------------------------------------------------


def offer(files: int = 0, updated: float = 0, asks_source: bool = False, state: str = "running") -> dict[str, Any]:
    return {"files": ["x"] * files, "updated": updated, "asks_source": asks_source, "state": state}


@pytest.mark.parametrize(
    ("first", "second", "silent"),
    [
        ({}, {}, 10.0),
        ({"a": offer(1)}, {"a": offer(1)}, 10.0),
        ({"a": offer(1)}, {"a": offer(2)}, 0.0),
        ({"a": offer(0, 5)}, {"a": offer(0, 6)}, 10.0),  # alive, but it waits as this host does
        ({"a": offer(0, 5, True)}, {"a": offer(0, 6, True)}, 0.0),
        ({"a": offer(0, 5, True)}, {"a": offer(0, 5, True)}, 10.0),
        ({"a": offer(0, 5, True)}, {"a": offer(0, 6, True, "failed")}, 0.0),  # news, for once
        ({"a": offer(3, 5, True)}, {}, 10.0),
        ({}, {"a": offer(3)}, 0.0),
    ],
)
def test_stalled(first: dict[str, Any], second: dict[str, Any], silent: float) -> None:
    seen: dict[str, Any] = {}
    assert stalled_for(first, seen, 100.0) == 0.0
    assert stalled_for(second, seen, 110.0) == silent


# --- decisions --------------------------------------------------------------------------------------------------------------


def test_later_run_makes_a_transfer_the_seed(make: Callable[[str], Host]) -> None:
    host = make("a")
    host.write(asks_source=False)
    transfer = Transfer(str(host.job), str(host.state))
    for told, asks in ((False, False), (True, True), (False, True)):  # one that asks goes on asking
        host.write(asks_source=told)
        transfer.reload()
        assert transfer.asks_source is asks


@pytest.mark.parametrize(
    ("states", "silent", "asks"),
    [
        pytest.param({"b": "running"}, 30, False, id="the seed is at it"),
        pytest.param({"b": "failed"}, 5, False, id="it has failed, a moment ago"),
        pytest.param({"b": "failed"}, 8, True, id="it has failed"),
        pytest.param({"b": "failed", "c": "running"}, 30, False, id="another one asks"),
        pytest.param({}, 30, False, id="nobody has answered yet"),
    ],
)
def test_a_seed_that_has_given_up_is_not_waited_for(
    make: Callable[[str], Host], states: dict[str, str], silent: float, asks: bool
) -> None:
    host = make("a")
    host.write(asks_source=False, stall_seconds=60)
    transfer = Transfer(str(host.job), str(host.state))
    transfer.todo = {wanted.path: Item(wanted, False) for wanted in transfer.files}
    transfer.offers = {
        name: {"files": [], "asks_source": True, "updated": 1, "state": state, "error": "no"}
        for name, state in states.items()
    }
    transfer.watch_peers(100.0)
    transfer.watch_peers(100.0 + silent)
    assert transfer.asks_source is asks


def test_file_that_a_bundle_did_not_bring(make: Callable[[str], Host]) -> None:
    host = make("a")
    transfer = Transfer(str(host.job), str(host.state))
    origin = {"kind": "folder", "place": "incoming", "at": transfer.layout.incoming}
    result = {"outcome": "refused", "text": "incoming does not have x", "got": 0}
    with pytest.raises(FetchError, match="incoming does not have x: the next run sends it from the bundle"):
        transfer.trouble(Item(transfer.files[0], False), origin, result, 0.0)


def test_wrong_file_of_a_bundle_is_sent_again(make: Callable[[str], Host]) -> None:
    """Kept, it would be taken for the bundle's by its size for ever, however that was mended."""
    host = make("a")
    incoming = Path(host.layout.incoming)
    for path, data in FILES.items():
        (incoming / path).parent.mkdir(parents=True, exist_ok=True)
        (incoming / path).write_bytes(data)
    (incoming / SHARD).write_bytes(FILES[SHARD][:-1] + b"!")
    host.write(source={"kind": "folder", "at": str(incoming), "name": str(incoming)})
    told = host.fetch()
    assert told["state"] == "failed"
    assert SHARD in told["error"]
    assert "`sglang-fleet bundle --check`" in told["error"]
    assert not (incoming / SHARD).exists()
    (incoming / SHARD).write_bytes(FILES[SHARD])
    assert host.fetch()["state"] == "done"
    assert host.content() == FILES


def test_peers_are_asked_without_a_proxy(make: Callable[[str], Host], hub: Hub) -> None:
    """Docker gives containers the proxies of root's ~/.docker/config.json."""
    one, two = together(make, "a", "b")
    one.fetch()
    one.serve()
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        two.env[name] = "http://127.0.0.1:9"
    for name in ("NO_PROXY", "no_proxy"):
        two.env.pop(name, None)
    two.write(asks_source=False, fallback=False, peers=[{"host": "a", "url": one.url}], stall_seconds=1)
    told = two.fetch()
    assert (told["error"], told["from_peers"]) == ("", TOTAL)
