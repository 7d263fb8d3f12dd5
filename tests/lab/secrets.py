# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks for secrets where none may be: on nodes, on this machine, in what a program wrote.

    found = on_node(fleet, "nvidia-01", {"token": TOKEN, "key": KEY})
    found += on_controller({"token": TOKEN, "key": KEY}, [artifacts, Path.home() / ".ansible"], {"deploy": play.out})
    assert found == []

Each finding says where and which secret, by its name; the secret itself is in no message. A secret is found as it is,
as in a URL, and inside base64 (a header's user and password). A place that is looked at is of the node's own making:
journal, files, `docker inspect` of every container, their logs, units, command lines, environments, images' histories.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.lab import secret_scan
from tests.lab.support import Fleet

#: Where programs on a node leave what they were told.
NODE_PATHS = (
    *("/etc", "/home", "/opt", "/root", "/run", "/srv", "/tmp", "/usr/local", "/usr/lib/systemd"),
    *("/var/backups", "/var/cache", "/var/lib/sglang-fleet", "/var/lib/systemd", "/var/lib/docker/containers"),
    *("/var/lib/docker/volumes", "/var/log", "/var/spool", "/var/tmp"),
)
#: The files of a node that are there to hold them, for root alone.
NODE_ALLOWED = ("/etc/sglang/0.yaml", "/etc/sglang/1.yaml", "/etc/sglang/hf_token")


def on_node(fleet: Fleet, host: str, secrets: Mapping[str, str], allowed: Iterable[str] = NODE_ALLOWED) -> list[str]:
    """Every place of a lab node that holds one of the secrets (name → text), as `nvidia-01: /etc/x (0644 0:0) holds token`.

    allowed: files that may, as long as they are root's and 0600.
    """
    found = _looked_through(
        ["docker", "exec", "--interactive", fleet.nodes[host].container, "python3", "-I", "-"],
        {"texts": dict(secrets), "paths": NODE_PATHS, "allowed": list(allowed), "commands": True, "processes": True},
    )
    # A look at nothing finds nothing.
    for place in ("/etc", "/var/lib/sglang-fleet", "journal", "docker ps", "/proc/*/cmdline", "/proc/*/environ"):
        assert found["looked"].get(place), f"{host}: {place} was not looked at: {found['looked']}"
    return [f"{host}: {place}" for place in found["found"]]


def on_nodes(fleet: Fleet, hosts: Iterable[str], secrets: Mapping[str, str]) -> list[str]:
    return [place for host in hosts for place in on_node(fleet, host, secrets)]


def on_controller(
    secrets: Mapping[str, str],
    paths: Iterable[Path] = (),
    texts: Mapping[str, str] | None = None,
    allowed: Iterable[Path] = (),
) -> list[str]:
    """Every file below the paths, text (name → what a program wrote) and process of this machine that holds a secret.

    allowed: files that the secrets were given in, as long as they are this user's and 0600.
    """
    wanted = list(paths)
    missing = [str(path) for path in wanted if not path.exists()]
    assert not missing, f"not there to be looked at: {', '.join(missing)}"
    found: list[str] = _looked_through(
        [sys.executable, "-I", "-"],
        {
            "texts": dict(secrets),
            "paths": [str(path) for path in wanted],
            "allowed": [str(path) for path in allowed],
            "commands": False,
            "processes": True,
        },
    )["found"]
    for name, text in (texts or {}).items():
        held = [
            secret
            for secret, value in secrets.items()
            if any(form in text.encode() for form in secret_scan.forms(value))
        ]
        found += [f"{name} shows {secret}" for secret in held]
    return [f"controller: {place}" for place in found]


def _looked_through(command: list[str], job: Mapping[str, Any]) -> dict[str, Any]:
    source = f"{inspect.getsource(secret_scan)}\nmain(json.loads({json.dumps(dict(job))!r}))\n"
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}: {_without(done.stderr, job)}"
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _without(text: str, job: Mapping[str, Any]) -> str:
    for name, secret in job["texts"].items():
        text = text.replace(secret, f"({name})")
    return text[-2000:]
