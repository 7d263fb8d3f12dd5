# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables, on a terminal of a width and off one."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import pytest

from sglang_fleet.fleet import FAILED, PLANNED, REFUSED, UNREACHABLE, FleetPlan, Host
from sglang_fleet.planning import plan_single
from sglang_fleet.tables import by_severity, console_for, show_fleet, show_plan

CASES: dict[str, dict[str, Any]] = {
    "one instance": {"gpu": "H200", "count": 8},
    "two, longest image": {"gpu": "MI300X", "count": 8, "wishes": {"layout": "2x2"}},
    "four instances": {"gpu": "MI300X", "count": 8, "wishes": {"layout": "4x2"}},
    "longest address": {"gpu": "MI300X", "count": 8, "wishes": {"layout": "4x2", "address": "192.168.100.100"}},
    "patched": {"gpu": "MI300X", "count": 4, "wishes": {"model": "M2.1"}},
    "idle GPU": {"gpu": "H200", "count": 3},
}
WIDTHS = (80, 120)


def shown(show: Callable[..., None], what: Any, width: int | None) -> list[str]:
    stream = io.StringIO()
    show(what, console_for(stream, width))
    return stream.getvalue().splitlines()


def planned(case: str) -> dict[str, Any]:
    wanted = CASES[case]
    return plan_single(wanted.get("wishes", {}), wanted["gpu"], wanted["count"]).plan


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("case", CASES)
def test_a_plan_fits_the_terminal_and_is_whole(case: str, width: int) -> None:
    plan = planned(case)
    lines = shown(show_plan, plan, width)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for instance in plan["instances"]:
        fit = instance["fit"]
        # One line each, however narrow: broken figures cannot be read.
        row = [line for line in lines if f"{instance['address']}:{instance['port']} " in line]
        assert len(row) == 1, lines
        numbers = [f"{fit['kv_tokens']:,}", f"{fit['max_context']:,}"]
        assert row[0].split()[3:7] == [str(instance["tp"]), str(instance["ep"]), *numbers]
    for reason in plan["reasons"]:
        assert reason in text
    for warning in plan["warnings"]:
        assert f"{warning['severity']} {warning['id']}: {warning['message']}" in text
        assert warning["url"] is None or warning["url"] in text
    assert plan["image"]["reference"] in text
    for patch in plan["patches"]:
        assert patch["name"] in text
    idle = [line.removeprefix("idle").strip() for line in lines if line.startswith("idle")]
    assert idle == {"idle GPU": ["GPU 2"], "two, longest image": ["GPUs 4 to 7"]}.get(case, [])


def test_figures_are_whole_where_there_is_no_room() -> None:
    plan = planned("longest address")
    for instance in plan["instances"]:
        instance.update(gpus=[0, 2, 4, 6], address="2001:db8:1234:5678:9abc:def0:1234:5678")
    fit = plan["instances"][0]["fit"]
    lines = shown(show_plan, plan, 80)
    assert max(map(len, lines)) <= 80
    rows = [line.split() for line in lines if " 0,2,4,6 " in line]
    figures = [f"{fit['kv_tokens']:,}", f"{fit['max_context']:,}", f"{fit['full_length_sequences']:,}"]
    assert [row[-3:] for row in rows] == [figures] * 4
    assert "…" not in "".join(lines)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("case", CASES)
def test_the_memory_bar_is_to_scale(case: str, width: int) -> None:
    plan = planned(case)
    fit = plan["instances"][0]["fit"]
    [row] = [line for line in shown(show_plan, plan, width) if re.fullmatch("[▒█▓░]+ *", line)]
    drawn = len(row.strip())
    for fill, part in (("█", "weights"), ("▓", "kv"), ("░", "headroom")):
        share = fit[f"{part}_gib_per_gpu"] / fit["memory_gib_per_gpu"]
        assert row.count(fill) / drawn == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("case", CASES)
def test_off_a_terminal_a_line_is_a_line(case: str) -> None:
    """For grep: nothing is wrapped, coloured or padded."""
    plan = planned(case)
    lines = shown(show_plan, plan, None)
    for reason in plan["reasons"]:
        assert f"- {reason}" in lines
    for warning in plan["warnings"]:
        link = f" {warning['url']}" if warning["url"] else ""
        assert f"- {warning['severity']} {warning['id']}: {warning['message']}{link}" in lines
    fit = plan["instances"][0]["fit"]
    [memory] = [line for line in lines if line.startswith("memory of a GPU: ")]
    total, *parts = [float(number) for number in re.findall(r"\d+\.\d", memory)]
    assert total == pytest.approx(fit["memory_gib_per_gpu"], abs=0.06)
    assert sum(parts) == pytest.approx(total, abs=0.3)
    assert not [line for line in lines if line != line.rstrip() or "\x1b" in line]


def test_the_weightiest_warning_is_first() -> None:
    severities = ["note", "warn", "override", "change", "warn"]
    found = by_severity({"severity": severity} for severity in severities)
    assert [warning["severity"] for warning in found] == ["override", "change", "warn", "warn", "note"]


def change(summary: str, action: str = "restart", problems: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"action": action, "instances": {}, "problems": list(problems), "summary": summary}


KEPT = {"action": "none", "reason": "NVIDIA 580.95.05 is left alone", "reboot_reasons": []}
DUE = {"action": "install", "reason": "there is no driver", "reboot_reasons": ["NVIDIA 580 is not loaded yet"]}


@pytest.fixture(scope="module")
def fleet() -> FleetPlan:
    hosts = [
        Host(
            "mi300x-01",
            PLANNED,
            planned("two, longest image"),
            change=change("restart: image v0.5.9-rocm720-mi30x→v0.5.10"),
        ),
        Host("h200-01", PLANNED, planned("one instance"), change=change("same", "none"), driver=KEPT),
        Host("h200-02", PLANNED, planned("one instance"), change=change("new", "start"), driver=DUE),
        Host("h100-01", REFUSED, error="MiniMax-M2.7 does not fit"),
        Host("h100-02", REFUSED, error="MiniMax-M2.7 does not fit"),
        Host("dark-01", UNREACHABLE, error="Connection timed out"),
        Host("odd-01", FAILED, error="no Python"),
    ]
    return FleetPlan({host.name: host for host in hosts})


@pytest.mark.parametrize("width", [80, 110, 160])
def test_a_fleet_fits_the_terminal_and_is_whole(fleet: FleetPlan, width: int) -> None:
    lines = shown(show_fleet, fleet, width)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for host in fleet.hosts.values():
        rows = [line for line in lines if line.startswith(host.name)]
        if host.status == PLANNED:
            assert host.plan
            assert len(rows) == 1
            for cell in (f"{host.plan['count']} x {host.plan['gpu']}", host.plan["model"], host.plan["layout"]):
                assert cell in rows[0]
            assert f"{host.plan['instances'][0]['fit']['kv_tokens']:,}" in rows[0]
            assert host.plan["image"]["reference"].partition(":")[2] in text
    # Wrapped where there is little room, so without the blanks.
    assert "restart:imagev0.5.9-rocm720-mi30x→v0.5.10" in "".join(text.split())
    assert "refused • h100-01, h100-02: MiniMax-M2.7 does not fit" in text
    assert "unreachable • dark-01: Connection timed out" in text
    assert "failed • odd-01: no Python" in text
    assert "drivers • h200-02: install: there is no driver; reboot: NVIDIA 580 is not loaded yet" in text
    assert "left alone" not in text, "a driver that stays is nothing to tell"
    assert "warn streaming-tool-calls: h200-01, h200-02, mi300x-01: " in text


def test_off_a_terminal_a_host_is_a_line(fleet: FleetPlan) -> None:
    lines = shown(show_fleet, fleet, None)
    [row] = [line for line in lines if line.startswith("mi300x-01")]
    assert row.endswith("v0.5.10.post1-rocm720-mi30x  restart: image v0.5.9-rocm720-mi30x→v0.5.10")
    assert [line.split()[0] for line in lines[:4]] == ["host", "h200-01", "h200-02", "mi300x-01"]


def test_advice_on_variables_is_told_once_for_all_hosts() -> None:
    hosts = [
        Host(
            f"h200-0{n}",
            PLANNED,
            planned("one instance"),
            change=change("same", "none"),
            advice=[f"10.0.0.{n} has no key"],
        )
        for n in (1, 2)
    ]
    one, both = FleetPlan({"h200-01": hosts[0]}), FleetPlan({host.name: host for host in hosts})
    assert "- warn inventory: h200-01: 10.0.0.1 has no key" in shown(show_fleet, one, None)
    assert "- warn inventory: h200-01, h200-02: … has no key" in shown(show_fleet, both, None)


def test_hosts_without_a_plan_stand_alone(fleet: FleetPlan) -> None:
    lines = shown(show_fleet, FleetPlan({"h100-01": fleet.hosts["h100-01"]}), None)
    assert lines == ["refused", "- h100-01: MiniMax-M2.7 does not fit"]
