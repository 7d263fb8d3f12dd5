# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks of the collection over an inventory, and what they say of each host; plans for every host of it."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from sglang_fleet.collection import CHECKOUT, CollectionMissingError, collections_root, use_collection
from sglang_fleet.planning import WISHES, FleetError, refuses

#: How a host came out. refused: there is no such plan; failed: anything else went wrong, or what was asked is wrong.
PLANNED, REFUSED, UNREACHABLE, FAILED = "planned", "refused", "unreachable", "failed"
#: Wishes that the check of the variables alone looks into. They stand in the inventory's place; all others go straight to
#: the planner, which then judges them as it does without an inventory.
_OF_THE_CHECK: Final = frozenset({"address", "port", "image", "weights_dir"})
#: Wishes that add to the inventory's, under the names that plan.yml takes them by.
_ADDED: Final = {"extra_args": "plan_server_args", "allow_known_issues": "plan_allow_known_issues"}
#: Environment variable -> sections of Ansible's configuration that say the same; the last that does counts.
_HOST_KEYS: Final = {
    "ANSIBLE_HOST_KEY_CHECKING": ("defaults",),
    "ANSIBLE_SSH_HOST_KEY_CHECKING": ("defaults", "ssh_connection"),
    "ANSIBLE_PARAMIKO_HOST_KEY_CHECKING": ("defaults", "paramiko_connection"),
}
_ANSI: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
#: What Ansible says before the message of a run that would concern no host.
_NOBODY: Final = "The lookup plugin 'sglang.fleet.target_hosts' failed: "
#: Lines of Ansible's own output that go into a message, when there is nothing better.
_TAIL: Final = 12


#: What a listener keeps of a host.
Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Passed:
    """What goes on to ansible-playbook as the operator gave it: names of files alone, as others on the machine see a command.

    cancelled: asked about once a second; the playbook is ended where it says so. Without it signals do that.
    """

    variable_files: tuple[str, ...] = ()
    vault_password_files: tuple[str, ...] = ()
    vault_ids: tuple[str, ...] = ()
    forks: int | None = None
    cancelled: Callable[[], bool] | None = None

    def command_line(self) -> str:
        words = [word for name in self.vault_password_files for word in ("--vault-password-file", name)]
        words += [word for name in self.vault_ids for word in ("--vault-id", name)]
        words += [word for name in self.variable_files for word in ("-e", f"@{name}")]
        return shlex.join(words)


@dataclass
class Host:
    """What is known of a host.

    plan: ``fleet_plan``. driver: action, reason and reboot_reasons of ``fleet_drivers``, or the action ``refused`` with the
    reason, where a deploy would stop at the driver. change: what a deploy would do, of the filter ``plan_change``. advice: what the check of its
    variables warns of; the plan has its own warnings.
    """

    name: str
    status: str = FAILED
    plan: dict[str, Any] | None = None
    driver: dict[str, Any] | None = None
    change: dict[str, Any] | None = None
    error: str | None = None
    advice: list[str] = field(default_factory=list)


@dataclass
class FleetPlan:
    hosts: dict[str, Host] = field(default_factory=dict)

    def exit_code(self) -> int:
        """0 where every host is planned, 2 where one is refused, 1 where anything else went wrong."""
        statuses = {host.status for host in self.hosts.values()}
        return 2 if REFUSED in statuses else 1 if statuses & {UNREACHABLE, FAILED} else 0

    def to_dict(self) -> dict[str, Any]:
        kept = ("plan", "error", "driver", "change")
        return {"hosts": {name: {key: asdict(host)[key] for key in kept} for name, host in sorted(self.hosts.items())}}


class Listener(ABC, Generic[Kept]):
    """Takes ansible-runner's events as they come and keeps what they say of each host."""

    def __init__(self) -> None:
        self.hosts: dict[str, Kept] = {}
        self.said: list[str] = []

    def __call__(self, event: Mapping[str, Any]) -> bool:
        data = event.get("event_data") or {}
        name = data.get("host")
        if isinstance(name, str):
            host = self.hosts.setdefault(name, self.new(name))
            kind, action, result = event.get("event"), data.get("task_action"), data.get("res") or {}
            if kind == "runner_on_ok":
                self.ok(host, action, result)
            elif kind == "runner_on_failed" and not data.get("ignore_errors"):
                self.failed(host, action, result, message_of(name, result))
            elif kind == "runner_on_unreachable":
                self.unreachable(host, message_of(name, result))
        elif event.get("stdout"):
            self.said += _ANSI.sub("", str(event["stdout"])).splitlines()
        return False  # no event is kept in a file

    @abstractmethod
    def new(self, name: str) -> Kept: ...

    @abstractmethod
    def ok(self, host: Kept, action: Any, result: Mapping[str, Any]) -> None: ...

    @abstractmethod
    def failed(self, host: Kept, action: Any, result: Mapping[str, Any], message: str) -> None: ...

    @abstractmethod
    def unreachable(self, host: Kept, message: str) -> None: ...


class Events(Listener[Host]):
    """What the run of ``plan.yml`` says of each host."""

    def new(self, name: str) -> Host:
        return Host(name)

    def failed(self, host: Host, action: Any, result: Mapping[str, Any], message: str) -> None:
        if action == "sglang.fleet.driver_plan":
            return  # rescued: the plan is told, and that a deploy would stop at the driver
        planner = action == "sglang.fleet.launch_plan"
        host.status = REFUSED if planner and refuses(result.get("rule")) else FAILED
        host.error = message

    def unreachable(self, host: Host, message: str) -> None:
        host.status, host.error = UNREACHABLE, message

    def ok(self, host: Host, action: Any, result: Mapping[str, Any]) -> None:
        facts = result.get("ansible_facts") or {}
        if action == "sglang.fleet.validate_inventory":
            host.advice += [str(text).removeprefix(f"{host.name}: ") for text in result.get("warnings") or []]
        if "fleet_plan" in facts and action == "sglang.fleet.launch_plan":
            host.plan = facts["fleet_plan"]
        if "plan_driver" in facts:
            host.driver = facts["plan_driver"]
        if "plan_change" in facts:
            host.change, host.status = facts["plan_change"], PLANNED

    def finished(self) -> FleetPlan:
        """The hosts with a reason for each that has no plan."""
        for host in self.hosts.values():
            if host.status != PLANNED:
                host.plan = host.driver = host.change = None
                host.error = host.error or "not planned: the inventory has a problem at another host"
        return FleetPlan(self.hosts)


def message_of(name: str, result: Mapping[str, Any]) -> str:
    text = str(result.get("msg") or "it failed without a message").strip()
    return text.removeprefix(f"{name}: ")


def plan_fleet(
    inventory: Path,
    limit: str | None = None,
    cached: bool = False,
    wishes: Mapping[str, Any] | None = None,
    catalogue: Mapping[str, Any] | None = None,
    *,
    locked: bool = True,
) -> FleetPlan:
    """Plans for the hosts of the group ``gpu_nodes``, or those of them that ``limit`` names; changes nothing on them.

    wishes: by the names of the planner's ``Wishes``; they override the inventory, but for server arguments and known issues,
    which add to it. catalogue: entries over the inventory's own. cached: no host is contacted, the facts of an earlier
    call with the same inventory count. locked: the inventory's lock file counts. Raises FleetError where no host can be told anything of.
    """
    cache = fact_cache(inventory)
    if cached and inventory.exists() and not cache.is_dir():
        raise FleetError(f"nothing is cached for {inventory}: plan once without --cached")
    variables = _variables(wishes or {}, catalogue)
    if cached:
        variables["plan_cached"] = True
    if not locked:
        variables["launch_plan_lock"] = ""

    events = Events()
    run_playbook("plan.yml", inventory, limit, events, variables)
    return events.finished()


def run_playbook(
    name: str,
    inventory: Path,
    limit: str | None,
    events: Listener[Any],
    variables: Mapping[str, Any] | None = None,
    passed: Passed | None = None,
) -> None:
    """Runs one of the collection's playbooks; what it says of each host is in ``events`` then.

    name: of the collection's, or a path. Facts are kept in the inventory's cache. Raises FleetError where no host can be told
    anything of.
    """
    status, rc = play(name, inventory, limit, events, variables, passed)
    if not events.hosts:
        raise FleetError(why_no_host(status, rc, events.said))


def play(
    name: str,
    inventory: Path,
    limit: str | None,
    handler: Callable[[Mapping[str, Any]], bool],
    variables: Mapping[str, Any] | None = None,
    passed: Passed | None = None,
    more: Mapping[str, str] | None = None,
) -> tuple[str, int]:
    """ansible-runner's status and exit status of a playbook. more: environment. Raises FleetError where none can be run."""
    if not inventory.exists():
        raise FleetError(f"there is no inventory {inventory}")
    try:
        use_collection()  # what shows the result reads its words there
        root = collections_root()
    except CollectionMissingError as error:
        raise FleetError(str(error)) from error
    cache = fact_cache(inventory)
    with tempfile.TemporaryDirectory(prefix="sglang-fleet-") as scratch, _kept_private(cache):
        return _run(
            Path(scratch),
            playbook=str(root / "ansible_collections" / "sglang" / "fleet" / "playbooks" / name),
            inventory=str(inventory.resolve()),
            limit=limit,
            variables=variables or {},
            cache=cache,
            environment={**environment(root), **(more or {})},
            handler=handler,
            passed=passed or Passed(),
        )


def _variables(wishes: Mapping[str, Any], catalogue: Mapping[str, Any] | None) -> dict[str, Any]:
    """The extra variables of plan.yml."""
    found: dict[str, Any] = {}
    for wish in WISHES:
        if wish.field in wishes:
            value = wishes[wish.field]
            name = wish.variable if wish.field in _OF_THE_CHECK else f"launch_plan_{wish.field}"
            found[_ADDED.get(wish.field, name)] = list(value) if isinstance(value, tuple) else value
    if catalogue is not None:
        found["plan_catalogue"] = dict(catalogue)
    return found


@contextmanager
def _kept_private(cache: Path) -> Iterator[None]:
    """The folder of cached facts, the operator's only, and so its files, which Ansible makes readable for all."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        cache.chmod(0o700)
    except OSError as error:
        raise FleetError(f"cannot keep facts in {cache}: {error.strerror}") from error
    try:
        yield
    finally:
        for file in cache.iterdir():
            with suppress(FileNotFoundError):  # another run's, which it has just put in its place
                file.chmod(0o600)


def _run(
    scratch: Path,
    *,
    playbook: str,
    inventory: str,
    limit: str | None,
    variables: Mapping[str, Any],
    cache: Path,
    environment: Mapping[str, str],
    handler: Callable[[Mapping[str, Any]], bool],
    passed: Passed,
) -> tuple[str, int]:
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
        cancel_callback=passed.cancelled,
        cmdline=passed.command_line() or None,
        forks=passed.forks,
        # How often it asks whether it is to end, in seconds; its default is 5.
        settings={"pexpect_timeout": 1},
        quiet=True,
    )
    # None where a signal has ended it.
    return str(done.status), 1 if done.rc is None else int(done.rc)


def environment(root: Path) -> dict[str, str]:
    """Ansible's settings for the run, on top of the operator's own environment."""
    outer = os.environ
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
    from ansible.config.manager import find_ini_config_file

    # Ansible's own search: it passes over a file that anyone may have put where it is called from.
    config = find_ini_config_file()
    own = CHECKOUT / "ansible.cfg"
    if own.is_file() and "ANSIBLE_CONFIG" not in outer and config != os.path.join(os.getcwd(), "ansible.cfg"):
        config = settings["ANSIBLE_CONFIG"] = str(own)
    # ansible-runner turns the check of host keys off unless a variable says otherwise. One that does outweighs the
    # configuration, so that it must say what that says.
    if "ANSIBLE_HOST_KEY_CHECKING" not in outer:
        settings |= {name: text for name, text in _host_key_checking(config).items() if name not in outer}
    return settings


def _host_key_checking(config: str | None) -> dict[str, str]:
    """What the configuration file says of host keys, as environment variables; Ansible's default where it says nothing."""
    from ansible.config.manager import ConfigManager
    from ansible.errors import AnsibleError

    found = dict.fromkeys(_HOST_KEYS, "True")
    if config is None:
        return found
    option = "host_key_checking"
    try:
        manager = ConfigManager(config)
        for variable, sections in _HOST_KEYS.items():
            ini = [{"section": section, "key": option} for section in sections]
            definition = {option: {"type": "bool", "default": True, "ini": ini}}
            manager.initialize_plugin_configuration_definitions("connection", variable, definition)
            value = manager.get_config_value(option, plugin_type="connection", plugin_name=variable)
            found[variable] = str(bool(value))
    except AnsibleError:
        return dict.fromkeys(_HOST_KEYS, "True")  # ansible-playbook will say what is wrong with the file
    return found


def fact_cache(inventory: Path) -> Path:
    """Where the facts of this inventory's hosts are kept: two inventories may have hosts of the same name."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    key = hashlib.sha256(str(inventory.resolve()).encode()).hexdigest()[:16]
    return base / "sglang-fleet" / "facts" / key


def why_no_host(status: str, rc: int, said: list[str]) -> str:
    lines = [line.rstrip() for line in said if line.strip()]
    errors = [number for number, line in enumerate(lines) if "ERROR" in line]
    if not errors:
        return "\n".join([f"ansible-playbook ended with {rc} ({status}):", *lines[-_TAIL:]])
    found = "\n".join(lines[errors[0] : errors[0] + _TAIL]).replace("[ERROR]: ", "", 1)
    _before, nobody, message = found.partition(_NOBODY)
    return message.partition("\nOrigin: ")[0] if nobody else found
