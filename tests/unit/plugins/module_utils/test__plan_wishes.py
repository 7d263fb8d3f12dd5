# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What single wishes may be, and that the inventory's check and the planner say the same of them."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._inventory import check_inventory, read_specs
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import Wishes, facts_for
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import PlanError
from ansible_collections.sglang.fleet.plugins.module_utils._plan_wishes import (
    address_problem,
    ep_problem,
    folder_problem,
    fraction_problem,
    image_problem,
    port_problem,
)
from ansible_collections.sglang.fleet.plugins.module_utils._planner import make_plan

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(("port", "instances"), [(1024, 1), (30000, 8), (65535, 1), (65534, 2), (65528, 8), (1024, 64)])
def test_ports(port: int, instances: int) -> None:
    assert port_problem(port, instances) is None


@pytest.mark.parametrize(
    ("port", "instances", "message"),
    [
        *[(port, 1, f"fleet_port is {port}: set it between 1024 and 65535") for port in (-1, 0, 80, 1023, 65536)],
        *[
            (
                port,
                2,
                f"fleet_port is {port}: set it between 1024 and 65534 (the layout takes 2 ports from there on)",
            )
            for port in (1023, 65535)
        ],
    ],
)
def test_ports_that_will_not_do(port: int, instances: int, message: str) -> None:
    assert port_problem(port, instances) == message


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.0.0.7",
        "::",
        "::1",
        "fd00::7",
        "localhost",
        "gpu-01",
        "gpu-01.example.org",
        "1st.example",
    ],
)
def test_addresses(address: str) -> None:
    assert address_problem(address) is None


@pytest.mark.parametrize(
    "address",
    [
        *(
            "",
            "256.0.0.1",
            "10.0.0",
            "1234",
            "127.0.0.1:80",
            "[::1]",
            "-a",
            "a-",
            "a..b",
            ".a",
            "a.",
            "a_b",
            "a b",
            "a/b",
        ),
        *("localhost\n", "$(id)", "a" * 64, "http://a", "10.0.0.0/24"),
    ],
)
def test_addresses_that_will_not_do(address: str) -> None:
    assert address_problem(address) == (
        f"fleet_address is {address!r}: set it to an IP address of the host, such as 127.0.0.1, to 0.0.0.0 for all, or to a "
        "host name"
    )


@pytest.mark.parametrize("folder", ["/data", "/data/", "/var/lib/sglang-fleet/huggingface", "/a@b/c+d/_e.f-1"])
def test_folders(folder: str) -> None:
    assert folder_problem(folder) is None


@pytest.mark.parametrize(
    "folder",
    ["", "/", "//", "/a//b", "weights", "./a", "~/a", "/a b", "/a:b", "/a,b", "/a$b", "/a'b", "/a\n", "/\u00e9"],
)
def test_folders_that_will_not_do(folder: str) -> None:
    assert folder_problem(folder) == (
        f"fleet_weights_dir is {folder!r}: set it to an absolute path of letters, digits and . _ @ + -, for example "
        "/var/lib/sglang-fleet/huggingface"
    )


@pytest.mark.parametrize(
    "image",
    [
        *("sglang:v1", "lmsysorg/sglang:v0.5.10.post1", "mirror.example:5000/lmsysorg/sglang:v1"),
        *(f"a@{DIGEST}", f"a/b:v1@{DIGEST}", "a-b.c_d/e:V1_x.y-z", "10.0.0.1:5000/a:v1"),
    ],
)
def test_images(image: str) -> None:
    assert image_problem(image) is None


@pytest.mark.parametrize(
    "image",
    [
        *("", "sglang", "lmsysorg/sglang", ":v1", "a:", "a@sha256:00", f"a@{DIGEST}0", "A/b:v1", "a b:v1", "a:v1\n"),
        *("https://a/b:v1", "a:b:v1", "a//b:v1", "-a:v1", "a:v1;id", "/a:v1"),
    ],
)
def test_images_that_will_not_do(image: str) -> None:
    assert image_problem(image) == (
        f"fleet_image is {image!r}: set it to NAME:TAG or NAME@sha256:DIGEST, or leave it out for the published one"
    )


def test_fractions() -> None:
    assert [fraction_problem(value) for value in (0.001, 0.85, 0.999)] == [None] * 3
    for value in (0, -0.1, 1, 1.0, 85, float("nan"), float("inf")):
        assert fraction_problem(value) == (
            f"fleet_mem_fraction_static is {value:g}: set it above 0 and below 1, for example 0.85"
        )


def test_expert_parallelism() -> None:
    assert [ep_problem(value) for value in (1, 8)] == [None, None]
    for value in (0, -1):
        assert ep_problem(value) == (
            f"fleet_ep is {value}: set it to 1 for no expert parallelism, to a size that divides tp, or leave it out"
        )


ALIKE: list[tuple[str, t.Any]] = [
    ("port", 80),
    ("address", "256.0.0.1"),
    ("weights_dir", "weights"),
    ("image", "lmsysorg/sglang"),
    ("mem_fraction_static", 85.0),
    ("ep", 0),
]


@pytest.mark.parametrize(("name", "value"), ALIKE)
def test_the_inventory_s_check_and_the_planner_say_the_same(name: str, value: t.Any) -> None:
    catalogue = load_catalogue()
    with pytest.raises(PlanError) as caught:
        make_plan(catalogue, facts_for(catalogue, "H200", 8), Wishes(layout="1x8", **{name: value}))
    assert caught.value.rule is None
    found = check_inventory({f"fleet_{name}": value, "fleet_layout": "1x8"}, read_specs())
    assert found.problems == [str(caught.value)]


def test_no_image_is_the_published_one() -> None:
    catalogue = load_catalogue()
    facts = facts_for(catalogue, "H200", 8)
    assert make_plan(catalogue, facts, Wishes(image="")) == make_plan(catalogue, facts, Wishes())
    assert check_inventory({"fleet_image": ""}, read_specs()).problems == []
