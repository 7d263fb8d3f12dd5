# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._bundle import render_bundle
from ansible_collections.sglang.fleet.plugins.module_utils._inventory import (
    Specs,
    Undefined,
    check_bundle,
    check_inventory,
    read_specs,
)
from ansible_collections.sglang.fleet.plugins.module_utils._lock import make_lock, render_lock

SPECS = read_specs()
KEY = "abcdefghijklmnop"
WEIGHTS = [{"path": "config.json", "size": 2, "sha256": "a" * 64}]
LOCK = render_lock(make_lock({}, {"MiniMaxAI/MiniMax-M2.7": {"revision": "1" * 40, "files": WEIGHTS}}, []))


def problems(**values: t.Any) -> list[str]:
    return check_inventory(values, SPECS).problems


def test_specs_come_from_the_roles() -> None:
    assert SPECS.variables["fleet_model"].example == "M2.7"
    assert SPECS.variables["fleet_api_key"].secret is True
    assert SPECS.variables["launch_plan_port"].type == "int"
    assert {"fleet_", "validate_inventory_", "launch_plan_"} <= set(SPECS.prefixes)


def test_nothing_set_is_sound() -> None:
    assert check_inventory({}, SPECS).problems == []


def test_defaults_of_the_specs_are_sound() -> None:
    defaults = {
        name: variable.example
        for name, variable in SPECS.variables.items()
        # A default that is a template is worked out by Ansible.
        if name.startswith("fleet_") and variable.example is not None and "{{" not in str(variable.example)
    }
    found = check_inventory(defaults, SPECS)
    assert (found.problems, found.warnings) == ([], [])


def test_other_peoples_variables_are_not_ours() -> None:
    assert problems(ansible_host="10.0.0.1", fleetmodel=1, my_fleet_model=2) == []


GOOD: list[dict[str, t.Any]] = [
    {"fleet_model": "M2.1"},
    {"fleet_model": "MiniMaxAI/MiniMax-M2.7"},
    {"fleet_model": "minimax-m2.5"},
    {"fleet_ep": 1},
    {"fleet_ep": "8"},
    {"fleet_ep": None},
    {"fleet_sglang_version": "0.5.9"},
    {"fleet_sglang_version": None},
    {
        "fleet_sglang_version": "0.5.99",
        "fleet_catalogue": {"images": {"v0.5.9": {"sglang_version": "0.5.99"}}},
    },
    {"fleet_layout": "2x4", "fleet_port": 65534},
    {"fleet_port": "30000"},  # INI inventories and -e give strings
    {"fleet_enable_metrics": "yes", "fleet_reasoning_parser": False},
    {"fleet_mem_fraction_static": "0.9"},
    {"fleet_address": "10.0.0.7", "fleet_api_key": KEY},
    {"fleet_address": "::1"},
    {"fleet_address": "gpu-01.example.org", "fleet_api_key": KEY},
    {"fleet_image": "mirror.example:5000/lmsysorg/sglang:v0.5.10.post1"},
    {"fleet_image": "lmsysorg/sglang@sha256:" + "a" * 64},
    {"fleet_registry_mirrors": ["http://172.30.0.1:5000", "https://mirror.example.org"]},
    {"fleet_server_args": {"schedule-policy": "lpm", "attention-backend": None}},
    {"fleet_allow_known_issues": ["a100-fp8"]},
    {"fleet_hf_token": "hf_abcDEF123"},
    {"fleet_api_key": "", "fleet_hf_token": ""},
    {"fleet_lock_file": ""},
    {"fleet_weights": "server", "fleet_weights_verify": "always", "fleet_weights_share": "no"},
    {"fleet_weights_source": "https://s3.example.org/bucket/m2", "fleet_hf_endpoint": "http://172.30.0.4:8090"},
    {"fleet_weights_source": "/srv/weights/m2"},
    {"fleet_weights_port": 30000, "fleet_weights_share": False},
    {"fleet_weights_address": "10.0.0.7"},
    {"fleet_pull_at_once": "2", "fleet_images_keep": 0},
    {"fleet_serial": 2},
    {"fleet_serial": "25%"},
    {"fleet_serial": [1, "10%", "100%"]},
    {"fleet_context_length": None},
    {"fleet_catalogue": {"gpus": {"H200": {"memory_mib": 140000}}}},
]


@pytest.mark.parametrize("values", GOOD)
def test_sound(values: dict[str, t.Any]) -> None:
    found = check_inventory(values, SPECS)
    assert (found.problems, found.warnings) == ([], [])


BAD: list[tuple[dict[str, t.Any], str]] = [
    ({"fleet_modl": "M2.7"}, "fleet_modl is not a variable of this collection: did you mean fleet_model?"),
    (
        {"fleet_reasoning_parse": True},
        "fleet_reasoning_parse is not a variable of this collection: did you mean fleet_reasoning_parser?",
    ),
    (
        {"fleet_colour": "red"},
        "fleet_colour is not a variable of this collection: look it up in the roles' README files, or remove it",
    ),
    (
        {"launch_plan_layuot": "auto"},
        "launch_plan_layuot is not a variable of this collection: did you mean launch_plan_layout?",
    ),
    ({"launch_plan_port": []}, "launch_plan_port is [], a list: it must be a whole number, for example 30000"),
    ({"fleet_port": "abc"}, "fleet_port is 'abc', a string: it must be a whole number, for example 30000"),
    ({"fleet_port": True}, "fleet_port is True, true or false: it must be a whole number, for example 30000"),
    ({"fleet_port": 30000.5}, "fleet_port is 30000.5, a number: it must be a whole number, for example 30000"),
    ({"fleet_port": 80}, "fleet_port is 80: set it between 1024 and 65535"),
    (
        {"fleet_port": 65535, "fleet_layout": "2x4"},
        "fleet_port is 65535: set it between 1024 and 65534 (the layout takes 2 ports from there on)",
    ),
    ({"fleet_model": 2.5}, "fleet_model is 2.5, a number: it must be a string, for example 'M2.7'"),
    (
        {"fleet_model": "M3"},
        "fleet_model: unknown model M3: set fleet_model to one of MiniMax-M2, MiniMax-M2.1, MiniMax-M2.5, MiniMax-M2.7",
    ),
    (
        {"fleet_profile": "lax"},
        "fleet_profile: unknown profile lax: set fleet_profile to one of hardened, cookbook",
    ),
    (
        {"fleet_layout": "2 x 4"},
        "fleet_layout is 2 x 4: set it to auto, or to INSTANCESxGPUS such as 1x8 or 2x4 (two servers of four GPUs)",
    ),
    (
        {"fleet_enable_metrics": "perhaps"},
        "fleet_enable_metrics is 'perhaps', a string: it must be true or false, for example False",
    ),
    (
        {"fleet_mem_fraction_static": 85},
        "fleet_mem_fraction_static is 85: set it above 0 and below 1, for example 0.85",
    ),
    (
        {"fleet_context_length": 300000, "fleet_model": "M2.1"},
        "fleet_context_length is 300000: set it to 1 to 196608 tokens for MiniMax-M2.1, or leave it out",
    ),
    (
        {"fleet_ep": 0},
        "fleet_ep is 0: set it to 1 for no expert parallelism, to a size that divides tp, or leave it out",
    ),
    ({"fleet_ep": "two"}, "fleet_ep is 'two', a string: it must be a whole number"),
    (
        {"fleet_sglang_version": "0.5.8"},
        "fleet_sglang_version is 0.5.8: set it to one of 0.5.7, 0.5.9, 0.5.10.post1, or add an image of it to "
        "fleet_catalogue (images)",
    ),
    ({"fleet_sglang_version": 0.5}, "fleet_sglang_version is 0.5, a number: it must be a string"),
    ({"fleet_context_length": 0}, "fleet_context_length is 0: set it to 1 or more tokens, or leave it out"),
    (
        {"fleet_address": "256.0.0.1"},
        "fleet_address is '256.0.0.1': set it to an IP address of the host, such as 127.0.0.1, to 0.0.0.0 for all, or to a "
        "host name",
    ),
    (
        {"fleet_weights_dir": "weights"},
        "fleet_weights_dir is 'weights': set it to an absolute path of letters, digits and . _ @ + -, for example "
        "/var/lib/sglang-fleet/huggingface",
    ),
    (
        {"fleet_reboot_window": "2:00-4:00"},
        "fleet_reboot_window is 2:00-4:00; give it as HH:MM-HH:MM with two digits each, such as 22:00-05:30 or 02:00-04:00",
    ),
    (
        {"fleet_reboot_window": "22:00"},
        "fleet_reboot_window is 22:00; give it as HH:MM-HH:MM with two digits each, such as 22:00-05:30 or 02:00-04:00",
    ),
    (
        {"fleet_reboot_window": "24:00-05:00"},
        "fleet_reboot_window is 24:00-05:00; give it as HH:MM-HH:MM with two digits each, such as 22:00-05:30 or 02:00-04:00",
    ),
    (
        {"fleet_image": "lmsysorg/sglang"},
        "fleet_image is 'lmsysorg/sglang': set it to NAME:TAG or NAME@sha256:DIGEST, or leave it out for the published one",
    ),
    (
        {"fleet_registry_mirrors": ["mirror.example.org"]},
        "fleet_registry_mirrors: 'mirror.example.org' is not a URL; give them as https://HOST[:PORT]",
    ),
    ({"fleet_registry_mirrors": "https://a"}, "fleet_registry_mirrors is 'https://a', a string: it must be a list"),
    ({"fleet_registry_mirrors": [5]}, "fleet_registry_mirrors[0] is 5, a whole number: it must be a string"),
    ({"fleet_weights": "hub"}, "fleet_weights is 'hub': set it to one of auto, server"),
    (
        {"fleet_weights_source": "s3://bucket/m2"},
        "fleet_weights_source is 's3://bucket/m2': set it to hub, to an http or https URL without user or password below "
        "which the files lie, or to an absolute folder on the host",
    ),
    (
        {"fleet_hf_endpoint": "https://me:s3cr3t@hub.example.org"},
        "fleet_hf_endpoint is 'https://***@hub.example.org': set it to the URL of a hub, without user or password, such as "
        "https://huggingface.co",
    ),
    ({"fleet_weights_port": 80}, "fleet_weights_port is 80: set it between 1024 and 65535"),
    (
        {"fleet_weights_port": 30001, "fleet_layout": "2x4"},
        "fleet_weights_port is 30001, which a server listens on: set it to another, or move fleet_port",
    ),
    (
        {"fleet_port": 30090},
        "fleet_weights_port is 30090, which a server listens on: set it to another, or move fleet_port",
    ),
    (
        {"fleet_weights_address": "10.0.0.256"},
        "fleet_weights_address is '10.0.0.256': set it to an IP address of the host, such as 127.0.0.1, or to a host name",
    ),
    *(
        (
            {"fleet_serial": serial},
            f"fleet_serial has {found}: set it to a number of hosts, such as 2, to a percentage, such as 25%, or to a list of them",
        )
        for serial, found in (("0", "0"), ("101%", "101%"), ([1, "all"], "all"), ([], "no batch"), (True, "True"))
    ),
    ({"fleet_pull_at_once": -1}, "fleet_pull_at_once is -1: set it to 0 or more, 0 for all hosts at once"),
    (
        {"fleet_bundle": "/nowhere"},
        "fleet_bundle: /nowhere holds no whole bundle, for bundle.json is not there: make it with `sglang-fleet bundle`, or "
        "correct fleet_bundle",
    ),
    ({"fleet_patches": [{"file": "a"}]}, "fleet_patches[0] has no name: give it one, by which a message can call it"),
    ({"fleet_images_keep": -1}, "fleet_images_keep is -1: set it to 0 or more, 0 to keep no old image"),
    ({"fleet_server_args": ["--x"]}, "fleet_server_args is ['--x'], a list: it must be a mapping"),
    (
        {"fleet_server_args": {"tp": 8}},
        "fleet_server_args.tp: the plan sets --tp itself; use fleet_layout instead",
    ),
    (
        {"fleet_allow_known_issues": ["a100"]},
        "fleet_allow_known_issues: unknown issue a100; known: a100-fp8, mi300x-tp4-decode-crash, streaming-tool-calls, "
        "amd-vram-after-kill",
    ),
    (
        {"fleet_catalogue": {"gpus": {"H200": {"memory_mib": "x"}}}},
        "fleet_catalogue.gpus.H200.memory_mib: 'x' is not of type 'integer'",
    ),
    (
        {"fleet_model": Undefined("'nope' is undefined")},
        "fleet_model cannot be worked out: 'nope' is undefined; define what its template refers to",
    ),
    ({"fleet_api_key": "hunter2"}, "fleet_api_key has 7 characters: set it to 16 or more"),
    (
        {"fleet_api_key": KEY + " "},
        "fleet_api_key has characters that an Authorization header cannot carry: use A-Z a-z 0-9 . _ ~ + / = -",
    ),
    (
        {"fleet_hf_token": "hf_ab cd"},
        "fleet_hf_token has characters that no Hugging Face token has: use A-Z a-z 0-9 _ -",
    ),
]


@pytest.mark.parametrize(("values", "message"), BAD)
def test_wrong(values: dict[str, t.Any], message: str) -> None:
    assert problems(**values) == [message]


def test_all_problems_at_once() -> None:
    assert len(problems(fleet_modl=1, fleet_port="x", fleet_layout="?", fleet_api_key="short", fleet_model="M3")) == 5


SECRETS: list[tuple[str, t.Any]] = [
    ("fleet_api_key", "s3cr3t!"),
    ("fleet_api_key", 4242424242),
    ("fleet_api_key", ["s3cr3t!"]),
    ("fleet_api_key", Undefined("s3cr3t! is undefined")),
    ("fleet_hf_token", "s3cr3t!"),
    ("fleet_hf_token", 4242424242),
]


@pytest.mark.parametrize(("name", "value"), SECRETS)
def test_secrets_are_never_shown(name: str, value: t.Any) -> None:
    found = problems(**{name: value})
    assert found
    assert not [text for text in found if "s3cr3t" in text or "4242" in text]


@pytest.mark.parametrize("address", ["0.0.0.0", "10.0.0.7", "gpu-01.example.org"])
def test_an_open_address_without_a_key_is_a_warning(address: str) -> None:
    assert check_inventory({"fleet_address": address}, SPECS).warnings == [
        f"fleet_address is {address} and fleet_api_key is not set: whoever reaches the port may use the server; set "
        "fleet_api_key, or keep the address at 127.0.0.1 behind a proxy"
    ]


def test_an_empty_key_is_no_key() -> None:
    values = {"fleet_address": "0.0.0.0", "fleet_api_key": ""}
    assert (
        check_inventory(values, SPECS).warnings == check_inventory({"fleet_address": "0.0.0.0"}, SPECS).warnings != []
    )


def test_a_roles_own_variable_may_hang_on_facts() -> None:
    assert problems(launch_plan_port=Undefined("'ansible_facts' has no attribute 'x'")) == []


def test_choices_and_elements(tmp_path: Path) -> None:
    role = tmp_path / "rocm" / "meta"
    role.mkdir(parents=True)
    (role / "argument_specs.yml").write_text(
        "argument_specs:\n  main:\n    options:\n"
        "      rocm_kind: {type: str, choices: [a, b]}\n      rocm_ports: {type: list, elements: int}\n",
        "utf-8",
    )
    specs: Specs = read_specs(tmp_path)
    assert specs.prefixes == ("fleet_", "rocm_")
    assert check_inventory({"rocm_kind": "c", "rocm_ports": [1, "2", "x"]}, specs).problems == [
        "rocm_kind is 'c': set it to one of a, b",
        "rocm_ports[2] is 'x', a string: it must be a whole number",
    ]


@pytest.mark.parametrize(
    ("files", "values", "message"),
    [
        ({}, {}, "fleet_bundle: a bundle holds what a lock names, and there is no lock {folder}/fleet.lock.yml: put "),
        ({}, {"fleet_lock_file": ""}, "fleet_bundle: a bundle holds what a lock names, and there is no lock: put "),
        ({"fleet.lock.yml": "{"}, {}, "fleet_bundle: the lock {folder}/fleet.lock.yml is not YAML: "),
        (
            {"fleet.lock.yml": LOCK},
            {},
            "fleet_bundle: the bundle has no weights of MiniMaxAI/MiniMax-M2.7 (it has none): ",
        ),
        ({"fleet.lock.yml": LOCK}, {"fleet_model": "M2.1"}, ""),
        ({"fleet.lock.yml": LOCK}, {"fleet_model": "M9"}, "fleet_bundle: unknown model M9: "),
    ],
)
def test_a_bundle_is_held_against_the_lock(
    tmp_path: Path, files: dict[str, str], values: dict[str, t.Any], message: str
) -> None:
    (tmp_path / "bundle.json").write_text(render_bundle("dd", {}, {}, {}))
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = list(check_bundle({"fleet_bundle": str(tmp_path), **values}, f"{tmp_path}/fleet.lock.yml"))
    assert len(found) == bool(message)
    assert "".join(found).startswith(message.format(folder=tmp_path))
