# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's package repositories: what dpkg and apt would read of them."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from fleetlab import standins
from fleetlab.deb import Deb, File, write_repository


def members(data: bytes) -> dict[str, bytes]:
    """The members of an ar archive."""
    assert data.startswith(b"!<arch>\n")
    found, at = {}, 8
    while at < len(data):
        name, size = data[at : at + 16].decode().strip(), int(data[at + 48 : at + 58])
        found[name] = data[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    return found


def test_package_is_what_dpkg_reads() -> None:
    package = Deb(
        "a", "1:2-3", {"Depends": "b"}, {"usr/bin/a": File(b"#!/bin/sh\n", 0o755), "usr/b": File(link="bin/a")}
    )
    assert package.file_name == "a_2-3_amd64.deb"
    parts = members(package.build())
    assert list(parts) == ["debian-binary", "control.tar.gz", "data.tar.gz"]
    with tarfile.open(fileobj=io.BytesIO(parts["data.tar.gz"])) as archive:
        assert archive.getnames() == [".", "./usr", "./usr/bin", "./usr/bin/a", "./usr/b"]
        assert (archive.getmember("./usr/bin/a").mode, archive.getmember("./usr/b").linkname) == (0o755, "bin/a")
    with tarfile.open(fileobj=io.BytesIO(parts["control.tar.gz"])) as archive:
        control = archive.extractfile("./control")
        assert control
        assert "Package: a\nVersion: 1:2-3\n" in control.read().decode()
    assert package.build() == package.build(), "the same package is the same file"


@pytest.mark.parametrize("suite", ["", "noble"])
def test_repository_is_what_apt_reads(tmp_path: Path, suite: str) -> None:
    packages = [Deb("a", "1-1"), Deb("a", "2-1")]

    def sign(text: bytes) -> tuple[bytes, bytes]:
        return b"clear:" + text, b"detached"

    write_repository(tmp_path / "r", packages, sign, pool=tmp_path / "pool", origin="O", suite=suite)
    top = tmp_path / "r" / "dists" / suite if suite else tmp_path / "r"
    index = top / ("main/binary-amd64/Packages" if suite else "Packages")
    assert gzip.decompress(index.with_name("Packages.gz").read_bytes()) == index.read_bytes()
    names = [line.split()[1] for line in index.read_text().splitlines() if line.startswith("Filename:")]
    sums = [line.split()[1] for line in index.read_text().splitlines() if line.startswith("SHA256:")]
    assert [hashlib.sha256((tmp_path / "r" / name).read_bytes()).hexdigest() for name in names] == sums
    release = (top / "Release").read_bytes()
    assert hashlib.sha256(index.read_bytes()).hexdigest() in release.decode()
    assert (top / "InRelease").read_bytes() == b"clear:" + release


@pytest.mark.parametrize("system", ["debian12", "ubuntu2404"])
def test_every_dependency_is_in_the_repository(system: str) -> None:
    """So that apt can install each package there, at each version."""
    packages = list(standins.nvidia(system, "amd64", standins.NVIDIA_VERSIONS))
    there = {(package.name, package.version) for package in packages}
    assert len(there) == len(packages), "no package twice"
    for package in packages:
        for word in filter(None, package.relations.get("Depends", "").split(", ")):
            name, _space, relation = word.partition(" ")
            assert (name, relation.strip("(= )")) in there, f"{package.name} {package.version} depends on {word}"


def test_names_carry_the_branch_up_to_580() -> None:
    names = {package.name for package in standins.nvidia("ubuntu2404", "amd64", ("580.95.05", "595.45.04"))}
    assert {"nvidia-dkms-580-open", "cuda-drivers-580", "nvidia-fabricmanager-580", "nvidia-imex-580"} <= names
    assert {"nvidia-dkms-open", "nvidia-fabricmanager", "nvidia-driver-pinning-595", "nvlsm"} <= names
    assert "nvidia-dkms-595-open" not in names


def test_kernel_object_holds_its_version() -> None:
    data = standins.kernel_object("nvidia", "580.95.05")
    assert data.startswith(b"\x7fELF")
    assert b"version=580.95.05\0" in data
