# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `docker login` left on a machine, as the engine's API wants it. The client does this by itself, the API does not."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Mapping
from typing import Any, Callable

from ansible_collections.sglang.fleet.plugins.module_utils._docker import repository_of

#: The name under which logins to Docker Hub are kept.
HUB = "https://index.docker.io/v1/"

#: Runs `docker-credential-HELPER get` with the registry's name on its standard input; None where it has nothing.
Helper = Callable[[str, str], "str | None"]


def credential_helper(name: str, registry: str) -> str | None:
    """What `docker-credential-NAME get` prints, a secret; None where it has nothing or is not there."""
    if re.fullmatch(r"[A-Za-z0-9._-]+", name) is None:  # a name, as no path is
        return None
    try:
        done = subprocess.run(
            [f"docker-credential-{name}", "get"], input=registry, capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout


def registry_of(reference: str) -> str:
    """The registry's name as docker keeps logins for it.

    Examples:
        >>> registry_of("registry:5000/lmsysorg/sglang:v1")
        'registry:5000'
    """
    first, slash, _rest = repository_of(reference).partition("/")
    named = slash and ("." in first or ":" in first or first == "localhost")
    return first if named and first not in ("docker.io", "index.docker.io") else HUB


def _host(key: str) -> str:
    """`https://registry.example/v1/` and `registry.example` are the same login."""
    return key.split("://", 1)[-1].split("/", 1)[0]


def credentials(config: Mapping[str, Any], registry: str, helper: Helper) -> dict[str, str]:
    """User and password, or an identity token; empty where there is no login.

    config: content of ~/.docker/config.json. registry: as `registry_of` gives it.
    """
    helpers = config.get("credHelpers") or {}
    store = helpers.get(registry) or helpers.get(_host(registry)) or config.get("credsStore")
    if store:
        try:
            got = json.loads(helper(str(store), registry) or "{}")
        except ValueError:
            got = {}
        if isinstance(got, dict) and got.get("Secret"):
            if got.get("Username") == "<token>":
                return {"identitytoken": got["Secret"], "serveraddress": registry}
            return {"username": got.get("Username", ""), "password": got["Secret"], "serveraddress": registry}
    for key, entry in (config.get("auths") or {}).items():
        if _host(key) != _host(registry) or not isinstance(entry, Mapping):
            continue
        if entry.get("identitytoken"):
            return {"identitytoken": str(entry["identitytoken"]), "serveraddress": registry}
        try:
            user, colon, password = base64.b64decode(str(entry.get("auth") or "")).decode().partition(":")
        except ValueError:  # not base64, or not text
            continue
        if colon:
            return {"username": user, "password": password.rstrip("\0"), "serveraddress": registry}
    return {}


def header(reference: str, config: Mapping[str, Any], helper: Helper) -> str:
    """X-Registry-Auth for a pull of the reference, a secret; empty where nobody has logged in."""
    found = credentials(config, registry_of(reference), helper)
    return base64.urlsafe_b64encode(json.dumps(found).encode()).decode() if found else ""


def client_config() -> dict[str, Any]:
    """The docker client's configuration of this user; empty where there is none that can be read."""
    folder = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    try:
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as handle:
            data = json.load(handle)
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
