#!/usr/bin/python
# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: managed_files
short_description: Bring a set of small text files to their content, in one call
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Writes those of O(files) whose content or mode differs, each through a new file that takes the old one's
    place, and removes those of O(absent).
  - Secrets never stand in a file's O(files[].content). It has C(@@name@@) where the secret goes, and O(secrets) holds
    the value, so that neither the difference shown nor the log of a run can print one.
  - One call for a whole role's files is what keeps a run over a node that is as it should be short.
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
extends_documentation_fragment:
  - sglang.fleet.attributes.no_facts
  - sglang.fleet.attributes
options:
  files:
    description: The files.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path; folders above it are made with mode 0755.
        type: path
        required: true
      content:
        description: The text, with C(@@name@@) for a secret.
        type: str
        required: true
      mode:
        description: Permissions, octal.
        type: str
        default: '0644'
  directories:
    description: Folders that must exist, such as a mount's source. Made with mode 0755; an existing one is left as it is.
    type: list
    elements: path
    default: []
  absent:
    description: Files that must not be there.
    type: list
    elements: path
    default: []
  secrets:
    description: Values for the placeholders, by name.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Write the server's configuration
  sglang.fleet.managed_files:
    files:
      - path: /etc/sglang/0.yaml
        mode: '0600'
        content: |
          port: 30000
          api-key: "@@api_key@@"
    secrets:
      api_key: "{{ fleet_api_key }}"
"""

RETURN = r"""
paths:
  description: The paths that were written or removed, or would be.
  returned: success
  type: list
  elements: str
"""

import os
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.sglang.fleet.plugins.module_utils._files import fill, veil


def read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace", newline="") as handle:
            return handle.read()
    except FileNotFoundError:
        return None


def write(module: AnsibleModule, path: str, text: str, mode: int) -> None:
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=f".{os.path.basename(path)}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        os.chmod(temporary, mode)
        # Not atomic_move: it would give a new file the default mode for a moment, and this one may hold a key.
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
    module.set_context_if_different(path, module.selinux_default_context(path), changed=False)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "content": {"type": "str", "required": True},
                    "mode": {"type": "str", "default": "0644"},
                },
            },
            "directories": {"type": "list", "elements": "path", "default": []},
            "absent": {"type": "list", "elements": "path", "default": []},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    secrets: dict[str, str] = module.params["secrets"]
    paths: list[str] = []
    diff: list[dict[str, Any]] = []
    try:
        for entry in module.params["files"]:
            path, mode = entry["path"], int(entry["mode"], 8)
            current, wanted = read(path), fill(entry["content"], secrets)
            mode_differs = current is not None and (os.stat(path).st_mode & 0o7777) != mode
            if current == wanted and not mode_differs:
                continue
            paths.append(path)
            diff.append(
                {
                    "before_header": path,
                    "after_header": path,
                    "before": "" if current is None else veil(current, entry["content"], secrets),
                    "after": entry["content"],
                }
            )
            if not module.check_mode:
                write(module, path, wanted, mode)
        for path in module.params["directories"]:
            if not os.path.isdir(path):
                paths.append(path)
                if not module.check_mode:
                    os.makedirs(path, mode=0o755)
        for path in module.params["absent"]:
            if os.path.lexists(path):
                paths.append(path)
                diff.append({"before_header": path, "after_header": path, "before": "present\n", "after": "absent\n"})
                if not module.check_mode:
                    os.unlink(path)
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"{error}. Written before that: {', '.join(paths[:-1]) or 'nothing'}.", paths=paths[:-1])
    module.exit_json(changed=bool(paths), paths=paths, diff=diff)


if __name__ == "__main__":
    main()
