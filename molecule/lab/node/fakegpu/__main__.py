#!/usr/bin/python3
"""`python3 /usr/local/lib/fakegpu KIND:COUNT[,option…]`: show GPUs that are not there. Run once per start, as root."""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import amd
import nvidia
import spec
import sysfs


def forget_tools():
    """Take away the stand-ins of an earlier start; a tool that a package brought stays."""
    for name in os.listdir("/usr/bin"):
        path = os.path.join("/usr/bin", name)
        if os.path.islink(path) and os.readlink(path).startswith(spec.HERE):
            os.unlink(path)


def main():
    """Build what the argument asks for."""
    forget_tools()
    state = spec.parse(sys.argv[1] if len(sys.argv) > 1 else "none")
    if state is None:
        return
    spec.take_packages(state)
    if "rendergid" in state["options"]:
        subprocess.run(["groupmod", "--gid", state["options"]["rendergid"], "render"], check=True)
    sysfs.mount_overlays()
    sysfs.write(os.path.join(sysfs.RUN, "state.json"), json.dumps(state, indent=1) + "\n")
    (amd if state["vendor"] == "amd" else nvidia).build(state)


main()
