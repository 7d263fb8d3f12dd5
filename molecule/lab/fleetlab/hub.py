"""The lab's stand-in for Hugging Face's hub: made, served, and steered by tests.

It has the lab's toy model under its four names, in shards (images/files/make_sharded_m2.py), each with two commits:
`main`, and a later one with another README and generation_config.json. hub_server.py says what it answers.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import hub_server
from .network import inspect
from .roots import root_image
from .settings import HUB, HUB_CDN_IP, HUB_CDN_PORT, HUB_IP, HUB_PORT, NETWORK, labels
from .shell import LAB_DIR, LabError, cache_dir, docker, locked, step, wait_for

OWNER = "MiniMaxAI"
_MAKER = LAB_DIR / "images" / "files" / "make_sharded_m2.py"
_SGLANG = "0.5.10.post1"  # whose torch and tokenizers make the checkpoint; any version's do
_KEPT = 2  # trees of other checkouts, or of yesterday, that stay
_LFS = (".safetensors", "tokenizer.json")
# What the later commit has instead.
_LATER = {
    "README.md": b"A toy of the lab, looked at again.\n",
    "generation_config.json": b'{"do_sample": true, "temperature": 1.0, "top_p": 0.95, "top_k": 20}\n',
}


@dataclass(frozen=True)
class Hub:
    """One space of the hub: endpoint is what `HF_ENDPOINT` is set to; repos as in repos.json."""

    endpoint: str
    repos: dict[str, Any]

    def space(self, name: str) -> Hub:
        """A space with settings and counters of its own, as they are at the start."""
        other = Hub(f"{self.endpoint.partition('/~')[0]}/~{name}", self.repos)
        other.reset()
        return other

    def set(self, **settings: Any) -> None:
        """Change some of hub_server.SETTINGS."""
        self._ask("PATCH", "settings", settings)

    def fault(self, **fault: Any) -> None:
        """From now on this goes wrong, and nothing else: `fault(match="00003-of", times=1, cut=1000000)`."""
        self.set(faults=[fault])

    def reset(self) -> None:
        """Settings and counters as at the start."""
        self._ask("POST", "reset")

    def counters(self) -> dict[str, Any]:
        """bytes, by_client, by_path, token_at_cdn, requests: what was served since the last reset."""
        found: dict[str, Any] = json.loads(self._ask("GET", "counters"))
        return found

    def revision(self, repo: str) -> str:
        """The commit that main is."""
        return str(self.repos[repo]["main"])

    def later(self, repo: str) -> str:
        """The other commit."""
        [other] = set(self.repos[repo]["revisions"]) - {self.revision(repo)}
        return str(other)

    def files(self, repo: str) -> dict[str, dict[str, Any]]:
        """path → size, sha256, blob_id, lfs, of main."""
        found: dict[str, dict[str, Any]] = self.repos[repo]["revisions"][self.revision(repo)]
        return found

    def plain(self, repo: str) -> str:
        """The address below which the files of main lie as on any web server."""
        return f"{self.endpoint}/plain/{repo}/{self.revision(repo)}"

    @contextlib.contextmanager
    def counting(self) -> Iterator[dict[str, Any]]:
        """The counters of what happens in here, filled in at the end."""
        before = self.counters()
        counted: dict[str, Any] = {}
        yield counted
        after = self.counters()
        counted["bytes"] = after["bytes"] - before["bytes"]
        for table in ("by_client", "by_path"):
            grown = {key: count - before[table].get(key, 0) for key, count in after[table].items()}
            counted[table] = {key: count for key, count in grown.items() if count}
        counted["requests"] = after["requests"][len(before["requests"]) :]

    def _ask(self, method: str, what: str, values: dict[str, Any] | None = None) -> bytes:
        data = None if values is None else json.dumps(values).encode()
        request = urllib.request.Request(f"{self.endpoint}/_lab/{what}", data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                text: bytes = answer.read()
                return text
        except urllib.error.HTTPError as error:
            raise LabError(f"the hub refuses: {error.read().decode(errors='replace')}") from error
        except OSError as error:
            raise LabError(f"the hub does not answer at {self.endpoint} ({error}); start it: lab.py hub-up") from error


def ensure_hub() -> Hub:
    """The hub, with what it has, made and served."""
    with locked("hub"):
        root = cache_dir("hub")
        digest = _digest()
        tree = root / digest
        if not tree.exists():
            with step("build the hub's checkpoint") as done:
                done(f"{_build(tree) >> 20} MiB")
        os.utime(tree)
        trees = sorted((path for path in root.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
        for path in trees[: -_KEPT or None]:
            shutil.rmtree(path, ignore_errors=True)
        _serve(tree)
    return Hub(f"http://{HUB_IP}:{HUB_PORT}", json.loads((tree / "repos.json").read_text()))


def hub_answers() -> bool:
    """Whether the hub is served."""
    try:
        with urllib.request.urlopen(f"http://{HUB_IP}:{HUB_PORT}/_lab/settings", timeout=2) as answer:
            return int(answer.status) == 200
    except (urllib.error.URLError, OSError, ValueError):
        return False


def description() -> str:
    """The hub as JSON, once it is served."""
    hub = ensure_hub()
    repos = {
        repo: {
            "revision": hub.revision(repo),
            "later": hub.later(repo),
            "bytes": sum(file["size"] for file in hub.files(repo).values()),
            "plain": hub.plain(repo),
        }
        for repo in hub.repos
    }
    return json.dumps({"endpoint": hub.endpoint, "repositories": repos}, indent=2)


# --- What it has ----------------------------------------------------------------------------------------------------


def _digest() -> str:
    total = hashlib.sha256()
    for path in (Path(__file__), _MAKER, _MAKER.with_name("make_tiny_m2.py")):
        total.update(path.read_bytes())
    return total.hexdigest()[:12]


def _build(tree: Path) -> int:
    """Blobs by their hashes, so that what the four models share is there once; the bytes."""
    from images import host, versions  # the images' code loads only where it is needed

    command, environment = host.sglang_python(_SGLANG)
    partial = tree.with_name(f"{tree.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "blobs").mkdir(parents=True)
    repos = {}
    for model, context in versions.MODELS.items():
        folder = partial / "made"
        made = subprocess.run(
            [*command, str(_MAKER), str(folder), str(context)],
            env={**environment, "PYTHONPATH": f"{environment['PYTHONPATH']}:{_MAKER.parent}"},
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise LabError(f"the hub's checkpoint could not be made: {made.stderr.strip()[-500:]}")
        files = {
            str(path.relative_to(folder)): _blob(partial, path.read_bytes(), str(path).endswith(_LFS))
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        later = {**files, **{path: _blob(partial, data, False) for path, data in _LATER.items()}}
        first, second = (_commit(model, content) for content in (files, later))
        repos[f"{OWNER}/{model}"] = {"main": first, "revisions": {first: files, second: later}}
        shutil.rmtree(folder)
    (partial / "repos.json").write_text(json.dumps(repos, indent=1))
    os.replace(partial, tree)
    return sum(path.stat().st_size for path in (tree / "blobs").iterdir())


def _blob(partial: Path, data: bytes, lfs: bool) -> dict[str, Any]:
    """Put a file among the blobs; what the hub says of it. A large file's blob in git is a pointer to it."""
    sha256 = hashlib.sha256(data).hexdigest()
    blob = partial / "blobs" / sha256
    if not blob.exists():
        blob.write_bytes(data)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(data)}\n".encode()
    in_git = pointer if lfs else data
    blob_id = hashlib.sha1(b"blob %d\0" % len(in_git) + in_git, usedforsecurity=False).hexdigest()
    return {"size": len(data), "sha256": sha256, "blob_id": blob_id, "lfs": lfs}


def _commit(model: str, files: dict[str, Any]) -> str:
    return hashlib.sha1(json.dumps([model, files], sort_keys=True).encode(), usedforsecurity=False).hexdigest()


# --- The server -----------------------------------------------------------------------------------------------------


def _serve(tree: Path) -> None:
    image = root_image("bookworm")
    program = Path(hub_server.__file__)
    # The program is mounted from here: another checkout's is another one, if its text is.
    code = hashlib.sha256(program.read_bytes()).hexdigest()[:12]
    wanted = f"{image} {tree} {code}"
    there = inspect("container", HUB)
    if there is not None and (
        there["Config"]["Labels"].get("sglang-fleet.lab.hub") != wanted or there["State"]["Status"] != "running"
    ):
        docker("rm", "--force", "--volumes", HUB)
        there = None
    if there is None:
        copy = cache_dir("hub-server") / f"{code}.py"
        copy.write_bytes(program.read_bytes())
        options = [
            f"--name={HUB}",
            f"--network={NETWORK}",
            f"--ip={HUB_IP}",
            f"--volume={tree}:/srv:ro",
            f"--volume={copy}:/hub_server.py:ro",
            "--restart=unless-stopped",
            "--read-only",
            "--cap-drop=ALL",
            "--cap-add=NET_ADMIN",  # a second address, at each start
            "--cap-add=DAC_OVERRIDE",  # the tree is this user's
            "--security-opt=no-new-privileges",
            "--entrypoint=/bin/sh",
            *labels("lab"),
            f"--label=sglang-fleet.lab.hub={wanted}",
        ]
        words = [
            "-c",
            f"ip address add {HUB_CDN_IP}/24 dev eth0 2> /dev/null; "
            f"exec python3 -I -u /hub_server.py /srv {HUB_PORT} {HUB_CDN_IP}:{HUB_CDN_PORT}",
        ]
        started = docker("run", "--detach", *options, image, *words, check=False)
        if started.returncode != 0:
            docker("rm", "--force", HUB, check=False)
            last = started.stderr.strip().splitlines()[-1]
            raise LabError(f"the hub is not served ({last}). If {HUB_IP} or {HUB_CDN_IP} is taken, free it")
    wait_for("the hub", hub_answers, seconds=30, remedy=f"see: docker logs {HUB}", pause=0.1)
