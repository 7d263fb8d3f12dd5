# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the doctor reads of a host: files in a tree, and tools that are there, missing, failing or hanging."""

from __future__ import annotations

import json
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils import _doctor_probe
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._doctor import diagnose
from ansible_collections.sglang.fleet.plugins.module_utils._doctor_containers import Containers, allowed, epoch
from ansible_collections.sglang.fleet.plugins.module_utils._doctor_files import (
    disk,
    environment_file,
    instances,
    option_words,
    read_json,
    repository_bytes,
    visible,
)
from ansible_collections.sglang.fleet.plugins.module_utils._doctor_probe import Clock, fabric_manager_version, look
from ansible_collections.sglang.fleet.plugins.module_utils._gpu_common import Answer, run_tool
from ansible_collections.sglang.fleet.plugins.module_utils._serving import instance_files

# --- Tools ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for tools; the host has no others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setattr(_doctor_probe, "run_tool", lambda words, seconds: run_tool(words, seconds, folders=str(folder)))
    return folder


def tool(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_host_without_anything(tools: Path, tmp_path: Path) -> None:
    """No tool, no /sys, no /proc: nothing raises, and the only finding is that there is no GPU."""
    (tmp_path / "root").mkdir()
    snapshot = look({}, clock=Clock(str(tmp_path / "root")))
    assert json.loads(json.dumps(snapshot)) == snapshot
    assert [item["id"] for item in diagnose(snapshot, load_catalogue())] == ["gpu-missing"]


def test_tools_that_fail_or_talk_nonsense(tools: Path, tmp_path: Path) -> None:
    (tmp_path / "root/sys/module/nvidia").mkdir(parents=True)
    for name in ("nvidia-smi", "systemctl", "journalctl", "dmesg", "dpkg-query", "rpm", "modinfo", "nv-fabricmanager"):
        tool(tools, name, "echo '\\0=nonsense='; exit 1")
    tool(tools, "docker", "echo '{not json'")
    snapshot = look({}, clock=Clock(str(tmp_path / "root")))
    assert "not understood" in snapshot["engine"]["problem"]
    diagnose(snapshot, load_catalogue())


def test_a_tool_that_hangs_is_given_up_and_named(tools: Path, tmp_path: Path) -> None:
    (tmp_path / "root/sys/module/nvidia").mkdir(parents=True)
    tool(tools, "nvidia-smi", "exec sleep 60")
    tool(tools, "docker", "exec sleep 60")
    begun = time.monotonic()
    snapshot = look({}, clock=Clock(str(tmp_path / "root"), tool=0.5, whole=2))
    assert time.monotonic() - begun < 4
    assert set(snapshot["hung"]) == {"nvidia-smi", "docker"}
    assert all(0.4 < seconds < 2 for seconds in snapshot["hung"].values())


def test_all_tools_together_have_one_limit(tools: Path) -> None:
    for number in range(20):
        tool(tools, f"slow{number}", "exec sleep 60")
    clock = Clock(tool=0.3, whole=0.5)
    begun = time.monotonic()
    for number in range(20):
        assert clock.ask([f"slow{number}"]) == Answer(None)
    assert time.monotonic() - begun < 2
    # The second got what was left of the time: that says nothing of it.
    assert set(clock.hung) == {"slow0"}


def test_a_clock_runs_tools_as_a_module_does(tools: Path) -> None:
    tool(tools, "good", "echo out; echo err >&2")
    tool(tools, "bad", "echo out; exit 3")
    clock = Clock()
    assert clock.run(["good"]) == (0, "out\n", "err\n")
    assert clock.run(["gone"])[0] == 127
    assert (clock.text("good"), clock.text("bad"), clock.text("gone")) == ("out\n", "", "")


@pytest.mark.parametrize(
    ("journal", "dmesg", "source", "lines"),
    [
        ("echo '2026-02-14T05:03:41+0000 h kernel: NVRM: Xid (PCI:0000:44:00): 79, x'", "", "journalctl", 1),
        ("true", "echo '2026-02-14T05:03:41,1+00:00 amdgpu 0000:05:00.0: amdgpu: GPU reset begin!'", "dmesg", 1),
        ("true", '[ "$1" ] && exit 1; echo "[ 1.2] amdgpu 0000:05:00.0: amdgpu: GPU reset begin!"', "dmesg", 1),
        ("echo nothing of GPUs", "", "journalctl", 0),
        # corrected by the hardware: `no user action is needed`
        ("echo 'amdgpu 0000:c1:00.0: amdgpu: 1 correctable hardware errors detected in total in gfx block'", "", "journalctl", 0),
        ("for i in $(seq 500); do echo 'NVRM: Xid (PCI:0000:44:00): 31, x'; done", "", "journalctl", 50),
    ],
)  # fmt: skip
def test_kernel_log(tools: Path, journal: str, dmesg: str, source: str, lines: int) -> None:
    tool(tools, "journalctl", journal)
    tool(tools, "dmesg", dmesg)
    found = _doctor_probe._kernel_log(Clock())
    assert (found["source"], len(found["lines"])) == (source, lines)


def test_a_file_that_hangs_does_not_hold_the_doctor(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead network disk, for one; and an error of the doctor's own costs the one part alone."""
    (tmp_path / "root").mkdir()
    monkeypatch.setattr(_doctor_probe, "repository_bytes", lambda _path: time.sleep(60))
    monkeypatch.setattr(_doctor_probe, "disk", lambda *_words: {}["x"])
    begun = time.monotonic()
    snapshot = look({}, clock=Clock(str(tmp_path / "root"), whole=0.5))
    assert time.monotonic() - begun < 4
    assert snapshot["unexamined"] == {"weights": "it did not end in time", "disks": "KeyError: 'x'"}
    findings = {item["id"] for item in diagnose(snapshot, load_catalogue())}
    assert findings == {"gpu-missing", "not-examined"}


@pytest.mark.parametrize(("package", "file", "there"), [("", "", False), ("nvlsm", "", True), ("", "nvlsm", True)])
def test_nvlinks_subnet_manager(tools: Path, tmp_path: Path, package: str, file: str, there: bool) -> None:
    folder = tmp_path / "root/opt/nvidia/nvlsm/sbin"
    folder.mkdir(parents=True)
    if file:
        (folder / file).touch()
    tool(tools, "dpkg-query", f"printf '{package or 'dkms'}\\t2025.06.11-1\\tinstalled\\tinstall\\n'")
    assert look({}, clock=Clock(str(tmp_path / "root")))["host"]["nvlsm"] is there


def test_fabric_managers_version() -> None:
    assert fabric_manager_version("\n\n\tFabric Manager version is : 535.161.08\n\n") == "535.161.08"
    assert fabric_manager_version("command not found") is None


def test_an_amd_cards_power_and_errors(tmp_path: Path) -> None:
    for name, text in {
        "hwmon/hwmon7/power1_cap": "500000000\n",
        "hwmon/hwmon7/power1_cap_default": "750000000\n",
        "ras/umc_err_count": "ue: 2\nce: 14\n",
        "ras/features": "feature mask: 0x1\n",
        "power_dpm_force_performance_level": "manual\n",
    }.items():
        path = tmp_path / "sys/bus/pci/devices/a" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert _doctor_probe._amd(str(tmp_path), "a") == {
        "pci_address": "a",
        "cap_w": 500.0,
        "cap_default_w": 750.0,
        "level": "manual",
        "uncorrectable": {"umc": 2},
    }


# --- Containers -----------------------------------------------------------------------------------------------------

# DeviceAllow of docker's scope as systemd 252 shows it, and devices.list of a container that lost its GPUs
# (nvidia-container-toolkit#251).
SCOPE = ["block-* m", "char-* m", "/dev/char/1:3 rwm", "/dev/char/5:0 rwm", "/dev/char/10:200 rwm", "char-pts rwm"]
V1_LOST = ["c 1:3 rwm", "c 195:* m", "c *:* m", "b *:* m"]
V1_HAS = [*V1_LOST, "c 195:254 rw", "c 195:0 rw"]


@pytest.mark.parametrize(
    ("rules", "major", "minor", "may"),
    [
        (SCOPE, 195, 0, False),
        (SCOPE, 1, 3, True),
        ([*SCOPE, "/dev/char/195:0 rw"], 195, 0, True),
        ([*SCOPE, "/dev/char/195:0 rw"], 195, 1, False),
        ([*SCOPE, "char-nvidia-frontend rw"], 195, 1, True),
        ([*SCOPE, "/dev/nvidia0 rw"], 195, 0, True),
        ([*SCOPE, "char-* rwm"], 195, 0, True),
        (V1_LOST, 195, 0, False),
        (V1_HAS, 195, 0, True),
        (["a *:* rwm"], 195, 0, True),
        ([], 195, 0, False),
    ],
)
def test_device_rules(rules: list[str], major: int, minor: int, may: bool) -> None:
    assert allowed(rules, major, minor) is may


def test_epoch() -> None:
    assert epoch("2026-11-22T12:38:03.841585089Z") == pytest.approx(1795351083.841585)
    assert epoch("") is None


class Engine:
    """Answers the calls that are made of docker and systemd; others fail."""

    root = "/nowhere"

    def __init__(self, answers: dict[str, tuple[int, str, str]]) -> None:
        self.answers = answers

    def run(self, words: list[str]) -> tuple[int, str, str]:
        return next((answer for key, answer in self.answers.items() if key in " ".join(words)), (1, "", "no"))

    def text(self, *words: str) -> str:
        code, out, _err = self.run(list(words))
        return out if code == 0 else ""


INSPECTED = {
    "Id": "f" * 64,
    "Name": "/sglang-0",
    "Image": "sha256:one",
    "State": {"Running": True, "Pid": 42, "StartedAt": "2026-11-22T12:38:03Z"},
    "HostConfig": {
        "ShmSize": 67108864,
        "IpcMode": "private",
        "GroupAdd": ["105"],
        "Devices": None,
        "Privileged": False,
    },
    "Config": {"Env": ["HF_TOKEN=secret", "CUDA_VISIBLE_DEVICES=0", "PATH=/bin"]},
}
JOURNAL = (
    "2026-11-22T12:39:00+0000 gpu-1 sglang-0[9]: loading\n"
    "2026-11-22T12:40:00+0000 gpu-1 sglang-0[9]: Failed to initialize NVML: Unknown Error\n"
)


def test_a_container() -> None:
    engine = Engine(
        {
            "--version": (0, "Docker version 26.1.5", ""),
            "docker info": (0, "/var/lib/docker\n", ""),
            "docker ps": (0, "f" * 64 + "\n", ""),
            "container inspect": (0, json.dumps([INSPECTED]), ""),
            "image ls": (0, '{"Repository": "a/b", "Tag": "c", "Digest": "<none>", "ID": "d"}\n', ""),
            "journalctl": (0, JOURNAL, ""),
        }
    )
    found = Containers(engine, 0).look()
    assert (found["problem"], found["root"], found["images"]) == (None, "/var/lib/docker", ["a/b:c"])
    [container] = found["containers"]
    assert container["environment"] == {"CUDA_VISIBLE_DEVICES": "0"}
    assert "secret" not in json.dumps(found)
    assert container["said_lost"] == "2026-11-22T12:40:00+0000"
    assert (container["shm_bytes"], container["groups"]) == (67108864, ["105"])


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ({"--version": (127, "", "")}, None),
        (
            {"--version": (0, "", ""), "docker info": (1, "", "Cannot connect to the Docker daemon at unix:///")},
            "does not run",
        ),
    ],
)
def test_no_engine_is_no_problem_and_a_dead_one_is(answers: dict[str, t.Any], problem: str | None) -> None:
    found = Containers(Engine(answers), 0).look()
    assert problem in found["problem"] if problem else found["problem"] is None


# --- Files ----------------------------------------------------------------------------------------------------------


def test_instances_as_they_are_written(tmp_path: Path) -> None:
    """Read back what the collection writes, quotes and all."""
    options = ['--gpus="device=GPU-a,GPU-b"', "--shm-size=32g", "--env=A=$HOME `x`", "--device=/dev/nvidia0"]
    instance = {"name": "0", "container_options": options, "server_args": {"host": "10.0.0.1", "port": 30000, "tp": 8}}
    (tmp_path / "etc/sglang").mkdir(parents=True)
    for file in instance_files([instance], {"reference": "r", "id": "sha256:one"}, with_api_key=True):
        (tmp_path / file["path"].lstrip("/")).write_text(file["content"].replace("@@api_key@@", "hush"))
    (tmp_path / "etc/sglang/other.env").write_text("SGLANG_IMAGE=not ours\n")
    [found] = instances(str(tmp_path), "/etc/sglang")
    assert found["options"][: len(options)] == options
    assert (found["name"], found["image"], found["endpoint"]) == ("0", "sha256:one", "http://10.0.0.1:30000")
    assert found["written"] > 0
    assert "hush" not in json.dumps(found)


def test_environment_files() -> None:
    assert environment_file('# x\nA="b \\"c\\" \\$d"\nE=f\nnonsense\n') == {"A": 'b "c" $d', "E": "f"}
    assert option_words("'torn") == []
    lines = ["export HIP_VISIBLE_DEVICES='0,1'", "CUDA_VISIBLE_DEVICES=", "TOKEN=x", "#CUDA_VISIBLE_DEVICES=1", ""]
    assert visible(lines) == {"HIP_VISIBLE_DEVICES": "0,1", "CUDA_VISIBLE_DEVICES": ""}


def test_records(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert read_json(str(path)) == ({}, False)
    path.write_text('{"a": 1}')
    assert read_json(str(path)) == ({"a": 1}, False)
    path.write_text('{"a": ')
    assert read_json(str(path)) == ({}, True)


def test_a_folder_that_is_not_there_yet_is_on_its_parents_disk(tmp_path: Path) -> None:
    found = disk(str(tmp_path), "/srv/weights/hub")
    assert found is not None
    assert found["path"] == "/srv/weights/hub"
    assert 0 < found["free_mib"] <= found["total_mib"]


def test_weights_are_counted_by_their_blobs(tmp_path: Path) -> None:
    blobs = tmp_path / "hub/models--MiniMaxAI--MiniMax-M2.7/blobs"
    blobs.mkdir(parents=True)
    (blobs / "one").write_bytes(b"x" * 1000)
    (blobs / "two.incomplete").write_bytes(b"x" * 10)
    assert repository_bytes(str(tmp_path)) == {"MiniMaxAI/MiniMax-M2.7": 1010}
    assert repository_bytes("/nowhere") == {}
