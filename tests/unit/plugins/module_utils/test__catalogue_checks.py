# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with an operator's additions to the catalogue: their form, and what entries say of one another."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue, read_data
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue_checks import CatalogueError, check_references

NAMES = (
    "vendors, gpus, architectures, models, images, drivers, container_tools, patches, container_profiles, known_issues, references, "
    "benchmark_profiles, accuracy_benchmarks"
)
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
MODEL = {**read_data()["models"]["MiniMax-M2.7"], "id": "me/own"}
GPU_KEYS = "title, vendor, pci_ids, virtual_pci_ids, memory_mib, memory_source, compute_capability, gfx, image_class, generator"
HARDWARE = "fleet_catalogue: images.v0.5.9 is for nvidia, and its hardware mi40x is that of gpus.R100, which is amd's"
MODEL_ARGS = "models.MiniMax-M2.7.server_args.nvidia"
#: a server argument that is not the catalogue's to set, and what is said of it
ARGUMENTS = [
    ("tp-size", ": the plan sets --tp-size itself; remove it"),
    ("mem-fraction-static", ": the plan sets --mem-fraction-static itself; remove it"),
    (
        "hf-token",
        ": its value is a secret, and would stand in the plan and in files that others read; remove it (keys of clients go to "
        "fleet_api_key, a Hugging Face token to fleet_hf_token)",
    ),
    (
        "dp-size",
        ": --dp-size changes how many GPUs a server takes, or what each holds; the layout of one node is what is planned: "
        "remove it and use fleet_layout",
    ),
]


def test_what_the_built_in_entries_say_of_one_another_is_true() -> None:
    check_references(read_data(), "")


FAILURES: list[tuple[t.Any, str]] = [
    (["gpus"], f"fleet_catalogue must be a mapping of {NAMES}, not list"),
    ({"gpu": {}}, f"fleet_catalogue: unknown section gpu; known: {NAMES}"),
    ({"gpus": ["H20"]}, "fleet_catalogue.gpus must be a mapping of name to entry, not list"),
    (
        {"gpus": {"H200": {"memory_mib": "141G"}}},
        "fleet_catalogue.gpus.H200.memory_mib: '141G' is not of type 'integer'",
    ),
    ({"gpus": {"H200": 3}}, "fleet_catalogue.gpus.H200: 3 is not of type 'object'"),
    (
        {"gpus": {"R100": {key: value for key, value in R100.items() if key != "vendor"}}},
        "fleet_catalogue.gpus.R100: 'vendor' is a required property",
    ),
    (
        {"gpus": {"H200": {"memory": 5}}},
        "fleet_catalogue.gpus.H200: unknown key memory; known: title, vendor, pci_ids, virtual_pci_ids, memory_mib, "
        "memory_source, compute_capability, gfx, image_class, generator",
    ),
    (
        {"gpus": {"R100": {**R100, "pci_ids": ["10de:2335"]}}},
        "fleet_catalogue: gpus.R100 and gpus.H200 both claim PCI ID 10de:2335",
    ),
    (
        {"models": {"M2.7": {"architecture": "m3"}}},
        "fleet_catalogue: models.MiniMax-M2.7.architecture names m3, which is not in architectures (minimax-m2)",
    ),
    (
        {"images": {"v0.5.9": {"patches": ["nope"]}}},
        "fleet_catalogue: images.v0.5.9.patches names nope, which is not in patches (transformers-module-name, "
        "minimax-m2-torch-compile)",
    ),
    (
        {"patches": {"minimax-m2-torch-compile": {"line": "  indented"}}},
        "fleet_catalogue.patches.minimax-m2-torch-compile.line: '  indented' does not match '^\\\\S(.*\\\\S)?$'",
    ),
    (
        {"vendors": {"intel": {"title": "Intel"}}},
        "fleet_catalogue.vendors: 'intel' is not one of ['amd', 'nvidia']\n"
        "fleet_catalogue.vendors.intel: 'reserved_mib' is a required property\n"
        "fleet_catalogue.vendors.intel: 'reserved_mib_per_rank' is a required property\n"
        "fleet_catalogue.vendors.intel: 'reserved_source' is a required property",
    ),
    (
        {"vendors": {"amd": {"reserved_mib": -1}}},
        "fleet_catalogue.vendors.amd.reserved_mib: -1 is less than the minimum of 0",
    ),
    (
        {"known_issues": {"slow": {**ISSUE, "severity": "change"}}},
        "fleet_catalogue.known_issues.slow: 'change' is a required property",
    ),
    (
        {"known_issues": {"slow": {**ISSUE, "severity": "fatal"}}},
        "fleet_catalogue.known_issues.slow.severity: 'fatal' is not one of ['note', 'warn', 'change', 'block']",
    ),
    (
        {"known_issues": {"slow": {**ISSUE, "when": {"models": ["M3"]}}}},
        "fleet_catalogue: known_issues.slow.when.models names M3, which is not in models (MiniMax-M2, MiniMax-M2.1, "
        "MiniMax-M2.5, MiniMax-M2.7)",
    ),
    # By an alias, or by a key that YAML reads as a number, an entry is checked as by its name.
    (
        {"models": {"M2.7": {"context_length": "200K"}}},
        "fleet_catalogue.models.MiniMax-M2.7.context_length: '200K' is not of type 'integer'",
    ),
    ({"gpus": {100: {**R100, "memory": 5}}}, "fleet_catalogue.gpus.100: unknown key memory; known: " + GPU_KEYS),
    (
        {"models": {"M2.7": {"generator": "gpus"}}},
        "fleet_catalogue.models.MiniMax-M2.7.generator: 'gpu' was expected",
    ),
    (
        {"models": {"M2.7": {"generator": {"counts": [4]}}}},
        "fleet_catalogue.models.MiniMax-M2.7.generator: 'default' is a required property",
    ),
    (
        {"known_issues": {"slow": {**ISSUE, "when": {"compute_capabilities": ["8"]}}}},
        "fleet_catalogue.known_issues.slow.when.compute_capabilities.0: '8' does not match '^[0-9]+\\\\.[0-9]$'",
    ),
    (
        {"vendors": {"amd": {"render_nodes_per_gpu": 0}}},
        "fleet_catalogue.vendors.amd.render_nodes_per_gpu: 0 is less than the minimum of 1",
    ),
    (
        {"models": {"M2.7": {"images": {"cuda": "v0.5.10.post1-cu130"}}}},
        "fleet_catalogue: models.MiniMax-M2.7.images.cuda names v0.5.10.post1-cu130, whose hardware is cuda13, cuda13-grace",
    ),
    (
        {
            "gpus": {"R100": {**R100, "vendor": "amd", "image_class": "mi40x"}},
            "images": {"v0.5.9": {"hardware": ["cuda", "mi40x"]}},
        },
        HARDWARE,
    ),
    (
        {"images": {"v0.5.9": {"driver": {"name": "amdgpu"}}}},
        "fleet_catalogue: images.v0.5.9.driver.name is amdgpu: that of nvidia is nvidia",
    ),
    (
        {"gpus": {"R100": {**R100, "virtual_pci_ids": ["10de:bbbb"]}}},
        "fleet_catalogue: gpus.R100.virtual_pci_ids has 10de:bbbb, which is not in its pci_ids",
    ),
    (
        {"models": {"Own": {**MODEL, "aliases": ["m2.5", "own", "mine"]}}},
        "fleet_catalogue: models.Own.aliases has m2.5, which is models.MiniMax-M2.5's",
    ),
    (
        {"models": {"Own": {**MODEL, "aliases": ["MiniMax-M2"]}, "Other": {**MODEL, "aliases": ["Own"]}}},
        "fleet_catalogue: models.Own.aliases has MiniMax-M2, which is models.MiniMax-M2's\n"
        "fleet_catalogue: models.Other.aliases has Own, which is models.Own's",
    ),
    (
        {"models": {"minimax-m2": {**MODEL, "aliases": []}}},
        "fleet_catalogue: models.minimax-m2 and models.MiniMax-M2 differ in case alone",
    ),
    (
        {"models": {"M2.1": {"generator": {"counts": [2, 8]}}}},
        "fleet_catalogue: models.MiniMax-M2.1.generator has the default 4, which is not in its counts",
    ),
    (
        {"gpus": {"H200": {"generator": {"default": 2}}}},
        "fleet_catalogue: gpus.H200.generator has the default 2, which is not in its counts",
    ),
    *[
        ({"models": {"M2.7": {"server_args": {"nvidia": {name: 1}}}}}, f"fleet_catalogue: {MODEL_ARGS}.{name}{said}")
        for name, said in ARGUMENTS
    ],
    *[
        (
            {"known_issues": {"slow": {**ISSUE, "severity": "change", "change": {"server_args": {name: 1}}}}},
            f"fleet_catalogue: known_issues.slow.change.server_args.{name}{said}",
        )
        for name, said in ARGUMENTS
    ],
    # What does not exist says nothing of itself: the other findings wait.
    (
        {"models": {"M2.7": {"images": {"cuda": "nope"}}, "M2.1": {"generator": {"default": 2}}}},
        f"fleet_catalogue: models.MiniMax-M2.7.images.cuda names nope, which is not in images ({', '.join(read_data()['images'])})",
    ),
    (
        {"references": {"minimax-m2.1-4xmi300x-speed-c1": {"gpu": "V100"}}},
        "fleet_catalogue: references.minimax-m2.1-4xmi300x-speed-c1.gpu names V100, which is not in gpus "
        f"({', '.join(read_data()['gpus'])})",
    ),
]


@pytest.mark.parametrize(("overrides", "message"), FAILURES)
def test_wrong_overrides(overrides: t.Any, message: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        load_catalogue(overrides)
    assert str(caught.value) == message
