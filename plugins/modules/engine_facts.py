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
extends_documentation_fragment:
  - sglang.fleet.attributes.read_only
  - sglang.fleet.attributes.facts
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
        installed:
          description: Whether Docker's engine is on the node, which a client alone is not.
          type: bool
          returned: always
        client: {description: "Whose command C(docker) is: V(docker), V(podman) or none.", type: str, returned: always}
        running: {description: Whether the engine answers., type: bool, returned: always}
        permitted: {description: Whether this user may use it., type: bool, returned: always}
        enabled: {description: Whether the service starts at boot., type: bool, returned: always}
        version: {description: The engine's version., type: str, returned: always}
        containers_running: {description: How many containers run., type: int, returned: always}
        nvidia_runtime: {description: Whether NVIDIA's container toolkit is there., type: bool, returned: always}
        images: {description: 'The tagged images, each with reference, id and digest.', type: list, elements: dict, returned: always}
        daemon_config: {description: The content of C(/etc/docker/daemon.json)., type: dict, returned: always}
        daemon_mode: {description: 'Its permissions, octal; those of a new file where there is none.', type: str, returned: always}
        daemon_flags: {description: "What dockerd's command line says, by the keys of daemon.json.", type: dict, returned: always}
        swarm: {description: Whether the engine is part of a swarm., type: bool, returned: always}
        toolkit: {description: "Versions of the packages of NVIDIA's container toolkit, by name.", type: dict, returned: always}
        hook_newer: {description: "Whether NVIDIA's container hook came after dockerd had started.", type: bool, returned: always}
        amd_toolkit: {description: "Whether AMD's container toolkit is there.", type: bool, returned: always}
        cdi_files: {description: Names of the CDI specifications., type: list, elements: str, returned: always}
        driver_loaded: {description: "Whether NVIDIA's driver is loaded.", type: bool, returned: always}
        recorded: {description: What this role installed here., type: dict, returned: always}
        arch: {description: "The kernel's name of the architecture.", type: str, returned: always}
        error: {description: 'Why it cannot be used, with a remedy.', type: str, returned: always}
        os: {description: 'C(id), C(version_id), C(id_like) and C(codename) of C(/etc/os-release).', type: dict, returned: always}
"""

import glob
import os
import platform
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.sglang.fleet.plugins.module_utils import _daemon_json, _installed
from ansible_collections.sglang.fleet.plugins.module_utils._docker import Docker, DockerError
from ansible_collections.sglang.fleet.plugins.module_utils._host import os_release

#: Any of these means that NVIDIA's container toolkit is there.
NVIDIA_RUNTIME = ("nvidia-container-runtime-hook", "nvidia-container-runtime", "nvidia-cdi-hook")
TOOLKIT = ("nvidia-container-toolkit*", "libnvidia-container*")
CDI = ("/etc/cdi", "/var/run/cdi")
#: Seconds by which a file may seem newer than a process that found it there, for both are rounded.
TOLERANCE = 2


def daemon_config() -> tuple[dict[str, Any], str]:
    """The configuration in force and its mode. Raises DaemonJsonError when the file is not a JSON object."""
    if not os.path.exists(_daemon_json.PATH):
        return {}, "0644"
    with open(_daemon_json.PATH, encoding="utf-8", errors="replace") as handle:
        text = handle.read()
    return _daemon_json.parse(text), f"{os.stat(_daemon_json.PATH).st_mode & 0o7777:04o}"


def unit(module: AnsibleModule) -> dict[str, str]:
    """Properties of docker.service."""
    words = ["systemctl", "show", "docker.service", "--property=MainPID,ExecStart,LoadState,UnitFileState"]
    _code, out, _err = module.run_command(words)
    return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)


def client_of(module: AnsibleModule) -> str:
    """Whose command `docker` is: podman-docker puts podman there under that name."""
    if module.get_bin_path("docker") is None:
        return ""
    _code, out, _err = module.run_command(["docker", "--version"])
    return "podman" if out.lower().startswith("podman") else "docker"


def command_line(lines: Mapping[str, str]) -> tuple[list[str], int]:
    """dockerd's command line, of the process that runs or of the unit; and the process, 0 for none."""
    pid = int(lines.get("MainPID") or 0)
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as handle:
            words = [word for word in handle.read().split("\0") if word]
        if words:
            return words, pid
    except OSError:
        pass
    # { path=/usr/sbin/dockerd ; argv[]=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS ; ignore_errors=no ; … }
    start = lines.get("ExecStart", "").partition("argv[]=")[2].partition(" ; ")[0]
    return [word for word in start.split() if not word.startswith("$")], 0


def started(pid: int) -> float:
    """When a process started, as seconds since 1970."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as handle:
        ticks = int(handle.read().rpartition(")")[2].split()[19])
    with open("/proc/stat", encoding="utf-8") as handle:
        boot = next(int(line.split()[1]) for line in handle if line.startswith("btime "))
    return boot + ticks / os.sysconf("SC_CLK_TCK")


def hook_newer(module: AnsibleModule, pid: int) -> bool:
    """Whether NVIDIA's hook came after dockerd had looked for it."""
    hook = module.get_bin_path(NVIDIA_RUNTIME[0])
    try:
        return bool(hook and pid) and os.lstat(str(hook)).st_ctime > started(pid) + TOLERANCE
    except (OSError, ValueError, StopIteration):
        return False


def toolkit(module: AnsibleModule) -> dict[str, str]:
    """Installed packages of NVIDIA's container toolkit."""
    if module.get_bin_path("dpkg-query"):
        words = ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package} ${Version}\\n", *TOOLKIT]
    elif module.get_bin_path("rpm"):
        words = ["rpm", "--query", "--all", "--queryformat", r"installed %{NAME} %{VERSION}-%{RELEASE}\n", *TOOLKIT]
    else:
        return {}
    _code, out, _err = module.run_command(words)  # dpkg-query fails where there is none
    rows = [line.split() for line in out.splitlines() if line.startswith("installed ")]
    return {row[1]: row[2] for row in rows if len(row) == 3}


def engine(module: AnsibleModule, lines: Mapping[str, str]) -> dict[str, Any]:
    """What there is of Docker, from docker.service's properties and from itself."""
    client = client_of(module)
    facts: dict[str, Any] = {
        "installed": lines.get("LoadState", "not-found") != "not-found" or module.get_bin_path("dockerd") is not None,
        "client": client,
        "running": False,
        "permitted": False,
        "enabled": lines.get("UnitFileState") == "enabled",
        "version": "",
        "containers_running": 0,
        "images": [],
        "swarm": False,
        "error": "",
    }
    if client != "docker":
        return facts
    try:
        docker = Docker(module.run_command)
        info = docker.info()
        facts.update(
            installed=True,  # whoever starts it: snap's unit has another name
            running=True,
            permitted=True,
            version=info.get("ServerVersion", ""),
            containers_running=int(info.get("ContainersRunning") or 0),
            images=docker.images(),
            swarm=(info.get("Swarm") or {}).get("LocalNodeState", "inactive") != "inactive",
        )
    except DockerError as error:
        denied = error.kind == "permission"
        if facts["installed"] or denied:  # of a client alone that says nothing
            facts.update(installed=True, running=denied, permitted=not denied, error=str(error))
    return facts


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    lines = unit(module)
    facts = engine(module, lines)
    words, pid = command_line(lines)
    with open("/etc/os-release", encoding="utf-8") as handle:
        facts["os"] = os_release(handle.read())
    try:
        facts["daemon_config"], facts["daemon_mode"] = daemon_config()
        facts["recorded"] = _installed.load().get(_installed.CONTAINER_ENGINE, {})
    except (_daemon_json.DaemonJsonError, _installed.RecordError) as error:
        module.fail_json(msg=f"{error}.")
    facts.update(
        nvidia_runtime=any(module.get_bin_path(name) for name in NVIDIA_RUNTIME),
        arch=platform.machine(),
        daemon_flags=_daemon_json.flags(words),
        toolkit=toolkit(module),
        hook_newer=hook_newer(module, pid),
        amd_toolkit=module.get_bin_path("amd-ctk") is not None,
        cdi_files=sorted({os.path.basename(path) for folder in CDI for path in glob.glob(f"{folder}/*")}),
        driver_loaded=os.path.isdir("/sys/module/nvidia"),
    )
    module.exit_json(changed=False, ansible_facts={"container_engine": facts})


if __name__ == "__main__":
    main()
