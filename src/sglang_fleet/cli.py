# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ``sglang-fleet`` command line.

It holds no knowledge of a deployment: the collection does the work, this drives it.
"""

from typing import Annotated

import typer

from sglang_fleet import __version__

app = typer.Typer(name="sglang-fleet", no_args_is_help=True, add_completion=False)


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


def main() -> None:
    """Run the command line; the entry point of the installed program."""
    app()
