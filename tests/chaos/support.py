# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet behind a gateway that rolls under load, and what breaks it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.lab.stream_load import Load
from tests.lab.support import BIN, ROOT, Fleet, Play, environment, recap_of, run

OLD, NEW = "0.5.7", "0.5.10.post1"
MODEL = "MiniMaxAI/MiniMax-M2.7"
GATEWAY = "gw-01"
#: The last one serves two instances.
HOSTS = ("roll-01", "roll-02", "roll-03")
INSTANCES = {"roll-01": ("0",), "roll-02": ("0",), "roll-03": ("0", "1")}
WORKER_KEY, FRONT_KEY = "worker-key-abcdef0123456789", "front-key-abcdef0123456789"
EVERYBODY = {
    "fleet_address": "{{ ansible_host }}",
    "fleet_api_key": WORKER_KEY,
    "fleet_gateway_api_key": FRONT_KEY,
}
WISHES: dict[str, Any] = {
    "fleet_model": "M2.7",
    "fleet_layout": "1x4",
    "fleet_reasoning_parser": True,
    "fleet_tool_call_parser": True,
    "fleet_sglang_version": OLD,
}
SOURCE = "srt/entrypoints/http_server.py"
CRASHES = [
    {
        "name": "crashes-at-start",
        "file": SOURCE,
        "action": "replace",
        "old": "    # Launch subprocesses\n",
        "new": '    raise RuntimeError("this image crashes")\n',
        "why": "an image that does not start",
        "source": "tests/chaos",
    }
]
#: Answers /health as sglang#6624 has it, and forgets every request after the first, which is the server's own.
HANGS = [
    {
        "name": "health-says-200",
        "file": SOURCE,
        "action": "replace",
        "old": "        not envs.SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION.get()\n        and request.url.path",
        "new": "        request.url.path",
        "why": "an image whose /health generates nothing",
        "source": "tests/chaos",
    },
    {
        "name": "generation-hangs",
        "file": "srt/managers/scheduler.py",
        "action": "replace",
        "old": "        # Route: normal request / session request / session-not-found\n",
        "new": "        self.chaos_asked = getattr(self, 'chaos_asked', 0) + 1\n"
        "        if self.chaos_asked > 1:\n            return\n",
        "why": "an image that hangs on generation",
        "source": "tests/chaos",
    },
]


@dataclass(frozen=True)
class Host:
    """What a host is in the end. versions: SGLang's, of each server that runs. inside: those in the gateway's traffic."""

    versions: tuple[str, ...]
    inside: tuple[str, ...]


def whole(host: str, version: str) -> Host:
    """All servers of the host at this version, and in the traffic."""
    return Host((version,) * len(INSTANCES[host]), INSTANCES[host])


@dataclass(frozen=True)
class Rolled(Play):
    """events: the lines of the file of events."""

    events: Sequence[Mapping[str, Any]] = ()

    def stages(self, host: str) -> list[str]:
        """The host's stages, instances' and its own, in their order, each once when it follows itself."""
        found = [event["stage"] for event in self.events if event["event"] == "stage" and event["host"] == host]
        return [stage for number, stage in enumerate(found) if not number or found[number - 1] != stage]

    def gates(self, host: str, *, passed: bool) -> set[str]:
        return {
            event["gate"]
            for event in self.events
            if event["event"] == "gate" and event["host"] == host and event["passed"] == passed
        }


@dataclass
class Running:
    """A program in the background."""

    process: subprocess.Popen[bytes]
    log: Path
    events: Path

    def until(self, host: str, stage: str, seconds: int = 400) -> None:
        """Wait for the host's stage. The program must not end before."""
        self.until_true(
            f"{host} {stage}",
            lambda: any(
                event.get("stage") == stage and event.get("host") == host for event in read_events(self.events)
            ),
            seconds,
        )

    def until_true(self, what: str, ask: Callable[[], bool], seconds: int = 400) -> None:
        for _tries in range(seconds * 2):
            if ask():
                return
            assert self.process.poll() is None, f"it ended before: {what}\n{self.log.read_text()[-6000:]}"
            time.sleep(0.5)
        raise AssertionError(f"not in {seconds} s: {what}\n{self.log.read_text()[-6000:]}")

    def kill(self) -> None:
        """SIGKILL to the program alone, as the kernel does where memory runs out."""
        self.process.kill()
        self.process.wait()

    def ended(self) -> Rolled:
        rc = self.process.wait(900)
        out = self.log.read_text()
        return Rolled(("…",), rc, out, recap_of(out), read_events(self.events))


def read_events(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file of events."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


@dataclass(frozen=True)
class Rolling(Fleet):
    """GPU nodes behind a gateway."""

    def wish(self, **values: Any) -> None:
        """What the inventory says of the GPU nodes, on top of how the fleet was deployed."""
        folder = self.inventory / "group_vars"
        folder.mkdir(exist_ok=True)
        (folder / "all.yml").write_text(yaml.safe_dump(EVERYBODY))
        (folder / "gpu_nodes.yml").write_text(yaml.safe_dump({**WISHES, **values}))
        own = self.inventory / "host_vars"
        own.mkdir(exist_ok=True)
        (own / "roll-03.yml").write_text(yaml.safe_dump({"fleet_layout": "2x4"}))

    def load(self) -> Load:
        return Load(self.endpoint(GATEWAY, 8000), MODEL, FRONT_KEY)

    def rollout(self, *words: str) -> Rolled:
        """playbooks/rollout.yml to its end."""
        with self.running("ansible-playbook", "playbooks/rollout.yml", *words) as play:
            return play.ended()

    @contextlib.contextmanager
    def running(self, program: str, *words: str) -> Iterator[Running]:
        """A program in the background; what is left of it is killed at the end, with its children."""
        events, log = self.scratch / "events.jsonl", self.scratch / "output.log"
        events.unlink(missing_ok=True)
        env = environment({"ANSIBLE_INVENTORY": str(self.inventory), "SGLANG_FLEET_EVENTS": str(events)})
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(BIN / program), *words],
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield Running(process, log, events)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def fleet_command(self, *words: str) -> contextlib.AbstractContextManager[Running]:
        """`sglang-fleet WORDS…`, whose events go to the same file."""
        return self.running("sglang-fleet", *words, "--events", str(self.scratch / "events.jsonl"))

    def workers(self) -> list[dict[str, Any]]:
        """The gateway's servers, as its own module tells them."""
        ran = run(
            "ansible", GATEWAY, "--become", "-m", "sglang.fleet.gateway_worker",
            env={"ANSIBLE_INVENTORY": str(self.inventory), "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
                 "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.oneline"},
        )  # fmt: skip
        ran.succeeded()
        found: list[dict[str, Any]] = json.loads(ran.out[ran.out.index("{") :])["workers"]
        return found

    def healthy(self) -> list[dict[str, Any]]:
        """The gateway's servers that get requests; none where the gateway does not answer."""
        try:
            return [one for one in self.workers() if one["healthy"]]
        except AssertionError:
            return []

    def fleet_of_others(self, dead: str) -> dict[str, Host]:
        """What each host but one is now."""
        return self.fleet(tuple(host for host in HOSTS if host != dead))

    def reached(self, host: str) -> bool:
        """Whether Ansible reaches it."""
        return self.ansible(host, "-m", "ansible.builtin.ping").rc == 0

    def fleet(self, hosts: Sequence[str] = HOSTS) -> dict[str, Host]:
        """What each host is now."""
        inside = [(one["host"], one["instance"]) for one in self.workers() if one["registered"] and one["healthy"]]
        return {
            host: Host(self.versions(host), tuple(name for owner, name in inside if owner == host)) for host in hosts
        }

    def versions(self, host: str) -> tuple[str, ...]:
        """SGLang's version in each server that runs on the host, by what is in its container."""
        out = self.sh(
            host,
            "for name in $(docker ps --filter name=sglang- --format '{{.Names}}' | sort); do\n"
            "docker inspect --format '{{index .Config.Labels \"sglang.fleet.reference\"}}' $name; done",
        )
        return tuple(line.rpartition(":v")[2].partition("-")[0] for line in out.split())

    def starts(self) -> dict[str, str]:
        """What changes on a host when one of its servers is started anew."""
        return {host: self.sh(host, "docker inspect --format '{{.Id}}' $(docker ps -q) | sort") for host in HOSTS}
