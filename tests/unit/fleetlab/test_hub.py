# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's hub: what clients are told, what tests have it do, what it counts."""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fleetlab import hub_server

REPO, COMMIT, LATER = "Org/Model", "a" * 40, "b" * 40
LARGE, SMALL, NEWER = bytes(range(256)) * 1000, b'{"a": 1}', b'{"a": 2}'
PATH = f"/~t/{REPO}/resolve/{COMMIT}"


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Served:
    """Both servers; ask() follows nothing."""

    front: int
    cdn: int

    def ask(self, path: str, method: str = "GET", *, body: Any = None, port: int = 0, **headers: Any) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.front, timeout=10)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {key.replace("_", "-"): value for key, value in headers.items()})
            answer = connection.getresponse()
            try:
                text = answer.read()
            except http.client.IncompleteRead as error:
                text = error.partial
            return Answer(answer.status, text, {key.lower(): value for key, value in answer.getheaders()})
        finally:
            connection.close()

    def set(self, **settings: Any) -> int:
        return self.ask("/~t/_lab/settings", "PATCH", body=settings).status

    def counters(self, least: int = 0) -> dict[str, Any]:
        """Once so many bytes are counted: the server counts what it has sent, which is here by then."""
        found: dict[str, Any] = {}
        for _try in range(200):
            found = json.loads(self.ask("/~t/_lab/counters").body)
            if found["bytes"] >= least:
                break
            time.sleep(0.02)
        return found

    def large(self, **headers: str) -> Answer:
        """The large file, over its redirect."""
        place = self.ask(f"{PATH}/m.safetensors").headers["location"]
        assert place.startswith("http://cdn.invalid:1/~t/cdn/")
        return self.ask(place.removeprefix("http://cdn.invalid:1"), port=self.cdn, **headers)


def entry(tree: Path, data: bytes, lfs: bool) -> dict[str, Any]:
    sha256 = hashlib.sha256(data).hexdigest()
    (tree / "blobs" / sha256).write_bytes(data)
    return {"size": len(data), "sha256": sha256, "blob_id": sha256[:40], "lfs": lfs}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "blobs").mkdir()
    files = {"config.json": entry(tmp_path, SMALL, False), "m.safetensors": entry(tmp_path, LARGE, True)}
    later = {**files, "config.json": entry(tmp_path, NEWER, False)}
    repos = {REPO: {"main": COMMIT, "revisions": {COMMIT: files, LATER: later}}}
    (tmp_path / "repos.json").write_text(json.dumps(repos))
    servers = hub_server.servers(tmp_path, ("127.0.0.1", 0), ("127.0.0.1", 0), "cdn.invalid:1")
    for server in servers:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    front, cdn = (int(server.server_address[1]) for server in servers)
    yield Served(front, cdn)
    for server in servers:
        server.shutdown()
        server.server_close()


def test_model_lists_its_files(served: Served) -> None:
    model = json.loads(served.ask(f"/~t/api/models/{REPO}").body)
    assert (model["sha"], model["siblings"][0]) == (COMMIT, {"rfilename": "config.json"})
    model = json.loads(served.ask(f"/~t/api/models/{REPO}/revision/{LATER}?blobs=true").body)
    small, large = model["siblings"]
    assert (small["size"], small["blobId"], "lfs" in small) == (8, hashlib.sha256(NEWER).hexdigest()[:40], False)
    assert large["lfs"] == {"sha256": hashlib.sha256(LARGE).hexdigest(), "size": 256000, "pointerSize": 134}
    tree = json.loads(served.ask(f"/~t/api/models/{REPO}/tree/main").body)
    assert [(node["path"], node["size"]) for node in tree] == [("config.json", 8), ("m.safetensors", 256000)]


def test_small_file_is_behind_a_relative_redirect(served: Served) -> None:
    answer = served.ask(f"{PATH}/config.json", "HEAD")
    assert (answer.status, answer.headers["x-repo-commit"], answer.headers["x-linked-size"]) == (307, COMMIT, "8")
    found = served.ask(answer.headers["location"])
    assert (found.status, found.body, found.headers["etag"]) == (200, SMALL, answer.headers["etag"])


def test_large_file_is_elsewhere(served: Served) -> None:
    answer = served.ask(f"{PATH}/m.safetensors", "HEAD")
    assert (answer.status, answer.headers["x-linked-etag"]) == (302, f'"{hashlib.sha256(LARGE).hexdigest()}"')
    assert served.large().body == LARGE
    assert served.large(Authorization="Bearer hf_x").status == 400
    assert served.counters()["token_at_cdn"] == 1
    assert served.ask(f"/~t/cdn/{hashlib.sha256(LARGE).hexdigest()}", port=served.cdn).status == 403


@pytest.mark.parametrize(
    ("asked", "status", "body"),
    [
        ("bytes=10-19", 206, LARGE[10:20]),
        ("bytes=255990-", 206, LARGE[-10:]),
        ("bytes=-5", 206, LARGE[-5:]),
        ("bytes=0-999999", 206, LARGE),
        ("bytes=256000-", 416, b""),
        ("items=1-2", 200, LARGE),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_ranges(served: Served, asked: str, status: int, body: bytes) -> None:
    answer = served.ask(f"/~t/plain/{REPO}/{COMMIT}/m.safetensors", Range=asked)
    assert (answer.status, answer.body) == (status, body)


@pytest.mark.parametrize(
    ("path", "token", "status", "code"),
    [
        (f"/~t/api/models/{REPO}", "", 401, "GatedRepo"),
        (f"/~t/api/models/{REPO}", "hf_wrong", 401, ""),
        (f"/~t/api/models/{REPO}", "hf_right", 200, ""),
        (f"{PATH}/config.json", "", 401, "GatedRepo"),
        (f"{PATH}/no.json", "hf_right", 404, "EntryNotFound"),
        (f"/~t/{REPO}/resolve/{'c' * 40}/config.json", "hf_right", 404, "RevisionNotFound"),
        ("/~t/api/models/Org/No", "", 401, "RepoNotFound"),
        ("/~t/api/models/Org/No", "hf_right", 404, "RepoNotFound"),
        (f"/~t/plain/{REPO}/{COMMIT}/config.json", "", 403, ""),
        ("/~t/api/whoami-v2", "hf_right", 200, ""),
        ("/~t/api/whoami-v2", "hf_wrong", 401, ""),
    ],
)
def test_tokens_and_what_is_not_there(served: Served, path: str, token: str, status: int, code: str) -> None:
    served.set(token="hf_right")
    headers: dict[str, Any] = {"Authorization": f"Bearer {token}"} if token else {}
    answer = served.ask(path, **headers)
    assert (answer.status, answer.headers.get("x-error-code", "")) == (status, code)


def test_main_moves(served: Served) -> None:
    served.set(main={REPO: LATER})
    assert json.loads(served.ask(f"/~t/api/models/{REPO}").body)["sha"] == LATER
    assert served.ask(f"{PATH}/config.json", "HEAD").headers["x-repo-commit"] == COMMIT


def test_faults_are_used_up(served: Served) -> None:
    served.set(faults=[{"match": "resolve", "times": 2, "status": 429, "retry_after": 7}])
    answers = [served.ask(f"{PATH}/config.json") for _number in range(3)]
    assert [answer.status for answer in answers] == [429, 429, 307]
    assert answers[0].headers["retry-after"] == "7"
    served.set(faults=[{"match": "m.safe", "cut": 1000}])
    assert [len(served.large().body) for _number in range(2)] == [1000, 256000]
    served.set(faults=[{"match": "m.safe", "flip": 70000}])
    body = served.large().body
    assert [place for place in range(len(LARGE)) if body[place] != LARGE[place]] == [70000]
    begun = time.monotonic()
    served.set(faults=[{"match": "m.safe", "stall": 1000, "seconds": 0.3}])
    assert (len(served.large().body), time.monotonic() - begun > 0.3) == (1000, True)


def test_rate_is_of_all_clients_together(served: Served) -> None:
    served.set(rate=1_000_000)
    begun = time.monotonic()
    threads = [threading.Thread(target=served.large) for _number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0.4 < time.monotonic() - begun < 2


def test_counters_and_spaces(served: Served) -> None:
    served.large(Range="bytes=0-99")
    served.ask(served.ask(f"{PATH}/config.json").headers["location"])
    counters = served.counters(108)
    assert (counters["bytes"], counters["by_client"]) == (108, {"127.0.0.1": 108})
    assert counters["by_path"] == {"m.safetensors": 100, "config.json": 8}
    assert [(row["method"], row["status"]) for row in counters["requests"]] == [
        ("GET", 302),
        ("GET", 206),
        ("GET", 307),
        ("GET", 200),
    ]
    assert json.loads(served.ask("/~other/_lab/counters").body)["bytes"] == 0
    assert served.ask("/~t/_lab/reset", "POST").status == 204
    assert served.counters()["bytes"] == 0


def test_unknown_setting_is_refused(served: Served) -> None:
    answer = served.ask("/~t/_lab/settings", "PATCH", body={"speed": 1})
    assert (answer.status, answer.body) == (400, b"no setting speed; there are rate, token, main, faults")
