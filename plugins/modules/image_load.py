#!/usr/bin/python
# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: image_load
short_description: Have a container image on a node, from a bundle
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Sends an image's blobs from a bundle on the controller to the node, over the connection that its tasks run through,
    and loads them. No registry is asked.
  - An image that is on the node is left as it is; where the host's facts of M(sglang.fleet.engine_facts) have it, nothing is
    asked of the host.
  - Each blob is verified by its SHA-256, and what was loaded by its ID, which must be one that the lock accepts, before it
    gets its name.
  - What was sent stays until the image is loaded, so that a run that was cut short goes on where it was.
extends_documentation_fragment:
  - sglang.fleet.attributes.changes
  - sglang.fleet.attributes.facts
options:
  bundle:
    description: The bundle's folder on the controller, made by C(sglang-fleet bundle).
    type: path
  reference:
    description: The image as a registry knows it.
    type: str
    required: true
  digest:
    description: The digest that the lock has of it.
    type: str
  ids:
    description: The IDs that the lock accepts on this node.
    type: list
    elements: str
    default: []
  folder:
    description: The node's folder that the blobs are sent to; it is removed once the image is loaded.
    type: path
    default: /var/lib/sglang-fleet/incoming
  blobs:
    description: Set by the action plugin. The image's C(manifest) and the C(digest) of each of its blobs, in O(folder).
    type: dict
"""

EXAMPLES = r"""
- name: Load the server's image
  sglang.fleet.image_load:
    bundle: /srv/bundle
    reference: lmsysorg/sglang:v0.5.10.post1
    digest: "{{ ansible_facts.fleet_plan.lock.image.digest }}"
    ids: "{{ ansible_facts.fleet_plan.lock.image.ids }}"
"""

RETURN = r"""
ansible_facts:
  description: The image as it is on the node.
  returned: success
  type: dict
  contains:
    fleet_local_image:
      description: The image as it is on the node.
      type: dict
      returned: always
present:
  description: Whether the node has the image.
  returned: success
  type: bool
"""

import shutil
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.sglang.fleet.plugins.module_utils import _our_images
from ansible_collections.sglang.fleet.plugins.module_utils._docker import Docker, DockerError, Image
from ansible_collections.sglang.fleet.plugins.module_utils._docker_load import load
from ansible_collections.sglang.fleet.plugins.module_utils._images import is_wanted
from ansible_collections.sglang.fleet.plugins.module_utils._pull import see_room

#: Name of an image that has not been held against the lock yet.
LOADED = "sglang-fleet/loaded"


def on_node(docker: Docker, params: dict[str, Any]) -> Image | None:
    """The image, by its name or one of its IDs."""
    for name in (params["reference"], *params["ids"]):
        image = docker.image(name)
        if image and is_wanted(image.id, image.digests, params["digest"], params["ids"]):
            return image
    return None


def take(docker: Docker, params: dict[str, Any]) -> None:
    """Loads what was sent, and gives it its name once it is seen to be the locked image. Raises DockerError."""
    reference, manifest = params["reference"], params["blobs"]["manifest"]
    name = f"{LOADED}:{manifest.rsplit(':', 1)[-1][:12]}"
    load(params["folder"], manifest, name)
    loaded = docker.image(name)
    if loaded is None or not is_wanted(loaded.id, loaded.digests, params["digest"], params["ids"]):
        found = loaded.id if loaded else "no image"
        raise DockerError(
            "other",
            f"image {reference}: what was loaded is {found}, and the lock wants {' or '.join(params['ids'])}. It was left as"
            f" {name}, and nothing runs it: make the bundle anew with `sglang-fleet bundle`.",
        )
    docker.call("tag", loaded.id, reference)
    docker.call("image", "rm", name)
    shutil.rmtree(params["folder"])
    _our_images.save(_our_images.added(_our_images.load(), reference, loaded.id, params["digest"], time.time()))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "bundle": {"type": "path"},
            "reference": {"type": "str", "required": True},
            "digest": {"type": "str"},
            "ids": {"type": "list", "elements": "str", "default": []},
            "folder": {"type": "path", "default": "/var/lib/sglang-fleet/incoming"},
            "blobs": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    params = module.params
    reference, blobs = params["reference"], params["blobs"]
    docker = Docker(module.run_command)
    fact: dict[str, Any] = {"reference": reference, "id": None, "digest": params["digest"]}
    changed = False
    try:
        if module.check_mode and not module.get_bin_path("docker"):
            module.exit_json(changed=True, present=False, ansible_facts={"fleet_local_image": fact})
        image = on_node(docker, params)
        if image is None and blobs and blobs.get("sent") and not module.check_mode:
            changed = True
            take(docker, params)
            image = on_node(docker, params)
        elif image is None and blobs:
            see_room(docker, reference, int(blobs["bytes"]), "sent")
    except DockerError as error:
        if module.check_mode and error.kind == "stopped":  # a real run would have started it before
            module.exit_json(changed=True, present=False, ansible_facts={"fleet_local_image": fact})
        text = str(error) if str(error).startswith("image ") else f"image {reference}: {error}"
        module.fail_json(msg=text, kind=error.kind)
    except OSError as error:
        module.fail_json(msg=f"image {reference}: {error}; run with become, as the deploy does.")
    fact["id"] = image.id if image else None
    module.exit_json(
        changed=changed or image is None, present=image is not None, ansible_facts={"fleet_local_image": fact}
    )


if __name__ == "__main__":
    main()
