# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command ``doctor``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from sglang_fleet.cli_common import NOT_LOOKED, complain


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
