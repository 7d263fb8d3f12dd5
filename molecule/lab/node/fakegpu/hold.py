#!/usr/bin/python3
"""`python3 /usr/local/lib/fakegpu/hold.py PID MIB [GPU…]`: have a process hold memory on each GPU named, or on all.

On NVIDIA the memory is free again when the process is gone. On AMD it stays in use, as it does after a SIGKILL: then
nobody is left who holds it.
"""

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import sysfs

KFD = "/sys/class/kfd/kfd"


def hold_nvidia(pid, mib, gpus):
    """Noted down for the stand-in of nvidia-smi, which looks whether the process lives."""
    path = os.path.join(sysfs.RUN, "held.json")
    rows = []
    if os.path.exists(path):
        with open(path) as handle:
            rows = json.load(handle)
    sysfs.write(path, json.dumps([*rows, {"pid": pid, "mib": mib, "gpus": [gpu["index"] for gpu in gpus]}]))


def hold_amd(pid, mib, gpus):
    """The files that amdgpu and KFD have; a process has one for each device, those that it leaves alone as well."""
    chosen = {int(gpu["bus"][:4], 16) << 16 | int(gpu["bus"][5:7], 16) << 8 for gpu in gpus}
    nodes = os.path.join(KFD, "topology/nodes")
    for node in os.listdir(nodes):
        with open(os.path.join(nodes, node, "properties")) as handle:
            properties = dict(line.split() for line in handle)
        with open(os.path.join(nodes, node, "gpu_id")) as handle:
            gpu_id = handle.read().strip()
        if gpu_id == "0":
            continue  # a CPU
        place = int(properties["domain"]) << 16 | int(properties["location_id"])
        sysfs.write(f"{KFD}/proc/{pid}/vram_{gpu_id}", f"{mib << 20 if place in chosen else 0}\n")
    for gpu in gpus:
        path = os.path.join(sysfs.PCI, gpu["bus"], "mem_info_vram_used")
        with open(path) as handle:
            used = int(handle.read())
        sysfs.write(path, f"{used + (mib << 20)}\n")


def main():
    with open(os.path.join(sysfs.RUN, "state.json")) as handle:
        state = json.load(handle)
    pid, mib, *indexes = (int(word) for word in sys.argv[1:])
    gpus = [gpu for gpu in state["gpus"] if not indexes or gpu["index"] in indexes]
    (hold_amd if state["vendor"] == "amd" else hold_nvidia)(pid, mib, gpus)


main()
