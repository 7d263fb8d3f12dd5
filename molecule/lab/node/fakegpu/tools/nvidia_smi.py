#!/usr/bin/python3 -IES
"""A stand-in for nvidia-smi: the answers that scripts ask for, in the real tool's formats."""

import json
import sys

with open("/run/fakegpu/state.json") as handle:
    STATE = json.load(handle)
MIG = "mig" in STATE["options"]
MIB, W = "MiB", "W"


def bus_id(gpu):
    return "0000" + gpu["bus"].upper()


ALIASES = {"gpu_name": "name", "gpu_uuid": "uuid", "gpu_bus_id": "pci.bus_id"}


def fields(gpu):
    """Every field that --query-gpu knows: its value and its unit, if it has one."""
    return {
        "index": (gpu["index"], None),
        "count": (STATE["count"], None),
        "uuid": ("GPU-" + gpu["uuid"], None),
        "name": (STATE["name"], None),
        "driver_version": (STATE["driver"], None),
        "compute_cap": (STATE["compute_cap"], None),
        "memory.total": (STATE["memory_mib"], MIB),
        "memory.used": (STATE["used_mib"], MIB),
        "memory.free": (STATE["memory_mib"] - STATE["used_mib"], MIB),
        "memory.reserved": (0, MIB),
        "pci.bus_id": (bus_id(gpu), None),
        "pci.domain": ("0x" + gpu["bus"][:4].upper(), None),
        "pci.bus": ("0x" + gpu["bus"][5:7].upper(), None),
        "pci.device_id": ("0x{}10DE".format(STATE["device"][2:].upper()), None),
        "mig.mode.current": (mig_mode(), None),
        "mig.mode.pending": (mig_mode(), None),
        "persistence_mode": ("Enabled", None),
        "compute_mode": ("Default", None),
        "utilization.gpu": (0, "%"),
        "utilization.memory": (0, "%"),
        "temperature.gpu": (31 + gpu["index"], None),
        "power.draw": ("76.25", W),
        "power.limit": ("700.00", W),
        "ecc.mode.current": ("Enabled", None),
        "ecc.errors.uncorrected.volatile.total": (0, None),
        "display_active": ("Disabled", None),
        "fan.speed": ("[N/A]", None),
        "serial": (f"165{gpu['index']:010}", None),
    }


def mig_mode():
    return "Enabled" if MIG else "Disabled"


def chosen(words):
    """The GPUs that -i or --id names by index, UUID or bus ID; all of them without it."""
    wanted = None
    for i, word in enumerate(words):
        if word in ("-i", "--id") and i + 1 < len(words):
            wanted = words[i + 1]
        elif word.startswith(("-i=", "--id=")):
            wanted = word.split("=", 1)[1]
    if wanted is None:
        return STATE["gpus"]
    found = []
    for name in wanted.split(","):
        match = [
            g
            for g in STATE["gpus"]
            if name.lower() in (str(g["index"]), "gpu-" + g["uuid"], bus_id(g).lower(), g["bus"])
        ]
        if not match:
            print("No devices were found")
            sys.exit(6)
        found += match
    return found


def query(asked, formats, gpus):
    """--query-gpu: any fields in the order asked for."""
    names = [name.strip() for name in asked.split(",")]
    keys = [ALIASES.get(name, name) for name in names]
    known = fields(STATE["gpus"][0])
    for name, key in zip(names, keys, strict=True):
        if key not in known:
            print(f'Field "{name}" is not a valid field to query.\n')
            sys.exit(2)
    if "csv" not in formats:
        print("\"--format=\" switch is missing. Please run 'nvidia-smi -h' for help.\n")
        sys.exit(2)
    if "noheader" not in formats:
        units = [known[key][1] for key in keys]
        print(", ".join(name + (f" [{unit}]" if unit else "") for name, unit in zip(names, units, strict=True)))
    for gpu in gpus:
        cells = [fields(gpu)[key] for key in keys]
        with_units = "nounits" not in formats
        print(", ".join(f"{value} {unit}" if unit and with_units else str(value) for value, unit in cells))


def listing(gpus):
    """-L, with MIG devices below their GPU."""
    for gpu in gpus:
        print("GPU {}: {} (UUID: GPU-{})".format(gpu["index"], STATE["name"], gpu["uuid"]))
        for part in range(7 if MIG else 0):
            size = f"1g.{STATE['memory_mib'] // 1024 // 8 + 1}gb"
            mig_uuid = gpu["uuid"][:-1] + f"{part:x}"
            print(f"  MIG {size:<12} Device {part:>2}: (UUID: MIG-{mig_uuid})")


def table(gpus):
    """The table for people, shortened."""
    print("NVIDIA-SMI {}    Driver Version: {}".format(STATE["driver"], STATE["driver"]))
    for gpu in gpus:
        print(
            f"| {gpu['index']:>3}  {STATE['name']:<24} {bus_id(gpu)}"
            f" | {STATE['used_mib']:>6}MiB / {STATE['memory_mib']:>6}MiB |"
        )


def main():
    words = sys.argv[1:]
    gpus = chosen(words)
    options = dict(word.split("=", 1) for word in words if "=" in word)
    formats = options.get("--format", "").split(",")
    if "-L" in words or "--list-gpus" in words:
        listing(gpus)
    elif "--query-gpu" in options:
        query(options["--query-gpu"], formats, gpus)
    elif any(key in options for key in ("--query-compute-apps", "--query-accounted-apps")):
        if "noheader" not in formats:
            print(next(iter(options.values())).replace(",", ", "))
    elif "--version" in words:
        print(
            "NVIDIA-SMI version  : {}\nNVML version        : {}".format(
                STATE["driver"], STATE["driver"].rsplit(".", 1)[0]
            )
        )
        print("DRIVER version      : {}".format(STATE["driver"]))
    elif "-pm" in words or any(word.startswith("--persistence-mode") for word in words):
        for gpu in gpus:
            print(f"Persistence mode is already Enabled for GPU {bus_id(gpu)}.")
        print("All done.")
    elif not [word for word in words if word not in ("-i", "--id") and not word.isdigit()]:
        table(gpus)
    else:
        print("Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n")
        sys.exit(255)


main()
