# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import sys

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import entries, load_catalogue, read_data
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue_checks import (
    DEFAULT_DIRECTORY,
    SECTIONS,
    CatalogueError,
    check_schema,
)
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import Wishes, facts_for
from ansible_collections.sglang.fleet.plugins.module_utils._planner import make_plan

R100 = {
    "title": "NVIDIA R100",
    "vendor": "nvidia",
    "pci_ids": ["10de:aaaa"],
    "memory_mib": 300000,
    "memory_source": "our own hosts",
    "image_class": "cuda13",
}
ISSUE = {
    "severity": "warn",
    "when": {"vendors": ["nvidia"]},
    "message": "it is slow",
    "remedy": "wait",
    "source": "https://example.org/1",
}


def test_built_in_files_keep_to_their_schemas() -> None:
    check_schema(read_data())


@pytest.mark.parametrize("file", sorted(set(SECTIONS.values())))
def test_a_built_in_file_has_its_own_sections_and_no_other(file: str) -> None:
    """check_schema takes section by section; a section that no code reads would pass it."""
    jsonschema = pytest.importorskip("jsonschema")
    yaml = pytest.importorskip("yaml")
    schema = json.loads((DEFAULT_DIRECTORY / "schema" / f"{file}.json").read_text("utf-8"))
    content = yaml.safe_load((DEFAULT_DIRECTORY / f"{file}.yml").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(content)
    assert set(content) == {section for section, home in SECTIONS.items() if home == file}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_has_entries(section: str) -> None:
    assert read_data()[section]


def test_every_vendor_of_a_gpu_and_an_image_is_described() -> None:
    data = read_data()
    assert set(data["vendors"]) == {"amd", "nvidia"}
    assert {entry["vendor"] for entry in (*data["gpus"].values(), *data["images"].values())} == set(data["vendors"])
    for gpu in load_catalogue().gpus.values():
        vendor = data["vendors"][gpu.vendor]
        assert (gpu.reserved_mib, gpu.reserved_mib_per_rank) == (
            vendor["reserved_mib"],
            vendor["reserved_mib_per_rank"],
        )


def test_virtual_functions_are_of_the_gpu_s_own_ids() -> None:
    for name, gpu in read_data()["gpus"].items():
        assert set(gpu.get("virtual_pci_ids", ())) <= set(gpu["pci_ids"]), name


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
    ("10de:20bd", "A800-40GB"),
    ("10de:20f3", "A800"),
    ("10de:2324", "H800"),
    ("10de:2329", "H20"),
    ("10de:232c", "H20-141GB"),
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
    ("1002:75b3", "MI355X"),
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
    catalogue = load_catalogue({"gpus": {"R100": R100}})
    assert catalogue.known_gpus()["10de:aaaa"] == {
        "name": "R100",
        "memory_mib": 300000,
        "vendor": "nvidia",
        "virtual": False,
    }
    assert catalogue.gpus["R100"].generator is None


def test_virtual_function_of_a_changed_entry() -> None:
    ids = {"pci_ids": ["1002:74a1", "1002:fffe"], "virtual_pci_ids": ["1002:fffe"]}
    known = load_catalogue({"gpus": {"MI300X": ids}}).known_gpus()
    assert "1002:74b5" not in known
    assert (known["1002:74a1"]["virtual"], known["1002:fffe"]["virtual"]) == (False, True)


def test_new_model_is_an_entry_and_no_code() -> None:
    base = read_data()["models"]["MiniMax-M2.7"]
    catalogue = load_catalogue(
        {
            "architectures": {"half": {**read_data()["architectures"]["minimax-m2"], "weights_bytes": 115 * 10**9}},
            "models": {"MiniMax-M9": {**base, "id": "MiniMaxAI/MiniMax-M9", "aliases": ["M9"], "architecture": "half"}},
        }
    )
    plan = make_plan(catalogue, facts_for(catalogue, "MI300X", 1), Wishes(model="m9"))
    assert plan.instances[0].server_args["model-path"] == "MiniMaxAI/MiniMax-M9"
    assert (plan.model, plan.instances[0].tp) == ("MiniMax-M9", 1)


def test_vendors_can_be_changed() -> None:
    changed = load_catalogue({"vendors": {"amd": {"reserved_mib": 4096}}})
    assert (changed.gpus["MI300X"].reserved_mib, changed.gpus["H200"].reserved_mib) == (4096, 1536)
    assert changed.gpus["MI300X"].reserved_mib_per_rank == 205


@pytest.mark.parametrize("name", ["M2.7", "MiniMax-M2.7"])
def test_a_model_is_changed_by_its_name_or_an_alias(name: str) -> None:
    changed = load_catalogue({"models": {name: {"mem_fraction_static": 0.8}}})
    assert list(changed.models) == ["MiniMax-M2", "MiniMax-M2.1", "MiniMax-M2.5", "MiniMax-M2.7"]
    model = changed.models["MiniMax-M2.7"]
    assert (model.mem_fraction_static, model.context_length) == (0.8, 204800)
    assert changed.model_names["m2.7"] is changed.model_names["minimaxai/minimax-m2.7"] is model


ALIASES: list[tuple[str, str]] = [
    (alias, f"MiniMax-{version}")
    for version in ("M2", "M2.1", "M2.5", "M2.7")
    for alias in (version.lower(), f"minimax-{version.lower()}", f"minimaxai/minimax-{version.lower()}")
]


def test_every_name_that_a_model_answers_to() -> None:
    assert {name: model.name for name, model in load_catalogue().model_names.items()} == dict(ALIASES)


def test_an_entry_s_own_name_counts_before_another_s_repository() -> None:
    base = {**read_data()["models"]["MiniMax-M2.7"], "aliases": []}
    catalogue = load_catalogue({"models": {"Own": {**base, "id": "me/other"}, "other": {**base, "id": "me/own"}}})
    assert {name: catalogue.model_names[name].name for name in ("own", "other", "me/own", "me/other")} == {
        "own": "Own",
        "other": "other",
        "me/own": "other",
        "me/other": "Own",
    }


def test_names_that_yaml_reads_as_numbers_are_texts() -> None:
    assert list(load_catalogue({"gpus": {100: R100}}).gpus)[-1] == "100"


def test_what_a_model_s_generator_is() -> None:
    models = load_catalogue().models
    assert [
        (name, model.generator_of_gpu, model.generator and model.generator.counts) for name, model in models.items()
    ] == [
        ("MiniMax-M2", False, (4,)),
        ("MiniMax-M2.1", False, (4,)),
        ("MiniMax-M2.5", True, None),
        ("MiniMax-M2.7", True, None),
    ]


def test_a_dense_architecture_whose_weights_have_no_blocks() -> None:
    base = read_data()["architectures"]["minimax-m2"]
    dense = {
        key: value for key, value in base.items() if key not in ("experts", "moe_intermediate_size", "fp8_block_size")
    }
    model = {**read_data()["models"]["MiniMax-M2.7"], "id": "me/dense", "aliases": [], "architecture": "dense"}
    shape = load_catalogue({"architectures": {"dense": dense}, "models": {"Dense": model}}).models["Dense"].architecture
    assert (shape.experts, shape.moe_intermediate_size, shape.fp8_block_size) == (None, None, None)


CHANGE = {"server_args": {"schedule-policy": "lpm"}, "environment": {"A": "1"}}


def test_an_issue_that_changes_the_plan_says_what_it_sets() -> None:
    catalogue = load_catalogue({"known_issues": {"slow": {**ISSUE, "severity": "change", "change": CHANGE}}})
    issue = catalogue.known_issues["slow"]
    assert (issue.change_args, issue.change_environment) == ({"schedule-policy": "lpm"}, {"A": "1"})
    assert load_catalogue({"known_issues": {"slow": ISSUE}}).known_issues["slow"].change_args == {}


@pytest.mark.parametrize("severity", ["note", "warn", "block"])
def test_only_an_issue_of_that_severity_changes_the_plan(severity: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        load_catalogue({"known_issues": {"slow": {**ISSUE, "severity": severity, "change": CHANGE}}})
    assert str(caught.value) == (
        "fleet_catalogue.known_issues.slow: change has no place beside the other values: remove it"
    )


def test_without_jsonschema_overrides_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    assert load_catalogue().gpus
    with pytest.raises(CatalogueError) as caught:
        load_catalogue({"gpus": {"R100": R100}})
    assert str(caught.value) == (
        "fleet_catalogue needs the Python package jsonschema on the controller, beside ansible-core, and it is not there; "
        "install it (pip install jsonschema), or leave fleet_catalogue out"
    )


def test_entries_by_name_and_an_operator_s_own() -> None:
    own = load_catalogue({"accuracy_benchmarks": {"gsm8k": {"max_tokens": 2048}}}).data
    jobs = entries(own, "accuracy_benchmarks", ["aime-2025", "gsm8k"])
    found = [(job["name"], job["tool"], job["max_tokens"]) for job in jobs]
    assert found == [("aime-2025", "nemo-skills", 120000), ("gsm8k", "lm-eval", 2048)]


@pytest.mark.parametrize(
    ("section", "names", "message"),
    [
        (
            "accuracy_benchmarks",
            ["gsm", "gsm8k"],
            r"^accuracy_benchmarks names gsm; known: gsm8k, .*fleet_catalogue\.acc",
        ),
        ("benchmark_profiles", ["lo", "low", "hi"], r"^benchmark_profiles names lo, hi; known: low, medium, high, "),
    ],
)
def test_entries_that_nobody_knows(section: str, names: list[str], message: str) -> None:
    with pytest.raises(CatalogueError, match=message):
        entries(load_catalogue().data, section, names)
