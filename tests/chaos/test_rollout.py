# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What breaks in mid-rollout, under constant streaming load, with every request counted and every host looked at in the end.

In the order of a fleet's life: the first ones fail and leave the fleet at the old version, the later ones bring it to the new.
"""

from __future__ import annotations

import functools
import signal
import subprocess
from typing import Any

from tests.chaos.support import CRASHES, GATEWAY, HANGS, HOSTS, NEW, OLD, Host, Rolled, Rolling, whole
from tests.lab.stream_load import Counted, Load
from tests.lab.support import eventually

AS_BEFORE = {host: whole(host, OLD) for host in HOSTS}
FAILED_BACK = [
    "failed",
    "rolling_back",
    "out",
    "draining",
    "stopping",
    "freeing",
    "applying",
    "starting",
    "gating",
    "in",
    "rolled_back",
]


def nothing_lost(load: Load) -> Counted:
    """Every request came to its end, and there were some."""
    found = load.counted()
    assert (found.cut, found.failed, found.waiting) == (0, 0, 0), found
    assert found.whole == found.started > 0
    return found


def canary_goes_back(rolling: Rolling, evidence: str, **wishes: Any) -> Rolled:
    """A rollout of what cannot work: the first host goes back by itself, the others are left alone, no request is lost."""
    before = rolling.starts()
    rolling.wish(fleet_sglang_version=NEW, **wishes)
    with rolling.load() as load:
        play = rolling.rollout()
    rolling.wish()
    nothing_lost(load)
    assert play.rc != 0, str(play)
    stages = play.stages(HOSTS[0])
    assert stages[stages.index("failed") :] == FAILED_BACK, f"{stages}\n{play}"
    failed = next(event for event in play.events if event.get("stage") == "failed")
    assert evidence in failed["detail"], failed
    assert "The host runs what it ran before, and has its traffic back" in play.out
    assert rolling.fleet() == AS_BEFORE
    after = rolling.starts()
    assert after[HOSTS[0]] != before[HOSTS[0]]
    for host in HOSTS[1:]:
        assert play.stages(host) == []
        assert after[host] == before[host], f"{host} was started anew"
    return play


def test_registry_down_changes_nothing(rolling: Rolling) -> None:
    before = rolling.starts()
    rolling.wish(fleet_sglang_version=NEW)
    address = "172.30.0.2"
    rolling.sh(HOSTS[0], f"ip route add unreachable {address}")
    try:
        with rolling.load() as load:
            play = rolling.rollout()
    finally:
        rolling.sh(HOSTS[0], f"ip route del unreachable {address}")
        rolling.wish()
    nothing_lost(load)
    assert play.rc != 0, str(play)
    assert play.events == [event for event in play.events if event["event"] != "stage"], "it went on without an image"
    assert rolling.starts() == before
    assert rolling.fleet() == AS_BEFORE


def test_canary_with_the_wrong_tool_parser_goes_back(rolling: Rolling) -> None:
    play = canary_goes_back(rolling, "gate tools failed", fleet_server_args={"tool-call-parser": "qwen25"})
    assert {"tools", "tools_stream"} <= play.gates(HOSTS[0], passed=False)
    assert "chat" in play.gates(HOSTS[0], passed=True)


def test_image_that_crashes_at_its_start_goes_back(rolling: Rolling) -> None:
    play = canary_goes_back(rolling, "gate health failed", fleet_patches=CRASHES)
    assert "this image crashes" in play.out


def test_canary_that_hangs_with_200_on_health_goes_back(rolling: Rolling) -> None:
    # What hangs does not end by itself either; a test has no five minutes for it.
    quick = {"smoke_test_request_seconds": 5, "sglang_server_stop_seconds": 30}
    play = canary_goes_back(rolling, "/health answered 200, but no token was generated", fleet_patches=HANGS, **quick)
    assert play.gates(HOSTS[0], passed=False) == {"health"}


def test_gateway_that_is_started_anew_forgets_nothing(rolling: Rolling) -> None:
    """While a host is out. No stream is cut; what is refused is what a second gateway would have taken."""
    rolling.wish(fleet_sglang_version=NEW)
    words = ("playbooks/rollout.yml", "-l", HOSTS[0])
    with rolling.load() as load, rolling.running("ansible-playbook", *words) as running:
        running.until(HOSTS[0], "starting")
        rolling.sh(GATEWAY, "systemctl restart sglang-gateway")
        inside = eventually("its servers are back", rolling.healthy, 60)
        play = running.ended()
    found = load.counted()
    assert {one["host"] for one in inside} <= set(HOSTS[1:]), "the host that was out came back too early"
    play.succeeded()
    assert found.cut == found.waiting == 0, found
    assert all("refused" in why or why.startswith("503 ") for why in found.why), found
    assert found.failed <= 60, found
    assert rolling.fleet() == {**AS_BEFORE, HOSTS[0]: whole(HOSTS[0], NEW)}


def test_ssh_that_is_cut_leaves_the_host_out_and_a_second_run_ends_it(rolling: Rolling) -> None:
    rolling.wish(fleet_sglang_version=NEW)
    host = HOSTS[1]
    with rolling.load() as load:
        with rolling.running("ansible-playbook", "playbooks/rollout.yml") as running:
            running.until(host, "starting")
            rolling.sh(
                host,
                "systemctl stop ssh.socket ssh 2> /dev/null; pkill sshd; iptables -I INPUT -p tcp --dport 22 -j REJECT || true",
            )
            play = running.ended()
        rolling.sh(host, "iptables -D INPUT -p tcp --dport 22 -j REJECT; systemctl start ssh")
        assert play.rc == 4, str(play)
        assert play.recap[host]["unreachable"] == 1
        assert play.stages(host)[-1] == "starting"
        assert play.stages(HOSTS[2]) == [], "it went on after a host that cannot be reached"
        assert rolling.fleet()[host].inside == (), "a host in the middle of its change is in the traffic"
        again = rolling.rollout("-l", host)
    nothing_lost(load)
    again.succeeded()
    assert rolling.fleet() == {HOSTS[0]: whole(HOSTS[0], NEW), host: whole(host, NEW), HOSTS[2]: whole(HOSTS[2], OLD)}


def test_node_that_dies_in_mid_wave_stays_out_until_it_is_done(rolling: Rolling) -> None:
    """The last one, with its first instance on the way and its second still serving: streams on that one are cut."""
    rolling.wish(fleet_sglang_version=NEW)
    host = HOSTS[2]
    container = rolling.nodes[host].container
    with rolling.load() as load:
        with rolling.running("ansible-playbook", "playbooks/rollout.yml", "-l", host) as running:
            running.until(host, "starting")
            subprocess.run(["docker", "kill", container], check=True, stdout=subprocess.DEVNULL)
            play = running.ended()
        assert play.rc == 4, str(play)
        served = rolling.fleet_of_others(host)
        subprocess.run(["docker", "start", container], check=True, stdout=subprocess.DEVNULL)
        eventually(f"{host} answers", functools.partial(rolling.reached, host), 120)
        again = rolling.rollout("-l", host)
    found = load.counted()
    again.succeeded()
    assert served == {name: whole(name, NEW) for name in HOSTS[:2]}
    # As many as the clients had on the instance that died with its node; the gateway asks another for what is new.
    assert found.failed == found.waiting == 0, found
    assert found.cut <= load.clients, found
    assert rolling.fleet() == {name: whole(name, NEW) for name in HOSTS}


def test_controller_that_is_killed_is_resumed(rolling: Rolling) -> None:
    """The command, to the old version: its playbook goes on with the host, and whoever resumes goes on with the rollout."""
    rolling.wish()
    inventory = ("--inventory", str(rolling.inventory))
    words = ("--limit", ",".join(HOSTS[:2]), "--waves", "1,100%", "--soak", "0s", "--max-unavailable", "1")
    with rolling.load() as load:
        with rolling.fleet_command("rollout", *inventory, *words) as running:
            running.until(HOSTS[0], "starting")
            running.kill()
        with rolling.fleet_command("resume", *inventory) as resumed:
            play = resumed.ended()
    nothing_lost(load)
    assert running.process.returncode == -signal.SIGKILL
    assert play.rc == 0, str(play)
    assert rolling.fleet() == {**{host: whole(host, OLD) for host in HOSTS[:2]}, HOSTS[2]: whole(HOSTS[2], NEW)}


def test_two_instances_of_a_host_roll_one_after_the_other(rolling: Rolling) -> None:
    """Nothing breaks here: half of the node serves throughout."""
    rolling.wish()
    host = HOSTS[2]
    with rolling.load() as load:
        play = rolling.rollout()
    nothing_lost(load)
    play.succeeded()
    told = [(one["instance"], one["stage"]) for one in play.events if one.get("stage") and one["host"] == host]
    assert told.index(("0", "in")) < told.index(("1", "out")), told
    assert rolling.fleet() == AS_BEFORE


def test_a_run_of_what_is_there_starts_nothing_anew(rolling: Rolling) -> None:
    before = rolling.starts()
    rolling.wish()
    play = rolling.rollout("-l", HOSTS[0])
    play.succeeded()
    assert play.changed() == {HOSTS[0]: 0}, str(play)
    assert rolling.starts() == before
    assert Host((OLD,), ("0",)) == rolling.fleet()[HOSTS[0]]
