"""The lab's stand-ins for the vendors' packages: real names, real versions, real relations; next to nothing in them.

What a stand-in does
  kernel module     /usr/share/fakegpu/driver ("nvidia 580.95.05"): the driver that the node has from its next start
                    on; and a file that modinfo reads in /lib/modules/KERNEL/updates/dkms
  user space        /usr/share/fakegpu/library (NVML's version), nvidia-smi or amd-smi
  services          a program of the real name that runs, and checks the version where the real one does
  container toolkit the lab's runtime hook, nvidia-ctk, … in /usr/bin

Names and layout: NVIDIA's "Driver Installation Guide" (docs.nvidia.com/datacenter/tesla/driver-installation-guide),
NVIDIA/nvidia-container-toolkit (packaging/debian), docs.docker.com/engine/install, ROCm/amdgpu-docs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping

from .deb import Deb, File

#: Those of one branch are offered side by side, as in NVIDIA's repository; from 590 on no name carries the branch.
NVIDIA_VERSIONS = (
    "545.23.08",
    "570.133.20",
    "570.172.08",
    "575.57.08",
    "580.65.06",
    "580.95.05",
    "590.48.01",
    "595.45.04",
)
UNSUFFIXED_FROM = 590
TOOLKIT_VERSIONS = ("1.17.8-1", "1.18.1-1")
#: amdgpu release → versions of amdgpu-dkms and of its firmware as in the repository, and of the module
AMDGPU = {
    "6.4.3": ("6.12.12.60403-2194681", "6.4.3.0.60403-2194681", "6.12.12"),
    "30.10.1": ("6.14.14.30100100-2212064", "30.10.1.0.30100100-2212064", "6.14.14"),
    "30.30": ("6.16.13.30300000-2278356", "30.30.0.0.30300000-2278356", "6.16.13"),
}
#: ROCm release → version of its packages
ROCM = {"7.0": "7.0.0.70000-38", "7.2": "7.2.0.70200-43"}
AMD_SMI = {"7.0": "26.0.0.70000-38", "7.2": "26.2.1.70200-43"}
#: Docker's own packages, by name, for Debian 13; what is in them is Debian's engine
DOCKER = {
    "docker-ce": "5:28.5.2",
    "docker-ce-cli": "5:28.5.2",
    "containerd.io": "1.7.29",
    "docker-buildx-plugin": "0.29.1",
}
DOCKER_FILES = {
    "docker-ce": ("usr/sbin/dockerd", "usr/sbin/docker-proxy", "usr/bin/docker-init"),
    "docker-ce-cli": ("usr/bin/docker",),
    # The lab's wrapper stands before runc by a diversion, which holds for this package too.
    "containerd.io": ("usr/bin/containerd", "usr/bin/containerd-shim-runc-v2", "usr/bin/ctr", "usr/sbin/runc"),
    "docker-buildx-plugin": (),
}
DOCKER_UNITS = {"docker-ce": ("docker.service", "docker.socket"), "containerd.io": ("containerd.service",)}
AMD_TOOLKIT_VERSIONS = ("1.1.0", "1.2.0")
LOWEST_OF = {"amd64": "x86_64", "arm64": "sbsa"}

_FAKE = "/usr/local/lib/fakegpu"


def _script(text: str) -> File:
    return File(("#!/bin/sh\n" + text).encode(), 0o755)


def _tool(name: str) -> File:
    """A program that hands over to the node's stand-in; a file of its own, so that it belongs to the package."""
    return _script(f'exec {_FAKE}/tools/{name} "$@"\n')


def _unit(description: str, program: str, more: str = "Restart=no\n") -> File:
    text = f"[Unit]\nDescription={description}\n[Service]\nExecStart={program}\n{more}"
    return File((text + "[Install]\nWantedBy=multi-user.target\n").encode())


def _reload(*words: str) -> str:
    lines = ["#!/bin/sh", "set -e", "[ ! -d /run/systemd/system ] || systemctl daemon-reload", *words]
    return "\n".join(lines) + "\n"


def kernel_object(name: str, version: str) -> bytes:
    """An ELF object of x86-64 with nothing but the .modinfo section, for modinfo to read."""
    info = b"".join(
        f"{key}={value}\0".encode()
        for key, value in (("version", version), ("license", "Dual MIT/GPL"), ("name", name))
    )
    names = b"\0.modinfo\0.symtab\0.strtab\0.shstrtab\0"
    symbols = bytes(24)
    start = 64
    bodies = [info, symbols, b"\0", names]
    offsets = [start + sum(len(body) for body in bodies[:i]) for i in range(len(bodies))]
    table = start + sum(len(body) for body in bodies)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",
        1,
        62,
        1,
        0,
        0,
        table,
        0,
        64,
        0,
        0,
        64,
        len(bodies) + 1,
        len(bodies),
    )
    kinds = ((b".modinfo", 1, 2, 0, 0), (b".symtab", 2, 0, 3, 24), (b".strtab", 3, 0, 0, 0), (b".shstrtab", 3, 0, 0, 0))
    sections = bytes(64)
    for (name_, kind, flags, link, size), offset, body in zip(kinds, offsets, bodies, strict=True):
        sections += struct.pack(
            "<IIQQQQIIQQ", names.index(b"\0" + name_ + b"\0") + 1, kind, flags, 0, offset, len(body), link, 0, 1, size
        )
    return header + b"".join(bodies) + sections


def _kernel(name: str, version: str, vendor: str, driver: str, relations: Mapping[str, str], architecture: str) -> Deb:
    """A package with a kernel module that "builds" by DKMS for the running kernel."""
    module = {"nvidia": "nvidia", "amd": "amdgpu"}[vendor]
    files = {
        "usr/share/fakegpu/driver": File(f"{vendor} {driver}\n".encode()),
        f"usr/share/fakegpu/{module}.ko": File(kernel_object(module, driver)),
    }
    places = f"""kernel=$(uname -r)
modules=/lib/modules/$kernel/updates/dkms
dkms=/var/lib/dkms/{module}
built={driver}/$kernel/$(uname -m)
link=$dkms/kernel-$kernel-$(uname -m)
"""
    install = f"""#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
{places}mkdir -p "$modules" "$dkms/$built/module"
cp /usr/share/fakegpu/{module}.ko "$modules/{module}.ko"
cp /usr/share/fakegpu/{module}.ko "$dkms/$built/module/{module}.ko"
ln -sfn "$built" "$link"
depmod -a 2> /dev/null || true
"""
    remove = f"""#!/bin/sh
set -e
{places}rm -rf "$modules/{module}.ko" "$dkms"
depmod -a 2> /dev/null || true
"""
    provides = f"{vendor}-lab-kernel-module"
    relations = {**relations, "Conflicts": provides, "Replaces": provides}
    relations["Provides"] = ", ".join(filter(None, (relations.get("Provides", ""), provides)))
    return Deb(name, version, relations, files, {"postinst": install, "prerm": remove}, architecture=architecture)


def _fabric_manager(name: str, version: str, driver: str, architecture: str) -> Deb:
    program = f"""case "$1" in -v|--version) echo "Fabric Manager version is : {driver}"; exit 0;; esac
loaded=$(cat /sys/module/nvidia/version 2> /dev/null || echo none)
if [ "$loaded" != "{driver}" ]; then
  echo "fabric manager NVIDIA GPU driver interface version {driver} don't match with driver version $loaded. \
Please update with matching NVIDIA driver package." >&2
  exit 1
fi
exec sleep infinity
"""
    files = {
        "usr/bin/nv-fabricmanager": _script(program),
        "lib/systemd/system/nvidia-fabricmanager.service": _unit("Fabric Manager", "/usr/bin/nv-fabricmanager"),
    }
    relations = {"Conflicts": "nvidia-fabricmanager-any", "Replaces": "nvidia-fabricmanager-any"}
    relations["Provides"] = "nvidia-fabricmanager-any"
    return Deb(name, version, relations, files, {"postinst": _reload(), "postrm": _reload()}, architecture=architecture)


def _service(name: str, version: str, unit: str, architecture: str, kind: str) -> Deb:
    files = {
        f"usr/bin/{unit}": _script("exec sleep infinity\n"),
        f"lib/systemd/system/{unit}.service": _unit(unit, f"/usr/bin/{unit}"),
    }
    relations = {"Conflicts": kind, "Replaces": kind, "Provides": kind}
    return Deb(name, version, relations, files, {"postinst": _reload(), "postrm": _reload()}, architecture=architecture)


def _user_space(name: str, version: str, driver: str, architecture: str, depends: str = "") -> Deb:
    """NVML and CUDA's library: from then on nvidia-smi speaks this version to the loaded module."""
    files = {"usr/share/fakegpu/library": File(f"nvidia {driver}\n".encode())}
    relations = dict.fromkeys(("Conflicts", "Replaces", "Provides"), "nvidia-lab-library")
    if depends:
        relations["Depends"] = depends
    return Deb(name, version, relations, files, architecture=architecture)


def _smi(name: str, version: str, architecture: str, depends: str = "") -> Deb:
    relations = dict.fromkeys(("Conflicts", "Replaces", "Provides"), "nvidia-lab-smi")
    if depends:
        relations["Depends"] = depends
    return Deb(name, version, relations, {"usr/bin/nvidia-smi": _tool("nvidia_smi.py")}, architecture=architecture)


def _meta(name: str, version: str, architecture: str, *depends: str) -> Deb:
    return Deb(name, version, {"Depends": ", ".join(depends)} if depends else {}, architecture=architecture)


def nvidia_suffixed(driver: str, tail: str, architecture: str) -> Iterator[Deb]:
    """One version with the branch in the names, as NVIDIA's Ubuntu repository has them up to 580."""
    branch, version = driver.split(".", 1)[0], driver + tail
    same = f"(= {version})"
    a = architecture
    for kind in ("", "-open"):
        source = f"nvidia-kernel-source-{branch}{kind}"
        yield _meta(source, version, a)
        needs = f"{source} {same}, nvidia-kernel-common-{branch} {same}"
        yield _kernel(f"nvidia-dkms-{branch}{kind}", version, "nvidia", driver, {"Depends": needs}, a)
        basis = [f"nvidia-dkms-{branch}{kind} {same}", f"libnvidia-compute-{branch} {same}"]
        basis += [f"nvidia-utils-{branch} {same}", f"nvidia-compute-utils-{branch} {same}"]
        yield _meta(f"nvidia-headless-{branch}{kind}", version, a, *basis)
        yield _meta(f"nvidia-driver-{branch}{kind}", version, a, *basis)
    yield _meta(f"nvidia-open-{branch}", version, a, f"nvidia-driver-{branch}-open {same}")
    yield _meta(f"cuda-drivers-{branch}", version, a, f"nvidia-driver-{branch} {same}")
    yield _meta(f"nvidia-kernel-common-{branch}", version, a, f"nvidia-firmware-{branch} {same}")
    yield _meta(f"nvidia-firmware-{branch}", version, a)
    yield _user_space(f"libnvidia-compute-{branch}", version, driver, a, f"libnvidia-cfg1-{branch} {same}")
    for name in ("libnvidia-cfg1", "libnvidia-common", "libnvidia-gl", "libnvidia-extra", "libnvsdm"):
        yield _meta(f"{name}-{branch}", version, a)
    yield _smi(f"nvidia-utils-{branch}", version, a, f"libnvidia-compute-{branch} {same}")
    yield _service(f"nvidia-compute-utils-{branch}", version, "nvidia-persistenced", a, "nvidia-lab-persistenced")
    yield _meta(f"cuda-drivers-fabricmanager-{branch}", version, a, f"nvidia-fabricmanager-{branch} {same}")


def nvidia_unsuffixed(driver: str, tail: str, architecture: str) -> Iterator[Deb]:
    """One version without the branch in the names: Ubuntu's from 590 on."""
    version, a = driver + tail, architecture
    same = f"(= {version})"
    for kind in ("", "-open"):
        yield _meta(f"nvidia-kernel-source{kind}", version, a)
        needs = f"nvidia-kernel-source{kind} {same}, nvidia-kernel-common {same}"
        yield _kernel(f"nvidia-dkms{kind}", version, "nvidia", driver, {"Depends": needs}, a)
        basis = [f"nvidia-dkms{kind} {same}", f"libnvidia-compute {same}"]
        basis += [f"nvidia-utils {same}", f"nvidia-compute-utils {same}"]
        yield _meta(f"nvidia-headless{kind}", version, a, *basis)
        yield _meta(f"nvidia-driver{kind}", version, a, *basis)
    yield _meta("nvidia-kernel-common", version, a, f"nvidia-firmware {same}")
    yield _meta("nvidia-firmware", version, a)
    yield _user_space("libnvidia-compute", version, driver, a, f"libnvidia-cfg1 {same}")
    for name in ("libnvidia-cfg1", "libnvidia-common", "libnvidia-gl", "libnvidia-extra", "libnvsdm"):
        yield _meta(name, version, a)
    yield _smi("nvidia-utils", version, a, f"libnvidia-compute {same}")
    yield _service("nvidia-compute-utils", version, "nvidia-persistenced", a, "nvidia-lab-persistenced")
    yield _meta("nvidia-open", version, a, f"nvidia-driver-open {same}")
    yield _meta("cuda-drivers", version, a, f"nvidia-driver {same}")


def nvidia_debian(driver: str, tail: str, architecture: str) -> Iterator[Deb]:
    """One version with the names of NVIDIA's Debian repository, which never carry the branch."""
    version, a = driver + tail, architecture
    same = f"(= {version})"
    for kernel, meta in (("nvidia-kernel-open-dkms", "nvidia-open"), ("nvidia-kernel-dkms", "cuda-drivers")):
        yield _kernel(kernel, version, "nvidia", driver, {"Depends": f"nvidia-kernel-support {same}"}, a)
        yield _meta(meta, version, a, f"{kernel} {same}", f"nvidia-driver {same}", f"nvidia-driver-cuda {same}")
    yield _meta("nvidia-kernel-support", version, a, f"firmware-nvidia-gsp {same}")
    yield _meta("firmware-nvidia-gsp", version, a)
    yield _meta("nvidia-driver", version, a, f"nvidia-driver-cuda {same}")
    yield _smi("nvidia-driver-cuda", version, a, f"libcuda1 {same}, libnvidia-ml1 {same}, nvidia-persistenced {same}")
    yield _user_space("libcuda1", version, driver, a)
    for name in ("libnvidia-ml1", "libnvidia-cfg1", "libnvidia-ptxjitcompiler1", "libnvsdm"):
        yield _meta(name, version, a)
    yield _meta("nvidia-modprobe", version, a)
    yield _service("nvidia-persistenced", version, "nvidia-persistenced", a, "nvidia-lab-persistenced")


def nvidia_both(driver: str, tail: str, architecture: str) -> Iterator[Deb]:
    """Fabric Manager, IMEX, and the package that pins a branch or a version."""
    version, branch = driver + tail, driver.split(".", 1)[0]
    ending = "" if int(branch) >= UNSUFFIXED_FROM else f"-{branch}"
    yield _fabric_manager(f"nvidia-fabricmanager{ending}", version, driver, architecture)
    yield _meta(f"nvidia-fabricmanager-dev{ending}", version, architecture)
    yield _service(f"nvidia-imex{ending}", version, "nvidia-imex", architecture, "nvidia-lab-imex")
    for what, pinned in ((branch, f"{branch}.*"), (driver, f"{driver}-*")):
        text = f"Package: *nvidia* *cuda-drivers* libcuda*\nPin: version {pinned}\nPin-Priority: 1000\n"
        files = {f"etc/apt/preferences.d/nvidia-driver-pinning-{what}": File(text.encode())}
        relations = dict.fromkeys(("Conflicts", "Replaces", "Provides"), "nvidia-driver-pinning")
        yield Deb(f"nvidia-driver-pinning-{what}", version, relations, files, architecture=architecture)


def nvidia(system: str, architecture: str, versions: tuple[str, ...]) -> Iterator[Deb]:
    """NVIDIA's repository for one system: "debian12", "ubuntu2404", …"""
    tail = "-0ubuntu1" if system.startswith("ubuntu") else "-1"
    for driver in versions:
        branch = int(driver.split(".", 1)[0])
        if branch < UNSUFFIXED_FROM:
            yield from nvidia_suffixed(driver, tail, architecture)
        elif system.startswith("ubuntu"):
            yield from nvidia_unsuffixed(driver, tail, architecture)
        if system.startswith("debian"):
            yield from nvidia_debian(driver, tail, architecture)
        yield from nvidia_both(driver, tail, architecture)
    for version in ("2025.03.1-1", "2025.06.11-1"):
        yield Deb(
            "nvlsm",
            version,
            {},
            {"opt/nvidia/nvlsm/sbin/nvlsm": _script("exec sleep infinity\n")},
            architecture=architecture,
        )


def toolkit(version: str, architecture: str) -> Iterator[Deb]:
    """NVIDIA's container toolkit: four packages that belong together."""
    a, number = architecture, version.split("-", 1)[0]
    same = f"(= {version})"
    base = {
        "usr/bin/nvidia-ctk": _tool("nvidia_ctk.py"),
        "usr/bin/nvidia-container-runtime": _tool("nvidia_container_runtime.sh"),
        "usr/bin/nvidia-cdi-hook": _script("exit 0\n"),
        "usr/share/fakegpu/toolkit": File(f"{number}\n".encode()),
    }
    scripts = {}
    if tuple(int(part) for part in number.split(".")[:2]) >= (1, 18):
        # 1.18 brought the service that keeps /var/run/cdi/nvidia.yaml up to date.
        service = "Type=oneshot\nRemainAfterExit=yes\n"
        command = "/usr/bin/nvidia-ctk cdi generate --output=/var/run/cdi/nvidia.yaml"
        base["etc/systemd/system/nvidia-cdi-refresh.service"] = _unit(
            "Refresh NVIDIA CDI specification file", command, service
        )
        enable = "[ ! -d /run/systemd/system ] || systemctl enable --quiet --now nvidia-cdi-refresh.service || true"
        disable = "[ ! -d /run/systemd/system ] || systemctl disable --quiet --now nvidia-cdi-refresh.service || true"
        scripts = {"postinst": _reload(enable), "prerm": _reload(disable), "postrm": _reload()}
    yield Deb("nvidia-container-toolkit-base", version, {}, base, scripts, architecture=a)
    yield _meta("libnvidia-container1", version, a)
    cli = {"usr/bin/nvidia-container-cli": _tool("nvidia_container_cli.sh")}
    needs = {"Depends": f"libnvidia-container1 (>= {version})"}
    yield Deb("libnvidia-container-tools", version, needs, cli, architecture=a)
    hook = {"usr/bin/nvidia-container-runtime-hook": _tool("nvidia_container_runtime_hook.py")}
    needs = {"Depends": f"nvidia-container-toolkit-base {same}, libnvidia-container-tools (>= {version})"}
    yield Deb("nvidia-container-toolkit", version, needs, hook, architecture=a)


def amdgpu(release: str, number: str, architecture: str) -> Iterator[Deb]:
    """AMD's driver; number: Ubuntu's version or Debian's, which ends each version there."""
    version, firmware, module = AMDGPU[release]
    whole = f"1:{version}.{number}"
    yield _meta("amdgpu-dkms-firmware", f"{firmware}.{number}", architecture)
    needs = {"Depends": f"amdgpu-dkms-firmware (= {firmware}.{number})"}
    yield _kernel("amdgpu-dkms", whole, "amd", module, needs, architecture)
    yield _meta("amdgpu-core", whole, architecture)
    yield _meta("amdgpu-lib", whole, architecture, f"amdgpu-core (= {whole})")


def rocm(release: str, number: str, architecture: str) -> Iterator[Deb]:
    """ROCm's user space."""
    version = f"{ROCM[release]}~{number}"
    exact, a = f"(= {version})", architecture
    plain = ROCM[release].rsplit(".", 1)[0]
    core = {f"opt/rocm-{plain}/.info/version": File(f"{ROCM[release].split('-')[0].rsplit('.', 1)[0]}\n".encode())}
    core["opt/rocm"] = File(link=f"rocm-{plain}")
    yield Deb("rocm-core", version, {}, core, architecture=a)
    smi = {f"opt/rocm-{plain}/bin/amd-smi": _tool("amd_smi.py"), "usr/bin/amd-smi": _tool("amd_smi.py")}
    yield Deb("amd-smi-lib", f"{AMD_SMI[release]}~{number}", {"Depends": f"rocm-core {exact}"}, smi, architecture=a)
    info = {f"opt/rocm-{plain}/bin/rocminfo": _script("echo 'ROCk module is loaded'\n")}
    yield Deb("rocminfo", version, {"Depends": f"rocm-core {exact}"}, info, architecture=a)
    for name in ("rocm-smi-lib", "hsa-rocr", "hip-runtime-amd", "rocm-device-libs", "comgr", "rocm-language-runtime"):
        yield _meta(name, version, a, f"rocm-core {exact}")
    basis = [f"{name} {exact}" for name in ("hsa-rocr", "hip-runtime-amd", "rocminfo", "rocm-language-runtime")]
    yield _meta("rocm-hip-runtime", version, a, *basis)
    yield _meta("rocm-opencl-runtime", version, a, f"rocm-core {exact}")
    everything = [f"{name} {exact}" for name in ("rocm-hip-runtime", "rocm-smi-lib", "rocm-opencl-runtime")]
    everything.append("amd-smi-lib")
    yield _meta("rocm", version, a, *everything)


def kernel(release: str) -> Iterator[Deb]:
    """What modules are built against: the headers of the kernel that this machine runs, so to speak."""
    for name in ("linux-headers", "linux-modules-extra"):
        files = {f"lib/modules/{release}/build/Makefile": File(b"# headers\n")} if name == "linux-headers" else {}
        package = f"{name}-{release}".lower().replace("_", "-")
        for architecture in LOWEST_OF:
            yield Deb(package, release.replace("_", "-").replace("-", "."), {}, files, architecture=architecture)


def docker_engine(take: Callable[[str], File], tail: str, architecture: str) -> Iterator[Deb]:
    """Docker's packages; take: gives a file of Debian's engine by its path."""
    relations = {
        "docker-ce": {
            "Depends": "containerd.io (>= 1.7.27), docker-ce-cli, iptables",
            **dict.fromkeys(("Conflicts", "Replaces"), "docker.io"),
        },
        "docker-ce-cli": dict.fromkeys(("Conflicts", "Replaces"), "docker.io, docker-cli"),
        "containerd.io": {
            "Depends": "libseccomp2",
            "Provides": "containerd, runc",
            **dict.fromkeys(("Conflicts", "Replaces"), "containerd, runc"),
        },
    }
    for name, version in DOCKER.items():
        files = {path: take(path) for path in DOCKER_FILES[name]}
        units = DOCKER_UNITS.get(name, ())
        files |= {f"usr/lib/systemd/system/{unit}": take(f"usr/lib/systemd/system/{unit}") for unit in units}
        words = [f"systemctl enable --now --quiet {unit}" for unit in reversed(units)]
        started = " && ".join(words)
        scripts = {}
        if units:
            group = "getent group docker > /dev/null || groupadd --system docker"
            up = f"[ ! -d /run/systemd/system ] || {{ systemctl daemon-reload && {started}; }}"
            down = f'[ "$1" != remove ] || [ ! -d /run/systemd/system ] || systemctl disable --now --quiet {" ".join(units)}'
            scripts = {"postinst": f"#!/bin/sh\nset -e\n{group}\n{up}\n", "prerm": f"#!/bin/sh\nset -e\n{down}\n"}
        yield Deb(name, version + tail, relations.get(name, {}), files, scripts, architecture=architecture)


def amd_toolkit(version: str, architecture: str) -> Iterator[Deb]:
    """AMD's container toolkit."""
    generate = """case "$*" in
  "cdi generate --output="*) file=${2#x}; file=${3#--output=}; mkdir -p "$(dirname "$file")"
    printf '{"cdiVersion": "0.6.0", "kind": "amd.com/gpu", "devices": [{"name": "all", "containerEdits": \
{"deviceNodes": [{"path": "/dev/kfd"}]}}]}\\n' > "$file";;
  *version*) echo "amd-ctk VERSION";;
esac
""".replace("VERSION", version)
    files = {
        "usr/bin/amd-ctk": _script(generate),
        "usr/bin/amd-container-runtime": _script('exec runc "$@"\n'),
    }
    yield Deb("amd-container-toolkit", version, {}, files, architecture=architecture)
