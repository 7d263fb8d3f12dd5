# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the lock file of an inventory: its plans, and what registry and hub have of their images and weights.

What a lock is, the collection's ``_lock`` knows; here is what has to be asked, and what of an old lock stays.
"""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from sglang_fleet.collection import CollectionMissingError, use_collection
from sglang_fleet.fleet import PLANNED, Events, Host, run_playbook
from sglang_fleet.planning import FleetError

#: The default of fleet_hf_endpoint.
HUB: Final = "https://huggingface.co"


@dataclass(frozen=True)
class Wanted:
    """What a host takes. plan: ``fleet_plan``, made without a lock. token: the hub's, shown nowhere."""

    plan: Mapping[str, Any]
    mirrors: tuple[str, ...] = ()
    endpoint: str = HUB
    weights: str = "auto"
    token: str | None = field(default=None, repr=False)

    @property
    def revision(self) -> str | None:
        """The operator's own wish (fleet_server_args.revision)."""
        asked = self.plan["instances"][0]["server_args"].get("revision")
        return None if asked is None else str(asked)


@dataclass(frozen=True)
class Update:
    """What is taken anew although the lock has it."""

    images: bool = False
    weights: bool = False


@dataclass
class Outcome:
    """A lock beside the file's present one. notes: what moved elsewhere and was not taken."""

    path: Path
    before: str
    after: str
    notes: list[str]

    @property
    def stale(self) -> bool:
        return self.before != self.after

    def diff(self) -> str:
        """The difference as of `diff -u`; empty where there is none."""
        old = str(self.path) if self.before else os.devnull
        lines = difflib.unified_diff(
            self.before.splitlines(), self.after.splitlines(), old, str(self.path), lineterm=""
        )
        return "\n".join(lines)

    def write(self) -> None:
        """The file, whole or not at all; raises FleetError."""
        try:
            write_atomically(self.path, self.after)
        except OSError as error:
            raise FleetError(f"cannot write {self.path}: {error.strerror}") from error


def write_atomically(path: Path, text: str) -> None:
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


class _LockEvents(Events):
    """What the run of ``lock.yml`` says of each host, and its wishes about supply."""

    def __init__(self) -> None:
        super().__init__()
        self.wishes: dict[str, Mapping[str, Any]] = {}

    def ok(self, host: Host, action: Any, result: Mapping[str, Any]) -> None:
        super().ok(host, action, result)
        facts = result.get("ansible_facts") or {}
        if "lock_wishes" in facts:
            self.wishes[host.name] = facts["lock_wishes"]


def lock_fleet(
    inventory: Path,
    limit: str | None = None,
    file: Path | None = None,
    update: Update | None = None,
    *,
    cached: bool = False,
) -> Outcome:
    """The lock of the inventory's hosts, beside what its file has now; writes nothing. Raises FleetError.

    limit: only these hosts; what the file has of others stays then, and no longer does without it. file: instead of the
    inventory's. cached: no host is contacted, the facts of an earlier call count. What the file has is
    asked for again at its own digest and revision, so that a line that was edited by hand shows.
    """
    wanted, named = ask_inventory(inventory, limit, cached=cached)
    if file is None:
        if len(named) > 1:
            raise FleetError(
                f"the hosts name several lock files ({', '.join(sorted(named))}): choose hosts with -l, or a file with --lock-file"
            )
        if not any(named):
            raise FleetError("fleet_lock_file is empty, which is no lock on purpose: set it, or give --lock-file")
        file = Path(*named).expanduser()
    return make_outcome(file, wanted, update or Update(), keep=limit is not None)


def ask_inventory(inventory: Path, limit: str | None, *, cached: bool = False) -> tuple[list[Wanted], set[str]]:
    """What the hosts take, and the lock files that they name; raises FleetError where one of them has no plan."""
    events = _LockEvents()
    with tempfile.TemporaryDirectory(prefix="sglang-fleet-") as secrets:
        # As an extra variable it counts before the inventory's own.
        variables: dict[str, Any] = {"launch_plan_lock": "", "lock_secrets": secrets}
        if cached:
            variables["plan_cached"] = True
        run_playbook("lock.yml", inventory, limit, events, variables)
        hosts = events.finished().hosts
        bad = {
            name: host.error
            for name, host in sorted(hosts.items())
            if host.status != PLANNED or name not in events.wishes
        }
        if bad:
            listed = "; ".join(f"{name}: {error}" for name, error in bad.items())
            others = ":".join(["all", *(f"!{name}" for name in bad)])
            raise FleetError(f"nothing was locked, for there is no plan of {listed}. Without: -l '{others}'")
        wanted = [_wanted(host, events.wishes[name], Path(secrets, name)) for name, host in sorted(hosts.items())]
    return wanted, {str(events.wishes[name]["file"]) for name in hosts}


def _wanted(host: Host, wishes: Mapping[str, Any], secret: Path) -> Wanted:
    token = secret.read_text("utf-8").strip() if secret.is_file() else None
    mirrors = tuple(str(mirror) for mirror in wishes["mirrors"])
    return Wanted(host.plan or {}, mirrors, str(wishes["endpoint"]), str(wishes["weights"]), token)


def make_outcome(file: Path, wanted: list[Wanted], update: Update, *, keep: bool) -> Outcome:
    """keep: plans, images and weights that the file has beyond these hosts' stay in it."""
    ours = _collection()
    try:
        old = ours.load_lock(file)
    except ours.LockError as error:
        raise FleetError(str(error)) from error
    before = file.read_text("utf-8") if old is not None else ""
    old = old or {"images": {}, "models": {}, "plans": []}
    notes: list[str] = []
    plans = [ours.plan_entry(one.plan) for one in wanted] + (old["plans"] if keep else [])
    images = _images(wanted, old["images"], update.images, notes)
    models = _models(wanted, old["models"], update.weights, notes)
    if keep:
        images, models = {**old["images"], **images}, {**old["models"], **models}
    lock = ours.make_lock(images, models, plans)
    after = ours.render_lock(lock)
    if old.get("plugin") and lock == old:
        after = before  # what it says is the same, however it is laid out
    return Outcome(file, before, after, notes)


def _images(wanted: list[Wanted], old: Mapping[str, Any], anew: bool, notes: list[str]) -> dict[str, Any]:
    from sglang_fleet.lock_credentials import Credentials
    from sglang_fleet.lock_registry import Registries, RegistryError

    registries = Registries(Credentials.of_user())
    mirrors: dict[str, list[str]] = {}
    for one in wanted:
        known = mirrors.setdefault(one.plan["image"]["reference"], [])
        known += [mirror for mirror in one.mirrors if mirror not in known]
    found = {}
    for reference, those in sorted(mirrors.items()):
        if reference in old and not anew:
            found[reference] = old[reference]
            locked = f"{reference.partition('@')[0]}@{old[reference]['digest']}"
            again = _again(notes, locked, partial(registries.entry, locked, those))
            if again is None:
                continue
            found[reference] = again
            if "@" not in reference:
                _said(
                    notes,
                    reference,
                    "tag",
                    old[reference]["digest"],
                    partial(registries.digest, reference, those),
                    "--update-image",
                )
            continue
        try:
            found[reference] = registries.entry(reference, those)
        except RegistryError as error:
            raise FleetError(str(error)) from error
    return found


def _models(wanted: list[Wanted], old: Mapping[str, Any], anew: bool, notes: list[str]) -> dict[str, Any]:
    from sglang_fleet.lock_hub import Hub, HubError

    found = {}
    for repository, those in sorted(_by_repository(wanted).items()):
        asked = {one.revision for one in those}
        if len(asked) > 1:
            listed = ", ".join(sorted(str(revision) for revision in asked))
            raise FleetError(f"the hosts ask for several revisions of {repository} ({listed}): a lock holds one")
        revision = next(iter(asked))
        one_endpoint({one.endpoint for one in those})
        hub = Hub(those[0].endpoint, next((one.token for one in those if one.token), None))
        kept = old.get(repository)
        if kept is not None and not anew and revision in (None, kept["revision"]):
            found[repository] = kept
            locked = f"{repository} at {kept['revision']}"
            again = _again(notes, locked, partial(hub.entry, repository, kept["revision"]))
            if again is None:
                continue
            found[repository] = again
            if revision is None:
                _said(
                    notes,
                    repository,
                    "branch main",
                    kept["revision"],
                    partial(hub.revision, repository),
                    "--update-weights",
                )
            continue
        try:
            found[repository] = hub.entry(repository, revision)
        except HubError as error:
            raise FleetError(str(error)) from error
    return found


def one_endpoint(endpoints: Collection[str]) -> None:
    """Raises FleetError where there are several: the token of one hub is not for another."""
    if len({endpoint.rstrip("/") for endpoint in endpoints}) > 1:
        raise FleetError(
            f"the hosts name several hubs ({', '.join(sorted(endpoints))}), and one is asked: choose hosts of one "
            "fleet_hf_endpoint with -l"
        )


def _by_repository(wanted: list[Wanted]) -> dict[str, list[Wanted]]:
    """Hosts by the weights that they take; a folder of the host's own is nobody's to lock."""
    ours = _collection()
    found: dict[str, list[Wanted]] = {}
    for one in wanted:
        repository = str(one.plan["model_path"])
        if one.weights == "auto" and ours.of_hub(repository):
            found.setdefault(repository, []).append(one)
    return found


def _again(notes: list[str], locked: str, ask: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    """What registry or hub have at a locked digest or revision; None where they cannot be asked, which is no failure."""
    from sglang_fleet.lock_hub import HubError
    from sglang_fleet.lock_registry import RegistryError

    try:
        return ask()
    except (RegistryError, HubError) as error:
        if error.absent:
            raise FleetError(
                f"the lock has {locked}, which is not there: {error}. Run sglang-fleet lock --update, or take back what was"
                " edited by hand"
            ) from error
        notes.append(f"{locked}: whether it is as locked is not known: {error}")
        return None


def _said(notes: list[str], name: str, what: str, kept: str, ask: Callable[[], str], option: str) -> None:
    """Whether what the lock has of a moving name is still what the name means; not to know is no failure."""
    from sglang_fleet.lock_hub import HubError
    from sglang_fleet.lock_registry import RegistryError

    try:
        now = ask()
    except (RegistryError, HubError) as error:
        notes.append(f"{name}: kept at {kept}; whether the {what} has moved is not known: {error}")
        return
    if now != kept:
        notes.append(f"{name}: the {what} has moved to {now}; the lock keeps {kept} ({option} takes the new one)")


def _collection() -> Any:
    try:
        use_collection()
    except CollectionMissingError as error:
        raise FleetError(str(error)) from error
    from ansible_collections.sglang.fleet.plugins.module_utils import _lock

    return _lock
