#!/usr/bin/python
# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_files
short_description: Take files that were sent from a bundle, and tell which are missing
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Makes the folder that a bundle's files are sent to, gives each file that has arrived whole its name, and tells which are
    missing. M(sglang.fleet.image_load) and M(sglang.fleet.bundle_weights) call it before and after they send.
  - A file comes as C(PATH.part). It gets its name when its size is right and, with O(verify), its SHA-256.
  - Fails without room for what is missing, with the sizes.
extends_documentation_fragment:
  - sglang.fleet.attributes.changes
  - sglang.fleet.attributes.no_facts
options:
  folder:
    description: The folder.
    type: path
    required: true
  files:
    description: The files, each with C(path) below the folder, C(size) and C(sha256).
    type: list
    elements: dict
    required: true
  owner:
    description: Number of the user that the files come as.
    type: int
    default: 0
  verify:
    description: Whether files that came are hashed.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: See which blobs of an image are missing
  sglang.fleet.bundle_files:
    folder: /var/lib/sglang-fleet/incoming
    files:
      - {path: a.json, size: 2, sha256: 44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a}
"""

RETURN = r"""
missing:
  description: Paths of the files that are not there.
  returned: success
  type: list
  elements: str
"""

import os
import pwd
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.sglang.fleet.plugins.module_utils._disk import free_bytes, sha256_of
from ansible_collections.sglang.fleet.plugins.module_utils._progress import size_text


def path_problem(path: str) -> str | None:
    parts = path.split("/")
    if path.startswith("/") or any(part in ("", ".", "..") for part in parts):
        return f"{path!r} is no path below a folder"
    return None


def take(folder: str, file: dict[str, Any], verify: bool) -> bool:
    """Whether the file is there, once a part that is whole has got its name. A whole part with other bytes is thrown away."""
    path = os.path.join(folder, file["path"])
    part = f"{path}.part"
    size = int(file["size"])
    if os.path.isfile(path) and os.path.getsize(path) == size:
        return True
    if not os.path.isfile(part) or os.path.getsize(part) != size:
        return False
    if verify and sha256_of(part) != file["sha256"]:
        os.unlink(part)
        return False
    os.chown(part, 0, 0)
    os.chmod(part, 0o644)
    os.replace(part, path)
    return True


def prepare(folder: str, files: list[dict[str, Any]], owner: int) -> None:
    """The folders, the sender's own until all is there."""
    make(folder)
    folders = {folder, *(os.path.dirname(os.path.join(folder, file["path"])) for file in files)}
    for name in sorted(folders):
        os.makedirs(name, exist_ok=True)
        while len(name) >= len(folder):
            os.chown(name, owner, -1)
            os.chmod(name, 0o700)
            name = os.path.dirname(name)
    closed = closed_to(folder, owner)
    if closed:
        raise PermissionError(
            f"{closed} lets no other user through than its owner and group, and the files come as the user of the connection"
            f" (uid {owner}): chmod o+x {closed}, name another folder, or connect as root"
        )


def make(folder: str) -> None:
    """The folder and those above it, for everybody to pass through whatever root's umask is."""
    missing = []
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for name in reversed(missing):
        os.mkdir(name)
        os.chmod(name, 0o755)  # noqa: S103 - folders of nothing secret


def closed_to(folder: str, owner: int) -> str:
    """The topmost folder that a user cannot enter on the way; empty for none."""
    if owner == 0 or os.geteuid() != 0:
        return ""
    try:
        user = pwd.getpwuid(owner)
    except KeyError:
        return ""  # of a directory service that does not answer: scp will say
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    way = [folder]
    while way[0] != os.path.dirname(way[0]):
        way.insert(0, os.path.dirname(way[0]))
    for name in way:
        asked = subprocess.run(
            ["test", "-x", name], user=owner, group=user.pw_gid, extra_groups=groups, cwd="/", check=False
        )
        if asked.returncode:
            return name
    return ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "files": {"type": "list", "elements": "dict", "required": True},
            "owner": {"type": "int", "default": 0},
            "verify": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    folder, files, verify = (module.params[name] for name in ("folder", "files", "verify"))
    problem = next((text for text in (path_problem(file["path"]) for file in files) if text), None)
    if problem:
        module.fail_json(msg=f"{problem}: make the bundle anew with `sglang-fleet bundle`.")
    if module.check_mode:
        there = [os.path.isfile(os.path.join(folder, file["path"])) for file in files]
        module.exit_json(changed=False, missing=[file["path"] for file, here in zip(files, there) if not here])
    try:
        with ThreadPoolExecutor(4) as pool:
            taken = list(pool.map(lambda file: take(folder, file, verify), files))
        missing = [file for file, here in zip(files, taken) if not here]
        needed, free = sum(int(file["size"]) for file in missing), free_bytes(folder)
        if needed > free:
            module.fail_json(
                msg=f"no room for the bundle's files: {size_text(free)} are free below {folder}, {size_text(needed)} are"
                " needed. Nothing was sent."
            )
        if missing:
            prepare(folder, files, module.params["owner"])
    except OSError as error:
        module.fail_json(msg=f"{folder}: {error}; run with become, as the deploy does.")
    module.exit_json(changed=len(missing) < len(files), missing=[file["path"] for file in missing])


if __name__ == "__main__":
    main()
