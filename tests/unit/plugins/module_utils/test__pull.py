# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _pull
from ansible_collections.sglang.fleet.plugins.module_utils._docker import Docker, DockerError
from ansible_collections.sglang.fleet.plugins.module_utils._pull import (
    ROOM,
    Pull,
    image_folder,
    room_problem,
    see_room,
)

GB = 10**9


def event(status: str, layer: str, current: int = 0, total: int = 0, **more: Any) -> dict[str, Any]:
    detail = {"current": current, "total": total, **more} if total or current else {}
    return {"status": status, "id": layer, "progressDetail": detail}


START = [
    {"status": "Pulling from lmsysorg/sglang", "id": "v0.5.9"},
    event("Pulling fs layer", "a"),
    event("Pulling fs layer", "b"),
]
A_HERE = [event("Downloading", "a", 100, 100), event("Download complete", "a")]


# As Docker 20.10 and 26.1 say it; with "units" as Docker 28 and later do with containerd's store.
@pytest.mark.parametrize(
    ("events", "locked", "phase", "done", "total", "here"),
    [
        pytest.param([], 0, "download", 0, None, 0, id="nothing yet"),
        pytest.param([], 500, "download", 0, 500, 0, id="nothing yet, locked"),
        pytest.param([*START, event("Downloading", "a", 30, 100)], 0, "download", 30, None, 0, id="b is not begun"),
        pytest.param(
            [*START, event("Downloading", "a", 30, 100)], 500, "download", 30, 500, 0, id="the lock stands in"
        ),
        pytest.param(
            [*START, event("Downloading", "a", 30, 100)], 50, "download", 30, 100, 0, id="a lock that is too small"
        ),
        pytest.param(
            [*START, event("Downloading", "a", 30, 100), event("Verifying Checksum", "a")],
            0,
            "download",
            100,
            None,
            0,
            id="the last report of a layer may be missing",
        ),
        pytest.param([*START, event("Downloading", "a", 30)], 0, "download", 30, None, 0, id="no size is told"),
        pytest.param(
            [*START, event("Downloading", "a", 30, 100), event("Downloading", "b", 10, 60)],
            500,
            "download",
            40,
            160,
            0,
            id="all are begun",
        ),
        pytest.param(
            [*START, event("Already exists", "b"), event("Downloading", "a", 30, 100)],
            500,
            "download",
            30,
            100,
            0,
            id="what is here already does not count",
        ),
        pytest.param([*START, *A_HERE, event("Download complete", "b")], 0, "unpack", 0, 100, 0, id="all fetched"),
        pytest.param(
            [*START, *A_HERE, event("Extracting", "b", 20, 60), event("Extracting", "a", 50, 100)],
            0,
            "unpack",
            70,
            160,
            0,
            id="a small one tells its size while it is unpacked",
        ),
        pytest.param(
            [*START, *A_HERE, event("Pull complete", "b"), event("Extracting", "a", 7, 0, units="s")],
            0,
            "unpack",
            0,
            100,
            1,
            id="seconds are no bytes",
        ),
        pytest.param(
            [*START, *A_HERE, event("Pull complete", "a"), event("Pull complete", "b"), {"status": "Digest: sha256:x"}],
            0,
            "unpack",
            100,
            100,
            2,
            id="the end",
        ),
        pytest.param(
            [
                *START,
                event("Downloading", "a", 90, 100),
                event("Downloading", "a", 5, 100),
                event("Retrying in 5 seconds", "a"),
            ],
            500,
            "download",
            5,
            500,
            0,
            id="a layer is begun anew",
        ),
    ],
)
def test_how_far_a_pull_is(
    events: list[dict[str, Any]], locked: int, phase: str, done: int, total: int | None, here: int
) -> None:
    progress = Pull(locked)
    for item in events:
        progress.take(item)
    state = progress.state()
    layers = state.pop("layers")
    assert state == {"phase": phase, "done": done, "total": total, "layers_here": here}
    assert layers >= here


def test_the_room_that_an_image_needs() -> None:
    assert room_problem("r:v", 0, 0, "/d", "pulled") is None, "nobody knows the size"
    assert room_problem("r:v", 10 * GB, ROOM * 10 * GB, "/d", "pulled") is None
    assert room_problem("r:v", 10 * GB, ROOM * 10 * GB - 1_000_000, "/var/lib/docker", "pulled") == (
        "image r:v: no room for it: 30.0 GB are free below /var/lib/docker, 30.0 GB are needed (10.0 GB of compressed"
        " layers, and up to 2 times that unpacked beside them). Free space there (`docker system df`), or move Docker's data"
        " root (data-root in /etc/docker/daemon.json). Nothing was pulled."
    )


@pytest.mark.parametrize(
    ("size", "free", "refused"), [(0, 0, False), (10 * GB, ROOM * 10 * GB, False), (10 * GB, 29 * GB, True)]
)
def test_room_on_the_engines_disk(monkeypatch: pytest.MonkeyPatch, size: int, free: int, refused: bool) -> None:
    asked: list[str] = []
    monkeypatch.setattr(_pull, "free_bytes", lambda folder: asked.append(folder) or free)
    docker = Docker(lambda _words: (0, '{"DockerRootDir": "/data/docker"}', ""))
    if refused:
        with pytest.raises(DockerError, match=r"29\.0 GB are free below /data/docker.*Nothing was sent") as error:
            see_room(docker, "r:v", size, "sent")
        assert error.value.kind == "space"
    else:
        see_room(docker, "r:v", size, "sent")
    assert asked == (["/data/docker"] if size else [])


@pytest.mark.parametrize(
    ("info", "folder"),
    [
        ({"DockerRootDir": "/data/docker", "DriverStatus": [["Backing Filesystem", "extfs"]]}, "/data/docker"),
        ({"DockerRootDir": "/data/docker", "DriverStatus": None}, "/data/docker"),
        (
            {"DockerRootDir": "/data/docker", "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]},
            "/var/lib/containerd",
        ),
        ({}, "/var/lib/docker"),
    ],
)
def test_where_the_images_are(info: dict[str, Any], folder: str) -> None:
    assert image_folder(info) == folder
