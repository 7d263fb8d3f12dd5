# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""nvidia-smi's outputs; fixtures/gpu/README.md says where each is from."""

from __future__ import annotations

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._gpu_nvidia import (
    SmiApp,
    SmiRow,
    parse_apps,
    parse_smi,
    parse_topology,
)
from tests.unit.plugins.module_utils.fixtures.gpu.host import fixture, uuid

SMI_ROWS: list[tuple[str, dict[str, SmiRow]]] = [
    ("", {}),
    (
        f"00000000:C5:00.0, 3, 143771, 12, Disabled, {uuid(3)}",
        {"0000:c5:00.0": SmiRow("0000:c5:00.0", 3, 143771, 12, False, uuid(3))},
    ),
    (
        "00000001:C5:00.0, 0, 81920 MiB, 0 MiB, Enabled, ERR!",
        {"0001:c5:00.0": SmiRow("0001:c5:00.0", 0, 81920, 0, True, None)},
    ),
    ("NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.", {}),
    ("No devices were found", {}),
    ("0, NVIDIA H200, 143771", {}),
    ("0, GPU-a, NVIDIA H200, 143771, 580.65.06, 9.0", {}),
    (
        fixture("smi_not_available.csv"),
        {
            "0000:c5:00.0": SmiRow("0000:c5:00.0", 0, None, None, False, uuid(0)),
            "0000:c6:00.0": SmiRow("0000:c6:00.0", 1, None, None, False, None),
        },
    ),
]


@pytest.mark.parametrize(("text", "rows"), SMI_ROWS)
def test_parse_smi(text: str, rows: dict[str, SmiRow]) -> None:
    assert parse_smi(text) == rows


NODES: list[tuple[str, list[str], int, list[bool]]] = [
    ("smi_h200.csv", ["19", "3b", "4c", "5d", "9b", "bb", "cb", "db"], 143771, [False] * 8),
    ("smi_b200.csv", ["1b", "43", "52", "61", "9d", "c3", "d1", "df"], 183359, [False] * 8),
    ("smi_a100_mig.csv", ["07", "0f", "47"], 40960, [True, True, False]),
]


@pytest.mark.parametrize(("name", "buses", "memory", "mig"), NODES)
def test_parse_smi_of_nodes(name: str, buses: list[str], memory: int, mig: list[bool]) -> None:
    rows = parse_smi(fixture(name))
    assert list(rows) == [f"0000:{bus}:00.0" for bus in buses]
    assert [row.index for row in rows.values()] == list(range(len(buses)))
    assert {row.memory_mib for row in rows.values()} == {memory}
    assert [row.mig for row in rows.values()] == mig
    assert [row.uuid for row in rows.values()] == [uuid(index) for index in range(len(buses))]


def all_of(count: int) -> dict[int, list[int]]:
    return {index: [other for other in range(count) if other != index] for index in range(count)}


TOPOLOGIES: list[tuple[str, dict[int, list[int]]]] = [
    (fixture("topo_b200.txt"), all_of(8)),
    (fixture("topo_h20_nics.txt"), all_of(8)),
    (fixture("topo_h100_four.txt"), all_of(4)),
    (fixture("topo_bridges.txt"), {0: [9], 1: [3], 2: [4]}),
    (fixture("topo_pcie.txt"), {index: [] for index in range(8)}),
    # Drivers up to 535 underline the header, whether a terminal is there or not.
    (
        "\t\x1b[4mGPU0\tGPU1\tCPU Affinity\tNUMA Affinity\x1b[0m\nGPU0\t X \tNV12\t0-31\t0\nGPU1\tNV12\t X \t0-31\t0\n",
        {0: [1], 1: [0]},
    ),
    ("\tGPU0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\nGPU0\t X \t0-31\t0\t\tN/A\n", {0: []}),
    ("", {}),
    ("Failed to initialize NVML: Unknown Error\n", {}),
    ("GPU0\t X \tNV12\n", {}),  # no header to say what the columns are
]


@pytest.mark.parametrize(("text", "links"), TOPOLOGIES)
def test_parse_topology(text: str, links: dict[int, list[int]]) -> None:
    assert parse_topology(text) == links


def test_parse_apps() -> None:
    assert parse_apps(fixture("smi_apps.csv")) == [
        SmiApp(4163, 131072, uuid(0), "sglang::scheduler_TP0"),
        SmiApp(4164, 130948, uuid(1), "sglang::scheduler_TP1"),
        SmiApp(4201, 512, uuid(0), "/usr/bin/python3"),
        SmiApp(977, None, uuid(1), "[Not Found]"),
        SmiApp(5005, 20, uuid(1), "/opt/tools/a,b --token=hush"),
    ]


@pytest.mark.parametrize(
    "text", ["", "No running processes found\n", "pid, used_gpu_memory [MiB], gpu_uuid, process_name\n"]
)
def test_parse_apps_without_any(text: str) -> None:
    assert parse_apps(text) == []
