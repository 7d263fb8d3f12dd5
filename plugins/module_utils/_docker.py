# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Docker CLI as this collection uses it: one call, one answer, errors in an operator's words.

The command line client is used rather than the engine's API because it is there wherever the
engine is, in every version, and needs no Python package on the node.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable

#: What the client prints for an image without a name, tag or digest.
_NONE = "<none>"

#: (return code, stdout, stderr), as AnsibleModule.run_command gives them.
Result = tuple[int, str, str]
Runner = Callable[[list[str]], Result]


class DockerError(ValueError):
    """A Docker call failed; the text says what was found and what to do.

    kind: missing | permission | stopped | image_absent | registry | space | other
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


#: What the client prints → (kind, what to tell the operator). Looked for in this order.
_EXPLANATIONS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        ("permission denied while trying to connect", "dial unix /var/run/docker.sock: connect: permission denied"),
        "permission",
        "this user may not use Docker; run with become, or add the user to the group docker",
    ),
    (
        ("cannot connect to the docker daemon", "failed to connect to the docker api", "is the docker daemon running"),
        "stopped",
        "the Docker engine does not run; start it with `systemctl start docker` and look at `journalctl -u docker`",
    ),
    (
        ("toomanyrequests",),
        "registry",
        "the registry answered that too many images were asked for from here; run `docker login` as root on the node for a"
        " higher limit, use a mirror (playbooks/mirror.yml, fleet_registry_mirrors), or wait: Docker Hub counts by the hour",
    ),
    (
        (
            "manifest unknown",
            "manifest for",
            "repository does not exist",
            "pull access denied",
            "not found: manifest",
            "unauthorized",
            ": denied",  # not ": permission denied", which is a file's
            "denied: requested access",
        ),
        "image_absent",
        "no registry that this node asks has that image; check the reference (fleet_image) and the node's"
        " registry mirrors (fleet_registry_mirrors), or `docker login` where the repository is private",
    ),
    (
        ("no space left on device",),
        "space",
        "the disk below Docker's data root is full; free space there or move the data root",
    ),
    (
        (
            "connection refused",
            "no such host",
            "i/o timeout",
            "network is unreachable",
            "no route to host",
            "tls handshake timeout",
            "temporary failure in name resolution",
            "context deadline exceeded",
            "unexpected eof",
        ),
        "registry",
        "no registry that this node asks gave the image: a mirror that lacks it makes the engine turn to the image's own"
        " registry, and that did not answer. Check the reference (fleet_image), the mirrors (fleet_registry_mirrors)"
        " and the node's way out",
    ),
)


def explain(action: str, stderr: str) -> DockerError:
    """The error to raise for what the client printed on `action` (such as "pull lmsysorg/sglang:x").

    Examples:
        >>> explain("info", "Cannot connect to the Docker daemon at unix:///…").kind
        'stopped'
    """
    text = stderr.strip()
    low = text.lower()
    last = text.splitlines()[-1] if text else "no output"
    for needles, kind, remedy in _EXPLANATIONS:
        if any(needle in low for needle in needles):
            return DockerError(kind, f"docker {action}: {last}. {remedy[0].upper()}{remedy[1:]}.")
    return DockerError("other", f"docker {action}: {last}")


def repository_of(reference: str) -> str:
    """The reference without tag and digest.

    Examples:
        >>> repository_of("registry:5000/lmsysorg/sglang:v0.5.10.post1")
        'registry:5000/lmsysorg/sglang'
    """
    name = reference.split("@", 1)[0]
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.split(":", 1)[0]


@dataclass(frozen=True)
class Image:
    """What `docker image inspect` says of one image."""

    id: str
    digests: tuple[str, ...]
    layers: tuple[str, ...]
    labels: dict[str, str]

    @classmethod
    def from_inspect(cls, data: dict[str, Any]) -> Image:
        return cls(
            id=data["Id"],
            digests=tuple(data.get("RepoDigests") or ()),
            layers=tuple((data.get("RootFS") or {}).get("Layers") or ()),
            labels=dict((data.get("Config") or {}).get("Labels") or {}),
        )


class Docker:
    """Calls the client through `run`; every method raises DockerError on failure."""

    def __init__(self, run: Runner, binary: str = "docker") -> None:
        self._run = run
        self._binary = binary

    def call(self, *arguments: str) -> str:
        """stdout of `docker <arguments>`."""
        code, out, err = self._run([self._binary, *arguments])
        if code != 0:
            raise explain(" ".join(arguments[:2]), err or out)
        return out

    def info(self) -> dict[str, Any]:
        """`docker info` as a mapping. The client exits 0 with ServerErrors when it cannot reach the engine."""
        code, out, err = self._run([self._binary, "info", "--format", "{{json .}}"])
        data: dict[str, Any] = {}
        if out.strip():
            data = json.loads(out)
        errors: Sequence[str] = data.get("ServerErrors") or ()
        if errors:
            raise explain("info", errors[0])
        if code != 0:
            raise explain("info", err)
        return data

    def image(self, reference: str) -> Image | None:
        """The local image of that reference, or None where it is not here."""
        code, out, err = self._run([self._binary, "image", "inspect", reference])
        if code == 0:
            return Image.from_inspect(json.loads(out)[0])
        if "no such image" in err.lower():
            return None
        raise explain("image inspect", err)

    def images(self) -> list[dict[str, str]]:
        """Every image with a name that is here: [{"reference", "id", "digest"}], the digest empty for one built or loaded
        here. The reference of one without a tag is repository@digest."""
        lines = self.call("image", "ls", "--no-trunc", "--digests", "--format", "{{json .}}").splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
        found = []
        for row in rows:
            repository, tag, digest = row["Repository"], row["Tag"], "" if row["Digest"] == _NONE else row["Digest"]
            if repository != _NONE and (tag != _NONE or digest):
                reference = f"{repository}@{digest}" if tag == _NONE else f"{repository}:{tag}"
                found.append({"reference": reference, "id": row["ID"], "digest": digest})
        return found

    def containers(self, prefix: str) -> dict[str, dict[str, Any]]:
        """`docker inspect` of each container whose name begins with the prefix, by name."""
        ids = self.call("ps", "--all", "--quiet", "--no-trunc", "--filter", f"name=^/?{prefix}").split()
        if not ids:
            return {}
        code, out, err = self._run([self._binary, "container", "inspect", *ids])
        # One that ends between the two calls is not there any more; the client prints the others.
        if code != 0 and "no such container" not in err.lower():
            raise explain("container inspect", err)
        return {str(data["Name"]).lstrip("/"): data for data in json.loads(out or "[]")}
