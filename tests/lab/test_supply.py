# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images and weights on nodes of the lab, from a hub that speaks the real one's HTTP: these tests build on one another."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetlab.hub import ensure_hub
from fleetlab.settings import HUB_IP, HUB_PORT, REGISTRY_IP
from tests.lab import secrets
from tests.lab.supply import (
    HOSTS,
    IMAGE,
    KEY,
    MODEL,
    NODES,
    OWNER,
    TOKEN,
    Supply,
    counted_table,
    flip,
    gap,
    reachable,
    supplied_by,
    unreachable,
)
from tests.lab.support import Play, eventually, fresh_nodes

pytestmark = pytest.mark.lab

ALL = ",".join(HOSTS)
LATER_TAG = "v0.5.9"
SHARD = "model-{:05}-of-00016.safetensors"
SECRETS = {"the key": KEY, "the token": TOKEN}
#: Where a transfer that runs has its secrets, for root alone and gone with it.
JOB_SECRETS = ("/run/sglang-fleet/weights/job/token", "/run/sglang-fleet/weights/job/key")


@pytest.fixture(scope="module")
def supply(lab_supply: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supply]:
    with fresh_nodes(OWNER, NODES, tmp_path_factory, group_vars=None) as fleet:
        yield supplied_by(ensure_hub().space(OWNER), fleet)


def in_message(play: Play, *words: str) -> None:
    """The one failure's message holds them."""
    text = "\n".join(play.messages())
    missing = [word for word in words if word not in text]
    assert not missing, f"not in the message: {missing}\n{text}\n{play}"


def mentions(text: str, *words: str) -> list[str]:
    """Paragraphs with all of the words, for a warning is wrapped."""
    return [
        flat
        for part in re.split(r"\n\s*\n|\n(?=\[|TASK|ok:|changed:|fatal:)", text)
        if all(word in (flat := " ".join(part.split())) for word in words)
    ]


# --- The lock -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lock(supply: Supply) -> dict[str, Any]:
    made = supply.command("lock", "-i", str(supply.inventory))
    if made.rc:
        pytest.fail(f"there is no lock\n{made}", pytrace=False)
    return supply.lock()


def test_lock_has_what_hub_and_registry_have(supply: Supply, lock: dict[str, Any]) -> None:
    model, there = lock["models"][MODEL], supply.hub.files(MODEL)
    assert model["revision"] == supply.hub.revision(MODEL)
    for file in model["files"]:
        assert (file["size"], file["sha256"]) == (there[file["path"]]["size"], there[file["path"]]["sha256"])
    left_out = set(there) - {file["path"] for file in model["files"]}
    assert left_out <= {".gitattributes", "README.md", "LICENSE", "figures/bench.svg"}, left_out
    manifest = json.loads(supply.registry.manifest("supply/sglang", lock["images"][IMAGE]["digest"]))
    assert lock["images"][IMAGE]["platforms"]["amd64"]["config"] == manifest["config"]["digest"]


def test_lock_is_stale_only_where_it_differs(supply: Supply, lock: dict[str, Any]) -> None:
    """A main that moves in the hub is said and not taken; a lock that says something else than the fleet is stale."""
    supply.hub.set(main={MODEL: supply.hub.later(MODEL)})
    try:
        same = supply.command("lock", "-i", str(supply.inventory), "--check").succeeded()
    finally:
        supply.hub.set(main={})
    assert mentions(same.out, supply.hub.later(MODEL)[:12]), str(same)
    text = supply.lock_file.read_text()
    try:
        supply.lock_file.write_text(text.replace("mem-fraction-static: 0.85", "mem-fraction-static: 0.8"))
        stale = supply.command("lock", "-i", str(supply.inventory), "--check")
        assert stale.rc == 1, str(stale)
        assert "+      mem-fraction-static: 0.85" in stale.out, str(stale)
    finally:
        supply.lock_file.write_text(text)


# --- Once from the hub, and a tag that moves ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pulled(supply: Supply, lock: dict[str, Any]) -> Play:
    """The image alone, after its tag has moved in the registry."""
    supply.registry.tag(IMAGE, LATER_TAG)
    play = supply.weights(ALL, "--tags", "sglang_image")
    if play.rc:
        pytest.fail(f"the image is not there\n{play}", pytrace=False)
    return play


def test_moved_tag_is_said_and_not_taken(supply: Supply, lock: dict[str, Any], pulled: Play) -> None:
    assert mentions(pulled.out, IMAGE, "moved"), str(pulled)
    config = lock["images"][IMAGE]["platforms"]["amd64"]["config"]
    for host in HOSTS:
        there = supply.sh(host, f"docker image inspect --format '{{{{.Id}}}}' {IMAGE}").strip()
        assert there == config, f"{host} has {there}"


@pytest.fixture(scope="module")
def supplied(supply: Supply, pulled: Play) -> tuple[Play, dict[str, Any], dict[str, int]]:
    """The weights on all nodes; what the hub counted; what each node received."""
    before = {host: supply.received(host) for host in HOSTS}
    with supply.hub.counting() as counted:
        play = supply.weights(ALL)
    received = {host: supply.received(host) - before[host] for host in HOSTS}
    if play.rc:
        pytest.fail(f"the weights are not there\n{play}", pytrace=False)
    return play, counted, received


def test_hub_serves_the_bytes_once_for_the_fleet(
    supply: Supply, supplied: tuple[Play, dict[str, Any], dict[str, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    _play, counted, received = supplied
    with capsys.disabled():
        print(f"\n{counted_table(supply, counted, received)}")
    assert counted["bytes"] == supply.total()
    assert len(counted["by_client"]) == 1, counted["by_client"]
    assert counted["by_path"] == {path: file["size"] for path, file in supply.files().items()}
    for host in HOSTS:
        supply.verified(host)
        assert supply.total() <= received[host] < 1.1 * supply.total(), f"{host} received {received[host]:,} bytes"


def test_second_run_asks_nobody(supply: Supply, supplied: object) -> None:
    with supply.hub.counting() as counted:
        play = supply.weights(ALL)
    assert play.succeeded().changed() == dict.fromkeys(HOSTS, 0), str(play)
    assert not counted["requests"]


# --- Trouble on the way, in folders of their own -------------------------------------------------------------------


def test_killed_download_goes_on_where_it_was(
    supply: Supply, supplied: object, capsys: pytest.CaptureFixture[str]
) -> None:
    host, folder, total = "sup-01", "/srv/killed", supply.total()
    supply.hub.set(rate=12_000_000)
    try:
        with supply.hub.counting() as first:
            begun = supply.hub.counters()["bytes"]

            def past(share: float) -> Callable[[], bool]:
                return lambda: supply.hub.counters()["bytes"] - begun >= share * total

            words = ("benchmarks/weights.yml", "-l", host, "-e", f"fleet_weights_dir={folder}")
            with supply.running(*words):
                eventually("a third is there", past(0.33), attempts=60)
                supply.hub.set(rate=1_000_000)
                eventually("the terminal says so", lambda: f"{host}: weights " in supply.shown(), attempts=60)
            # The controller is dead; the download is not, and has a token: a time to look for it.
            supply.hub.set(rate=500_000)
            held = secrets.on_node(supply, host, SECRETS, allowed=(*secrets.NODE_ALLOWED, *JOB_SECRETS))
            supply.hub.set(rate=12_000_000)
            eventually("60 % are there", past(0.6), attempts=60)
            supply.sh(host, "docker kill sglang-fleet-weights")
    finally:
        supply.hub.set(rate=0)
    on_disk = int(
        supply.sh(
            host, f"find {folder}/hub -path '*/blobs/*' -type f -printf '%s\\n' | awk '{{s += $1}} END {{print s}}'"
        )
    )
    with supply.hub.counting() as rest:
        play = supply.weights(host, values={"fleet_weights_dir": folder})
    play.succeeded()
    with capsys.disabled():
        print(
            f"\nkilled after {first['bytes']:,} of {total:,} bytes, {on_disk:,} of them on the disk; "
            f"the next run fetched {rest['bytes']:,}"
        )
    assert not held, held
    supply.verified(host, folder)
    assert on_disk > 0.5 * total
    assert rest["bytes"] == total - on_disk
    supply.sh(host, f"rm --recursive {folder}")


def test_progress_shows_in_the_terminal_and_in_the_events(supply: Supply, supplied: object) -> None:
    """Of the download that was slow, and killed."""
    shown = supply.shown()
    assert re.search(r"sup-01: weights [\d.]+ of 127\.7 MB, [\d.]+ MB/s, .* left", shown), shown[-3000:]
    rows = [
        row for row in supply.events if (row["event"], row["host"], row["what"]) == ("progress", "sup-01", "weights")
    ]
    assert rows, supply.events[-10:]
    assert {row["total"] for row in rows} == {supply.total()}
    assert any(row["rate"] > 0 and row["left_s"] > 0 for row in rows), rows
    assert any(row["what"] == "image" for row in supply.events), {row["what"] for row in supply.events}


def test_429_is_obeyed(supply: Supply, supplied: object) -> None:
    host, folder, seconds = "sup-02", "/srv/limited", 2
    supply.hub.fault(match="resolve/.*(config|00002)", times=3, status=429, retry_after=seconds)
    try:
        with supply.hub.counting() as counted:
            play = supply.weights(host, values={"fleet_weights_dir": folder})
    finally:
        supply.hub.set(faults=[])
    play.succeeded()
    supply.verified(host, folder)
    supply.sh(host, f"rm --recursive {folder}")
    assert sum(row["status"] == 429 for row in counted["requests"]) == 3
    for path, rows in itertools.groupby(
        sorted(counted["requests"], key=lambda row: row["path"]), lambda row: row["path"]
    ):
        for row, following in itertools.pairwise(sorted(rows, key=lambda row: row["time"])):
            if row["status"] == 429:
                waited = following["time"] - row["time"]
                assert waited >= seconds - 0.05, f"{path} was asked for again after {waited:.1f} s"
    assert counted["bytes"] == supply.total()


def test_no_space_is_refused_before_the_first_byte(supply: Supply, supplied: object) -> None:
    host, folder = "sup-03", "/srv/small"
    supply.sh(host, f"mkdir {folder} && mount -t tmpfs -o size=64m tmpfs {folder}")
    with supply.hub.counting() as counted:
        play = supply.weights(host, values={"fleet_weights_dir": folder})
    left = supply.sh(host, f"find {folder} -type f; umount {folder}").split()
    assert play.rc
    in_message(play, folder, "127.7 MB", "67.1 MB", "tmpfs")
    assert (counted["bytes"], left) == (0, [])


# --- A server on them -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def deployed(supply: Supply, supplied: object) -> Play:
    """As loud as it gets, so that the hunt for secrets has something to find."""
    play = supply.deploy(ALL, "-vvv", "--diff")
    if play.rc:
        pytest.fail(f"the fleet is not deployed\n{play}", pytrace=False)
    return play


def test_servers_run_on_the_locked_image_and_weights(supply: Supply, lock: dict[str, Any], deployed: Play) -> None:
    revision = lock["models"][MODEL]["revision"]
    for host in HOSTS:
        assert supply.chat(host, MODEL, key=KEY)[1]
        found = json.loads(supply.sh(host, "docker inspect sglang-0"))[0]
        assert found["Image"] == lock["images"][IMAGE]["platforms"]["amd64"]["config"]
        journal = supply.sh(host, "journalctl --unit sglang@0 --output cat --no-pager")
        assert f"--revision {revision}" in journal
        # The server's own count: these shards, and not the checkpoint that the image brings along.
        assert re.search(r"16/16", journal), journal[-3000:]
        state = json.loads(supply.sh(host, "cat /var/lib/sglang-fleet/state.json"))
        assert state["lock"]["revision"] == revision
        assert state["lock"]["image_digest"] == lock["images"][IMAGE]["digest"]


def test_registry_down_and_all_there_is_no_error(supply: Supply, deployed: Play) -> None:
    started = {host: supply.started(host) for host in HOSTS}
    for host in HOSTS:
        unreachable(supply, host, REGISTRY_IP)
    try:
        with supply.hub.counting() as counted:
            play = supply.deploy(ALL)
    finally:
        for host in HOSTS:
            reachable(supply, host, REGISTRY_IP)
    assert play.succeeded().changed() == dict.fromkeys(HOSTS, 0), str(play)
    assert {host: supply.started(host) for host in HOSTS} == started
    assert not counted["requests"]


FLIPPED, CUT, ZEROED = SHARD.format(3), SHARD.format(7), SHARD.format(12)


@pytest.fixture(scope="module")
def damaged(supply: Supply, deployed: Play) -> Play:
    """A deploy on damaged files, with a hub that gives nothing and a registry that is down."""
    supply.sh("sup-02", "systemctl stop sglang@0")
    supply.damage("sup-02", FLIPPED, flip(5_000_000))
    supply.damage("sup-02", CUT, 'truncate --size=-4096 "$f"')
    supply.damage("sup-02", ZEROED, 'dd if=/dev/zero of="$f" bs=4096 count=1 conv=notrunc status=none')
    unreachable(supply, "sup-02", REGISTRY_IP)
    supply.hub.set(token="hf_another")
    try:
        return supply.deploy("sup-02")
    finally:
        supply.hub.set(token=TOKEN)


def test_each_damaged_file_is_named_and_no_server_started(supply: Supply, damaged: Play) -> None:
    assert damaged.rc, f"it went on\n{damaged}"
    for file, why in ((FLIPPED, "SHA-256 is"), (CUT, "size is"), (ZEROED, "safetensors header")):
        assert mentions(damaged.out, file, why), f"{file}, {why}\n{damaged}"
    assert supply.sh("sup-02", "systemctl is-active sglang@0", check=False).strip() == "inactive"
    assert not supply.sh("sup-02", "docker ps --quiet --filter name=sglang-0")


def test_damaged_files_alone_are_fetched_again(supply: Supply, damaged: Play) -> None:
    with supply.hub.counting() as counted:
        play = supply.deploy("sup-02")
    reachable(supply, "sup-02", REGISTRY_IP)
    play.succeeded()
    assert counted["by_path"] == {path: supply.files()[path]["size"] for path in (FLIPPED, CUT, ZEROED)}
    supply.verified("sup-02")
    assert supply.chat("sup-02", MODEL, key=KEY)[1]


def test_silent_damage_is_found_on_request_and_healed_by_a_peer(supply: Supply, deployed: Play) -> None:
    """A byte flips and the time of the file stays, as when a disk rots."""
    path = SHARD.format(5)
    keep = 'touch --reference="$f" /tmp/then; {} touch --reference=/tmp/then "$f"'
    supply.damage("sup-03", path, keep.replace("{}", flip(100_000)))
    always = {"fleet_weights_verify": "always"}
    sums = supply.sums("sup-03")
    play = supply.weights(ALL, "--check", values=always)
    assert {host: count > 0 for host, count in play.succeeded().changed().items()} == {
        "sup-01": False,
        "sup-02": False,
        "sup-03": True,
    }, str(play)
    assert supply.sums("sup-03") == sums
    with supply.hub.counting() as counted:
        play = supply.weights(ALL, values=always).succeeded()
    assert mentions(play.out, path, "SHA-256 is"), str(play)
    assert counted["bytes"] == 0, counted["by_path"]
    supply.verified("sup-03")


# --- No network -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundle(supply: Supply, deployed: Play, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("bundle"))
    made = supply.command("bundle", "-i", str(supply.inventory), "--output", folder)
    if made.rc:
        pytest.fail(f"there is no bundle\n{made}", pytrace=False)
    return folder


def test_second_bundle_does_nothing(supply: Supply, bundle: str) -> None:
    with supply.hub.counting() as counted:
        supply.command("bundle", "-i", str(supply.inventory), "--output", bundle).succeeded()
        supply.command("bundle", "-i", str(supply.inventory), "--output", bundle, "--check").succeeded()
    assert counted["bytes"] == 0


@pytest.fixture(scope="module")
def apart(supply: Supply, bundle: str, tmp_path_factory: pytest.TempPathFactory) -> Supply:
    return gap(supply, tmp_path_factory.mktemp("gap"), supply.scratch)


def test_nodes_without_a_route_out_serve_a_chat(supply: Supply, bundle: str, apart: Supply) -> None:
    for host in apart.nodes:
        for address in (f"{REGISTRY_IP}:5000/v2/", f"{HUB_IP}:{HUB_PORT}/", "192.0.2.1/"):
            said = apart.sh(host, f"curl --silent --show-error --max-time 3 http://{address}", check=False)
            assert "curl: (7)" in said, f"{host} reaches {address}: {said}"
    with supply.hub.counting() as counted:
        play = apart.deploy(",".join(apart.nodes), values={"fleet_bundle": bundle})
    play.succeeded()
    for host in apart.nodes:
        assert apart.chat(host, MODEL, key=KEY)[1]
        apart.verified(host)
    assert not counted["requests"]


# --- Secrets --------------------------------------------------------------------------------------------------------


def test_no_secret_anywhere(supply: Supply, apart: Supply, bundle: str, deployed: Play) -> None:
    """After all of the above: downloads, refusals, a kill, a loud deploy, a bundle."""
    assert "right" in {row["token"] for row in supply.hub.counters()["requests"]}, "the token was never in use"
    assert supply.hub.counters()["token_at_cdn"] == 0
    found = secrets.on_nodes(supply, HOSTS, SECRETS) + secrets.on_nodes(apart, apart.nodes, SECRETS)
    given = supply.inventory / "group_vars" / "all" / "secrets.yml"
    places = [supply.scratch, supply.inventory, apart.inventory, Path(bundle) / "bundle.json", Path.home() / ".ansible"]
    found += secrets.on_controller(SECRETS, [place for place in places if place.exists()], allowed=[given])
    assert not found, "\n".join(found)
