"""Debian packages and signed apt repositories, written in Python: the machine needs neither dpkg-dev nor apt-utils."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: A fixed date, so that the same package is the same file on every machine.
_TIME = 1_760_000_000
#: Signs a text: (cleartext signature, detached signature).
Signer = Callable[[bytes], tuple[bytes, bytes]]


@dataclass(frozen=True)
class File:
    """A file of a package: its bytes, or the target of a symbolic link."""

    content: bytes = b""
    mode: int = 0o644
    link: str = ""


@dataclass(frozen=True)
class Deb:
    """A package. version: Debian's whole version; relations: control fields such as Depends; scripts: postinst, …"""

    name: str
    version: str
    relations: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, File] = field(default_factory=dict)
    scripts: Mapping[str, str] = field(default_factory=dict)
    configuration: tuple[str, ...] = ()
    architecture: str = "amd64"
    #: KiB, where the package shall claim another size than it has
    claims_kib: int = 0

    @property
    def file_name(self) -> str:
        return f"{self.name}_{self.version.split(':', 1)[-1]}_{self.architecture}.deb"

    def control(self) -> str:
        size = self.claims_kib or max(1, sum(len(entry.content) for entry in self.files.values()) >> 10)
        fields = {
            "Package": self.name,
            "Version": self.version,
            "Architecture": self.architecture,
            "Maintainer": "SGLang Fleet's lab <lab@example.com>",
            "Installed-Size": str(size),
            **self.relations,
            "Section": "misc",
            "Priority": "optional",
            "Description": "a stand-in of the lab for the vendor's package of this name",
        }
        return "".join(f"{key}: {value}\n" for key, value in fields.items())

    def build(self) -> bytes:
        control = {"control": File(self.control().encode())}
        control |= {name: File(text.encode(), 0o755) for name, text in self.scripts.items()}
        if self.configuration:
            control["conffiles"] = File("".join(f"/{path}\n" for path in self.configuration).encode())
        members = (
            ("debian-binary", b"2.0\n"),
            ("control.tar.gz", _tar(control)),
            ("data.tar.gz", _tar(self.files)),
        )
        return b"!<arch>\n" + b"".join(_member(name, data) for name, data in members)


def _member(name: str, data: bytes) -> bytes:
    header = f"{name:<16}{_TIME:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
    return header + data + b"\n" * (len(data) % 2)


def _tar(files: Mapping[str, File]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        folders: set[str] = set()
        for path, entry in files.items():
            parts = path.split("/")[:-1]
            for depth in range(len(parts) + 1):
                folder = "/".join([".", *parts[:depth]])
                if folder not in folders:
                    folders.add(folder)
                    archive.addfile(_info(folder, tarfile.DIRTYPE, 0o755))
            info = _info(f"./{path}", tarfile.SYMTYPE if entry.link else tarfile.REGTYPE, entry.mode)
            info.linkname, info.size = entry.link, len(entry.content)
            archive.addfile(info, io.BytesIO(entry.content))
    return gzip.compress(stream.getvalue(), compresslevel=1, mtime=_TIME)


def _info(path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.type, info.mode, info.mtime = kind, mode, _TIME
    info.uname = info.gname = "root"
    return info


def _stanza(package: Deb, path: str, data: bytes) -> str:
    return (
        package.control()
        + f"Filename: {path}\nSize: {len(data)}\nMD5sum: {hashlib.md5(data, usedforsecurity=False).hexdigest()}\n"
        + f"SHA256: {hashlib.sha256(data).hexdigest()}\n"
    )


def write_repository(
    folder: Path,
    packages: Iterable[Deb],
    sign: Signer,
    *,
    pool: Path,
    origin: str,
    suite: str = "",
    component: str = "main",
    architectures: tuple[str, ...] = ("amd64",),
) -> None:
    """An apt repository in `folder`: flat, as NVIDIA's are, or with dists/SUITE where a suite is named.

    Packages lie once in `pool` and are linked from each repository that has them.
    """
    index = folder / "dists" / suite if suite else folder
    where = f"pool/{suite}" if suite else "."
    stanzas: dict[str, list[str]] = {architecture: [] for architecture in architectures}
    (folder / where).mkdir(parents=True, exist_ok=True)
    for package in packages:
        data = _pooled(pool, package)
        place = folder / where / package.file_name
        if not place.exists():
            os.link(pool / package.file_name, place)
        stanzas[package.architecture].append(_stanza(package, f"{where}/{package.file_name}", data))
    indexes: dict[str, bytes] = {}
    for architecture, texts in stanzas.items():
        name = f"{component}/binary-{architecture}/Packages" if suite else "Packages"
        text = "\n".join(texts).encode()
        indexes[name] = indexes.get(name, b"") + (b"\n" if indexes.get(name) else b"") + text
    for name, data in list(indexes.items()):
        indexes[f"{name}.gz"] = gzip.compress(data, mtime=_TIME)
    for name, data in indexes.items():
        (index / name).parent.mkdir(parents=True, exist_ok=True)
        (index / name).write_bytes(data)
    release = [f"Origin: {origin}", f"Label: {origin}", *([f"Suite: {suite}", f"Codename: {suite}"] if suite else [])]
    release += [f"Architectures: {' '.join(architectures)}", *([f"Components: {component}"] if suite else [])]
    release += ["Date: Thu, 09 Oct 2025 08:53:20 UTC", "SHA256:"]
    release += [f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}" for name, data in sorted(indexes.items())]
    text = ("\n".join(release) + "\n").encode()
    clear, detached = sign(text)
    for name, data in (("Release", text), ("InRelease", clear), ("Release.gpg", detached)):
        (index / name).write_bytes(data)


def _pooled(pool: Path, package: Deb) -> bytes:
    path = pool / package.file_name
    if path.exists():
        return path.read_bytes()
    pool.mkdir(parents=True, exist_ok=True)
    data = package.build()
    path.write_bytes(data)
    return data
