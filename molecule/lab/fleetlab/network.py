"""The lab's network and its registry."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import Any

from .roots import registry_image
from .settings import GATEWAY, LABEL, NETWORK, REGISTRY, REGISTRY_FOR_HOST, REGISTRY_IP, SUBNET, labels
from .shell import LabError, cache_dir, docker, locked, step, wait_for


def inspect(kind: str, name: str) -> dict[str, Any] | None:
    """`docker KIND inspect NAME`, or None when there is no such thing."""
    answer = docker(kind, "inspect", name, check=False)
    if answer.returncode != 0:
        return None
    found: list[dict[str, Any]] = json.loads(answer.stdout)
    return found[0]


def ensure_network() -> None:
    """The bridge network on which the nodes and the registry live."""
    with locked("network"):
        there = inspect("network", NETWORK)
        if there is None:
            options = ["--driver=bridge", f"--subnet={SUBNET}", f"--gateway={GATEWAY}", *labels("lab")]
            made = docker("network", "create", *options, NETWORK, check=False)
            if made.returncode != 0:
                raise LabError(
                    f"the network {SUBNET} could not be made ({made.stderr.strip()}). If another Docker network or "
                    "route uses these addresses, remove it: docker network ls, ip route"
                )
        elif [part.get("Subnet") for part in there["IPAM"]["Config"]] != [SUBNET]:
            raise LabError(f"the network {NETWORK} has other addresses than {SUBNET}. Remove it: lab.py down")


def registry_answers() -> bool:
    """Whether the registry serves its API on this machine's loopback."""
    try:
        with urllib.request.urlopen(f"http://{REGISTRY_FOR_HOST}/v2/", timeout=2) as answer:
            return int(answer.status) == 200
    except (urllib.error.URLError, OSError, ValueError):
        return False


def ensure_registry() -> str:
    """The registry, running; its address for this machine. Its data stays in the cache over `down`."""
    with locked("registry"):
        image = registry_image()
        there = inspect("container", REGISTRY)
        if there is not None and (there["Config"]["Image"] != image or there["State"]["Status"] != "running"):
            docker("rm", "--force", "--volumes", REGISTRY)
            there = None
        if there is None:
            with step("start the registry") as done:
                _start(image)
                done(f"{REGISTRY_FOR_HOST} here, {REGISTRY_IP}:5000 for nodes")
        remedy = f"see: docker logs {REGISTRY}"
        wait_for("the registry", registry_answers, seconds=30, remedy=remedy, pause=0.1)
    return REGISTRY_FOR_HOST


def _start(image: str) -> None:
    options = [
        f"--name={REGISTRY}",
        f"--network={NETWORK}",
        f"--ip={REGISTRY_IP}",
        f"--publish={REGISTRY_FOR_HOST}:5000",  # loopback alone
        f"--volume={cache_dir('registry')}:/var/lib/registry",
        f"--user={os.getuid()}:{os.getgid()}",  # so that the cache stays this user's own
        "--restart=unless-stopped",
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        *labels("lab"),
    ]
    started = docker("run", "--detach", *options, image, check=False)
    if started.returncode != 0:
        docker("rm", "--force", REGISTRY, check=False)
        raise LabError(
            f"the registry did not start ({started.stderr.strip().splitlines()[-1]}). "
            f"If {REGISTRY_FOR_HOST} or {REGISTRY_IP} is taken, free it"
        )


def lab_things(kind: str, owner: str = "") -> list[str]:
    """Names of the lab's containers, volumes or networks, all of them or one owner's."""
    words = {"container": ["ps", "--all"], "volume": ["volume", "ls"], "network": ["network", "ls"]}[kind]
    field = "{{.Names}}" if kind == "container" else "{{.Name}}"
    label = f"{LABEL}.owner={owner}" if owner else f"{LABEL}=1"
    return docker(*words, f"--filter=label={label}", f"--format={field}").stdout.split()
