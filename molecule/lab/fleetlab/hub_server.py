"""A stand-in for Hugging Face's hub: hub_server.py TREE PORT CDN_HOST:CDN_PORT. Run by hub.py; standard library only.

It speaks the hub's HTTP as `huggingface_hub` and curl see it: a file of the repository is redirected (307, relative, to
/api/resolve-cache), a large one (LFS) to another host (302, the CDN) that takes a signature and no token; X-Repo-Commit,
X-Linked-ETag and X-Linked-Size are on the redirect; ranges; X-Error-Code on what is not there.

    GET /api/models/REPO[/revision/REV][?blobs=true]   /api/models/REPO/tree/REV   POST /api/models/REPO/paths-info/REV
    GET /REPO/resolve/REV/PATH                         /api/whoami-v2
    GET /plain/REPO/REV/PATH                           the same files, as a web server or a bucket has them

Every path may begin with /~NAME: a space of its own, with settings and counters that no other one shares, so that
tests run side by side. NAME is free.

    GET, PATCH /~NAME/_lab/settings    SETTINGS below
    GET        /~NAME/_lab/counters    bytes of files by client and by path, and the requests
    POST       /~NAME/_lab/reset       both as at the start

TREE holds repos.json, {repository: {"main": commit, "revisions": {commit: {path: {"size", "sha256", "blob_id",
"lfs"}}}}}, and blobs/SHA256.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SETTINGS: dict[str, Any] = {
    "rate": 0,  # bytes a second for all clients together; 0: as fast as it goes
    "token": "",  # files and the API of models want this one; "": anyone may read
    "main": {},  # repository → the commit that main is now
    # [{"match": regular expression for the path of a request, "times": requests that it is for, and one of
    #   "status": answered with that, "retry_after": seconds, or a date
    #   "cut": the answer ends after so many bytes of a file, the connection with it
    #   "stall": the same, but the connection stays open, silent, for "seconds" (default 60)
    #   "flip": the byte at this place of the answer is another one}]
    "faults": [],
}
CHUNK = 64 << 10
KEPT_REQUESTS = 5000
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Space:
    """Settings and counters of one user of the hub."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        with self.lock:
            self.settings = json.loads(json.dumps(SETTINGS))
            self.bytes = 0
            self.by_client: dict[str, int] = {}
            self.by_path: dict[str, int] = {}
            self.requests: list[dict[str, Any]] = []
            self.token_at_cdn = 0
            self.free_at = 0.0

    def change(self, values: dict[str, Any]) -> str:
        """Take settings over; the message where there is no such setting."""
        unknown = sorted(set(values) - set(SETTINGS))
        if unknown:
            return f"no setting {', '.join(unknown)}; there are {', '.join(SETTINGS)}"
        with self.lock:
            self.settings.update(values)
        return ""

    def counters(self) -> dict[str, Any]:
        with self.lock:
            return {
                "bytes": self.bytes,
                "by_client": dict(self.by_client),
                "by_path": dict(self.by_path),
                "token_at_cdn": self.token_at_cdn,
                "requests": list(self.requests),
            }

    def asked(self, entry: dict[str, Any]) -> dict[str, Any]:
        with self.lock:
            self.requests.append(entry)
            del self.requests[:-KEPT_REQUESTS]
        return entry

    def served(self, entry: dict[str, Any], path: str, count: int) -> None:
        with self.lock:
            entry["bytes"] += count
            self.bytes += count
            for table, key in ((self.by_client, entry["client"]), (self.by_path, path)):
                table[key] = table.get(key, 0) + count

    def turn(self, count: int) -> float:
        """Seconds to wait before so many bytes may go out."""
        with self.lock:
            rate = self.settings["rate"]
            if not rate:
                return 0.0
            now = time.monotonic()
            begin = max(now, self.free_at)
            self.free_at = begin + count / rate
            return begin - now

    def fault(self, path: str, kinds: tuple[str, ...]) -> dict[str, Any]:
        """What goes wrong with this request, if anything does; it is used up by that."""
        with self.lock:
            for fault in self.settings["faults"]:
                if fault.get("times", 1) > 0 and set(kinds) & set(fault) and re.search(fault.get("match", ""), path):
                    fault["times"] = fault.get("times", 1) - 1
                    return dict(fault)
        return {}


class Hub:
    """What is served, and the spaces."""

    def __init__(self, tree: Path, cdn: str) -> None:
        self.tree, self.cdn = tree, cdn
        self.repos: dict[str, Any] = json.loads((tree / "repos.json").read_text())
        self.spaces: dict[str, Space] = {}
        self.lock = threading.Lock()

    def space(self, name: str) -> Space:
        with self.lock:
            return self.spaces.setdefault(name, Space())


def signature(sha256: str) -> str:
    return hashlib.sha256(f"lab {sha256}".encode()).hexdigest()[:16]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub
    cdn = False
    entry: dict[str, Any] | None = None

    def setup(self) -> None:
        super().setup()
        # What lies in buffers is counted as served, though a killed client never reads it: keep that small.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHUNK)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_GET(self) -> None:
        self.answer()

    do_HEAD = do_POST = do_PATCH = do_GET  # noqa: N815

    def log_message(self, *words: Any) -> None:
        pass

    def answer(self) -> None:
        raw, _mark, query = self.path.partition("?")
        parts = [urllib.parse.unquote(part) for part in raw.split("/")[1:]]
        name = parts.pop(0)[1:] if parts[0].startswith("~") else ""
        self.space, self.prefix = self.hub.space(name), f"/~{name}" if name else ""
        self.query = {key: values[0] for key, values in urllib.parse.parse_qs(query).items()}
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = "/".join(parts)
        self.entry = None
        if parts[0] == "_lab":
            self.control(parts[1:])
            return
        bearer = self.headers.get("Authorization", "")
        wanted = self.space.settings["token"]
        self.right = not wanted or bearer == f"Bearer {wanted}"
        self.entry = self.space.asked(
            {
                "time": time.time(),
                "client": self.client_address[0],
                "method": self.command,
                "path": path,
                "port": self.connection.getsockname()[1],
                "range": self.headers.get("Range", ""),
                "agent": self.headers.get("User-Agent", "")[:60],
                "token": "none" if not bearer else "right" if self.right else "wrong",
                "status": 0,
                "bytes": 0,
            }
        )
        fault = self.space.fault(path, ("status",))
        if fault:
            self.refuse(fault)
        elif self.cdn:
            self.from_cdn(parts, bool(bearer))
        elif parts[0] == "plain":
            self.plain(parts[1:])
        elif parts[0] == "api":
            self.api(parts[1:])
        else:
            self.resolve(parts)

    # --- The hub's answers ---

    def api(self, parts: list[str]) -> None:
        if parts[0] == "whoami-v2":
            if not self.headers.get("Authorization") or not self.right:
                self.error(401, "", "Invalid credentials in Authorization header")
            else:
                self.json({"type": "user", "name": "lab", "auth": {"type": "access_token"}})
            return
        if parts[0] == "resolve-cache" and len(parts) > 5:
            found = self.file("/".join(parts[2:4]), parts[4], parts[5:])
            if found:
                repo, commit, path, file = found
                self.content(path, file, {"ETag": f'"{file["blob_id"]}"', "X-Repo-Commit": commit})
            return
        if parts[0] != "models" or len(parts) < 3:
            self.error(404, "", f"the lab's hub has no /api/{parts[0]}")
            return
        repo, rest = "/".join(parts[1:3]), parts[3:]
        what = rest[0] if rest else "revision"
        revision = self.revision(repo, rest[1] if len(rest) > 1 else "main")
        if not revision:
            return
        commit, files = revision
        if what == "revision":
            blobs = self.query.get("blobs", "").lower() in ("true", "1")
            self.json(self.model(repo, commit, files, blobs))
        elif what == "tree":
            self.json([self.node(path, file) for path, file in files.items()])
        elif what == "paths-info":
            form = urllib.parse.parse_qs(self.body.decode(errors="replace"))
            wanted = json.loads(self.body)["paths"] if self.body.startswith(b"{") else form.get("paths", [])
            wanted = [wanted] if isinstance(wanted, str) else wanted
            self.json([self.node(path, files[path]) for path in wanted if path in files])
        else:
            self.error(404, "", f"the lab's hub has no /api/models/REPO/{what}")

    @staticmethod
    def model(repo: str, commit: str, files: dict[str, Any], blobs: bool) -> dict[str, Any]:
        siblings = []
        for path, file in files.items():
            sibling: dict[str, Any] = {"rfilename": path}
            if blobs:
                sibling.update(size=file["size"], blobId=file["blob_id"])
                if file["lfs"]:
                    sibling["lfs"] = {"sha256": file["sha256"], "size": file["size"], "pointerSize": 134}
            siblings.append(sibling)
        return {
            "_id": "6" * 24,
            "id": repo,
            "modelId": repo,
            "author": repo.split("/")[0],
            "sha": commit,
            "lastModified": "2026-01-01T00:00:00.000Z",
            "createdAt": "2026-01-01T00:00:00.000Z",
            "private": False,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": siblings,
        }

    @staticmethod
    def node(path: str, file: dict[str, Any]) -> dict[str, Any]:
        node = {"type": "file", "oid": file["blob_id"], "size": file["size"], "path": path}
        if file["lfs"]:
            node["lfs"] = {"oid": file["sha256"], "size": file["size"], "pointerSize": 134}
        return node

    def resolve(self, parts: list[str]) -> None:
        if len(parts) < 5 or parts[2] != "resolve":
            self.error(404, "", "Not Found")
            return
        found = self.file("/".join(parts[:2]), parts[3], parts[4:])
        if not found:
            return
        repo, commit, path, file = found
        etag = file["sha256"] if file["lfs"] else file["blob_id"]
        headers = {
            "X-Repo-Commit": commit,
            "X-Linked-Size": str(file["size"]),
            "X-Linked-ETag": f'"{etag}"',
            "Accept-Ranges": "bytes",
        }
        quoted = urllib.parse.quote(path)
        if file["lfs"]:
            query = urllib.parse.urlencode({"repo": repo, "path": path, "signature": signature(file["sha256"])})
            headers["Location"] = f"http://{self.hub.cdn}{self.prefix}/cdn/{file['sha256']}?{query}"
            status = 302
        else:
            headers["Location"] = f"{self.prefix}/api/resolve-cache/models/{repo}/{commit}/{quoted}?etag=%22{etag}%22"
            headers["ETag"] = f'"{etag}"'
            status = 307
        self.text(status, f"Redirecting to {headers['Location']}", headers)

    def from_cdn(self, parts: list[str], bearer: bool) -> None:
        if bearer:  # a bucket takes a signature or a header, never both; and a token has no business here
            with self.space.lock:
                self.space.token_at_cdn += 1
            self.text(400, "<Error><Code>InvalidArgument</Code></Error>", {"Content-Type": "application/xml"})
            return
        sha256 = parts[-1]
        if self.query.get("signature") != signature(sha256):
            self.text(403, "<Error><Code>AccessDenied</Code></Error>", {"Content-Type": "application/xml"})
            return
        blob = self.hub.tree / "blobs" / sha256
        file = {"size": blob.stat().st_size, "sha256": sha256}
        self.content(self.query.get("path", sha256), file, {"ETag": f'"{sha256}"'})

    def plain(self, parts: list[str]) -> None:
        repo, rest = "/".join(parts[:2]), parts[2:]
        known = self.hub.repos.get(repo, {"revisions": {}})["revisions"]
        files = known.get(rest[0], {}) if rest else {}
        path = "/".join(rest[1:])
        if not self.right:
            self.text(403, "<Error><Code>AccessDenied</Code></Error>", {"Content-Type": "application/xml"})
        elif path not in files:
            self.text(404, "<Error><Code>NoSuchKey</Code></Error>", {"Content-Type": "application/xml"})
        else:  # an ETag as a bucket gives one to what came in parts: no hash of the content
            self.content(path, files[path], {"ETag": f'"{files[path]["blob_id"][:32]}-2"'})

    def revision(self, repo: str, name: str) -> tuple[str, dict[str, Any]] | None:
        """The commit and its files; the refusal is sent where there is none, or where the token is not right."""
        there = self.hub.repos.get(repo)
        if there is None and not self.headers.get("Authorization"):
            self.error(401, "RepoNotFound", "Invalid username or password.")
        elif there is None:
            self.error(404, "RepoNotFound", "Repository not found")
        elif not self.right and self.headers.get("Authorization"):
            self.error(401, "", "Invalid credentials in Authorization header")
        elif not self.right:
            message = f"Access to model {repo} is restricted. You must have access to it and be authenticated."
            self.error(401, "GatedRepo", message)
        else:
            commit = self.space.settings["main"].get(repo, there["main"]) if name == "main" else name
            if commit in there["revisions"]:
                return commit, there["revisions"][commit]
            self.error(404, "RevisionNotFound", f"Invalid rev id: {name}")
        return None

    def file(self, repo: str, name: str, parts: list[str]) -> tuple[str, str, str, dict[str, Any]] | None:
        revision = self.revision(repo, name)
        if not revision:
            return None
        commit, files = revision
        path = "/".join(parts)
        if path in files:
            return repo, commit, path, files[path]
        self.error(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
        return None

    # --- Sending ---

    def content(self, path: str, file: dict[str, Any], headers: dict[str, str]) -> None:
        """A file or a range of it."""
        size = int(file["size"])
        first, last, status = 0, size - 1, 200
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        if asked and (asked[1] or asked[2]):
            first = int(asked[1]) if asked[1] else max(0, size - int(asked[2]))
            last = min(size - 1, int(asked[2])) if asked[1] and asked[2] else size - 1
            status = 206
            if first >= size or last < first:
                self.text(416, "", {"Content-Range": f"bytes */{size}"})
                return
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        headers.update({"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"})
        self.head(status, last - first + 1, headers)
        if self.command == "HEAD":
            return
        fault = self.space.fault(path, ("cut", "stall", "flip"))
        self.send(path, self.hub.tree / "blobs" / file["sha256"], first, last - first + 1, fault)

    def send(self, path: str, blob: Path, first: int, count: int, fault: dict[str, Any]) -> None:
        end = min(count, int(fault.get("cut", fault.get("stall", count))))
        sent = 0
        with blob.open("rb") as source:
            source.seek(first)
            while sent < end:
                data = source.read(min(CHUNK, end - sent))
                place = int(fault.get("flip", -1)) - sent
                if 0 <= place < len(data):
                    data = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
                time.sleep(self.space.turn(len(data)))
                try:
                    self.wfile.write(data)
                except OSError:  # the client has gone
                    self.close_connection = True
                    return
                sent += len(data)
                if self.entry is not None:
                    self.space.served(self.entry, path, len(data))
        if sent < count:
            if "stall" in fault:
                time.sleep(float(fault.get("seconds", 60)))
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def refuse(self, fault: dict[str, Any]) -> None:
        headers = {}
        if "retry_after" in fault:
            headers["Retry-After"] = str(fault["retry_after"])
        self.text(int(fault["status"]), "We had to rate limit you" if fault["status"] == 429 else "", headers)

    def error(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        headers = {**(headers or {}), **({"X-Error-Code": code} if code else {}), "X-Error-Message": message}
        self.text(status, json.dumps({"error": message}), {**headers, "Content-Type": "application/json"})

    def json(self, document: Any) -> None:
        self.text(200, json.dumps(document), {"Content-Type": "application/json; charset=utf-8"})

    def text(self, status: int, text: str, headers: dict[str, str]) -> None:
        raw = text.encode()
        self.head(status, len(raw), {"Content-Type": "text/plain", **headers})
        if self.command != "HEAD":
            self.wfile.write(raw)

    def head(self, status: int, length: int, headers: dict[str, str]) -> None:
        if self.entry is not None:
            self.entry["status"] = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    # --- The tests' side ---

    def control(self, parts: list[str]) -> None:
        what = (self.command, "/".join(parts))
        if what == ("GET", "settings"):
            self.json(self.space.settings)
        elif what == ("PATCH", "settings"):
            problem = self.space.change(json.loads(self.body))
            self.text(400 if problem else 204, problem, {})
        elif what == ("GET", "counters"):
            self.json(self.space.counters())
        elif what == ("POST", "reset"):
            self.space.reset()
            self.text(204, "", {})
        else:
            self.text(404, "settings (GET, PATCH), counters (GET), reset (POST)\n", {})


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # clients that were killed are the tests' own doing
            super().handle_error(request, client_address)


def servers(tree: Path, front: tuple[str, int], cdn: tuple[str, int], cdn_name: str) -> tuple[Server, Server]:
    """The hub and its CDN, listening; cdn_name: HOST:PORT of the CDN as clients are told it."""
    hub = Hub(tree, cdn_name)
    first = Server(front, type("Front", (Handler,), {"hub": hub}))
    return first, Server(cdn, type("Cdn", (Handler,), {"hub": hub, "cdn": True}))


def main(tree: Path, port: int, cdn: str) -> None:
    """Serve; the CDN's host has to be an address of this machine."""
    address, _colon, number = cdn.partition(":")
    front, other = servers(tree, ("", port), (address, int(number)), cdn)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    front.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
