"""Images of the lab itself: a Debian root per system and for the registry, each built once per change of its inputs.

A root is a tar file made by mmdebstrap in the cache, named by the hash of what went into it; the Docker images carry
the same hash in their tag. Files appear under their final name only when complete, so a broken build leaves nothing
that could be taken for a whole one.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from .engine import ensure_tools
from .settings import REPOSITORY
from .shell import LAB_DIR, cache_dir, docker, locked, run, step

NODE_PACKAGES = [
    "apt",
    "libpam-systemd",
    "systemd",
    "systemd-sysv",
    "dbus",
    "python3",
    "python3-apt",
    "sudo",
    "iproute2",
    "iputils-ping",
    "docker.io",
    "openssh-server",
    "iptables",
    "curl",
    "ca-certificates",
    "procps",
    "kmod",
    "pciutils",
    "netcat-openbsd",
]
EXTRA_PACKAGES = {"trixie": ["docker-cli"]}  # Debian 13 splits the docker command off docker.io
SLIM = [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("man", "doc", "locale")]
# Host keys and the machine ID belong to a node, not to an image.
NODE_HOOK = 'rm -f "$1"/etc/ssh/ssh_host_*; : > "$1"/etc/machine-id'
NODE_DIR = LAB_DIR / "node"
REGISTRY_CONFIG = LAB_DIR / "registry.yml"
REGISTRY_ENTRYPOINT = 'ENTRYPOINT ["/usr/bin/docker-registry", "serve", "/etc/registry.yml"]'


def _digest(*parts: str | bytes) -> str:
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()[:12]


def _has_image(tag: str) -> bool:
    return docker("image", "inspect", "--format", "{{.Id}}", tag, check=False).returncode == 0


def _mmdebstrap(system: str, packages: list[str], *options: str) -> list[str]:
    return [
        "mmdebstrap",
        "--quiet",
        f"--include={','.join(packages)}",
        '--aptopt=Apt::Install-Recommends "false"',
        *SLIM,
        *options,
        system,
    ]


def _is_cache(path: Path) -> bool:
    """Whether a file was left by Python, a linter or an editor, and so belongs to no image."""
    return any(part == "__pycache__" or part.startswith(".") for part in path.relative_to(NODE_DIR).parts)


def _root_tar(name: str, digest: str, command: list[str]) -> Path:
    """The root's tar file, built when it is not in the cache."""
    folder = cache_dir("roots")
    path = folder / f"{name}-{digest}.tar"
    if not path.exists():
        ensure_tools(building=True)
        partial = path.with_suffix(".partial.tar")
        with step(f"build the {name} root") as done:
            run([*command, partial])
            os.replace(partial, path)
            done(f"{path.stat().st_size >> 20} MiB")
        for old in folder.glob(f"{name}-*.tar"):
            if old != path:
                old.unlink(missing_ok=True)
    return path


def _imported(name: str, command: list[str], *changes: str, extra: bytes = b"") -> str:
    """The image of a root, imported when the engine lacks it."""
    # Where the checkout lies does not change what is built: two checkouts on one machine share the lab.
    digest = _digest("\n".join(command).replace(str(LAB_DIR), ""), extra, *changes)
    tag = f"{REPOSITORY}/{name}:{digest}"
    if not _has_image(tag):
        path = _root_tar(name, digest, command)
        docker("import", *(f"--change={change}" for change in changes), path, tag)
    return tag


def _root(system: str) -> str:
    packages = NODE_PACKAGES + EXTRA_PACKAGES.get(system, [])
    return _imported(
        f"root-{system}", _mmdebstrap(system, packages, "--variant=minbase", f"--customize-hook={NODE_HOOK}")
    )


def root_image(system: str) -> str:
    """The image of a node's Debian root alone, without the lab's files."""
    with locked(f"image-{system}"):
        return _root(system)


def node_image(system: str) -> str:
    """The image of a node with Debian `system`, by tag; built when an input changed."""
    with locked(f"image-{system}"):
        base = _root(system)
        files = sorted(path for path in NODE_DIR.rglob("*") if path.is_file() and not _is_cache(path))
        inputs = [text for path in files for text in (str(path.relative_to(NODE_DIR)), path.read_bytes())]
        tag = f"{REPOSITORY}/node-{system}:{_digest(base, *inputs)}"
        if not _has_image(tag):
            with step(f"build the {system} node image"):
                build = ["build", "--quiet", "--network=none", "--build-arg", f"BASE={base}"]
                # The classic builder takes a base image that exists in this engine alone, and needs no plugin.
                docker(*build, "--tag", tag, NODE_DIR, env={"DOCKER_BUILDKIT": "0"})
        return tag


def registry_image() -> str:
    """The image of the registry: Debian's docker-registry with its libraries, and no more."""
    with locked("image-registry"):
        command = _mmdebstrap(
            "bookworm",
            ["docker-registry"],
            "--variant=extract",
            f"--extract-hook=copy-in {REGISTRY_CONFIG} /etc",  # "extract" ends before customize hooks
        )
        return _imported("registry", command, REGISTRY_ENTRYPOINT, extra=REGISTRY_CONFIG.read_bytes())


def remove_images() -> int:
    """Remove the lab's own images from the engine; the roots in the cache make them again in seconds."""
    found = docker("images", f"--filter=reference={REPOSITORY}/*", "--format={{.Repository}}:{{.Tag}}").stdout.split()
    if found:
        docker("rmi", "--force", *found)
    return len(found)
