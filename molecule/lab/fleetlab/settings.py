"""Names and addresses of the lab, in one place."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .shell import LAB_DIR, LabError

NETWORK = "sglang-fleet-lab"
SUBNET = "172.30.0.0/24"
GATEWAY = "172.30.0.1"
FIRST_SCENARIO_HOST = 100  # 172.30.0.100 and up belong to Molecule; the demo's nodes live below
LAST_SCENARIO_HOST = 250

REGISTRY = "sglang-fleet-registry"
REGISTRY_IP = "172.30.0.2"
REGISTRY_FOR_NODES = f"{REGISTRY_IP}:5000"
# Docker trusts a registry on 127.0.0.0/8 without TLS, so the outer engine needs no setting of its own.
REGISTRY_FOR_HOST = "127.0.0.1:5030"

PACKAGES = "sglang-fleet-packages"
PACKAGES_IP = "172.30.0.3"
PACKAGES_PORT = 8080

HUB = "sglang-fleet-hub"
HUB_IP = "172.30.0.4"
HUB_PORT = 8090
# Where its large files are: another host, as with the real one, for clients send no token there.
HUB_CDN_IP = "172.30.0.5"
HUB_CDN_PORT = 8091

AUTO = "auto"  # an address to be chosen

LABEL = "sglang-fleet.lab"
# The images carry no label: a container inherits its image's, and a stranger's container must not become ours.
REPOSITORY = "sglang-fleet-lab"
SYSTEMS = ("bookworm", "trixie")


@dataclass(frozen=True)
class Node:
    """A node to run: `gpu` is KIND:COUNT[,option…] as node/fakegpu takes it, or "none"."""

    name: str
    os: str
    gpu: str
    ip: str
    groups: tuple[str, ...] = ()
    owner: str = "demo"

    @property
    def container(self) -> str:
        """The container's name: short for the demo, with the scenario's name for Molecule."""
        return f"sglang-fleet-{self.name}" if self.owner == "demo" else f"sglang-fleet-{self.owner}-{self.name}"


def labels(owner: str) -> list[str]:
    """Docker options that mark a thing as the lab's, so that `down` removes it and nothing else."""
    return ["--label", f"{LABEL}=1", "--label", f"{LABEL}.owner={owner}"]


def demo_nodes() -> list[Node]:
    """The nodes of nodes.json."""
    path = LAB_DIR / "nodes.json"
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_text())
        return [Node(row["name"], row["os"], row["gpu"], row["ip"], tuple(row["groups"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabError(f"{path} is no list of nodes with name, os, gpu, ip and groups: {error!r}") from error
