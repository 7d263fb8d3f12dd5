# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two calls of the engine's API that its client has no machine-readable form of: a pull that tells how far it is,
and the digest that a registry has for a tag. Standard library only; paths without a version get the engine's own.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from ansible_collections.sglang.fleet.plugins.module_utils._docker import Docker, DockerError, explain, repository_of

#: Seconds for an answer that is not a stream.
PATIENCE = 20.0


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket. timeout None: an engine may unpack a layer for minutes without a word."""

    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def socket_of(docker: Docker) -> str:
    """The engine's socket, the one that the client uses too (DOCKER_HOST, contexts). Raises DockerError."""
    endpoint = docker.call("context", "inspect", "--format", "{{.Endpoints.docker.Host}}").strip()
    if not endpoint.startswith("unix://"):
        raise DockerError(
            "other",
            f"the Docker client of this node talks to {endpoint or 'nothing'}; this collection pulls through the engine's"
            " own socket on the node, unix:///var/run/docker.sock. Unset DOCKER_HOST there, or `docker context use default`.",
        )
    return endpoint[len("unix://") :]


def pull_target(reference: str, digest: str | None) -> tuple[str, str]:
    """What to ask a registry for: the repository, and a tag or digest. Without a tag it would be every tag.

    Examples:
        >>> pull_target("lmsysorg/sglang:v0.5.9", None)
        ('lmsysorg/sglang', 'v0.5.9')
    """
    repository = repository_of(reference)
    name, _at, own = reference.partition("@")
    return repository, digest or own or name[len(repository) + 1 :] or "latest"


def pull(path: str, reference: str, digest: str | None, auth: str = "") -> Iterator[dict[str, Any]]:
    """The engine's events of a pull, from the first to the last. Raises DockerError.

    path: the engine's socket. auth: the header X-Registry-Auth, a secret. An event is
    {"id": layer, "status": "Downloading", "progressDetail": {"current": bytes, "total": bytes}}.
    """
    repository, tag = pull_target(reference, digest)
    action = f"pull {repository}{'@' if ':' in tag else ':'}{tag}"
    connection = _Connection(path, None)
    try:
        headers = {"X-Registry-Auth": auth} if auth else {}
        query = urlencode({"fromImage": repository, "tag": tag})
        connection.request("POST", f"/images/create?{query}", headers={**headers, "Content-Length": "0"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise explain(action, _message(answer.read()))
        for line in _lines(answer):
            if line.strip():
                event: dict[str, Any] = json.loads(line)
                if "error" in event:
                    raise explain(action, str((event.get("errorDetail") or {}).get("message") or event["error"]))
                yield event
    except PermissionError as error:
        raise explain(action, f"permission denied while trying to connect to {path}") from error
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise explain(action, f"Cannot connect to the Docker daemon at unix://{path}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, DockerError):
            raise
        text = f"the engine broke the pull off ({str(error) or type(error).__name__}); look at `journalctl -u docker`"
        raise DockerError("stopped", f"docker {action}: {text} and run again.") from error
    finally:
        connection.close()


def _lines(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """The lines of a stream as they come. Not `for line in answer`, which takes a connection that broke for the end."""
    rest = b""
    while True:
        part = answer.read1(1 << 16)
        if not part:
            break
        *whole, rest = (rest + part).split(b"\n")
        yield from whole
    yield rest


def digest_in_registry(path: str, reference: str, auth: str = "") -> str | None:
    """The digest that the registry has for the reference now; None where nobody says."""
    connection = _Connection(path, PATIENCE)
    try:
        headers = {"X-Registry-Auth": auth} if auth else {}
        connection.request("GET", f"/distribution/{quote(reference, safe='/:@')}/json", headers=headers)
        answer = connection.getresponse()
        data: Mapping[str, Any] = json.loads(answer.read()) if answer.status == 200 else {}
        found = (data.get("Descriptor") or {}).get("digest")
        return str(found) if found else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def _message(body: bytes) -> str:
    """The text of an error's body, which is {"message": …}."""
    text = body.decode("utf-8", "replace").strip()
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text or "no message"
