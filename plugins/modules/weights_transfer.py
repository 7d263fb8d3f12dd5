#!/usr/bin/python
# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: weights_transfer
short_description: Fetch weights on a host, in a container that outlives the playbook
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Starts, watches and clears up a transfer of locked weights, and the server by which a host passes them on to others.
  - Both run in containers of the server's own image, detached - a lost connection or the end of the playbook does not end
    them, and the next run finds them and watches on. The download itself is the Hugging Face client's.
  - A file is verified by its SHA-256 before it gets its name, and only then passed on.
attributes:
  facts:
    support: partial
    description: Returns C(ansible_facts) with O(state=marked).
extends_documentation_fragment:
  - sglang.fleet.attributes.changes
options:
  state:
    description:
      - V(marked) leaves this host's mark in the folder and returns those that are there, which tells hosts that share a
        filesystem.
      - V(started) starts what is asked for; what runs already for the same files is left alone.
      - V(watched) shows how far a transfer is until it ends, and fails where it failed. The action plugin does that on the
        controller; the module alone looks once.
      - V(stopped) ends the server, and takes away keys, scripts and containers that ended. A transfer that runs goes on.
    type: str
    choices: [marked, started, watched, stopped]
    required: true
  directory:
    description: The folder of weights.
    type: path
  name:
    description: This host's name in the inventory, for its mark.
    type: str
  repository:
    description: The repository.
    type: str
  revision:
    description: The commit.
    type: str
  files:
    description: The locked files, C(path), C(size) and C(sha256) of each.
    type: list
    elements: dict
  image:
    description: Reference or ID of an image that is on the host, to run in.
    type: str
  fetch:
    description: Whether files are to be fetched or hashed here.
    type: bool
    default: true
  ask:
    description: Whether this host asks the source. One that does not takes from O(peers) alone.
    type: bool
    default: true
  fallback:
    description: Whether it may ask the source once O(peers) give nothing any more.
    type: bool
    default: false
  rank:
    description: Its place among those that may.
    type: int
    default: 0
  peers:
    description: Other hosts of the run, C(host) and C(url) of each.
    type: list
    elements: dict
    default: []
  serve:
    description: Whether it passes on what it has.
    type: bool
    default: false
  port:
    description: The port for that.
    type: int
    default: 30090
  address:
    description: The address under which the other hosts reach it. Where it is an IP address, the server listens on it alone.
    type: str
    default: ''
  source:
    description: V(hub), an C(http://) or C(https://) URL below which the files lie, or an absolute folder on the host.
    type: str
    default: hub
  endpoint:
    description: The hub.
    type: str
    default: https://huggingface.co
  verify:
    description: V(changed) or V(always), as M(sglang.fleet.weights_facts) has it.
    type: str
    choices: [changed, always]
    default: changed
  jobs:
    description: Files at a time, at most.
    type: int
    default: 8
  stall_seconds:
    description: Seconds without a sign of O(peers) after which O(fallback) counts.
    type: int
    default: 60
  token:
    description: Token for the hub.
    type: str
    default: ''
  key:
    description: What the hosts of a run know one another by. The action plugin makes one for each run.
    type: str
    default: ''
  force:
    description: Whether V(stopped) ends a transfer that runs, too.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Fetch the weights
  sglang.fleet.weights_transfer:
    state: started
    directory: /var/lib/sglang-fleet/huggingface
    repository: "{{ ansible_facts.fleet_plan.lock.weights.repository }}"
    revision: "{{ ansible_facts.fleet_plan.lock.weights.revision }}"
    files: "{{ ansible_facts.fleet_plan.lock.weights.files }}"
    image: "{{ ansible_facts.fleet_local_image.id }}"

- name: Show how far it is
  sglang.fleet.weights_transfer:
    state: watched
"""

RETURN = r"""
progress:
  description: How far the transfer is; empty where there is none.
  returned: O(state=started) or O(state=watched)
  type: dict
running:
  description: Whether it runs.
  returned: O(state=started) or O(state=watched)
  type: bool
log:
  description: What a transfer said last that ended without saying why.
  returned: O(state=watched)
  type: str
ansible_facts:
  description: The mark, and those that are there.
  returned: O(state=marked)
  type: dict
  contains:
    fleet_weights_marks: {description: Marks by host., type: dict, returned: always}
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import time
from typing import Any
from urllib.parse import quote, unquote

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.sglang.fleet.plugins.module_utils import _weights_job as job_of
from ansible_collections.sglang.fleet.plugins.module_utils._docker import Docker, DockerError
from ansible_collections.sglang.fleet.plugins.module_utils._weights_files import (
    Layout,
    disk_problem,
    link_folder,
    wanted_files,
    write_json,
)
from ansible_collections.sglang.fleet.plugins.module_utils._weights_peer import LISTENS
from ansible_collections.sglang.fleet.plugins.module_utils._weights_scripts import write_private, write_scripts

#: Seconds that the server has to listen.
LISTENING = 20


def read_progress() -> dict[str, Any]:
    try:
        with open(job_of.PROGRESS, encoding="utf-8") as handle:
            progress: dict[str, Any] = json.load(handle)
            return progress
    except (OSError, ValueError):
        return {}


class Host:
    def __init__(self, module: AnsibleModule) -> None:
        self.module, self.options = module, module.params
        self.docker = Docker(module.run_command)

    def container(self, name: str) -> dict[str, Any]:
        """`docker inspect` of the container; empty for none."""
        return self.docker.containers(f"{name}$").get(name, {})

    def running(self, name: str, label: str = "") -> bool:
        found = self.container(name)
        labels = (found.get("Config") or {}).get("Labels") or {}
        return bool(found) and found["State"]["Running"] and label in ("", labels.get(job_of.LABEL, ""))

    def remove(self, name: str) -> bool:
        if not self.container(name):
            return False
        try:
            self.docker.call("rm", "--force", name)
        except DockerError as error:  # another run clears up as well
            if not re.search("already in progress|No such container", str(error)):
                raise
        return True

    # --- marked --------------------------------------------------------------------------------------------------------

    def mark(self) -> dict[str, str]:
        """This host's mark in the folder, and every other one: {host: mark}."""
        folder = os.path.join(self.options["directory"], ".sglang-fleet", "hosts")
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, quote(self.options["name"], safe=""))
        if not os.path.exists(path):
            write_private(path, secrets.token_hex(16))
        marks = {}
        for name in os.listdir(folder):
            if not name.endswith(".new"):
                with open(os.path.join(folder, name), encoding="utf-8") as handle:
                    marks[unquote(name)] = handle.read()
        return marks

    # --- started -------------------------------------------------------------------------------------------------------

    def prepare(self, source: dict[str, str], work: str) -> str:
        """Write what the containers read. Returns the label of a transfer of this work by these scripts."""
        for folder in (job_of.BASE, job_of.JOB, job_of.STATE):
            os.makedirs(folder, mode=0o700, exist_ok=True)
            os.chmod(folder, 0o700)
        write_scripts(job_of.JOB)
        write_private(os.path.join(job_of.JOB, "key"), self.options["key"])
        self.write_token(source)
        write_private(os.path.join(job_of.JOB, "job.json"), json.dumps(job_of.job(self.options, source, work)))
        return work[:32]

    def write_token(self, source: dict[str, str]) -> None:
        """For a transfer that may ask the hub. It takes the file away at its end."""
        asks = self.options["fetch"] and (self.options["ask"] or self.options["fallback"]) and source["kind"] == "hub"
        write_private(os.path.join(job_of.JOB, "token"), self.options["token"] if asks else "")

    def start(self) -> bool:
        """Have client and server run as asked for. Whether a transfer was started."""
        options = self.options
        layout = Layout(options["directory"], options["repository"], options["revision"])
        files = wanted_files(options["files"])
        source = job_of.source_of(options["source"], options["endpoint"])
        if source["kind"] == "folder" and options["ask"] and not os.path.isdir(source["at"]):
            raise ValueError(f"fleet_weights_source is {source['at']}, and the host has no such folder")
        work = job_of.work_of(
            options["repository"], options["revision"], options["files"], options["directory"], source
        )
        os.makedirs(layout.own, exist_ok=True)
        label = self.prepare(source, work)
        started = False
        if options["fetch"] and not self.running(job_of.CLIENT, label):
            self.remove(job_of.CLIENT)
            self.write_token(source)  # the one that has just ended may have taken it
            if source["kind"] == "folder" and options["ask"]:
                link_folder(layout, files, source["at"])
            write_json(job_of.PROGRESS, {**_NOTHING_YET, "work": work, "updated": time.time()})
            self.docker.call(*job_of.client_command(options["image"], options["directory"], source, label))
            started = True
        address = job_of.listening(options["address"])
        at = f"{label}:{options['port']}" + (f":{address}" if address else "")
        if options["serve"] and not self.running(job_of.PEER, at):
            self.remove(job_of.PEER)
            self.docker.call(*job_of.peer_command(options["image"], options["directory"], options["port"], at, address))
            self.wait_for_server(options["port"])
        return started

    def wait_for_server(self, port: int) -> None:
        """Until it says that it listens: whatever else has the port answers, too, and must not see the run's key."""
        for _second in range(LISTENING * 4):
            _code, out, _err = self.module.run_command(["docker", "logs", job_of.PEER])
            if LISTENS in out:
                return
            if not self.running(job_of.PEER):
                break
            time.sleep(0.25)
        raise ValueError(
            f"port {port}, on which this host would pass the weights on, cannot be had ({self.log(job_of.PEER)}). Set"
            " fleet_weights_port to a free one, or fleet_weights_share to false"
        )

    def log(self, name: str) -> str:
        _code, out, err = self.module.run_command(["docker", "logs", "--tail=3", name])
        lines = (err or out).strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    # --- stopped -------------------------------------------------------------------------------------------------------

    def stop(self) -> bool:
        """Take away what this run needed. A transfer that runs is left alone, with its job."""
        changed = self.remove(job_of.PEER)
        if not self.options["force"] and self.running(job_of.CLIENT):
            return changed
        changed = self.remove(job_of.CLIENT) or changed
        done = read_progress().get("state") == "done"
        shutil.rmtree(job_of.BASE, ignore_errors=True)
        if self.options["directory"]:
            own = os.path.join(self.options["directory"], ".sglang-fleet")
            if done:
                shutil.rmtree(os.path.join(own, "incoming"), ignore_errors=True)
            if self.options["name"]:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(own, "hosts", quote(self.options["name"], safe="")))
        return changed


_NOTHING_YET: dict[str, Any] = {
    "state": "running",
    "bytes_done": 0,
    "bytes_total": None,
    "asks_source": False,
    "error": "",
    "note": "starting",
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["marked", "started", "watched", "stopped"], "required": True},
            "directory": {"type": "path"},
            "name": {"type": "str"},
            "repository": {"type": "str"},
            "revision": {"type": "str"},
            "files": {"type": "list", "elements": "dict"},
            "image": {"type": "str"},
            "fetch": {"type": "bool", "default": True},
            "ask": {"type": "bool", "default": True},
            "fallback": {"type": "bool", "default": False},
            "rank": {"type": "int", "default": 0},
            "peers": {"type": "list", "elements": "dict", "default": []},
            "serve": {"type": "bool", "default": False},
            "port": {"type": "int", "default": 30090},
            "address": {"type": "str", "default": ""},
            "source": {"type": "str", "default": "hub"},
            "endpoint": {"type": "str", "default": "https://huggingface.co"},
            "verify": {"type": "str", "choices": ["changed", "always"], "default": "changed"},
            "jobs": {"type": "int", "default": 8},
            "stall_seconds": {"type": "int", "default": 60},
            "token": {"type": "str", "default": "", "no_log": True},
            "key": {"type": "str", "default": "", "no_log": True},
            "force": {"type": "bool", "default": False},
        },
        required_if=[
            ("state", "marked", ["directory", "name"]),
            ("state", "started", ["directory", "repository", "revision", "files", "image"]),
        ],
        supports_check_mode=True,
    )
    os.umask(0o022)  # a bundle comes as another user than root, who must get through; secrets have modes of their own
    host, state = Host(module), module.params["state"]
    try:
        if module.check_mode and state != "watched":
            module.exit_json(changed=state == "started" and module.params["fetch"], progress={}, running=False)
        if state == "marked":
            module.exit_json(changed=False, ansible_facts={"fleet_weights_marks": host.mark()})
        if state == "stopped":
            if module.get_bin_path("docker"):
                host.stop()
            module.exit_json(changed=False)  # what only this run needed
        changed = host.start() if state == "started" else False
        running = host.running(job_of.CLIENT)
        progress = read_progress()
        died = not running and progress.get("state") in ("running", "waiting")
        log = host.log(job_of.CLIENT) if died else ""
        module.exit_json(changed=changed, progress=progress, running=running, log=log)
    except OSError as error:
        module.fail_json(msg=f"weights: {disk_problem(error, module.params['directory'] or job_of.BASE)}")
    except (DockerError, ValueError) as error:
        module.fail_json(msg=f"weights: {error}")


if __name__ == "__main__":
    main()
