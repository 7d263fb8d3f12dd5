"""NVIDIA GPUs: PCI entries, NVSwitches, /proc/driver/nvidia, device nodes, nvidia-smi and the container toolkit."""

import os
import subprocess

from sysfs import device_node, link, module, pci_device, tool, write

VENDOR = 0x10DE
GPU_CLASS = 0x030200  # 3D controller
BRIDGE_CLASS = 0x068000
TOOLKIT = ("nvidia-container-runtime-hook", "nvidia-container-runtime", "nvidia-ctk", "nvidia-container-cli")


def build(state):
    """Everything that a node with these GPUs shows."""
    device = int(state["device"], 16)
    loaded = "nodriver" not in state["options"]
    driver = "nvidia" if loaded else None
    for gpu in state["gpus"]:
        pci_device(gpu["bus"], VENDOR, device, GPU_CLASS, gpu["numa"], driver)
    switch = state.get("switch")
    switches = switch["count"] if switch and state["count"] == len(state["bus"]) else 0
    for i in range(switches):
        pci_device(
            f"0000:{0xF0 + i:02x}:00.0",
            VENDOR,
            int(switch["device"], 16),
            BRIDGE_CLASS,
            0,
            "nvidia-nvswitch" if loaded else None,
        )
    if not loaded:
        return
    module("nvidia", state["driver"], state["count"])
    module("nvidia_uvm", state["driver"])
    for i in range(state["count"]):
        device_node(f"/dev/nvidia{i}")
    for name in ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset"):
        device_node("/dev/" + name)
    for i in range(switches):
        device_node(f"/dev/nvidia-nvswitch{i}")
    if switches:
        device_node("/dev/nvidia-nvswitchctl")
    proc(state)
    programs(state, switches)


def programs(state, switches):
    """What a driver's user space and the container toolkit bring, unless a package has brought it."""
    if switches and "nofabricmanager" not in state["options"] and not state["packaged"]:
        fabric_manager()
    # The real nvidia-smi of a distribution's package finds no real module to talk to.
    replace = state["packaged"] == "dkms" and os.path.lexists("/usr/bin/nvidia-smi")
    if "notools" not in state["options"] and (replace or not state["packaged"]):
        tool("nvidia-smi", replace=True)
    if "noruntime" not in state["options"]:
        for name in TOOLKIT:
            tool(name)


def fabric_manager():
    """Fabric Manager as a service that starts with the node; a package brings its own."""
    if os.path.exists("/lib/systemd/system/nvidia-fabricmanager.service"):
        return
    tool("nv-fabricmanager")
    unit = "[Unit]\nDescription=Fabric Manager\n[Service]\nExecStart=/usr/bin/nv-fabricmanager\n"
    write("/run/systemd/system/nvidia-fabricmanager.service", unit)
    link("../nvidia-fabricmanager.service", "/run/systemd/system/multi-user.target.wants/nvidia-fabricmanager.service")


def proc(state):
    """What the driver shows under /proc/driver/nvidia."""
    if not os.path.isdir("/proc/driver"):
        return  # this machine's kernel has no such folder, and /proc takes none
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/proc/driver"], check=True)
    hopper_or_newer = float(state["compute_cap"]) >= 9.0
    flavour = "NVIDIA UNIX Open Kernel Module for x86_64" if hopper_or_newer else "NVIDIA UNIX x86_64 Kernel Module"
    write("/proc/driver/nvidia/version", "NVRM version: {}  {}  Release Build\n".format(flavour, state["driver"]))
    write("/proc/driver/nvidia/params", "EnableMSI: 1\n")
    for gpu in state["gpus"]:
        text = (
            f"Model: \t\t {state['name']}\nGPU UUID: \t GPU-{gpu['uuid']}\n"
            f"Bus Location: \t {gpu['bus']}\nDevice Minor: \t {gpu['index']}\n"
        )
        write(
            "/proc/driver/nvidia/gpus/{}/information".format(gpu["bus"]),
            text,
        )
