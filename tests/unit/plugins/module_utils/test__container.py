# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``docker run`` gets for an instance."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import ContainerOptions, load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._container import container_options, expand_option, gpu_ids
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import Node, facts_for, read_node
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import PlanError

CATALOGUE = load_catalogue()
WEIGHTS, IMAGE = "/data/hf", "lmsysorg/sglang:v1"
UNKNOWN_NVIDIA = {"pci_address": "0000:01:00.0", "pci_id": "10de:ffff"}
UNKNOWN_AMD = {"pci_address": "0000:01:00.0", "pci_id": "1002:ffff"}


def amd() -> Node:
    return read_node(CATALOGUE, {**facts_for(CATALOGUE, "MI300X", 8), "render_gid": 992, "video_gid": 44})


def uuid(index: int) -> str:
    return f"GPU-1b5cbdf0-8f1a-44ba-9a6c-{index:012x}"


def nvidia(with_uuid: t.Collection[int] = (), unknown: t.Sequence[dict[str, str]] = ()) -> Node:
    facts = {**facts_for(CATALOGUE, "H200", 8), "unknown": list(unknown)}
    for index in with_uuid:
        facts["devices"][index]["uuid"] = uuid(index)
    return read_node(CATALOGUE, facts)


def options(profile: str, node: Node, gpus: t.Sequence[int], **environment: str) -> list[str]:
    entry = CATALOGUE.container_profiles[profile][node.vendor]
    return container_options(entry, node, gpus, WEIGHTS, IMAGE, environment)


def test_hardened_amd() -> None:
    assert options("hardened", amd(), [2, 3]) == [
        "--network=host",
        "--ipc=private",
        "--shm-size=16g",
        "--ulimit=memlock=-1",
        "--ulimit=stack=67108864",
        "--init",
        "--device=/dev/kfd",
        "--device=/dev/dri/renderD144",
        "--device=/dev/dri/renderD152",
        "--group-add=44",
        "--group-add=992",
        "--cap-add=SYS_PTRACE",
        "--security-opt=seccomp=unconfined",
        "--volume=/data/hf:/root/.cache/huggingface",
        "--label=sglang.fleet.reference=lmsysorg/sglang:v1",
    ]


def test_hardened_nvidia() -> None:
    assert options("hardened", nvidia(), [4, 5, 6, 7]) == [
        "--network=host",
        "--ipc=private",
        "--shm-size=32g",
        "--ulimit=memlock=-1",
        "--ulimit=stack=67108864",
        "--init",
        '--gpus="device=4,5,6,7"',
        "--device=/dev/nvidiactl",
        "--device=/dev/nvidia-uvm",
        "--device=/dev/nvidia-uvm-tools",
        "--device=/dev/nvidia4",
        "--device=/dev/nvidia5",
        "--device=/dev/nvidia6",
        "--device=/dev/nvidia7",
        "--security-opt=no-new-privileges",
        "--volume=/data/hf:/root/.cache/huggingface",
        "--label=sglang.fleet.reference=lmsysorg/sglang:v1",
    ]


def test_cookbook_amd_is_the_published_line() -> None:
    """The page's docker run, less -d -it, name, image and shell; weights and label follow."""
    published = (
        "--ipc=host --network=host --privileged --cap-add=CAP_SYS_ADMIN --device=/dev/kfd --device=/dev/dri --device=/dev/mem "
        "--group-add video --cap-add=SYS_PTRACE --security-opt seccomp=unconfined -v /:/work -e SHELL=/bin/bash"
    )
    words = published.replace("-v ", "--volume ").replace("-e ", "--env ").split()
    joined = [
        f"{word}={words[index + 1]}" if index + 1 < len(words) and not words[index + 1].startswith("--") else word
        for index, word in enumerate(words)
        if word.startswith("--")
    ]
    assert options("cookbook", amd(), range(8)) == [
        *joined,
        "--volume=/data/hf:/root/.cache/huggingface",
        "--label=sglang.fleet.reference=lmsysorg/sglang:v1",
    ]


def test_cookbook_nvidia() -> None:
    assert options("cookbook", nvidia(), range(4)) == [
        "--gpus=all",
        "--shm-size=32g",
        "--ipc=host",
        "--network=host",
        "--volume=/data/hf:/root/.cache/huggingface",
        "--label=sglang.fleet.reference=lmsysorg/sglang:v1",
    ]


@pytest.mark.parametrize("profile", ["hardened", "cookbook"])
def test_the_environment_comes_last(profile: str) -> None:
    bare = options(profile, amd(), [0])
    assert options(profile, amd(), [0], A="1", B="x y") == [*bare, "--env=A=1", "--env=B=x y"]


def test_groups_that_the_host_lacks_are_left_out() -> None:
    node = read_node(CATALOGUE, {**facts_for(CATALOGUE, "MI300X", 1), "video_gid": 44})
    assert [word for word in options("hardened", node, [0]) if word.startswith("--group-add")] == ["--group-add=44"]


IDS: list[t.Any] = [
    pytest.param(nvidia(range(8), [UNKNOWN_NVIDIA]), [2, 3], [uuid(2), uuid(3)], id="by UUID, whatever else is there"),
    pytest.param(nvidia(range(8)), [0], [uuid(0)], id="by UUID"),
    pytest.param(nvidia(), [2, 3], ["2", "3"], id="by number, where there is no UUID"),
    pytest.param(nvidia([2]), [2, 3], ["2", "3"], id="by number, where one has none"),
    pytest.param(nvidia([], [UNKNOWN_AMD]), [2, 3], ["2", "3"], id="by number, past another vendor's"),
]


@pytest.mark.parametrize(("node", "gpus", "ids"), IDS)
def test_names_of_gpus(node: Node, gpus: list[int], ids: list[str]) -> None:
    """Docker counts every GPU of the host, the plan those that the catalogue knows: numbers need not agree."""
    assert gpu_ids(node, gpus) == ids


def test_gpus_without_uuid_beside_unknown_ones_are_refused() -> None:
    node = nvidia([0, 2], [UNKNOWN_NVIDIA])
    with pytest.raises(PlanError) as caught:
        options("hardened", node, range(4))
    assert caught.value.rule == "gpus"
    assert str(caught.value) == (
        "the driver tells no UUID of GPUs 1, 3, and the host has 10de:ffff at 0000:01:00.0 besides, which the catalogue does "
        "not know: by number the wrong GPUs could be taken; run nvidia-smi on the host to see that its driver works, or add "
        "the others to fleet_catalogue (gpus), or take them out of the host"
    )
    # A container that sees all GPUs names none.
    assert "--gpus=all" in options("cookbook", node, range(4))


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--init", ["--init"]),
        ("--device={node}", ["--device=/a", "--device=/b"]),
        ("--gpus={none}", []),
        ("--v={one}:{one}", ["--v=1:1"]),
        ("--v={node}:{one}", ["--v=/a:1", "--v=/b:1"]),
    ],
)
def test_placeholders(option: str, words: list[str]) -> None:
    assert expand_option(option, {"node": ["/a", "/b"], "one": ["1"], "none": []}) == words


def test_unknown_placeholder() -> None:
    with pytest.raises(PlanError) as caught:
        container_options(ContainerOptions("own", ("--device={gpu}",)), amd(), [0], WEIGHTS, IMAGE, {})
    assert str(caught.value) == (
        "container option --device={gpu}: unknown placeholder {gpu}; known: gpu_node, control_node, gpu_gid, gpu_ids, "
        "weights_dir, image"
    )
