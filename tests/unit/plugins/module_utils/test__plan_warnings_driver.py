# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Drivers and devices that a plan needs on the host."""

from __future__ import annotations

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._known_issues import Warn
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import Wishes, facts_for
from ansible_collections.sglang.fleet.plugins.module_utils._plan_warnings import check_driver
from ansible_collections.sglang.fleet.plugins.module_utils._planner import make_plan
from tests.unit.plugins.module_utils.fixtures.plans import (
    CATALOGUE,
    NO_DRIVER,
    NO_VERSION,
    plan_of,
    refusal,
    warned,
)

# Drivers.
ABSENT = (
    "no amdgpu driver on the host: lmsysorg/sglang:v0.5.10.post1-rocm720-mi30x (ROCm 7.2) needs amdgpu 30.10 (module 6.14.14) "
    "or newer; install amdgpu 30.30"
)


def test_a_driver_that_is_missing() -> None:
    facts = {**facts_for(CATALOGUE, "MI300X", 8), **NO_DRIVER}
    assert refusal(lambda: plan_of(facts)) == ("driver", ABSENT)
    plan = make_plan(CATALOGUE, facts, Wishes(), require_driver=False)
    assert warned(plan, "driver") == Warn("driver", "warn", ABSENT)


def test_a_driver_without_a_version_is_a_warning() -> None:
    facts = {**facts_for(CATALOGUE, "MI300X", 8), **NO_VERSION}
    assert warned(plan_of(facts), "driver-version") == Warn(
        "driver-version",
        "warn",
        "the amdgpu driver tells no version (the kernel's own does not), so it was not compared with the amdgpu 30.10 (module "
        "6.14.14) that the image asks for",
    )


def test_gpus_without_device_nodes() -> None:
    facts = facts_for(CATALOGUE, "H200", 4)
    facts["devices"][2]["nodes"] = []
    said = "GPU 2 without a device node: the driver made none; look at the kernel log (dmesg) of the host"
    assert refusal(lambda: plan_of(facts)) == ("driver", said)
    assert warned(make_plan(CATALOGUE, facts, Wishes(), require_driver=False), "driver") == Warn("driver", "warn", said)
    # A GPU that stays idle needs none, nor does a container that sees all of /dev.
    assert warned(plan_of(facts, layout="1x2"), "driver") is None
    assert warned(plan_of(facts, profile="cookbook"), "driver") is None


def test_a_profile_that_asks_for_no_node_of_a_gpu_does_without() -> None:
    entry = CATALOGUE.data["container_profiles"]["hardened"]
    nvidia = entry["nvidia"]
    options = [option for option in nvidia["options"] if "{gpu_node}" not in option]
    assert len(options) < len(nvidia["options"])
    own = {**entry, "nvidia": {**nvidia, "options": options}}
    catalogue = load_catalogue({"container_profiles": {"own": own}})
    facts = facts_for(CATALOGUE, "H200", 4)
    for device in facts["devices"]:
        device["nodes"] = []
    plan = make_plan(catalogue, facts, Wishes(profile="own"))
    assert (plan.layout, warned(plan, "driver")) == ("1x4", None)


UNKNOWN = {"pci_address": "0000:01:00.0", "pci_id": "10de:ffff"}


@pytest.mark.parametrize("layout", ["2x4", "1x4", "1x8"])
def test_servers_that_see_every_gpu_are_refused_beside_unknown_ones(layout: str) -> None:
    facts = {**facts_for(CATALOGUE, "H200", 8), "unknown": [UNKNOWN]}
    assert refusal(lambda: plan_of(facts, profile="cookbook", layout=layout)) == (
        "gpus",
        "a server that sees every GPU takes its own by number, and the host has 10de:ffff at 0000:01:00.0 besides, which the "
        "catalogue does not know: the wrong GPUs could be taken; set fleet_profile to hardened, or take the others out of "
        "the host",
    )
    # What another vendor's driver drives is not counted.
    facts["unknown"] = [{**UNKNOWN, "pci_id": "1002:ffff"}]
    assert plan_of(facts, profile="cookbook", layout=layout).layout == layout


NVIDIA_12 = (
    "lmsysorg/sglang:v0.5.10.post1 (CUDA 12.9.1) needs NVIDIA 575 or newer, or the branch 535, 550, 560, 565 or 570"
)


NVIDIA_13 = (
    "lmsysorg/sglang:v0.5.10.post1-cu130 (CUDA 13.0) needs NVIDIA 580 or newer, or the branch 535, 550, 565, 570 or 575"
)


DRIVERS: list[tuple[str, str, str | None]] = [
    *[("v0.5.10.post1", version, None) for version in ("575.57.08", "580.65.06", "590.1", "570.148.08", "535.309.01")],
    *[
        ("v0.5.10.post1", version, f"the nvidia driver is {version}: {NVIDIA_12}; install NVIDIA 580")
        for version in ("525.60.13", "545.23.06", "555.42.02")
    ],
    *[("v0.5.10.post1-cu130", version, None) for version in ("580.65.06", "575.57.08", "565.1", "535.309.01")],
    *[
        ("v0.5.10.post1-cu130", version, f"the nvidia driver is {version}: {NVIDIA_13}; install NVIDIA 580")
        for version in ("560.35.03", "545.23.06", "525.60.13")
    ],
    *[("v0.5.7-rocm700-mi30x", version, None) for version in ("6.14.14", "6.16.6", "6.16.13", "7.0")],
    (
        "v0.5.7-rocm700-mi30x",
        "6.12.12",
        "the amdgpu driver is 6.12.12: lmsysorg/sglang:v0.5.7-rocm700-mi30x (ROCm 7.0) needs amdgpu 30.10 (module 6.14.14) or "
        "newer; install amdgpu 30.30",
    ),
]


@pytest.mark.parametrize(("image", "version", "message"), DRIVERS)
def test_driver_floor(image: str, version: str, message: str | None) -> None:
    driver = {"name": "x", "version": version, "loaded": True}
    assert check_driver(CATALOGUE.images[image], driver) == message


def test_driver_that_is_not_loaded() -> None:
    assert check_driver(CATALOGUE.images["v0.5.10.post1"], {"name": "nvidia", "version": None, "loaded": False}) == (
        "the nvidia driver is installed but not loaded: run `modprobe nvidia` or reboot the host"
    )


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (
            "570.133.20",
            ["driver 570.133.20 is left alone, though older than NVIDIA 575: the image's own list accepts branch 570"],
        ),
        ("580.95.05", []),
    ],
)
def test_plan_says_why_an_older_driver_is_left_alone(version: str, said: list[str]) -> None:
    facts = facts_for(CATALOGUE, "H200", 8)
    facts["driver"] = {**facts["driver"], "version": version}
    assert [reason for reason in make_plan(CATALOGUE, facts, Wishes()).reasons if "left alone" in reason] == said
