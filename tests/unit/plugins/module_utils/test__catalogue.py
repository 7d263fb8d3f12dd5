# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import sys
import typing as t

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import (
    DEFAULT_DIRECTORY,
    SECTIONS,
    CatalogueError,
    check_schema,
    load_catalogue,
    read_data,
)
from ansible_collections.sglang.fleet.plugins.module_utils._planner import Wishes, facts_for, make_plan

H20 = {
    "title": "NVIDIA H20",
    "vendor": "nvidia",
    "pci_ids": ["10de:2329"],
    "memory_mib": 97871,
    "memory_source": "our own hosts",
    "image_class": "cuda",
}


def test_built_in_files_keep_to_their_schemas() -> None:
    check_schema(read_data())


@pytest.mark.parametrize("file", sorted(set(SECTIONS.values())))
def test_schemas_are_schemas(file: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((DEFAULT_DIRECTORY / "schema" / f"{file}.json").read_text("utf-8"))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)


PCI_TABLE: list[tuple[str, str]] = [
    ("10de:20b0", "A100-40GB"),
    ("10de:20f1", "A100-40GB"),
    ("10de:20b2", "A100"),
    ("10de:20b5", "A100"),
    ("10de:2330", "H100"),
    ("10de:2331", "H100"),
    ("10de:2321", "H100-94GB"),
    ("10de:2335", "H200"),
    ("10de:233b", "H200"),
    ("10de:2901", "B200"),
    ("10de:2909", "B200"),
    ("10de:2941", "GB200"),
    ("10de:3182", "B300"),
    ("10de:31c2", "GB300"),
    ("10de:31a1", "GB300"),
    ("1002:74a1", "MI300X"),
    ("1002:74b5", "MI300X"),
    ("1002:74bd", "MI300X"),
    ("1002:74a2", "MI308X"),
    ("1002:74a5", "MI325X"),
    ("1002:75a0", "MI350X"),
    ("1002:75a3", "MI355X"),
]


@pytest.mark.parametrize(("pci_id", "name"), PCI_TABLE)
def test_known_gpus(pci_id: str, name: str) -> None:
    assert load_catalogue().known_gpus()[pci_id]["name"] == name


@pytest.mark.parametrize("pci_id", ["10de:1af1", "10de:22a3"])
def test_nvswitches_are_no_gpus(pci_id: str) -> None:
    assert pci_id not in load_catalogue().known_gpus()


def test_same_object_in_a_process() -> None:
    assert load_catalogue() is load_catalogue({}) is load_catalogue(None)


def test_partial_entry_changes_one_fact_and_leaves_the_built_in_alone() -> None:
    changed = load_catalogue({"gpus": {"H200": {"memory_mib": 140000}}})
    assert changed.gpus["H200"].memory_mib == 140000
    assert changed.gpus["H200"].pci_ids == ("10de:2335", "10de:233b")
    assert load_catalogue().gpus["H200"].memory_mib == 143771


def test_lists_are_replaced() -> None:
    changed = load_catalogue({"gpus": {"H200": {"pci_ids": ["10de:aaaa"]}}})
    assert changed.gpus["H200"].pci_ids == ("10de:aaaa",)


def test_new_gpu() -> None:
    catalogue = load_catalogue({"gpus": {"H20": H20}})
    assert catalogue.known_gpus()["10de:2329"] == {"name": "H20", "memory_mib": 97871, "vendor": "nvidia"}


def test_new_model_is_an_entry_and_no_code() -> None:
    base = read_data()["models"]["M2.7"]
    catalogue = load_catalogue(
        {
            "architectures": {"half": {**read_data()["architectures"]["minimax-m2"], "weights_bytes": 115 * 10**9}},
            "models": {"M9": {**base, "id": "MiniMaxAI/MiniMax-M9", "architecture": "half"}},
        }
    )
    plan = make_plan(catalogue, facts_for(catalogue, "MI300X", 1), Wishes(model="M9"))
    assert plan.instances[0].server_args["model-path"] == "MiniMaxAI/MiniMax-M9"
    assert plan.instances[0].tp == 1


FAILURES: list[tuple[t.Any, str]] = [
    (
        ["gpus"],
        "fleet_catalogue must be a mapping of gpus, architectures, models, images, patches, container_profiles, "
        "known_issues, not list",
    ),
    (
        {"gpu": {}},
        "fleet_catalogue: unknown section gpu; known: gpus, architectures, models, images, patches, "
        "container_profiles, known_issues",
    ),
    ({"gpus": ["H20"]}, "fleet_catalogue.gpus must be a mapping of name to entry, not list"),
    (
        {"gpus": {"H200": {"memory_mib": "141G"}}},
        "fleet_catalogue.gpus.H200.memory_mib: '141G' is not of type 'integer'",
    ),
    ({"gpus": {"H200": 3}}, "fleet_catalogue.gpus.H200: 3 is not of type 'object'"),
    (
        {"gpus": {"H20": {key: value for key, value in H20.items() if key != "vendor"}}},
        "fleet_catalogue.gpus.H20: 'vendor' is a required property",
    ),
    (
        {"gpus": {"H200": {"memory": 5}}},
        "fleet_catalogue.gpus.H200: unknown key memory; known: title, vendor, pci_ids, memory_mib, memory_source, "
        "compute_capability, gfx, image_class, generator",
    ),
    (
        {"gpus": {"H20": {**H20, "pci_ids": ["10de:2335"]}}},
        "fleet_catalogue: gpus.H20 and gpus.H200 both claim PCI ID 10de:2335",
    ),
    (
        {"models": {"M2.7": {"architecture": "m3"}}},
        "fleet_catalogue: models.M2.7.architecture names m3, which is not in architectures (minimax-m2)",
    ),
    (
        {"images": {"v0.5.9": {"patches": ["nope"]}}},
        "fleet_catalogue: images.v0.5.9.patches names nope, which is not in patches (transformers-module-name, "
        "minimax-m2-torch-compile)",
    ),
    (
        {"patches": {"minimax-m2-torch-compile": {"line": "  indented"}}},
        "fleet_catalogue.patches.minimax-m2-torch-compile: '  indented' does not match '^\\\\S(.*\\\\S)?$'",
    ),
]


@pytest.mark.parametrize(("overrides", "message"), FAILURES)
def test_wrong_overrides(overrides: t.Any, message: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        load_catalogue(overrides)
    assert str(caught.value) == message


def test_without_jsonschema_overrides_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    assert load_catalogue().gpus
    with pytest.raises(CatalogueError) as caught:
        load_catalogue({"gpus": {"H20": H20}})
    assert str(caught.value) == (
        "fleet_catalogue needs the Python package jsonschema on the controller, beside ansible-core, and it is not there; "
        "install it (pip install jsonschema), or leave fleet_catalogue out"
    )
