# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""amd-smi's JSON and KFD's files; fixtures/gpu/README.md says where each is from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._gpu_amd import (
    AmdSmiRow,
    KfdNode,
    parse_amd_smi,
    parse_properties,
    read_kfd,
)
from tests.unit.plugins.module_utils.fixtures.gpu.host import Host, fixture, render_minor

BOTH = ("0000:05:00.0", "0000:26:00.0")
WARNING = "WARNING: User is missing the following required groups: render, video.\n"

AMD_SMI: list[tuple[str, list[AmdSmiRow]]] = [
    (fixture("amd_smi_6.json"), [AmdSmiRow(address, 196592, "6.10.5") for address in BOTH]),
    (fixture("amd_smi_7.json"), [AmdSmiRow(address, 196592, "6.16.13") for address in BOTH]),
    (WARNING + fixture("amd_smi_7.json"), [AmdSmiRow(address, 196592, "6.16.13") for address in BOTH]),
    (fixture("amd_smi_not_available.json"), [AmdSmiRow("0000:05:00.0", None, None)]),
    ("", []),
    ("{}", []),
    ('{"gpu_data": "N/A"}', []),
    ('[1, null, "N/A", {"bus": {"bdf": 5}}]', []),
    ("[{]", []),
    ("AMDSMI_STATUS_DRIVER_NOT_LOADED", []),
    ("[" * 100_000, []),
    ('{"gpu_data": ' * 100_000, []),
]


@pytest.mark.parametrize(("text", "rows"), AMD_SMI, ids=range(len(AMD_SMI)))
def test_parse_amd_smi(text: str, rows: list[AmdSmiRow]) -> None:
    assert parse_amd_smi(text) == rows


SIZES: list[tuple[object, int | None]] = [
    ({"value": 196592, "unit": "MB"}, 196592),
    ({"value": 192, "unit": "GB"}, 196608),
    ({"value": "N/A", "unit": "MB"}, None),
    ({"value": 0, "unit": "MB"}, None),
    ("196592 MB", 196592),
    (196592, 196592),
    ("N/A", None),
    (None, None),
]


@pytest.mark.parametrize(("size", "mib"), SIZES)
def test_sizes(size: object, mib: int | None) -> None:
    said = [{"gpu": 0, "bus": {"bdf": "0000:05:00.0"}, "vram": {"size": size}, "driver": {"version": "6.16.13"}}]
    assert parse_amd_smi(json.dumps(said)) == [AmdSmiRow("0000:05:00.0", mib, "6.16.13")]


def test_parse_properties() -> None:
    node = parse_properties(fixture("kfd_node_mi300x.txt"))
    assert (node["vendor_id"], node["device_id"], node["location_id"]) == ("4098", "29857", str(0x26 << 8))
    assert node["drm_render_minor"] == str(render_minor(1))
    assert parse_properties(fixture("kfd_link_xgmi.txt"))["type"] == "11"
    assert parse_properties("alone\n") == {}


def test_read_kfd(tmp_path: Path) -> None:
    """A CPU, a GPU that KFD refused (no SIMDs), and an MI300X with a link over XGMI and one over PCIe."""
    host = Host(tmp_path)
    nodes = "sys/class/kfd/kfd/topology/nodes"
    host.write(f"{nodes}/0/properties", "cpu_cores_count 96\nsimd_count 0\nvendor_id 0\n")
    host.write(f"{nodes}/2/properties", "simd_count 0\nvendor_id 4098\n")
    host.write(f"{nodes}/3/properties", fixture("kfd_node_mi300x.txt"))
    host.write(f"{nodes}/3/gpu_id", "28851\n")
    host.write(f"{nodes}/3/io_links/0/properties", fixture("kfd_link_pcie.txt"))
    host.write(f"{nodes}/3/io_links/1/properties", fixture("kfd_link_xgmi.txt"))
    host.write(f"{nodes}/3/io_links/2/properties", "type 11\n")
    assert read_kfd(str(tmp_path)) == [KfdNode(3, "28851", "29857", "0000:26:00.0", (2,))]


@pytest.mark.parametrize(
    ("location", "address"),
    [
        (0xC5 << 8 | 2 << 3 | 1, "0001:c5:02.1"),
        (0xC5 << 8 | 7, "0001:c5:00.7"),
        (0xC5 << 8 | 7 << 28, "0001:c5:00.0"),
    ],
    ids=["function", "partition 7", "partition 7 from bit 28 on"],
)
def test_domain_and_function_of_a_location(tmp_path: Path, location: int, address: str) -> None:
    host = Host(tmp_path)
    text = f"simd_count 1216\nvendor_id 4098\nlocation_id {location}\ndomain 1\n"
    host.write("sys/class/kfd/kfd/topology/nodes/9/properties", text)
    assert read_kfd(str(tmp_path))[0].pci_address == address
