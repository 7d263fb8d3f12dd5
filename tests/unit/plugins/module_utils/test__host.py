# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._gpu_common import Answer
from ansible_collections.sglang.fleet.plugins.module_utils._host import (
    dkms_modules,
    dnf_locks,
    dpkg_packages,
    os_release,
    read_host,
    rpm_packages,
)
from tests.unit.plugins.module_utils.fixtures.gpu.host import Tools

KERNEL = "6.1.0-40-cloud-amd64"
SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
DPKG = "\n".join(
    [
        "docker.io\t20.10.24+dfsg1-1+deb12u1\tinstalled\tinstall",
        "nvidia-dkms-580\t580.95.05-1\tinstalled\thold",
        "libnvidia-ml1\t580.95.05-1\tinstalled\tinstall",
        "libnvidia-ml1\t580.95.05-1\tinstalled\tinstall",  # of another architecture
        "nvidia-driver\t535.1-1\tconfig-files\tdeinstall",
        "nvlsm\t2025.06\thalf-configured\tinstall",
        "openssh-server\t1:9.2\tinstalled\thold",
        "linux-image-6.1.0-40-cloud-amd64\t6.1.153-1\tinstalled\tinstall",
        "kerneltop\t0.91\tinstalled\tinstall",
        "",
    ]
)


def put(root: Path, path: str, content: str | bytes = "") -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nID=debian\n',
            ("debian", "12", "", "bookworm"),
        ),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\n', ("rocky", "9.4", "rhel centos fedora", "")),
        ("# ID=commented\nID='un\nno sign\n", ("un", "", "", "")),
        ("", ("", "", "", "")),
    ],
)
def test_os_release(text: str, wanted: tuple[str, ...]) -> None:
    assert tuple(os_release(text).values()) == wanted


def test_dpkg_packages_that_matter_and_all_that_are_held() -> None:
    packages, held = dpkg_packages(DPKG)
    assert packages == {
        "docker.io": "20.10.24+dfsg1-1+deb12u1",
        "libnvidia-ml1": "580.95.05-1",
        "linux-image-6.1.0-40-cloud-amd64": "6.1.153-1",
        "nvidia-dkms-580": "580.95.05-1",
    }
    assert held == ["nvidia-dkms-580", "openssh-server"]


def test_rpm_packages() -> None:
    assert set(rpm_packages("oracle-epel-release-el9\t1.0-10\nepel-release\t9-7\n")) == {
        "oracle-epel-release-el9",
        "epel-release",
    }
    text = "bash\t5.1.8-9.el9\nkernel-core\t5.14.0-10.el9\nkernel-core\t5.14.0-9.el9\nnvidia-driver\t3:580.95.05-1.el9\nbad\n"
    assert rpm_packages(text) == {"kernel-core": "5.14.0-10.el9", "nvidia-driver": "3:580.95.05-1.el9"}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("# Added lock\nnvidia-driver-3:580.95.05-1.el9.*\nnvidia-fabricmanager-0:580.95.05-1.*\n", 2),
        ("nvidia-driver-580.95.05-1.el9.*\nnvidia-fabricmanager*\n", 2),
        ('version = "1.0"\n[[packages]]\nname = "nvidia-driver"\n[[packages]]\nname = "nvidia-fabricmanager"\n', 2),
        ("", 0),
    ],
)
def test_dnf_locks(text: str, names: int) -> None:
    assert dnf_locks(text) == ["nvidia-driver", "nvidia-fabricmanager"][:names]


def test_dkms_tree(tmp_path: Path) -> None:
    base = tmp_path / "var/lib/dkms"
    for path in ("nvidia/580.95.05/6.1/x86_64/module", "nvidia/535.1/6.1/x86_64/module", "amdgpu/6.16.13-1/source"):
        (base / path).mkdir(parents=True)
    (base / "nvidia/original_module").mkdir()
    (base / "nvidia/kernel-6.1-x86_64").symlink_to("580.95.05/6.1/x86_64")
    (base / "dkms_dbversion").write_text("2.0.0")
    assert dkms_modules(str(tmp_path)) == [
        {"module": "amdgpu", "version": "6.16.13-1", "kernel": "", "state": "added"},
        {"module": "nvidia", "version": "535.1", "kernel": "6.1", "state": "built"},
        {"module": "nvidia", "version": "580.95.05", "kernel": "6.1", "state": "installed"},
    ]


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({}, False),
        ({"sys/firmware/efi/runtime": b""}, None),
        ({SECURE_BOOT: b"\6\0\0\0\1"}, True),
        ({SECURE_BOOT: b"\6\0\0\0\0"}, False),
        ({SECURE_BOOT: b"\1"}, None),
    ],
)
def test_secure_boot(tmp_path: Path, files: dict[str, bytes], wanted: bool | None) -> None:
    for path, content in files.items():
        put(tmp_path, path, content)
    assert read_host(str(tmp_path)).secure_boot is wanted


def test_modules_loaded_and_installed(tmp_path: Path) -> None:
    put(tmp_path, "sys/module/nvidia/version", "570.133.20\n")
    put(tmp_path, "sys/module/nouveau/initstate", "live\n")
    tools = Tools(
        {"modinfo nvidia": "580.95.05\n", "modinfo nouveau": "\n", "modinfo amdgpu": Answer(1, "", "not found")}
    )
    host = read_host(str(tmp_path), tools, KERNEL, "x86_64")
    assert host.modules == {
        "nvidia": {"loaded": "570.133.20", "installed": "580.95.05"},
        "amdgpu": {"loaded": None, "installed": None},
        "nouveau": {"loaded": "in-tree", "installed": "in-tree"},
    }
    assert f"modinfo --set-version {KERNEL} --field version nvidia" in tools.asked


def test_nvswitches_are_nvidias_bridges(tmp_path: Path) -> None:
    for address, vendor, kind in (
        ("0", "0x10de", "0x068000"),
        ("1", "0x10de", "0x030200"),
        ("2", "0x8086", "0x068000"),
    ):
        put(tmp_path, f"sys/bus/pci/devices/{address}/vendor", vendor + "\n")
        put(tmp_path, f"sys/bus/pci/devices/{address}/class", kind + "\n")
    assert read_host(str(tmp_path)).nvswitches == 1


def test_host_with_dpkg(tmp_path: Path) -> None:
    put(tmp_path, f"lib/modules/{KERNEL}/build/Makefile")
    put(tmp_path, "proc/cmdline", "root=/dev/vda1 iommu=pt\n")
    put(tmp_path, "proc/sys/kernel/random/boot_id", "0c0ffee0\n")
    put(tmp_path, "run/reboot-required")
    put(tmp_path, "var/lib/sglang-fleet/installed.json", '{"schema": 1, "owners": {"rocm": {"packages": {"a": "1"}}}}')
    put(tmp_path, "proc/sys/kernel/numa_balancing", "1\n")
    put(tmp_path, "etc/group", "root:x:0:\nrender:x:104:\nvideo:x:44:ansible,serve\n")
    (tmp_path / "usr").mkdir()
    host = read_host(str(tmp_path), Tools({"dpkg-query": DPKG}), KERNEL, "x86_64")
    assert (host.arch, host.kernel, host.headers, host.cmdline) == ("x86_64", KERNEL, True, "root=/dev/vda1 iommu=pt")
    assert (host.boot_id, host.reboot_required) == ("0c0ffee0", True)
    assert host.packages["nvidia-dkms-580"] == "580.95.05-1"
    assert host.held == ["nvidia-dkms-580", "openssh-server"]
    assert host.records == {"rocm": {"packages": {"a": "1"}}}
    assert host.sysctl == {"kernel.numa_balancing": "1"}
    assert host.groups == {"render": [], "video": ["ansible", "serve"]}
    assert set(host.free_mib) == {"/usr", "/var"}  # no /boot in this one
    assert host.free_mib["/usr"] > 0


def test_host_with_rpm(tmp_path: Path) -> None:
    put(tmp_path, "etc/dnf/plugins/versionlock.list", "nvidia-driver-3:580.95.05-1.el9.*\n")
    tools = Tools({"rpm --query": "nvidia-driver\t3:580.95.05-1.el9\n"})
    host = read_host(str(tmp_path), tools)
    assert (host.packages, host.held) == ({"nvidia-driver": "3:580.95.05-1.el9"}, ["nvidia-driver"])


def test_empty_host(tmp_path: Path) -> None:
    host = read_host(str(tmp_path))
    assert (host.packages, host.held, host.dkms, host.nvswitches, host.headers) == ({}, [], [], 0, False)
    assert host.modules["nvidia"] == {"loaded": None, "installed": None}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"owners": []}'])
def test_torn_record_is_none(tmp_path: Path, text: str) -> None:
    put(tmp_path, "var/lib/sglang-fleet/installed.json", text)
    assert read_host(str(tmp_path)).records == {}


SILENT, NO_ENGINE = Answer(None), "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is it running?\n"
NO_API = (
    "failed to connect to the docker API at unix:///var/run/docker.sock; check if the daemon is running: no such file\n"
)
# What systemctl and docker say → what serves.
SERVING: list[tuple[Answer | None, Answer | None, list[str]]] = [
    (None, None, []),  # neither is there
    (Answer(0), Answer(0), []),
    (Answer(0), Answer(1, "", NO_ENGINE), []),  # an engine that is stopped, or a client alone
    (Answer(0), Answer(1, "", NO_API), []),
    (SILENT, Answer(0), ["what systemctl does not tell (no answer in time)"]),
    (Answer(0), SILENT, ["what docker does not tell (no answer in time)"]),
    (Answer(0, "sglang@0.service loaded\n"), SILENT, ["sglang@0.service", "what docker does not tell (no answer in time)"]),
    (Answer(1, "", "Failed to list units: timed out\nx"), Answer(0), ["what systemctl does not tell (Failed to list units: timed out)"]),
    (Answer(0), Answer(125), ["what docker does not tell (rc 125)"]),
]  # fmt: skip


@pytest.mark.parametrize(("units", "containers", "wanted"), SERVING)
def test_what_does_not_answer_may_serve(
    tmp_path: Path, units: Answer | None, containers: Answer | None, wanted: list[str]
) -> None:
    answers = {"systemctl": units, "docker": containers}
    assert read_host(str(tmp_path), lambda words: answers.get(words[0]), serving=True).serving == wanted


def test_servers_are_asked_for_only_where_wanted(tmp_path: Path) -> None:
    tools = Tools(
        {"systemctl": "sglang@0.service loaded active running SGLang 0\n", "docker ps": "sglang-0\nsglang-1\n"}
    )
    assert read_host(str(tmp_path), tools).serving == []
    assert not [line for line in tools.asked if "systemctl" in line]
    assert read_host(str(tmp_path), tools, serving=True).serving == ["sglang@0.service", "sglang-0", "sglang-1"]


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        (Answer(0, "Fabric Manager version is : 580.95.05\n"), "580.95.05"),
        (Answer(1, "", "it fails of 1.2.3"), "unknown"),
        (Answer(None), "unknown"),
        (None, None),
    ],
)
def test_fabric_manager_however_it_came(tmp_path: Path, answer: Answer | None, version: str | None) -> None:
    found = read_host(str(tmp_path), lambda words: answer if words[0] == "nv-fabricmanager" else None)
    assert found.fabric_manager == version
