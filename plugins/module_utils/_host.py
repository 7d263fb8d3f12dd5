# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host's own software is: system, kernel, packages, kernel modules. The roles of the host software decide on it.

Runs on hosts: the standard library only, Python 3.9. Reads only. ``root`` is where the host's file system begins.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import time
import typing as t
from dataclasses import asdict, dataclass, field

from ansible_collections.sglang.fleet.plugins.module_utils._gpu_common import Ask, list_dir, no_tool, read

#: Packages that a role of the host software decides on, by the beginning of their names. Others are not told.
PACKAGES: t.Final = re.compile(
    r"(?:(?:lib)?nvidia|(?:lib)?cuda|libnvcuvid|xserver-xorg-video-nvidia|kmod-nvidia|datacenter-gpu-manager|nvlsm|"
    r"infiniband-diags|firmware-(?:nvidia|amd)|amdgpu|libdrm-amdgpu|rocm|rocminfo|hip|hsa|amd-|docker|moby|podman|containerd|runc|"
    r"linux-(?:headers|image|modules|kbuild)|kernel(?:-|$)|dkms|initramfs-tools|dracut|mokutil|(?:oracle-)?epel-release|"
    r"dnf-plugin-nvidia|python3-dnf-plugin-versionlock)"
)
#: What a loaded module is called that tells no version, as the kernel's own do.
IN_TREE: t.Final = "in-tree"
MODULES: t.Final = ("nvidia", "amdgpu", "nouveau")
#: Where the roles of the host software keep what they installed, by role, so that they can take it away.
RECORDS: t.Final = "/var/lib/sglang-fleet/installed.json"
#: Kernel settings and groups that a role decides on.
SYSCTLS: t.Final = ("kernel.numa_balancing",)
GROUPS: t.Final = ("render", "video")

_DPKG: t.Final = (
    "dpkg-query",
    "--show",
    "--showformat=${Package}\\t${Version}\\t${db:Status-Status}\\t${db:Status-Want}\\n",
)
_RPM: t.Final = ("rpm", "--query", "--all", "--queryformat", "%{NAME}\\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\\n")
#: dnf 4 keeps its locks in a list, dnf 5 in TOML.
_DNF_LOCKS: t.Final = ("etc/dnf/plugins/versionlock.list", "etc/dnf/versionlock.toml")
_SECURE_BOOT: t.Final = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
_ROOMS: t.Final = ("/usr", "/var", "/boot")


@dataclass(frozen=True)
class Host:
    """``ansible_facts.fleet_host``.

    headers: whether the running kernel's build tree is there. secure_boot: None where it cannot be told. packages:
    version by name. dkms: module, version, kernel, state (added, built, installed). modules: version ``loaded`` and
    ``installed`` for the running kernel. fabric_manager: NVIDIA's, however it came there. free_mib: room for root, by
    folder. sysctl: values as read, by name; groups: members, by name of the group; neither where the host has no such
    thing. records: what each role installed. serving: units and containers of servers that run, where that was asked for. time: the host's clock, HH:MM.
    """

    os: dict[str, str]
    arch: str
    kernel: str
    boot_id: str
    headers: bool
    secure_boot: bool | None
    cmdline: str
    packages: dict[str, str] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)
    dkms: list[dict[str, str]] = field(default_factory=list)
    modules: dict[str, dict[str, str | None]] = field(default_factory=dict)
    nvswitches: int = 0
    fabric_manager: str | None = None
    reboot_required: bool = False
    free_mib: dict[str, int] = field(default_factory=dict)
    sysctl: dict[str, str] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    records: dict[str, t.Any] = field(default_factory=dict)
    serving: list[str] = field(default_factory=list)
    time: str = ""

    def to_dict(self) -> dict[str, t.Any]:
        return asdict(self)


def read_host(
    root: str = "/", ask: Ask = no_tool, kernel: str | None = None, arch: str | None = None, serving: bool = False
) -> Host:
    """The facts of the host; ``kernel`` and ``arch`` are the running ones unless given. serving: ask for servers too."""
    running = kernel or os.uname().release
    packages, held = _packages(root, ask)
    return Host(
        os=os_release(read(os.path.join(root, "etc/os-release"))),
        arch=arch or os.uname().machine,
        kernel=running,
        boot_id=read(os.path.join(root, "proc/sys/kernel/random/boot_id")),
        headers=os.path.isfile(os.path.join(root, "lib/modules", running, "build/Makefile")),
        secure_boot=_secure_boot(root),
        cmdline=read(os.path.join(root, "proc/cmdline")),
        packages=packages,
        held=held,
        dkms=dkms_modules(root),
        modules={
            name: {"loaded": _loaded(root, name), "installed": _installed(name, running, ask)} for name in MODULES
        },
        nvswitches=_nvswitches(root),
        fabric_manager=_fabric_manager(ask),
        reboot_required=os.path.exists(os.path.join(root, "run/reboot-required")),
        free_mib=_free(root),
        sysctl=_sysctls(root),
        groups=_groups(root),
        records=_records(root),
        serving=_serving(ask) if serving else [],
        time=time.strftime("%H:%M"),
    )


def os_release(text: str) -> dict[str, str]:
    """id, version_id, id_like and codename of /etc/os-release, empty where it has none."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        name, sign, value = line.strip().partition("=")
        if sign and not name.startswith("#"):
            try:
                values[name] = " ".join(shlex.split(value))
            except ValueError:
                values[name] = value.strip("\"'")
    names = {"id": "ID", "version_id": "VERSION_ID", "id_like": "ID_LIKE", "codename": "VERSION_CODENAME"}
    return {ours: values.get(theirs, "") for ours, theirs in names.items()}


def dpkg_packages(text: str) -> tuple[dict[str, str], list[str]]:
    """Installed packages that matter, and those of all that are held, from dpkg-query's answer to _DPKG.

    A package of several architectures counts once: Debian keeps their versions equal.
    """
    packages: dict[str, str] = {}
    held: set[str] = set()
    for line in text.splitlines():
        cells = line.split("\t")
        if len(cells) != 4 or cells[2] != "installed":
            continue
        if PACKAGES.match(cells[0]):
            packages[cells[0]] = cells[1]
        if cells[3] == "hold":
            held.add(cells[0])
    return dict(sorted(packages.items())), sorted(held)


def rpm_packages(text: str) -> dict[str, str]:
    """The same of rpm; of a package in several versions, as kernels are, the newest."""
    rows = (line.split("\t") for line in text.splitlines())
    found = [(row[0], row[1]) for row in rows if len(row) == 2 and PACKAGES.match(row[0])]
    return dict(sorted(found, key=lambda row: (row[0], [int(number) for number in re.findall(r"\d+", row[1])])))


def dnf_locks(text: str) -> list[str]:
    """Names that dnf's versionlock holds: `name-epoch:version-release.arch`, a bare name, or `name = "…"` in TOML."""
    found: set[str] = set()
    for line in text.splitlines():
        word = line.strip()
        toml = re.match(r'name\s*=\s*"([^"]+)"', word)
        plain = re.match(r"([A-Za-z0-9][\w.+-]*?)(?:-\d+:\S+|-\d[^-\s]*-[^-\s]+|-?\*)?$", word)
        if toml:
            found.add(toml.group(1))
        elif plain and "=" not in word:
            found.add(plain.group(1))
    return sorted(found)


def dkms_modules(root: str) -> list[dict[str, str]]:
    """What `dkms status` says, from the tree that it reads itself: the command takes a second and more."""
    base = os.path.join(root, "var/lib/dkms")
    found: list[dict[str, str]] = []
    for module in sorted(list_dir(base)):
        folder = os.path.join(base, module)
        # kernel-RELEASE-ARCH points to VERSION/RELEASE/ARCH of the version that is installed for it.
        links = {name: os.path.join(folder, name) for name in list_dir(folder) if name.startswith("kernel-")}
        installed = {name: _link(path) for name, path in links.items()}
        for version in sorted(list_dir(folder)):
            if version in links or not os.path.isdir(os.path.join(folder, version)) or version == "original_module":
                continue
            built = 0
            for kernel in sorted(list_dir(os.path.join(folder, version))):
                if kernel in ("source", "build") or not os.path.isdir(os.path.join(folder, version, kernel)):
                    continue
                for arch in sorted(list_dir(os.path.join(folder, version, kernel))):
                    if not os.path.isdir(os.path.join(folder, version, kernel, arch, "module")):
                        continue
                    here = installed.get(f"kernel-{kernel}-{arch}") == f"{version}/{kernel}/{arch}"
                    state = "installed" if here else "built"
                    found.append({"module": module, "version": version, "kernel": kernel, "state": state})
                    built += 1
            if not built:
                found.append({"module": module, "version": version, "kernel": "", "state": "added"})
    return found


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _packages(root: str, ask: Ask) -> tuple[dict[str, str], list[str]]:
    answer = ask(_DPKG)
    if answer is not None and answer.rc == 0 and answer.out.strip():
        return dpkg_packages(answer.out)
    answer = ask(_RPM)
    if answer is not None and answer.rc == 0:
        locks = {name for path in _DNF_LOCKS for name in dnf_locks(read(os.path.join(root, path)))}
        return rpm_packages(answer.out), sorted(locks)
    return {}, []


def _secure_boot(root: str) -> bool | None:
    if not os.path.isdir(os.path.join(root, "sys/firmware/efi")):
        return False  # without UEFI there is none
    try:
        with open(os.path.join(root, _SECURE_BOOT), "rb") as handle:
            data = handle.read()
    except OSError:
        return None
    return data[4] == 1 if len(data) == 5 else None  # four bytes of attributes, then the value


def _loaded(root: str, name: str) -> str | None:
    folder = os.path.join(root, "sys/module", name)
    # A module that is built in, or named on the command line alone, has a folder without initstate; nothing runs it.
    if not os.path.isdir(folder):
        return None
    return read(os.path.join(folder, "version")) or IN_TREE


def _installed(name: str, kernel: str, ask: Ask) -> str | None:
    answer = ask(("modinfo", "--set-version", kernel, "--field", "version", name))
    if answer is None or answer.rc != 0:
        return None
    return answer.out.strip().splitlines()[0] if answer.out.strip() else IN_TREE


def _nvswitches(root: str) -> int:
    """NVIDIA's bridges (PCI class 0680). NVLink 5 switches are not on the host's bus."""
    base = os.path.join(root, "sys/bus/pci/devices")
    return sum(
        read(os.path.join(base, address, "vendor")).lower() == "0x10de"
        and read(os.path.join(base, address, "class")).lower().startswith("0x0680")
        for address in list_dir(base)
    )


def _fabric_manager(ask: Ask) -> str | None:
    """None where there is none; unknown where it is there and does not tell."""
    answer = ask(("nv-fabricmanager", "--version"))
    if answer is None:
        return None
    found = re.search(r"\d+(?:\.\d+)+", answer.out) if answer.rc == 0 else None
    return found[0] if found else "unknown"


def _free(root: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for folder in _ROOMS:
        try:
            room = os.statvfs(os.path.join(root, folder.lstrip("/")))
        except OSError:
            continue
        found[folder] = room.f_bavail * room.f_frsize >> 20
    return found


def _sysctls(root: str) -> dict[str, str]:
    values = ((name, read(os.path.join(root, "proc/sys", name.replace(".", "/")))) for name in SYSCTLS)
    return {name: value for name, value in values if value}


def _groups(root: str) -> dict[str, list[str]]:
    rows = (line.split(":") for line in read(os.path.join(root, "etc/group")).splitlines())
    return {row[0]: [name for name in row[3].split(",") if name] for row in rows if len(row) == 4 and row[0] in GROUPS}


def _records(root: str) -> dict[str, t.Any]:
    """A torn record reads as none: the role that left it then does its work again."""
    try:
        owners = json.loads(read(os.path.join(root, RECORDS.lstrip("/")))).get("owners", {})
    except (ValueError, AttributeError):
        return {}
    return owners if isinstance(owners, dict) else {}


#: The client's words, before and since Docker 28.4, where no engine listens.
_STOPPED: t.Final = r"(?i)cannot connect to the docker daemon|failed to connect to the docker API"


def _serving(ask: Ask) -> list[str]:
    """Units and containers of servers. What does not say is taken for one that serves; what is not there has none."""
    tools = (
        ("systemctl", "list-units", "--plain", "--no-legend", "--no-pager", "--state=active,activating", "sglang@*"),
        ("docker", "ps", "--filter", "name=^sglang-", "--format", "{{.Names}}"),
    )
    found: list[str] = []
    for words in tools:
        answer = ask(words)
        if answer is None:
            continue
        if answer.rc == 0:
            found += [line.split()[0] for line in answer.out.splitlines() if line.split()]
        elif answer.rc is None or not re.search(_STOPPED, answer.err):
            said = answer.err.strip().splitlines()
            why = "no answer in time" if answer.rc is None else said[0] if said else f"rc {answer.rc}"
            found.append(f"what {words[0]} does not tell ({why})")
    return found
