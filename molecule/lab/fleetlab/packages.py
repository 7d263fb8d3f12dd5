"""The vendors' package repositories, as the lab has them: signed for real, served over HTTP on the lab's network.

    GOOD/nvidia/DISTRO/ARCH            NVIDIA's CUDA repository: debian12, debian13, ubuntu2204, ubuntu2404 × x86_64, sbsa
    GOOD/libnvidia-container/stable/deb/ARCH
    GOOD/docker/linux/debian           suite trixie, component stable: Debian's engine in Docker's packages, so that it runs
    GOOD/amdgpu/{6.4.3,30.10.1,30.30}/ubuntu   suites jammy, noble, component main
    GOOD/rocm/apt/{7.0,7.2}            the same suites
    GOOD/amd-container-toolkit/apt     the same suites
    GOOD/kernel                        linux-headers of the kernel that runs, which no Debian has; flat

GOOD is http://172.30.0.3:8080/DIGEST/good. Beside it stand `wrong-key`, the same packages signed by another key than
the one that it publishes, and `lacking`, which has only the oldest version of everything. Nobody listens on the port
of `down`. Each repository's key is KEY in the top folder of its tree.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import deb, standins
from .deb import Deb, File, Signer
from .engine import found, install
from .network import inspect
from .roots import root_image
from .settings import NETWORK, PACKAGES, PACKAGES_IP, PACKAGES_PORT, labels
from .shell import LabError, cache_dir, docker, locked, run, step, wait_for

KEY = "key.asc"
VARIANTS = ("good", "wrong-key", "lacking")
_KEPT = 3  # trees of other checkouts, or of yesterday, that stay
_SYSTEMS = ("debian12", "debian13", "ubuntu2204", "ubuntu2404")
_UBUNTU_NUMBER = {"jammy": "22.04", "noble": "24.04"}


@dataclass(frozen=True)
class Packages:
    """The repositories: base is the address of the trees; fingerprints are of the lab's key and of the other one."""

    base: str
    fingerprint: str
    wrong_fingerprint: str

    def url(self, path: str, variant: str = "good") -> str:
        """The address of a repository: `url("docker/linux/debian")`; variant "down" is one that nobody serves."""
        if variant == "down":
            return f"http://{PACKAGES_IP}:9/{path}"
        return f"{self.base}/{variant}/{path}"

    def key_url(self, variant: str = "good") -> str:
        return self.url(KEY, variant)

    def described(self) -> dict[str, object]:
        """For `lab.py packages-up`."""
        names = [f"nvidia/{system}/x86_64" for system in _SYSTEMS]
        names += ["libnvidia-container/stable/deb/amd64", "docker/linux/debian", "amd-container-toolkit/apt", "kernel"]
        names += [f"amdgpu/{release}/ubuntu" for release in standins.AMDGPU]
        names += [f"rocm/apt/{release}" for release in standins.ROCM]
        return {
            "base": self.base,
            "fingerprint": self.fingerprint,
            "wrong_fingerprint": self.wrong_fingerprint,
            "variants": {
                variant: {"key": self.key_url(variant), **{name: self.url(name, variant) for name in names}}
                for variant in (*VARIANTS, "down")
            },
        }


def ensure_packages() -> Packages:
    """The repositories, built and served."""
    with locked("packages-repository"):
        keys = {name: _key(name) for name in ("lab", "other")}
        root = cache_dir("packages")
        digest = _digest(keys)
        tree = root / digest
        if not tree.exists():
            with step("build the package repositories") as done:
                _build(tree, keys)
                done(f"{sum(1 for _path in tree.rglob('*.deb'))} packages in place")
        os.utime(tree)
        _forget_old(root)
        _serve(root, digest)
    base = f"http://{PACKAGES_IP}:{PACKAGES_PORT}/{digest}"
    return Packages(base, _fingerprint(keys["lab"]), _fingerprint(keys["other"]))


def _digest(keys: dict[str, Path]) -> str:
    total = hashlib.sha256()
    total.update(os.uname().release.encode())
    for path in (Path(__file__), Path(deb.__file__), Path(standins.__file__), *keys.values()):
        total.update(path.read_bytes())
    return total.hexdigest()[:12]


def _forget_old(root: Path) -> None:
    trees = sorted((path for path in root.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for path in trees[: -_KEPT or None]:
        shutil.rmtree(path, ignore_errors=True)


# --- Keys -----------------------------------------------------------------------------------------------------------


def _key(name: str) -> Path:
    """A secret key of the lab, made once and kept in the cache."""
    path = cache_dir("packages-keys") / f"{name}.asc"
    if not path.exists():
        if not found("gpg"):
            install(["gnupg"])
        with _gnupg() as gpg:
            who = f"SGLang Fleet lab, {name} key <{name}@example.com>"
            gpg("--quick-generate-key", who, "rsa3072", "sign", "never")
            secret = gpg("--armor", "--export-secret-keys")
        partial = path.with_suffix(".partial")
        partial.touch(0o600)
        partial.write_bytes(secret)
        os.replace(partial, path)
    return path


@contextmanager
def _gnupg(secret: Path | None = None) -> Iterator[Callable[..., bytes]]:
    """gpg with a home of its own, which has only this key. In /tmp, for its sockets take no long path."""
    home = tempfile.mkdtemp(prefix="lab-gnupg-", dir="/tmp")
    env = {**os.environ, "GNUPGHOME": home}

    def gpg(*words: str, stdin: bytes = b"") -> bytes:
        command = ["gpg", "--batch", "--quiet", "--no-tty", "--pinentry-mode=loopback", "--passphrase=", *words]
        done = subprocess.run(command, env=env, input=stdin, capture_output=True, check=False)
        if done.returncode != 0:
            raise LabError(
                f"gpg could not sign the package repositories: {done.stderr.decode(errors='replace')[-300:]}"
            )
        return done.stdout

    try:
        if secret:
            gpg("--import", str(secret))
        yield gpg
    finally:
        run(["gpgconf", "--kill", "all"], env={"GNUPGHOME": home}, check=False)
        shutil.rmtree(home, ignore_errors=True)


def _fingerprint(secret: Path) -> str:
    with _gnupg(secret) as gpg:
        listing = gpg("--with-colons", "--list-keys").decode()
    found_ = re.search(r"^fpr:+([0-9A-F]{40}):", listing, re.MULTILINE)
    if not found_:
        raise LabError(f"{secret} holds no key; remove it, and a new one is made")
    return found_[1]


# --- Trees ----------------------------------------------------------------------------------------------------------


def _build(tree: Path, keys: dict[str, Path]) -> None:
    partial = tree.with_name(f"{tree.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with _gnupg(keys["lab"]) as gpg, _gnupg(keys["other"]) as other_gpg:
        public = gpg("--armor", "--export")
        for variant in VARIANTS:
            folder = partial / variant
            folder.mkdir(parents=True)
            (folder / KEY).write_bytes(public)
            _tree(folder, partial / "pool", _signer(other_gpg if variant == "wrong-key" else gpg), variant == "lacking")
        (partial / "other.asc").write_bytes(other_gpg("--armor", "--export"))
    os.replace(partial, tree)


def _signer(gpg: Callable[..., bytes]) -> Signer:
    def sign(text: bytes) -> tuple[bytes, bytes]:
        return gpg("--clearsign", "--digest-algo=SHA256", stdin=text), gpg("--armor", "--detach-sign", stdin=text)

    return sign


def _tree(folder: Path, pool: Path, sign: Signer, oldest_only: bool) -> None:
    """One tree of repositories; with oldest_only each has but the first of its versions."""

    def some(versions: Iterable[str]) -> tuple[str, ...]:
        return tuple(versions)[: 1 if oldest_only else None]

    drivers = some(standins.NVIDIA_VERSIONS)
    for architecture, name in standins.LOWEST_OF.items():
        for system in _SYSTEMS:
            packages = standins.nvidia(system, architecture, drivers)
            place = folder / "nvidia" / system / name
            # Debian's and Ubuntu's packages of one name have other versions, but nvlsm: its own pool keeps it apart.
            deb.write_repository(place, packages, sign, pool=pool, origin="NVIDIA", architectures=(architecture,))
        tools = [
            package
            for version in some(standins.TOOLKIT_VERSIONS)
            for package in standins.toolkit(version, architecture)
        ]
        place = folder / "libnvidia-container" / "stable" / "deb" / architecture
        deb.write_repository(
            place,
            tools,
            sign,
            pool=pool,
            origin="https://nvidia.github.io/libnvidia-container",
            architectures=(architecture,),
        )
    kernel = standins.kernel(os.uname().release)
    both = tuple(standins.LOWEST_OF)
    deb.write_repository(folder / "kernel", kernel, sign, pool=pool, origin="Debian", architectures=both)
    deb.write_repository(
        folder / "docker" / "linux" / "debian",
        _docker_engine(),
        sign,
        pool=pool,
        origin="Docker",
        suite="trixie",
        component="stable",
    )
    for suite, number in _UBUNTU_NUMBER.items():
        for release in some(standins.AMDGPU):
            _amd(folder / "amdgpu" / release / "ubuntu", standins.amdgpu(release, number, "amd64"), sign, pool, suite)
        for release in some(standins.ROCM):
            _amd(folder / "rocm" / "apt" / release, standins.rocm(release, number, "amd64"), sign, pool, suite)
        versions = some(standins.AMD_TOOLKIT_VERSIONS)
        tools = [package for version in versions for package in standins.amd_toolkit(version, "amd64")]
        _amd(folder / "amd-container-toolkit" / "apt", tools, sign, pool, suite)


@functools.cache
def _docker_engine() -> list[Deb]:
    """Docker's packages, with the engine of the lab's Debian 13."""
    container = docker("create", "--entrypoint=/bin/true", root_image("trixie")).stdout.strip()

    def take(path: str) -> File:
        raw = subprocess.run(
            ["docker", "cp", "-L", f"{container}:/{path}", "-"], capture_output=True, check=True
        ).stdout
        with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
            member = archive.getmembers()[0]
            content = archive.extractfile(member)
            if content is None:
                raise LabError(f"{path} of the Debian root is no file")
            return File(content.read(), member.mode & 0o777)

    try:
        return list(standins.docker_engine(take, "-1~debian.13~trixie", "amd64"))
    except subprocess.CalledProcessError as error:
        raise LabError(f"Debian's engine cannot be read: {error.stderr.decode(errors='replace').strip()}") from error
    finally:
        docker("rm", "--force", container, check=False)


def _amd(folder: Path, packages: Iterable[Deb], sign: Signer, pool: Path, suite: str) -> None:
    deb.write_repository(folder, packages, sign, pool=pool, origin="repo.radeon.com", suite=suite)


# --- Server ---------------------------------------------------------------------------------------------------------


def packages_answer(path: str = "") -> bool:
    """Whether the server of the repositories answers."""
    try:
        with urllib.request.urlopen(f"http://{PACKAGES_IP}:{PACKAGES_PORT}/{path}", timeout=2) as answer:
            return int(answer.status) == 200
    except (urllib.error.URLError, OSError, ValueError):
        return False


def _serve(root: Path, digest: str) -> None:
    image = root_image("bookworm")
    there = inspect("container", PACKAGES)
    if there is not None and (there["Config"]["Image"] != image or there["State"]["Status"] != "running"):
        docker("rm", "--force", "--volumes", PACKAGES)
        there = None
    if there is None:
        options = [
            f"--name={PACKAGES}",
            f"--network={NETWORK}",
            f"--ip={PACKAGES_IP}",
            f"--volume={root}:/srv:ro",
            f"--user={os.getuid()}:{os.getgid()}",
            "--restart=unless-stopped",
            "--read-only",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
            "--entrypoint=/usr/bin/python3",
            *labels("lab"),
        ]
        server = ["-I", "-u", "-m", "http.server", "--protocol=HTTP/1.1", "--directory=/srv", str(PACKAGES_PORT)]
        started = docker("run", "--detach", *options, image, *server, check=False)
        if started.returncode != 0:
            docker("rm", "--force", PACKAGES, check=False)
            last = started.stderr.strip().splitlines()[-1]
            raise LabError(f"the package repositories are not served ({last}). If {PACKAGES_IP} is taken, free it")
    wait_for(
        "the package repositories",
        lambda: packages_answer(f"{digest}/good/{KEY}"),
        seconds=30,
        remedy=f"see: docker logs {PACKAGES}",
        pause=0.1,
    )


def description() -> str:
    """The repositories as JSON, once they are served."""
    return json.dumps(ensure_packages().described(), indent=2)
