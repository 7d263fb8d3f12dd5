"""What a node pretends to have: KIND:COUNT[,option…] read into plain data.

Options
  driver=VERSION   another driver version than the kind's own
  nodriver         the GPUs are on the PCI bus, nothing else is there: no driver, device nodes or tools
  notools          a driver without amd-smi or nvidia-smi
  noruntime        NVIDIA: no container toolkit
  cpx              AMD: compute partition CPX, eight compute agents per GPU, each reporting the whole card's memory
  inbox            AMD: the kernel's own amdgpu, which has no version file
  mig              NVIDIA: MIG enabled
  nonvlink         NVIDIA: cards in PCIe slots, without NVLink
  rendergid=N      the host's render group has this GID
  used=MIB         memory in use on each GPU

hold.py, in a running node, has one of its processes hold memory.
"""

import hashlib
import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))
FLAGS = {"nodriver", "notools", "noruntime", "cpx", "inbox", "mig", "nonvlink"}
VALUES = {"driver", "rendergid", "used"}


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


def uuid(kind, index, salt=""):
    """A stable UUID with the shape of a real one."""
    raw = hashlib.sha256((f"{kind}-{index}-{salt}").encode()).hexdigest()
    return "-".join((raw[:8], raw[8:12], raw[12:16], raw[16:20], raw[20:32]))
