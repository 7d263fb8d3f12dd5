# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module host_packages does on a host with dnf.

The answers are what dnf 4.14.0 (that of EL 9) and rpm 4.18 print, taken from a repository of small packages made with
rpmbuild and createrepo_c.
"""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _installed
from ansible_collections.sglang.fleet.plugins.module_utils._packages import PackageError
from ansible_collections.sglang.fleet.plugins.module_utils._packages_dnf import DNF, Dnf, rpm_key, table
from tests.unit.plugins.module_utils.fixtures.packages import Answers, Host, manager

pytestmark = pytest.mark.usefixtures("own_record")

QUERY = f"{' '.join(DNF)} --quiet repoquery"
WOULD = f"{' '.join(DNF)} --assumeno"
DOES = f"{' '.join(DNF)} --assumeyes"
LOCKED = "drv-0:580.65.06-1.el9.*\ndrvlib-0:580.65.06-1.el9.*\n"
OLD = "drvlib 0:580.65.06-1.el9 noarch\ndrv 0:580.65.06-1.el9 noarch\nmodold 0:545.23.08-1.el9 noarch\n"
NEW = "drvlib 0:580.105.08-1.el9 noarch\ndrv 0:580.105.08-1.el9 noarch\nmodopen 0:580.95.05-1.el9 noarch\n"
OFFERED = "".join(
    f"{name} | 0:{version}-1.el9 | noarch | t\n\n"
    for name, versions in {
        "drv": ("545.23.08", "580.105.08", "580.65.06", "580.95.05"),
        "drvlib": ("545.23.08", "580.105.08", "580.65.06", "580.95.05"),
        "modopen": ("580.95.05",),
    }.items()
    for version in versions
)
SWAP = """\
Last metadata expiration check: 0:02:27 ago on Sun Nov 22 16:02:50 2026.
================================================================================
 Package          Architecture    Version                     Repository   Size
================================================================================
Installing:
 modopen          noarch          580.95.05-1.el9             t           5.5 k
Upgrading:
 drv              noarch          580.105.08-1.el9            t           5.4 k
 drvlib           noarch          580.105.08-1.el9            t           5.4 k
Removing:
 modold           noarch          545.23.08-1.el9             @t            0
{also}
Transaction Summary
================================================================================
Install  1 Package
Upgrade  2 Packages
Remove   1 Package

Total size: 16 k
Error: Operation aborted.
Last metadata expiration check: 0:02:27 ago on Sun Nov 22 16:02:50 2026.
Dependencies resolved.
Nothing to do.
Complete!
"""
LOST = """\
Removing dependent packages:
 needold          noarch          1-1                         @t            0
"""
NOT_FOUND = """\
Error: Unable to find a match: nosuch
================================================================================
 Package          Architecture    Version                     Repository   Size
================================================================================
Removing:
 modold           noarch          545.23.08-1.el9             @t            0

Transaction Summary
================================================================================
Remove  1 Package

Error: Operation aborted.
"""
LONG = """\
Dependencies resolved.
================================================================================
 Package                                      Arch      Version      Repo  Size
================================================================================
Installing:
 nvidia-container-toolkit-with-a-long-name    noarch    1.18.1-1     t    5.5 k
     replacing  drvlib.noarch 545.23.08-1.el9
Installing dependencies:
 a-name-that-is-too-long-for-its-column-in-eighty-characters
                                              x86_64    2:2.0-1      t    5.5 k

Transaction Summary
================================================================================
Install  2 Packages
"""


def of(version: str) -> list[dict[str, str]]:
    return [{"name": name, "version": version, "group": "g"} for name in ("drv", "drvlib")]


def host_of(**answers: Any) -> Host:
    named: Answers = {
        "rpm": answers.get("rpm", (0, OLD)),
        "dnf --quiet versionlock list": (0, answers.get("locks", LOCKED)),
        QUERY: (0, OFFERED),
        WOULD: answers.get("would", (0, SWAP.format(also=""))),
        DOES: answers.get("does", (0, "")),
    }
    return Host(named)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("0:580.95.05-1.el9", "0:580.105.08-1.el9"),
        ("0:580.95.05-1.el9", "1:570.1-1"),
        ("0:1.0~rc1-1", "0:1.0-1"),
        ("0:1.0-1.el9", "0:1.0-1.el9_6"),
        ("0:1.0-1", "0:1.0.1-1"),
        ("0:1.0a-1", "0:1.0.1-1"),
    ],
)
def test_versions_are_ordered_as_rpm_does(older: str, newer: str) -> None:
    assert rpm_key(older) < rpm_key(newer)


def test_table_of_a_transaction() -> None:
    plan = table(SWAP.format(also=LOST))
    assert plan.removes == ("modold", "needold")
    assert plan.installs["drv"] == "580.105.08-1.el9"
    assert plan.new == {"modopen", "modopen-580.95.05-1.el9.noarch"}


def test_table_with_names_that_are_too_long_and_packages_that_are_replaced() -> None:
    plan = table(LONG)
    assert plan.removes == ("drvlib",)
    assert plan.installs["nvidia-container-toolkit-with-a-long-name"] == "1.18.1-1"
    assert plan.installs["a-name-that-is-too-long-for-its-column-in-eighty-characters"] == "2:2.0-1"


def test_highest_version_is_not_that_of_the_letters() -> None:
    host = host_of(rpm=[(0, OLD), (0, OLD), (0, NEW)])
    found = manager(
        Dnf, host, packages=[*of("580.*"), "modopen"], remove=["modold"], hold=["drv", "drvlib"], upgrade=True
    ).present()
    assert host.scripts[-1] == (
        "remove modold\ninstall modopen drv-0:580.105.08-1.el9 drvlib-0:580.105.08-1.el9\nrun\n"
    )
    assert (found["removed"], sorted(found["installed"])) == (["modold"], ["drv", "drvlib", "modopen"])
    assert _installed.load()["me"]["packages"] == {"modopen": "0:580.95.05-1.el9"}


def test_own_lock_does_not_stand_in_the_way_and_is_taken_anew() -> None:
    host = host_of(rpm=[(0, OLD), (0, OLD), (0, NEW)])
    manager(
        Dnf, host, packages=[*of("580.*"), "modopen"], remove=["modold"], hold=["drv", "drvlib"], upgrade=True
    ).present()
    resolving = [line for line in host.asked if "repoquery" in line or "install" in line or "shell" in line]
    assert resolving
    assert all("--disableplugin=versionlock" in line for line in resolving)
    locks = [line for line in host.asked if "versionlock" in line and ("add" in line or "delete" in line)]
    assert locks == ["dnf --quiet versionlock delete drv drvlib", "dnf --quiet versionlock add drv drvlib"]


@pytest.mark.parametrize(
    ("answers", "params", "message"),
    [
        (
            {"would": (0, SWAP.format(also=LOST))},
            {},
            "to install modopen and remove modold, dnf would remove needold, which is not asked for. Remove them by hand if"
            " they are to go. No package was changed.",
        ),
        # dnf's shell would remove all the same, and exit with 0.
        ({"would": (0, NOT_FOUND)}, {}, "Unable to find a match: nosuch"),
        (
            {},
            {"hold": []},
            "to install modopen and remove modold, dnf would change drv, drvlib, locked on this host. Release them if that is"
            " wanted: dnf versionlock delete drv drvlib. No package was changed.",
        ),
        (
            {},
            {"packages": of("545.*"), "remove": []},
            "drv is installed as 0:580.65.06-1.el9, newer than the 0:545.23.08-1.el9 that is wanted; it is not taken back. No"
            " package was changed.",
        ),
    ],
)
def test_dnf_refuses_before_a_package_is_touched(answers: dict[str, Any], params: dict[str, Any], message: str) -> None:
    host = host_of(**answers)
    asked = {"packages": ["modopen"], "remove": ["modold"], "hold": ["drv", "drvlib"], **params}
    with pytest.raises(PackageError) as caught:
        manager(Dnf, host, **asked).present()
    assert message in str(caught.value)
    assert not [line for line in host.asked if line.startswith(DOES)]


def test_removal_without_an_installation_is_done() -> None:
    host = host_of(
        rpm=[(0, OLD), (0, OLD), (0, OLD.replace("modold 0:545.23.08-1.el9 noarch\n", ""))],
        would=(0, NOT_FOUND.replace("Error: Unable to find a match: nosuch\n", "")),
    )
    found = manager(Dnf, host, packages=["drv"], remove=["modold"], hold=["drv", "drvlib"]).present()
    assert host.scripts[-1] == "remove modold\nrun\n"
    assert found["removed"] == ["modold"]


def test_transaction_that_dnf_did_not_do_is_a_failure() -> None:
    """Its shell exits with 0 whatever happens."""
    host = host_of(does=(0, "Error: Unable to find a match: x\n"))
    with pytest.raises(PackageError, match=r"Unable to find a match: x\. The installation broke off"):
        manager(Dnf, host, packages=["modopen"], remove=["modold"], hold=["drv", "drvlib"]).present()


# --- Kernels --------------------------------------------------------------------------------------------------------

RUNNING = "kernel-devel-5.14.0-570.12.1.el9_6.x86_64"
OTHER = "kernel-devel 0:5.14.0-503.40.1.el9_6 x86_64\n"
HERS = "kernel-devel 0:5.14.0-570.12.1.el9_6 x86_64\n"
HEADERS = """\
Installing:
 kernel-devel     x86_64     5.14.0-570.12.1.el9_6     t     5.5 k

Transaction Summary
"""


@pytest.mark.parametrize("there", ["", OTHER])
def test_headers_of_the_running_kernel_by_their_full_name(there: str) -> None:
    """rpm has no package of that name: it is kernel-devel, and several of it may be there."""
    host = Host(
        {
            "rpm": [(0, OLD + there), (0, OLD + there), (0, OLD + there + HERS)],
            "dnf --quiet versionlock list": (0, ""),
            QUERY: (0, "kernel-devel | 0:5.14.0-570.12.1.el9_6 | x86_64 | t\n"),
            WOULD: (1, HEADERS),
        }
    )
    found = manager(Dnf, host, packages=[RUNNING]).present()
    assert f"{DOES} install {RUNNING}" in host.asked
    assert found["installed"] == {RUNNING: "0:5.14.0-570.12.1.el9_6"}
    assert _installed.load()["me"]["packages"] == found["installed"], "and not the other kernel's"
    again = Host({"rpm": (0, OLD + there + HERS)})
    assert manager(Dnf, again, packages=[RUNNING]).present()["changed"] is False
    assert all(line.startswith(("rpm", "dnf --quiet versionlock list")) for line in again.asked)


def test_of_the_kernels_only_ours_is_removed() -> None:
    _installed.save({"me": {"packages": {RUNNING: "0:5.14.0-570.12.1.el9_6"}}})
    host = Host({"rpm": (0, OTHER + HERS), WOULD: (1, HEADERS.replace("Installing", "Removing"))})
    found = manager(Dnf, host).absent()
    assert (found["removed"], found["kept"]) == ([RUNNING], {})
    assert host.asked[-1].endswith(f"remove {RUNNING}")


# --- Sources --------------------------------------------------------------------------------------------------------


def test_vendors_repository_is_the_one_that_counts() -> None:
    repository = {"name": "v", "url": "http://v", "key_url": "http://v/key", "key_fingerprints": ["F" * 40]}
    host = Host({QUERY: (0, "a | 0:2-1 | noarch | epel\na | 0:1-1 | noarch | v\nb | 0:9-1 | noarch | epel\n")})
    versions = manager(Dnf, host, repositories=[repository]).offered(["a", "b"])
    assert (versions["a"], versions["b"]) == (["0:1-1"], ["0:9-1"])


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("[main]\nproxy=http://proxy:3128\n", "http://proxy:3128"),
        ("[main]\nproxy=_none_\n", ""),
        ("[main]\ngpgcheck=1\n", ""),
        ("nonsense", ""),
    ],
)
def test_key_is_fetched_through_dnfs_proxy(
    text: str, proxy: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dnf.conf").write_text(text)
    monkeypatch.setattr(Dnf, "CONFIGURATION", str(tmp_path / "dnf.conf"))
    assert manager(Dnf, Host({})).proxy("https") == proxy
