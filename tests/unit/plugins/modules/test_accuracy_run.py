# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What accuracy_run does before and after a tool runs. The tool is left to write what the real one wrote."""

from __future__ import annotations

import fcntl
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._accuracy import AccuracyError
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import read_data
from ansible_collections.sglang.fleet.plugins.module_utils._state import digest
from ansible_collections.sglang.fleet.plugins.modules.accuracy_run import Run
from ansible_collections.sglang.fleet.plugins.modules.accuracy_run import read_data as read_rows

KEY = "s3cret-key"
FIXTURES = Path(__file__).parents[1] / "module_utils" / "fixtures" / "accuracy"
BENCHMARKS = read_data()["accuracy_benchmarks"]
MODEL = "MiniMaxAI/MiniMax-M2.7"


class Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        allowed = self.path == "/v1/models" and self.headers["Authorization"] == f"Bearer {KEY}"
        self.send_response(200 if allowed else 401)
        self.end_headers()
        self.wfile.write(json.dumps({"data": [{"id": MODEL}]}).encode() if allowed else b"{}")

    def log_message(self, *_words: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[int]:
    found = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield found.server_address[1]
    found.shutdown()
    thread.join()
    found.server_close()


def applied(image: str, instance: dict[str, Any], reference: str = "lmsysorg/sglang:v1") -> dict[str, Any]:
    """state.json's content with that image's digest."""
    found = {"reference": reference, "id": "sha256:id", "digest": image}
    return {"image": found, "instances": {"0": {"digest": digest(instance, "sha256:id")}}}


class Module:
    """Programs: what the environment's python says, and lm_eval, which ends as told and leaves its results."""

    def __init__(self, port: int, folder: Path) -> None:
        self.folder, self.code, self.said = folder, 0, "done"
        self.calls: list[list[str]] = []
        self.environments: list[dict[str, str]] = []
        for name in ("python", "lm_eval", "ns"):
            (folder / "env/bin").mkdir(parents=True, exist_ok=True)
            (folder / "env/bin" / name).touch(0o755)
        instance = {
            "name": "0",
            "address": "127.0.0.1",
            "port": port,
            "gpus": [0, 1],
            "tp": 2,
            "ep": 1,
            "server_args": {},
        }
        self.params: dict[str, Any] = {
            "plan": {
                "model": "MiniMax-M2.7",
                "model_path": MODEL,
                "gpu": "H200",
                "instances": [instance],
                "image": {"reference": "lmsysorg/sglang:v1", "sglang_version": "1"},
            },
            "environments": {"lm_eval": str(folder / "env")},
            "work_dir": str(folder / "work"),
            "host": "a",
            "node": "a",
            "same_host": True,
            "urls": {},
            "data": {},
            "limit": 0,
            "state": applied("sha256:1", instance),
            "driver": {},
            "api_key": KEY,
            "hf_token": None,
        }

    def run_command(self, words: list[str], environ_update: dict[str, str], cwd: str | None, pass_fds: Any) -> Any:
        self.calls.append(words)
        self.environments.append(environ_update)
        if "-c" in words:
            return 0, "0.4.13\n/env/lm_eval\n", ""
        assert cwd
        assert pass_fds, "the lock goes with the tool"
        if self.code == 0:
            output = Path(cwd) / "output" / "model"
            output.mkdir(parents=True)
            (output / "results_1.json").write_text((FIXTURES / "lm-eval-results.json").read_text())
            (output / "samples_1.jsonl").write_text((FIXTURES / "lm-eval-samples.jsonl").read_text())
        (Path(cwd) / "answers_rank0.db").touch()
        return self.code, "", self.said

    def run(self, name: str = "gsm8k") -> Run:
        return Run(self, self.params["plan"]["instances"][0], {**BENCHMARKS[name], "name": name})  # type: ignore[arg-type]

    def works(self) -> list[Path]:
        """The folders of runs that may go on."""
        return [path for path in (self.folder / "work").glob("*") if path.name not in ("last", "untaken")]


@pytest.fixture
def module(server: int, tmp_path: Path) -> Module:
    return Module(server, tmp_path)


def test_a_run(module: Module) -> None:
    record = module.run().measure()
    assert record["metrics"] == {"pass@1": {"accuracy": 60.0, "correct": 6, "no_answer": 0.0}}
    assert record["image"] == {"reference": "lmsysorg/sglang:v1", "digest": "sha256:1", "sglang_version": "1"}
    assert (record["host"], record["count"], record["tp"], record["questions"]) == ("a", 2, 2, 10)
    assert module.calls[-1][:3] == ["timeout", "--kill-after=30", "28800"]
    assert module.works() == [], "its answers are not taken again"
    assert json.loads((module.folder / "work/last/a-0-gsm8k/record.json").read_text()) == record


def test_the_key_goes_by_the_environment_alone(module: Module) -> None:
    module.said = f"asked with {KEY}"
    module.run().measure()
    assert module.environments[-1]["OPENAI_API_KEY"] == KEY
    assert not [word for words in module.calls for word in words if KEY in word]
    files = [path for path in module.folder.rglob("*") if path.is_file()]
    assert [path for path in files if path.name == "log"]
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_the_caller_s_own_key_is_not_sent(module: Module) -> None:
    run = module.run()
    module.params["api_key"] = ""
    run.tell("import lm_eval")
    assert module.environments[-1]["OPENAI_API_KEY"] == ""


def test_a_run_that_was_cut_goes_on_in_its_folder(module: Module) -> None:
    module.code, module.said = 1, f"first\nConnectionError: {KEY}"
    with pytest.raises(
        AccuracyError, match=r"^it ended with status 1: ConnectionError: \*{8}\. Run it again: it goes on"
    ):
        module.run().measure()
    [folder] = module.works()
    assert (folder / "answers_rank0.db").exists()
    module.code = 0
    module.run().measure()
    assert f"--use_cache={folder}/answers" in module.calls[-1]
    assert module.works() == []


def test_another_image_asks_anew_and_drops_what_was_left(module: Module) -> None:
    module.code = 1
    with pytest.raises(AccuracyError):
        module.run().measure()
    [folder] = module.works()
    module.code, module.params["state"] = 0, applied("sha256:2", module.params["plan"]["instances"][0])
    module.run().measure()
    assert f"--use_cache={folder}/answers" not in module.calls[-1]
    assert module.works() == []


def test_another_benchmark_s_answers_stay(module: Module) -> None:
    """Its name begins with this one's."""
    other = module.folder / "work" / "a-0-gsm8k-short-0123456789ab"
    other.mkdir(parents=True)
    module.run().measure()
    assert module.works() == [other]


def test_a_result_that_nobody_has_taken_is_the_next_run_s(module: Module) -> None:
    """As of a playbook that was cut in a later benchmark, or killed while its module went on."""
    first = module.run().measure()
    asked = len(module.calls)
    assert module.run().measure() == first
    assert all("-c" in words for words in module.calls[asked:]), "no question is asked twice"
    assert module.works() == []

    module.params["state"] = applied("sha256:2", module.params["plan"]["instances"][0])
    module.run().measure()
    assert module.calls[-1][:3] == ["timeout", "--kill-after=30", "28800"], "it was another server's"

    shutil.rmtree(module.folder / "work/untaken/a")  # the role does, once the results have reached it
    module.run().measure()
    assert module.calls[-1][:3] == ["timeout", "--kill-after=30", "28800"]


def test_two_runs_at_once(module: Module) -> None:
    module.code = 1
    with pytest.raises(AccuracyError):
        module.run().measure()
    [folder] = module.works()
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(AccuracyError, match=f"^a run of it is still at work in {folder}: wait for it to end"):
            module.run().measure()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"api_key": "wrong"}, "/v1/models does not answer as it should from here (HTTP Error 401"),
        ({"urls": {"0": "http://127.0.0.1:9"}}, "http://127.0.0.1:9/v1/models does not answer as it should from here"),
        ({"environments": {}}, "bin/python is not there: the environment of lm-eval was not made (role accuracy)"),
    ],
)
def test_what_is_not_there(module: Module, change: dict[str, Any], message: str) -> None:
    module.params.update(change)
    with pytest.raises(AccuracyError) as error:
        module.run().measure()
    assert message in str(error.value)


def test_another_image_is_applied_than_the_plan_s(module: Module) -> None:
    module.params["state"] = applied("sha256:1", module.params["plan"]["instances"][0], "lmsysorg/sglang:v0")
    with pytest.raises(
        AccuracyError, match=r"^it runs lmsysorg/sglang:v0, the plan has lmsysorg/sglang:v1: run playbooks/"
    ):
        module.run().measure()
    assert module.calls == []


def test_another_model_is_served(module: Module) -> None:
    module.params["plan"]["model_path"] = "MiniMaxAI/MiniMax-M2"
    with pytest.raises(AccuracyError, match=f"serves {MODEL}, not MiniMaxAI/MiniMax-M2$"):
        module.run().measure()


def test_nothing_written(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "run_command", lambda words, **_more: (0, "0.4.13 /env" if "-c" in words else "", ""))
    with pytest.raises(AccuracyError, match=r"^lm-eval left no results in "):
        module.run().measure()


def test_a_file_in_the_place_of_a_data_set_of_nemo_skills(module: Module, tmp_path: Path) -> None:
    module.params["data"] = {"aime-2025": str(tmp_path / "rows")}
    with pytest.raises(AccuracyError, match=r"^accuracy_data has a file for aime-2025, which is of nemo-skills"):
        module.run("aime-2025").measure()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON lines"),
        ("", "has no rows"),
        ('{"question": "q", "answer": "#### 1"}\n{"question": "q"}\n', "row 2 has no text answer"),
        ("[1]\n", "row 1 has no text question, answer"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    with pytest.raises(AccuracyError, match=message):
        read_rows(str(path), ["question", "answer"])
