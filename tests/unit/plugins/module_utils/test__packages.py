# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Repositories and packages: files as apt and dnf want them, versions, and what apt says."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _packages
from ansible_collections.sglang.fleet.plugins.module_utils._packages import (
    PackageError,
    Repository,
    Wanted,
    check_key,
    choose,
    explain,
    keepable,
    madison,
    masked,
    satisfied,
    simulated,
    sizes,
    sources_of,
)

NVIDIA = {
    "name": "sglang-fleet-nvidia",
    "url": "https://nvidia.github.io/libnvidia-container/stable/deb/amd64/",
    "key_url": "https://nvidia.github.io/libnvidia-container/gpgkey",
    "key_fingerprints": ["c95b 321b 61e8 8c18 09c4 f759 ddca e044 f796 ecb0"],
    "pin": 600,
}
AMD = {
    "name": "amdgpu",
    "url": "https://repo.radeon.com/amdgpu/30.30/ubuntu",
    "suite": "noble",
    "components": ["main"],
    "key_url": "https://repo.radeon.com/rocm/rocm.gpg.key",
    "key_fingerprints": ["CA8BB4727A47B4D09B4EE8969386B48A1A693C5C"],
    "pin": 600,
    "pin_by": "release o=repo.radeon.com",
    "pins": [{"packages": "nvidia-* libcuda1", "version": "580.*", "priority": 1000}],
}
TOOLKIT = ["nvidia-container-toolkit", "nvidia-container-toolkit-base"]


def test_flat_repository() -> None:
    repository = Repository.of(NVIDIA)
    assert repository.key_fingerprints == ("C95B321B61E88C1809C4F759DDCAE044F796ECB0",)
    assert repository.sources("/k.gpg").splitlines()[1:] == [
        "Types: deb",
        "URIs: https://nvidia.github.io/libnvidia-container/stable/deb/amd64/",
        "Suites: /",
        "Signed-By: /k.gpg",
    ]
    assert repository.preferences().splitlines()[1:] == [
        "Package: *",
        'Pin: origin "nvidia.github.io"',
        "Pin-Priority: 600",
    ]


def test_repository_with_suites_and_pins() -> None:
    repository = Repository.of(AMD)
    assert "Suites: noble\nComponents: main\n" in repository.sources("/k.gpg")
    assert repository.preferences().endswith(
        "Package: *\nPin: release o=repo.radeon.com\nPin-Priority: 600\n\n"
        "Package: nvidia-* libcuda1\nPin: version 580.*\nPin-Priority: 1000\n"
    )


@pytest.mark.parametrize(
    ("signs", "packages", "metadata"), [("packages", 1, 0), ("metadata", 0, 1), ("both", 1, 1), (None, 1, 0)]
)
def test_repository_of_dnf(signs: str | None, packages: int, metadata: int) -> None:
    """One of the two is checked always; NVIDIA's own file for its toolkit is repo_gpgcheck=1 and gpgcheck=0."""
    assert Repository.of({**NVIDIA, "signs": signs}).yum("/etc/pki/rpm-gpg/RPM-GPG-KEY-x").splitlines()[1:] == [
        "[sglang-fleet-nvidia]",
        "name=sglang-fleet-nvidia",
        "baseurl=https://nvidia.github.io/libnvidia-container/stable/deb/amd64",
        "enabled=1",
        f"gpgcheck={packages}",
        f"repo_gpgcheck={metadata}",
        "gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-x",
        "priority=90",
    ]


@pytest.mark.parametrize(
    ("text", "deb822", "there"),
    [
        ("deb [signed-by=/k] https://nvidia.github.io/libnvidia-container/stable/deb/$(ARCH) /\n", False, True),
        ("# deb https://nvidia.github.io/libnvidia-container/stable/deb/amd64 /\n", False, False),
        ("Types: deb\nURIs: https://nvidia.github.io/libnvidia-container/stable/deb/amd64/\nSuites: /\n", True, True),
        (
            "Enabled: no\nTypes: deb\nURIs: https://nvidia.github.io/libnvidia-container/stable/deb/amd64/\nSuites: /\n",
            True,
            False,
        ),
    ],
)
def test_repository_that_the_host_has_already(text: str, deb822: bool, there: bool) -> None:
    assert Repository.of(NVIDIA).is_in(sources_of(text, "amd64", deb822=deb822)) is there


# --- Versions ---

OFFERED = {
    "driver": ["595.45.04-1", "580.95.05-1", "580.65.06-1"],
    "manager": ["1:580.65.06-2", "1:575.57.08-1"],
    "other": ["2.0", "1.0"],
}


def of(*entries: Any) -> list[Wanted]:
    return [Wanted.of(entry) for entry in entries]


CHOICES: list[tuple[list[Any], dict[str, str], dict[str, str]]] = [
    (["other"], {}, {"other": ""}),
    (["other"], {"other": "1.0"}, {}),
    ([{"name": "other", "version": "1.*"}], {"other": "2.0"}, {"other": "1.0"}),
    ([{"name": "manager", "version": "580.*"}], {}, {"manager": "1:580.65.06-2"}),
    (
        [{"name": "driver", "version": "580.*", "group": "g"}, {"name": "manager", "version": "580.*", "group": "g"}],
        {},
        {"driver": "580.65.06-1", "manager": "1:580.65.06-2"},
    ),
    (
        [{"name": "driver", "group": "g"}, {"name": "manager", "group": "g"}],
        {"driver": "580.65.06-1"},
        {"manager": "1:580.65.06-2"},
    ),
    # Two that came apart are brought together.
    (
        [{"name": "driver", "group": "g"}, {"name": "manager", "group": "g"}],
        {"driver": "580.65.06-1", "manager": "1:575.57.08-1"},
        {"manager": "1:580.65.06-2"},
    ),
]


@pytest.mark.parametrize(("wanted", "installed", "chosen"), CHOICES)
def test_versions_to_install(wanted: list[Any], installed: dict[str, str], chosen: dict[str, str]) -> None:
    assert choose(of(*wanted), OFFERED, installed) == chosen
    assert satisfied(of(*wanted), {**installed, **{name: version or "2.0" for name, version in chosen.items()}})


def test_upgrade_takes_the_newest() -> None:
    assert choose(of("other"), OFFERED, {"other": "1.0"}, upgrade=True) == {"other": ""}
    assert choose(of("other"), OFFERED, {"other": "2.0"}, upgrade=True) == {}


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (["gone"], ("no repository of this host offers the package gone",)),
        ([{"name": "other", "version": "3.*"}], ("other in version 3.*", "offered: 2.0, 1.0")),
        (
            [
                {"name": "driver", "version": "595.*", "group": "g"},
                {"name": "manager", "version": "595.*", "group": "g"},
            ],
            ("no version like 595.* is offered of all of driver, manager", "manager: 1:580.65.06-2, 1:575.57.08-1"),
        ),
        ([{"version": "1"}], ("a package is a name",)),
        ([{"name": "a", "versoin": "1"}], ("the package a has versoin", "known are name, version and group")),
    ],
)
def test_version_that_nobody_offers(wanted: list[Any], words: tuple[str, ...]) -> None:
    with pytest.raises(PackageError) as error:
        choose(of(*wanted), OFFERED, {})
    assert not [word for word in words if word not in str(error.value)], str(error.value)


def test_group_of_two_versions_does_not_do() -> None:
    wanted = of(*({"name": name, "group": "g"} for name in TOOLKIT))
    assert not satisfied(wanted, dict(zip(TOOLKIT, ("1.18.1-1", "1.17.8-1"), strict=True)))
    assert satisfied(wanted, dict.fromkeys(TOOLKIT, "1.18.1-1"))


# --- What apt says ---


def test_apt_madison() -> None:
    text = (
        " a | 2-1 | http://x stable/main amd64 Packages\n a | 1-1 | http://x stable/main amd64 Packages\n"
        " a | 2-1 | http://y / Packages\n b | 9 | http://x stable/main Sources\n"
    )
    assert madison(text) == {"a": ["2-1", "1-1"]}


MIRROR = {**NVIDIA, "url": "http://mirror/cuda/"}


@pytest.mark.parametrize(
    ("repositories", "versions"),
    [
        ([], ["580.126.20-0ubuntu1", "580.95.05-1", "580.65.06-1"]),
        # What the mirror has comes from the mirror, also where another source has a higher version.
        ([MIRROR], ["580.95.05-1", "580.65.06-1"]),
        ([{**MIRROR, "url": "http://mirror/cud"}], ["580.126.20-0ubuntu1", "580.95.05-1", "580.65.06-1"]),
        # The distribution's own, of which further components are asked for: no vendor's.
        ([{**MIRROR, "key_url": ""}], ["580.126.20-0ubuntu1", "580.95.05-1", "580.65.06-1"]),
        ([{**AMD, "url": "http://archive/ubuntu"}], ["580.126.20-0ubuntu1", "580.65.06-1"]),
    ],
)
def test_the_repository_that_is_named_is_the_one_that_counts(
    repositories: list[dict[str, Any]], versions: list[str]
) -> None:
    text = (
        " dkms | 580.126.20-0ubuntu1 | http://archive/ubuntu noble/main amd64 Packages\n"
        " dkms | 580.95.05-1 | http://mirror/cuda  Packages\n"
        " dkms | 580.65.06-1 | http://mirror/cuda  Packages\n"
        " dkms | 580.65.06-1 | http://archive/ubuntu noble/main amd64 Packages\n"
        " other | 9 | http://archive/ubuntu noble/main amd64 Packages\n"
    )
    assert madison(text, [Repository.of(entry) for entry in repositories]) == {"dkms": versions, "other": ["9"]}


@pytest.mark.parametrize("field", ["url", "key_url"])
def test_address_with_a_password_is_refused_and_not_shown(field: str) -> None:
    with pytest.raises(PackageError) as caught:
        Repository.of({**NVIDIA, field: "https://me:secret@mirror/cuda"})
    assert "secret" not in str(caught.value)
    assert "address https://…@mirror/cuda of the repository sglang-fleet-nvidia has a user name" in str(caught.value)
    assert "/etc/apt/auth.conf.d/" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("to http://me:pass@proxy:3128, x@y", "to http://…@proxy:3128, x@y"),
        ("https://host/path@2", "https://host/path@2"),
        ("URIs: https://token@host/\n", "URIs: https://…@host/\n"),
    ],
)
def test_passwords_are_not_shown(text: str, shown: str) -> None:
    assert masked(text) == shown


def test_apt_simulation() -> None:
    plan = simulated(
        "Inst cowsay (3.03+dfsg2-8 Debian:12.15/oldstable [all])\nInst a [1-1] (2-1 NVIDIA [amd64])\n"
        "Remv docker.io [26.1.5] \nPurg b [1]\nConf a (2-1 NVIDIA [amd64])\n"
    )
    assert (plan.installs, plan.removes) == ({"cowsay": "3.03+dfsg2-8", "a": "2-1"}, ("docker.io", "b"))
    assert plan.new == {"cowsay"}


def test_apt_sizes() -> None:
    text = (
        "After this operation, 1,536 kB of additional disk space will be used.\n"
        "'http://x/a_1.deb' a_1.deb 9496 MD5Sum:c73f\n'http://x/b.deb' b.deb 500 SHA256:00\n"
    )
    assert sizes(text) == (9996, 1_536_000)
    assert sizes("After this operation, 5 kB disk space will be freed.") == (0, 0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("W: GPG error: http://x InRelease: … NO_PUBKEY 687C", ("NO_PUBKEY 687C", "not signed by the key")),
        ("Err:1 http://x\n  error message is: Missing key 71, which is needed", ("Missing key 71", "nothing from it")),
        ("E: Failed to fetch http://x/InRelease  Could not connect to x:9", ("Could not connect", "does not answer")),
        ("E: You don't have enough free space in /var/cache/apt/archives/.", ("/var/cache/apt/archives", "full")),
        ("E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by", ("lock-frontend", "Wait for it")),
        (
            "E: Failed to fetch http://127.0.0.1:8766/Packages  401  Unauthorized [IP: 127.0.0.1 8766]",
            ("401  Unauthorized", "does not let this host in", "/etc/apt/auth.conf.d/"),
        ),
        (
            "E: The repository 'http://x ./ Release' is not signed.\nE: Failed to fetch http://x/InRelease  403  Forbidden",
            ("403  Forbidden", "does not let this host in"),
        ),
        (
            "E: Failed to fetch http://x/InRelease  404  Not Found [IP: 1]\nE: The repository 'http://x ./' is not signed.",
            ("404  Not Found", "no such path"),
        ),
        (
            "E: Failed to fetch http://x/InRelease  407  Proxy Authentication Required",
            ("a proxy's in apt's or dnf's own",),
        ),
        ("E: Failed to fetch http://x/InRelease  404  Not Found [IP: 1]", ("404  Not Found", "no such path")),
        ("Get:1 http://x a [5401 B]\nE: Failed to fetch http://x/a  Could not connect to x:9", ("does not answer",)),
        ("W: GPG error: http://x InRelease: … EXPKEYSIG DDCAE044F796ECB0 N", ("has expired", "no renewed one")),
        ("W: OpenPGP signature verification failed: The primary key is not live", ("has expired",)),
        (
            "Last metadata expiration check\nError: \n Problem: package a requires b\n  - conflicting requests\n(try to add x)",
            ("Problem: package a requires b - conflicting requests",),
        ),
        (
            "Error: Failed to download metadata for repo 'tt': repomd.xml GPG signature verification error: Bad GPG signature",
            ("repo 'tt'", "not signed by the key"),
        ),
        ("Package drv-580.105.08-1.el9.noarch.rpm is not signed", ("not signed by the key",)),
        ("something\nE: Sub-process returned 1", ("Sub-process returned 1",)),
        ("", ("no output",)),
    ],
)
def test_apt_in_an_operators_words(text: str, words: tuple[str, ...]) -> None:
    said = explain(text)
    assert not [word for word in words if word not in said], said


def test_packages_that_others_need_stay() -> None:
    """gcc was installed for dkms; the operator's own build came to need it."""
    removed_with = {"dkms": ["dkms"], "gcc": ["gcc", "dkms", "build"], "libgcc": ["libgcc", "gcc", "dkms", "build"]}
    installed = dict.fromkeys(("dkms", "gcc", "libgcc", "build"), "1")
    assert keepable(("dkms", "gcc", "libgcc", "gone"), installed, removed_with) == (
        ["dkms"],
        {"gcc": ["build"], "libgcc": ["build", "gcc"]},
    )


@pytest.mark.parametrize(
    ("has", "there"), [("main", False), ("main contrib non-free", True), ("contrib non-free main extra", True)]
)
def test_repository_that_the_host_has_in_part(has: str, there: bool) -> None:
    """Debian's non-free is not there because its main is."""
    wanted = Repository.of({**AMD, "components": ["contrib", "non-free"]})
    text = f"deb {AMD['url']} noble {has}\n"
    assert wanted.is_in(sources_of(text, "amd64", deb822=False)) is there


def test_key_of_another_fingerprint_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every primary key of the file counts: one more would be trusted as well."""
    good = "C95B321B61E88C1809C4F759DDCAE044F796ECB0"
    monkeypatch.setattr(_packages, "fingerprints", lambda _data: [good])
    check_key(b"", [good], "http://key")
    monkeypatch.setattr(_packages, "fingerprints", lambda _data: [good, "0" * 40])
    with pytest.raises(PackageError, match=f"http://key has the fingerprint {'0' * 40}; expected is {good}"):
        check_key(b"", [good], "http://key")
