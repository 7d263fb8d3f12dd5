# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module host_packages does on a host with apt or dnf, on hosts that are answers to commands."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _installed
from ansible_collections.sglang.fleet.plugins.module_utils._package_manager import Files, Manager
from ansible_collections.sglang.fleet.plugins.module_utils._packages import PackageError
from ansible_collections.sglang.fleet.plugins.module_utils._packages_apt import Apt, human
from ansible_collections.sglang.fleet.plugins.module_utils._packages_dnf import DNF as DNF_COMMAND
from ansible_collections.sglang.fleet.plugins.module_utils._packages_dnf import Dnf
from tests.unit.plugins.module_utils.fixtures.packages import Answers, Host, manager

pytestmark = pytest.mark.usefixtures("own_record")

DPKG = "installed a 1-1\ninstalled b 2-1\nconfig-files gone 1-1\n"
RPM = "a 0:1-1 noarch\nb 0:2-1.el9 x86_64\n"
LOCKS = "a-0:1-1.*\n!b-0:2-1.el9.*\n"


APT: Answers = {
    "dpkg-query": (0, DPKG),
    "apt-mark showhold": (0, "b:amd64\n"),
    "apt-get update": (0, ""),
}
DNF: Answers = {"rpm": (0, RPM), "dnf --quiet versionlock list": (0, LOCKS)}


@pytest.mark.parametrize(
    ("kind", "answers", "installed", "held"),
    [
        (Apt, APT, ({"a": "1-1", "b": "2-1"}, set()), {"b"}),
        (
            Apt,
            {**APT, "dpkg-query": (0, DPKG + "half-configured c 3-1\nunpacked d 4\ntriggers-pending e 5\n")},
            ({"a": "1-1", "b": "2-1", "c": "3-1", "d": "4", "e": "5"}, {"c", "d", "e"}),
            {"b"},
        ),
        (Dnf, DNF, ({"a": "0:1-1", "b": "0:2-1.el9"}, set()), {"a", "b"}),
        (
            Dnf,
            {**DNF, "dnf --quiet versionlock list": (1, "no such command")},
            ({"a": "0:1-1", "b": "0:2-1.el9"}, set()),
            set(),
        ),
    ],
)
def test_what_is_installed_and_held(
    kind: Callable[..., Manager], answers: Answers, installed: Any, held: set[str]
) -> None:
    found = manager(kind, Host(answers))
    assert (found.installed(), found.held()) == (installed, held)


@pytest.mark.parametrize(("kind", "answers"), [(Apt, APT), (Dnf, DNF)])
def test_host_that_is_as_it_should_be_is_only_looked_at(kind: Callable[..., Manager], answers: Answers) -> None:
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
        (Dnf, {**DNF, f"{' '.join(DNF_COMMAND)} --quiet repoquery": (0, "new | 0:9-1 | noarch | t\n")}, "new"),
    ],
)
def test_download_comes_before_the_installation(
    kind: Callable[..., Manager], answers: Answers, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Apt, "ARCHIVES", "/")
    host = Host(answers)
    with contextlib.suppress(PackageError):  # dnf is looked at whether it has done it, which this one has not
        manager(kind, host, packages=["new"]).present()
    no_steps = ("--simulate", "--print-uris", "--assumeno")
    steps = [line for line in host.asked if " install " in line and not any(word in line for word in no_steps)]
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
def test_apt_refuses_before_a_package_is_touched(answers: Answers, params: dict[str, Any], message: str) -> None:
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


# --- Installations that broke off -----------------------------------------------------------------------------------

BROKEN = "installed a 1-1\nhalf-configured new 9-1\n"
MENDED = "installed a 1-1\ninstalled new 9-1\n"
OFFERED: Answers = {"apt-cache madison": (0, " new | 9-1 | http://x y/main amd64 Packages\n")}


def test_installation_that_broke_off_is_finished_without_a_repository() -> None:
    host = Host({**APT, "dpkg-query": [(0, BROKEN), (0, MENDED)]})
    found = manager(Apt, host, packages=["new"]).present()
    assert "dpkg --force-confdef --force-confold --configure -a" in host.asked
    assert (found["changed"], found["installed"]) == (True, {"new": "9-1"})
    assert not [line for line in host.asked if line.startswith("apt-get")]
    assert manager(Apt, Host({**APT, "dpkg-query": (0, MENDED)}), packages=["new"]).present()["changed"] is False


def test_installation_that_cannot_be_finished_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where DKMS had no headers, which are asked for now."""
    monkeypatch.setattr(Apt, "ARCHIVES", "/")
    answers = [(0, BROKEN), (0, BROKEN), (0, BROKEN), (0, BROKEN), (0, MENDED)]
    host = Host({**APT, **OFFERED, "dpkg-query": answers, "dpkg --force": (1, "dpkg: error processing package new")})
    found = manager(Apt, host, packages=["new"]).present()
    [done] = [line for line in host.asked if line.startswith("apt-get install --yes -q")]
    assert "--fix-broken" in done
    assert done.endswith(" new")
    assert (found["changed"], found["installed"]) == (True, {"new": "9-1"})


def test_check_mode_tells_of_an_installation_that_broke_off() -> None:
    host = Host({**APT, "dpkg-query": (0, BROKEN)})
    found = manager(Apt, host, check_mode=True, packages=["new"]).present()
    assert (found["changed"], found["installed"]) == (True, {"new": ""})
    assert not [line for line in host.asked if line.startswith(("dpkg --", "apt-get"))]


# --- What is ours ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before_it", "ours"),
    [
        # unattended-upgrades brought a kernel while the role waited for it, or while the transaction ran.
        ("installed a 1-1\ninstalled linux-image-6.8.0-90-generic 1\n", {"new": "9-1"}),
        ("installed a 1-1\n", {"new": "9-1"}),
        # It brought the very package.
        ("installed a 1-1\ninstalled new 9-1\n", {}),
    ],
)
def test_packages_of_others_are_not_recorded(
    before_it: str, ours: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Apt, "ARCHIVES", "/")
    after = "installed a 1-2\ninstalled new 9-1\ninstalled linux-image-6.8.0-90-generic 1\n"
    host = Host(
        {
            **APT,
            **OFFERED,
            "dpkg-query": [(0, "installed a 1-1\n"), (0, before_it), (0, before_it), (0, after)],
            "apt-get install --simulate": (0, "Inst new (9-1 x)\nInst a [1-1] (1-2 x)\n"),
        }
    )
    found = manager(Apt, host, packages=["new"]).present()
    assert _installed.load().get("me", {}).get("packages", {}) == ours
    assert "linux-image-6.8.0-90-generic" not in found["installed"]


# --- Locks, keys, proxies -------------------------------------------------------------------------------------------

LISTS_LOCKED = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 1881 (apt-get)"


def test_apts_other_locks_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    host = Host({**APT, "apt-get update": [(100, LISTS_LOCKED), (100, LISTS_LOCKED), (0, "")]})
    manager(Apt, host).update()
    assert (len(host.asked), waited) == (3, [5, 5])


@pytest.mark.parametrize(("seconds", "calls"), [(0.0, 61), (100.0, 3), (400.0, 1)])
def test_lock_that_stays_is_waited_for_by_the_clock_and_named(
    seconds: float, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the command itself takes to say so: all of it is five minutes."""
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr("time.sleep", lambda pause: clock.append(clock.pop() + pause))
    host = Host({**APT, "apt-get update": (100, LISTS_LOCKED)})
    found, asked = manager(Apt, host), host.asked

    def run(command: Sequence[str]) -> tuple[int, str, str]:
        clock.append(clock.pop() + seconds)
        return host.run(command)

    found.run = run
    with pytest.raises(PackageError, match=r"held by process 1881.*Wait for it"):
        found.update()
    assert len(asked) == calls
    assert "DPkg::Lock::Timeout" not in asked[0]


EXPIRED = "W: GPG error: http://mirror/x InRelease: the following signatures were invalid: EXPKEYSIG DDCAE044F796ECB0"


@pytest.mark.parametrize(
    ("said", "fetched", "updates", "left"),
    [
        (EXPIRED, b"renewed", 2, b"renewed"),
        (EXPIRED, b"old", 1, b"old"),
        # A source of the operator's own.
        (EXPIRED.replace("mirror/x", "theirs"), b"renewed", 1, b"old"),
    ],
)
def test_key_that_was_renewed_is_fetched_again(
    said: str, fetched: bytes, updates: int, left: bytes, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vendor prolongs a key under the same fingerprint."""
    for name in ("KEYS", "SOURCES", "PREFERENCES"):
        monkeypatch.setattr(Apt, name, str(tmp_path))
    for name in ("_packages_apt", "_package_manager"):
        monkeypatch.setattr(f"ansible_collections.sglang.fleet.plugins.module_utils.{name}.check_key", lambda *_: None)
    monkeypatch.setattr(
        "ansible_collections.sglang.fleet.plugins.module_utils._packages_apt.dearmour", lambda data: data
    )
    repository = {"name": "x", "url": "http://mirror/x", "key_url": "http://mirror/key", "key_fingerprints": ["F" * 40]}
    (tmp_path / "x.gpg").write_bytes(b"old")
    host = Host({**APT, "apt-get update": [(0, said), (0, "")]})
    found = manager(Apt, host, fetch=lambda _url, _proxy: fetched, repositories=[repository], packages=["new"])
    (tmp_path / "x.sources").write_text(found.repositories[0].sources(f"{tmp_path}/x.gpg"))
    found.prepare_lists()
    assert len([line for line in host.asked if line.startswith("apt-get update")]) == updates
    assert (tmp_path / "x.gpg").read_bytes() == left


@pytest.mark.parametrize(
    ("said", "proxy"),
    [
        ("", ""),
        ("http='http://proxy:3128/'\n", "http://proxy:3128/"),
        ("own='http://secure:3128'\nhttp='http://proxy:3128'\n", "http://secure:3128"),
        ("own='DIRECT'\nhttp='http://proxy:3128'\n", ""),
    ],
)
def test_key_is_fetched_through_apts_proxy(said: str, proxy: str) -> None:
    host = Host({**APT, "apt-config shell own Acquire::https::Proxy http Acquire::http::Proxy": (0, said)})
    assert manager(Apt, host).proxy("https") == proxy
