# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sends files of a bundle from the controller to a host, over the connection that its tasks run through, and no other."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.sglang.fleet.plugins.plugin_utils.progress import Progress


class SendError(Exception):
    """A file did not come to the host; the text says which and why."""


def send(
    action: ActionBase,
    variables: Mapping[str, Any],
    *,
    source: str,
    target: str,
    files: Sequence[Mapping[str, Any]],
    what: str,
    verify: bool,
) -> int:
    """Has the files below a folder of the host; the bytes that were sent, 0 where all were there. Raises SendError.

    source: the bundle's folder here. files: {"path" (below target), "source" (below the bundle), "size", "sha256"}. verify:
    whether the host hashes what came, for whoever does not do so later. What a run before has sent stays.
    """
    host = str(variables.get("inventory_hostname"))
    missing = _look(action, variables, target, files, verify)
    total = sum(int(file["size"]) for file in files)
    done = total - sum(int(file["size"]) for file in missing)
    progress, sent = Progress(host, what), 0
    for file in missing:
        local = os.path.join(source, file["source"])
        progress.update(done + sent, total, "from the bundle")
        if not os.path.isfile(local) or os.path.getsize(local) != file["size"]:
            raise SendError(
                f"{local} is not there, or not of {file['size']} bytes: see `sglang-fleet bundle --check`, and make it anew"
            )
        try:
            action._connection.put_file(local, os.path.join(target, f"{file['path']}.part"))  # as _transfer_file does
        except AnsibleError as error:
            raise SendError(f"{local} could not be sent to {target}: {str(error).splitlines()[0]}") from error
        sent += int(file["size"])
    progress.update(done + sent, total, "from the bundle")
    if missing:
        left = _look(action, variables, target, files, verify)
        if left:
            raise SendError(
                f"{left[0]['path']} is not on the host as it is in the bundle (SHA-256 {left[0]['sha256']}), although it was"
                " sent: see `sglang-fleet bundle --check`, and run again"
            )
    return sent


def _look(
    action: ActionBase, variables: Mapping[str, Any], target: str, files: Sequence[Mapping[str, Any]], verify: bool
) -> list[Mapping[str, Any]]:
    """The files that the host lacks. Its folder is made, for the connection's user to write into."""
    # Not through sudo: the file comes as this user.
    uid = str(action._low_level_execute_command("id -u", sudoable=False).get("stdout", "")).strip().splitlines()
    arguments = {
        "folder": target,
        "files": [{key: file[key] for key in ("path", "size", "sha256")} for file in files],
        "owner": int(uid[-1]) if uid and uid[-1].isdecimal() else 0,
        "verify": verify,
    }
    answer = action._execute_module("sglang.fleet.bundle_files", module_args=arguments, task_vars=dict(variables))
    if answer.get("failed"):
        raise SendError(str(answer.get("msg") or answer.get("module_stderr") or "bundle_files failed"))
    lacking = set(answer["missing"])
    return [file for file in files if file["path"] in lacking]
