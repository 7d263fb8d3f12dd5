#!/usr/bin/python
# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: image_patch
short_description: Build a patched image from an image that is on the node
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Builds an image from O(base) with O(patches) applied to the source tree at O(source_root), with no network.
  - The result's tag holds the base's content and the patches' hash, so that it is built again only when one of the
    two changes. Labels and the folder C(/opt/sglang-fleet) inside it say where it comes from.
  - Where the host's facts of M(sglang.fleet.engine_facts) have the result, nothing is asked of the host.
  - A patch whose expected content is not there, or after which a Python file would not compile, fails by name; then no
    image is tagged.
  - With O(model_class) the image gets its tag only once SGLang's class of the model has been imported in it, in a container
    like the server's. So an image that has the tag has passed.
extends_documentation_fragment:
  - sglang.fleet.attributes.changes
  - sglang.fleet.attributes.facts
options:
  base:
    description: The image to build from, as C(fleet_local_image) of M(sglang.fleet.image_pull) gives it.
    type: dict
    required: true
    suboptions:
      reference:
        description: The reference that the image was pulled by.
        type: str
        required: true
      id:
        description: ID of its content; none in check mode on a node that does not have it yet.
        type: str
      digest:
        description: Digest in the registry.
        type: str
  patches:
    description:
      - The patches in order, as the catalogue holds them. Each has C(name), C(file) and C(action); C(rename) needs
        C(to), C(comment_line) needs C(line), C(replace) needs C(old) and C(new).
    type: list
    elements: dict
    required: true
  source_root:
    description: The folder in the image that the patches' files are below.
    type: str
    default: /sgl-workspace/sglang/python/sglang
  model_class:
    description: SGLang's class of the model that must import in the patched image. Without it none is tried.
    type: str
  container_options:
    description:
      - The options of the server's container, a word each. Those of devices, groups and security count, network and volumes
        do not.
    type: list
    elements: str
    default: []
  repository:
    description: The name, without a tag, that the patched image gets.
    type: str
    default: sglang-fleet/patched
"""

EXAMPLES = r"""
- name: Patch the image
  sglang.fleet.image_patch:
    base: "{{ ansible_facts.fleet_local_image }}"
    patches: "{{ ansible_facts.fleet_plan.patches }}"
    model_class: "{{ ansible_facts.fleet_plan.model_class }}"
    container_options: "{{ ansible_facts.fleet_plan.instances[0].container_options }}"
"""

RETURN = r"""
ansible_facts:
  description: The patched image, in the place of its base.
  returned: success
  type: dict
  contains:
    fleet_local_image:
      description: The patched image.
      type: dict
      returned: always
patches:
  description: What became of each patch.
  returned: when an image was built
  type: list
  elements: dict
imported:
  description: The class that was imported in the patched image, by its module.
  returned: when an image was built and O(model_class) is given
  type: str
"""

import inspect
import json
import os
import shutil
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.sglang.fleet.plugins.module_utils import _patch, _patch_check
from ansible_collections.sglang.fleet.plugins.module_utils._docker import Docker, DockerError, explain

DOCKERFILE = """\
FROM {base}
LABEL {labels}
COPY apply.py patches.json {folder}/
RUN ["python3", "{folder}/apply.py", "--root", "{root}", "--patches", "{folder}/patches.json"]
"""


#: Name of a patched image that has not been tried yet.
CANDIDATE = "sglang-fleet/candidate"


def build(module: AnsibleModule, docker: Docker, tag: str, labels: dict[str, str]) -> list[dict[str, str]]:
    """Builds the image under a tag; fails the module by the patch's name when one does not fit."""
    base, folder = module.params["base"], _patch.IMAGE_FOLDER
    context = tempfile.mkdtemp(prefix="sglang-fleet-patch-")
    # Built from a name that only this node has: no registry is asked, and a tag that moves meanwhile changes nothing.
    local = f"sglang-fleet/base:{base['id'].rsplit(':', 1)[-1][:12]}"
    docker.call("tag", base["id"], local)
    try:
        files = {
            "Dockerfile": DOCKERFILE.format(
                base=local,
                labels=" ".join(f'{key}="{value}"' for key, value in labels.items()),
                folder=folder,
                root=module.params["source_root"],
            ),
            "apply.py": inspect.getsource(_patch),
            "patches.json": json.dumps(module.params["patches"], indent=1),
        }
        for name, text in files.items():
            with open(os.path.join(context, name), "w", encoding="utf-8") as handle:
                handle.write(text)
        command = ["docker", "build", "--network=none", "--force-rm", f"--tag={tag}", context]
        # Plain progress: BuildKit, where an engine has it, would otherwise fold the step's output away.
        code, out, err = module.run_command(command, environ_update={"BUILDKIT_PROGRESS": "plain"})
    finally:
        shutil.rmtree(context)
        docker.call("image", "rm", "--no-prune", local)
    outcome = _patch.outcome_of(out + "\n" + err)
    if code != 0:
        drop_leftovers(docker, labels)
    if "error" in outcome:
        module.fail_json(msg=f"{outcome['error']} (base image {base['reference']}, {base['id']})")
    if code != 0:
        last = (err.strip() or out.strip()).splitlines()[-1:] or ["no output"]
        module.fail_json(msg=f"the patched image of {base['reference']} could not be built: {last[0]}", stderr=err)
    patches: list[dict[str, str]] = outcome.get("patches", [])
    return patches


def drop_leftovers(docker: Docker, labels: dict[str, str]) -> None:
    """The steps before one that failed are images without a name."""
    hashed = "sglang.fleet.patch_hash"
    docker.call("image", "prune", "--force", "--filter", f"label={hashed}={labels[hashed]}")


def imported(module: AnsibleModule, image: str) -> dict[str, Any]:
    """What became of the import of the model's class in a container of the image."""
    params = module.params
    command = _patch_check.check_command(
        image, params["container_options"], params["model_class"], params["source_root"]
    )
    code, out, err = module.run_command(command, data=inspect.getsource(_patch_check))
    outcome = _patch_check.outcome_of(out)
    if not outcome and code == 125:  # Docker's own failure
        raise explain("run", err)
    if not outcome:
        last = (err.strip() or out.strip()).splitlines()[-1:] or ["no output"]
        outcome = {"error": f"its Python ended with status {code}: {last[0]}", "files": []}
    return outcome


def check_import(module: AnsibleModule, docker: Docker, candidate: str, labels: dict[str, str]) -> str:
    """The class that was imported in the candidate; fails the module, and takes the candidate away, where it was not."""
    base, wanted = module.params["base"], module.params["model_class"]
    try:
        outcome = imported(module, candidate)
        before = imported(module, base["id"]) if "error" in outcome else {}
    except DockerError as error:
        outcome, before = {"docker": str(error)}, {}
    if "class" in outcome:
        return str(outcome["class"])
    docker.call("image", "rm", candidate)
    drop_leftovers(docker, labels)
    ending = "The image was not kept, no server was given it, and what runs was left as it is."
    if "docker" in outcome:
        module.fail_json(
            msg=f"the patched image of {base['reference']} could not be tried, as no container with the server's options"
            f" starts: {outcome['docker']} {ending}"
        )
    names = ", ".join(_patch_check.blamed(module.params["patches"], outcome["files"]))
    remedy = "In the image without patches it imports: correct the patch, or take it out"
    if "error" in before:
        remedy = f"It does not in the image without patches either: {before['error']}"
    module.fail_json(
        msg=f"patch {names}: {wanted} does not import in the patched image of {base['reference']} ({base['id']}):"
        f" {outcome['error']}. {remedy}. {ending}"
    )
    return ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "base": {
                "type": "dict",
                "required": True,
                "options": {
                    "reference": {"type": "str", "required": True},
                    "id": {"type": "str"},
                    "digest": {"type": "str"},
                },
            },
            "patches": {"type": "list", "elements": "dict", "required": True},
            "source_root": {"type": "str", "default": "/sgl-workspace/sglang/python/sglang"},
            "model_class": {"type": "str"},
            "container_options": {"type": "list", "elements": "str", "default": []},
            "repository": {"type": "str", "default": "sglang-fleet/patched"},
        },
        supports_check_mode=True,
    )
    base, patches = module.params["base"], module.params["patches"]
    digest = _patch.patch_hash(patches)
    fact = dict(base, id=None, patched=[p["name"] for p in patches])
    if base["id"] is None:
        if not module.check_mode:
            module.fail_json(
                msg=f"image {base['reference']}: no content ID is known; run sglang.fleet.image_pull first."
            )
        module.exit_json(changed=True, ansible_facts={"fleet_local_image": fact})
    tag = _patch.patched_tag(base["id"], patches, module.params["repository"])
    fact["tag"] = tag
    labels = {
        "sglang.fleet.base": base["id"],
        "sglang.fleet.base_reference": base["reference"],
        "sglang.fleet.patches": ",".join(p["name"] for p in patches),
        "sglang.fleet.patch_hash": digest,
    }
    docker = Docker(module.run_command)
    result: dict[str, object] = {"changed": False}
    try:
        image = docker.image(tag)
        stale = image is not None and any(image.labels.get(key) != value for key, value in labels.items())
        if image is None or stale:
            result["changed"] = True
            if module.check_mode:
                module.exit_json(changed=True, ansible_facts={"fleet_local_image": fact})
            # Whoever finds the tag takes the image, so that it comes last.
            candidate = f"{CANDIDATE}:{tag.rsplit(':', 1)[-1]}"
            result["patches"] = build(module, docker, candidate, labels)
            if module.params["model_class"]:
                result["imported"] = check_import(module, docker, candidate, labels)
            docker.call("tag", candidate, tag)
            docker.call("image", "rm", candidate)
            image = docker.image(tag)
    except DockerError as error:
        if module.check_mode and error.kind == "stopped":  # a real run would have started it before
            module.exit_json(changed=True, ansible_facts={"fleet_local_image": fact})
        module.fail_json(msg=str(error), kind=error.kind)
    fact["id"] = image.id if image else None
    module.exit_json(ansible_facts={"fleet_local_image": fact}, **result)


if __name__ == "__main__":
    main()
