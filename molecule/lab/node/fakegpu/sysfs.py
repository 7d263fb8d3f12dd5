"""Overlays over /sys and /proc, PCI devices, drivers and device nodes: what AMD and NVIDIA have in common."""

import os
import struct
import subprocess

from spec import HERE

RUN = "/run/fakegpu"
PCI = "/sys/bus/pci/devices"


def mount_overlays():
    """Put a writable layer over the parts of /sys that get fake entries; gone with the node's next start."""
    os.makedirs(RUN, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", RUN], check=True)
    for target in ("/sys/class", "/sys/module", "/sys/bus/pci"):
        key = target.strip("/").replace("/", "_")
        upper, work = (os.path.join(RUN, key, part) for part in ("upper", "work"))
        os.makedirs(upper)
        os.makedirs(work)
        options = f"lowerdir={target},upperdir={upper},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, target], check=True)


def write(path, content, mode=None):
    """A file with its folders."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb" if isinstance(content, bytes) else "w") as handle:
        handle.write(content)
    if mode is not None:
        os.chmod(path, mode)


def link(target, path):
    """A symbolic link with its folders; within /sys a relative one, as the kernel's are."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.lexists(path):
        os.unlink(path)
    os.symlink(os.path.relpath(target, os.path.dirname(path)) if target.startswith("/sys/") else target, path)


def device_node(path, mode=0o666, gid=0):
    """A character device that opens like the real one: it is /dev/null under another name."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if not os.path.exists(path):
        os.mknod(path, 0o020000 | mode, os.makedev(1, 3))
    os.chmod(path, mode)
    os.chown(path, 0, gid)


def pci_device(bus, vendor, device, pci_class, numa=0, driver=None, subdevice=0x0001):
    """One function on the PCI bus, as sysfs and lspci show it; `driver` is bound to it when given."""
    folder = os.path.join(PCI, bus)
    header = struct.pack(
        "<HHHHBBBBBBBB", vendor, device, 7, 16, 0, pci_class & 255, pci_class >> 8 & 255, pci_class >> 16, 0, 0, 0, 0
    )
    write(folder + "/config", header.ljust(256, b"\0"))
    uevent = f"PCI_CLASS={pci_class:X}\nPCI_ID={vendor:04X}:{device:04X}\nPCI_SLOT_NAME={bus}\n"
    values = {
        "vendor": f"0x{vendor:04x}",
        "device": f"0x{device:04x}",
        "class": f"0x{pci_class:06x}",
        "revision": "0x00",
        "subsystem_vendor": f"0x{vendor:04x}",
        "subsystem_device": f"0x{subdevice:04x}",
        "irq": "0",
        "enable": "1" if driver else "0",
        "numa_node": str(numa),
        "current_link_speed": "32.0 GT/s PCIe",
        "current_link_width": "16",
        "max_link_speed": "32.0 GT/s PCIe",
        "max_link_width": "16",
        "uevent": (f"DRIVER={driver}\n" if driver else "") + uevent.rstrip(),
        "resource": "\n".join(["0x0000000000000000 0x0000000000000000 0x0000000000000000"] * 13),
    }
    for name, value in values.items():
        write(os.path.join(folder, name), value + "\n")
    if driver:
        home = "/sys/bus/pci/drivers/" + driver
        link(home, folder + "/driver")
        link(folder, os.path.join(home, bus))
        link("/sys/module/" + driver, home + "/module")
    return folder


def module(name, version, users=0):
    """A loaded kernel module: /sys/module and, where the kernel has it, /proc/modules. Some tell no version."""
    if version is not None:
        write(f"/sys/module/{name}/version", version + "\n")
    write(f"/sys/module/{name}/initstate", "live\n")
    write(f"/sys/module/{name}/refcnt", f"{users}\n")
    if os.path.exists("/proc/modules"):
        copy = os.path.join(RUN, "modules")
        with open("/proc/modules") as handle:
            before = handle.read()
        mounted = os.path.exists(copy)
        write(copy, f"{name} {19619840} {users} - Live 0x0000000000000000\n" + before)
        if not mounted:
            subprocess.run(["mount", "--bind", copy, "/proc/modules"], check=True)


def tool(name, replace=False):
    """Put a stand-in on the PATH, for this start of the node; a program that a package brought stays."""
    path = os.path.join("/usr/bin", name)
    if os.path.lexists(path) and not replace:
        return
    for ending in (".py", ".sh"):
        source = os.path.join(HERE, "tools", name.replace("-", "_") + ending)
        if os.path.exists(source):
            link(source, path)
