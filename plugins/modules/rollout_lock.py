#!/usr/bin/python
# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_lock
short_description: Keep two operators from rolling out on one fleet at once
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - The lock is a file on one node that every operator's controller asks. Whoever holds it renews it; a holder that has not
    done so for O(stale_seconds), by the node's own clock, is dead, and the next one takes its place.
  - C(sglang-fleet rollout) uses it. Somebody else's lock is no failure of the module, but an RV(outcome).
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    description: There is nothing in it for an operator to review.
  facts:
    support: none
    description: Returns no facts.
extends_documentation_fragment:
  - sglang.fleet.attributes
options:
  action:
    description:
      - V(take) takes it where nobody else holds it. V(renew) is a heartbeat. V(release) lets go of it. V(look) only says who
        holds it.
    type: str
    choices: [take, renew, release, look]
    required: true
  holder:
    description: Who asks, as user@controller.
    type: str
  rollout_id:
    description: For which rollout.
    type: str
  pid:
    description: The process on the controller.
    type: int
  stale_seconds:
    description: Seconds without a heartbeat after which a holder is dead.
    type: float
    default: 90.0
  dead:
    description:
      - C(holder), C(rollout_id) and C(pid) of a process that is known to be gone, and whose lock is taken over at once. The
        lock of any other stays.
    type: dict
  path:
    description: The lock's file.
    type: path
    default: /var/lib/sglang-fleet/rollout.lock
"""

EXAMPLES = r"""
- name: Take the lock
  sglang.fleet.rollout_lock:
    action: take
    holder: ada@controller-01
    rollout_id: 20260114-093000-1f2e
    pid: 4711
  register: lock
  failed_when: lock.outcome != 'taken'
"""

RETURN = r"""
outcome:
  description:
    - V(taken), V(renewed) or V(released); V(refused), somebody else holds it; V(lost), it is not the asker's any more; V(free)
      or V(held), when only looked at.
  returned: success
  type: str
lock:
  description: What is in the file, or was released; null where nobody holds it.
  returned: success
  type: dict
  contains:
    holder: {description: Who holds it., type: str}
    rollout_id: {description: For which rollout., type: str}
    pid: {description: The process on the holder's controller., type: int}
    started_at: {description: "When it was taken, in seconds since the epoch by the node's clock.", type: float}
    heartbeat_at: {description: When it was last renewed., type: float}
age:
  description: Seconds since the last heartbeat.
  returned: success
  type: float
stale:
  description: Whether the holder is dead.
  returned: success
  type: bool
replaced:
  description: The dead holder's lock that was taken over.
  returned: success
  type: dict
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.sglang.fleet.plugins.module_utils import _rollout_lock


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "action": {"type": "str", "choices": ["take", "renew", "release", "look"], "required": True},
            "holder": {"type": "str"},
            "rollout_id": {"type": "str"},
            "pid": {"type": "int"},
            "stale_seconds": {"type": "float", "default": 90.0},
            "dead": {"type": "dict"},
            "path": {"type": "path", "default": _rollout_lock.PATH},
        },
        required_if=[("action", action, ("holder", "rollout_id", "pid")) for action in ("take", "renew", "release")],
        supports_check_mode=True,
    )
    p = module.params
    now = time.time()
    if p["dead"] is not None and set(p["dead"]) != {"holder", "rollout_id", "pid"}:
        module.fail_json(
            msg=f"dead has {', '.join(sorted(p['dead'])) or 'nothing'}: it needs holder, rollout_id and pid"
        )
    me = {"holder": p["holder"], "rollout_id": p["rollout_id"], "pid": p["pid"], "now": now, "path": p["path"]}
    try:
        if p["action"] == "look" or module.check_mode:
            answer = _rollout_lock.look(now, p["path"])
        elif p["action"] == "take":
            answer = _rollout_lock.take(stale=p["stale_seconds"], dead=p["dead"], **me)
        elif p["action"] == "renew":
            answer = _rollout_lock.renew(**me)
        else:
            answer = _rollout_lock.release(**me)
    except _rollout_lock.LockError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"the rollout's lock {p['path']} cannot be used: {error}; run with become (ansible_become true)"
        )
    stale = answer.lock is not None and _rollout_lock.is_stale(answer.lock, now, p["stale_seconds"])
    changed = answer.outcome in ("taken", "renewed", "released")
    module.exit_json(changed=changed, stale=stale, **answer._asdict())


if __name__ == "__main__":
    main()
