# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ``sglang-fleet`` command line.

It holds no knowledge of a deployment: the collection does the work, this drives it. The commands are in ``cli_*``; what one
needs is imported when it runs, so that the program starts quickly.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from sglang_fleet import __version__
from sglang_fleet.cli_common import DEBUG, FAILED, NOT_LOOKED, complain
from sglang_fleet.cli_doctor import doctor
from sglang_fleet.cli_plan import plan
from sglang_fleet.cli_rollout import resume, rollback, rollout, status
from sglang_fleet.cli_supply import bundle, lock


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


# In the order of the help.
for command in (plan, doctor, lock, bundle, rollout, resume, rollback, status):
    app.command()(command)


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
