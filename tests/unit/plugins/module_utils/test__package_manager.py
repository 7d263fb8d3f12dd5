# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module host_packages does on a host with apt or dnf, on hosts that are answers to commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _installed
from ansible_collections.sglang.fleet.plugins.module_utils._package_manager import Files, Manager
from ansible_collections.sglang.fleet.plugins.module_utils._packages import PackageError
from ansible_collections.sglang.fleet.plugins.module_utils._packages_apt import Apt, human
from ansible_collections.sglang.fleet.plugins.module_utils._packages_dnf import Dnf

DPKG = "installed a 1-1\ninstalled b 2-1\nconfig-files gone 1-1\nhalf-configured c 3-1\n"
RPM = "a 0:1-1\nb 0:2-1.el9\n"
LOCKS = "a-0:1-1.*\n!b-0:2-1.el9.*\n"


class Host:
    """Answers to commands by how they begin; everything else succeeds and says nothing."""

    def __init__(self, answers: dict[str, tuple[int, str]]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def run(self, command: Sequence[str]) -> tuple[int, str, str]:
        line = " ".join(command)
        self.asked.append(line)
        code, out = next((answer for start, answer in self.answers.items() if line.startswith(start)), (0, ""))
        return code, out if code == 0 else "", "" if code == 0 else out


APT: dict[str, tuple[int, str]] = {
    "dpkg-query": (0, DPKG),
    "apt-mark showhold": (0, "b:amd64\n"),
    "apt-get update": (0, ""),
}
DNF: dict[str, tuple[int, str]] = {"rpm": (0, RPM), "dnf --quiet versionlock list": (0, LOCKS)}


@pytest.fixture(autouse=True)
def _record(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A record of its own for each test."""
    path = str(tmp_path / "lib" / "installed.json")
    load, save, locked = _installed.load, _installed.save, _installed.locked
    monkeypatch.setattr(_installed, "load", lambda: load(path))
    monkeypatch.setattr(_installed, "save", lambda owners: save(owners, path))
    monkeypatch.setattr(_installed, "locked", lambda: locked(path))


def manager(kind: Callable[..., Manager], host: Host, *, check_mode: bool = False, **params: Any) -> Manager:
    lists: dict[str, list[str]] = {
        key: [] for key in ("repositories", "packages", "hold", "remove", "may_remove", "keep_configuration")
    }
    plain = {"owner": "me", "upgrade": False, "downgrade": False, "recommends": False, "cache_valid_seconds": 3600}
    return kind({**lists, **plain, **params}, host.run, lambda _url: b"", check_mode=check_mode)


@pytest.mark.parametrize(
    ("kind", "answers", "installed", "held"),
    [
        (Apt, APT, {"a": "1-1", "b": "2-1", "c": "3-1"}, {"b"}),
        (Dnf, DNF, {"a": "0:1-1", "b": "0:2-1.el9"}, {"a", "b"}),
        (Dnf, {**DNF, "dnf --quiet versionlock list": (1, "no such command")}, {"a": "0:1-1", "b": "0:2-1.el9"}, set()),
    ],
)
def test_what_is_installed_and_held(
    kind: Callable[..., Manager], answers: dict[str, tuple[int, str]], installed: dict[str, str], held: set[str]
) -> None:
    found = manager(kind, Host(answers))
    assert (found.installed(), found.held()) == (installed, held)


@pytest.mark.parametrize(("kind", "answers"), [(Apt, APT), (Dnf, DNF)])
def test_host_that_is_as_it_should_be_is_only_looked_at(
    kind: Callable[..., Manager], answers: dict[str, tuple[int, str]]
) -> None:
    host = Host(answers)
    assert manager(kind, host, packages=["a"], hold=["b"]).present()["changed"] is False
    assert all(
        line.startswith(("dpkg-query", "apt-mark showhold", "rpm", "dnf --quiet versionlock list"))
        for line in host.asked
    )


@pytest.mark.parametrize(
    ("kind", "answers", "version"),
    [
        (Apt, {**APT, "apt-cache madison": (0, " new | 9-1 | http://x y/main\n")}, "new"),
        (Dnf, {**DNF, "dnf --quiet repoquery": (0, "new | 0:9-1 | dnf\n")}, "new"),
    ],
)
def test_download_comes_before_the_installation(
    kind: Callable[..., Manager], answers: dict[str, tuple[int, str]], version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Apt, "ARCHIVES", "/")
    host = Host(answers)
    manager(kind, host, packages=["new"]).present()
    steps = [
        line for line in host.asked if " install " in line and "--simulate" not in line and "--print-uris" not in line
    ]
    assert ["only" in line for line in steps] == [True, False], steps
    assert all(line.endswith(f" {version}") for line in steps)


@pytest.mark.parametrize(
    ("answers", "params", "message"),
    [
        (
            {"apt-cache madison": (0, "")},
            {},
            "no repository of this host offers the package new. No package was changed.",
        ),
        (
            {"apt-get install --simulate": (0, "Inst new (9-1 x)\nRemv a [1-1]\n")},
            {},
            "to install new, apt would remove a, which is not asked for. Remove them by hand if they are to go. No package was "
            "changed.",
        ),
        (
            {"apt-get install --simulate": (0, "Inst new (9-1 x)\nInst b [2-1] (3-1 x)\n")},
            {},
            "to install new, apt would change b, on hold on this host. Release them if that is wanted: apt-mark unhold b. No "
            "package was changed.",
        ),
        (
            {"apt-cache madison": (0, " a | 0-1 | x\n"), "dpkg --compare-versions": (0, "")},
            {"packages": [{"name": "a", "version": "0-*"}]},
            "a is installed as 1-1, newer than the 0-1 that is wanted; it is not taken back. No package was changed.",
        ),
    ],
)
def test_apt_refuses_before_a_package_is_touched(
    answers: dict[str, tuple[int, str]], params: dict[str, Any], message: str
) -> None:
    host = Host({**APT, "apt-cache madison": (0, " new | 9-1 | http://x y/main\n"), **answers})
    with pytest.raises(PackageError) as caught:
        manager(Apt, host, **{"packages": ["new"], **params}).present()
    assert str(caught.value) == message
    assert not [line for line in host.asked if line.startswith("apt-get install --yes")]


def test_absent_takes_away_what_is_recorded_but_for_what_others_need() -> None:
    _installed.save({"me": {"packages": {"a": "1-1", "b": "2-1", "gone": "1"}, "held": ["b"]}})
    host = Host(
        {
            **APT,
            "apt-get purge --simulate --allow-change-held-packages a b": (0, "Purg a\nPurg b\nPurg c\n"),
            "apt-get purge --simulate --allow-change-held-packages a": (0, "Purg a\nPurg c\n"),
            "apt-get purge --simulate --allow-change-held-packages b": (0, "Purg b\n"),
        }
    )
    found = manager(Apt, host).absent()
    assert (found["removed"], found["kept"], found["held"]) == (["b"], {"a": ["c"]}, ["b"])
    assert host.asked[-1].endswith("--allow-change-held-packages b")
    assert "apt-mark unhold b" in host.asked
    assert _installed.load() == {}


def test_check_mode_asks_no_repository() -> None:
    host = Host(APT)
    found = manager(Apt, host, check_mode=True, packages=["new"], hold=["a"]).present()
    assert (found["changed"], found["installed"], found["held"]) == (True, {"new": ""}, ["a"])
    assert not [line for line in host.asked if line.startswith("apt-get")]


def test_files_are_put_back(tmp_path: Any) -> None:
    there, new = tmp_path / "there", tmp_path / "sub" / "new"
    there.write_text("old")
    files = Files()
    for path in (there, new):
        files.write(str(path), b"first")
        files.write(str(path), b"second")
    assert (there.read_text(), new.read_text()) == ("second", "second")
    files.put_back()
    assert there.read_text() == "old"
    assert not new.exists()


@pytest.mark.parametrize(
    ("size", "text"), [(3 << 30, "3.0 GiB"), (3 << 19, "1.5 MiB"), (2048, "2.0 KiB"), (7, "7 bytes")]
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert human(size) == text
