# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the doctor's checks share."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import Catalogue, Image

ERROR, WARN = "error", "warn"

Snapshot = t.Mapping[str, t.Any]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. ``id`` stays the same over versions; evidence is what was read, remedy what to do."""

    id: str
    severity: str
    what: str
    evidence: str
    remedy: str


@dataclass(frozen=True)
class Known:
    """What is known besides the node: the catalogue, and what is planned there."""

    catalogue: Catalogue
    plan: t.Mapping[str, t.Any] | None = None

    def images(self, snapshot: Snapshot) -> list[Image]:
        """The images that are applied on the node or planned for it, those of them that the catalogue knows."""
        applied = ((snapshot.get("state") or {}).get("image") or {}).get("reference")
        found = [image for image in self.catalogue.images.values() if applied and image.reference == applied]
        if self.plan is not None:
            planned = self.catalogue.images.get(str(self.plan["image"]["name"]))
            if planned is not None and planned not in found:
                found.append(planned)
        return found


Check = t.Callable[[Snapshot], t.Iterator[Finding]]
KnowingCheck = t.Callable[[Snapshot, Known], t.Iterator[Finding]]


def some(items: t.Sequence[str], limit: int = 4) -> str:
    """A list for a sentence, cut off where it is long."""
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more


def numbers(values: t.Iterable[int]) -> str:
    """Indices in short: 0-3,6."""
    runs: list[list[int]] = []
    for value in sorted(set(values)):
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def gpus_named(values: t.Collection[int]) -> str:
    """`GPU 3` or `GPUs 0-3,6`."""
    return f"GPU{'s' if len(values) > 1 else ''} {numbers(values)}"
