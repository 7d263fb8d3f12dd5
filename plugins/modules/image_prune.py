#!/usr/bin/python
# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: image_prune
short_description: Remove images of ours that nothing runs and no rollback needs
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Ours are the images that a deploy pulled, loaded, ran or built by patching. No other image is removed.
  - An image stays that a container is made from, running or not, that O(applied) names, or that one of O(states) has as
    applied; a base stays as long as an image that was patched from it.
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    description: RV(removed) names the images.
extends_documentation_fragment:
  - sglang.fleet.attributes.no_facts
  - sglang.fleet.attributes
options:
  applied:
    description: The image that the servers run now, as C(fleet_local_image) has it. It is noted as ours.
    type: dict
    default: {}
  keep:
    description: How many old images stay beyond those, the newest first; all of them below 0.
    type: int
    default: 1
  states:
    description: Records of what was applied. One that is not there is none.
    type: list
    elements: path
    default: [/var/lib/sglang-fleet/state.json, /var/lib/sglang-fleet/previous.json]
"""

EXAMPLES = r"""
- name: Remove what no server needs any more
  sglang.fleet.image_prune:
    applied: "{{ ansible_facts.fleet_local_image }}"
    keep: 1
"""

RETURN = r"""
removed:
  description: Names of the images that were removed, or would be; IDs of those without a name.
  returned: success
  type: list
  elements: str
"""

import datetime
import json
import re
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.sglang.fleet.plugins.module_utils import _our_images
from ansible_collections.sglang.fleet.plugins.module_utils._docker import Docker, DockerError
from ansible_collections.sglang.fleet.plugins.module_utils._our_images import Ours


def created(stamp: str) -> float:
    """Docker's Created (RFC 3339) as seconds since 1970; 0 where it says nothing."""
    match = re.match(r"(\d+-\d+-\d+T\d+:\d+:\d+)(?:\.\d+)?(Z|[+-]\d\d:\d\d)", stamp)
    if not match:
        return 0.0
    zone = match.group(2).replace("Z", "+00:00").replace(":", "")
    return datetime.datetime.strptime(match.group(1) + zone, "%Y-%m-%dT%H:%M:%S%z").timestamp()


def read_states(paths: list[str]) -> list[dict[str, Any]]:
    """The records that are there. Raises ValueError with the path of one that is torn: what it protects is not known."""
    states: list[dict[str, Any]] = []
    for path in paths:
        try:
            with open(path, encoding="utf-8") as handle:
                state = json.load(handle)
        except FileNotFoundError:
            continue
        except ValueError as error:
            raise ValueError(
                f"{path} is not JSON, so that nobody knows which images it needs; none was removed"
            ) from error
        if isinstance(state, dict):
            states.append(state)
    return states


class Node:
    """The images of the node."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.docker = Docker(module.run_command)

    def inspect(self, name: str) -> dict[str, Any] | None:
        code, out, err = self.module.run_command(["docker", "image", "inspect", name])
        if code == 0:
            found: dict[str, Any] = json.loads(out)[0]
            return found
        if "no such image" in err.lower():
            return None
        raise DockerError("other", f"docker image inspect {name}: {err.strip()}")

    def used(self) -> list[str]:
        """The image of each container, running or not."""
        ids = self.docker.call("ps", "--all", "--quiet", "--no-trunc").split()
        if not ids:
            return []
        code, out, _err = self.module.run_command(["docker", "container", "inspect", "--format", "{{.Image}}", *ids])
        # One that ends between the two calls is not there any more; the client prints the others.
        if code != 0 and not out:
            raise DockerError("other", "docker container inspect: the containers' images could not be read")
        return out.split()

    def patched(self) -> list[Ours]:
        """Every image that was built by patching."""
        words = ("image", "ls", "--quiet", "--no-trunc", "--filter", f"label={_our_images.PATCHED}")
        images = []
        for image_id in sorted(set(self.docker.call(*words).split())):
            data = self.inspect(image_id)
            if data:
                base = ((data.get("Config") or {}).get("Labels") or {}).get(_our_images.BASE)
                names = tuple(data.get("RepoTags") or ())
                images.append(Ours(data["Id"], names, created(str(data.get("Created") or "")), base))
        return images

    def recorded(self, record: list[dict[str, Any]]) -> list[tuple[dict[str, Any], Ours]]:
        """What is on record and still here, each entry with its image."""
        found = []
        for entry in record:
            data = self.inspect(entry["id"])
            if data:
                tags, digests = data.get("RepoTags") or (), data.get("RepoDigests") or ()
                names = _our_images.names_to_remove(entry["reference"], entry.get("digest"), tags, digests)
                if names or not (tags or digests):  # else all of its names are somebody else's by now
                    found.append((entry, Ours(data["Id"], names, float(entry.get("since") or 0))))
        return found

    def remove(self, image: Ours) -> bool:
        """Takes the image's names away, and with the last one its content; False where the engine keeps it."""
        for name in image.names or (image.id,):
            code, _out, err = self.module.run_command(["docker", "image", "rm", name])
            # The digest's name goes with the last tag.
            if code != 0 and "no such image" not in err.lower():
                self.module.warn(f"image {name} stays: {err.strip()}")
                return False
        return True


def applied_base(node: Node, applied: dict[str, Any]) -> str | None:
    """The ID of the image in the registry that the servers' image is, or was patched from."""
    if not applied.get("patched"):
        return applied.get("id")
    data = node.inspect(applied["id"]) or {}
    base = ((data.get("Config") or {}).get("Labels") or {}).get(_our_images.BASE)
    return str(base) if base else None


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "applied": {"type": "dict", "default": {}},
            "keep": {"type": "int", "default": 1},
            "states": {
                "type": "list",
                "elements": "path",
                "default": ["/var/lib/sglang-fleet/state.json", "/var/lib/sglang-fleet/previous.json"],
            },
        },
        supports_check_mode=True,
    )
    p = module.params
    applied: dict[str, Any] = p["applied"] or {}
    node = Node(module)
    removed: list[str] = []
    try:
        states = [*read_states(p["states"]), {"image": applied}]
        before = _our_images.load()
        record = before
        base = applied_base(node, applied) if applied.get("id") else None
        if base:
            record = _our_images.added(record, applied["reference"], base, applied.get("digest"), time.time())
        known = node.recorded(record)
        images = [*node.patched(), *{image.id: image for _entry, image in known}.values()]
        gone: set[str] = set()
        for image in _our_images.superfluous(images, _our_images.protected_ids(states, node.used()), p["keep"]):
            if module.check_mode or node.remove(image):
                gone.add(image.id)
                removed += image.names or (image.id,)
        record = [entry for entry, image in known if image.id not in gone]
        if record != before and not module.check_mode:
            _our_images.save(record)
    except (DockerError, ValueError, OSError) as error:
        module.fail_json(msg=f"images could not be pruned: {error}")
    module.exit_json(changed=bool(removed) or record != before, removed=removed)


if __name__ == "__main__":
    main()
