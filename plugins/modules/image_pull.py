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
  - An image that is on the node is left as it is, unless O(digest) or O(ids) ask for another.
  - Where the host's facts of M(sglang.fleet.engine_facts) have the image, nothing is asked of the host, nor of a registry.
  - The pull goes on when the connection to the node is lost; a later run watches it on. How far it is shows every ten seconds,
    and goes to the file that the environment variable E(SGLANG_FLEET_EVENTS) names on the controller.
  - Where O(bytes) are known, room on the disk is seen to before the first byte.
extends_documentation_fragment:
  - sglang.fleet.attributes.changes
  - sglang.fleet.attributes.facts
options:
  reference:
    description: The image as a registry knows it, such as V(lmsysorg/sglang:v0.5.10.post1).
    type: str
    required: true
  digest:
    description: The digest that the image must have, such as V(sha256:0123…). Anything is taken where this is unset.
    type: str
  ids:
    description:
      - IDs that an image with that digest may have on a node. An engine gives an image the digest of its configuration, of its
        manifest or of its index; one that was loaded from a file has no digest besides.
    type: list
    elements: str
    default: []
  bytes:
    description: Size of the compressed layers; 0 where nobody knows it.
    type: int
    default: 0
  wait:
    description:
      - Seconds that one call watches a pull, before it returns how far that is. The action calls again until the pull has ended.
    type: float
    default: 9
  watching:
    description: Whether this call goes on watching a pull that an earlier one has begun. The action sets it.
    type: bool
    default: false
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

import hashlib
import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.sglang.fleet.plugins.module_utils import _our_images, _registry_login
from ansible_collections.sglang.fleet.plugins.module_utils._detached import Job, Report
from ansible_collections.sglang.fleet.plugins.module_utils._docker import Docker, DockerError, Image, repository_of
from ansible_collections.sglang.fleet.plugins.module_utils._engine_api import digest_in_registry, pull, socket_of
from ansible_collections.sglang.fleet.plugins.module_utils._images import is_wanted
from ansible_collections.sglang.fleet.plugins.module_utils._pull import Pull, see_room

#: Where a pull that runs tells how far it is; a reboot empties it, and ends the pull.
FOLDER = "/run/sglang-fleet/pull"
#: Seconds between two looks at a pull, and between two reports of it.
LOOK_EVERY = 0.25
REPORT_EVERY = 1.0


class Wanted:
    """The image that is asked for, and what the node has of it."""

    def __init__(self, module: AnsibleModule) -> None:
        p = module.params
        self.reference: str = p["reference"]
        self.digest: str | None = p["digest"] or None
        self.ids: list[str] = p["ids"]
        self.size: int = p["bytes"]
        self.docker = Docker(module.run_command)
        key = hashlib.sha256(f"{self.reference}@{self.digest}".encode()).hexdigest()
        self.job = Job(FOLDER, key[:16]) if os.path.isdir(FOLDER) else None
        self.key = key[:16]

    def on_node(self) -> Image | None:
        """The image, by its name, its digest or one of its IDs; None where it has to be pulled."""
        names = [self.reference]
        if self.digest:
            names += [f"{repository_of(self.reference)}@{self.digest}", *self.ids]
        for name in names:
            image = self.docker.image(name)
            if image and is_wanted(image.id, image.digests, self.digest, self.ids):
                return image
        return None

    def auth(self) -> str:
        return _registry_login.header(
            self.reference, _registry_login.client_config(), _registry_login.credential_helper
        )

    def start(self) -> Job:
        """Begins the pull, unless it runs already. Raises DockerError, without room before anything is pulled."""
        job = self.job or Job(FOLDER, self.key)
        if job.running():
            return job
        see_room(self.docker, self.reference, self.size, "pulled")
        path, auth = socket_of(self.docker), self.auth()
        reference, digest, size = self.reference, self.digest, self.size

        def work(report: Report) -> None:
            progress, told = Pull(size), 0.0
            for event in pull(path, reference, digest, auth):
                progress.take(event)
                if time.monotonic() >= told:
                    told = time.monotonic() + REPORT_EVERY
                    report(progress.state())
            report(progress.state())

        job.start(work)
        return job

    def unfinished(self) -> Job | None:
        """A pull that ended between two looks, or after the playbook that began it: its image has no name yet."""
        return self.job if self.job and self.job.state().get("state") in ("running", "done") else None

    def begun(self, watching: bool) -> Job:
        """The pull: for one who watches it the one that was begun, even if it has failed by now; else it starts. Raises
        DockerError."""
        return self.job if watching and self.job and self.job.state() else self.start()

    def nameless(self) -> bool:
        """Whether nothing on the node has the name that is asked for: then the next run would have to look again."""
        return "@" not in self.reference and self.docker.image(self.reference) is None

    def finish(self) -> None:
        """Gives the image the name that it was asked for by, and notes that it is ours."""
        image = self.on_node()
        if image:
            if self.digest and "@" not in self.reference:
                self.docker.call("tag", image.id, self.reference)
            digest = self.digest or digest_of(image)
            _our_images.save(_our_images.added(_our_images.load(), self.reference, image.id, digest, time.time()))

    def moved(self) -> str | None:
        """A warning where the tag in the registry is another image by now."""
        if not self.digest or "@" in self.reference:
            return None
        now = digest_in_registry(socket_of(self.docker), self.reference, self.auth())
        if now in (None, self.digest):
            return None
        return (
            f"image {self.reference}: the tag has moved in the registry, to {now}; {self.digest} was pulled, as it is"
            " locked. `sglang-fleet lock --update-image` takes the new one over."
        )


def digest_of(image: Image) -> str | None:
    return next((name.rsplit("@", 1)[1] for name in image.digests), None)


def watch(job: Job, seconds: float) -> dict[str, Any]:
    """The state of the pull when it has ended, or after that time."""
    end = time.monotonic() + seconds
    while True:
        state = job.state()
        if state.get("state") != "running" or time.monotonic() >= end:
            return state
        time.sleep(LOOK_EVERY)


def conclude(module: AnsibleModule, wanted: Wanted, job: Job, state: dict[str, Any]) -> None:
    """What comes after a pull that has ended. Raises DockerError with what it ended with."""
    job.forget()
    if state.get("state") != "done":
        text = state.get("error") or "the pull was ended from outside; run again, what is there already stays"
        raise DockerError(str(state.get("kind") or "other"), str(text))
    wanted.finish()
    warning = wanted.moved()
    if warning:
        module.warn(warning)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "reference": {"type": "str", "required": True},
            "digest": {"type": "str"},
            "ids": {"type": "list", "elements": "str", "default": []},
            "bytes": {"type": "int", "default": 0},
            "wait": {"type": "float", "default": 9},
            "watching": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    wanted = Wanted(module)
    reference = wanted.reference
    result: dict[str, Any] = {"changed": False}
    fact: dict[str, Any] = {"reference": reference, "id": None, "digest": wanted.digest}
    try:
        # In check mode on a node that has no engine yet, the pull is what would happen.
        if module.check_mode and not module.get_bin_path("docker"):
            module.exit_json(changed=True, ansible_facts={"fleet_local_image": fact})
        image = wanted.on_node()
        if module.check_mode:
            if image:
                fact.update(id=image.id, digest=wanted.digest or digest_of(image))
            due = image is None or wanted.nameless()
            module.exit_json(changed=due, ansible_facts={"fleet_local_image": fact})
        job = wanted.unfinished() if image else wanted.begun(module.params["watching"])
        if job:
            result = {"changed": True, "progress": watch(job, module.params["wait"])}
            if result["progress"].get("state") == "running":
                module.exit_json(pulling=True, **result)
            conclude(module, wanted, job, result["progress"])
            image = wanted.on_node()
        elif wanted.nameless():
            result["changed"] = True
            wanted.finish()
    except DockerError as error:
        if module.check_mode and error.kind == "stopped":  # a real run would have started it before
            module.exit_json(changed=True, ansible_facts={"fleet_local_image": fact})
        text = str(error) if str(error).startswith("image ") else f"image {reference}: {error}"
        module.fail_json(msg=text, kind=error.kind)
    except OSError as error:
        module.fail_json(msg=f"image {reference}: {error}; run with become, as the deploy does.")
    if image is None:
        module.fail_json(msg=f"image {reference}: the pull ended well but the node does not have it; pull it by hand.")
    fact.update(id=image.id, digest=wanted.digest or digest_of(image))
    module.exit_json(ansible_facts={"fleet_local_image": fact}, **result)


if __name__ == "__main__":
    main()
