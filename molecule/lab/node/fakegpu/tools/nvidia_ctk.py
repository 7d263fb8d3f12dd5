#!/usr/bin/python3 -IES
"""A stand-in for nvidia-ctk: --version, `runtime configure --runtime=docker [--config=FILE]`, `cdi generate --output=FILE`."""

import json
import os
import sys

STATE = "/run/fakegpu/state.json"
TOOLKIT = "/usr/share/fakegpu/toolkit"


def version():
    """That of the package, where one brought the toolkit."""
    if not os.path.exists(TOOLKIT):
        return "1.17.8"
    with open(TOOLKIT) as handle:
        return handle.read().strip()


def cdi(path):
    """A CDI specification (which may be JSON) of the GPUs that the node has."""
    with open(STATE) as handle:
        state = json.load(handle)
    if state["vendor"] != "nvidia" or "nodriver" in state["options"]:
        sys.exit(
            "failed to generate CDI spec: failed to create device CDI specs: failed to initialize NVML: Driver Not Loaded"
        )
    every = [f"/dev/nvidia{gpu['index']}" for gpu in state["gpus"]]
    named = {str(gpu["index"]): [node] for gpu, node in zip(state["gpus"], every)}  # noqa: B905 (Python 3.9)
    devices = [
        {"name": name, "containerEdits": {"deviceNodes": [{"path": node} for node in nodes]}}
        for name, nodes in {**named, "all": every}.items()
    ]
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as handle:
        common = {"deviceNodes": [{"path": "/dev/nvidiactl"}, {"path": "/dev/nvidia-uvm"}]}
        spec = {"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": devices, "containerEdits": common}
        handle.write(json.dumps(spec) + "\n")


def main():
    words = sys.argv[1:]
    if words in (["--version"], ["-v"]):
        print(f"NVIDIA Container Toolkit CLI version {version()}\ncommit: stand-in of the lab")
    elif words[:2] == ["cdi", "generate"]:
        cdi(
            dict(word.lstrip("-").split("=", 1) for word in words if "=" in word).get(
                "output", "/var/run/cdi/nvidia.yaml"
            )
        )
    elif words[:2] == ["runtime", "configure"]:
        options = dict(word.lstrip("-").split("=", 1) for word in words if "=" in word)
        if options.get("runtime", "docker") != "docker":
            sys.exit("the lab's nvidia-ctk knows --runtime=docker only")
        path = options.get("config", "/etc/docker/daemon.json")
        config = {}
        if os.path.exists(path):
            with open(path) as handle:
                config = json.load(handle)
        config.setdefault("runtimes", {})["nvidia"] = {"args": [], "path": "nvidia-container-runtime"}
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as handle:
            handle.write(json.dumps(config, indent=4) + "\n")
        print(f'level=info msg="Wrote updated config to {path}"')
    else:
        sys.exit("the lab's nvidia-ctk does not know: " + " ".join(words))


main()
