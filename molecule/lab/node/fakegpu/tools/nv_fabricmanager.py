#!/usr/bin/python3 -IES
"""A stand-in for Fabric Manager: it tells its version, and runs with a driver of exactly that version alone."""

import json
import signal
import sys

with open("/run/fakegpu/state.json") as handle:
    STATE = json.load(handle)
VERSION = STATE["options"].get("fabricmanager", STATE["driver"])

if set(sys.argv[1:]) & {"-v", "--version"}:
    print(f"Fabric Manager version is : {VERSION}")
elif STATE["driver"] != VERSION:
    sys.exit(
        f"fabric manager NVIDIA GPU driver interface version {VERSION} don't match with driver version "
        f"{STATE['driver']}. Please update with matching NVIDIA driver package."
    )
else:
    signal.pause()
