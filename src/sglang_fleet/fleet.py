# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans for every host of an inventory: runs the collection's ``plan.yml`` and reads what it says of each host."""

from __future__ import annotations

import configparser
import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from sglang_fleet.collection import CHECKOUT, CollectionMissingError, collections_root
from sglang_fleet.planning import WISHES, FleetError

#: How a host came out. refused: there is no such plan; failed: anything else went wrong.
PLANNED, REFUSED, UNREACHABLE, FAILED = "planned", "refused", "unreachable", "failed"
#: The actions whose failure says that what is wished for is not to be had.
_REFUSING: Final = ("sglang.fleet.launch_plan", "sglang.fleet.validate_inventory")
_ANSI: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
#: Lines of Ansible's own output that go into a message, when there is nothing better.
_TAIL: Final = 12


@dataclass
class Host:
    """What is known of a host.

    plan: ``fleet_plan``. change: what a deploy would do, of the filter ``plan_change``. advice: what the check of its
    variables warns of; the plan has its own warnings.
    """

    name: str
    status: str = FAILED
    plan: dict[str, Any] | None = None
    change: dict[str, Any] | None = None
    error: str | None = None
    advice: list[str] = field(default_factory=list)


@dataclass
class FleetPlan:
    hosts: dict[str, Host] = field(default_factory=dict)

    def exit_code(self) -> int:
        """0 where every host is planned, 2 where one is refused, 1 where one could not be asked."""
        statuses = {host.status for host in self.hosts.values()}
        return 2 if REFUSED in statuses else 1 if statuses & {UNREACHABLE, FAILED} else 0

    def to_dict(self) -> dict[str, Any]:
        kept = ("plan", "error", "change")
        return {"hosts": {name: {key: asdict(host)[key] for key in kept} for name, host in sorted(self.hosts.items())}}


class Events:
    """Takes ansible-runner's events as they come and keeps what they say of each host."""

    def __init__(self) -> None:
        self.hosts: dict[str, Host] = {}
        self.said: list[str] = []

    def __call__(self, event: Mapping[str, Any]) -> bool:
        data = event.get("event_data") or {}
        name = data.get("host")
        if isinstance(name, str):
            host = self.hosts.setdefault(name, Host(name))
            kind, action, result = event.get("event"), data.get("task_action"), data.get("res") or {}
            if kind == "runner_on_ok":
                self._ok(host, action, result)
            elif kind == "runner_on_failed" and not data.get("ignore_errors"):
                host.status = REFUSED if action in _REFUSING else FAILED
                host.error = _message(host.name, result)
            elif kind == "runner_on_unreachable":
                host.status, host.error = UNREACHABLE, _message(host.name, result)
        elif event.get("stdout"):
            self.said += _ANSI.sub("", str(event["stdout"])).splitlines()
        return False  # no event is kept in a file

    def _ok(self, host: Host, action: Any, result: Mapping[str, Any]) -> None:
        facts = result.get("ansible_facts") or {}
        if action == "sglang.fleet.validate_inventory":
            host.advice += [str(text).removeprefix(f"{host.name}: ") for text in result.get("warnings") or []]
        if "fleet_plan" in facts and action == "sglang.fleet.launch_plan":
            host.plan = facts["fleet_plan"]
        if "plan_change" in facts:
            host.change, host.status = facts["plan_change"], PLANNED

    def finished(self) -> FleetPlan:
        """The hosts with a reason for each that has no plan."""
        for host in self.hosts.values():
            if host.status != PLANNED:
                host.plan = host.change = None
                host.error = host.error or "not planned: the inventory has a problem at another host"
        return FleetPlan(self.hosts)


def _message(name: str, result: Mapping[str, Any]) -> str:
    text = str(result.get("msg") or "it failed without a message").strip()
    return text.removeprefix(f"{name}: ")


def plan_fleet(
    inventory: Path,
    limit: str | None = None,
    cached: bool = False,
    wishes: Mapping[str, Any] | None = None,
    catalogue: Mapping[str, Any] | None = None,
) -> FleetPlan:
    """Plans for the hosts of the group ``gpu_nodes``, or those of them that ``limit`` names; changes nothing on them.

    wishes: by the names of the planner's ``Wishes``; they override the inventory. cached: no host is contacted, the facts
    of an earlier call with the same inventory count. Raises FleetError where no host can be told anything of.
    """
    if not inventory.exists():
        raise FleetError(f"there is no inventory {inventory}")
    cache = fact_cache(inventory)
    if cached and not cache.is_dir():
        raise FleetError(f"nothing is cached for {inventory}: plan once without --cached")
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        root = collections_root()
    except CollectionMissingError as error:
        raise FleetError(str(error)) from error
    variables: dict[str, Any] = {
        wish.variable: wishes[wish.field] for wish in WISHES if wishes and wish.field in wishes
    }
    if catalogue is not None:
        variables["fleet_catalogue"] = dict(catalogue)
    if cached:
        variables["plan_cached"] = True

    events = Events()
    with tempfile.TemporaryDirectory(prefix="sglang-fleet-") as scratch:
        status, rc = _run(
            Path(scratch),
            playbook=str(root / "ansible_collections" / "sglang" / "fleet" / "playbooks" / "plan.yml"),
            inventory=str(inventory.resolve()),
            limit=limit,
            variables=variables,
            cache=cache,
            environment=environment(root, os.environ),
            handler=events,
        )
    if not events.hosts:
        raise FleetError(_why_no_host(status, rc, limit, events.said))
    return events.finished()


def _run(
    scratch: Path,
    *,
    playbook: str,
    inventory: str,
    limit: str | None,
    variables: Mapping[str, Any],
    cache: Path,
    environment: Mapping[str, str],
    handler: Events,
) -> tuple[str, int]:
    """ansible-runner's status and exit status of the playbook."""
    import ansible_runner

    done = ansible_runner.run(
        private_data_dir=str(scratch),
        project_dir=os.getcwd(),  # a relative path in the operator's settings is one from here
        playbook=playbook,
        inventory=inventory,
        limit=limit,
        extravars=dict(variables),
        envvars=dict(environment),
        fact_cache_type="jsonfile",
        fact_cache=str(cache),
        event_handler=handler,
        quiet=True,
    )
    return str(done.status), int(done.rc)


def environment(root: Path, outer: Mapping[str, str]) -> dict[str, str]:
    """Ansible's settings for the run, on top of the operator's own environment."""
    settings = {
        # The ansible-playbook of this program's own environment, activated or not.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), outer.get("PATH", os.defpath)]),
        "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join(
            folder for folder in (str(root), outer.get("ANSIBLE_COLLECTIONS_PATH", "")) if folder
        ),
        "ANSIBLE_CACHE_PLUGIN_TIMEOUT": "0",  # cached facts are asked for by name, however old
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",
    }
    own = CHECKOUT / "ansible.cfg"
    config = outer.get("ANSIBLE_CONFIG") or next(
        (str(path) for path in (Path("ansible.cfg"), own) if path.is_file()), ""
    )
    if config == str(own):
        settings["ANSIBLE_CONFIG"] = config
    # ansible-runner turns the check of host keys off unless it is told otherwise; here Ansible's own default stands.
    if "ANSIBLE_HOST_KEY_CHECKING" not in outer:
        settings["ANSIBLE_HOST_KEY_CHECKING"] = _host_key_checking(config)
    return settings


def _host_key_checking(config: str) -> str:
    """The configuration file's setting, or Ansible's default."""
    usual = [Path("~/.ansible.cfg").expanduser(), Path("/etc/ansible/ansible.cfg")]
    file = Path(config).expanduser() if config else next((path for path in usual if path.is_file()), None)
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        if file is not None:
            parser.read(file)
    except configparser.Error:
        return "True"  # Ansible itself will say what is wrong with it
    return parser.get("defaults", "host_key_checking", fallback="True")


def fact_cache(inventory: Path) -> Path:
    """Where the facts of this inventory's hosts are kept: two inventories may have hosts of the same name."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    key = hashlib.sha256(str(inventory.resolve()).encode()).hexdigest()[:16]
    return base / "sglang-fleet" / "facts" / key


def _why_no_host(status: str, rc: int, limit: str | None, said: list[str]) -> str:
    lines = [line.rstrip() for line in said if line.strip()]
    errors = [number for number, line in enumerate(lines) if "ERROR" in line]
    if errors:
        return "\n".join(lines[errors[0] : errors[0] + _TAIL]).replace("[ERROR]: ", "", 1)
    if rc == 0:
        where = f"no host of {limit!r} is in the group" if limit else "the inventory has no host in the group"
        return f"{where} gpu_nodes (fleet_target): put the GPU nodes into it"
    return "\n".join([f"ansible-playbook ended with {rc} ({status}):", *lines[-_TAIL:]])
