# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.sglang.fleet.plugins.action.driver_plan import make, wishes_of
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._drivers import DriverError
from ansible_collections.sglang.fleet.plugins.module_utils._nvidia_host import NvidiaWishes
from tests.unit.plugins.module_utils.test__drivers_nvidia import host

ROLE = Path(__file__).resolve().parents[4] / "roles" / "nvidia_driver"
B300 = {"vendor": "nvidia", "model": "B300", "driver": {}}


def facts(**more: t.Any) -> dict[str, t.Any]:
    return {"fleet_host": host("debian-13"), "gpu": B300, **more}


def test_the_planned_image_says_which_driver() -> None:
    image = {"fleet_plan": {"image": {"name": "v0.5.10.post1-cu130"}}}
    catalogue = load_catalogue()
    with pytest.raises(DriverError, match="545 is asked for"):
        make(catalogue, facts(**image), {"branch": "545"}, None)
    assert make(catalogue, facts(**image), None, None)["branch"] == "580"
    # Without a plan nothing asks for a driver but the GPU.
    assert make(catalogue, facts(), None, None)["branch"] == catalogue.data["drivers"]["nvidia"]["default_branch"]


def test_host_without_a_gpu() -> None:
    with pytest.raises(DriverError, match="no GPU that the catalogue knows"):
        make(load_catalogue(), facts(gpu={"vendor": "none"}), None, None)


def test_wishes_as_templates_give_them() -> None:
    given = {
        "branch": None,
        "version": "",
        "source": "distribution",
        "imex": "True",
        "headers": False,
        "key_fingerprints": ["AB"],
    }
    assert wishes_of(NvidiaWishes, "nvidia", given) == NvidiaWishes(
        source="distribution", imex=True, headers=False, key_fingerprints=("AB",)
    )
    assert wishes_of(NvidiaWishes, "nvidia", None) == NvidiaWishes()
    with pytest.raises(DriverError, match="unknown key brunch of nvidia; known: driver, branch"):
        wishes_of(NvidiaWishes, "nvidia", {"brunch": "580"})


def test_the_role_hands_every_wish_over() -> None:
    handed = yaml.safe_load((ROLE / "vars/main.yml").read_text("utf-8"))["__nvidia_driver_wishes"]
    assert set(handed) == {field.name for field in dataclasses.fields(NvidiaWishes)}
    options = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text("utf-8"))["argument_specs"]["main"]["options"]
    used = " ".join(handed.values())
    unused = [name for name in options if name not in used]
    assert unused == ["nvidia_driver_while_serving", "nvidia_driver_gather", "nvidia_driver_catalogue"]
