# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands ``rollout``, ``resume``, ``rollback`` and ``status``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sglang_fleet.cli_common import FAILED, complain

if TYPE_CHECKING:
    from sglang_fleet.rollout_drive import Desk

_WHERE = "Where rollouts are kept. Left out, .artifacts/ in the inventory's folder."
_WAVES = "Waves, as counts and shares of the hosts that are new at their end."

Inventory = Annotated[Path, typer.Option("--inventory", "-i", help="The Ansible inventory of the fleet.")]
Limit = Annotated[str | None, typer.Option("--limit", "-l", help="Only these of its hosts.", metavar="PATTERN")]
Extra = Annotated[
    list[str] | None,
    typer.Option(
        "--extra-vars",
        "-e",
        help="Variables over the inventory's, as of ansible-playbook; secrets as @FILE.",
        metavar="NAME=VALUE",
    ),
]
VaultFile = Annotated[
    list[Path] | None, typer.Option("--vault-password-file", help="File with a vault's password.", metavar="FILE")
]
VaultId = Annotated[list[str] | None, typer.Option("--vault-id", help="A vault and its file.", metavar="LABEL@FILE")]
Artifacts = Annotated[Path | None, typer.Option(help=_WHERE, metavar="FOLDER")]
EventsFile = Annotated[
    Path | None, typer.Option("--events", help="File that gets each event as a line of JSON.", metavar="FILE")
]
MaxUnavailable = Annotated[
    str | None,
    typer.Option(help="What may be out at once: servers, or a share of the GPUs. [25%]", metavar="COUNT|SHARE"),
]


def rollout(
    inventory: Inventory,
    limit: Limit = None,
    extra: Extra = None,
    waves: Annotated[str, typer.Option(help=_WAVES)] = "1, 10%, 50%, 100%",
    max_unavailable: MaxUnavailable = None,
    canary: Annotated[
        list[str] | None, typer.Option(help="A host that comes first. Repeatable.", metavar="HOST")
    ] = None,
    soak: Annotated[
        str, typer.Option(help="How long the first wave serves before it is tested again.", metavar="TIME")
    ] = "5m",
    drain: Annotated[
        str, typer.Option(help="How long requests in flight have to come to their end.", metavar="TIME")
    ] = "10m",
    gates: Annotated[str, typer.Option(help="Gates of each host; smoke always is one.", metavar="NAMES")] = "smoke",
    on_failure: Annotated[
        str, typer.Option(help="What becomes of the hosts that are new when it stops: rollback or hold.")
    ] = "rollback",
    success_threshold: Annotated[
        str, typer.Option(help="Share of a wave's hosts that must be well.", metavar="PERCENT")
    ] = "100%",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show waves, changes and the capacity that is lost; change nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: write JSON.")] = False,
    artifacts: Artifacts = None,
    events: EventsFile = None,
    vault_password_file: VaultFile = None,
    vault_id: VaultId = None,
) -> None:
    """Bring a fleet that carries traffic to what its inventory says, wave by wave, and back where that fails.

    Exits 0 where every host is new, 1 where it did not begin, 2 where it failed and every host is as before, 3 where hosts are
    mixed, 4 where hosts could not be reached.
    """

    def act() -> int:
        from sglang_fleet import rollout_drive, rollout_options

        if as_json and not dry_run:
            complain("--json goes with --dry-run; --events FILE has what happens as JSON")
            return FAILED
        wanted = rollout_options.wishes(
            waves=waves,
            max_unavailable=max_unavailable,
            canaries=canary or [],
            soak=soak,
            drain=drain,
            gates=gates,
            on_failure=on_failure,
            success=success_threshold,
        )
        desk = _desk(inventory, extra, artifacts, events, vault_password_file, vault_id)
        if not dry_run:
            return rollout_drive.begin(desk, wanted, limit)
        found = rollout_drive.dry_run(desk, wanted, limit)
        if as_json:
            typer.echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
        else:
            from sglang_fleet.rollout_tables import show_preview
            from sglang_fleet.tables import console_for

            show_preview(found, console_for())
        return 0

    _exit(act)


def resume(
    inventory: Inventory,
    name: Annotated[
        str | None, typer.Argument(help="The rollout, or the beginning of its name. [the last one]", metavar="ID")
    ] = None,
    artifacts: Artifacts = None,
    events: EventsFile = None,
    vault_password_file: VaultFile = None,
    vault_id: VaultId = None,
) -> None:
    """Go on with a rollout or rollback that was stopped, that failed, or whose controller died; what is done is skipped.

    Exit statuses are those of rollout.
    """

    def act() -> int:
        from sglang_fleet import rollout_drive
        from sglang_fleet.rollout_journal import pick

        desk = _desk(inventory, None, artifacts, events, vault_password_file, vault_id)
        return rollout_drive.resume(desk, pick(desk.rollouts, name))

    _exit(act)


def rollback(
    inventory: Inventory,
    to: Annotated[
        str | None, typer.Option(help="Back to what was before this rollout. [the last one]", metavar="ID")
    ] = None,
    limit: Limit = None,
    extra: Extra = None,
    max_unavailable: MaxUnavailable = None,
    artifacts: Artifacts = None,
    events: EventsFile = None,
    vault_password_file: VaultFile = None,
    vault_id: VaultId = None,
) -> None:
    """Bring hosts back to what each of them was before a rollout, by the records that it has kept.

    Exits 0 where every host is back, else as rollout does.
    """

    def act() -> int:
        from sglang_fleet import rollout_drive
        from sglang_fleet.rollout_journal import pick

        desk = _desk(inventory, extra, artifacts, events, vault_password_file, vault_id)
        return rollout_drive.rollback(desk, pick(desk.rollouts, to), limit, max_unavailable)

    _exit(act)


def status(
    inventory: Inventory,
    limit: Limit = None,
    extra: Extra = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
    artifacts: Artifacts = None,
    vault_password_file: VaultFile = None,
    vault_id: VaultId = None,
) -> None:
    """Show what a fleet runs now, what of it gets traffic, and the rollout that is under way with its holder.

    Exits 0, or 1 where a host or the lock's node could not be asked.
    """

    def act() -> int:
        from sglang_fleet.rollout_status import look_now
        from sglang_fleet.rollout_tables import show_status
        from sglang_fleet.tables import console_for

        found = look_now(_desk(inventory, extra, artifacts, None, vault_password_file, vault_id), limit)
        if as_json:
            typer.echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
        else:
            show_status(found, console_for())
        return found.exit_code()

    _exit(act)


def _desk(
    inventory: Path,
    extra: list[str] | None,
    artifacts: Path | None,
    events: Path | None,
    vault_files: list[Path] | None,
    vault_ids: list[str] | None,
) -> Desk:
    from sglang_fleet import rollout_options
    from sglang_fleet.rollout_drive import Desk, open_events
    from sglang_fleet.rollout_journal import rollouts_folder
    from sglang_fleet.rollout_view import watching
    from sglang_fleet.tables import console_for

    if events is not None:
        open_events(events).close()
    console = console_for()
    return Desk(
        rollouts_folder(inventory, artifacts),
        rollout_options.files(inventory, extra or [], vault_files or [], vault_ids or []),
        lambda text: typer.echo(text, err=True),
        lambda state, folder: watching(state, folder, console),
        rollout_options.inline(extra or []),
        events,
    )


def _exit(act: Callable[[], int]) -> None:
    from sglang_fleet.planning import FleetError

    try:
        code = act()
    except FleetError as error:
        complain(str(error))
        raise typer.Exit(FAILED) from error
    raise typer.Exit(code)
