#!/usr/bin/python
# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: host_packages
short_description: Have packages from a vendor's repository on a host, all of them or none
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Trusts a repository's key only when its fingerprint is one that was named, adds the repository and its pin, looks up
    versions, sees that the disk has room, downloads, installs, holds, and records what it did.
  - Whatever fails before the installation itself leaves packages, holds and repositories as they were.
  - A host that is as it should be is found to be so without a network and in one call.
  - What was installed is recorded in C(/var/lib/sglang-fleet/installed.json) under O(owner); O(state=absent) takes away
    what is recorded there, but for packages that others have come to need.
attributes:
  check_mode:
    support: full
    description: Asks the host only, not its repositories. Versions are therefore not known.
  diff_mode:
    support: full
extends_documentation_fragment:
  - sglang.fleet.attributes.no_facts
  - sglang.fleet.attributes
options:
  owner:
    description: The role, under whose name the record has what was done.
    type: str
    required: true
  state:
    description: V(absent) undoes what the record says.
    type: str
    choices: [present, absent]
    default: present
  repositories:
    description: Vendors' repositories. One that the host's own sources have already is left to them.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the files that are written.
        type: str
        required: true
      url:
        description: Address, without a user or a password; apt has those in C(/etc/apt/auth.conf.d/).
        type: str
        required: true
      suite:
        description: The suite, V(/) for a flat repository. Not used by dnf.
        type: str
        default: /
      signs:
        description:
          - What of a repository of rpms its vendor signs, and dnf is therefore to check. Not used by apt, whose repositories
            are signed by their metadata.
        type: str
        choices: [packages, metadata, both]
        default: packages
      components:
        description: Components of the suite.
        type: list
        elements: str
        default: []
      architectures:
        description: Debian's names of architectures; the host's own where none is named.
        type: list
        elements: str
        default: []
      key_url:
        description: Where the key is. Empty for a repository that apt trusts already, as it does the distribution's own.
        type: str
        required: true
      key_fingerprints:
        description: Every primary key of the key file must have one of these.
        type: list
        elements: str
        required: true
      pin:
        description: Priority of everything in the repository.
        type: int
      pin_by:
        description: "What the pin goes by, such as C(release o=repo.radeon.com); by default the repository's host."
        type: str
        default: ''
      pins:
        description: Further pins, of packages to versions.
        type: list
        elements: dict
        default: []
        suboptions:
          packages:
            description: Names or globs, separated by spaces.
            type: str
            required: true
          version:
            description: Version or glob.
            type: str
            required: true
          priority:
            description: Priority.
            type: int
            required: true
  packages:
    description:
      - "Names, or mappings with C(name), C(version) (a glob over the versions that are offered) and C(group): packages of
        one group get one upstream version, the highest that all of them are offered in."
    type: list
    elements: raw
    default: []
  hold:
    description: Packages that nothing else may upgrade.
    type: list
    elements: str
    default: []
  remove:
    description: Packages to take out in the same transaction.
    type: list
    elements: str
    default: []
  may_remove:
    description: Globs of packages that may go where apt has to take them out. Any other is a failure.
    type: list
    elements: str
    default: []
  upgrade:
    description: Whether a package without a version moves to the newest.
    type: bool
    default: false
  downgrade:
    description: Whether an older version than the installed one may be installed.
    type: bool
    default: false
  keep_configuration:
    description:
      - "With O(state=absent): packages that are removed and not purged, for purging would take data with it, as
        Debian's C(docker.io) does with C(/var/lib/docker)."
    type: list
    elements: str
    default: []
  recommends:
    description: Whether recommended packages are installed too.
    type: bool
    default: false
  cache_valid_seconds:
    description: How old the lists of the host's own sources may be.
    type: int
    default: 3600
"""

EXAMPLES = r"""
- name: Install Docker from its own repository
  sglang.fleet.host_packages:
    owner: container_engine
    repositories:
      - name: docker
        url: https://download.docker.com/linux/debian
        suite: bookworm
        components: [stable]
        key_url: https://download.docker.com/linux/debian/gpg
        key_fingerprints: [9DC858229FC7DD38854AE2D88D81803C0EBFCD88]
    packages: [docker-ce, docker-ce-cli, containerd.io]

- name: Take it away again
  sglang.fleet.host_packages:
    owner: container_engine
    state: absent
"""

RETURN = r"""
installed:
  description: Versions of the packages that were installed, upgraded or downgraded, by name; empty versions in check mode.
  returned: success
  type: dict
removed:
  description: Packages that were removed.
  returned: success
  type: list
  elements: str
kept:
  description: "With O(state=absent): packages that stay, each with those that need it."
  returned: success
  type: dict
files:
  description: Files that were written or removed.
  returned: success
  type: list
  elements: str
held:
  description: Packages that were put on hold or, with O(state=absent), released.
  returned: success
  type: list
  elements: str
"""

import os
import urllib.error
from collections.abc import Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url

from ansible_collections.sglang.fleet.plugins.module_utils._installed import RecordError
from ansible_collections.sglang.fleet.plugins.module_utils._openpgp import KeyFileError
from ansible_collections.sglang.fleet.plugins.module_utils._package_manager import Manager
from ansible_collections.sglang.fleet.plugins.module_utils._packages import (
    PackageError,
    explain,
    masked,
)
from ansible_collections.sglang.fleet.plugins.module_utils._packages_apt import Apt
from ansible_collections.sglang.fleet.plugins.module_utils._packages_dnf import Dnf

ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "NEEDRESTART_MODE": "l",  # Ubuntu's needrestart must not restart Docker, and servers with it
    "APT_LISTCHANGES_FRONTEND": "none",
}


def fetch_key(url: str, proxy: str) -> bytes:
    if proxy:
        os.environ.setdefault(f"{url.split(':', 1)[0]}_proxy", proxy)
    try:
        return bytes(open_url(url, timeout=30, http_agent="sglang.fleet").read())
    except urllib.error.HTTPError as error:
        raise PackageError(explain(f"{url}  {error.code}  {error.reason}")) from error
    except Exception as error:
        raise PackageError(
            f"the key {url} cannot be fetched ({error}): the repository does not answer. Check its address, the host's way"
            f" out and its proxy ({proxy or 'none in the configuration of the package manager'}), or name a mirror"
        ) from error


def arguments() -> dict[str, Any]:
    strings = {"type": "list", "elements": "str", "default": []}
    pins = {"packages": {"type": "str", "required": True}, "version": {"type": "str", "required": True}}
    repository = {
        "name": {"type": "str", "required": True},
        "url": {"type": "str", "required": True},
        "suite": {"type": "str", "default": "/"},
        "signs": {"type": "str", "choices": ["packages", "metadata", "both"], "default": "packages"},
        "components": strings,
        "architectures": strings,
        "key_url": {"type": "str", "required": True, "no_log": False},
        "key_fingerprints": {"type": "list", "elements": "str", "required": True, "no_log": False},
        "pin": {"type": "int"},
        "pin_by": {"type": "str", "default": ""},
        "pins": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {**pins, "priority": {"type": "int", "required": True}},
        },
    }
    return {
        "owner": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "repositories": {"type": "list", "elements": "dict", "default": [], "options": repository},
        "packages": {"type": "list", "elements": "raw", "default": []},
        "hold": strings,
        "remove": strings,
        "keep_configuration": strings,
        "may_remove": strings,
        "upgrade": {"type": "bool", "default": False},
        "downgrade": {"type": "bool", "default": False},
        "recommends": {"type": "bool", "default": False},
        "cache_valid_seconds": {"type": "int", "default": 3600},
    }


def main() -> None:
    module = AnsibleModule(argument_spec=arguments(), supports_check_mode=True)
    kind: type[Manager]
    if module.get_bin_path("apt-get"):
        kind = Apt
    elif module.get_bin_path("dnf"):
        kind = Dnf
    else:
        module.fail_json(
            msg="this host has neither apt-get nor dnf; the collection installs packages with those two only"
        )

    def run(command: Sequence[str]) -> tuple[int, str, str]:
        code, out, err = module.run_command(list(command), environ_update=ENVIRONMENT)
        return code, out, err

    try:
        manager = kind(module.params, run, fetch_key, check_mode=module.check_mode)
        result = manager.present() if module.params["state"] == "present" else manager.absent()
    except (PackageError, KeyFileError, RecordError, OSError) as error:
        module.fail_json(msg=masked(str(error)))
    module.exit_json(**{"kept": {}, **result})


if __name__ == "__main__":
    main()
