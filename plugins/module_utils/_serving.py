# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that one planned instance is served from: its configuration and its environment.

The unit `sglang@.service` is the same for every instance and every version; what varies is here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils._files import placeholder
from ansible_collections.sglang.fleet.plugins.module_utils._systemd import environment_words

#: Where the instance's configuration is inside the container. `--config=FILE` as one word is not understood.
CONTAINER_CONFIG = "/etc/sglang/server.yaml"
TOKEN_MOUNT = "/run/secrets/hf_token"  # noqa: S105 - a path
COMMAND = ("python3", "-m", "sglang.launch_server", "--config", CONTAINER_CONFIG)
HEADER = "# Written by sglang.fleet and overwritten by it: change the inventory, not this file.\n"


def _scalar(value: Any) -> str:
    """A YAML scalar or flow list that SGLang's configuration merger turns into the same command line words."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_scalar(item) for item in value) + "]"
    text = str(value)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def server_config(server_args: Mapping[str, Any], with_api_key: bool) -> str:
    """The text of SGLang's --config file: a flat mapping of long option names.

    A None or false value is left out: SGLang would turn the first into the text "None".
    """
    given = {name: value for name, value in server_args.items() if value is not None and value is not False}
    lines = [f"{name}: {_scalar(value)}\n" for name, value in given.items()]
    if with_api_key:
        lines.append(f'api-key: "{placeholder("api_key")}"\n')
    return HEADER + "".join(lines)


def environment(
    instance: Mapping[str, Any], image: Mapping[str, Any], config_dir: str, stop_seconds: int, with_token: bool
) -> str:
    """The text of the unit's EnvironmentFile."""
    options: list[str] = [*instance["container_options"]]
    options.append(f"--volume={config_dir}/{instance['name']}.yaml:{CONTAINER_CONFIG}:ro")
    if with_token:
        options += [f"--volume={config_dir}/hf_token:{TOKEN_MOUNT}:ro", f"--env=HF_TOKEN_PATH={TOKEN_MOUNT}"]
    patched = f", patched with {', '.join(image['patched'])}" if image.get("patched") else ""
    return (
        f"{HEADER}# {image['reference']}{patched}\n"
        f"SGLANG_IMAGE={image['id'] or image['reference']}\n"
        f"SGLANG_STOP_SECONDS={stop_seconds}\n"
        f"SGLANG_CONTAINER_OPTIONS={environment_words(options)}\n"
        f"SGLANG_COMMAND={environment_words(COMMAND)}\n"
    )


def instance_files(
    instances: Sequence[Mapping[str, Any]],
    image: Mapping[str, Any],
    config_dir: str = "/etc/sglang",
    stop_seconds: int = 300,
    with_api_key: bool = False,
    with_token: bool = False,
) -> list[dict[str, str]]:
    """The files of all instances as [{"path", "content", "mode"}], as the module managed_files takes them.

    instances: the plan's. image: {"reference", "id" (sha256:… or None), "patched" ([names])}.
    Secrets are placeholders, @@api_key@@ and @@hf_token@@. Raises ValueError for an option that systemd cannot carry.
    """
    files = []
    for instance in instances:
        path = f"{config_dir}/{instance['name']}"
        config = server_config(instance["server_args"], with_api_key)
        files.append({"path": f"{path}.yaml", "content": config, "mode": "0600"})
        text = environment(instance, image, config_dir, stop_seconds, with_token)
        files.append({"path": f"{path}.env", "content": text, "mode": "0644"})
    if with_token:
        files.append({"path": f"{config_dir}/hf_token", "content": placeholder("hf_token"), "mode": "0600"})
    return files
