# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The logins that `docker login` has left on this machine. Their content is shown nowhere."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: The name that Docker keeps the login to Docker Hub under, and the hosts that it is for.
_HUB = "index.docker.io"
_HUB_KEY = f"https://{_HUB}/v1/"
_OF_HUB = ("docker.io", "registry-1.docker.io", _HUB)


@dataclass(frozen=True, repr=False)
class Login:
    """A login. basic: the header's value; identity: a token to ask for others with. One of them is set."""

    basic: str | None = None
    identity: str | None = None

    @classmethod
    def of(cls, user: str, secret: str) -> Login:
        if user == "<token>":
            return cls(identity=secret)
        return cls(basic="Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode())


@dataclass(repr=False)
class Credentials:
    """Logins by host, from Docker's configuration: in the file itself, or from the helper that it names."""

    config: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_user(cls) -> Credentials:
        """The user's own; none where Docker's configuration is not there or is not readable."""
        folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
        try:
            config = json.loads((folder / "config.json").read_text("utf-8"))
        except (OSError, ValueError):
            config = {}
        return cls(config if isinstance(config, dict) else {})

    def of(self, host: str) -> Login | None:
        """host: with its port, such as registry.example.org:5000."""
        name = _HUB if host in _OF_HUB else host
        server = _HUB_KEY if name == _HUB else name
        helpers = self.config.get("credHelpers") or {}
        helper = helpers.get(server) or helpers.get(name) or self.config.get("credsStore")
        if helper:
            found = _asked(str(helper), server)
            if found is not None:
                return found
        for key, entry in (self.config.get("auths") or {}).items():
            if re.sub(r"^https?://", "", key).partition("/")[0] == name and isinstance(entry, dict):
                return _of_entry(entry)
        return None


def _of_entry(entry: Mapping[str, Any]) -> Login | None:
    if entry.get("identitytoken"):
        return Login(identity=str(entry["identitytoken"]))
    try:
        user, _colon, secret = base64.b64decode(str(entry.get("auth") or ""), validate=True).decode().partition(":")
    except ValueError:
        return None
    return Login.of(user, secret.rstrip("\0")) if user else None


def _asked(helper: str, server: str) -> Login | None:
    """What a credential helper says; None where it is not there or knows nothing."""
    if re.fullmatch(r"[A-Za-z0-9._-]+", helper) is None:
        return None
    try:
        done = subprocess.run(
            [f"docker-credential-{helper}", "get"], input=server, capture_output=True, text=True, timeout=30, check=True
        )
        said = json.loads(done.stdout)
        return Login.of(str(said["Username"]), str(said["Secret"]))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None
