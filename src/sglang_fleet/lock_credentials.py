# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The logins that `docker login` has left on this machine. Their content is shown nowhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: The hosts that the login to Docker Hub is for.
_OF_HUB = ("docker.io", "registry-1.docker.io", "index.docker.io")


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
        from ansible_collections.sglang.fleet.plugins.module_utils._registry_login import client_config

        return cls(client_config())

    def of(self, host: str) -> Login | None:
        """host: with its port, such as registry.example.org:5000."""
        from ansible_collections.sglang.fleet.plugins.module_utils._registry_login import (
            HUB,
            credential_helper,
            credentials,
        )

        found = credentials(self.config, HUB if host in _OF_HUB else host, credential_helper)
        if "identitytoken" in found:
            return Login(identity=found["identitytoken"])
        return Login.of(found["username"], found["password"]) if found.get("username") else None
