# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What bench_serving asks of the engine and the server, and what it makes of the answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._bench import BenchError
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import read_data
from ansible_collections.sglang.fleet.plugins.modules.bench_serving import IN_CONTAINER, Node, measure_all

KEY = "s3cret-key"
LOW = {**read_data()["benchmark_profiles"]["low"], "name": "low"}
RESULT = {
    "backend": "sglang",
    "request_rate": float("inf"),
    "max_concurrency": 1,
    "server_info": {"api_key": KEY},
    "duration": 2.0,
    "completed": 10,
    "output_throughput": 30.0,
}


class Server(BaseHTTPRequestHandler):
    busy = False

    def do_POST(self) -> None:
        allowed = self.headers["Authorization"] == f"Bearer {KEY}"
        self.rfile.read(int(self.headers["Content-Length"]))
        status = 404 if self.path != "/flush_cache" else 401 if not allowed else 400 if self.server.busy else 200  # type: ignore[attr-defined]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"Cache flushed." if status == 200 else b"there are running requests")

    def log_message(self, *_words: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    found = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    found.busy = False  # type: ignore[attr-defined]
    thread = threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


class Module:
    """An AnsibleModule on a node whose engine runs the container sglang-0."""

    def __init__(self, tmp_path: Path, port: int, out: str = json.dumps(RESULT), code: int = 0, **params: Any) -> None:
        self.tmpdir, self.out, self.code = str(tmp_path), out, code
        self.calls: list[list[str]] = []
        self.environments: list[dict[str, str]] = []
        self.copied = ""
        instance = {"name": "0", "gpus": [0, 1], "tp": 2, "ep": 1, "address": "127.0.0.1", "port": port}
        instance["server_args"] = {"model-path": "/w/m", "served-model-name": "mine"}
        image = {"reference": "r:v1", "sglang_version": "0.5.9"}
        plan = {"model": "M", "model_path": "org/M", "gpu": "H100", "image": image, "instances": [instance]}
        self.params: dict[str, Any] = {
            "plan": plan,
            "loads": [LOW],
            "host": "n1",
            "driver": {"name": "nvidia", "version": "580"},
            "api_key": KEY,
            "dataset": None,
            "state_file": str(tmp_path / "state.json"),
            **params,
        }
        self.running, self.left = True, ""

    @property
    def instances(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.params["plan"]["instances"]
        return listed

    def run_command(self, words: list[str], environ_update: dict[str, str] | None = None) -> tuple[int, str, str]:
        self.calls.append(words)
        match words[1:]:
            case ["ps", *_options]:
                return 0, "c0\n", ""
            case ["container", "inspect", *_options]:
                found = {"Name": "/sglang-0", "Image": "sha256:aa", "State": {"Running": self.running}}
                return 0, json.dumps([found]), ""
            case ["image", "inspect", _name]:
                return 0, json.dumps([{"Id": "sha256:aa", "RepoDigests": ["r@sha256:dd"]}]), ""
            case ["cp", path, _target]:
                self.copied = Path(path).read_text()
                return 0, "", ""
            case ["exec", _container, "rm", *_rest]:
                return 0, "", ""
            case ["top", *_options]:
                return (
                    0,
                    f"PID                 COMMAND\n4001                python3 -m sglang.launch_server\n{self.left}",
                    "",
                )
        assert "sglang.bench_serving" in words, words
        self.environments.append(environ_update or {})
        return self.code, self.out, "Traceback\nValueError: Warmup failed with " + KEY


def measured(module: Module) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    measure_all(Node(module), module.instances, records)  # type: ignore[arg-type]
    return records


def test_a_record_of_a_load(tmp_path: Path, server: ThreadingHTTPServer) -> None:
    module = Module(tmp_path, server.server_address[1])
    [record] = measured(module)
    about = {key: record[key] for key in ("host", "instance", "model", "gpu", "count", "tp", "ep", "image", "driver")}
    assert about == {
        "host": "n1",
        "instance": "0",
        "model": "M",
        "gpu": "H100",
        "count": 2,
        "tp": 2,
        "ep": 1,
        "image": {"reference": "r:v1", "digest": "sha256:dd", "sglang_version": "0.5.9"},
        "driver": {"name": "nvidia", "version": "580"},
    }
    assert record["metrics"] == {"duration": 2.0, "completed": 10, "output_throughput": 30.0}
    assert (record["settings"]["num_prompts"], record["settings"]["seed"]) == (10, 1)
    assert record["corpus"]["name"] == "sglang.fleet"
    assert len(json.loads(module.copied)) == 2000
    [run] = [words for words in module.calls if "sglang.bench_serving" in words]
    assert "--model=/w/m" in run
    assert "--served-model-name=mine" in run
    # The last word is the container's clean-up.
    assert module.calls[-1] == ["docker", "exec", "sglang-0", "rm", "-f", IN_CONTAINER]


def test_the_key_goes_by_the_environment_and_into_no_word_nor_record(
    tmp_path: Path, server: ThreadingHTTPServer
) -> None:
    module = Module(tmp_path, server.server_address[1])
    records = measured(module)
    assert module.environments == [{"OPENAI_API_KEY": KEY}]
    assert KEY not in json.dumps([records, module.calls])


@pytest.mark.parametrize(
    ("state", "digest"),
    [
        pytest.param({"image": {"id": "sha256:aa", "digest": "sha256:base"}}, "sha256:base", id="patched here"),
        pytest.param({"image": {"id": "sha256:bb", "digest": "sha256:old"}}, "sha256:dd", id="another was applied"),
    ],
)
def test_whose_digest(tmp_path: Path, server: ThreadingHTTPServer, state: dict[str, Any], digest: str) -> None:
    (tmp_path / "state.json").write_text(json.dumps(state))
    [record] = measured(Module(tmp_path, server.server_address[1]))
    assert record["image"]["digest"] == digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            {"code": 1},
            "instance 0: profile low: it ended with status 1: ValueError: Warmup failed with ***",
            id="code",
        ),
        pytest.param({"code": 124}, "instance 0: profile low: it did not end within 1200 s", id="time"),
        pytest.param(
            {"out": "nothing"}, "instance 0: profile low: the benchmark printed 0 results, wanted one", id="silent"
        ),
        pytest.param(
            {"out": json.dumps({**RESULT, "completed": 9})},
            "instance 0: profile low: 9 of 10 requests succeeded",
            id="failed",
        ),
    ],
)
def test_a_load_that_failed(tmp_path: Path, server: ThreadingHTTPServer, change: dict[str, Any], message: str) -> None:
    module = Module(tmp_path, server.server_address[1], **change)
    with pytest.raises(BenchError) as error:
        measured(module)
    assert str(error.value).startswith(message)
    assert KEY not in str(error.value)
    assert module.calls[-1][-3:] == ["rm", "-f", IN_CONTAINER]


def test_a_server_at_work_for_others_is_not_measured(tmp_path: Path, server: ThreadingHTTPServer) -> None:
    server.busy = True  # type: ignore[attr-defined]
    module = Module(tmp_path, server.server_address[1])
    with pytest.raises(BenchError, match=r"/flush_cache answered 400 \(there are running requests\), wanted 200"):
        measured(module)
    assert module.environments == []


def test_one_that_a_cut_run_has_left_at_work(tmp_path: Path, server: ThreadingHTTPServer) -> None:
    server.busy = True  # type: ignore[attr-defined]
    module = Module(tmp_path, server.server_address[1])
    module.left = "4711                python3 -m sglang.bench_serving --backend sglang-oai-chat\n"
    with pytest.raises(BenchError, match=r"is still at work \(pid 4711\): wait for it, or end it with `kill 4711` on"):
        measured(module)


def test_a_container_that_does_not_run(tmp_path: Path) -> None:
    module = Module(tmp_path, 1)
    module.running = False
    with pytest.raises(BenchError, match=r"^instance 0: its container does not run: run playbooks/deploy.yml"):
        measured(module)


def test_an_operator_s_own_text(tmp_path: Path, server: ThreadingHTTPServer) -> None:
    path = tmp_path / "sharegpt.json"
    path.write_text("[]")
    module = Module(tmp_path, server.server_address[1], dataset=str(path))
    [record] = measured(module)
    assert module.copied == "[]"
    assert record["corpus"]["name"] == "sharegpt.json"
    for text in ("{}", "[", None):
        path.write_text(text) if text else path.unlink()
        with pytest.raises(BenchError, match=f"^benchmark_dataset {path} (is no list of conversations|cannot be read)"):
            measured(module)
