# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.sglang.fleet.plugins.modules.gpu_facts import query_smi

MISMATCH = "Failed to initialize NVML: Driver/library version mismatch"


class FakeModule:
    """The two calls of AnsibleModule that are used, with a given nvidia-smi."""

    def __init__(self, answer: tuple[int, str, str] | None) -> None:
        self.answer = answer
        self.argv: list[str] = []

    def get_bin_path(self, name: str) -> str | None:
        return None if self.answer is None else f"/usr/bin/{name}"

    def run_command(self, argv: list[str]) -> tuple[int, str, str]:
        assert self.answer is not None
        self.argv = argv
        return self.answer


ANSWERS: list[tuple[tuple[int, str, str] | None, str, list[str]]] = [
    (None, "", []),
    ((0, "00000000:65:00.0, 143771, Disabled\n", ""), "00000000:65:00.0, 143771, Disabled\n", []),
    (
        (18, f"{MISMATCH}\nNVML library version: 580.65\n", ""),
        "",
        [f"nvidia-smi says: {MISMATCH}: the loaded driver is not the installed one, reboot the host"],
    ),
    ((9, "", ""), "", ["nvidia-smi failed with rc 9: no message: mend the driver on the host"]),
    ((9, "", "No devices\n"), "", ["nvidia-smi failed with rc 9: No devices: mend the driver on the host"]),
]


@pytest.mark.parametrize(("answer", "rows", "problems"), ANSWERS)
def test_query_smi(answer: tuple[int, str, str] | None, rows: str, problems: list[str]) -> None:
    module: t.Any = FakeModule(answer)
    assert query_smi(module) == (rows, problems)
    if answer is not None:
        assert module.argv == [
            "/usr/bin/nvidia-smi",
            "--query-gpu=pci.bus_id,memory.total,mig.mode.current,uuid",
            "--format=csv,noheader,nounits",
        ]
