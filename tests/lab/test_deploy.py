# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job on nodes of the lab, in the order of a fleet's life: these tests build on one another."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.support import GPU_NODES, PORT, Fleet, Play, eventually, lines_of

pytestmark = pytest.mark.lab

DEPLOY = ("deploy.yml", "-l", "gpu_nodes")
BASE = "lmsysorg/sglang:v0.5.7-rocm700-mi30x"
SOURCE = "/sgl-workspace/sglang/python/sglang"
DECORATOR = "@torch.compile(dynamic=True, backend=get_compiler_backend())"
MODEL = {
    "amd-01": "MiniMaxAI/MiniMax-M2.1",
    "nvidia-01": "MiniMaxAI/MiniMax-M2.7",
    "grace-01": "MiniMaxAI/MiniMax-M2.7",
}
IMAGE = {
    "amd-01": BASE,
    "nvidia-01": "lmsysorg/sglang:v0.5.10.post1",
    "grace-01": "lmsysorg/sglang:v0.5.10.post1-cu130",
}
# What MiniMax's cookbook pages have one type, to the flag; SGLang's version, and the words that its parser took.
PARSERS = "--tool-call-parser minimax-m2 --reasoning-parser minimax-append-think"
COMMON = f"{PARSERS} --trust-remote-code --mem-fraction-static 0.85 --host {{ip}} --port {PORT}"
ACCEPTED = {
    "amd-01": ("0.5.7", f"--model-path MiniMaxAI/MiniMax-M2.1 --tp-size 4 {COMMON}"),
    "nvidia-01": ("0.5.10.post1", f"--model-path MiniMaxAI/MiniMax-M2.7 --tp-size 8 --ep-size 8 {COMMON}"),
    "grace-01": ("0.5.10.post1", f"--model-path MiniMaxAI/MiniMax-M2.7 --tp-size 4 {COMMON}"),
}

# The journal, and the folder in which programs make their temporary files.
_LOGIN_AND_LOGS = re.compile(r"^(/tmp|/var/tmp|/var/log(/journal(/.*)?|/wtmp|/lastlog|/btmp)?) ")


def all_of(fleet: Fleet, host: str) -> dict[str, list[str]]:
    """What a node is made of: each file with its time, images, containers, units, listening ports."""
    files = fleet.sh(
        host,
        "find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /dev \\) -prune -o "
        "-printf '%p %y %m %U:%G %s %T@ %l\\n' | sort",
    )
    return {
        "files": [line for line in files.splitlines() if not _LOGIN_AND_LOGS.match(line)],
        "images": sorted(fleet.sh(host, "docker images --all --no-trunc --quiet").splitlines()),
        "containers": sorted(fleet.sh(host, "docker ps --all --no-trunc --quiet").splitlines()),
        "units": fleet.sh(host, "systemctl list-unit-files --no-legend --no-pager | grep -v transient").splitlines(),
        "ports": sorted(fleet.sh(host, "ss -Hltn | awk '{print $4}'").splitlines()),
    }


def difference(before: dict[str, list[str]], after: dict[str, list[str]]) -> list[str]:
    return [
        f"{sign} {kind[:-1]} {line}"
        for kind, was in before.items()
        for sign, lines, others in (("-", was, after[kind]), ("+", after[kind], was))
        for line in sorted(set(lines) - set(others))
    ]


@contextmanager
def untouched(fleet: Fleet, *hosts: str) -> Iterator[None]:
    """Neither do the servers start anew in there, nor does a file of theirs change."""
    before = {host: (fleet.started(host), fleet.written(host)) for host in hosts}
    yield
    for host, (started, written) in before.items():
        assert fleet.started(host) == started, f"{host}: the server was started anew"
        assert fleet.written(host) == written, f"{host}: files were written"


def refused(play: Play, host: str, *words: str) -> None:
    """The play failed on that host alone, with one error that holds the words, and no traceback."""
    assert play.rc != 0, f"it was let pass\n{play}"
    assert "Traceback" not in play.out, str(play)
    assert play.errors() == [host], f"wanted one error, of {host}; it has {play.errors()}\n{play}"
    assert {name for name, failures in play.failed().items() if failures} == {host}, str(play)
    [message] = play.messages()
    missing = [word for word in words if word not in message]
    assert not missing, f"not in the message: {missing}\n{message}"


# --- From nothing ---------------------------------------------------------------------------------------------------


def test_check_mode_changes_nothing_on_virgin_nodes(fleet: Fleet) -> None:
    before = {host: all_of(fleet, host) for host in GPU_NODES}
    play = fleet.playbook(*DEPLOY, "--check", "--diff")
    play.succeeded()
    assert min(play.changed().values()) > 0, f"it says that there is nothing to do\n{play}"
    assert "+ExecStart=" in play.out, f"the difference does not show the unit\n{play}"
    for host in GPU_NODES:
        changes = difference(before[host], all_of(fleet, host))
        assert not changes, f"{host} was changed:\n" + "\n".join(changes)


@pytest.fixture(scope="module")
def deployed(fleet: Fleet) -> Play:
    play = fleet.playbook(*DEPLOY)
    if play.rc:
        pytest.fail(f"the fleet is not deployed\n{play}", pytrace=False)
    return play


def test_deploy_ends_well(deployed: Play) -> None:
    assert set(deployed.recap) == set(GPU_NODES), str(deployed)
    assert not any(deployed.failed().values()), str(deployed)


@pytest.mark.parametrize("host", GPU_NODES)
def test_server_answers_with_the_thinking_split_off(fleet: Fleet, deployed: Play, host: str) -> None:
    thinking, answer = fleet.chat(host, MODEL[host])
    assert thinking
    assert answer


@pytest.mark.parametrize("host", GPU_NODES)
def test_sglang_accepted_the_published_command_line(fleet: Fleet, deployed: Play, host: str) -> None:
    version, words = ACCEPTED[host]
    journal = fleet.sh(host, "journalctl --unit sglang@0 --output cat --no-pager")
    accepted = lines_of(journal, "ServerArgs accepted")
    assert accepted, f"{host}: no such line in the journal:\n{journal[-4000:]}"
    wanted = f"lab-launcher: SGLang {version} ServerArgs accepted: {words.format(ip=fleet.nodes[host].ip)}"
    assert set(accepted) == {wanted}


@pytest.mark.parametrize("host", GPU_NODES)
def test_server_runs_the_published_image(fleet: Fleet, deployed: Play, host: str) -> None:
    """By the content's ID, so that a tag that moves changes nothing."""
    found = json.loads(fleet.sh(host, "docker inspect sglang-0"))[0]
    assert found["Config"]["Labels"]["sglang.fleet.reference"] == IMAGE[host]
    assert found["Config"]["Image"] == found["Image"]
    pulled = json.loads(fleet.sh(host, f"docker image inspect {IMAGE[host]}"))[0]["Id"]
    base = found["Config"]["Labels"].get("sglang.fleet.base", found["Image"])
    assert base == pulled
    assert (found["Image"] == pulled) == (host != "amd-01")


def test_patched_image_is_patched_once_and_served(fleet: Fleet, deployed: Play) -> None:
    models = f"{SOURCE}/srt/models"
    labels = json.loads(fleet.sh("amd-01", "docker inspect --format '{{json .Config.Labels}}' sglang-0"))
    assert labels["sglang.fleet.base_reference"] == BASE
    assert labels["sglang.fleet.patches"] == "transformers-module-name,minimax-m2-torch-compile"
    listing = fleet.sh("amd-01", f"docker exec sglang-0 ls {models}").split()
    assert "hf_transformers_model.py" in listing
    assert "transformers.py" not in listing
    text = fleet.sh("amd-01", f"docker exec sglang-0 cat {models}/minimax_m2.py").splitlines()
    assert sum(line.strip() == f"#{DECORATOR}" for line in text) == 1
    assert sum(line.strip() == DECORATOR for line in text) == 0
    # The base is as it was: other versions of SGLang and other patches may build on it.
    original = fleet.sh("amd-01", f"docker run --rm --entrypoint cat {BASE} {models}/minimax_m2.py").splitlines()
    assert sum(line.strip() == DECORATOR for line in original) == 1


def test_patched_server_runs_the_patched_files(fleet: Fleet, deployed: Play) -> None:
    """The server's own processes have compiled them: Python leaves the compiled file beside the source."""
    script = "docker exec sglang-0 python3 -c 'import sglang; print(sglang.__path__[0])'; docker diff sglang-0"
    where, *changes = fleet.sh("amd-01", script).splitlines()
    assert where == SOURCE
    assert lines_of("\n".join(changes), f"{SOURCE}/srt/models/__pycache__/minimax_m2."), "\n".join(changes)


# --- As it should be ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def settled(fleet: Fleet, deployed: Play) -> Play:
    """A second run, which finds all as it should be."""
    with untouched(fleet, *GPU_NODES):
        play = fleet.playbook(*DEPLOY)
    play.succeeded()
    return play


def test_second_deploy_changes_nothing(settled: Play) -> None:
    assert settled.changed() == dict.fromkeys(GPU_NODES, 0), str(settled)


def test_check_mode_finds_nothing_to_do(fleet: Fleet, settled: Play) -> None:
    with untouched(fleet, *GPU_NODES):
        play = fleet.playbook(*DEPLOY, "--check", "--diff").succeeded()
    assert play.changed() == dict.fromkeys(GPU_NODES, 0), str(play)


def test_verify_passes_and_changes_nothing(fleet: Fleet, settled: Play) -> None:
    with untouched(fleet, *GPU_NODES):
        play = fleet.playbook("playbooks/verify.yml", "-l", "gpu_nodes")
    play.succeeded()
    assert play.changed() == dict.fromkeys(GPU_NODES, 0), str(play)


# --- Bad input ------------------------------------------------------------------------------------------------------

# One host's variables, and what the message about them must hold.
WRONG_VARIABLES = {
    "unknown model": ({"fleet_model": "M9"}, ("fleet_model", "M9", "M2.1", "M2.7")),
    "misspelt variable": ({"fleet_modle": "M2.7"}, ("fleet_modle", "did you mean fleet_model?")),
    "wrong type": ({"fleet_port": "many"}, ("fleet_port", "'many'", "a whole number", "30000")),
    "no layout": ({"fleet_layout": "all"}, ("fleet_layout", "auto", "1x8 or 2x4")),
}
# An image of a version whose arguments the catalogue does not list, as an operator's own may be.
WITHOUT_A_LIST = {"fleet_catalogue": {"images": {"v0.5.10.post1": {"sglang_version": "0.5.10.post2"}}}}
# The same for what only the node can tell: the other nodes go on.
WRONG_FOR_NODE = {
    "no legal plan": (
        {"fleet_layout": "1x3"},
        ("tp 3", "8 KV heads", "legal on this host: 1, 2, 4, 8", "set fleet_layout to 1x8"),
    ),
    "too few GPUs": ({"fleet_layout": "2x8"}, ("needs 16 GPUs", "8 x H200", "set fleet_layout to 1x8")),
    "no image of the version": (
        {"fleet_sglang_version": "0.5.7"},
        ("no image of SGLang 0.5.7 for H200", "set fleet_sglang_version to one of 0.5.9, 0.5.10.post1"),
    ),
    "image that no registry has": (
        {"fleet_image": "lmsysorg/sglang:v0.0.0"},
        ("lmsysorg/sglang:v0.0.0", "fleet_image", "fleet_registry_mirrors"),
    ),
    "argument that the version's list refuses": (
        {"fleet_server_args": {"no-such-flag": True}},
        ("fleet_server_args.no-such-flag", "SGLang 0.5.10.post1 does not know --no-such-flag"),
    ),
    "argument that SGLang refuses": (
        {"fleet_server_args": {"no-such-flag": True}, **WITHOUT_A_LIST},
        (
            "SGLang refuses",
            "unrecognized arguments: --no-such-flag",
            "fleet_server_args",
            "The running server was left",
        ),
    ),
    "address that is not the node's": (
        {"fleet_address": "no-such-name.invalid"},
        ("no-such-name.invalid cannot be resolved", "fleet_address"),
    ),
}


@pytest.mark.parametrize("case", WRONG_VARIABLES)
def test_wrong_variable_stops_all_before_any_node_is_asked(fleet: Fleet, settled: Play, case: str) -> None:
    values, words = WRONG_VARIABLES[case]
    with untouched(fleet, *GPU_NODES):
        play = fleet.playbook(*DEPLOY, host_vars={"grace-01": values})
        refused(play, "grace-01", *words)
    assert "launch_plan" not in play.out, f"it went on\n{play}"


@pytest.mark.parametrize("case", WRONG_FOR_NODE)
def test_wrong_for_one_node_lets_the_others_go_on(fleet: Fleet, settled: Play, case: str) -> None:
    values, words = WRONG_FOR_NODE[case]
    with untouched(fleet, *GPU_NODES):
        play = fleet.playbook(*DEPLOY, host_vars={"nvidia-01": values})
        refused(play, "nvidia-01", *words)
    others_went_on(play, settled)


def others_went_on(play: Play, settled: Play) -> None:
    """The nodes without a failure did all that a run in which nothing is wrong has them do."""
    for host, counts in play.recap.items():
        if counts["failed"] == 0:
            assert counts == settled.recap[host], f"{host} did not go on to the end\n{play}"


def test_port_in_use_names_its_holder(fleet: Fleet, settled: Play) -> None:
    fleet.sh("nvidia-01", "systemd-run --quiet --unit=holder python3 -m http.server 30077")
    try:
        with untouched(fleet, *GPU_NODES):
            play = fleet.playbook(*DEPLOY, host_vars={"nvidia-01": {"fleet_port": 30077}})
            refused(play, "nvidia-01", "port 30077", "held by python3", "pid ", "fleet_port")
    finally:
        fleet.sh("nvidia-01", "systemctl stop holder")
    others_went_on(play, settled)


def test_no_right_to_use_docker(fleet: Fleet, settled: Play) -> None:
    with untouched(fleet, "nvidia-01"):
        play = fleet.playbook("deploy.yml", "-l", "nvidia-01", extra={"ansible_become": False})
        refused(play, "nvidia-01", "may not read /var/lib/sglang-fleet/installed.json", "run with become")


def test_node_without_a_gpu(fleet: Fleet, settled: Play) -> None:
    with untouched(fleet, *GPU_NODES):
        play = fleet.playbook("deploy.yml", "-l", "gpu_nodes,cpu-01", extra={"fleet_target": "all"})
        refused(play, "cpu-01", "no GPU", "out of the group")
    others_went_on(play, settled)
    assert not fleet.written("cpu-01")


def test_missing_driver_then_unknown_gpu(fleet: Fleet, settled: Play) -> None:
    words = ("deploy.yml", "-l", "bare-01,grace-01")
    play = fleet.playbook(*words, extra={"fleet_target": "all", "fleet_driver": "keep"})
    refused(play, "bare-01", "no amdgpu driver", "amdgpu 30.10", "install amdgpu 30.30")
    others_went_on(play, settled)
    # The same GPUs with an ID that the catalogue lacks.
    fleet.sh(
        "bare-01", "sed --in-place s/0x74a1/0x7fff/ $(grep --files-with-matches 0x74a1 /sys/bus/pci/devices/*/device)"
    )
    play = fleet.playbook(*words, extra={"fleet_target": "all"})
    refused(play, "bare-01", "1002:7fff at 0000:05:00.0", "fleet_catalogue")
    assert not fleet.written("bare-01")
    assert not fleet.sh("bare-01", "docker images --all --quiet")


def test_missing_container_toolkit_is_named_before_the_pull(fleet: Fleet) -> None:
    extra = {"fleet_target": "spare_nodes", "container_engine_install": False}
    play = fleet.playbook("deploy.yml", "-l", "plain-01", extra=extra)
    refused(play, "plain-01", "NVIDIA's container toolkit is not on the host", "nvidia-ctk runtime configure")
    assert not fleet.written("plain-01")
    assert not fleet.sh("plain-01", "docker images --all --quiet")


def test_somebody_elses_unit_is_not_overwritten(fleet: Fleet) -> None:
    unit, environment = "/etc/systemd/system/sglang@.service", "/etc/sglang/theirs.env"
    text = "[Service]\nExecStart=/bin/true\n"
    fleet.sh("spare-01", f"mkdir -p /etc/sglang; printf '{text}' | tee {unit} {environment} > /dev/null")
    try:
        play = fleet.playbook("deploy.yml", "-l", "spare-01", extra={"fleet_target": "spare_nodes"})
        refused(play, "spare-01", unit, "not from sglang.fleet", "move it away")
        assert fleet.sh("spare-01", f"cat {unit} {environment}") == text * 2
        # Nor does a removal take a file for ours because of its name.
        fleet.sh("spare-01", f"rm {unit}")
        fleet.playbook("playbooks/remove.yml", "-l", "spare-01", extra={"fleet_target": "all"}).succeeded()
        assert fleet.sh("spare-01", f"cat {environment}") == text
    finally:
        fleet.sh("spare-01", f"rm --force {unit}; rm --recursive --force /etc/sglang")


def test_base_image_with_one_other_byte_fails_by_the_patchs_name(fleet: Fleet, settled: Play) -> None:
    """The tag now names other content, as when someone pushed another image under it."""
    change = f"s/{DECORATOR}/{DECORATOR.replace('backend()', 'backenD()')}/"
    file = f"{SOURCE}/srt/models/minimax_m2.py"
    original = fleet.sh("amd-01", f"docker image inspect --format '{{{{.Id}}}}' {BASE}").strip()
    known = fleet.sh("amd-01", "docker images --all --quiet --no-trunc").split()
    try:
        fleet.sh(
            "amd-01",
            f"set -e; docker run --name=changed --entrypoint=/bin/sed {BASE} -i {shlex.quote(change)} {file}\n"
            f"docker commit changed {BASE}; docker rm changed",
        )
        with untouched(fleet, *GPU_NODES):
            play = fleet.playbook(*DEPLOY)
            refused(play, "amd-01", "patch minimax-m2-torch-compile", DECORATOR, "found it 0 times", BASE)
        left = fleet.sh(
            "amd-01", "docker images --all --quiet --no-trunc --filter label=sglang.fleet.patch_hash"
        ).split()
    finally:
        fleet.sh("amd-01", f"docker rm --force changed; docker rmi {BASE}; docker tag {original} {BASE}", check=False)
    others_went_on(play, settled)
    assert set(left) <= set(known), "a half-built image is left"
    assert fleet.playbook("deploy.yml", "-l", "amd-01").changed() == {"amd-01": 0}


# --- Trouble on a node -----------------------------------------------------------------------------------------------


def test_killed_server_serves_again_without_a_hand(fleet: Fleet, settled: Play) -> None:
    before = fleet.started("nvidia-01")
    fleet.sh("nvidia-01", "docker kill sglang-0")
    eventually("nvidia-01 serves again", lambda: fleet.serves("nvidia-01") and fleet.started("nvidia-01") != before)
    assert fleet.chat("nvidia-01", MODEL["nvidia-01"])[1]


def test_rebooted_node_serves_without_a_hand(fleet: Fleet, settled: Play) -> None:
    boot = fleet.sh("grace-01", "cat /proc/sys/kernel/random/boot_id")
    fleet.ansible("grace-01", "-b", "-m", "ansible.builtin.reboot").succeeded()
    assert fleet.sh("grace-01", "cat /proc/sys/kernel/random/boot_id") != boot
    eventually("grace-01 serves again", lambda: fleet.serves("grace-01"))
    assert fleet.chat("grace-01", MODEL["grace-01"])[1]


def test_deploy_after_that_changes_nothing(fleet: Fleet, settled: Play) -> None:
    with untouched(fleet, *GPU_NODES):
        play = fleet.playbook(*DEPLOY)
    play.succeeded()
    assert play.changed() == dict.fromkeys(GPU_NODES, 0), str(play)
    others_went_on(play, settled)


# --- Secrets ---------------------------------------------------------------------------------------------------------

KEY, OTHER_KEY, TOKEN = "sentinel-key-0123456789", "sentinel-other-key-9876543210", "hf_sentineltoken0123456789"
# Where secrets show up by themselves: in what everyone on the node may read, and in logs.
OPEN_PLACES = (
    "systemctl cat sglang@0",
    "systemctl show sglang@0",
    "cat /etc/sglang/*.env",
    "docker inspect sglang-0",
    "docker ps --all --no-trunc",
    "ps -eww -o args",
    "cat /proc/[0-9]*/cmdline",
    "cat /proc/[0-9]*/environ",
    "journalctl --no-pager --output=export",
    "cat /var/lib/sglang-fleet/state.json",
    "find /run/containerd /var/lib/docker/containers -name '*.json' -exec cat {} +",
)


def deploy_with(fleet: Fleet, key: str, token: str) -> Play:
    """As loud as it gets, on one node."""
    values = {"fleet_api_key": key, "fleet_hf_token": token}
    extra = {name: value for name, value in values.items() if value}
    play = fleet.playbook("deploy.yml", "-l", "nvidia-01", "-vvv", "--diff", extra=extra)
    leaks = [name for name, secret in (("key", KEY), ("other key", OTHER_KEY), ("token", TOKEN)) if secret in play.out]
    assert not leaks, f"in Ansible's output: {leaks}\n" + "\n".join(lines_of(play.out, "entinel")[:5])
    play.succeeded()
    return play


def files_with(fleet: Fleet, host: str, *secrets: str) -> list[str]:
    """Mode, owner and path of each file of the node that holds one of the secrets."""
    patterns = "\n".join(secrets)
    return fleet.sh(
        host,
        "grep --recursive --files-with-matches --fixed-strings --devices=skip --no-messages "
        f"--file=/dev/fd/3 /etc /home /opt /root /run /srv /tmp /usr/local /var/lib/sglang-fleet "
        f"/var/lib/docker/containers /var/log /var/tmp 3<<'END' | sort | xargs --no-run-if-empty stat --format='%a %U:%G %n'\n"
        f"{patterns}\nEND\n",
        check=False,
    ).splitlines()


@pytest.fixture(scope="module")
def locked(fleet: Fleet, settled: Play) -> Play:
    """nvidia-01 with a key and a token."""
    return deploy_with(fleet, KEY, TOKEN)


def test_request_without_the_key_gets_401(fleet: Fleet, locked: Play) -> None:
    assert fleet.get("nvidia-01", "/v1/models")[0] == 401
    assert fleet.get("nvidia-01", "/v1/models", key=OTHER_KEY)[0] == 401
    assert fleet.get("nvidia-01", "/v1/models", key=KEY)[0] == 200
    assert fleet.chat("nvidia-01", MODEL["nvidia-01"], key=KEY)[1]


@pytest.mark.parametrize("place", OPEN_PLACES)
def test_no_secret_in_the_open(fleet: Fleet, locked: Play, place: str) -> None:
    text = fleet.sh("nvidia-01", place, check=False)
    assert text.strip(), f"`{place}` says nothing"
    for secret in (KEY, TOKEN):
        assert secret not in text, "\n".join(lines_of(text.replace("\0", "\n"), secret)[:5])


def test_secrets_are_in_two_files_for_root_alone(fleet: Fleet, locked: Play) -> None:
    assert files_with(fleet, "nvidia-01", KEY, TOKEN) == [
        "600 root:root /etc/sglang/0.yaml",
        "600 root:root /etc/sglang/hf_token",
    ]


def test_second_deploy_with_the_key_changes_nothing(fleet: Fleet, locked: Play) -> None:
    with untouched(fleet, "nvidia-01"):
        assert deploy_with(fleet, KEY, TOKEN).changed() == {"nvidia-01": 0}


def test_changed_key_takes_over_and_neither_is_shown(fleet: Fleet, locked: Play) -> None:
    before = fleet.started("nvidia-01")
    play = deploy_with(fleet, OTHER_KEY, TOKEN)
    assert "-api-key: (a secret)" in play.out, f"the difference does not say that the key changes\n{play}"
    assert fleet.started("nvidia-01") != before
    assert fleet.get("nvidia-01", "/v1/models", key=KEY)[0] == 401
    assert fleet.get("nvidia-01", "/v1/models", key=OTHER_KEY)[0] == 200


def test_key_taken_away_leaves_nothing_behind(fleet: Fleet, locked: Play) -> None:
    deploy_with(fleet, "", "")
    assert fleet.get("nvidia-01", "/v1/models")[0] == 200
    assert not files_with(fleet, "nvidia-01", KEY, OTHER_KEY, TOKEN)
    assert fleet.sh("nvidia-01", "ls /etc/sglang").split() == ["0.env", "0.yaml"]


def test_failed_gate_is_not_forgotten(fleet: Fleet, settled: Play) -> None:
    """What passed before the server was started anew says nothing of the server after it."""
    recorded = (
        'python3 -c \'import json; print(list(json.load(open("/var/lib/sglang-fleet/state.json"))["instances"]))\''
    )
    assert fleet.sh("nvidia-01", recorded).strip() == "['0']"
    change = {"sglang_server_stop_seconds": 299}
    play = fleet.playbook("deploy.yml", "-l", "nvidia-01", extra={**change, "smoke_test_startup_seconds": 0})
    refused(play, "nvidia-01", "gate health failed", "after 0 s", "smoke_test_startup_seconds")
    assert fleet.sh("nvidia-01", recorded).strip() == "[]"
    play = fleet.playbook("deploy.yml", "-l", "nvidia-01", extra=change)
    play.succeeded()
    assert fleet.sh("nvidia-01", recorded).strip() == "['0']"


def test_unit_waits_for_device_nodes_that_come_late(fleet: Fleet, settled: Play) -> None:
    script = "/usr/local/lib/sglang-fleet/before-start nobody --network=host --device=/dev/late"
    out = fleet.sh("grace-01", f"(sleep 2; touch /dev/late) & timeout 60 {script}; echo rc $?; rm /dev/late")
    assert out.splitlines() == ["waiting for /dev/late", "rc 0"]


# --- A server that cannot start -------------------------------------------------------------------------------------


def test_port_in_use_on_a_virgin_node_leaves_nothing(fleet: Fleet) -> None:
    fleet.sh("spare-01", f"systemd-run --quiet --unit=holder python3 -m http.server {PORT}")
    try:
        play = fleet.playbook("deploy.yml", "-l", "spare-01", extra={"fleet_target": "spare_nodes"})
    finally:
        fleet.sh("spare-01", "systemctl stop holder")
    refused(play, "spare-01", f"port {PORT}", "held by python3", "fleet_port")
    assert not fleet.written("spare-01")
    assert not fleet.sh("spare-01", "ls /etc/systemd/system | grep sglang", check=False)


def test_argument_that_sglang_refuses_ends_with_its_message(fleet: Fleet) -> None:
    extra = {"fleet_target": "spare_nodes", "fleet_server_args": {"no-such-flag": True}, **WITHOUT_A_LIST}
    play = fleet.playbook("deploy.yml", "-l", "spare-01", extra=extra)
    refused(play, "spare-01", "sglang@0.service", "unrecognized arguments: --no-such-flag")
    assert "state.json" not in fleet.written("spare-01"), "what never passed is recorded as applied"


def test_remove_takes_away_a_server_that_never_started(fleet: Fleet) -> None:
    removed(fleet, "spare-01")


# --- To nothing -----------------------------------------------------------------------------------------------------


def test_remove_leaves_no_trace(fleet: Fleet, deployed: Play) -> None:
    removed(fleet, *GPU_NODES)
    for host in GPU_NODES:
        assert not fleet.serves(host)
        assert IMAGE[host] in fleet.sh(host, "docker images --format '{{.Repository}}:{{.Tag}}'"), "the image stays"


def test_limit_without_a_gpu_node_fails_before_any_host_is_asked(fleet: Fleet) -> None:
    for playbook in ("deploy.yml", "playbooks/remove.yml", "playbooks/plan.yml"):
        play = fleet.playbook(playbook, "-l", "plain-01")
        assert play.rc != 0, str(play)
        assert not play.recap
        assert "no host of 'plain-01' (--limit) is in gpu_nodes" in " ".join(play.out.split()), str(play)


def removed(fleet: Fleet, *hosts: str) -> None:
    words = ("playbooks/remove.yml", "-l", ",".join(hosts))
    play = fleet.playbook(*words, extra={"fleet_target": "all"})
    play.succeeded()
    assert min(play.changed().values()) > 0, str(play)
    for host in hosts:
        # Empty folders, the weights, and the record of what the host software installed may stay.
        left = fleet.sh(
            host,
            "find / -xdev -path /proc -prune -o -iname '*sglang*' ! -type d -print\n"
            "find /etc/sglang /usr/local/lib/sglang-fleet /var/lib/sglang-fleet -type f ! -name installed.json\n"
            "systemctl list-units --all --no-legend --no-pager 'sglang*'\n"
            "systemctl list-unit-files --no-legend --no-pager 'sglang*'\n"
            "docker ps --all --format '{{.Names}}'\n"
            "docker images --all --format '{{.Repository}}:{{.Tag}}' --filter label=sglang.fleet.patch_hash\n",
            check=False,
        )
        assert not left, f"{host}: left behind:\n{left}"
    again = fleet.playbook(*words, extra={"fleet_target": "all"})
    again.succeeded()
    assert again.changed() == dict.fromkeys(hosts, 0), str(again)
