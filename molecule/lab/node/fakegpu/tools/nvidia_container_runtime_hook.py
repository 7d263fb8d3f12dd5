#!/usr/bin/python3 -IES
"""A stand-in for NVIDIA's container hook: puts the device nodes that were asked for into the container.

Docker finds it on its PATH when the daemon starts and calls it for `--gpus`, with the OCI state on standard input.
What was asked for goes to /var/log/nvidia-hook.log, one JSON object a line, so that a test can assert on it.
"""

import json
import os
import subprocess
import sys
import time

with open("/run/fakegpu/state.json") as handle:
    STATE = json.load(handle)


def wanted(visible):
    """Indexes of the GPUs that NVIDIA_VISIBLE_DEVICES names by index or UUID."""
    if visible in ("", "none", "void"):
        return []
    known = {name: gpu["index"] for gpu in STATE["gpus"] for name in (str(gpu["index"]), "GPU-" + gpu["uuid"])}
    if visible == "all":
        return sorted(set(known.values()))
    unknown = [name for name in visible.split(",") if name not in known]
    if unknown:
        sys.exit(f"nvidia-container-cli: device error: {unknown[0]}: unknown device")
    return [known[name] for name in visible.split(",")]


def main():
    if sys.argv[1:] not in (["prestart"], ["createRuntime"]):
        return
    state = json.load(sys.stdin)
    with open(os.path.join(state["bundle"], "config.json")) as handle:
        config = json.load(handle)
    env = dict(entry.split("=", 1) for entry in config["process"].get("env", []) if "=" in entry)
    indexes = wanted(env.get("NVIDIA_VISIBLE_DEVICES", ""))
    with open("/var/log/nvidia-hook.log", "a") as log:
        row = {"time": int(time.time()), "container": state["id"][:12], "gpus": indexes}
        log.write(json.dumps({**row, "capabilities": env.get("NVIDIA_DRIVER_CAPABILITIES", "")}) + "\n")
    if not indexes:
        return
    if "nodriver" in STATE["options"]:
        sys.exit("nvidia-container-cli: initialization error: nvml error: driver not loaded")
    root = os.path.join(state["bundle"], config["root"]["path"])
    names = [f"nvidia{index}" for index in indexes] + ["nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset"]
    script = 'cd "$1/dev" || exit 1; shift; for n; do [ -e "$n" ] || mknod -m 666 "$n" c 1 3; done'
    inside = ["nsenter", "--target", str(state["pid"]), "--mount", "sh", "-c", script, "sh", root]
    subprocess.run(inside + names, check=True)


main()
