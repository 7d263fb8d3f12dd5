# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands ``lock`` and ``bundle``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sglang_fleet.cli_common import FINDINGS, NOT_LOOKED, complain


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
