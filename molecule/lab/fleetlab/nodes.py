"""Nodes: making, waiting for, and removing them."""

from __future__ import annotations

import functools
import importlib.util
import json
import re
import socket
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from .keys import hand_in, private_key
from .network import inspect, lab_things
from .roots import node_image
from .settings import (
    AUTO,
    FIRST_SCENARIO_HOST,
    LABEL,
    LAST_SCENARIO_HOST,
    NETWORK,
    REGISTRY_FOR_NODES,
    SUBNET,
    SYSTEMS,
    Node,
    labels,
)
from .shell import LAB_DIR, LabError, docker, locked, wait_for

CAP_SYS_RESOURCE = 24
AS_IT_WAS = "as it was"
STATE_VOLUMES = ("/var/lib/docker", "/var/lib/containerd")


def check(node: Node) -> None:
    """Refuse a node that cannot be made, before anything is made."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,40}", node.name):
        raise LabError(f"the name {node.name!r} is no host name: wanted lower-case letters, digits and hyphens")
    if node.os not in SYSTEMS:
        raise LabError(f"{node.name}: unknown system {node.os!r}; known: {', '.join(SYSTEMS)}")
    prefix = SUBNET.rsplit(".", 1)[0] + "."
    if node.ip != AUTO and (
        not node.ip.startswith(prefix)
        or not node.ip[len(prefix) :].isdigit()
        or not 3 <= int(node.ip[len(prefix) :]) <= 254
    ):
        raise LabError(f"{node.name}: the address {node.ip} is not one of {prefix}3 to {prefix}254")
    try:
        _gpu_spec().parse(node.gpu)
    except ValueError as error:
        raise LabError(f"{node.name}: {error}") from error


def _gpu_spec() -> ModuleType:
    """The module with which nodes read their GPU argument, so that both sides agree on what is legal."""
    loader = importlib.util.spec_from_file_location("fakegpu_spec", LAB_DIR / "node" / "fakegpu" / "spec.py")
    if loader is None or loader.loader is None:
        raise LabError(f"{LAB_DIR / 'node'} is not whole; restore it from git")
    module = importlib.util.module_from_spec(loader)
    loader.loader.exec_module(module)
    return module


def node_up(node: Node) -> tuple[Node, str]:
    """Have the node run as asked for: the node with its address, and "made", "started" or "as it was".

    With the address "auto" a node keeps the one it has, or gets the lowest free one of the scenarios' range.
    """
    check(node)
    key = private_key()
    image = node_image(node.os)
    with locked(f"node-{node.container}"):
        there, made = inspect("container", node.container), "made"
        if there is not None and node.ip == AUTO:
            node = replace(node, ip=spec(there)[-1])
        if there is not None and (
            spec(there) != _wanted(node, image) or there["State"]["Status"] in ("created", "dead", "removing")
        ):
            _remove(node.container)
            there, made = None, "made anew: its image or its description changed"
        done = AS_IT_WAS
        if there is None:
            node, done = _make(node, image, key), made
        else:
            hand_in(key, node)  # the cache, and the key with it, may be newer than the node
            if there["State"]["Status"] != "running":
                docker("start", node.container)
                done = "started"
        wait_for(
            f"the node {node.name}",
            functools.partial(_ready, node),
            seconds=90,
            remedy=f"see: docker logs {node.container}; docker exec {node.container} journalctl -b",
        )
    return node, done


def _wanted(node: Node, image: str) -> list[str]:
    return [image, node.os, node.gpu, node.ip]


def spec(there: dict[str, Any]) -> list[str]:
    """What a node's container was made from: image, system, GPU, address."""
    found: list[str] = json.loads(there["Config"]["Labels"][f"{LABEL}.spec"])
    return found


def _make(node: Node, image: str, key: Path) -> Node:
    """Create the container, hand it the key, start it. A node left at "created" by an interruption is made anew."""
    try:
        if node.ip == AUTO:
            with locked("addresses"):  # a created container holds its address
                node = replace(node, ip=free_ip())
                _create(node, image)
        else:
            _create(node, image)
        hand_in(key, node)
        docker("start", node.container)
    except LabError:
        _remove(node.container)
        raise
    return node


def _create(node: Node, image: str) -> None:
    options = [
        f"--name={node.container}",
        f"--hostname={node.name}",
        f"--network={NETWORK}",
        f"--ip={node.ip}",
        "--restart=unless-stopped",  # a reboot ends PID 1; Docker starts it again
        "--stop-timeout=60",
        "--cgroupns=private",
        "--cap-add=ALL",
        "--security-opt=seccomp=unconfined",
        "--security-opt=apparmor=unconfined",
        "--tmpfs=/run",
        "--tmpfs=/run/lock",
        f"--env=NODE_GPU={node.gpu}",
        f"--env=LAB_REGISTRY={REGISTRY_FOR_NODES}",
        *labels(node.owner),
        f"--label={LABEL}.node={node.name}",
        f"--label={LABEL}.spec={json.dumps(_wanted(node, image))}",
    ]
    if not _may_raise_limits():
        options.append("--cap-drop=SYS_RESOURCE")
    for path in STATE_VOLUMES:
        volume = f"{node.container}{path.replace('/', '-')}"
        docker("volume", "create", *labels(node.owner), volume)
        options.append(f"--volume={volume}:{path}")
    docker("create", *options, image)


def _may_raise_limits() -> bool:
    """Whether this machine grants CAP_SYS_RESOURCE at all; some virtual machines and CI runners do not."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            return bool(int(line.split()[1], 16) >> CAP_SYS_RESOURCE & 1)
    return True


def _ready(node: Node) -> bool:
    """ssh answers and, where the node has an engine that is meant to run, so does it."""
    try:
        with socket.create_connection((node.ip, 22), timeout=1) as connection:
            connection.settimeout(2)
            if not connection.recv(4).startswith(b"SSH"):
                return False
    except OSError:
        return False
    script = (
        "[ ! -e /run/fakegpu.failed ] || { tail -n 1 /run/fakegpu.log; exit 3; }; [ ! -e /run/nologin ] || exit 1; "
        "systemctl is-active -q docker || ! systemctl is-enabled -q docker 2> /dev/null"
    )
    answer = docker("exec", node.container, "sh", "-c", script, check=False)
    if answer.returncode == 3:
        raise LabError(f"{node.name}: the GPUs {node.gpu} could not be simulated: {answer.stdout.strip()}")
    return answer.returncode == 0


def _remove(container: str) -> None:
    """Remove a node with its volumes."""
    docker("rm", "--force", "--volumes", container, check=False)
    names = {f"{container}{path.replace('/', '-')}" for path in STATE_VOLUMES}
    left = names & set(lab_things("volume"))
    if left:
        docker("volume", "rm", "--force", *sorted(left))


def node_down(name: str, owner: str) -> bool:
    """Remove a node; False when there was none."""
    node = Node(name, "", "", "", owner=owner)
    with locked(f"node-{node.container}"):
        there = inspect("container", node.container)
        if there is not None and f"{LABEL}.node" not in there["Config"]["Labels"]:
            raise LabError(f"the container {node.container} is not one of the lab's nodes; it stays")
        _remove(node.container)
    return there is not None


def free_ip() -> str:
    """The lowest address of the scenarios' range that no node has, running or not. Call it under a lock.

    One question to Docker: between two, another run may remove a node, which the second would then not find. What is
    not a node (registry, packages) has an address below the range.
    """
    specs = docker("ps", "--all", f"--filter=label={LABEL}.node", f'--format={{{{.Label "{LABEL}.spec"}}}}').stdout
    taken = {json.loads(line)[-1] for line in specs.splitlines()}
    prefix = SUBNET.rsplit(".", 1)[0]
    for host in range(FIRST_SCENARIO_HOST, LAST_SCENARIO_HOST + 1):
        if f"{prefix}.{host}" not in taken:
            return f"{prefix}.{host}"
    raise LabError("no address is left for another scenario's node; remove old ones with: lab.py down")


def remove_all(owner: str = "") -> int:
    """Remove what the lab made, all of it or one owner's: containers, volumes, and the network; their number."""
    removed = 0
    containers = lab_things("container", owner)
    if containers:
        docker("rm", "--force", "--volumes", *containers)
        removed += len(containers)
    for kind in ("volume", "network"):
        names = lab_things(kind, owner)
        if names:
            docker(kind, "rm", *names)
            removed += len(names)
    return removed
