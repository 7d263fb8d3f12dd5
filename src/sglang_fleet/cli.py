# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ``sglang-fleet`` command line.

It holds no knowledge of a deployment: the collection does the work, this drives it. What a command needs is imported
when it runs, so that the program starts quickly.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sglang_fleet import __version__

#: Exit statuses: 2 is kept for a plan that is not to be had, so that a wrong option is 1 as every other failure.
FAILED, REFUSED = 1, 2
#: Of a doctor and of `lock --check`, as of other validators: 1 where it found something, 2 where it could not look.
FINDINGS, NOT_LOOKED = 1, 2
#: Set to show where an unexpected error comes from.
DEBUG = "SGLANG_FLEET_DEBUG"


class Program(TyperGroup):
    """The program: usage errors exit 1, a doctor's and a lock's 2, and nothing ends in a traceback."""

    def main(self, *args: Any, **extra: Any) -> Any:
        words = list((args[0] if args else extra.get("args")) or sys.argv[1:])
        # Of these 1 is an answer, so that nothing else may exit with it.
        command = next((word for word in words if not word.startswith("-")), "")
        failed = NOT_LOOKED if command in ("doctor", "lock", "bundle") else FAILED
        if not extra.pop("standalone_mode", True):
            return super().main(*args, **{**extra, "standalone_mode": False})
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except typer.Abort:
            code = failed
        except Exception as error:
            if hasattr(error, "format_message") and hasattr(error, "show"):  # a usage error, however typer names it
                error.show()
            elif os.environ.get(DEBUG):
                raise
            else:
                complain(f"unexpected {type(error).__name__}: {error} (set {DEBUG}=1 to see where)")
            code = failed
        sys.exit(code if isinstance(code, int) else 0)


app = typer.Typer(
    name="sglang-fleet", cls=Program, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


class Format(StrEnum):
    """How a plan is written."""

    table = "table"
    command = "command"
    docker = "docker"
    inventory = "inventory"
    json = "json"


def complain(text: str) -> None:
    """One message on stderr."""
    typer.echo(f"sglang-fleet: {text}", err=True)


def _show_version(wanted: bool) -> None:
    """Print the version and stop, when ``--version`` was given."""
    if wanted:
        typer.echo(f"sglang-fleet {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Roll out and watch SGLang on a fleet of GPU nodes."""
    del version  # the eager callback has dealt with it


_ONE, _FLEET, _WISHES = "GPUs without a host", "A fleet", "Wishes"


@app.command()
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


@app.command()
def doctor(
    inventory: Annotated[Path, typer.Option("--inventory", "-i", help="The Ansible inventory of the fleet.")],
    limit: Annotated[
        str | None, typer.Option("--limit", "-l", help="Only these of its hosts.", metavar="PATTERN")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Find out what is wrong with the GPU nodes of an inventory, changing nothing.

    Exits 0 where all are healthy, 1 with findings, 2 where it could not look, also with findings elsewhere.
    """
    from sglang_fleet.planning import FleetError

    try:
        from sglang_fleet.doctor import examine_fleet

        found = examine_fleet(inventory, limit)
        if as_json:
            typer.echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
        else:
            from sglang_fleet.doctor_table import show_findings
            from sglang_fleet.tables import console_for

            show_findings(found, console_for())
    except FleetError as error:
        complain(str(error))
        raise typer.Exit(NOT_LOOKED) from error
    raise typer.Exit(found.exit_code())


@app.command()
def lock(
    inventory: Annotated[Path, typer.Option("--inventory", "-i", help="The Ansible inventory of the fleet.")],
    limit: Annotated[
        str | None,
        typer.Option(
            "--limit",
            "-l",
            help="Only these of its hosts; what the lock has of others stays in it.",
            metavar="PATTERN",
        ),
    ] = None,
    lock_file: Annotated[
        Path | None,
        typer.Option(help="The lock file. Left out, the inventory's (fleet_lock_file).", metavar="FILE"),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 where the lock would change.")] = False,
    update: Annotated[bool, typer.Option("--update", help="Take new images and weights where there are some.")] = False,
    update_image: Annotated[
        bool, typer.Option("--update-image", help="Take what the tags of the images are now.")
    ] = False,
    update_weights: Annotated[
        bool, typer.Option("--update-weights", help="Take what the hub has of the models now.")
    ] = False,
    cached: Annotated[
        bool, typer.Option("--cached", help="Contact no host: plan from the facts of an earlier call.")
    ] = False,
) -> None:
    """Write the lock file of a fleet: plans, image digests, and the weights with a checksum for each file.

    Shows the difference. What the lock has stays as it is, unless an update is asked for. Exits 0, with --check 1 where the
    lock would change, 2 where anything is wrong.
    """
    from sglang_fleet.planning import FleetError

    try:
        from sglang_fleet.lock import Update, lock_fleet

        wanted = Update(images=update or update_image, weights=update or update_weights)
        found = lock_fleet(inventory, limit, lock_file, wanted, cached=cached)
        for note in found.notes:
            typer.echo(f"note: {note}", err=True)
        if found.stale:
            typer.echo(found.diff())
            if not check:
                found.write()
    except FleetError as error:
        complain(str(error))
        raise typer.Exit(NOT_LOOKED) from error
    if not found.stale:
        typer.echo(f"{found.path} is up to date", err=True)
    elif check:
        typer.echo(f"{found.path} is stale: run sglang-fleet lock", err=True)
        raise typer.Exit(FINDINGS)
    else:
        first = "" if found.before else "; servers that run without a lock start anew once, as sglang-fleet plan shows"
        typer.echo(f"{found.path} is written{first}", err=True)


@app.command()
def bundle(
    inventory: Annotated[Path, typer.Option("--inventory", "-i", help="The Ansible inventory of the fleet.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The bundle's folder.", metavar="FOLDER")],
    limit: Annotated[
        str | None,
        typer.Option(
            "--limit", "-l", help="Only what these hosts take. They are asked, all else is not.", metavar="PATTERN"
        ),
    ] = None,
    lock_file: Annotated[
        Path | None,
        typer.Option(help="The lock file. Left out, the inventory's (fleet_lock_file).", metavar="FILE"),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Fetch nothing; exit 1 where a file is not as listed, or the lock is another."),
    ] = False,
    cached: Annotated[
        bool, typer.Option("--cached", help="With --limit: the facts of an earlier call count, no host is asked.")
    ] = False,
) -> None:
    """Save the locked images and weights of a fleet to a folder, for hosts that reach nothing but ssh (fleet_bundle).

    No host is asked without --limit. What is there already is not fetched again. Exits 0, with --check 1 where the bundle is
    not whole, 2 where anything is wrong.
    """
    from sglang_fleet.planning import FleetError

    def say(text: str) -> None:
        typer.echo(text, err=True)

    try:
        from sglang_fleet.bundle import check_bundle, make_bundle

        if check:
            found = check_bundle(output, inventory, limit, lock_file)
        else:
            found = make_bundle(inventory, output, limit, lock_file, cached=cached, say=say)
    except FleetError as error:
        complain(str(error))
        raise typer.Exit(NOT_LOOKED) from error
    for problem in found.problems:
        typer.echo(problem)
    for name in found.removed:
        say(f"removed, as the lock has it no more: {name}")
    say(found.text())
    if found.problems:
        raise typer.Exit(FINDINGS)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="The run's results, JSON.", metavar="RUN", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The report's folder.", metavar="FOLDER")],
    previous: Annotated[
        Path | None,
        typer.Option(
            help="The results of the run before it, to tell what has changed. Left out, those in RUN's folder.",
            metavar="RUN",
        ),
    ] = None,
) -> None:
    """Write the report of a run of gates and benchmarks: one HTML file, JSON and Markdown.

    Exits 0 with a report, whatever it says of the hosts, and 1 where anything is wrong with the files.
    """
    from sglang_fleet.planning import FleetError

    try:
        from sglang_fleet.report import write_report
        from sglang_fleet.report_run import previous_of, read_run

        found = read_run(run)
        before = previous_of(found, run.parent) if previous is None else read_run(previous)
        for path in write_report(found, output, before):
            typer.echo(path)
    except FleetError as error:
        complain(str(error))
        raise typer.Exit(FAILED) from error


def main() -> None:
    """Run the command line; the entry point of the installed program."""
    app()
