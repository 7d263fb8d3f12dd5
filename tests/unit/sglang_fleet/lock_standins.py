# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry and a hub in this process, as far as `sglang-fleet lock` asks them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: str


class Standin:
    """A server on a port of its own. answer() is what it says; busy: so many answers of this status come first."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.busy: list[Answer] = []
        self.url = ""

    def answer(self, request: Request) -> Answer:
        raise NotImplementedError

    @contextmanager
    def serving(self) -> Iterator[None]:
        standin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                request = Request(
                    self.command, parts.path, query, {name.title(): value for name, value in self.headers.items()}, body
                )
                standin.requests.append(request)
                answer = standin.busy.pop(0) if standin.busy else standin.answer(request)
                self.send_response(answer.status)
                for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)

            do_HEAD = do_POST = do_GET  # noqa: N815 (the names of http.server)

            def log_message(self, *_words: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Registry(Standin):
    """login: user:password that it wants. how: basic or bearer; then the tokens are its own."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: dict[str, str] = {}
        self.content: dict[str, tuple[str, bytes]] = {}
        self.login: str | None = None
        self.how = "bearer"
        self.realm: str | None = None
        self.wrong: dict[str, bytes] = {}
        self.token_answers: list[Answer] = []
        self.elsewhere: Standin | None = None

    def put(self, content: Any, kind: str) -> str:
        body = json.dumps(content).encode()
        self.content[digest(body)] = (kind, body)
        return digest(body)

    def manifest(self, architecture: str = "amd64", sizes: tuple[int, ...] = (10, 20)) -> tuple[str, str]:
        """Digests of a manifest and of its configuration."""
        config = self.put({"architecture": architecture, "os": "linux", "sizes": sizes}, "application/json")
        layers = [{"digest": digest(b"layer"), "size": size} for size in sizes]
        body = {"schemaVersion": 2, "mediaType": MANIFEST, "config": {"digest": config, "size": 2}, "layers": layers}
        return self.put(body, MANIFEST), config

    def index(self, **digests: str) -> str:
        """architecture -> digest of a manifest; beside them what build tools add."""
        listed = [
            {"digest": name, "mediaType": MANIFEST, "platform": {"architecture": architecture, "os": "linux"}}
            for architecture, name in digests.items()
        ]
        listed.append({"digest": digest(b"x"), "platform": {"architecture": "unknown", "os": "unknown"}})
        listed.insert(0, {"digest": digest(b"y"), "platform": {"architecture": "amd64", "os": "windows"}})
        return self.put({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}, INDEX)

    def answer(self, request: Request) -> Answer:
        if request.path == "/token":
            return self._token(request)
        if not self._let_in(request.headers.get("Authorization")):
            realm = self.realm or f"{self.url}/token"
            bearer = f'Bearer realm="{realm}",service="standin"'
            return Answer(
                401, headers={"WWW-Authenticate": bearer if self.how == "bearer" else 'Basic realm="standin"'}
            )
        match = re.fullmatch(r"/v2/([a-z/]+)/(manifests|blobs)/(.+)", request.path)
        assert match, request.path
        name = self.tags.get(match[3], match[3])
        if name not in self.content:
            return Answer(404)
        if match[2] == "blobs" and self.elsewhere is not None:
            return Answer(307, headers={"Location": f"{self.elsewhere.url}/{name}"})
        kind, body = self.content[name]
        return Answer(200, self.wrong.get(name, body), {"Content-Type": kind, "Docker-Content-Digest": name})

    def _let_in(self, header: str | None) -> bool:
        if self.login is None:
            return True
        return header == (self._basic() if self.how == "basic" else "Bearer t0ken")

    def _basic(self) -> str:
        return "Basic " + base64.b64encode(str(self.login).encode()).decode()

    def _token(self, request: Request) -> Answer:
        if self.token_answers:
            return self.token_answers.pop(0)
        if request.method == "POST":
            form = parse_qs(request.body)
            known = form.get("refresh_token") == [str(self.login).partition(":")[2]]
        else:
            known = request.headers.get("Authorization") == self._basic()
        return Answer(200, b'{"access_token": "t0ken"}') if known else Answer(401)


class Blobs(Standin):
    """Where a registry sends its clients for blobs."""

    def __init__(self, registry: Registry) -> None:
        super().__init__()
        self.registry = registry

    def answer(self, request: Request) -> Answer:
        return Answer(200, self.registry.content[request.path[1:]][1])


class HubStandin(Standin):
    """One model repository. token: what it wants; gated: it wants that the terms were accepted, too. What a revision had when
    it was first asked for, it keeps."""

    repository = "MiniMaxAI/MiniMax-M2.7"

    def __init__(self) -> None:
        super().__init__()
        self.main, self.files = "1" * 40, {"config.json": b"{}", ".gitattributes": b"*", "README.md": b"Read"}
        self.lfs = {"model.safetensors": b"w" * 1000}
        self.token: str | None = None
        self.gated = False
        self.wrong: dict[str, bytes] = {}
        self.revisions: dict[str, tuple[dict[str, bytes], dict[str, bytes]]] = {}

    def answer(self, request: Request) -> Answer:
        self.revisions.setdefault(self.main, (dict(self.files), dict(self.lfs)))
        if self.token is not None and request.headers.get("Authorization") != f"Bearer {self.token}":
            return Answer(401, headers={"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        api = re.fullmatch(rf"/api/models/{self.repository}(?:/revision/([^/]+))?", request.path)
        if api:
            return self._info(api[1], "blobs" in request.query)
        file = re.fullmatch(rf"/{self.repository}/resolve/({'|'.join(self.revisions)})/(.+)", request.path)
        if file and self.gated:
            return Answer(403, headers={"X-Error-Code": "GatedRepo"})
        if file:
            body = self.wrong.get(file[2], self.revisions[file[1]][0][file[2]])
            return Answer(200, body, {"X-Repo-Commit": file[1], "ETag": f'"{blob_id(body)}"'})
        return Answer(404, headers={"X-Error-Code": "RepoNotFound"})

    def _info(self, revision: str | None, blobs: bool) -> Answer:
        revision = self.main if revision in (None, "main") else revision
        if revision not in self.revisions:
            return Answer(404, headers={"X-Error-Code": "RevisionNotFound"})
        files, lfs_files = self.revisions[revision]
        siblings: list[dict[str, Any]] = [{"rfilename": name} for name in (*files, *lfs_files)]
        if blobs:
            siblings = [{"rfilename": name, "size": len(body), "blobId": blob_id(body)} for name, body in files.items()]
            for name, body in lfs_files.items():
                lfs = {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 130}
                siblings.append({"rfilename": name, "size": len(body), "blobId": "2" * 40, "lfs": lfs})
        said = {"id": self.repository, "modelId": self.repository, "sha": revision, "siblings": siblings}
        return Answer(200, json.dumps({**said, "private": False, "tags": [], "downloads": 0}).encode())


def blob_id(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest()
