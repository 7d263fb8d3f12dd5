# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transfer of weights with the Hugging Face client and the aiohttp of each image, which are not of one version; and that each
SGLang finds the files offline where the transfer puts them."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from images import host

from tests.unit.plugins.module_utils.weights_hub import FILES, REPOSITORY, REVISION, Hub, entries, serving
from tests.unit.plugins.module_utils.weights_run import Host

pytestmark = pytest.mark.lab

VERSIONS = host.sglang_versions()
SHARD = "model-00003-of-00004.safetensors"
TOTAL = sum(len(data) for data in FILES.values())
#: What SGLang and transformers do with a revision and no hub.
FIND = f"""
import json, huggingface_hub, transformers.utils
from huggingface_hub import snapshot_download
from sglang.srt.model_loader.weight_utils import download_weights_from_hf
folder = download_weights_from_hf("{REPOSITORY}", None, ["*.safetensors"], "{REVISION}")
config = transformers.utils.cached_file("{REPOSITORY}", "config.json", revision="{REVISION}")
nothing = transformers.utils.cached_file("{REPOSITORY}", "chat_template.json", revision="{REVISION}", _raise_exceptions_for_missing_entries=False)
print(json.dumps([huggingface_hub.__version__, folder, config, nothing]))
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as served:
        yield served


def make(folder: Path, hub: Hub, version: str) -> Host:
    command, env = host.sglang_python(version)
    return Host(folder, hub, command, env)


@pytest.mark.parametrize("version", VERSIONS)
def test_cut_killed_and_resumed(version: str, tmp_path: Path, hub: Hub) -> None:
    one = make(tmp_path / "a", hub, version)
    try:
        hub.faults = [{"match": SHARD, "times": 1, "cut": 2_100_000}]
        client = one.client()
        digest = next(entry["sha256"] for entry in entries() if entry["path"] == SHARD)
        partial = Path(one.layout.blobs) / f"{digest}.incomplete"
        end = time.monotonic() + 120
        while not partial.exists() or partial.stat().st_size < 1 << 20:
            assert client.poll() is None, one.progress()
            assert time.monotonic() < end
            time.sleep(0.002)
        client.kill()
        client.wait()
        told = one.fetch()
        assert told["state"] == "done", told["error"]
        assert one.content() == FILES
        # The cut costs what was on its way, the kill the same again; never a whole file.
        assert hub.bytes <= TOTAL + 4 * (1 << 20)
    finally:
        one.end()


@pytest.mark.parametrize("version", VERSIONS)
def test_patience_and_wrong_bytes(version: str, tmp_path: Path, hub: Hub) -> None:
    one = make(tmp_path / "a", hub, version)
    hub.faults = [
        {"match": "resolve", "times": 1, "status": 429, "retry_after": 2},
        {"match": "cdn", "times": 1, "status": 429, "retry_after": 1},
        {"match": SHARD, "times": 1, "flip": 1_500_000},
    ]
    told = one.fetch()
    assert told["state"] == "done", told["error"]
    assert [entry["path"] for entry in told["damaged"]] == [SHARD]
    assert one.content() == FILES


@pytest.mark.parametrize(("giver", "taker"), list(zip(VERSIONS, [*VERSIONS[1:], VERSIONS[0]], strict=True)))
def test_from_host_to_host(giver: str, taker: str, tmp_path: Path, hub: Hub) -> None:
    one, two = make(tmp_path / "a", hub, giver), make(tmp_path / "b", hub, taker)
    try:
        assert one.fetch()["state"] == "done"
        one.serve()
        two.write(asks_source=False, fallback=False, peers=[{"host": "a", "url": one.url}])
        before = hub.bytes
        told = two.fetch()
        assert (told["state"], told["from_peers"], hub.bytes) == ("done", TOTAL, before)
        assert two.content() == FILES
    finally:
        one.end()
        two.end()


@pytest.mark.parametrize("version", VERSIONS)
def test_sglang_finds_the_files_offline(version: str, tmp_path: Path, hub: Hub) -> None:
    one = make(tmp_path / "a", hub, version)
    assert one.fetch()["state"] == "done"
    command, env = host.sglang_python(version)
    offline = {**env, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": f"{one.layout.directory}/hub"}
    asked = len(hub.requests)
    found = subprocess.run([*command, "-c", FIND], env=offline, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    _version, folder, config, nothing = json.loads(found.stdout.splitlines()[-1])
    assert (folder, config, nothing) == (one.layout.snapshot, f"{one.layout.snapshot}/config.json", None)
    assert len(hub.requests) == asked
