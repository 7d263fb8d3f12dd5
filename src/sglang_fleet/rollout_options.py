# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator asks of a rollout, checked before any host is asked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sglang_fleet.collection import CollectionMissingError, use_collection
from sglang_fleet.planning import FleetError
from sglang_fleet.rollout_runner import Files
from sglang_fleet.rollout_state import HOLD, ROLLBACK

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h)?")
_UNITS: Final = {None: 1, "s": 1, "m": 60, "min": 60, "h": 3600}
_PERCENT: Final = re.compile(r"(\d{1,3})\s*%?")
#: Names of variables whose values are nobody's to see, on a command line least of all.
_SECRET: Final = re.compile(r"(?:^|_)(?:key|token|password|passwd|pass|secret)s?$", re.IGNORECASE)


@dataclass(frozen=True)
class Wishes:
    """A rollout as it is wished for. waves, max_unavailable: as they were given. soak_s, drain_s: seconds. success: percent."""

    waves: str
    max_unavailable: str | None
    canaries: tuple[str, ...]
    soak_s: float
    drain_s: int
    gates: tuple[str, ...]
    on_failure: str
    success: int

    def settings(self) -> dict[str, Any]:
        """Variables for the playbooks."""
        return {"rollout_drain_seconds": self.drain_s, "rollout_gates": list(self.gates)}


def wishes(
    *,
    waves: str,
    max_unavailable: str | None,
    canaries: Sequence[str],
    soak: str,
    drain: str,
    gates: str,
    on_failure: str,
    success: str,
) -> Wishes:
    """Raises FleetError for the first of them that means nothing."""
    root = _collection()
    from ansible_collections.sglang.fleet.plugins.module_utils import _waves

    try:
        _waves.parse_waves(waves)
        if max_unavailable is not None:
            _waves.parse_size(max_unavailable, "--max-unavailable")
    except _waves.WaveError as error:
        raise FleetError(str(error)) from error
    if on_failure not in (ROLLBACK, HOLD):
        raise FleetError(f"--on-failure is {on_failure!r}: give rollback or hold")
    match = _PERCENT.fullmatch(success.strip())
    if not match or not 1 <= int(match[1]) <= 100:
        raise FleetError(f"--success-threshold is {success!r}: give a share of a wave's hosts from 1% to 100%")
    return Wishes(
        waves,
        max_unavailable,
        tuple(canaries),
        duration(soak, "--soak"),
        round(duration(drain, "--drain")),
        gates_of(gates, root),
        on_failure,
        int(match[1]),
    )


def duration(text: str, option: str) -> float:
    """Seconds, of a text such as 90, 90s, 10m or 1h. Raises FleetError."""
    match = _DURATION.fullmatch(text.strip().lower())
    if not match:
        raise FleetError(f"{option} is {text!r}: give a time such as 90s, 10m or 1h, or 0 for none")
    return float(match[1]) * _UNITS[match[2]]


def gates_of(text: str, root: Path) -> tuple[str, ...]:
    """The gates that are asked for, of those that the role has; smoke always is one. root: the collection's folder."""
    import yaml

    specs = yaml.safe_load((root / "roles" / "rollout" / "meta" / "argument_specs.yml").read_text("utf-8"))
    known = specs["argument_specs"]["main"]["options"]["rollout_gates"]["choices"]
    given = [word.strip() for word in text.split(",") if word.strip()]
    wrong = [word for word in given if word not in known]
    if wrong or not given:
        raise FleetError(f"--gates is {text!r}: give some of {', '.join(known)}, such as {known[0]},{known[-1]}")
    return tuple(dict.fromkeys(["smoke", *given]))


def files(inventory: Path, extra: Sequence[str], vault_files: Sequence[Path], vault_ids: Sequence[str]) -> Files:
    """The files that are named; raises FleetError for one that is not there. -e NAME=VALUE is apart, in ``inline``."""
    _collection()  # journals are read with its words
    if not inventory.exists():
        raise FleetError(f"there is no inventory {inventory}")
    named = [Path(word[1:]).expanduser() for word in extra if word.startswith("@")]
    for path, option in [(one, "-e @") for one in named] + [(one, "--vault-password-file ") for one in vault_files]:
        if not path.is_file():
            raise FleetError(f"{option}{path}: there is no such file")
    for one in vault_ids:
        label, at, source = one.rpartition("@")
        if not at or not label:
            raise FleetError(f"--vault-id is {one!r}: give LABEL@FILE")
        if source.startswith("prompt"):
            raise FleetError(f"--vault-id {one}: a rollout asks for nothing; give a file, LABEL@FILE")
        if not Path(source).expanduser().is_file():
            raise FleetError(f"--vault-id {one}: there is no file {source}")
    ids = [f"{one.rpartition('@')[0]}@{Path(one.rpartition('@')[2]).expanduser().resolve()}" for one in vault_ids]
    passwords = tuple(str(path.expanduser().resolve()) for path in vault_files)
    return Files(inventory.resolve(), tuple(str(path.resolve()) for path in named), passwords, tuple(ids))


def inline(extra: Sequence[str]) -> dict[str, Any]:
    """The variables of -e NAME=VALUE, or -e '{"NAME": VALUE}'. They are kept in a file for a resumption, so that a secret is
    refused. Raises FleetError."""
    found: dict[str, Any] = {}
    for word in extra:
        if word.startswith("@"):
            continue
        found.update(_parsed(word))
    for name in found:
        if _SECRET.search(name):
            raise FleetError(
                f"-e {name}=… is a secret on a command line, where others see it: put it into a file, encrypted with ansible-vault "
                "best, and give -e @FILE"
            )
    return found


def _parsed(word: str) -> Mapping[str, Any]:
    if word.lstrip().startswith("{"):
        import yaml

        try:
            found = yaml.safe_load(word)
        except yaml.YAMLError as error:
            raise FleetError(f"-e {word!r} is no YAML or JSON: {error}") from error
        if isinstance(found, Mapping):
            return {str(name): value for name, value in found.items()}
    elif "=" in word:
        from ansible.parsing.splitter import parse_kv

        return json.loads(json.dumps(parse_kv(word))) or {}
    raise FleetError(f"-e is {word!r}: give NAME=VALUE, @FILE, or a mapping in JSON")


def _collection() -> Path:
    try:
        return use_collection()
    except CollectionMissingError as error:
        raise FleetError(str(error)) from error
