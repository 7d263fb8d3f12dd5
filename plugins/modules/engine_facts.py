#!/usr/bin/python
# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: engine_facts
short_description: Find out which container engine a node has and whether it can be used
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Reads in one call what the role P(sglang.fleet.container_engine#role) decides on, so that a node that is as it
    should be costs one task.
  - Changes nothing.
attributes:
  check_mode:
    support: full
    description: Runs the same in check mode.
  diff_mode:
    support: none
    description: There is nothing to show a difference of.
  facts:
    support: full
    description: Returns C(ansible_facts).
extends_documentation_fragment:
  - sglang.fleet.attributes
options: {}
"""

EXAMPLES = r"""
- name: Look at the container engine
  sglang.fleet.engine_facts:
"""

RETURN = r"""
ansible_facts:
  description: The engine as found.
  returned: always
  type: dict
  contains:
    container_engine:
      description: The engine as found.
      type: dict
      returned: always
      contains:
        installed: {description: Whether a Docker client is on the node., type: bool, returned: always}
        running: {description: Whether the engine answers., type: bool, returned: always}
        permitted: {description: Whether this user may use it., type: bool, returned: always}
        enabled: {description: Whether the service starts at boot., type: bool, returned: always}
        version: {description: The engine's version., type: str, returned: always}
        containers_running: {description: How many containers run., type: int, returned: always}
        nvidia_runtime: {description: Whether NVIDIA's container toolkit is there., type: bool, returned: always}
        images: {description: 'The tagged images, each with reference, id and digest.', type: list, elements: dict, returned: always}
        daemon_config: {description: The content of C(/etc/docker/daemon.json)., type: dict, returned: always}
        error: {description: 'Why it cannot be used, with a remedy.', type: str, returned: always}
        os: {description: 'ID, VERSION_ID and ID_LIKE of C(/etc/os-release).', type: dict, returned: always}
"""

import json
import os
import shlex
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.sglang.fleet.plugins.module_utils._docker import Docker, DockerError

#: Any of these means that NVIDIA's container toolkit is there.
NVIDIA_RUNTIME = ("nvidia-container-runtime-hook", "nvidia-container-runtime", "nvidia-cdi-hook")
DAEMON_JSON = "/etc/docker/daemon.json"


def os_release(text: str) -> dict[str, str]:
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    values = {key: " ".join(shlex.split(value)) for key, value in pairs}
    return {key: values.get(key, "") for key in ("ID", "VERSION_ID", "ID_LIKE")}


def daemon_config() -> dict[str, Any]:
    """The configuration in force. Raises ValueError when the file is not a JSON object."""
    if not os.path.exists(DAEMON_JSON):
        return {}
    with open(DAEMON_JSON, encoding="utf-8") as handle:
        text = handle.read()
    found = json.loads(text) if text.strip() else {}
    if not isinstance(found, dict):
        raise ValueError("it holds no JSON object")
    return found


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    facts: dict[str, Any] = {
        "installed": module.get_bin_path("docker") is not None,
        "running": False,
        "permitted": False,
        "enabled": False,
        "version": "",
        "containers_running": 0,
        "nvidia_runtime": any(module.get_bin_path(name) for name in NVIDIA_RUNTIME),
        "images": [],
        "error": "",
    }
    with open("/etc/os-release", encoding="utf-8") as handle:
        facts["os"] = os_release(handle.read())
    try:
        facts["daemon_config"] = daemon_config()
    except ValueError as error:
        module.fail_json(
            msg=f"{DAEMON_JSON} cannot be read as JSON ({error}). Docker itself would refuse it: correct the file, or"
            " remove it, and run again."
        )
    if facts["installed"]:
        _code, out, _err = module.run_command(["systemctl", "is-enabled", "docker.service"])
        facts["enabled"] = out.strip() == "enabled"
        try:
            docker = Docker(module.run_command)
            info = docker.info()
            facts.update(
                running=True,
                permitted=True,
                version=info.get("ServerVersion", ""),
                containers_running=int(info.get("ContainersRunning") or 0),
                images=docker.images(),
            )
        except DockerError as error:
            facts.update(running=error.kind == "permission", permitted=error.kind != "permission", error=str(error))
    module.exit_json(changed=False, ansible_facts={"container_engine": facts})


if __name__ == "__main__":
    main()
