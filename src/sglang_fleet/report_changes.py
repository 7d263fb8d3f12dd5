# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is new in a run against the one before it, host by host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sglang_fleet.report_run import accuracy_records, figure, lengths, record_name, speed_records, unit_of

#: A share by which a figure has to move before it is told: runs of one server differ by some percent.
MOVED = 0.05
#: Of bench_serving's line, those that are told.
_WATCHED = ("output_throughput", "median_ttft_ms", "p99_ttft_ms", "median_tpot_ms")


def fleet_changes(previous: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    """The hosts that are new in the run, and those that are not in it any more."""
    before = [host["host"] for host in previous["hosts"]]
    now = [host["host"] for host in run["hosts"]]
    told = []
    if new := [name for name in now if name not in before]:
        told.append(f"not in the previous run: {', '.join(new)}")
    if gone := [name for name in before if name not in now]:
        told.append(f"not in this run any more: {', '.join(gone)}")
    return told


def host_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two runs of one host: status, plan, image, driver, gates, and figures by MOVED or more."""
    return [*_facts(before, now), *_gates(before, now), *_speed(before, now), *_accuracy(before, now)]


def _facts(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    old, new = _named(before), _named(now)
    for name, value in new.items():
        # What only one of the runs knows, as without a benchmark no driver, did not change.
        if value is not None and old[name] is not None and value != old[name]:
            yield f"{name}: {old[name]} → {value}"


def _named(host: Mapping[str, Any]) -> dict[str, str | None]:
    plan: Mapping[str, Any] = host["plan"] or {}
    image = plan.get("image", {})
    record: Mapping[str, Any] = next(iter(host["benchmarks"]), {})
    driver = record.get("driver") or {}
    first: Mapping[str, Any] = next(iter(plan.get("instances", [])), {})
    return {
        "status": host["status"],
        "model": plan.get("model"),
        "GPUs": f"{plan['count']} × {plan['gpu']}" if plan else None,
        "layout": plan.get("layout"),
        "parallelism": f"tp {first['tp']}, ep {first['ep']}" if first else None,
        "image": image.get("reference"),
        "image digest": record.get("image", {}).get("digest") or image.get("digest"),
        "SGLang": image.get("sglang_version"),
        "driver": f"{driver.get('name')} {driver['version']}" if driver.get("version") else None,
        "KV cache": f"{first['fit']['kv_tokens']:,} tokens" if first else None,
    }


def _gates(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    def passed(host: Mapping[str, Any]) -> dict[str, bool]:
        found: dict[str, bool] = {}
        for gate in host["gates"]:  # of several servers all have to pass
            found[gate["gate"]] = found.get(gate["gate"], True) and gate["passed"]
        return found

    old, new = passed(before), passed(now)
    for name, good in new.items():
        if name not in old:
            yield f"gate {name}: was not run before"
        elif good != old[name]:
            yield f"gate {name}: {'passes now' if good else 'fails now'}"
    gone = [name for name in old if name not in new]
    if gone:
        yield f"{'gates' if len(gone) > 1 else 'gate'} {', '.join(gone)}: not run this time"


def _speed(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    old = {_key(record): record for record in speed_records(before)}
    new = speed_records(now)
    several = len({record["instance"] for record in new}) > 1
    for record in new:
        then = old.get(_key(record))
        if then is None or then["model"] != record["model"]:
            continue
        of = f", instance {record['instance']}" if several else ""
        for metric in _WATCHED:
            one, other = then["metrics"].get(metric), record["metrics"].get(metric)
            if one and other and abs(other / one - 1) >= MOVED:
                yield (
                    f"{record_name(record)}{of}: {metric} {figure(one)} → {figure(other)} {unit_of(metric)} "
                    f"({(other / one - 1) * 100:+.0f} %)"
                )


def _key(record: Mapping[str, Any]) -> tuple[Any, ...]:
    settings = record["settings"]
    return (
        record["instance"],
        record["profile"],
        *lengths(record),
        settings.get("max_concurrency"),
        settings.get("num_prompts"),
    )


def _accuracy(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Any difference of the share that is right: a model's answers change little from run to run."""
    old = {(record["instance"], record["benchmark"], record["model"]): record for record in accuracy_records(before)}
    for record in accuracy_records(now):
        then = old.get((record["instance"], record["benchmark"], record["model"]))
        for way, counted in record["metrics"].items():
            one = then["metrics"].get(way, {}).get("accuracy") if then else None
            other = counted.get("accuracy")
            if one is not None and other is not None and one != other:
                yield f"{record['benchmark']} {way}: {figure(one)} → {figure(other)} % right"
