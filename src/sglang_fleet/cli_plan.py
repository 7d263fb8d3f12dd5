# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command ``plan``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sglang_fleet.cli_common import FAILED, REFUSED, complain


class Format(StrEnum):
    """How a plan is written."""

    table = "table"
    command = "command"
    docker = "docker"
    inventory = "inventory"
    json = "json"


_ONE, _FLEET, _WISHES = "GPUs without a host", "A fleet", "Wishes"


def plan(
    gpu: Annotated[
        str | None, typer.Option(help="Kind of the GPUs, such as H200 or MI300X.", rich_help_panel=_ONE)
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            help="GPUs of the node. Left out, as many as the published command generator picks.", rich_help_panel=_ONE
        ),
    ] = None,
    gpu_memory_mib: Annotated[
        int | None,
        typer.Option(
            help="Memory of one GPU in MiB, where it is not the catalogue's figure.",
            metavar="MIB",
            rich_help_panel=_ONE,
        ),
    ] = None,
    inventory: Annotated[
        Path | None,
        typer.Option("--inventory", "-i", help="Plan for the hosts of this Ansible inventory.", rich_help_panel=_FLEET),
    ] = None,
    limit: Annotated[
        str | None,
        typer.Option("--limit", "-l", help="Only these of its hosts.", metavar="PATTERN", rich_help_panel=_FLEET),
    ] = None,
    cached: Annotated[
        bool,
        typer.Option(
            "--cached", help="Contact no host: plan from the facts of an earlier call.", rich_help_panel=_FLEET
        ),
    ] = False,
    no_lock: Annotated[
        bool,
        typer.Option("--no-lock", help="Plan as if there were no lock file.", rich_help_panel=_FLEET),
    ] = False,
    model: Annotated[str | None, typer.Option(help="Model to serve. [M2.7]", rich_help_panel=_WISHES)] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            help="auto, or NxT: N servers of T GPUs each, such as 2x4. [auto]", metavar="NxT", rich_help_panel=_WISHES
        ),
    ] = None,
    ep: Annotated[
        int | None,
        typer.Option(help="Expert parallel size. Left out, the published one.", rich_help_panel=_WISHES),
    ] = None,
    thinking: Annotated[
        bool | None,
        typer.Option(
            "--thinking/--no-thinking",
            help="Split the thinking from the answer. Left out, as published for the model.",
            rich_help_panel=_WISHES,
        ),
    ] = None,
    tool_calls: Annotated[
        bool | None,
        typer.Option(
            "--tool-calls/--no-tool-calls",
            help="Parse tool calls. Left out, as published for the model.",
            rich_help_panel=_WISHES,
        ),
    ] = None,
    sglang_version: Annotated[
        str | None, typer.Option(help="Version of SGLang.", metavar="VERSION", rich_help_panel=_WISHES)
    ] = None,
    context_length: Annotated[
        int | None,
        typer.Option(help="Longest request in tokens that must fit.", metavar="TOKENS", rich_help_panel=_WISHES),
    ] = None,
    mem_fraction_static: Annotated[
        float | None,
        typer.Option(
            help="Share of a GPU's memory for weights and KV cache.", metavar="SHARE", rich_help_panel=_WISHES
        ),
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="Container profile: hardened or cookbook. [hardened]", rich_help_panel=_WISHES)
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Address that the servers bind. [127.0.0.1]", rich_help_panel=_WISHES)
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port of the first server. [30000]", rich_help_panel=_WISHES)] = None,
    enable_metrics: Annotated[
        bool, typer.Option("--enable-metrics", help="Offer Prometheus metrics.", rich_help_panel=_WISHES)
    ] = False,
    server_arg: Annotated[
        list[str] | None,
        typer.Option(
            help="A further server argument, by its long name without dashes; false takes one away. Repeatable.",
            metavar="NAME=VALUE",
            rich_help_panel=_WISHES,
        ),
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="Image to use in place of the published one.", rich_help_panel=_WISHES)
    ] = None,
    weights_dir: Annotated[
        str | None, typer.Option(help="Folder of the node that holds the weights.", rich_help_panel=_WISHES)
    ] = None,
    allow_known_issue: Annotated[
        list[str] | None,
        typer.Option(
            help="A known issue that shall not refuse or change the plan. Repeatable.",
            metavar="ID",
            rich_help_panel=_WISHES,
        ),
    ] = None,
    patches: Annotated[
        Path | None,
        typer.Option(help="YAML file of further patches, a list.", metavar="FILE", rich_help_panel=_WISHES),
    ] = None,
    catalogue: Annotated[
        Path | None,
        typer.Option(help="YAML file of catalogue entries to add or change.", metavar="FILE", rich_help_panel=_WISHES),
    ] = None,
    format_: Annotated[
        Format, typer.Option("--format", "-f", help="How to write the plan. A fleet takes table or json.")
    ] = Format.table,
) -> None:
    """Plan how a model is served: on GPUs that you name, or on every host of an inventory.

    Exits 0 with a plan, 2 where a plan is not legal or does not fit, 1 where anything else is wrong.
    """
    from sglang_fleet.planning import FleetError, RefusedError, read_patches, refuses, server_args

    given: dict[str, Any] = {
        "model": model,
        "layout": layout,
        "ep": ep,
        "profile": profile,
        "address": address,
        "port": port,
        "context_length": context_length,
        "mem_fraction_static": mem_fraction_static,
        "reasoning_parser": thinking,
        "tool_call_parser": tool_calls,
        "enable_metrics": enable_metrics or None,
        "image": image,
        "sglang_version": sglang_version,
        "weights_dir": weights_dir,
        "allow_known_issues": tuple(allow_known_issue) if allow_known_issue else None,
    }
    try:
        wishes = {name: value for name, value in given.items() if value is not None}
        if server_arg:
            wishes["extra_args"] = server_args(server_arg)
        if patches:
            wishes["patches"] = read_patches(patches)
        if inventory is None:
            _refuse_options(
                "is for a fleet: give --inventory FILE with it",
                {"--limit": limit, "--cached": cached, "--no-lock": no_lock},
            )
            if gpu is None:
                raise FleetError("give --gpu NAME for GPUs without a host, or --inventory FILE for a fleet")
            _plan_one(wishes, gpu, count, gpu_memory_mib, catalogue, format_)
            return
        _refuse_options(
            "is for GPUs without a host: a fleet's are found on its hosts",
            {"--gpu": gpu, "--count": count, "--gpu-memory-mib": gpu_memory_mib},
        )
        if format_ not in (Format.table, Format.json):
            raise FleetError(f"--format {format_.value} is for one plan: a fleet takes table or json")
        code = _plan_fleet(inventory, limit, cached, wishes, catalogue, format_, locked=not no_lock)
    except RefusedError as error:
        if not refuses(error.rule):  # a name or a value that means nothing, whatever the GPUs
            complain(str(error))
            raise typer.Exit(FAILED) from error
        named = "" if f"rule {error.rule}:" in str(error) else f" (rule {error.rule})"
        complain(f"there is no such plan{named}: {error}")
        raise typer.Exit(REFUSED) from error
    except FleetError as error:
        complain(str(error))
        raise typer.Exit(FAILED) from error
    raise typer.Exit(code)


def _refuse_options(why: str, options: Mapping[str, Any]) -> None:
    from sglang_fleet.planning import FleetError

    for option, value in options.items():
        if value is not None and value is not False:
            raise FleetError(f"{option} {why}")


def _plan_one(
    wishes: Mapping[str, Any], gpu: str, count: int | None, memory_mib: int | None, catalogue: Path | None, face: Format
) -> None:
    from sglang_fleet import planning

    single = planning.plan_single(wishes, gpu, count, memory_mib, catalogue)
    if face is Format.json:
        typer.echo(json.dumps(single.plan, indent=2, ensure_ascii=False))
        return
    shown = planning.with_options_named(single.plan)
    from sglang_fleet import tables

    if face is Format.table:
        tables.show_plan(shown, tables.console_for())
        return
    for reason in shown["reasons"]:
        typer.echo(f"why: {reason}", err=True)
    for warning in tables.by_severity(shown["warnings"]):
        typer.echo(tables.warning_line(warning), err=True)
    typer.echo(planning.render(single, face.value), nl=False)


def _plan_fleet(
    inventory: Path,
    limit: str | None,
    cached: bool,
    wishes: Mapping[str, Any],
    catalogue: Path | None,
    face: Format,
    *,
    locked: bool,
) -> int:
    from sglang_fleet import planning
    from sglang_fleet.fleet import plan_fleet

    entries = planning.catalogue_of_fleet(catalogue) if catalogue else None
    found = plan_fleet(inventory, limit, cached, wishes, entries, locked=locked)
    if face is Format.json:
        typer.echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
    else:
        from sglang_fleet import tables

        tables.show_fleet(found, tables.console_for())
    return found.exit_code()
