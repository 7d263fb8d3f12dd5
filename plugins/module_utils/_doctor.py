# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with a node: a snapshot of it in, findings out. Pure.

The snapshot is _doctor_probe's. Each check looks at one thing and is silent where the snapshot does not tell.
"""

from __future__ import annotations

import typing as t
from dataclasses import asdict

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import Catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._doctor_common import ERROR, WARN, Finding, Known, Snapshot
from ansible_collections.sglang.fleet.plugins.module_utils._doctor_disk import DISK_CHECKS_KNOWING
from ansible_collections.sglang.fleet.plugins.module_utils._doctor_driver import DRIVER_CHECKS, DRIVER_CHECKS_KNOWING
from ansible_collections.sglang.fleet.plugins.module_utils._doctor_gpu import GPU_CHECKS
from ansible_collections.sglang.fleet.plugins.module_utils._doctor_server import SERVER_CHECKS, SERVER_CHECKS_KNOWING

_WEIGHT: t.Final = {ERROR: 0, WARN: 1}


def diagnose(
    snapshot: Snapshot,
    catalogue: Catalogue,
    plan: t.Mapping[str, t.Any] | None = None,
    refused: str | None = None,
) -> list[dict[str, str]]:
    """The findings, the errors first.

    plan: ``fleet_plan``, None where nobody planned: then only what was applied on the node is judged. refused: why there
    is no plan.
    """
    known = Known(catalogue, plan)
    checks = (*DRIVER_CHECKS, *GPU_CHECKS, *SERVER_CHECKS)
    knowing = (*DRIVER_CHECKS_KNOWING, *SERVER_CHECKS_KNOWING, *DISK_CHECKS_KNOWING)
    found = [finding for check in checks for finding in check(snapshot)]
    found += [finding for check in knowing for finding in check(snapshot, known)]
    gpu = snapshot["gpu"]
    # Without GPUs, or with problems of theirs, a plan is refused for what is said already.
    if refused and gpu["count"] and not gpu["problems"]:
        found.append(
            Finding(
                "no-plan",
                ERROR,
                "there is no plan for this node",
                refused,
                "change the inventory as the message says; `sglang-fleet plan -i INVENTORY` shows the plan",
            )
        )
    return [asdict(finding) for finding in sorted(found, key=lambda finding: _WEIGHT[finding.severity])]


def finding_lines(findings: t.Sequence[t.Mapping[str, str]]) -> list[str]:
    """Findings in a line each, for a terminal."""
    if not findings:
        return ["healthy"]
    return [
        f"{item['severity']} {item['id']}: {item['what']} ({item['evidence']}); {item['remedy']}" for item in findings
    ]
