# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
import yaml

from ansible_collections.sglang.fleet.plugins.module_utils._serving import instance_files, server_config

IMAGE = {"reference": "lmsysorg/sglang:v1", "id": "sha256:aa"}
INSTANCE: dict[str, Any] = {
    "name": "0",
    "server_args": {"model-path": "MiniMaxAI/MiniMax-M2.7", "tp-size": 8, "trust-remote-code": True},
    "container_options": ["--network=host", '--gpus="device=0,1"'],
}


def files(**wishes: Any) -> dict[str, dict[str, str]]:
    return {f["path"]: f for f in instance_files([INSTANCE], {**IMAGE, **wishes.pop("image", {})}, **wishes)}


def test_the_files_of_an_instance() -> None:
    found = files()
    assert {path: f["mode"] for path, f in found.items()} == {"/etc/sglang/0.yaml": "0600", "/etc/sglang/0.env": "0644"}
    assert found["/etc/sglang/0.yaml"]["content"] == (
        "# Written by sglang.fleet and overwritten by it: change the inventory, not this file.\n"
        'model-path: "MiniMaxAI/MiniMax-M2.7"\ntp-size: 8\ntrust-remote-code: true\n'
    )
    assert found["/etc/sglang/0.env"]["content"] == (
        "# Written by sglang.fleet and overwritten by it: change the inventory, not this file.\n"
        "# lmsysorg/sglang:v1\n"
        "SGLANG_IMAGE=sha256:aa\n"
        "SGLANG_STOP_SECONDS=300\n"
        'SGLANG_CONTAINER_OPTIONS="--network=host \'--gpus=\\"device=0,1\\"\''
        ' --volume=/etc/sglang/0.yaml:/etc/sglang/server.yaml:ro"\n'
        'SGLANG_COMMAND="python3 -m sglang.launch_server --config /etc/sglang/server.yaml"\n'
    )


def test_secrets_are_placeholders_in_files_of_mode_0600() -> None:
    found = files(with_api_key=True, with_token=True)
    assert found["/etc/sglang/0.yaml"]["content"].endswith('\napi-key: "@@api_key@@"\n')
    assert found["/etc/sglang/hf_token"] == {
        "path": "/etc/sglang/hf_token",
        "content": "@@hf_token@@",
        "mode": "0600",
    }
    environment = found["/etc/sglang/0.env"]["content"]
    assert (
        "--volume=/etc/sglang/hf_token:/run/secrets/hf_token:ro --env=HF_TOKEN_PATH=/run/secrets/hf_token"
        in environment
    )
    assert "@@" not in environment


def test_a_patched_image_is_named() -> None:
    text = files(image={"patched": ["a", "b"]})["/etc/sglang/0.env"]["content"]
    assert "# lmsysorg/sglang:v1, patched with a, b\n" in text


def test_an_image_that_check_mode_has_not_pulled_stands_by_its_reference() -> None:
    assert "SGLANG_IMAGE=lmsysorg/sglang:v1\n" in files(image={"id": None})["/etc/sglang/0.env"]["content"]


@pytest.mark.parametrize(
    ("value", "line"),
    [
        pytest.param(True, "x: true", id="flag"),
        pytest.param(False, None, id="flag off"),
        pytest.param(None, None, id="unset"),
        pytest.param(0.85, "x: 0.85", id="number"),
        pytest.param("0.0.0.0", 'x: "0.0.0.0"', id="text"),
        pytest.param('{"a": "b\\n"}', 'x: "{\\"a\\": \\"b\\\\n\\"}"', id="JSON"),
        pytest.param(["a", 1], 'x: ["a", 1]', id="list"),
    ],
)
def test_a_value_keeps_its_meaning_in_yaml(value: Any, line: str | None) -> None:
    text = server_config({"x": value}, with_api_key=False)
    assert text.splitlines()[1:] == ([] if line is None else [line])
    assert (yaml.safe_load(text) or {}).get("x") == (value or None)


def test_an_option_that_systemd_cannot_carry_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot stand in a systemd environment file"):
        instance_files([{**INSTANCE, "container_options": ["a\nb"]}], IMAGE)
