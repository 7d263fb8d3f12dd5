# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's stand-ins for GPU tools print what the parsers read on real nodes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._gpu import read_gpus
from ansible_collections.sglang.fleet.plugins.module_utils._gpu_amd import AMD_SMI, parse_amd_smi, parse_properties
from ansible_collections.sglang.fleet.plugins.module_utils._gpu_nvidia import (
    SMI_APPS,
    SMI_QUERY,
    SMI_TOPOLOGY,
    parse_apps,
    parse_smi,
    parse_topology,
)
from tests.unit.plugins.module_utils.fixtures.gpu.host import KNOWN

FAKEGPU = Path(__file__).parents[4] / "molecule" / "lab" / "node" / "fakegpu"
NO_PID = 2**22 + 1  # above what Linux gives

# The stand-ins write a node's own /sys and /dev as root; here the same calls end up below a folder.
BELOW = """
import builtins, grp, os, types

def below(function, *places):
    def call(*words, **more):
        words = list(words)
        for place in places:
            if str(words[place]).startswith(("/sys/", "/dev/", "/proc/", "/usr/", "/opt/")):
                words[place] = ROOT + words[place]
        return function(*words, **more)
    return call

builtins.open = below(open, 0)
for name in ("makedirs", "unlink", "chmod"):
    setattr(os, name, below(getattr(os, name), 0))
os.symlink = below(os.symlink, 1)
os.path.exists, os.path.lexists = below(os.path.exists, 0), below(os.path.lexists, 0)
os.mknod = lambda path, mode, device: open(path, "x").close()
os.chown = lambda path, uid, gid: None
grp.getgrnam = lambda name: types.SimpleNamespace(gr_gid=0)
import amd
amd.build(STATE)
"""


def lab(code: str) -> str:
    """What a piece of Python prints among the stand-ins' own modules."""
    script = f"import json, sys; sys.path.insert(0, {str(FAKEGPU)!r}); sys.dont_write_bytecode = True\n{code}"
    return subprocess.run([sys.executable, "-IS", "-c", script], check=True, capture_output=True, text=True).stdout


class Node:
    """A node with the GPUs of `spec`; its tools look into `folder` in place of /run/fakegpu."""

    def __init__(self, folder: Path, spec: str) -> None:
        self.folder = folder
        text = lab(f"import spec; print(json.dumps(spec.parse({spec!r})))")
        self.state = json.loads(text)
        (folder / "state.json").write_text(text, "utf-8")

    def ask(self, words: tuple[str, ...]) -> str:
        source = (FAKEGPU / "tools" / f"{words[0].replace('-', '_')}.py").read_text("utf-8")
        assert "/run/fakegpu/" in source
        script = self.folder / "tool.py"
        script.write_text(source.replace("/run/fakegpu/", f"{self.folder}/"), "utf-8")
        return subprocess.run(
            [sys.executable, "-IS", str(script), *words[1:]], check=True, capture_output=True, text=True
        ).stdout


def test_nvidia_smi(tmp_path: Path) -> None:
    node = Node(tmp_path, "h200:8,used=12")
    rows = parse_smi(node.ask(SMI_QUERY))
    assert list(rows) == [gpu["bus"] for gpu in node.state["gpus"]]
    assert [row.index for row in rows.values()] == list(range(8))
    assert {(row.memory_mib, row.used_mib, row.mig) for row in rows.values()} == {(143771, 12, False)}
    assert parse_apps(node.ask(SMI_APPS)) == []
    assert parse_topology(node.ask(SMI_TOPOLOGY)) == {
        index: [other for other in range(8) if other != index] for index in range(8)
    }


def test_nvidia_smi_without_nvlink_and_with_mig(tmp_path: Path) -> None:
    node = Node(tmp_path, "a100:4,nonvlink,mig")
    assert parse_topology(node.ask(SMI_TOPOLOGY)) == {index: [] for index in range(4)}
    assert all(row.mig for row in parse_smi(node.ask(SMI_QUERY)).values())


def test_nvidia_smi_with_a_process(tmp_path: Path) -> None:
    node = Node(tmp_path, "h200:2")
    held = [{"pid": os.getpid(), "mib": 1000, "gpus": [1]}, {"pid": NO_PID, "mib": 500, "gpus": [0]}]
    (tmp_path / "held.json").write_text(json.dumps(held), "utf-8")
    apps = parse_apps(node.ask(SMI_APPS))
    assert [(app.pid, app.memory_mib, app.uuid) for app in apps] == [
        (os.getpid(), 1000, "GPU-" + node.state["gpus"][1]["uuid"])
    ]
    assert [row.used_mib for row in parse_smi(node.ask(SMI_QUERY)).values()] == [0, 1000]


@pytest.mark.parametrize(
    ("spec", "version"), [("mi300x:2", "6.16.13"), ("mi300x:2,inbox", os.uname().release)], ids=["dkms", "inbox"]
)
def test_amd_smi(tmp_path: Path, spec: str, version: str) -> None:
    node = Node(tmp_path, spec)
    rows = parse_amd_smi(node.ask(AMD_SMI))
    assert [row.pci_address for row in rows] == [gpu["bus"] for gpu in node.state["gpus"]]
    assert {(row.memory_mib, row.driver_version) for row in rows} == {(196592, version)}


@pytest.mark.parametrize(("spec", "agents"), [("mi300x:8", 8), ("mi355x:8", 8), ("mi300x:8,cpx", 64)])
def test_sysfs_of_amd(tmp_path: Path, spec: str, agents: int) -> None:
    node = Node(tmp_path, spec)
    lab(f"ROOT, STATE = {str(tmp_path)!r}, {node.state!r}\n{BELOW}")
    drm = tmp_path / "sys/class/drm"
    owners = {int(path.name[7:]): (path / "device").resolve(strict=True).name for path in drm.glob("renderD*")}
    assert sorted(owners) == list(range(128, 192))
    for gpu in node.state["gpus"]:
        first = 128 + 8 * gpu["index"]
        others = [f"amdgpu_xcp_{7 * gpu['index'] + part}" for part in range(7)]
        assert [owners[first + part] for part in range(8)] == [gpu["bus"], *others]
    assert sorted(path.name for path in (tmp_path / "dev/dri").iterdir()) == sorted(path.name for path in drm.iterdir())

    properties = [
        parse_properties(path.read_text("utf-8"))
        for path in (tmp_path / "sys/class/kfd/kfd/topology/nodes").glob("*/properties")
    ]
    minors = sorted(int(found["drm_render_minor"]) for found in properties if "drm_render_minor" in found)
    assert minors == list(range(128, 192, 64 // agents))

    facts = read_gpus(KNOWN, str(tmp_path))
    assert (facts.count, facts.partitioned, facts.hidden) == (8, agents != 8, [])
    assert [device.nodes for device in facts.devices] == [[f"/dev/dri/renderD{128 + 8 * index}"] for index in range(8)]
    assert [len(device.links) for device in facts.devices] == [7] * 8


@pytest.mark.parametrize("partitions", [1, 8])
def test_links_of_kfd(tmp_path: Path, partitions: int) -> None:
    node = Node(tmp_path, "mi355x:4")
    state, gpu = node.state, node.state["gpus"][3]
    texts = json.loads(lab(f"import amd; print(json.dumps(amd.io_links({state!r}, {gpu!r}, {partitions}, 3)))"))
    links = [parse_properties(text) for text in texts]
    assert [(link["type"], link["node_to"]) for link in links] == [
        ("2", "1"),
        *(("11", str(2 + other)) for other in range(4 * partitions) if other != 3),
    ]
    assert {link["node_from"] for link in links} == {"5"}


# --- Drivers that packages bring ---


def packaged(root: Path, spec: str) -> dict[str, t.Any]:
    """A node's state after its packages were looked at."""
    code = f"import spec; s = spec.parse({spec!r}); spec.take_packages(s, {str(root)!r}); print(json.dumps(s))"
    state: dict[str, t.Any] = json.loads(lab(code))
    return state


def test_node_without_a_driver_has_none_until_a_package_brings_one(tmp_path: Path) -> None:
    assert packaged(tmp_path, "h200:8,nodriver")["options"] == {"nodriver": True}
    place = tmp_path / "usr/share/fakegpu/driver"
    place.parent.mkdir(parents=True)
    place.write_text("nvidia 580.95.05\n")
    state = packaged(tmp_path, "h200:8,nodriver")
    assert (state["driver"], state["packaged"]) == ("580.95.05", "stand-in")
    # The driver brings no container toolkit along.
    assert state["options"] == {"noruntime": True}
    # Another vendor's package is not this node's driver.
    assert packaged(tmp_path, "mi300x:8,nodriver")["options"] == {"nodriver": True}


def test_package_wins_over_the_option(tmp_path: Path) -> None:
    place = tmp_path / "usr/share/fakegpu/driver"
    place.parent.mkdir(parents=True)
    place.write_text("amd 6.16.13\n")
    assert packaged(tmp_path, "mi300x:8,driver=6.12.12")["driver"] == "6.16.13"


def test_module_that_dkms_built_counts(tmp_path: Path) -> None:
    for version in ("525.147.05", "535.309.01"):
        module = tmp_path / "var/lib/dkms/nvidia-current" / version / "6.1.0-40-cloud-amd64/x86_64/module/nvidia.ko"
        module.parent.mkdir(parents=True)
        module.touch()
    state = packaged(tmp_path, "h200:8,nodriver")
    assert (state["driver"], state["packaged"]) == ("535.309.01", "dkms")
