# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of ``docker run`` for an instance, from the catalogue's container profiles. Pure."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import ContainerOptions
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import Node
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import PlanError, gpus_text

_PLACEHOLDER: t.Final = re.compile(r"\{([a-z_]+)\}")


def container_options(
    profile: ContainerOptions,
    node: Node,
    gpus: t.Sequence[int],
    weights_dir: str,
    image: str,
    environment: t.Mapping[str, str],
) -> list[str]:
    """The options, one word each, the environment's included."""
    values: dict[str, list[str]] = {
        "gpu_node": [name for gpu in gpus for name in node.nodes[gpu]],
        "control_node": list(node.control_nodes),
        "gpu_gid": [str(gid) for gid in node.gids],
        "gpu_ids": [",".join(gpu_ids(node, gpus))] if any("{gpu_ids}" in option for option in profile.options) else [],
        "weights_dir": [weights_dir],
        "image": [image],
    }
    words = [word for option in profile.options for word in expand_option(option, values)]
    return words + [f"--env={name}={value}" for name, value in environment.items()]


def gpu_ids(node: Node, gpus: t.Sequence[int]) -> list[str]:
    """What the NVIDIA container toolkit shall call these GPUs: UUIDs, for it counts GPUs that the catalogue does not know."""
    ids = [node.uuids[gpu] for gpu in gpus]
    known = [uuid for uuid in ids if uuid is not None]
    if len(known) == len(ids):
        return known
    others = [device for device in node.unknown if device["pci_id"].startswith("10de:")]
    if others:
        bare = [gpu for gpu in gpus if node.uuids[gpu] is None]
        listed = ", ".join(f"{device['pci_id']} at {device['pci_address']}" for device in others)
        raise PlanError(
            f"the driver tells no UUID of {gpus_text(bare)}, and the host has {listed} besides, which the catalogue does "
            "not know: by number the wrong GPUs could be taken; run nvidia-smi on the host to see that its driver works, "
            "or add the others to fleet_catalogue (gpus), or take them out of the host",
            "gpus",
        )
    return [str(gpu) for gpu in gpus]


def expand_option(option: str, values: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    """The option once for each value of the placeholder in it; as it is without one."""
    match = _PLACEHOLDER.search(option)
    if match is None:
        return [option]
    if match[1] not in values:
        raise PlanError(f"container option {option}: unknown placeholder {match[0]}; known: {', '.join(values)}")
    return [
        word
        for value in values[match[1]]
        for word in expand_option(option[: match.start()] + value + option[match.end() :], values)
    ]
