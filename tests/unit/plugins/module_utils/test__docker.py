# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._docker import (
    Docker,
    DockerError,
    Image,
    Result,
    explain,
    repository_of,
)


def answering(*result: Result) -> tuple[Docker, list[list[str]]]:
    calls: list[list[str]] = []
    answers = list(result)

    def run(command: list[str]) -> Result:
        calls.append(command)
        return answers.pop(0)

    return Docker(run), calls


# What Docker 20.10 and 26.1 print.
@pytest.mark.parametrize(
    ("stderr", "kind"),
    [
        (
            "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock:"
            ' Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.41/info": dial unix /var/run/docker.sock: connect: permission denied',
            "permission",
        ),
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            "stopped",
        ),
        ("Error response from daemon: manifest for lmsysorg/sglang:nope not found: manifest unknown", "image_absent"),
        (
            "Error response from daemon: pull access denied for nope/nope, repository does not exist or may require"
            " 'docker login': denied: requested access to the resource is denied",
            "image_absent",
        ),
        (
            'Error response from daemon: Get "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io:'
            " no such host",
            "registry",
        ),
        ("toomanyrequests: You have reached your unauthenticated pull rate limit.", "registry"),
        ("Error response from daemon: unauthorized: authentication required", "image_absent"),
        ('Error response from daemon: Head "https://ghcr.io/v2/a/b/manifests/1": denied: denied', "image_absent"),
        ("denied: requested access to the resource is denied", "image_absent"),
        ("open /var/lib/docker/x: permission denied", "other"),
        ("write /var/lib/docker/tmp/GetImageBlob1: no space left on device", "space"),
        ("Error response from daemon: something new", "other"),
    ],
)
def test_errors_are_told_apart(stderr: str, kind: str) -> None:
    assert explain("pull x", stderr).kind == kind


def test_an_error_says_what_to_do() -> None:
    assert str(explain("info", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.")) == (
        "docker info: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. The Docker engine does not"
        " run; start it with `systemctl start docker` and look at `journalctl -u docker`."
    ).replace("sock. The", "sock.. The")


def test_a_rate_limit_is_no_registry_that_does_not_answer() -> None:
    said = str(explain("pull x", "toomanyrequests: You have reached your unauthenticated pull rate limit."))
    assert "`docker login` as root on the node" in said
    assert "did not answer" not in said


def test_info_reads_the_errors_of_a_client_that_exits_0() -> None:
    docker, _calls = answering((0, json.dumps({"ServerErrors": ["Cannot connect to the Docker daemon at x"]}), ""))
    with pytest.raises(DockerError) as error:
        docker.info()
    assert error.value.kind == "stopped"


def test_an_image_that_is_not_here_is_none() -> None:
    docker, calls = answering((1, "[]\n", "Error: No such image: x\n"))
    assert docker.image("x") is None
    assert calls == [["docker", "image", "inspect", "x"]]


def test_an_image_that_is_here() -> None:
    data = {
        "Id": "sha256:aa",
        "RepoDigests": ["lmsysorg/sglang@sha256:bb"],
        "RootFS": {"Layers": ["sha256:cc"]},
        "Config": {"Labels": None},
    }
    docker, _calls = answering((0, json.dumps([data]), ""))
    assert docker.image("x") == Image("sha256:aa", ("lmsysorg/sglang@sha256:bb",), ("sha256:cc",), {})


def test_the_tagged_images_are_listed() -> None:
    # What Docker 20.10 prints for a pulled image, one built here, and one without a name.
    rows = [
        {"Repository": "lmsysorg/sglang", "Tag": "v1", "ID": "sha256:aa", "Digest": "sha256:dd", "Size": "1.08GB"},
        {"Repository": "sglang-fleet/patched", "Tag": "aa-bb", "ID": "sha256:cc", "Digest": "<none>", "Size": "1GB"},
        {"Repository": "<none>", "Tag": "<none>", "ID": "sha256:ee", "Digest": "<none>", "Size": "1GB"},
        {"Repository": "lmsysorg/sglang", "Tag": "<none>", "ID": "sha256:ff", "Digest": "sha256:ab", "Size": "1GB"},
    ]
    docker, _calls = answering((0, "\n".join(json.dumps(row) for row in rows) + "\n", ""))
    assert docker.images() == [
        {"reference": "lmsysorg/sglang:v1", "id": "sha256:aa", "digest": "sha256:dd"},
        {"reference": "sglang-fleet/patched:aa-bb", "id": "sha256:cc", "digest": ""},
        {"reference": "lmsysorg/sglang@sha256:ab", "id": "sha256:ff", "digest": "sha256:ab"},
    ]


def test_containers_are_found_by_the_beginning_of_their_names() -> None:
    inspected = [{"Name": "/sglang-0", "State": {"Running": True}}]
    docker, calls = answering((0, "aa\nbb\n", ""), (1, json.dumps(inspected), "Error: No such container: bb"))
    assert docker.containers("sglang-") == {"sglang-0": inspected[0]}
    assert calls[1] == ["docker", "container", "inspect", "aa", "bb"]


def test_no_container_is_no_second_call() -> None:
    docker, calls = answering((0, "", ""))
    assert docker.containers("sglang-") == {}
    assert len(calls) == 1


@pytest.mark.parametrize(("method", "argument"), [("image", "x"), ("containers", "sglang-")])
def test_another_failure_is_raised(method: str, argument: str) -> None:
    docker, _calls = answering((1, "", "Cannot connect to the Docker daemon at x"))
    with pytest.raises(DockerError):
        getattr(docker, method)(argument)


@pytest.mark.parametrize(
    ("reference", "repository"),
    [
        ("lmsysorg/sglang:v0.5.10.post1", "lmsysorg/sglang"),
        ("lmsysorg/sglang", "lmsysorg/sglang"),
        ("registry:5000/lmsysorg/sglang", "registry:5000/lmsysorg/sglang"),
        ("registry:5000/lmsysorg/sglang:v1@sha256:aa", "registry:5000/lmsysorg/sglang"),
    ],
)
def test_the_repository_of_a_reference(reference: str, repository: str) -> None:
    assert repository_of(reference) == repository
