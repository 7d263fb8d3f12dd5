# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What weights_facts reads of a host beside the weights themselves."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._weights_files import Layout, survey, wanted_files
from ansible_collections.sglang.fleet.plugins.modules import weights_facts
from tests.unit.plugins.module_utils.weights_hub import FILES, REPOSITORY, REVISION, entries

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:35 / /srv/nfs rw shared:2 master:7 - nfs4 filer:/weights rw
41 22 8:2 / /srv/a\\040b rw - xfs /dev/sdb1 rw
42 22 8:3 / /srv/over rw - ext4 /dev/sdc1 rw
43 42 0:36 / /srv/over rw - tmpfs tmpfs rw
torn line
"""
SHARD = "model-00002-of-00004.safetensors"
TOTAL = sum(len(data) for data in FILES.values())


@pytest.mark.parametrize(
    ("path", "kind", "source", "mount"),
    [
        ("/var/lib", "ext4", "/dev/sda1", "/"),
        ("/srv/nfs", "nfs4", "filer:/weights", "/srv/nfs"),
        ("/srv/nfs/hub", "nfs4", "filer:/weights", "/srv/nfs"),
        ("/srv/nfsx", "ext4", "/dev/sda1", "/"),
        ("/srv/a b/c", "xfs", "/dev/sdb1", "/srv/a b"),
        ("/srv/over/x", "tmpfs", "tmpfs", "/srv/over"),
    ],
)
def test_filesystem(path: str, kind: str, source: str, mount: str) -> None:
    assert weights_facts.filesystem(path, MOUNTS) == {"type": kind, "source": source, "mount": mount}


@pytest.mark.parametrize(
    ("text", "state"),
    [
        (json.dumps({"state": "running", "updated": 990}), "running"),
        (json.dumps({"state": "running", "updated": 900}), ""),
        (json.dumps({"state": "waiting", "updated": 900}), ""),
        (json.dumps({"state": "done", "updated": 10}), "done"),
        (json.dumps({"state": "failed", "updated": 10}), "failed"),
        ("{", ""),
        ("{}", ""),
    ],
)
def test_state_of_a_transfer(tmp_path: Path, text: str, state: str) -> None:
    (tmp_path / "p").write_text(text)
    assert weights_facts.transfer_state(str(tmp_path / "p"), now=1000) == state
    assert weights_facts.transfer_state(str(tmp_path / "none"), now=1000) == ""


def test_bytes_that_are_needed(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path / "w"), REPOSITORY, REVISION)
    found = survey(layout, wanted_files(entries()))
    assert weights_facts.needed(layout, found, None) == TOTAL
    assert weights_facts.needed(layout, found, str(tmp_path)) == 0  # the same disk
    assert weights_facts.needed(layout, found, "/proc") == TOTAL
    os.makedirs(layout.incoming)
    (Path(layout.incoming) / SHARD).write_bytes(FILES[SHARD][:1000])
    assert weights_facts.needed(layout, found, None) == TOTAL - 1000


def test_bytes_of_other_weights(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path), REPOSITORY, REVISION)
    found = survey(layout, wanted_files(entries()))
    assert weights_facts.other_bytes(layout, found) == 0
    other = tmp_path / "hub/models--a--b/blobs"
    other.mkdir(parents=True)
    (other / "x").write_bytes(b"x" * 77)
    os.makedirs(layout.blobs)
    wanted = next(item.wanted for item in found if item.wanted.path == SHARD)
    Path(layout.partial(wanted)).write_bytes(b"x" * 5)
    assert weights_facts.other_bytes(layout, found) == 77
