#!/usr/bin/python
# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_worker
short_description: Take servers out of a gateway's traffic and put them back
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Runs on the gateway's host, which the role P(sglang.fleet.sglang_gateway#role) has set up. With several gateways run it on each.
  - What is taken out stays out, also when the gateway is started anew, until it is put back. Requests that the server has in
    flight come to their end.
  - Without O(state) it only looks.
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    description: The result names the servers; there is no text to compare.
  facts:
    support: none
    description: Returns no facts.
extends_documentation_fragment:
  - sglang.fleet.attributes
options:
  workers:
    description: URLs of the servers, as the gateway is configured with them.
    type: list
    elements: str
    default: []
  state:
    description: V(out) takes them out, V(in) puts them back.
    type: str
    choices: [in, out]
  reason:
    description: Why they are out, for whoever looks. Theirs who took them out first stays.
    type: str
    default: taken out by gateway_worker
  at_least:
    description: How many healthy servers the gateway has to keep; fewer refuse O(state=out).
    type: int
    default: 0
  seconds:
    description: How long the gateway may take to do it, its own start included.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Take a server out, whose requests sglang.fleet.worker_drained then waits for
  sglang.fleet.gateway_worker:
    workers: [http://10.0.0.11:30000]
    state: out
    reason: rollout 2026-11-22

- name: See what the gateway has
  sglang.fleet.gateway_worker:
  register: gateway
"""

RETURN = r"""
workers:
  description: The servers that the gateway has or should have, in the order of their URLs.
  returned: success
  type: list
  elements: dict
  contains:
    url: {description: The server., type: str, sample: "http://10.0.0.11:30000"}
    host: {description: Its host's name; empty where the gateway is not configured with it., type: str, sample: gpu-11}
    instance: {description: Its instance's name., type: str, sample: "0"}
    registered: {description: Whether it can get requests., type: bool}
    healthy: {description: Whether the gateway finds it healthy., type: bool}
    in_flight:
      description:
        - The gateway's requests to it that are not at their end. The gateway sets its count to 0 when it lets go of a server, so
          that it means nothing for one that is out.
      type: int
    out: {description: Why it is out; empty where it is not., type: str}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.sglang.fleet.plugins.module_utils import _gateway
from ansible_collections.sglang.fleet.plugins.module_utils._gateway import Gateway, GatewayError


def gateway_of_host() -> Gateway:
    """The gateway by its files on this host."""
    config = _gateway.read_json(_gateway.CONFIG, None)
    if config is None:
        raise GatewayError(f"{_gateway.CONFIG} is not there: this host has no gateway. Run playbooks/gateway.yml")
    with open(_gateway.ADMIN_KEY, encoding="utf-8") as handle:
        return Gateway(config, handle.read().strip())


def list_of(gateway: Gateway, out: dict[str, str]) -> list[dict[str, Any]]:
    """The result's workers."""
    has, in_flight = gateway.workers(), gateway.active()
    configured = {worker["url"]: worker for worker in gateway.config["workers"]}
    return [
        {
            "url": url,
            "host": configured.get(url, {}).get("host", ""),
            "instance": configured.get(url, {}).get("instance", ""),
            "registered": url in has,
            "healthy": url in has and has[url].healthy,
            "in_flight": in_flight.get(url, 0),
            "out": out.get(url, ""),
        }
        for url in sorted({*configured, *has})
    ]


def unknown(gateway: Gateway, urls: list[str]) -> list[str]:
    return [url for url in urls if url not in gateway.wanted]


def lacking(gateway: Gateway, urls: list[str], state: str) -> list[str]:
    """The servers that are not as wanted yet: `in` wants them found healthy, too."""
    has = gateway.workers()
    if state == "out":
        return [url for url in urls if url in has]
    return [url for url in urls if url not in has or not has[url].healthy]


def bring(module: AnsibleModule, gateway: Gateway) -> tuple[bool, dict[str, str]]:
    """(changed, what is out) after the servers are where they should be."""
    p = module.params
    urls, state = p["workers"], p["state"]
    out = _gateway.read_json(_gateway.OUT, {})
    if state is None:
        return False, out
    with _gateway.alone():
        out = _gateway.read_json(_gateway.OUT, {})
        wanted = _gateway.taken_out(out, urls, p["reason"]) if state == "out" else _gateway.put_in(out, urls)
        late = lacking(gateway, urls, state)
        if state == "out":
            why = _gateway.stays_up(gateway.workers(), urls, p["at_least"])
            if why:
                raise GatewayError(why)
        if module.check_mode:
            return wanted != out or bool(late), wanted
        if wanted != out:
            _gateway.write_out(wanted)
        gateway.sync(wanted)

    # sglang-gateway-workers tries again every few seconds; this only looks.
    if late and not _gateway.wait(lambda: not lacking(gateway, urls, state), p["seconds"]):
        left = ", ".join(lacking(gateway, urls, state))
        raise GatewayError(
            f"the gateway did not take {left} {state} within {p['seconds']} s. `journalctl -u sglang-gateway` says why;"
            f" {'a server gets in when it answers /health' if state == 'in' else 'it may still get requests'}"
        )
    return wanted != out or bool(late), wanted


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "workers": {"type": "list", "elements": "str", "default": []},
            "state": {"type": "str", "choices": ["in", "out"]},
            "reason": {"type": "str", "default": "taken out by gateway_worker"},
            "at_least": {"type": "int", "default": 0},
            "seconds": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    p = module.params
    urls = p["workers"]
    try:
        gateway = gateway_of_host()
        strangers = unknown(gateway, urls)
        if strangers and p["state"] == "in":
            module.fail_json(
                msg=f"the gateway is not configured with {', '.join(strangers)}; it has {', '.join(gateway.wanted) or 'no server'}."
                " Run playbooks/gateway.yml after the fleet has changed. Nothing was changed"
            )
        # A gateway that starts anew is no reason to give up.
        if p["state"] and not _gateway.wait(lambda: answering(gateway), p["seconds"], every=1):
            gateway.workers()
        changed, out = bring(module, gateway)
        workers = list_of(gateway, out)
    except (GatewayError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed, workers=workers)


def answering(gateway: Gateway) -> bool:
    try:
        gateway.workers()
    except GatewayError:
        return False
    return True


if __name__ == "__main__":
    main()
