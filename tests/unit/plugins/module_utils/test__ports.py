# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import socket

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._ports import (
    Listener,
    conflicts,
    holders,
    loopback_by_name,
    parent_of,
    parse_listeners,
    resolve,
)

# Lines of a real /proc/net/tcp and, cut after the inode, tcp6.
TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:7530 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 41234 1 0000000000000000 100 0 0 10 0
   1: 0B001EAC:0016 01001EAC:D5AE 01 00000000:00000000 02:0009CE9E 00000000     0        0 41999 2 0000000000000000 20 4 31 10 -1
   2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 40001 1 0000000000000000 100 0 0 10 0
"""
TCP6 = """\
  sl  local_address remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 50001 1
   1: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 50002 1
   2: 0000000000000000FFFF00000100007F:1F91 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 50003 1
"""


def test_listeners_are_read() -> None:
    assert parse_listeners(TCP) == [Listener("127.0.0.1", 30000, "41234"), Listener("0.0.0.0", 22, "40001")]
    assert parse_listeners(TCP6) == [
        Listener("::", 80, "50001"),
        Listener("::1", 8080, "50002"),
        Listener("127.0.0.1", 8081, "50003"),
    ]


@pytest.mark.parametrize(
    ("held", "wanted", "conflict"),
    [
        (("127.0.0.1", 30000), ("127.0.0.1", 30000), True),
        (("127.0.0.1", 30000), ("127.0.0.1", 30001), False),
        (("10.0.0.1", 30000), ("127.0.0.1", 30000), False),
        (("0.0.0.0", 30000), ("127.0.0.1", 30000), True),
        (("::", 30000), ("10.0.0.1", 30000), True),
        (("10.0.0.1", 30000), ("0.0.0.0", 30000), True),
        (("10.0.0.1", 30000), ("::", 30000), True),
        (("0.0.0.0", 30000), ("::1", 30000), False),
        (("::1", 30000), ("0.0.0.0", 30000), False),
    ],
)
def test_which_listeners_are_in_the_way(held: tuple[str, int], wanted: tuple[str, int], conflict: bool) -> None:
    assert conflicts(Listener(*held, "1"), *wanted) is conflict


def test_the_parent_of_a_process_with_an_odd_name() -> None:
    assert parent_of("42 (a) b (c)) S 7 42 42 0") == 7


def test_this_process_is_found_by_its_port() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        found = holders(["127.0.0.1"], port)
    assert [holder["pid"] for holder in found] == [os.getpid()]
    assert os.getppid() in found[0]["ancestors"]  # type: ignore[operator]


def test_a_free_port_has_no_holder() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    assert holders(["127.0.0.1"], port) == []


def test_a_name_is_resolved() -> None:
    assert "127.0.0.1" in resolve("localhost")
    assert resolve("10.0.0.1") == ["10.0.0.1"]


@pytest.mark.parametrize(
    ("address", "resolved", "hidden"),
    [
        ("gpu-01.example.com", ["127.0.1.1"], True),
        ("gpu-01.example.com", ["10.0.0.1"], False),
        ("gpu-01.example.com", ["10.0.0.1", "127.0.1.1"], False),
        ("localhost", ["127.0.0.1", "::1"], False),
        ("127.0.0.1", ["127.0.0.1"], False),
    ],
)
def test_a_name_that_is_loopback_in_disguise(address: str, resolved: list[str], hidden: bool) -> None:
    assert loopback_by_name(address, resolved) is hidden
