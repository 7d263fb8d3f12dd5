# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One plan for the command line: options in, the collection's plan out. The planner is the collection's.

Wishes are kept by the names of the planner's ``Wishes``; only those that were given are in them, so that the planner's
own defaults count, and so that the same mapping can override an inventory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from sglang_fleet.collection import CollectionMissingError, use_collection


class Wish(NamedTuple):
    """A wish under its three names."""

    field: str
    option: str
    variable: str


WISHES = (
    Wish("model", "--model", "fleet_model"),
    Wish("layout", "--layout", "fleet_layout"),
    Wish("ep", "--ep", "fleet_ep"),
    Wish("profile", "--profile", "fleet_profile"),
    Wish("address", "--address", "fleet_address"),
    Wish("port", "--port", "fleet_port"),
    Wish("context_length", "--context-length", "fleet_context_length"),
    Wish("mem_fraction_static", "--mem-fraction-static", "fleet_mem_fraction_static"),
    Wish("reasoning_parser", "--thinking", "fleet_reasoning_parser"),
    Wish("tool_call_parser", "--tool-calls", "fleet_tool_call_parser"),
    Wish("enable_metrics", "--enable-metrics", "fleet_enable_metrics"),
    Wish("extra_args", "--server-arg", "fleet_server_args"),
    Wish("image", "--image", "fleet_image"),
    Wish("sglang_version", "--sglang-version", "fleet_sglang_version"),
    Wish("weights_dir", "--weights-dir", "fleet_weights_dir"),
    Wish("allow_known_issues", "--allow-known-issue", "fleet_allow_known_issues"),
    Wish("patches", "--patches", "fleet_patches"),
)
#: Rules of a wish by itself. Breaking one is a wrong option, whatever the GPUs; breaking any other means that there is no
#: such plan.
_RULES_OF_WISHES: Final = frozenset({"server-args"})
_OPTIONS = {wish.variable: wish.option for wish in WISHES}
_VARIABLE = re.compile(r"\bfleet_\w+")


def refuses(rule: str | None) -> bool:
    """Whether a failure by this rule says that there is no such plan; else something that was given is wrong."""
    return rule is not None and rule not in _RULES_OF_WISHES


class FleetError(Exception):
    """Something other than the plan is wrong: a file, an argument, the installation."""


class RefusedError(Exception):
    """There is no such plan. rule: the id of the rule that it breaks, or None."""

    def __init__(self, message: str, rule: str | None) -> None:
        super().__init__(message)
        self.rule = rule


class Single(NamedTuple):
    """A plan for GPUs without a host. wishes: the planner's own, for ``_render.inventory``."""

    plan: dict[str, Any]
    wishes: Any


def plan_single(
    wishes: Mapping[str, Any],
    gpu: str,
    count: int | None = None,
    memory_mib: int | None = None,
    catalogue_file: Path | None = None,
) -> Single:
    """Plans for ``count`` such GPUs, by default as many as the published command generator picks; FleetError, RefusedError."""
    ours = _collection()
    catalogue = _load(ours, read_catalogue(catalogue_file) if catalogue_file else None, catalogue_file)
    wanted = ours.input.Wishes(**wishes)
    try:
        chosen = ours.input.default_count(catalogue, wanted.model, gpu) if count is None else count
        facts = ours.input.facts_for(catalogue, gpu, chosen, memory_mib)
        plan = ours.planner.make_plan(catalogue, facts, wanted).to_dict()
    except ours.rules.PlanError as error:
        raise RefusedError(in_options(str(error)), error.rule) from error
    if count is None:
        model = ours.input.pick_model(catalogue, wanted.model)
        whose = (
            f"the default of the published command generator for {model.name} on {plan['gpu']}"
            if ours.input.published(model, catalogue.gpus[plan["gpu"]])
            else f"no published command generator speaks of {model.name} on {plan['gpu']}"
        )
        plan["reasons"] = [f"{chosen} GPUs, no count being given: {whose}", *plan["reasons"]]
    return Single(plan, wanted)


class _Collection(NamedTuple):
    """The modules of the collection that a plan needs."""

    catalogue: Any
    input: Any
    planner: Any
    rules: Any


def _collection() -> _Collection:
    """The collection's planner; FleetError where there is none that this program knows."""
    try:
        folder = use_collection()
    except CollectionMissingError as error:
        raise FleetError(str(error)) from error
    try:
        from ansible_collections.sglang.fleet.plugins.module_utils import (
            _catalogue,
            _plan_input,
            _plan_rules,
            _planner,
        )
    except ImportError as error:
        raise FleetError(f"the collection in {folder} is of another version ({error}); install both anew") from error
    return _Collection(_catalogue, _plan_input, _planner, _plan_rules)


def render(single: Single, face: str) -> str:
    """The plan as ``command``, ``docker`` or ``inventory``, in the collection's own words."""
    from ansible_collections.sglang.fleet.plugins.module_utils import _render

    if face == "inventory":
        return str(_render.inventory(single.plan, single.wishes)).rstrip("\n") + "\n"
    make = _render.command if face == "command" else _render.docker_run
    instances = single.plan["instances"]
    texts = [str(make(single.plan, instance)).rstrip("\n") for instance in instances]
    if len(texts) > 1:
        texts = [
            f"# instance {instance['name']}, port {instance['port']}\n{text}"
            for instance, text in zip(instances, texts, strict=True)
        ]
    return "\n\n".join(texts) + "\n"


def with_options_named(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The plan with its sentences in this program's options, to be read; the figures are the same."""
    return {
        **plan,
        "reasons": [in_options(reason) for reason in plan["reasons"]],
        "warnings": [{**warning, "message": in_options(warning["message"])} for warning in plan["warnings"]],
    }


def in_options(text: str) -> str:
    """A message of the planner, which names inventory variables, in this program's options.

    A variable that has no option, such as an API key's, keeps its name.
    """
    text = re.sub(r"\bfleet_server_args\.(?=[\w-])", "--server-arg ", text)
    text = text.replace("set the GPU to", "set --gpu to")
    options = {**_OPTIONS, "fleet_catalogue": "--catalogue"}
    return _VARIABLE.sub(lambda match: options.get(match[0], match[0]), text)


def catalogue_of_fleet(file: Path) -> Mapping[str, Any]:
    """A catalogue file's sections, to be added to an inventory's; raises FleetError.

    Only their shape is checked: entries may build on the inventory's own, which the plan of a host knows.
    """
    sections = read_catalogue(file)
    known = _collection().catalogue.SECTIONS
    for section, entries in sections.items():
        if section not in known:
            raise FleetError(f"{file}: unknown section {section}; known: {', '.join(known)}")
        if not isinstance(entries, Mapping):
            raise FleetError(f"{file}: {section} must be a mapping of name to entry, not {type(entries).__name__}")
    return sections


def _load(ours: _Collection, sections: Mapping[str, Any] | None, file: Path | None) -> Any:
    try:
        return ours.catalogue.load_catalogue(sections)
    except ours.catalogue.CatalogueError as error:
        raise FleetError(_of_file(str(error), file)) from error


def _of_file(text: str, file: Path | None) -> str:
    """A message about the variable fleet_catalogue as one about the file that was given in its place."""
    if file is None:
        return text
    text = re.sub(r"\bfleet_catalogue needs\b", "--catalogue needs", text)
    text = text.replace("leave fleet_catalogue out", "leave --catalogue out")
    return re.sub(r"\bfleet_catalogue\b(\.|: )?", lambda match: f"{file}: " if match[1] else str(file), text)


def read_catalogue(file: Path) -> Mapping[str, Any]:
    """The sections that a catalogue file adds or changes, bare or under ``fleet_catalogue``; raises FleetError."""
    data = _yaml(file, "fleet_catalogue", "sections of the catalogue, such as gpus or models")
    if not isinstance(data, Mapping):
        raise FleetError(f"{file} holds a {type(data).__name__}: it must be a mapping of the catalogue's sections")
    return data


def read_patches(file: Path) -> tuple[Any, ...]:
    """The patches of a file, a list, bare or under ``fleet_patches``; raises FleetError. The plan checks what they hold."""
    data = _yaml(file, "fleet_patches", "a list of patches")
    if not isinstance(data, list):
        raise FleetError(f"{file} holds a {type(data).__name__}: it must be a list of patches")
    return tuple(data)


def _yaml(file: Path, variable: str, wanted: str) -> Any:
    """A file's content, bare or as an inventory has it under the variable; raises FleetError."""
    import yaml

    try:
        data = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise FleetError(f"cannot read {file}: {reason}") from error
    except yaml.YAMLError as error:
        raise FleetError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    if data is None:
        raise FleetError(f"{file} is empty: it must hold {wanted}")
    return data[variable] if isinstance(data, Mapping) and set(data) == {variable} else data


def server_args(given: Iterable[str]) -> dict[str, Any]:
    """``NAME=VALUE`` words as a mapping. A value reads as in an inventory: true, a number, a list; a bare NAME is a flag."""
    import yaml

    args: dict[str, Any] = {}
    for word in given:
        name, equals, text = word.partition("=")
        if not name:
            raise FleetError(f"--server-arg {word!r}: give NAME=VALUE, such as --server-arg max-running-requests=64")
        if name in args:
            raise FleetError(f"--server-arg {name} is given twice: give it once, several values as NAME=[A,B]")
        value: Any = True
        if equals:
            try:
                value = yaml.safe_load(text)
            except yaml.YAMLError:
                value = text
            # What is neither a scalar nor a list goes to the server as it was written, as JSON for one.
            if not isinstance(value, (bool, int, float, str, list)):
                value = text
        args[name] = value
    return args
