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
extends_documentation_fragment:
  - sglang.fleet.attributes.read_only
  - sglang.fleet.attributes.facts
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
  shared:
    description: The files that concern every instance, for C(outdated).
    type: list
    elements: path
    default: []
  unit:
    description: The unit's file, for C(foreign_unit).
    type: path
    default: /etc/systemd/system/sglang@.service
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
            - For each planned instance C(unit) (systemd's ActiveState, empty for none), C(enabled), C(needs_reload),
              C(outdated) (its configuration is newer than the container that runs), C(answers) (the API answers),
              C(address_problem) (why nobody could reach it), C(port_holder) (which foreign process holds its port).
          type: dict
          returned: always
        foreign_unit: {description: Whether the unit's file is there and somebody else's., type: bool, returned: always}
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
from ansible_collections.sglang.fleet.plugins.module_utils._ports import holders, loopback_by_name, resolve
from ansible_collections.sglang.fleet.plugins.module_utils._systemd import parse_show

#: How every file begins that this collection writes.
OURS = "# Written by sglang.fleet"


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


def begins_ours(path: str) -> bool:
    """Whether the file is one that this collection writes, by its first line."""
    with open(path, encoding="utf-8", errors="replace") as handle:
        return handle.readline().startswith(OURS)


class Node:
    """What concerns every instance of the node."""

    def __init__(self, module: AnsibleModule) -> None:
        self.run, self.folder = module.run_command, module.params["config_dir"]
        self.shared: list[str] = module.params["shared"]
        self.containers: dict[str, dict[str, Any]] = {}
        if module.get_bin_path("docker"):
            try:
                self.containers = Docker(module.run_command).containers("sglang-")
            except DockerError:
                self.containers = {}  # container_engine has said why
        states = [container["State"] for container in self.containers.values()]
        self.pids = {state["Pid"] for state in states if state["Running"]}

    def configured(self) -> set[str]:
        """The instances whose environment file is ours; another's is left alone."""
        names = os.listdir(self.folder) if os.path.isdir(self.folder) else []
        return {name[:-4] for name in names if name.endswith(".env") and begins_ours(f"{self.folder}/{name}")}

    def address(self, instance: dict[str, Any]) -> tuple[list[str], str]:
        """The IP addresses of an instance, and what is wrong with its address."""
        try:
            resolved = resolve(instance["address"])
        except OSError as error:
            return [], f"{instance['address']} cannot be resolved on the host ({error})"
        if loopback_by_name(instance["address"], resolved):
            return resolved, f"{instance['address']} is {', '.join(resolved)} on the host, which nobody else can reach"
        return resolved, ""

    def look(self, instance: dict[str, Any]) -> dict[str, Any]:
        name = instance["name"]
        properties = "--property=ActiveState,LoadState,UnitFileState,NeedDaemonReload"
        _code, out, _err = self.run(["systemctl", "show", f"sglang@{name}.service", properties])
        shown = parse_show(out)
        state = self.containers.get(f"sglang-{name}", {}).get("State", {})
        running = bool(state.get("Running"))
        addresses, problem = self.address(instance)
        # Our own servers make way for one another: a deploy stops those that are due before it starts any.
        others = [
            holder
            for holder in holders(addresses, instance["port"])
            if not self.pids.intersection(holder["ancestors"])  # type: ignore[call-overload]
        ]
        written = newest([f"{self.folder}/{name}.yaml", f"{self.folder}/{name}.env", *self.shared])
        return {
            "unit": shown.get("ActiveState", "") if shown.get("LoadState") == "loaded" else "",
            "enabled": shown.get("UnitFileState") == "enabled",
            "needs_reload": shown.get("NeedDaemonReload") == "yes",
            "outdated": running and written > epoch(state["StartedAt"]),
            "answers": running and not others and answers(instance["address"], instance["port"]),
            "address_problem": problem,
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
            "shared": {"type": "list", "elements": "path", "default": []},
            "unit": {"type": "path", "default": "/etc/systemd/system/sglang@.service"},
            "state_file": {"type": "path", "default": "/var/lib/sglang-fleet/state.json"},
        },
        supports_check_mode=True,
    )
    instances = module.params["instances"]
    planned = {instance["name"] for instance in instances}
    state_file, unit = module.params["state_file"], module.params["unit"]
    node = Node(module)
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
                "instances": {instance["name"]: node.look(instance) for instance in instances},
                "unplanned": sorted(node.configured() - planned),
                "foreign_unit": os.path.exists(unit) and not begins_ours(unit),
                "state": state,
            }
        },
    )


if __name__ == "__main__":
    main()
