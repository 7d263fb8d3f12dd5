#!/usr/bin/python
# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: weights_facts
short_description: Find out which files of the weights are on a host and are the locked ones
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Holds every file of the lock against what is in the folder of weights - its size, the header of a safetensors file on
    every run, and its SHA-256 where the file is not as it was when it was hashed last.
  - Changes nothing but its own record of what was hashed, and that not in check mode.
attributes:
  check_mode:
    support: full
    description: Runs the same in check mode, and leaves the record as it is.
  diff_mode:
    support: none
    description: There is nothing to show a difference of.
extends_documentation_fragment:
  - sglang.fleet.attributes.facts
options:
  directory:
    description: The folder of weights, laid out as the Hugging Face cache is.
    type: path
    required: true
  repository:
    description: The repository, such as V(MiniMaxAI/MiniMax-M2.7).
    type: str
    required: true
  revision:
    description: The commit.
    type: str
    required: true
  files:
    description: The files that a server needs.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Path in the repository.
        type: str
        required: true
      size:
        description: Bytes.
        type: int
        required: true
      sha256:
        description: SHA-256 in hex.
        type: str
        required: true
  verify:
    description: V(changed) hashes what is not as it was when it was hashed last, V(always) everything.
    type: str
    choices: [changed, always]
    default: changed
  hash_below:
    description:
      - Up to how many bytes are hashed here. Of more than that the files are reported as unverified, and
        M(sglang.fleet.weights_transfer) hashes them where it can show how far it is.
    type: int
    default: 17179869184
  source_folder:
    description: A folder of the host that the weights are taken from. On the same filesystem they need no further room.
    type: path
  offer:
    description: How this host takes part - C(url), C(share), C(source). Returned as it is, for the other hosts to read.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Look at the weights
  sglang.fleet.weights_facts:
    directory: /var/lib/sglang-fleet/huggingface
    repository: "{{ ansible_facts.fleet_plan.lock.weights.repository }}"
    revision: "{{ ansible_facts.fleet_plan.lock.weights.revision }}"
    files: "{{ ansible_facts.fleet_plan.lock.weights.files }}"
"""

RETURN = r"""
ansible_facts:
  description: The weights as found.
  returned: success
  type: dict
  contains:
    fleet_weights:
      description: The weights as found.
      type: dict
      returned: always
      contains:
        repository: {description: As asked for., type: str, returned: always}
        revision: {description: As asked for., type: str, returned: always}
        directory: {description: As asked for., type: str, returned: always}
        snapshot: {description: The folder that a server reads., type: str, returned: always}
        files: {description: Number of files in the lock., type: int, returned: always}
        bytes: {description: Their bytes., type: int, returned: always}
        verified: {description: "C(files) and C(bytes) that are the locked ones.", type: dict, returned: always}
        missing: {description: Paths that are not there., type: list, elements: str, returned: always}
        unverified: {description: "C(path) and C(reason) of what must be hashed.", type: list, elements: dict, returned: always}
        damaged: {description: "C(path) and C(reason) of what is not the locked file.", type: list, elements: dict, returned: always}
        bytes_to_fetch: {description: Bytes that are missing or damaged., type: int, returned: always}
        bytes_needed: {description: Bytes that the disk must still take., type: int, returned: always}
        bytes_free: {description: Bytes that are free for it., type: int, returned: always}
        bytes_other: {description: Bytes of other weights in the same folder., type: int, returned: always}
        filesystem: {description: "C(type), C(source) and C(mount).", type: dict, returned: always}
        complete: {description: Whether every file is verified., type: bool, returned: always}
        transfer: {description: State of a transfer that runs or ran since the host started., type: str, returned: always}
        offer: {description: As given., type: dict, returned: always}
"""

import json
import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.sglang.fleet.plugins.module_utils._disk import existing, free_bytes
from ansible_collections.sglang.fleet.plugins.module_utils._weights_files import (
    DAMAGED,
    MISSING,
    UNVERIFIED,
    VERIFIED,
    Found,
    Layout,
    bytes_needed,
    disk_problem,
    hashed,
    read_record,
    record_of,
    survey,
    wanted_files,
    write_json,
)
from ansible_collections.sglang.fleet.plugins.module_utils._weights_job import PROGRESS

#: Seconds after which a transfer that says nothing is taken for ended.
SILENT = 30


def filesystem(path: str, mountinfo: str) -> dict[str, str]:
    """Type, source and mount point of what holds a path, from the text of /proc/self/mountinfo."""
    best = {"type": "unknown", "source": "unknown", "mount": "/"}
    for line in mountinfo.splitlines():
        words = line.split()
        if "-" not in words:
            continue
        dash = words.index("-")
        mount = words[4].replace("\\040", " ")
        inside = path == mount or path.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best["mount"]):  # of two at one place the later one counts
            best = {"type": words[dash + 1], "source": words[dash + 2], "mount": mount}
    return best


def transfer_state(path: str, now: float) -> str:
    """running, done or failed, of a transfer on this host; empty for none, and for one that died."""
    try:
        with open(path, encoding="utf-8") as handle:
            progress = json.load(handle)
        state = str(progress["state"])
        return "" if state in ("running", "waiting") and now - progress["updated"] > SILENT else state
    except (OSError, ValueError, KeyError):
        return ""


def other_bytes(layout: Layout, found: list[Found]) -> int:
    """Bytes of weights in the folder that are not of the lock: other models, other revisions."""
    ours = {os.path.realpath(layout.pointer(item.wanted)) for item in found}
    ours |= {layout.partial(item.wanted) for item in found}
    total = 0
    for folder, _folders, names in os.walk(os.path.join(layout.directory, "hub")):
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.islink(path) and os.path.realpath(path) not in ours:
                total += os.lstat(path).st_size
    return total


def needed(layout: Layout, found: list[Found], source: str | None) -> int:
    """Bytes that the disk must still take; what a bundle has put there already counts."""
    if source and os.path.isdir(source) and os.stat(source).st_dev == os.stat(existing(layout.directory)).st_dev:
        return 0
    staged = 0
    for item in found:
        path = os.path.join(layout.incoming, *item.wanted.path.split("/"))
        if item.state == MISSING and os.path.isfile(path):
            staged += min(os.path.getsize(path), item.wanted.size) - item.present
    return max(0, bytes_needed(found) - max(0, staged))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "repository": {"type": "str", "required": True},
            "revision": {"type": "str", "required": True},
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "str", "required": True},
                    "size": {"type": "int", "required": True},
                    "sha256": {"type": "str", "required": True},
                },
            },
            "verify": {"type": "str", "choices": ["changed", "always"], "default": "changed"},
            "hash_below": {"type": "int", "default": 17179869184},
            "source_folder": {"type": "path"},
            "offer": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)  # a bundle comes as another user than root, who must get through; secrets have modes of their own
    options = module.params
    layout = Layout(options["directory"], options["repository"], options["revision"])
    state = transfer_state(PROGRESS, time.time())
    try:
        files = wanted_files(options["files"])
        found = survey(layout, files, always=options["verify"] == "always")
        unverified = sum(item.wanted.size for item in found if item.state == UNVERIFIED)
        # One that runs hashes them itself, and writes the record.
        if 0 < unverified <= options["hash_below"] and state not in ("running", "waiting"):
            found = hashed(layout, found, threads=max(2, min(8, os.cpu_count() or 2)))
            record = record_of(layout, found)
            if not module.check_mode and record != read_record(layout.record):
                write_json(layout.record, record)
        at = existing(layout.directory)
        with open("/proc/self/mountinfo", encoding="utf-8") as handle:
            mounted = filesystem(os.path.realpath(at), handle.read())
        due = any(item.state in (MISSING, DAMAGED) for item in found)
        fact: dict[str, Any] = {
            "repository": layout.repository,
            "revision": layout.revision,
            "directory": layout.directory,
            "snapshot": layout.snapshot,
            "files": len(files),
            "bytes": sum(wanted.size for wanted in files),
            "verified": {
                "files": sum(item.state == VERIFIED for item in found),
                "bytes": sum(item.wanted.size for item in found if item.state == VERIFIED),
            },
            "missing": [item.wanted.path for item in found if item.state == MISSING],
            **{
                name: [{"path": item.wanted.path, "reason": item.reason} for item in found if item.state == name]
                for name in (UNVERIFIED, DAMAGED)
            },
            "bytes_to_fetch": sum(
                item.wanted.size - (item.present if item.state == MISSING else 0)
                for item in found
                if item.state in (MISSING, DAMAGED)
            ),
            "bytes_needed": needed(layout, found, options["source_folder"]),
            "bytes_free": free_bytes(at),
            "bytes_other": other_bytes(layout, found) if due else 0,
            "filesystem": mounted,
            "complete": all(item.state == VERIFIED for item in found),
            "transfer": state,
            "offer": options["offer"],
        }
    except OSError as error:
        module.fail_json(msg=f"weights in {layout.directory}: {disk_problem(error, layout.directory)}")
    except ValueError as error:
        module.fail_json(msg=f"weights in {layout.directory}: {error}")
    module.exit_json(changed=False, ansible_facts={"fleet_weights": fact})


if __name__ == "__main__":
    main()
