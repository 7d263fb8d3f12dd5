# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""daemon.json: errors with their place, merges that lose nothing, and a way back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._daemon_json import (
    DaemonJsonError,
    added,
    conflicts,
    flags,
    merged,
    needs_restart,
    only_missing,
    parse,
    render,
    replaced,
    without,
)

FOREIGN = {"data-root": "/srv/docker", "log-opts": {"tag": "x"}, "registry-mirrors": ["http://own.example.com"]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{\n  "debug": true,\n  "hosts": [,]\n}\n', ("line 3, column 13", 'at: "hosts": [,]')),
        (
            '{\n  "debug": true\n  "icc": false\n}\n',
            ("line 3, column 3", "Expecting ',' delimiter", 'at: "icc": false'),
        ),
        ("{", ("line 1, column 2", "was not changed")),
        ("[1]", ("a JSON list and not an object", "was not changed")),
    ],
)
def test_broken_file_is_named_with_its_place(text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(DaemonJsonError) as error:
        parse(text)
    assert not [word for word in ("/etc/docker/daemon.json", *words) if word not in str(error.value)], str(error.value)


def test_empty_file_has_no_options() -> None:
    assert parse(" \n") == {}


def test_merge_keeps_what_is_there() -> None:
    wanted = {"log-opts": {"max-size": "5m"}, "registry-mirrors": ["http://m", "http://own.example.com"], "debug": True}
    assert merged(FOREIGN, wanted) == {
        "data-root": "/srv/docker",
        "log-opts": {"tag": "x", "max-size": "5m"},
        "registry-mirrors": ["http://own.example.com", "http://m"],
        "debug": True,
    }
    assert FOREIGN["log-opts"] == {"tag": "x"}, "the old options are not touched"


def test_defaults_lose_against_what_is_there() -> None:
    config = {"live-restore": False, "log-opts": {"max-size": "1m"}}
    wanted = {"live-restore": True, "log-opts": {"max-size": "50m", "max-file": "3"}, "runtimes": {}}
    assert only_missing(config, wanted) == {"log-opts": {"max-file": "3"}, "runtimes": {}}


def test_text_keeps_the_order_of_keys() -> None:
    assert list(json.loads(render({"b": 1, "a": 2}))) == ["b", "a"]
    assert render({"b": 1}).endswith("}\n")


@pytest.mark.parametrize("later", [{}, {"debug": True}, {"registry-mirrors": ["http://late"]}])
def test_what_was_added_can_be_taken_away(later: dict[str, Any]) -> None:
    wanted = {"log-opts": {"max-size": "5m"}, "registry-mirrors": ["http://m"], "live-restore": True}
    now = merged(FOREIGN, wanted)
    assert without(merged(now, later), added(FOREIGN, now)) == merged(FOREIGN, later)


def test_what_somebody_changed_since_stays() -> None:
    now = merged({}, {"live-restore": True})
    assert without({"live-restore": False}, added({}, now)) == {"live-restore": False}


def test_what_was_replaced_is_put_back() -> None:
    before = {"data-root": "/mnt", "icc": True, "log-opts": {"max-size": "1m", "tag": "x"}, "hosts": ["a"]}
    wanted = {"data-root": "/data", "debug": True, "log-opts": {"max-size": "9m", "max-file": "3"}, "hosts": ["b"]}
    now = merged(before, wanted)
    ours, originals = added(before, now), replaced(before, now, {}, {})
    assert originals == {"data-root": "/mnt", "log-opts": {"max-size": "1m"}}
    assert without(now, ours, originals) == before
    # A later merge takes nothing of ours for an original, and what somebody changed since stays.
    later = merged(now, {"data-root": "/data2", "log-opts": {"max-size": "7m"}})
    known = replaced(now, later, ours, originals)
    assert known == originals
    assert without(later, merged(ours, added(now, later)), known) == before
    assert without({**later, "data-root": "/other"}, merged(ours, added(now, later)), known)["data-root"] == "/other"
    assert replaced({"debug": True}, {"debug": False}, {"debug": True}, {}) == {}, "there was none before ours"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("dockerd -H fd:// --containerd=/run/c.sock", {"hosts": ["fd://"], "containerd": "/run/c.sock"}),
        ("dockerd -H fd:// -Htcp://a -D", {"hosts": ["fd://", "tcp://a"], "debug": True}),
        ("dockerd --live-restore=false --iptables", {"live-restore": False, "iptables": True}),
        (
            "dockerd --registry-mirror http://a --registry-mirror=http://b",
            {"registry-mirrors": ["http://a", "http://b"]},
        ),
        ("dockerd --log-opt max-size=5m --log-driver local", {"log-opts": {"max-size": "5m"}, "log-driver": "local"}),
        ("dockerd --config-file /x.json --data-root /srv", {"data-root": "/srv"}),
        ("dockerd --add-runtime nvidia=/usr/bin/n", {"runtimes": {"nvidia": {"path": "/usr/bin/n"}}}),
    ],
)
def test_command_line_as_options(line: str, found: dict[str, Any]) -> None:
    assert flags(line.split()) == found


def test_options_that_stand_twice() -> None:
    assert conflicts({"hosts": [], "debug": True}, flags(["dockerd", "-H", "fd://"])) == ["hosts"]
    assert conflicts({"runtimes": {}}, flags(["dockerd", "--add-runtime=nvidia=/usr/bin/n"])) == []


def test_what_needs_a_restart() -> None:
    assert needs_restart(["live-restore", "runtimes", "log-opts", "registry-mirrors", "features"]) == [
        "features",
        "log-opts",
    ]
