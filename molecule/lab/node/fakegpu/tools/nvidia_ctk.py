#!/usr/bin/python3 -IES
"""A stand-in for nvidia-ctk: --version and `runtime configure --runtime=docker [--config=FILE]`."""

import json
import os
import sys


def main():
    words = sys.argv[1:]
    if words in (["--version"], ["-v"]):
        print("NVIDIA Container Toolkit CLI version 1.17.8\ncommit: stand-in of the lab")
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
