#!/usr/bin/python
# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: image_pull
short_description: Have a container image on a node, pinned by its content
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Pulls an image that is not on the node and reports the ID of its content, which everything later refers to, so
    that a tag that moves in the registry changes nothing that runs.
  - An image that is on the node is left as it is, unless O(digest) asks for another.
  - Where the host's facts of M(sglang.fleet.engine_facts) have the image, nothing is asked of the host.
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  facts:
    support: full
extends_documentation_fragment:
  - sglang.fleet.attributes
options:
  reference:
    description: The image as a registry knows it, such as V(lmsysorg/sglang:v0.5.10.post1).
    type: str
    required: true
  digest:
    description: The digest that the image must have, such as V(sha256:0123…). Anything is taken where this is unset.
    type: str
"""

EXAMPLES = r"""
- name: Pull the server's image
  sglang.fleet.image_pull:
    reference: lmsysorg/sglang:v0.5.10.post1
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
      contains:
        reference: {description: As asked for., type: str, returned: always}
        id: {description: 'ID of the content; none where check mode would have pulled it.', type: str, returned: always}
        digest: {description: Digest in the registry., type: str, returned: always}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.sglang.fleet.plugins.module_utils._docker import Docker, DockerError, Image, repository_of


def matches(image: Image, digest: str | None) -> bool:
    return digest is None or any(d.endswith(f"@{digest}") for d in image.digests)


def main() -> None:
    module = AnsibleModule(
        argument_spec={"reference": {"type": "str", "required": True}, "digest": {"type": "str"}},
        supports_check_mode=True,
    )
    reference, digest = module.params["reference"], module.params["digest"]
    docker = Docker(module.run_command)
    fact = {"reference": reference, "id": None, "digest": digest}
    changed = False
    try:
        # In check mode on a node that has no engine yet, the pull is what would happen.
        if module.check_mode and not module.get_bin_path("docker"):
            module.exit_json(changed=True, ansible_facts={"fleet_local_image": fact})
        image = docker.image(reference)
        if image is None or not matches(image, digest):
            changed = True
            if module.check_mode:
                module.exit_json(changed=True, ansible_facts={"fleet_local_image": fact})
            if digest is None:
                docker.call("pull", "--quiet", reference)
            else:
                pinned = f"{repository_of(reference)}@{digest}"
                docker.call("pull", "--quiet", pinned)
                docker.call("tag", pinned, reference)
            image = docker.image(reference)
    except DockerError as error:
        if module.check_mode and error.kind == "stopped":  # a real run would have started it before
            module.exit_json(changed=True, ansible_facts={"fleet_local_image": fact})
        module.fail_json(msg=f"image {reference}: {error}", kind=error.kind)
    if image is None or not matches(image, digest):
        module.fail_json(msg=f"image {reference}: the pull ended well but the node does not have it; pull it by hand.")
    fact.update(
        id=image.id,
        digest=digest or next((d.rsplit("@", 1)[1] for d in image.digests), None),
    )
    module.exit_json(changed=changed, ansible_facts={"fleet_local_image": fact})


if __name__ == "__main__":
    main()
