# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The doctor's checks of room on disks: for the image, for the weights, and for living at all. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.sglang.fleet.plugins.module_utils._doctor_common import (
    ERROR,
    Finding,
    KnowingCheck,
    Known,
    Snapshot,
)

_GB: t.Final = 1000**3
_MIB: t.Final = 1024**2
#: Bytes that pulling an image takes: up to 18 GB of compressed layers (Docker Hub's figures for lmsysorg/sglang) and
#: some 30 GB unpacked, which both lie on the disk until the last layer is unpacked.
IMAGE_BYTES: t.Final = 50 * _GB
#: Below this an engine or a journal soon fails.
LEAST_BYTES: t.Final = 1 * _GB
#: Of the weights' size; beyond it the checkpoint counts as there (its own figure is of the tensors alone).
_WHOLE: t.Final = 0.98


def room(snapshot: Snapshot, known: Known) -> t.Iterator[Finding]:
    disks = snapshot.get("disks") or {}
    # What each file system must still take, with the reasons for it: image and weights can lie on one.
    wanted: dict[str, list[tuple[str, str, int, str]]] = {}
    for key, size, what in (*_image(snapshot, known), *_weights(snapshot, known)):
        if key in disks:
            disk = disks[key]
            wanted.setdefault(disk["mount"], []).append((f"disk-{key}", disk["path"], size, what))
    for mount, rows in wanted.items():
        [disk, *_others] = [disk for disk in disks.values() if disk["mount"] == mount]
        total = sum(size for _id, _path, size, _what in rows)
        if disk["free_mib"] * _MIB >= total:
            continue
        for identity, path, size, what in rows:
            beside = f", with all that is due there {total / _GB:.0f} GB" if len(rows) > 1 else ""
            yield Finding(
                identity,
                ERROR,
                f"no room for {what}",
                f"{path}: {disk['free_mib'] * _MIB / _GB:.1f} GB free on {mount}, {size / _GB:.0f} GB needed{beside}",
                "free space there, or "
                + (
                    "set fleet_weights_dir to a larger disk"
                    if identity == "disk-weights"
                    else "move Docker's data root (data-root in /etc/docker/daemon.json) to a larger disk"
                ),
            )
    full = {disk["mount"]: disk for disk in disks.values() if disk["free_mib"] * _MIB < LEAST_BYTES}
    for mount, disk in full.items():
        if mount not in wanted:
            yield Finding(
                "disk-full",
                ERROR,
                "a disk that the servers need is full",
                f"{disk['path']}: {disk['free_mib']} MiB free of {disk['total_mib']} MiB on {mount}",
                "free space there (`docker system df`, `journalctl --disk-usage`)",
            )


def _image(snapshot: Snapshot, known: Known) -> t.Iterator[tuple[str, int, str]]:
    if known.plan is None:
        return
    reference = known.plan["image"]["reference"]
    if reference not in (snapshot.get("images") or []):
        yield "image", IMAGE_BYTES, f"the image {reference}, which is not here yet"


def _weights(snapshot: Snapshot, known: Known) -> t.Iterator[tuple[str, int, str]]:
    """Where a server answers, the weights are there, wherever they came from."""
    plan = known.plan
    if plan is None or any(item["health"] == 200 for item in snapshot.get("instances") or []):
        return
    model = known.catalogue.models.get(str(plan["model"]))
    if model is None:
        return
    size = model.architecture.weights_bytes
    here = (snapshot.get("weights") or {}).get(model.id, 0)
    if here < size * _WHOLE:
        there = f", of which {here / _GB:.0f} GB are here" if here else ""
        yield "weights", size - here, f"the weights of {model.id}{there}"


DISK_CHECKS_KNOWING: t.Final[tuple[KnowingCheck, ...]] = (room,)
