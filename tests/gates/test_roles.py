# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each role says the same thing in its defaults, its argument specs and its README."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.gates.role_readme import ROLES, defaults, rendered, specs

each_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


def _options(role: Path) -> dict[str, Any]:
    """Return the options of every entry point: a role has one set of defaults for all of them."""
    return {name: option for entry in specs(role).values() for name, option in (entry.get("options") or {}).items()}


@each_role
def test_every_entry_point_has_a_spec(role: Path) -> None:
    """A task file that others may enter by (tasks_from) is listed; main always is."""
    entries = specs(role)
    assert "main" in entries
    files = {path.stem for path in (role / "tasks").glob("*.yml")}
    assert set(entries) <= files, "an entry point without its task file"
    for name, entry in entries.items():
        assert entry.get("short_description"), f"{name} has no short_description"


_WISH = re.compile(r"\{\{ fleet_\w+ \| default\((.+)\) \}\}")


def _plain(value: Any) -> Any:
    """What a default comes to where nobody set the collection-wide wish that it takes its value from."""
    if isinstance(value, str) and (wish := _WISH.fullmatch(value)):
        return None if wish[1] == "none" else yaml.safe_load(wish[1])
    return value


@each_role
def test_defaults_are_those_of_the_specs(role: Path) -> None:
    """Collection-wide wishes (fleet_x) have no default of their own: roles' defaults read them."""
    options = {name: option for name, option in _options(role).items() if not name.startswith("fleet_")}
    actual = {name: _plain(value) for name, value in defaults(role).items()}
    assert set(actual) <= set(options), "a default that the specs do not know"
    for name, option in options.items():
        documented, value = _plain(option.get("default")), actual.get(name)
        if documented is None and isinstance(value, str) and "{{" in value:
            continue  # taken from facts or from other variables: the specs' types allow no template
        assert value == documented, name


@each_role
def test_an_option_without_default_is_required_or_may_be_left_out(role: Path) -> None:
    """A default of ``null`` or an empty template would hide that nothing was said."""
    both = [name for name, option in _options(role).items() if option.get("required") and "default" in option]
    assert not both


@each_role
def test_public_variables_carry_the_role_name(role: Path) -> None:
    foreign = [
        name for name in {**defaults(role), **_options(role)} if not name.startswith((f"{role.name}_", "fleet_"))
    ]
    assert not foreign


@each_role
def test_options_are_described(role: Path) -> None:
    silent = [name for name, option in _options(role).items() if not option.get("description")]
    assert not silent


@each_role
def test_readme_is_up_to_date(role: Path) -> None:
    readme = role / "README.md"
    assert readme.exists(), "no README: make docs"
    assert readme.read_text() == rendered(role), "out of date: make docs"


def test_deploy_asks_every_role_of_the_host_software_before_one_installs() -> None:
    """A daemon.json that is broken, or a restart that may not be, is not found behind an exchanged driver."""
    plays = yaml.safe_load((ROLES[0].parents[1] / "playbooks" / "deploy.yml").read_text("utf-8"))
    tasks = [task.get("ansible.builtin.import_role", {}) for play in plays for task in play.get("tasks", ())]
    entries = [(task.get("name", "").rpartition(".")[2], task.get("tasks_from", "main")) for task in tasks]
    first = min(entries.index((role, "main")) for role in ("nvidia_driver", "rocm", "container_engine"))
    asked = {("nvidia_driver", "decide"), ("rocm", "decide"), ("container_engine", "preflight")}
    assert asked <= set(entries[:first]), entries
