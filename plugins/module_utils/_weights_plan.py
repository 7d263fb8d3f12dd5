# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who fetches the weights from where, so that the source gives each byte once for the hosts of a run. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils._progress import size_text

#: A filesystem needs some room beside the files' bytes.
_ROOM = 1.01

#: Beginnings of the types of filesystems that several hosts may mount.
_NETWORK = (
    "nfs",
    "lustre",
    "ceph",
    "fuse.ceph",
    "beegfs",
    "gpfs",
    "glusterfs",
    "fuse.glusterfs",
    "cifs",
    "smb",
    "wekafs",
    "fuse.juicefs",
)

Facts = Mapping[str, Any]


def is_complete(facts: Facts) -> bool:
    """Whether every locked file is there and verified."""
    return not (facts["missing"] or facts["unverified"] or facts["damaged"])


def space_problem(facts: Facts) -> str:
    """Why the weights do not fit on the disk; empty where they do."""
    needed = int(facts["bytes_needed"] * _ROOM)
    free = facts["bytes_free"]
    if needed <= free:
        return ""
    where = facts["filesystem"]
    others = f" Other weights take {size_text(facts['bytes_other'])} of it." if facts.get("bytes_other") else ""
    return (
        f"the weights of {facts['repository']} ({size_text(facts['bytes'])}) need {size_text(needed)} more in "
        f"{facts['directory']}, and {size_text(free)} are free there ({where['type']} {where['source']} at {where['mount']})."
        f"{others} Free {size_text(needed - free)}, or set fleet_weights_dir to a folder on a larger disk. Nothing was fetched."
    )


def shared_with(host: str, hosts: Mapping[str, Facts]) -> list[str]:
    """The hosts, itself included and sorted, whose folder of weights is the same one: each sees the other's mark in it.

    One sight alone does not count: the copy of a disk carries marks, too.
    """

    def sees(one: str, other: str) -> bool:
        mark = (hosts[other].get("marks") or {}).get(other)
        return mark is not None and (hosts[one].get("marks") or {}).get(other) == mark

    return sorted(other for other in hosts if other == host or (sees(host, other) and sees(other, host)))


def _same_work(host: str, hosts: Mapping[str, Facts]) -> dict[str, Facts]:
    """The hosts that want the very same files and could take part."""
    own = hosts[host]
    return {
        name: facts
        for name, facts in hosts.items()
        if (facts["repository"], facts["revision"]) == (own["repository"], own["revision"]) and not space_problem(facts)
    }


def _order(item: tuple[str, Facts]) -> tuple[int, str]:
    return item[1]["bytes_to_fetch"], item[0]


def _roles(group: Mapping[str, Facts]) -> dict[str, str]:
    """seed | peer | serve | none of the hosts that share with one another; each of them downloads for itself."""
    due = {name: facts for name, facts in group.items() if not is_complete(facts)}
    # A folder of the host's own is nearer than any other host.
    alone = {name for name, facts in due.items() if facts["offer"]["source"] == "folder"}
    takers = {name: facts for name, facts in due.items() if name not in alone}
    roles = {name: "seed" if name in alone else "peer" for name in due}
    givers = [name for name in group if name not in due]
    roles.update(dict.fromkeys(givers, "serve" if takers else "none"))
    if takers and not givers and not alone:
        roles[min(takers.items(), key=_order)[0]] = "seed"
    return roles


def decide(host: str, hosts: Mapping[str, Facts]) -> dict[str, Any]:
    """What one host does. Every host of the run comes to fitting decisions from the same facts.

    hosts: `fleet_weights` of every host of the run, its marks (`marks`) among it. Result: {role: none | seed | peer | serve |
    shared, with: who downloads into the shared folder, peers: [{host, url}], rank: order in which peers take over a seed's
    part, fallback: whether it may ask the source once the others have nothing, serves: whether it passes on, needed: paths}.
    """
    own = hosts[host]
    result: dict[str, Any] = {"role": "none", "with": "", "peers": [], "rank": 0, "fallback": False, "serves": False}
    result["needed"] = sorted([*own["missing"], *(entry["path"] for entry in own["damaged"])])
    same = _same_work(host, hosts)
    if host not in same:
        return result
    # Of hosts with one folder, one stands for all.
    speaker = {name: min((n for n in shared_with(name, same)), key=lambda n: _order((n, same[n]))) for name in same}
    if speaker[host] != host:
        return result if is_complete(own) else {**result, "role": "shared", "with": speaker[host]}
    if not own["offer"]["share"]:
        return result if is_complete(own) else {**result, "role": "seed"}
    group = {name: facts for name, facts in same.items() if speaker[name] == name and facts["offer"]["share"]}
    roles = _roles(group)
    role = roles[host]
    active = sorted(name for name, part in roles.items() if part != "none")
    others = [name for name in active if name != host]
    takers = [name for name in others if roles[name] == "peer"]
    asks = own["offer"]["source"] in ("hub", "http")
    return {
        **result,
        "role": role,
        # A host with a folder of its own asks nobody.
        "peers": [
            {"host": name, "url": group[name]["offer"]["url"]}
            for name in others
            if role in ("seed", "peer") and own["offer"]["source"] != "folder"
        ],
        "rank": sorted(name for name in active if roles[name] == "peer").index(host) + 1 if role == "peer" else 0,
        "fallback": asks and role == "peer",
        "serves": role != "none" and bool(takers),
    }


def bad_files(facts: Facts) -> list[str]:
    """A line for each file that is not what the lock says, for the operator."""
    return [f"{entry['path']}: {entry['reason']}" for entry in facts["damaged"]]


def wrong_files(facts: Facts) -> list[str]:
    """A line for each file that is missing, damaged or not verified."""
    return [f"{path}: missing" for path in facts["missing"]] + [
        f"{entry['path']}: {entry['reason']}" for entry in [*facts["damaged"], *facts["unverified"]]
    ]


def what_next(decision: Mapping[str, Any], facts: Facts, source: str, unmarked: bool = False) -> str:
    """What the host is about to do, in a line. unmarked: no host has left its mark, so that a shared folder is not known."""
    count, needed = len(decision["needed"]), size_text(facts["bytes_to_fetch"])
    hashing = len(facts["unverified"])
    parts: list[str] = []
    if count:
        origin = "the other hosts of the run" if decision["role"] == "peer" else source
        parts.append(f"fetch {count} of {facts['files']} files ({needed}) from {origin}")
        if unmarked and decision["peers"] and facts["filesystem"]["type"].startswith(_NETWORK):
            parts[-1] += f", or wait for a host that shares the folder ({facts['filesystem']['type']})"
    if hashing:
        parts.append(f"hash {hashing} files that are here")
    text = " and ".join(parts)
    return {
        "none": "nothing to do",
        "serve": "pass the weights on to the other hosts of the run",
        "shared": f"wait for {decision['with']}, which fetches into the same folder",
    }.get(decision["role"], text or "nothing to do")


def summary(results: Sequence[Mapping[str, Any]]) -> str:
    """What came from where, over all hosts: a line for the end of the run; empty where nothing came.

    results: what the watching task returned for each host; a skipped one has no `progress`.
    """
    told = [result["progress"] for result in results if result.get("progress")]
    words = {"from_hub": "from the hub", "from_source": "from the source", "from_peers": "from one another"}
    totals = {name: sum(int(progress.get(name, 0)) for progress in told) for name in words}
    parts = [f"{size_text(count)} ({count} bytes) {words[name]}" for name, count in totals.items() if count]
    hosts = "1 host" if len(told) == 1 else f"{len(told)} hosts"
    return f"weights for {hosts}: {', '.join(parts)}; every file verified" if parts else ""
