# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import http.server
import json
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._docker import Docker, DockerError
from ansible_collections.sglang.fleet.plugins.module_utils._engine_api import (
    digest_in_registry,
    pull,
    pull_target,
    socket_of,
)

Asked = list[tuple[str, str, str]]


@contextmanager
def engine(status: int, *parts: bytes, broken: bool = False) -> Iterator[tuple[str, Asked]]:
    """An engine on a socket that gives this answer in chunks; what it was asked: method, path, login."""
    asked: Asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            asked.append((self.command, self.path, self.headers.get("X-Registry-Auth", "")))
            self.send_response(status)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in parts:
                self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            if not broken:
                self.wfile.write(b"0\r\n\r\n")
            self.close_connection = True

        do_GET = do_POST = answer  # noqa: N815

        def address_string(self) -> str:
            return "socket"

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    # Not pytest's folder: its path can be longer than a socket's name may be.
    with tempfile.TemporaryDirectory(prefix="engine-") as folder, Server(f"{folder}/docker.sock", Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"{folder}/docker.sock", asked
        finally:
            server.shutdown()


def lines(*events: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(item).encode() + b"\r\n" for item in events)


def test_the_events_of_a_pull() -> None:
    one, two = {"status": "Downloading", "id": "a"}, {"status": "Pull complete", "id": "a"}
    text = lines(one, two).rstrip()
    # Chunks end where they like.
    with engine(200, text[:10], text[10:]) as (path, asked):
        assert list(pull(path, "lmsysorg/sglang:v1", "sha256:dd", "secret")) == [one, two]
    assert asked == [("POST", "/images/create?fromImage=lmsysorg%2Fsglang&tag=sha256%3Add", "secret")]


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (404, b'{"message":"manifest for a:v1 not found: manifest unknown"}', "image_absent", ("a:v1", "fleet_image")),
        (500, b'{"message":"Get https://x/v2/: dial tcp: connect: connection refused"}', "registry", ("mirrors",)),
        (500, b"not json", "other", ("not json",)),
        (500, b"", "other", ("no message",)),
        (200, lines({"error": "x", "errorDetail": {"message": "no space left on device"}}), "space", ("disk", "full")),
        (200, lines({"status": "Downloading"}, {"error": "unexpected EOF"}), "registry", ("unexpected EOF",)),
    ],
)
def test_errors_of_a_pull(status: int, body: bytes, kind: str, words: tuple[str, ...]) -> None:
    with engine(status, *([body] if body else [])) as (path, _asked), pytest.raises(DockerError) as error:
        list(pull(path, "a:v1", None))
    assert error.value.kind == kind
    assert str(error.value).startswith("docker pull a:v1: ")
    assert not [word for word in words if word not in str(error.value)], str(error.value)


def test_an_engine_that_goes_away() -> None:
    with (
        engine(200, lines({"status": "Downloading"}), broken=True) as (path, _asked),
        pytest.raises(DockerError, match="the engine broke the pull off") as error,
    ):
        list(pull(path, "a:v1", None))
    assert error.value.kind == "stopped"


def test_no_engine(tmp_path: Path) -> None:
    with pytest.raises(DockerError, match="systemctl start docker") as error:
        list(pull(str(tmp_path / "none.sock"), "a:v1", None))
    assert error.value.kind == "stopped"


@pytest.mark.parametrize(
    ("status", "body", "digest"),
    [
        (200, b'{"Descriptor": {"digest": "sha256:ee"}, "Platforms": []}', "sha256:ee"),
        (200, b"{}", None),
        (200, b"not json", None),
        (401, b'{"message": "unauthorized"}', None),
    ],
)
def test_the_digest_in_the_registry(status: int, body: bytes, digest: str | None) -> None:
    with engine(status, body) as (path, asked):
        assert digest_in_registry(path, "registry:5000/a/b:v1", "secret") == digest
    assert asked == [("GET", "/distribution/registry:5000/a/b:v1/json", "secret")]


def test_no_engine_has_no_digest(tmp_path: Path) -> None:
    assert digest_in_registry(str(tmp_path / "none.sock"), "a:v1") is None


@pytest.mark.parametrize(
    ("reference", "digest", "target"),
    [
        ("lmsysorg/sglang:v1", None, ("lmsysorg/sglang", "v1")),
        ("lmsysorg/sglang:v1", "sha256:dd", ("lmsysorg/sglang", "sha256:dd")),
        ("lmsysorg/sglang", None, ("lmsysorg/sglang", "latest")),
        ("lmsysorg/sglang@sha256:dd", None, ("lmsysorg/sglang", "sha256:dd")),
        ("registry:5000/a/b", None, ("registry:5000/a/b", "latest")),
        ("registry:5000/a/b:v1", None, ("registry:5000/a/b", "v1")),
    ],
)
def test_what_is_asked_for(reference: str, digest: str | None, target: tuple[str, str]) -> None:
    assert pull_target(reference, digest) == target


@pytest.mark.parametrize(
    ("printed", "path"),
    [
        ("unix:///var/run/docker.sock\n", "/var/run/docker.sock"),
        ("unix:///run/user/5/docker.sock\n", "/run/user/5/docker.sock"),
        ("tcp://far:2376\n", None),
        ("\n", None),
    ],
)
def test_the_socket_that_the_client_uses(printed: str, path: str | None) -> None:
    def run(command: list[str]) -> tuple[int, str, str]:
        assert command[:3] == ["docker", "context", "inspect"]
        return 0, printed, ""

    if path:
        assert socket_of(Docker(run)) == path
    else:
        with pytest.raises(DockerError, match=f"talks to {printed.strip() or 'nothing'};.*DOCKER_HOST"):
            socket_of(Docker(run))
