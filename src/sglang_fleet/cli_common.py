# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the commands share: exit statuses, and how one complains."""

from __future__ import annotations

import typer

#: Exit statuses: 2 is kept for a plan that is not to be had, so that a wrong option is 1 as every other failure.
FAILED, REFUSED = 1, 2
#: Of a doctor and of `lock --check`, as of other validators: 1 where it found something, 2 where it could not look.
FINDINGS, NOT_LOOKED = 1, 2
#: Set to show where an unexpected error comes from.
DEBUG = "SGLANG_FLEET_DEBUG"


def complain(text: str) -> None:
    """One message on stderr."""
    typer.echo(f"sglang-fleet: {text}", err=True)
