# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollout comes to, whatever happens to hosts and to the controller."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("hypothesis")

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from ansible_collections.sglang.fleet.plugins.module_utils._waves import Node, WaveError, allowance, parse_size
from sglang_fleet import rollout_journal
from sglang_fleet.rollout import Engine, Job, Outcome
from sglang_fleet.rollout_journal import JOURNAL, Journal
from sglang_fleet.rollout_state import STAGES, Rollout
from tests.unit.sglang_fleet.rollout_standins import (
    Broken,
    Clock,
    Fate,
    Fleet,
    Killed,
    Mortal,
    engine,
    nodes,
    resumed,
    rolled,
    spec,
    stop_at,
)

set_hypothesis_home_dir(Path(tempfile.gettempdir(), "sglang-fleet-hypothesis"))

FAILS, UNDONE, GONE = Fate("fails"), Fate("undone"), Fate("unreachable")
STAYS_AWAY = Fate("unreachable", "out")


@pytest.fixture(autouse=True)
def _fast_disk() -> Iterator[None]:
    """That each entry is on the disk has a test of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollout_journal.os, "fsync", lambda _file: None)
        yield


def journal(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / JOURNAL).read_text().splitlines()]


# --- How it ends ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "forward", "back", "code", "versions", "out"),
    [
        pytest.param({}, {}, {}, 0, "nnnn", "", id="all is well"),
        pytest.param({}, {"n01": UNDONE}, {}, 2, "oooo", "", id="the canary fails and its playbook takes it back"),
        pytest.param({}, {"n01": FAILS}, {}, 2, "oooo", "", id="the canary fails"),
        pytest.param({}, {"n04": FAILS}, {}, 2, "oooo", "", id="the last wave fails: the waves before go back, too"),
        pytest.param({"on_failure": "hold"}, {"n04": FAILS}, {}, 3, "nnno", "", id="hold: what is new stays new"),
        pytest.param({"on_failure": "hold"}, {"n01": FAILS}, {}, 2, "oooo", "", id="hold, and nothing is new"),
        pytest.param({}, {"n02": GONE}, {"n02": STAYS_AWAY}, 4, "onoo", "n02", id="a host dies in mid-change"),
        pytest.param({}, {"n02": GONE}, {}, 2, "oooo", "", id="a line drops and comes back"),
        pytest.param(
            {},
            {"n02": STAYS_AWAY},
            {"n02": STAYS_AWAY},
            4,
            "oooo",
            "n02",
            id="a host that was not there in the first place",
        ),
        pytest.param({}, {"n02": FAILS}, {"n02": FAILS}, 3, "oooo", "n02", id="the old version does not come back"),
        pytest.param({"success": 50}, {"n03": FAILS}, {}, 3, "nnon", "", id="enough of its wave are well"),
        pytest.param(
            {"success": 50}, {"n03": GONE}, {"n03": STAYS_AWAY}, 4, "nnnn", "n03", id="enough are well, and one is gone"
        ),
        pytest.param({"success": 50}, {"n03": FAILS, "n04": FAILS}, {}, 2, "oooo", "", id="not enough of its wave"),
        pytest.param({"unreachable": ["n09"]}, {}, {}, 4, "nnnn", "", id="one was left out from the start"),
    ],
)
def test_how_it_ends(
    tmp_path: Path,
    wanted: dict[str, Any],
    forward: dict[str, Fate],
    back: dict[str, Fate],
    code: int,
    versions: str,
    out: str,
) -> None:
    fleet = Fleet(nodes(4), forward, back)
    found, state = rolled(tmp_path / "r", fleet, **wanted)
    assert found == code
    assert "".join(version[0] for version in fleet.version.values()) == versions
    assert [name for name, serves in fleet.serving.items() if not serves] == out.split()
    assert state.code == code


def test_waves_follow_one_another_within_the_allowance(tmp_path: Path) -> None:
    fleet = Fleet(nodes(8, 4, 4))
    code, _state = rolled(tmp_path / "r", fleet, waves="1, 50%, 100%", max_unavailable="2")
    assert code == 0
    forward = [hosts for _direction, hosts in fleet.jobs]
    assert forward == [("n01",), ("n02", "n03"), ("n04",), ("n05", "n06"), ("n07", "n08")]
    assert (fleet.worst_instances, fleet.worst_gpus) == (2, 8)


def test_the_host_that_fails_goes_back_before_anything_else(tmp_path: Path) -> None:
    fleet = Fleet(nodes(4), {"n03": FAILS})
    rolled(tmp_path / "r", fleet, waves="100%", max_unavailable="1")
    assert fleet.jobs == [
        ("forward", ("n01",)),
        ("forward", ("n02",)),
        ("forward", ("n03",)),
        ("back", ("n03",)),
        # then what was changed last
        ("back", ("n02",)),
        ("back", ("n01",)),
    ]


def test_why_it_was_stopped_is_told(tmp_path: Path) -> None:
    _code, state = rolled(tmp_path / "r", Fleet(nodes(4), {"n02": UNDONE}))
    assert state.why == "wave 2: n02 failed, and 1 of 1 hosts must be well. n02: gating went wrong"


def test_a_rollback_that_fails_leaves_those_that_serve_alone(tmp_path: Path) -> None:
    """The new version cannot be kept, and the old one does not start any more: better a mixed fleet than none."""
    hosts = nodes(8)
    fleet = Fleet(hosts, {"n08": FAILS}, {node.name: FAILS for node in hosts})
    code, _state = rolled(tmp_path / "r", fleet, waves="100%", max_unavailable="2")
    assert code == 3
    assert sum(fleet.serving.values()) == 6


def test_lost_hosts_count_against_the_allowance(tmp_path: Path) -> None:
    fleet = Fleet(nodes(6), {"n01": GONE}, {"n01": STAYS_AWAY})
    code, _state = rolled(tmp_path / "r", fleet, waves="100%", max_unavailable="2", success=50)
    assert code == 4
    assert fleet.jobs == [
        ("forward", ("n01", "n02")),
        ("back", ("n01",)),
        *[("forward", (f"n0{number}",)) for number in (3, 4, 5, 6)],
    ]
    assert fleet.worst_instances == 2


def test_without_room_for_another_host_it_stops(tmp_path: Path) -> None:
    fleet = Fleet(nodes(4), {"n01": GONE}, {"n01": STAYS_AWAY})
    code, state = rolled(tmp_path / "r", fleet, waves="100%", max_unavailable="1", success=50)
    assert (code, state.why) == (4, "no room for another host: 8 GPUs are lost, --max-unavailable is 1")
    assert [hosts for direction, hosts in fleet.jobs if direction == "forward"] == [("n01",)]


def test_what_cannot_even_begin_ends(tmp_path: Path) -> None:
    code, state = rolled(tmp_path / "r", Broken(nodes(3)))
    assert code == 2
    assert "n01: not begun: there is no inventory x" in state.why


def test_a_turn_that_did_not_come_comes_again(tmp_path: Path) -> None:
    class Once(Fleet):
        def change(self, job: Job, hear: Any) -> dict[str, Outcome]:
            if len(job.hosts) == 1:
                return super().change(job, hear)
            first = super().change(Job(job.rollout_id, job.hosts[:1], job.direction, job.wave), hear)
            return {**first, **{name: Outcome("untouched", "", touched=False) for name in job.hosts[1:]}}

    fleet = Once(nodes(4))
    code, _state = rolled(tmp_path / "r", fleet, waves="100%")
    assert (code, set(fleet.version.values())) == (0, {"new"})


# --- Soak -----------------------------------------------------------------------------------------------------------


def test_canaries_soak_and_are_tested_again(tmp_path: Path) -> None:
    fleet, clock = Fleet(nodes(4)), Clock()
    code, _state = rolled(tmp_path / "r", fleet, clock, soak_s=300)
    assert code == 0
    assert fleet.jobs[:3] == [("forward", ("n01",)), ("check", ("n01",)), ("forward", ("n02",))]
    assert [direction for direction, _hosts in fleet.jobs].count("check") == 1
    assert len(clock.slept) == 1
    assert 290 < clock.slept[0] <= 300


def test_a_canary_that_sours_goes_back(tmp_path: Path) -> None:
    fleet = Fleet(nodes(4), soak={"n01": FAILS})
    code, state = rolled(tmp_path / "r", fleet, soak_s=300)
    assert (code, fleet.version["n01"], fleet.serving["n01"]) == (2, "old", True)
    assert "n01: after its soak: chat: no answer" in state.why
    assert fleet.jobs == [("forward", ("n01",)), ("check", ("n01",)), ("back", ("n01",))]


def test_one_wave_has_nothing_to_soak_for(tmp_path: Path) -> None:
    fleet = Fleet(nodes(4))
    rolled(tmp_path / "r", fleet, waves="100%", soak_s=300)
    assert "check" not in {direction for direction, _hosts in fleet.jobs}


def test_a_soak_that_was_cut_takes_what_is_left(tmp_path: Path) -> None:
    fleet, clock = Fleet(nodes(4)), Clock()
    first = Journal.begin(tmp_path / "r", clock)
    first.add("rollout", **spec(fleet.nodes, soak_s=300))

    def cut(_seconds: float) -> None:
        clock.now += 100
        raise Killed

    with pytest.raises(Killed):
        Engine(first, fleet, wait=cut).run()
    first.close()
    code, _state = resumed(tmp_path / "r", fleet, clock)
    assert code == 0
    assert 180 < clock.slept[0] <= 200


# --- Resume ---------------------------------------------------------------------------------------------------------


def test_resume_after_a_hold_finishes_the_job(tmp_path: Path) -> None:
    fleet = Fleet(nodes(4), {"n03": FAILS})
    assert rolled(tmp_path / "r", fleet, on_failure="hold")[0] == 3
    fleet.forward, before = {}, dict(fleet.starts)
    code, _state = resumed(tmp_path / "r", fleet)
    assert (code, set(fleet.version.values())) == (0, {"new"})
    assert [fleet.starts[name] - before[name] for name in ("n01", "n02")] == [0, 0]


def test_resume_takes_the_last_host_back_when_it_is_there_again(tmp_path: Path) -> None:
    fleet = Fleet(nodes(4), {"n02": GONE}, {"n02": STAYS_AWAY})
    assert rolled(tmp_path / "r", fleet)[0] == 4
    fleet.back = {}
    jobs = len(fleet.jobs)
    code, _state = resumed(tmp_path / "r", fleet)
    assert (code, set(fleet.version.values())) == (2, {"old"})
    assert all(fleet.serving.values())
    assert fleet.jobs[jobs:] == [("back", ("n02",))]


def test_the_operators_stop_is_no_failure(tmp_path: Path) -> None:
    fleet = Fleet(nodes(4))
    first = Journal.begin(tmp_path / "r")
    first.add("rollout", **spec(fleet.nodes))
    assert engine(first, fleet, guard=stop_at(5)).run() == 3
    first.close()
    assert (first.state.interrupted, first.state.code) == ("the operator stopped it", None)
    assert sorted(set(fleet.version.values())) == ["new", "old"]
    assert resumed(tmp_path / "r", fleet)[0] == 0
    assert max(fleet.starts.values()) == 1


# --- A rollback on its own ------------------------------------------------------------------------------------------


def test_a_rollback_goes_within_the_allowance_and_ends_with_0(tmp_path: Path) -> None:
    hosts = nodes(6)
    fleet = Fleet(hosts, version=dict.fromkeys([node.name for node in hosts], "new"))
    code, _state = rolled(tmp_path / "r", fleet, direction="back", on_failure="hold", max_unavailable="2", why="asked")
    assert (code, set(fleet.version.values()), fleet.worst_instances) == (0, {"old"}, 2)
    assert fleet.jobs[0] == ("back", ("n06", "n05"))


# --- Killed at any point --------------------------------------------------------------------------------------------


def finished(folder: Path, fleet: Fleet, lives: list[tuple[int, bool]], **wanted: Any) -> tuple[int, Rollout]:
    """A rollout whose controller is killed again and again: after so many entries, with the next one written or not."""
    clock = Clock()
    log = Journal.begin(folder, clock)
    log.add("rollout", **spec(fleet.nodes, **wanted))
    for entries, written in lives:
        Mortal(log, entries, written=written)
        try:
            code = engine(log, fleet, clock).run()
        except Killed:
            log.close()
            if not written:
                with (folder / JOURNAL).open("ab") as file:
                    file.write(b'{"entry": "outco')  # what was being written
            log = Journal.reopen(folder, clock)
            if log.state.code is not None:  # it was over before the controller died
                break
            log.add("resumed", by="ada@one", pid=1)
        else:
            log.close()
            return code, log.state
    code = engine(log, fleet, clock).run()
    log.close()
    return code, log.state


def end(code: int, state: Rollout, fleet: Fleet) -> tuple[Any, ...]:
    return code, {host.name: host.at for host in state.hosts.values()}, fleet.version, fleet.serving, state.decided


def check_no_host_is_done_twice(folder: Path) -> None:
    state = Rollout()
    for entry in journal(folder):
        if entry["entry"] == "batch":
            target = "new" if entry["direction"] == "forward" else "old"
            assert target not in {state.hosts[name].at for name in entry["hosts"]}, entry
        state.apply(entry)


SCENARIOS: dict[str, tuple[dict[str, Fate], dict[str, Fate], dict[str, Any]]] = {
    "well": ({}, {}, {"soak_s": 30}),
    "canary": ({"n01": FAILS}, {}, {}),
    "undone": ({"n03": UNDONE}, {}, {}),
    "dies": ({"n03": GONE}, {"n03": STAYS_AWAY}, {}),
    "hold": ({"n04": FAILS}, {}, {"on_failure": "hold"}),
    "stuck": ({"n02": FAILS}, {"n02": FAILS}, {}),
    "tolerated": ({"n03": UNDONE}, {}, {"success": 50}),
}


@pytest.mark.parametrize("written", [True, False], ids=["after an entry", "in an entry"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_after_every_entry_it_ends_the_same(tmp_path: Path, name: str, written: bool) -> None:
    forward, back, wanted = SCENARIOS[name]
    undisturbed = Fleet(nodes(4), forward, back)
    expected = end(*rolled(tmp_path / "whole", undisturbed, **wanted), undisturbed)
    entries = len(journal(tmp_path / "whole"))
    assert entries > 10
    for lives in range(1, entries):
        fleet, folder = Fleet(nodes(4), forward, back), tmp_path / str(lives)
        found = finished(folder, fleet, [(lives, written)], **wanted)
        assert end(*found, fleet) == expected, f"killed after {lives} of {entries}"
        check_no_host_is_done_twice(folder)


HOWS = st.sampled_from(["ok", "ok", "ok", "fails", "undone", "unreachable"])
FATES = st.builds(Fate, HOWS, st.sampled_from(STAGES))
BACK_FATES = st.builds(Fate, st.sampled_from(["ok", "ok", "fails", "unreachable"]), st.sampled_from(STAGES))


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_whatever_happens_it_ends_the_same_and_within_bounds(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 6))
    hosts = [Node(f"n{n}", data.draw(st.sampled_from([(8,), (4, 4), (2, 2, 4), ()]))) for n in range(count)]
    names = [node.name for node in hosts]
    forward: Mapping[str, Fate] = data.draw(st.fixed_dictionaries(dict.fromkeys(names, FATES)))
    back: dict[str, Fate] = data.draw(st.fixed_dictionaries(dict.fromkeys(names, BACK_FATES)))
    # A playbook's own way back is the one that the controller takes: what works for the one works for the other.
    back |= {name: Fate() for name, fate in forward.items() if fate.how == "undone"}
    wanted = {
        "waves": data.draw(st.sampled_from(["1, 50%, 100%", "100%", "2, 100%"])),
        "max_unavailable": data.draw(st.sampled_from(["1", "2", "50%", "100%"])),
        "on_failure": data.draw(st.sampled_from(["rollback", "hold"])),
        "success": data.draw(st.sampled_from([100, 50])),
        "soak_s": data.draw(st.sampled_from([0, 60])),
    }
    try:
        allowance(hosts, parse_size(wanted["max_unavailable"], "x"))
    except WaveError:
        return
    lives = data.draw(st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=3))
    with tempfile.TemporaryDirectory() as scratch:
        whole, cut = Fleet(hosts, forward, back), Fleet(hosts, forward, back)
        code, state = rolled(Path(scratch, "whole"), whole, **wanted)
        found = finished(Path(scratch, "cut"), cut, lives, **wanted)
        assert end(*found, cut) == end(code, state, whole)
        check_no_host_is_done_twice(Path(scratch, "cut"))

    at = {host.at for host in state.hosts.values()}
    unreachable = state.names(problem="unreachable")
    assert code == (4 if unreachable else 0 if at == {"new"} else 2 if at == {"old"} else 3)
    # What the journal calls old or new is so, and whoever is neither, or is not reached, gets no requests.
    for host in state.hosts.values():
        if host.at != "unknown":
            assert whole.version[host.name] == host.at
        assert whole.serving[host.name] == (host.at != "unknown")
    limit = parse_size(wanted["max_unavailable"], "x")
    lost = sum(node.most.instances for node in hosts if not whole.serving[node.name])
    if not limit.percent and not lost:
        assert whole.worst_instances <= limit.number


# --- Work, not time -------------------------------------------------------------------------------------------------


def calls_for(folder: Path, count: int) -> tuple[int, int]:
    """Python calls in the controller's own files for a whole rollout, and the events that it took."""
    fleet, calls = Fleet(nodes(count)), [0]

    def count_call(frame: Any, kind: str, _arg: Any) -> None:
        if kind == "call" and ("rollout" in frame.f_code.co_filename or "_waves" in frame.f_code.co_filename):
            calls[0] += 1

    clock = Clock()
    log = Journal.begin(folder, clock)
    log.add("rollout", **spec(fleet.nodes, waves="1, 10%, 50%, 100%", max_unavailable="25%"))
    whole = engine(log, fleet, clock)
    sys.setprofile(count_call)
    try:
        code = whole.run()
    finally:
        sys.setprofile(None)
    log.close()
    assert code == 0
    return calls[0], fleet.events


def test_the_work_for_an_event_does_not_grow_with_the_fleet(tmp_path: Path) -> None:
    small, few = calls_for(tmp_path / "a", 50)
    large, many = calls_for(tmp_path / "b", 200)
    assert (few, many) == (400, 1600)
    assert large / many < 1.3 * small / few
