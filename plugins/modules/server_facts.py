#!/usr/bin/python
# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: server_facts
short_description: Find out which SGLang instances a node runs and whether the planned ones can start
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Reads in one call what the role P(sglang.fleet.sglang_server#role) decides on - units, containers, who holds the
    planned ports, what was applied last.
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
options:
  instances:
    description: The planned instances, as C(fleet_plan) has them.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The instance's name, which is the unit's.
        type: str
        required: true
      address:
        description: The address that it will listen on.
        type: str
        required: true
      port:
        description: The port that it will listen on.
        type: int
        required: true
  config_dir:
    description: Where the instances' configuration is.
    type: path
    default: /etc/sglang
  state_file:
    description: What was applied last.
    type: path
    default: /var/lib/sglang-fleet/state.json
"""

EXAMPLES = r"""
- name: Look at the servers
  sglang.fleet.server_facts:
    instances: "{{ ansible_facts.fleet_plan.instances }}"
"""

RETURN = r"""
ansible_facts:
  description: The servers as found.
  returned: success
  type: dict
  contains:
    fleet_servers:
      description: The servers as found.
      type: dict
      returned: always
      contains:
        instances:
          description:
            - For each planned instance C(unit) (systemd's ActiveState, empty for none), C(enabled), C(started_at), C(image_id),
              C(outdated) (its configuration is newer than the container that runs), C(answers) (the API
              answers), C(port_holder) (who else holds its port).
          type: dict
          returned: always
        unplanned: {description: Instances that are configured but not planned., type: list, elements: str, returned: always}
        state: {description: Content of the state file., type: dict, returned: always}
"""

import datetime
import json
import os
import re
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.sglang.fleet.plugins.module_utils._docker import Docker, DockerError
from ansible_collections.sglang.fleet.plugins.module_utils._http import Client
from ansible_collections.sglang.fleet.plugins.module_utils._ports import holders
from ansible_collections.sglang.fleet.plugins.module_utils._systemd import parse_show


def answers(address: str, port: int) -> bool:
    """Whether an SGLang API answers there; 401 is an answer."""
    return Client(address, port, seconds=3).call("/v1/models").status in (200, 401)


def epoch(stamp: str) -> float:
    """Docker's StartedAt (RFC 3339 with nanoseconds, UTC) as seconds since the epoch."""
    match = re.match(r"(\d+-\d+-\d+T\d+:\d+:\d+)(\.\d+)?", stamp)
    if not match:
        return 0.0
    moment = datetime.datetime.strptime(match.group(1), "%Y-%m-%dT%H:%M:%S").replace(tzinfo=datetime.timezone.utc)
    return moment.timestamp() + float(match.group(2) or 0)


def newest(paths: list[str]) -> float:
    return max([os.stat(path).st_mtime for path in paths if os.path.exists(path)], default=0.0)


def look(module: AnsibleModule, instance: dict[str, Any]) -> dict[str, Any]:
    name = instance["name"]
    _code, out, _err = module.run_command(
        ["systemctl", "show", f"sglang@{name}.service", "--property=ActiveState,LoadState,UnitFileState"]
    )
    shown = parse_show(out)
    container = None
    if module.get_bin_path("docker"):
        try:
            container = Docker(module.run_command).container(f"sglang-{name}")
        except DockerError:
            container = None
    running = container if container and container["State"]["Running"] else None
    others = [
        holder
        for holder in holders(instance["address"], instance["port"])
        if not running or running["State"]["Pid"] not in holder["ancestors"]  # type: ignore[operator]
    ]
    folder = module.params["config_dir"]
    written = newest([f"{folder}/{name}.{suffix}" for suffix in ("yaml", "env")])
    started = running["State"]["StartedAt"] if running else ""
    return {
        "unit": shown.get("ActiveState", "") if shown.get("LoadState") == "loaded" else "",
        "enabled": shown.get("UnitFileState") == "enabled",
        "started_at": started,
        "image_id": running["Image"] if running else "",
        "outdated": bool(running) and written > epoch(started),
        "answers": bool(running) and not others and answers(instance["address"], instance["port"]),
        "port_holder": {"pid": others[0]["pid"], "command": others[0]["command"]} if others else {},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "instances": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "address": {"type": "str", "required": True},
                    "port": {"type": "int", "required": True},
                },
            },
            "config_dir": {"type": "path", "default": "/etc/sglang"},
            "state_file": {"type": "path", "default": "/var/lib/sglang-fleet/state.json"},
        },
        supports_check_mode=True,
    )
    instances = module.params["instances"]
    planned = {instance["name"] for instance in instances}
    folder, state_file = module.params["config_dir"], module.params["state_file"]
    configured = {name[:-4] for name in os.listdir(folder) if name.endswith(".env")} if os.path.isdir(folder) else set()
    state: dict[str, Any] = {}
    if os.path.exists(state_file):
        try:
            with open(state_file, encoding="utf-8") as handle:
                state = json.load(handle)
        except ValueError:
            # A torn state file costs a run of the gates, nothing else; it is written anew after them.
            module.warn(f"{state_file} is not JSON; taken as empty")
    module.exit_json(
        changed=False,
        ansible_facts={
            "fleet_servers": {
                "instances": {instance["name"]: look(module, instance) for instance in instances},
                "unplanned": sorted(configured - planned),
                "state": state,
            }
        },
    )


if __name__ == "__main__":
    main()
