"""What a node pretends to have: KIND:COUNT[,option…] read into plain data.

Options
  driver=VERSION   another driver version than the kind's own
  nodriver         the GPUs are on the PCI bus, nothing else is there: no driver, device nodes or tools,
                   until a package brings a driver (below)
  notools          a driver without amd-smi or nvidia-smi
  noruntime        NVIDIA: no container toolkit
  cpx              AMD: compute partition CPX, eight compute agents per GPU, each reporting the whole card's memory
  inbox            AMD: the kernel's own amdgpu, which has no version file
  mig              NVIDIA: MIG enabled
  nonvlink         NVIDIA: cards in PCIe slots, without NVLink
  rendergid=N      the host's render group has this GID
  used=MIB         memory in use on each GPU
  powercap=W       each GPU is capped to so many watts
  ecc=N            the first GPU counted so many memory errors that could not be corrected
  throttle         NVIDIA: the first GPU is slowed down by heat
  hang             NVIDIA: nvidia-smi never answers
  nofabricmanager  NVIDIA: no Fabric Manager, where NVSwitches ask for one
  fabricmanager=V  NVIDIA: Fabric Manager of this version, not the driver's

A package with a kernel module, the lab's stand-in (/usr/share/fakegpu/driver: vendor and version) or a real one that
DKMS has built, gives the node that driver from its next start on, whatever the options say. Its tools are then those
that packages bring.

hold.py, in a running node, has one of its processes hold memory.
"""

import glob
import hashlib
import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))
FLAGS = {"nodriver", "notools", "noruntime", "cpx", "inbox", "mig", "nonvlink", "throttle", "hang", "nofabricmanager"}
VALUES = {"driver", "rendergid", "used", "powercap", "ecc", "fabricmanager"}


def parse(text):
    """The state of `text`: kind's data, GPUs with PCI address and UUID, options. None for no GPU."""
    if text in ("", "none"):
        return None
    head, *options = text.split(",")
    kind, _, number = head.partition(":")
    with open(os.path.join(HERE, "kinds.json")) as handle:
        kinds = json.load(handle)
    if kind not in kinds:
        raise ValueError("unknown GPU {!r}; known: {}".format(kind, ", ".join(kinds)))
    data = kinds[kind]
    if not number.isdigit() or not 1 <= int(number) <= len(data["bus"]):
        raise ValueError("{} needs a count of 1 to {}, as in {}:1".format(kind, len(data["bus"]), kind))
    state = {**data, "kind": kind, "count": int(number), "options": {}}
    for option in options:
        key, sign, value = option.partition("=")
        if key not in (VALUES if sign else FLAGS) or (sign and not value):
            raise ValueError("unknown option {!r}; known: {}".format(option, ", ".join(sorted(FLAGS | VALUES))))
        state["options"][key] = value if sign else True
    state["driver"] = state["options"].get("driver", data["driver"])
    state["used_mib"] = int(state["options"].get("used", 0))
    count = state["count"]
    state["gpus"] = [
        {"index": i, "bus": bus, "numa": i * 2 // count, "uuid": uuid(kind, i)}
        for i, bus in enumerate(data["bus"][:count])
    ]
    return state


def take_packages(state, root="/"):
    """Have the state follow the packages of the node: state["packaged"] is "", "stand-in" or "dkms"."""
    state["packaged"] = ""
    version = stand_in_version(state["vendor"], root)
    if version:
        state["packaged"] = "stand-in"
    else:
        version = dkms_version(state["vendor"], root)
        if not version:
            return
        state["packaged"] = "dkms"
    state["driver"] = version
    if state["options"].pop("nodriver", False):
        state["options"]["noruntime"] = True
    state["options"].pop("inbox", None)


def stand_in_version(vendor, root="/"):
    """The version of the driver that a stand-in package brought."""
    try:
        with open(os.path.join(root, "usr/share/fakegpu/driver")) as handle:
            whose, version = handle.read().split()
    except (OSError, ValueError):
        return ""
    return version if whose == vendor else ""


def dkms_version(vendor, root="/"):
    """The version of the newest module that DKMS has built, for whatever kernel."""
    pattern = {"nvidia": "nvidia*", "amd": "amdgpu"}[vendor]
    built = glob.glob(os.path.join(root, "var/lib/dkms", pattern, "*", "*", "*", "module", "*.ko*"))
    versions = {path.split(os.sep)[-5] for path in built}
    return max(versions, key=lambda text: [int(part) for part in text.split(".") if part.isdigit()], default="")


def uuid(kind, index, salt=""):
    """A stable UUID with the shape of a real one."""
    raw = hashlib.sha256((f"{kind}-{index}-{salt}").encode()).hexdigest()
    return "-".join((raw[:8], raw[8:12], raw[12:16], raw[16:20], raw[20:32]))
