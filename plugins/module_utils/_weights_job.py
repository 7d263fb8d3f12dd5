# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The containers that fetch weights and pass them on: their command lines and their job file. Pure.

They run the server's own image, which has Python, the Hugging Face client, aiohttp and curl; nothing is installed on a host. They
are detached: a download of an hour outlives a lost connection and the playbook itself.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

#: On the host; gone at a reboot, as secrets should be.
BASE = "/run/sglang-fleet/weights"
JOB, STATE = f"{BASE}/job", f"{BASE}/state"
PROGRESS = f"{STATE}/progress.json"
#: In the containers.
WEIGHTS, SOURCE = "/root/.cache/huggingface", "/source"
CLIENT, PEER = "sglang-fleet-weights", "sglang-fleet-weights-peer"
LABEL = "sglang.fleet.weights"

PACKAGE = "ansible_collections.sglang.fleet.plugins.module_utils"
_ENVIRONMENT = {
    "HF_HOME": WEIGHTS,
    "HF_HUB_CACHE": f"{WEIGHTS}/hub",
    "HF_HUB_OFFLINE": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    # Xet has no ranges that another host could give on.
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_ENABLE_HF_TRANSFER": "0",
    "HF_HUB_DOWNLOAD_TIMEOUT": "30",
    "PYTHONDONTWRITEBYTECODE": "1",
    # GPUs are the servers'.
    "NVIDIA_VISIBLE_DEVICES": "void",
}


def source_of(wish: str, endpoint: str) -> dict[str, str]:
    """fleet_weights_source as {kind: hub | http | folder, at, name}. name is for messages, without user or password."""
    if wish.startswith("/"):
        return {"kind": "folder", "at": wish.rstrip("/") or "/", "name": wish}
    kind, at = ("hub", endpoint) if wish in ("", "hub") else ("http", wish)
    return {"kind": kind, "at": at.rstrip("/"), "name": urllib.parse.urlsplit(at).netloc.rpartition("@")[2] or at}


def folder_mount(folder: str, directory: str) -> tuple[str, str]:
    """What to mount at SOURCE for a folder of the host (empty for nothing), and where its files are in the container.

    A snapshot of a Hugging Face cache is links into the folder two levels up, so that this is mounted.
    """
    if (folder + "/").startswith(directory.rstrip("/") + "/"):
        return "", WEIGHTS + folder[len(directory.rstrip("/")) :]
    above, revision = os.path.split(folder)
    if os.path.basename(above) == "snapshots":
        return os.path.dirname(above), f"{SOURCE}/snapshots/{revision}"
    return folder, SOURCE


def work_of(
    repository: str, revision: str, files: Sequence[Mapping[str, Any]], directory: str, source: Mapping[str, str]
) -> str:
    """What a transfer is about, as a hash: a running one that is about the same is left alone."""
    text = json.dumps([repository, revision, list(files), directory, dict(source)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def job(options: Mapping[str, Any], source: Mapping[str, str], work: str) -> dict[str, Any]:
    """job.json, as the scripts read it. No secret is in it.

    options: repository, revision, files, ask, fallback, rank, peers, jobs, stall_seconds, verify, directory.
    """
    at = folder_mount(source["at"], options["directory"])[1] if source["kind"] == "folder" else source["at"]
    kept = ("repository", "revision", "files", "fallback", "rank", "peers", "jobs", "stall_seconds", "verify")
    return {
        **{name: options[name] for name in kept},
        "work": work,
        "directory": WEIGHTS,
        "asks_source": options["ask"],
        "source": {**source, "at": at},
    }


def _run(name: str, label: str, mounts: Sequence[str], image: str, words: Sequence[str]) -> list[str]:
    return [
        "run",
        "--detach",
        f"--name={name}",
        f"--label={LABEL}={label}",
        "--pull=never",
        "--network=host",
        "--user=0",
        # It writes files for whoever owns the folder, and does nothing else that root may.
        "--cap-drop=ALL",
        "--cap-add=DAC_OVERRIDE",
        "--cap-add=FOWNER",
        "--security-opt=no-new-privileges",
        "--security-opt=label=disable",
        "--log-driver=json-file",
        "--log-opt=max-size=1m",
        *[f"--env={name}={value}" for name, value in _ENVIRONMENT.items()],
        *[f"--mount={mount}" for mount in mounts],
        "--workdir=/job",
        "--entrypoint=python3",
        image,
        "-m",
        *words,
    ]


def client_command(image: str, directory: str, source: Mapping[str, str], label: str) -> list[str]:
    """The words after `docker` that start a transfer."""
    mounts = [
        f"type=bind,src={directory},dst={WEIGHTS}",
        f"type=bind,src={JOB},dst=/job",  # it takes the token away at its end
        f"type=bind,src={STATE},dst=/state",
    ]
    folder = folder_mount(source["at"], directory)[0] if source["kind"] == "folder" else ""
    if folder:
        mounts.append(f"type=bind,src={folder},dst={SOURCE},readonly")
    return _run(CLIENT, label, mounts, image, [f"{PACKAGE}._weights_client", "/job", "/state"])


def listening(address: str) -> str:
    """What to listen on so that `address` answers: itself where it is an IP address; empty, which is all, for a name."""
    try:
        return str(ipaddress.ip_address(address.strip("[]")))
    except ValueError:
        return ""


def peer_command(image: str, directory: str, port: int, label: str, address: str = "") -> list[str]:
    """The words after `docker` that have a host pass on what it has. address: of `listening`."""
    mounts = [
        f"type=bind,src={directory},dst={WEIGHTS},readonly",
        f"type=bind,src={JOB},dst=/job,readonly",
        f"type=bind,src={STATE},dst=/state,readonly",
    ]
    more = [address] if address else []
    return _run(PEER, label, mounts, image, [f"{PACKAGE}._weights_peer", "/job", "/state", str(port), *more])
