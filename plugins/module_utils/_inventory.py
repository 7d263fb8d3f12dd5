# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks of a host's inventory variables, before any host is touched: names, types and what the values mean.

The roles' meta/argument_specs.yml say which variables there are; nothing about them is written down here a second time.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.sglang.fleet.plugins.module_utils._bundle import (
    BundleError,
    folder_of,
    load_bundle,
    lock_problems,
)
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import Catalogue, load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue_checks import CatalogueError
from ansible_collections.sglang.fleet.plugins.module_utils._inventory_measures import check_measures
from ansible_collections.sglang.fleet.plugins.module_utils._inventory_supply import check_supply, checked
from ansible_collections.sglang.fleet.plugins.module_utils._layout import parse_layout
from ansible_collections.sglang.fleet.plugins.module_utils._lock import LockError, load_lock
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import pick, pick_model
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import PlanError, version_key
from ansible_collections.sglang.fleet.plugins.module_utils._plan_wishes import (
    address_problem,
    ep_problem,
    folder_problem,
    fraction_problem,
    one_port_problem,
    port_problem,
)
from ansible_collections.sglang.fleet.plugins.module_utils._server_arg_rules import extra_arg_problem

#: the collection's roles, in a checkout and in an installed collection, seen from plugins/module_utils/
DEFAULT_ROLES: t.Final = Path(__file__).parents[2] / "roles"

API_KEY_MIN: t.Final = 16
#: what launch_plan takes where fleet_model is not set
_MODEL: t.Final = "M2.7"
_TRUE: t.Final = frozenset({"true", "yes", "on", "y", "t", "1", "1.0"})
_FALSE: t.Final = frozenset({"false", "no", "off", "n", "f", "0", "0.0"})


@dataclass(frozen=True)
class Variable:
    name: str
    type: str
    elements: str | None
    choices: tuple[t.Any, ...]
    secret: bool
    example: t.Any


@dataclass(frozen=True)
class Specs:
    """Every variable of the collection's roles, and the prefixes under which no others may be."""

    variables: t.Mapping[str, Variable]
    prefixes: tuple[str, ...]

    def ours(self, name: str) -> bool:
        return name.startswith(self.prefixes)


@dataclass(frozen=True)
class Findings:
    problems: list[str]
    warnings: list[str]


class Undefined:
    """A variable whose template could not be worked out, and why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def read_specs(roles: Path | None = None) -> Specs:
    """The variables of all roles, from each role's meta/argument_specs.yml."""
    import yaml  # on the controller only

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    variables: dict[str, Variable] = {}
    prefixes = {"fleet_"}
    for path in sorted((roles or DEFAULT_ROLES).glob("*/meta/argument_specs.yml")):
        prefixes.add(f"{path.parents[1].name}_")
        specs = yaml.load(path.read_text("utf-8"), Loader=loader)["argument_specs"]  # noqa: S506 (a safe loader)
        for entry in specs.values():
            for name, option in (entry.get("options") or {}).items():
                variables[name] = Variable(
                    name=name,
                    type=option.get("type", "str"),
                    elements=option.get("elements"),
                    choices=tuple(option.get("choices") or ()),
                    secret=bool(option.get("no_log")),
                    example=option.get("default"),
                )
    return Specs(variables, tuple(sorted(prefixes)))


def check_inventory(values: t.Mapping[str, t.Any], specs: Specs) -> Findings:
    """All that is wrong with a host's variables (templates already worked out; Undefined where that failed)."""
    problems: list[str] = []
    sound: dict[str, t.Any] = {}
    for name in sorted(values):
        if not specs.ours(name):
            continue
        variable = specs.variables.get(name)
        if variable is None:
            problems.append(_unknown(name, specs))
        elif isinstance(values[name], Undefined):
            # A role's own variable may hang on facts that are not there yet; Ansible checks it when the role runs.
            if name.startswith("fleet_"):
                reason = "" if variable.secret else f": {values[name].reason}"
                problems.append(f"{name} cannot be worked out{reason}; define what its template refers to")
        # A secret that is empty is one that is not set, as from a vault's default.
        elif values[name] is not None and not (variable.secret and values[name] == ""):
            try:
                sound[name] = _convert(variable, values[name])
            except ValueError as exc:
                problems.append(str(exc))
    meanings = _meanings(sound)
    return Findings(problems + meanings.problems, meanings.warnings)


def check_bundle(values: t.Mapping[str, t.Any], usual_lock: str) -> t.Iterator[str]:
    """What is wrong with a bundle that is sound in itself (`check_inventory`), held against the lock.

    usual_lock: where a lock is that no variable names.
    """
    file = values.get("fleet_lock_file", usual_lock)
    try:
        lock = load_lock(file) if file else None
        if lock is None:
            yield (
                "fleet_bundle: a bundle holds what a lock names, and there is no lock"
                f"{f' {file}' if file else ''}: put the bundle's fleet.lock.yml beside the inventory, or name it with"
                " fleet_lock_file"
            )
            return
        catalogue = load_catalogue(values.get("fleet_catalogue") or {})
        model = pick_model(catalogue, values.get("fleet_model", _MODEL))
        bundle = load_bundle(folder_of(values["fleet_bundle"]))
        yield from (f"fleet_bundle: {text}" for text in lock_problems(bundle, lock, model.id))
    except (LockError, BundleError, CatalogueError, PlanError) as exc:
        yield f"fleet_bundle: {exc}"


def _unknown(name: str, specs: Specs) -> str:
    # Only what follows the prefix is compared: a long prefix in common makes any two names look alike.
    prefix = max((prefix for prefix in specs.prefixes if name.startswith(prefix)), key=len)
    others = {other[len(prefix) :]: other for other in specs.variables if other.startswith(prefix)}
    close = difflib.get_close_matches(name[len(prefix) :], others, n=1, cutoff=0.6)
    hint = f"did you mean {others[close[0]]}?" if close else "look it up in the roles' README files, or remove it"
    return f"{name} is not a variable of this collection: {hint}"


_KINDS: t.Final = {
    "str": "a string",
    "path": "a path",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping",
}


def _convert(variable: Variable, value: t.Any, where: str | None = None, kind: str | None = None) -> t.Any:
    """The value as the type of the variable; ValueError says what was found and what is wanted."""
    where = where or variable.name
    kind = kind or variable.type
    found = _kind_of(value) if variable.secret else f"{value!r}, {_kind_of(value)}"
    wanted = ValueError(f"{where} is {found}: it must be {_KINDS.get(kind, kind)}{_example(variable, kind)}")
    if kind == "list":
        if not isinstance(value, (list, tuple)):
            raise wanted
        if variable.elements is None:
            return list(value)
        return [_convert(variable, item, f"{where}[{index}]", variable.elements) for index, item in enumerate(value)]
    if kind == "dict":
        if not isinstance(value, t.Mapping):
            raise wanted
        return dict(value)
    if kind == "raw":
        return value
    converted = _scalar(kind, value)
    if converted is None:
        raise wanted
    if variable.choices and converted not in variable.choices:
        choices = ", ".join(str(choice) for choice in variable.choices)
        shown = "" if variable.secret else f" is {value!r}"
        raise ValueError(f"{where}{shown}: set it to one of {choices}")
    return converted


def _kind_of(value: t.Any) -> str:
    """The type in words: Ansible's values are of subclasses with names of no use to anyone."""
    for kind, words in (
        (bool, "true or false"),
        (str, "a string"),
        (int, "a whole number"),
        (float, "a number"),
        (t.Mapping, "a mapping"),
        ((list, tuple), "a list"),
    ):
        if isinstance(value, kind):
            return words
    return type(value).__name__


def _scalar(kind: str, value: t.Any) -> t.Any:
    """The value as str, path, int, float or bool, the strings of INI inventories and ``-e`` included; None if it is not."""
    text = str(value).strip()
    if kind in ("str", "path"):
        return str(value) if isinstance(value, str) else None
    if kind == "bool":
        if isinstance(value, (bool, int, str)):
            return True if text.lower() in _TRUE else False if text.lower() in _FALSE else None
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if kind == "int":
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else None
    if kind == "float":
        return float(text) if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)", text) else None
    return value


def _example(variable: Variable, kind: str) -> str:
    if variable.secret or variable.example in (None, "", [], {}) or kind != variable.type:
        return ""
    if "{{" in str(variable.example):
        return ""  # a default that is a template says nothing to the reader
    return f", for example {variable.example!r}"


def _meanings(values: t.Mapping[str, t.Any]) -> Findings:
    """What values mean, for those that have the right type."""
    problems: list[str] = []
    warnings: list[str] = []
    try:
        catalogue = load_catalogue(values.get("fleet_catalogue"))
    except CatalogueError as exc:
        problems += str(exc).splitlines()
        catalogue = load_catalogue()
    for check in (_check_choice, _check_server, _check_place, check_supply, check_measures, _check_secrets):
        problems += check(values, catalogue)
    if not _is_loopback(values.get("fleet_address", "127.0.0.1")) and not values.get("fleet_api_key"):
        warnings.append(
            f"fleet_address is {values['fleet_address']} and fleet_api_key is not set: whoever reaches the port may use "
            "the server; set fleet_api_key, or keep the address at 127.0.0.1 behind a proxy"
        )
    return Findings(problems, warnings)


def _check_choice(values: t.Mapping[str, t.Any], catalogue: Catalogue) -> t.Iterator[str]:
    """Model, profile, context, version, known issues."""
    context = None
    if "fleet_model" in values:
        try:
            context = pick_model(catalogue, values["fleet_model"])
        except PlanError as exc:
            yield f"fleet_model: {exc}"
    if "fleet_profile" in values:
        try:
            pick(catalogue.container_profiles, values["fleet_profile"], "profile", "fleet_profile")
        except PlanError as exc:
            yield f"fleet_profile: {exc}"
    tokens = values.get("fleet_context_length")
    if tokens is not None:
        most = context.context_length if context else None
        if tokens < 1 or (most is not None and tokens > most):
            limit = f"1 to {most} tokens for {context.name}" if context else "1 or more tokens"
            yield f"fleet_context_length is {tokens}: set it to {limit}, or leave it out"
    version = values.get("fleet_sglang_version")
    versions = sorted({image.sglang_version for image in catalogue.images.values()}, key=version_key)
    if version is not None and version not in versions:
        yield (
            f"fleet_sglang_version is {version}: set it to one of {', '.join(versions)}, or add an image of it to "
            "fleet_catalogue (images)"
        )
    for name in values.get("fleet_allow_known_issues", []):
        if name not in catalogue.known_issues:
            known = ", ".join(catalogue.known_issues)
            yield f"fleet_allow_known_issues: unknown issue {name}; known: {known}"


def _check_server(values: t.Mapping[str, t.Any], catalogue: Catalogue) -> t.Iterator[str]:
    """Memory fraction, expert parallelism, server arguments."""
    del catalogue
    yield from checked(values, fleet_mem_fraction_static=fraction_problem, fleet_ep=ep_problem)
    for name, value in values.get("fleet_server_args", {}).items():
        problem = extra_arg_problem(name, value)
        if problem:
            yield problem


def _check_place(values: t.Mapping[str, t.Any], catalogue: Catalogue) -> t.Iterator[str]:
    """Layout, address, ports, folder."""
    del catalogue
    instances = 1
    try:
        layout = parse_layout(values.get("fleet_layout", "auto"))
        instances = layout.instances if layout else 1
    except PlanError as exc:
        yield str(exc)
    yield from checked(
        values,
        fleet_port=lambda port: port_problem(port, instances),
        fleet_address=address_problem,
        fleet_weights_dir=folder_problem,
        fleet_reboot_window=_window_problem,
        fleet_gateway_port=lambda port: one_port_problem("fleet_gateway_port", port),
        fleet_worker_address=lambda address: address_problem(address, "fleet_worker_address"),
        fleet_serial=_serial_problem,
    )


def _window_problem(window: str) -> str | None:
    clock = r"([01]\d|2[0-3]):[0-5]\d"
    if not window or re.fullmatch(f"{clock}-{clock}", window):
        return None
    return f"fleet_reboot_window is {window}; give it as HH:MM-HH:MM with two digits each, such as 22:00-05:30 or 02:00-04:00"


def _serial_problem(serial: t.Any) -> str | None:
    """As of a play's `serial`: a number of hosts, a share of them, or a list of such, batch after batch."""
    given = list(serial) if isinstance(serial, (list, tuple)) else [serial]
    wrong = [size for size in given if not re.fullmatch(r"[1-9]\d*|([1-9]\d?|100)%", str(size))]
    if given and not wrong:
        return None
    return (
        f"fleet_serial has {wrong[0] if wrong else 'no batch'}: set it to a number of hosts, such as 2, to a percentage, such as 25%,"
        " or to a list of them"
    )


def _check_secrets(values: t.Mapping[str, t.Any], catalogue: Catalogue) -> t.Iterator[str]:
    """Secrets, which are never shown."""
    del catalogue
    for name in ("fleet_api_key", "fleet_gateway_api_key"):
        key = values.get(name)
        if key is None:
            continue
        if len(key) < API_KEY_MIN:
            yield f"{name} has {len(key)} characters: set it to {API_KEY_MIN} or more"
        if re.fullmatch(r"[A-Za-z0-9._~+/=-]*", key) is None:
            yield f"{name} has characters that an Authorization header cannot carry: use A-Z a-z 0-9 . _ ~ + / = -"
    token = values.get("fleet_hf_token")
    if token is not None and re.fullmatch(r"[A-Za-z0-9_-]+", token) is None:
        yield "fleet_hf_token has characters that no Hugging Face token has: use A-Z a-z 0-9 _ -"


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
