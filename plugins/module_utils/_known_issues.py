# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which known issues of the catalogue meet a plan, and what comes of them. Pure."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import Catalogue, KnownIssue
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import PlanError


@dataclass(frozen=True)
class Warn:
    """Something that the operator should know of a plan.

    id: of the catalogue's known issue, or the planner's own. severity: note, warn, change (the plan differs from the
    published command) or override (a known issue was set aside). url: where to read on, or None.
    """

    id: str
    severity: str
    message: str
    url: str | None = None


@dataclass(frozen=True)
class Circumstances:
    """What an issue's ``when`` is held against, server_args apart."""

    architectures: str
    models: str
    gpus: str
    compute_capabilities: str | None
    vendors: str
    images: str
    gpus_per_instance: int


def meets(issue: KnownIssue, circumstances: Circumstances, args: t.Mapping[str, t.Any]) -> bool:
    for key, wanted in issue.when.items():
        if key == "server_args":
            if any(args.get(name) != value for name, value in wanted.items()):
                return False
        elif getattr(circumstances, key) not in wanted:
            return False
    return True


def check_allowed(catalogue: Catalogue, allowed: t.Sequence[str]) -> None:
    """Raises PlanError for a name that is no known issue's."""
    unheard = [name for name in allowed if name not in catalogue.known_issues]
    if unheard:
        raise PlanError(
            f"fleet_allow_known_issues names {', '.join(unheard)}: known are {', '.join(catalogue.known_issues)}"
        )


def warning_of(issue: KnownIssue, allowed: t.Sequence[str]) -> Warn:
    """What the plan says of an issue that meets it; raises PlanError for one that blocks it."""
    text = f"{issue.message}; {issue.remedy}"
    if issue.name in allowed:
        return Warn(issue.name, "override", f"set aside by fleet_allow_known_issues: {issue.message}", issue.source)
    if issue.severity == "block":
        raise PlanError(
            f"known issue {issue.name}: {issue.message} ({issue.source}); {issue.remedy}, or add {issue.name} to "
            "fleet_allow_known_issues to go on all the same",
            "known-issue",
        )
    if issue.severity == "change":
        settings = [f"--{name}" if value is True else f"--{name} {value}" for name, value in issue.change_args.items()]
        settings += [f"{name}={value}" for name, value in issue.change_environment.items()]
        text += (
            f", so the plan has {' '.join(settings)}; add {issue.name} to fleet_allow_known_issues for the published "
            "flags"
        )
    return Warn(issue.name, issue.severity, text, issue.source)
