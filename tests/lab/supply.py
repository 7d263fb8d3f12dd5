# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the supply share: nodes of their own, the hub, and a name in the registry that they may move."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleetlab.hub import Hub
from fleetlab.settings import AUTO, HUB_CDN_IP, HUB_IP, PACKAGES_IP, REGISTRY_FOR_HOST, REGISTRY_IP, Node
from fleetlab.shell import LabError
from tests.lab.support import BIN, ROOT, Fleet, Play, Ran, environment, run, start_nodes

OWNER = "supply"
NODES = tuple(
    Node(f"sup-0{number}", system, "h200:8", AUTO, ("gpu_nodes", "nvidia"), OWNER)
    for number, system in ((1, "trixie"), (2, "bookworm"), (3, "trixie"))
)
#: No route out, and neither registry nor hub in reach.
GAP_NODES = (Node("gap-01", "trixie", "h200:8", AUTO, ("gpu_nodes", "nvidia"), OWNER),)
HOSTS = tuple(node.name for node in NODES)
MODEL = "MiniMaxAI/MiniMax-M2.7"
TAG = "v0.5.10.post1"
#: A name of the tests' own, so that a tag can move while others use the lab.
IMAGE = f"supply/sglang:{TAG}"
SOURCE = "lmsysorg/sglang"
WEIGHTS = "benchmarks/weights.yml"
WEIGHTS_DIR = "/var/lib/sglang-fleet/huggingface"
KEY, TOKEN = "sentinel-supply-key-0123456789", "hf_sentinelsupplytoken0123456789"
_NO_LOGIN = "/nonexistent"


class Registry:
    """The lab's registry, over its API."""

    address = f"http://{REGISTRY_FOR_HOST}/v2"
    _types = "application/vnd.docker.distribution.manifest.v2+json"

    def manifest(self, repository: str, reference: str) -> bytes:
        raw: bytes = self._ask("GET", f"{repository}/manifests/{reference}")
        return raw

    def tag(self, image: str, tag: str) -> None:
        """Have IMAGE name what lmsysorg/sglang:TAG does."""
        repository, name = image.rsplit(":", 1)
        raw = self.manifest(SOURCE, tag)
        manifest = json.loads(raw)
        for part in (manifest["config"], *manifest["layers"]):
            self._ask("POST", f"{repository}/blobs/uploads/?mount={part['digest']}&from={SOURCE}", b"")
        self._ask("PUT", f"{repository}/manifests/{name}", raw)

    def _ask(self, method: str, path: str, data: bytes | None = None) -> Any:
        headers = {"Accept": self._types, **({"Content-Type": self._types} if method == "PUT" else {})}
        request = urllib.request.Request(f"{self.address}/{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            pytest.fail(f"the registry answers {error.code} to {method} {path}: {error.read()!r}", pytrace=False)


@dataclass(frozen=True)
class Supply(Fleet):
    """A fleet with a hub and a registry."""

    hub: Hub
    registry: Registry

    @property
    def lock_file(self) -> Path:
        return self.inventory / "fleet.lock.yml"

    def lock(self) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load(self.lock_file.read_text())
        return found

    def files(self) -> dict[str, dict[str, Any]]:
        """path → size, sha256, of the locked weights."""
        return {file["path"]: file for file in self.lock()["models"][MODEL]["files"]}

    def total(self) -> int:
        return sum(file["size"] for file in self.files().values())

    def command(self, *words: str | Path) -> Ran:
        """`sglang-fleet WORDS…`, as somebody who is logged in nowhere."""
        return run("sglang-fleet", *words, env={"HF_HOME": _NO_LOGIN, "DOCKER_CONFIG": _NO_LOGIN})

    @property
    def artifacts(self) -> Path:
        """What the controller wrote and said: all output and the events of the runs, for the hunt for secrets."""
        folder = self.scratch / "artifacts"
        folder.mkdir(exist_ok=True)
        return folder

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of all runs so far."""
        file = self.artifacts / "events.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def play(self, playbook: str, limit: str, *words: str, values: Mapping[str, Any] | None = None) -> Play:
        """A playbook on some of the nodes; what it says is kept. values: of every host, such as fleet_weights_dir."""
        env = {"SGLANG_FLEET_EVENTS": str(self.artifacts / "events.jsonl")}
        play = self.playbook(playbook, "-l", limit, *words, extra=values, env=env)
        with (self.artifacts / "output.log").open("a") as log:
            log.write(play.out)
        return play

    def weights(self, limit: str, *words: str, values: Mapping[str, Any] | None = None) -> Play:
        """The supply alone, without a server."""
        return self.play(WEIGHTS, limit, *words, values=values)

    def deploy(self, limit: str, *words: str, values: Mapping[str, Any] | None = None) -> Play:
        return self.play("deploy.yml", limit, *words, values=values)

    @contextlib.contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """`ansible-playbook WORDS…` in the background; killed at the end with all of its children."""
        events = str(self.artifacts / "events.jsonl")
        env = environment({"ANSIBLE_INVENTORY": str(self.inventory), "SGLANG_FLEET_EVENTS": events})
        with (self.artifacts / "background.log").open("wb") as output:
            play = subprocess.Popen(
                [str(BIN / "ansible-playbook"), *words],
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield play
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(play.pid, signal.SIGKILL)
            play.wait()

    def shown(self) -> str:
        """What the last run in the background has printed."""
        return (self.artifacts / "background.log").read_text()

    def snapshot(self, folder: str = WEIGHTS_DIR) -> str:
        """Where the files of the locked revision are on a node."""
        revision = self.lock()["models"][MODEL]["revision"]
        return f"{folder}/hub/models--{MODEL.replace('/', '--')}/snapshots/{revision}"

    def sums(self, host: str, folder: str = WEIGHTS_DIR) -> dict[str, str]:
        """path → SHA-256 of each file on the node, as coreutils say."""
        listed = self.sh(host, f"cd {self.snapshot(folder)} && find -L . -type f -exec sha256sum {{}} +", check=False)
        return {path.removeprefix("./"): digest for digest, path in re.findall(r"^([0-9a-f]{64})  (.+)$", listed, re.M)}

    def verified(self, host: str, folder: str = WEIGHTS_DIR) -> None:
        """Every file of the lock is there, with its content; nothing asked of the code under test."""
        found = self.sums(host, folder)
        wrong = [path for path, file in self.files().items() if found.get(path) != file["sha256"]]
        assert not wrong, f"{host}: not as the lock has them: {wrong}"

    def received(self, host: str) -> int:
        """Bytes that came in over the node's network card so far."""
        return int(self.sh(host, "cat /sys/class/net/eth0/statistics/rx_bytes"))

    def damage(self, host: str, path: str, script: str) -> None:
        """Change a file of the weights in place, as a bad disk does: $f is the blob."""
        self.sh(host, f"set -e; f=$(readlink -f {shlex.quote(f'{self.snapshot()}/{path}')})\n{script}")


def flip(offset: int) -> str:
    """One bit of the byte there."""
    return (
        f'python3 - "$f" <<"END"\nimport sys\nwith open(sys.argv[1], "r+b") as file:\n    file.seek({offset})\n'
        f"    byte = file.read(1)[0]\n    file.seek({offset})\n    file.write(bytes([byte ^ 1]))\nEND\n"
    )


def counted_table(supply: Supply, counted: Mapping[str, Any], received: Mapping[str, int]) -> str:
    """What the hub served to whom, and what each node's network card took in."""
    names = {node.ip: name for name, node in supply.nodes.items()}
    total = supply.total()
    lines = [f"weights of {MODEL}: {total:,} bytes, verified on {len(received)} nodes"]
    lines.append(f"  the hub served {counted['bytes']:,} bytes ({counted['bytes'] / total:.3f} times the weights)")
    lines += [f"    to {names.get(ip, ip)}: {count:,}" for ip, count in counted["by_client"].items()]
    lines += [f"  {host} received {count:,} over its network card" for host, count in received.items()]
    return "\n".join(lines)


def supplied_by(hub: Hub, fleet: Fleet) -> Supply:
    """Nodes that reach everything, the hub in its first state, the tag where it was."""
    hub.set(token=TOKEN)
    registry = Registry()
    registry.tag(IMAGE, TAG)
    variables = fleet.inventory / "group_vars" / "all"
    variables.mkdir(parents=True)
    settings = {
        "fleet_model": "M2.7",
        "fleet_image": IMAGE,
        "fleet_address": "{{ ansible_host }}",
        "fleet_registry_mirrors": [f"http://{REGISTRY_IP}:5000"],
        "fleet_hf_endpoint": hub.endpoint,
    }
    (variables / "settings.yml").write_text(yaml.safe_dump(settings))
    secrets = variables / "secrets.yml"
    secrets.touch(0o600)
    secrets.write_text(yaml.safe_dump({"fleet_api_key": KEY, "fleet_hf_token": TOKEN}))
    return Supply(fleet.nodes, fleet.inventory, fleet.scratch, hub, registry)


def gap(supply: Supply, inventory: Path, scratch: Path) -> Supply:
    """Fresh nodes that reach this machine and one another, and nothing else."""
    try:
        nodes = start_nodes(GAP_NODES, inventory)
    except LabError as error:
        pytest.fail(f"the lab does not start: {error}", pytrace=False)
    (inventory / "group_vars").symlink_to(supply.inventory / "group_vars")
    (inventory / "fleet.lock.yml").write_text(supply.lock_file.read_text())
    apart = replace(supply, nodes=nodes, inventory=inventory, scratch=scratch)
    for host in apart.nodes:
        apart.sh(host, "ip route del default")
        unreachable(apart, host, REGISTRY_IP, HUB_IP, HUB_CDN_IP, PACKAGES_IP)
    return apart


def unreachable(fleet: Fleet, host: str, *addresses: str) -> None:
    """From this node nobody answers there, as when a service is down."""
    fleet.sh(host, "\n".join(f"iptables -I OUTPUT -d {ip} -j REJECT" for ip in addresses))


def reachable(fleet: Fleet, host: str, *addresses: str) -> None:
    fleet.sh(host, "\n".join(f"iptables -D OUTPUT -d {ip} -j REJECT" for ip in addresses))
