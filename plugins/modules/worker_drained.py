#!/usr/bin/python
# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: worker_drained
short_description: Wait until a server has no request left
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Asks the server itself, on its own node, so that requests count that came past the gateway.
  - Three looks in a row, a second apart, have to find none, since a request that has just come in is not counted yet.
  - A server that does not answer at all has none.
  - An action plugin has the module look for a few seconds at a time, and tells in between how many requests are left, as
    M(sglang.fleet.rollout_stage) tells stages.
options:
  address:
    description: Address that the server binds.
    type: str
    required: true
  port:
    description: Port that it binds.
    type: int
    required: true
  instance:
    description: Name of the server's instance, for what is told.
    type: str
  api_key:
    description: The server's API key.
    type: str
  seconds:
    description: How long to wait.
    type: int
    default: 600
extends_documentation_fragment:
  - sglang.fleet.attributes.read_only
  - sglang.fleet.attributes
attributes:
  facts:
    support: none
    description: Returns no facts.
"""

EXAMPLES = r"""
- name: Wait for the last request
  sglang.fleet.worker_drained:
    address: 127.0.0.1
    port: 30000
    seconds: 600
"""

RETURN = r"""
drained:
  description: Whether it has none.
  returned: always
  type: bool
requests:
  description: What the server ran or had waiting at the last look; null where it did not answer.
  returned: always
  type: int
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.sglang.fleet.plugins.module_utils import _gateway

PATHS = ("/v1/loads", "/get_load")


class UnreadableError(Exception):
    """The server answers and does not tell its load."""


def requests_of(url: str, key: str) -> int | None:
    """Requests that the server has; None where nothing answers."""
    said = ""
    for path in PATHS:
        status, body = _gateway.ask(url, path, key)
        if status == 0:
            return None
        if status == 200:
            try:
                return _gateway.running(body)
            except (ValueError, KeyError, TypeError):
                pass  # another version's; the next path may be this one's
        said = f"{path} answered {status} ({body[:120]})"
        if status == 401:
            break
    raise UnreadableError(f"{url} does not tell its load: {said}. Is this inventory's fleet_api_key the server's?")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "instance": {"type": "str"},
            "api_key": {"type": "str", "no_log": True},
            "seconds": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    p = module.params
    url = _gateway.url_of(p["address"], p["port"])
    looks: list[Any] = []

    def none_thrice() -> bool:
        looks.append(requests_of(url, p["api_key"] or ""))
        return looks[-1] is None or looks[-3:] == [0, 0, 0]

    try:
        drained = _gateway.wait(none_thrice, p["seconds"], every=1)
    except UnreadableError as error:
        module.fail_json(msg=str(error), drained=False, requests=None)
    # What to make of requests that are left is for the action plugin, which knows how long they have had in all.
    module.exit_json(changed=False, drained=drained, requests=looks[-1], url=url)


if __name__ == "__main__":
    main()
