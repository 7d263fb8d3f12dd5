# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who fetches the weights from where."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._weights_plan import (
    bad_files,
    decide,
    shared_with,
    space_problem,
    summary,
    what_next,
    wrong_files,
)

GB = 10**9


def host(
    name: str,
    missing: int = 4,
    *,
    source: str = "hub",
    share: bool = True,
    free: int = 500 * GB,
    revision: str = "1",
    unverified: int = 0,
    damaged: int = 0,
    marks: dict[str, str] | None = None,
) -> dict[str, Any]:
    """The facts of a host that lacks some of four files of 10 GB."""
    return {
        "repository": "org/toy",
        "revision": revision,
        "directory": "/w",
        "files": 4,
        "bytes": 40 * GB,
        "missing": [f"f{number}" for number in range(missing)],
        "unverified": [{"path": f"u{number}", "reason": "never verified"} for number in range(unverified)],
        "damaged": [{"path": f"d{number}", "reason": "size is 1, locked 2"} for number in range(damaged)],
        "bytes_needed": missing * 10 * GB,
        "bytes_to_fetch": (missing + damaged) * 10 * GB,
        "bytes_free": free,
        "bytes_other": 0,
        "filesystem": {"type": "ext4", "source": "/dev/sda1", "mount": "/"},
        "offer": {"url": f"http://{name}:30090", "share": share, "source": source},
        "marks": marks or {},
    }


FULL = {"missing": 0}


@pytest.mark.parametrize(
    ("options", "roles"),
    [
        ({"a": {}}, {"a": "seed"}),
        ({"a": FULL}, {"a": "none"}),
        ({"a": {}, "b": {}, "c": {}}, {"a": "seed", "b": "peer", "c": "peer"}),
        ({"a": {}, "b": {"missing": 2}, "c": {}}, {"a": "peer", "b": "seed", "c": "peer"}),  # the one that lacks least
        ({"a": {}, "b": FULL, "c": {}}, {"a": "peer", "b": "serve", "c": "peer"}),  # nobody asks the hub
        ({"a": FULL, "b": FULL}, {"a": "none", "b": "none"}),
        ({"a": {}, "b": {"share": False}, "c": {}}, {"a": "seed", "b": "seed", "c": "peer"}),
        ({"a": FULL, "b": {"share": False}}, {"a": "none", "b": "seed"}),
        ({"a": {"source": "folder"}, "b": {}}, {"a": "seed", "b": "peer"}),
        ({"a": {"source": "folder"}, "b": {"source": "folder"}}, {"a": "seed", "b": "seed"}),
        ({"a": {"source": "bundle"}, "b": {"source": "bundle"}}, {"a": "seed", "b": "peer"}),
        ({"a": {}, "b": {"revision": "2"}}, {"a": "seed", "b": "seed"}),
        ({"a": {"free": GB}, "b": {}}, {"a": "none", "b": "seed"}),
        ({"a": {"missing": 0, "unverified": 1}}, {"a": "seed"}),
        ({"a": {"missing": 0, "damaged": 1}, "b": FULL}, {"a": "peer", "b": "serve"}),
    ],
)
def test_roles(options: dict[str, dict[str, Any]], roles: dict[str, str]) -> None:
    hosts = {name: host(name, **more) for name, more in options.items()}
    assert {name: decide(name, hosts)["role"] for name in hosts} == roles


def test_three_hosts() -> None:
    hosts = {name: host(name) for name in ("a", "b", "c")}
    a, b, c = (decide(name, hosts) for name in hosts)
    assert a["peers"] == [{"host": "b", "url": "http://b:30090"}, {"host": "c", "url": "http://c:30090"}]
    assert [peer["host"] for peer in b["peers"]] == ["a", "c"]
    assert [plan["rank"] for plan in (a, b, c)] == [0, 1, 2]
    assert [plan["fallback"] for plan in (a, b, c)] == [False, True, True]
    assert [plan["serves"] for plan in (a, b, c)] == [True, True, True]
    assert a["needed"] == ["f0", "f1", "f2", "f3"]


def test_two_hosts_and_only_the_seed_passes_on() -> None:
    hosts = {name: host(name) for name in ("a", "b")}
    assert [decide(name, hosts)["serves"] for name in hosts] == [True, False]


def test_alone_nobody_is_served() -> None:
    plan = decide("a", {"a": host("a")})
    assert (plan["serves"], plan["peers"]) == (False, [])


def test_bundle_asks_no_hub() -> None:
    hosts = {name: host(name, source="bundle") for name in ("a", "b")}
    assert decide("b", hosts)["fallback"] is False


def test_host_with_a_folder_of_its_own_asks_nobody_and_passes_on() -> None:
    hosts = {"a": host("a", source="folder"), "b": host("b")}
    assert (decide("a", hosts)["peers"], decide("a", hosts)["serves"]) == ([], True)
    assert [peer["host"] for peer in decide("b", hosts)["peers"]] == ["a"]


BOTH = {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("marks", "together"),
    [
        ({"a": {}, "b": {}}, ["a"]),
        ({"a": BOTH, "b": BOTH}, ["a", "b"]),
        ({"a": {"a": "1"}, "b": {"b": "2"}}, ["a"]),
        ({"a": {"a": "1"}, "b": BOTH}, ["a"]),  # b's disk is a copy of a's
        ({"a": BOTH, "b": {"b": "2"}}, ["a"]),  # a's is a copy of b's
        ({"a": {"a": "1", "b": "old"}, "b": BOTH}, ["a"]),
    ],
)
def test_shared_folder(marks: dict[str, dict[str, str]], together: list[str]) -> None:
    hosts = {name: host(name, marks=marks[name]) for name in marks}
    assert shared_with("a", hosts) == together


def test_one_of_the_hosts_with_one_folder_downloads() -> None:
    hosts = {"a": host("a", marks=BOTH), "b": host("b", marks=BOTH), "c": host("c", marks={"c": "3"})}
    plans = {name: decide(name, hosts) for name in hosts}
    assert {name: (plan["role"], plan["with"]) for name, plan in plans.items()} == {
        "a": ("seed", ""),
        "b": ("shared", "a"),
        "c": ("peer", ""),
    }
    assert [peer["host"] for peer in plans["c"]["peers"]] == ["a"]


@pytest.mark.parametrize(
    ("free", "said"),
    [
        (500 * GB, ""),
        (41 * GB, ""),
        (
            40 * GB,  # 1 % more than the files must be there
            "the weights of org/toy (40.0 GB) need 40.4 GB more in /w, and 40.0 GB are free there (ext4 /dev/sda1 at /). "
            "Free 400.0 MB, or set fleet_weights_dir to a folder on a larger disk. Nothing was fetched.",
        ),
    ],
)
def test_space(free: int, said: str) -> None:
    assert space_problem(host("a", free=free)) == said


def test_space_that_other_weights_take_is_told() -> None:
    assert " Other weights take 230.0 GB of it. " in space_problem({**host("a", free=0), "bytes_other": 230 * GB})


@pytest.mark.parametrize(
    ("options", "others", "said"),
    [
        ({}, {}, "fetch 4 of 4 files (40.0 GB) from the hub"),
        ({"missing": 1, "damaged": 1}, {}, "fetch 2 of 4 files (20.0 GB) from the hub"),
        ({"missing": 0, "unverified": 3}, {}, "hash 3 files that are here"),
        (
            {"missing": 1, "unverified": 3},
            {},
            "fetch 1 of 4 files (10.0 GB) from the hub and hash 3 files that are here",
        ),
        ({}, {"b": FULL}, "fetch 4 of 4 files (40.0 GB) from the other hosts of the run"),
        (FULL, {"b": {}}, "pass the weights on to the other hosts of the run"),
        (FULL, {}, "nothing to do"),
    ],
)
def test_what_next(options: dict[str, Any], others: dict[str, dict[str, Any]], said: str) -> None:
    hosts = {"a": host("a", **options), **{name: host(name, **more) for name, more in others.items()}}
    assert what_next(decide("a", hosts), hosts["a"], "the hub") == said


@pytest.mark.parametrize(
    ("kind", "others", "unmarked", "said"),
    [
        ("nfs4", {"b": {}}, True, ", or wait for a host that shares the folder (nfs4)"),
        ("nfs4", {"b": {}}, False, ""),
        ("nfs4", {}, True, ""),
        ("xfs", {"b": {}}, True, ""),
    ],
)
def test_shared_folder_that_check_mode_cannot_tell(
    kind: str, others: dict[str, dict[str, Any]], unmarked: bool, said: str
) -> None:
    hosts = {"a": host("a"), **{name: host(name, **more) for name, more in others.items()}}
    hosts["a"]["filesystem"]["type"] = kind
    text = what_next(decide("a", hosts), hosts["a"], "the hub", unmarked)
    assert text == f"fetch 4 of 4 files (40.0 GB) from the hub{said}"


def test_words_for_damage() -> None:
    facts = host("a", 1, damaged=1, unverified=1)
    assert bad_files(facts) == ["d0: size is 1, locked 2"]
    assert wrong_files(facts) == ["f0: missing", "d0: size is 1, locked 2", "u0: never verified"]


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ([], ""),
        ([{"skipped": True}], ""),
        ([{"progress": {"from_hub": 0, "from_peers": 0, "from_source": 0}}], ""),
        (
            [
                {"progress": {"from_hub": 40 * GB}},
                {"progress": {"from_peers": 40 * GB}},
                {"progress": {"from_peers": 40 * GB}},
                {},
            ],
            "weights for 3 hosts: 40.0 GB (40000000000 bytes) from the hub, 80.0 GB (80000000000 bytes) from one another; "
            "every file verified",
        ),
        (
            [{"progress": {"from_source": 5}}],
            "weights for 1 host: 5 B (5 bytes) from the source; every file verified",
        ),
    ],
)
def test_summary(results: list[dict[str, Any]], said: str) -> None:
    assert summary(results) == said
