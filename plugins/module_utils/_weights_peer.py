# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passes a host's verified weights on to the other hosts of the run. Runs detached, in a container of the server's image:

    python3 -m ansible_collections.sglang.fleet.plugins.module_utils._weights_peer JOB-FOLDER STATE-FOLDER PORT [ADDRESS]

It speaks as much of the hub's HTTP as the Hugging Face client needs, so that the same client takes from both:
`/api/models/{repository}/revision/{revision}` lists the files that are verified here, `/{repository}/resolve/{revision}/{path}`
gives them, with ranges (aiohttp's FileResponse: the kernel sends them). Nothing but locked files is given, and nothing without the
run's key. It ends by itself when nobody has asked for a while.
"""

from __future__ import annotations

import asyncio
import errno
import hmac
import json
import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ansible_collections.sglang.fleet.plugins.module_utils._weights_files import (
    VERIFIED,
    Layout,
    Wanted,
    look_at,
    read_record,
    wanted_files,
)

if TYPE_CHECKING:
    from aiohttp import web

#: Seconds without a request until the server ends: the playbook that started it may have died.
IDLE = 1800
#: How a line of its log begins once it can be asked.
LISTENS = "listening on"


def verified(layout: Layout, files: Mapping[str, Wanted], record: Mapping[str, Any]) -> list[str]:
    """The paths that the record vouches for and that have not changed since."""
    return [path for path, wanted in files.items() if path in record and is_verified(layout, wanted, record)]


def is_verified(layout: Layout, wanted: Wanted, record: Mapping[str, Any]) -> bool:
    """Whether a file may be passed on; not while it cannot be read."""
    try:
        return look_at(layout, wanted, record).state == VERIFIED
    except OSError:
        return False


class Peer:
    def __init__(self, folder: str, state: str) -> None:
        self.folder, self.state_file = folder, os.path.join(state, "progress.json")
        self.asked = time.monotonic()
        self._listed: tuple[int, list[str]] = (-1, [])
        self._job: tuple[int, dict[str, Any]] = (-1, {})

    @property
    def job(self) -> dict[str, Any]:
        """The job as the last run of the playbook wrote it."""
        path = os.path.join(self.folder, "job.json")
        try:
            stamp = os.stat(path).st_mtime_ns
            if stamp != self._job[0]:
                with open(path, encoding="utf-8") as handle:
                    self._job = (stamp, json.load(handle))
        except (OSError, ValueError):
            pass  # being replaced, or cleared up
        return self._job[1]

    def layout(self) -> Layout:
        return Layout(self.job["directory"], self.job["repository"], self.job["revision"])

    def allowed(self, request: web.Request) -> bool:
        """Whether the request carries the key of the run, which is read anew: a later run makes another."""
        try:
            with open(os.path.join(self.folder, "key"), encoding="utf-8") as handle:
                key = handle.read().strip()
        except OSError:
            return False
        given = request.headers.get("Authorization", "")
        return bool(key) and hmac.compare_digest(given.encode(), f"Bearer {key}".encode())

    def listed(self) -> list[str]:
        """The verified paths; looked up again only when the record changed."""
        layout = self.layout()
        try:
            stamp = os.stat(layout.record).st_mtime_ns
        except OSError:
            return []
        if stamp != self._listed[0]:
            files = {wanted.path: wanted for wanted in wanted_files(self.job["files"])}
            self._listed = (stamp, verified(layout, files, read_record(layout.record)))
        return self._listed[1]

    async def model(self, request: web.Request) -> web.Response:
        """The hub's model information, with the files that are here, and how far this host is."""
        from aiohttp import web

        if not self.allowed(request):
            return web.Response(status=401)
        self.asked = time.monotonic()
        job = self.job
        if (request.match_info["repository"], request.match_info["revision"]) != (job["repository"], job["revision"]):
            return web.Response(status=404)
        progress = own_progress(self.state_file)
        return web.json_response(
            {
                "id": job["repository"],
                "sha": job["revision"],
                "siblings": [{"rfilename": path} for path in self.listed()],
                "progress": progress,
            }
        )

    async def resolve(self, request: web.Request) -> web.StreamResponse:
        """One file. 404 for what is not verified here, whoever asks."""
        from aiohttp import web

        if not self.allowed(request):
            return web.Response(status=401)
        self.asked = time.monotonic()
        job, asked = self.job, request.match_info
        if (asked["repository"], asked["revision"]) != (job["repository"], job["revision"]):
            return web.Response(status=404)
        wanted = {item.path: item for item in wanted_files(job["files"])}.get(asked["path"])
        layout = self.layout()
        if wanted is None or not is_verified(layout, wanted, read_record(layout.record)):
            return web.Response(status=404, headers={"X-Error-Code": "EntryNotFound"})
        headers = {
            "X-Repo-Commit": job["revision"],
            "X-Linked-Etag": f'"{wanted.sha256}"',
            "X-Linked-Size": str(wanted.size),
            "Content-Type": "application/octet-stream",
        }
        return web.FileResponse(layout.pointer(wanted), headers=headers, chunk_size=1 << 20)

    def application(self) -> web.Application:
        from aiohttp import web

        application = web.Application()
        application.router.add_get("/api/models/{repository:[^/]+/[^/]+}/revision/{revision}", self.model)
        application.router.add_get("/{repository:[^/]+/[^/]+}/resolve/{revision}/{path:.+}", self.resolve)
        return application

    async def serve(self, port: int, address: str = "") -> None:
        """Until nobody asks any more. address: the only one to listen on; empty for all."""
        from aiohttp import web

        runner = web.AppRunner(self.application(), access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, address or None, port).start()
        except OSError as error:
            if not address or error.errno != errno.EADDRNOTAVAIL:
                raise
            address = ""  # one that a router translates is not this host's own
            await web.TCPSite(runner, None, port).start()
        sys.stdout.write(f"{LISTENS} {address or 'every address'}, port {port}\n")
        sys.stdout.flush()
        while time.monotonic() - self.asked < IDLE:
            await asyncio.sleep(5)
        await runner.cleanup()


def own_progress(path: str) -> dict[str, Any]:
    """How far this host's own transfer is: asks_source, updated, state, error; empty where it has none."""
    try:
        with open(path, encoding="utf-8") as handle:
            told = json.load(handle)
        return {name: told[name] for name in ("asks_source", "updated", "state", "error", "bytes_done")}
    except (OSError, ValueError, KeyError):
        return {}


if __name__ == "__main__":
    asyncio.run(Peer(sys.argv[1], sys.argv[2]).serve(int(sys.argv[3]), *sys.argv[4:]))
