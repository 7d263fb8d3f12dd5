#!/usr/bin/python3 -IES
"""A stand-in for nvidia-smi: the answers that scripts ask for, in the real tool's formats."""

import json
import os
import sys
import time

with open("/run/fakegpu/state.json") as handle:
    STATE = json.load(handle)
LIBRARY = "/usr/share/fakegpu/library"
MIG = "mig" in STATE["options"]
MIB, W = "MiB", "W"
WATTS = 700
HELD = "/run/fakegpu/held.json"
LEGEND = """
Legend:

  X    = Self
  SYS  = Connection traversing PCIe as well as the SMP interconnect between NUMA nodes (e.g., QPI/UPI)
  NODE = Connection traversing PCIe as well as the interconnect between PCIe Host Bridges within a NUMA node
  PHB  = Connection traversing PCIe as well as a PCIe Host Bridge (typically the CPU)
  PXB  = Connection traversing multiple PCIe bridges (without traversing the PCIe Host Bridge)
  PIX  = Connection traversing at most a single PCIe bridge
  NV#  = Connection traversing a bonded set of # NVLinks
"""


def bus_id(gpu):
    return "0000" + gpu["bus"].upper()


ALIASES = {"gpu_name": "name", "gpu_uuid": "uuid", "gpu_bus_id": "pci.bus_id"}
APP_UNITS = {"used_gpu_memory": MIB, **dict.fromkeys(("pid", "process_name", "gpu_uuid", "gpu_name", "gpu_bus_id"))}
APP_ALIASES = {"name": "process_name", "used_memory": "used_gpu_memory"}


def held():
    """What hold.py noted down: (GPU, PID, MiB) of processes that live."""
    rows = []
    if os.path.exists(HELD):
        with open(HELD) as handle:
            rows = json.load(handle)
    return [
        (gpu, row["pid"], row["mib"])
        for gpu in STATE["gpus"]
        for row in rows
        if gpu["index"] in row["gpus"] and os.path.isdir("/proc/{}".format(row["pid"]))
    ]


def app_fields(row):
    """Every field that --query-compute-apps knows, of one process on one GPU."""
    gpu, pid, mib = row
    with open(f"/proc/{pid}/cmdline") as handle:
        name = handle.read().split("\0")[0]
    values = {
        "pid": pid,
        "process_name": name or "[Not Found]",
        "used_gpu_memory": mib,
        "gpu_uuid": "GPU-" + gpu["uuid"],
        "gpu_name": STATE["name"],
        "gpu_bus_id": bus_id(gpu),
    }
    return {key: (value, APP_UNITS[key]) for key, value in values.items()}


def fields(gpu):
    """Every field that --query-gpu knows: its value and its unit, if it has one."""
    used = STATE["used_mib"] + sum(mib for holder, _pid, mib in held() if holder is gpu)
    return {
        "index": (gpu["index"], None),
        "count": (STATE["count"], None),
        "uuid": ("GPU-" + gpu["uuid"], None),
        "name": (STATE["name"], None),
        "driver_version": (STATE["driver"], None),
        "compute_cap": (STATE["compute_cap"], None),
        "memory.total": (STATE["memory_mib"], MIB),
        "memory.used": (used, MIB),
        "memory.free": (STATE["memory_mib"] - used, MIB),
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


def query(asked, formats, units, rows, aliases):
    """--query-gpu and its like: any of the fields that have an entry in `units`, in the order asked for."""
    names = [name.strip() for name in asked.split(",")]
    keys = [aliases.get(name, name) for name in names]
    for name, key in zip(names, keys, strict=True):
        if key not in units:
            print(f'Field "{name}" is not a valid field to query.\n')
            sys.exit(2)
    if "csv" not in formats:
        print("\"--format=\" switch is missing. Please run 'nvidia-smi -h' for help.\n")
        sys.exit(2)
    if "noheader" not in formats:
        units_of = [units[key] for key in keys]
        print(", ".join(name + (f" [{unit}]" if unit else "") for name, unit in zip(names, units_of, strict=True)))
    for row in rows:
        cells = [row[key] for key in keys]
        with_units = "nounits" not in formats
        print(", ".join(f"{value} {unit}" if unit and with_units else str(value) for value, unit in cells))


def matrix():
    """topo -m: NVLink between all GPUs through the switches, or PCIe within and across the CPUs' halves."""
    gpus = STATE["gpus"]
    print("\t" + "".join(f"GPU{gpu['index']}\t" for gpu in gpus) + "CPU Affinity\tNUMA Affinity\tGPU NUMA ID")
    for gpu in gpus:
        row = "GPU{}\t".format(gpu["index"])
        for other in gpus:
            if other is gpu:
                cell = " X "
            elif "nonvlink" in STATE["options"] or not STATE.get("nvlinks"):
                cell = "NODE" if other["numa"] == gpu["numa"] else "SYS"
            else:
                cell = "NV{}".format(STATE["nvlinks"])
            row += cell + "\t"
        cpus = "56-111,168-223" if gpu["numa"] else "0-55,112-167"
        print(f"{row}{cpus}\t{gpu['numa']}\t\tN/A")
    print(LEGEND, end="")


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
            f" | {fields(gpu)['memory.used'][0]:>6}MiB / {STATE['memory_mib']:>6}MiB |"
        )


def details(gpu):
    """A GPU's part of -q, with the sections POWER, PERFORMANCE and ECC, as drivers from 535 on write them."""
    first, options = gpu["index"] == 0, STATE["options"]
    hot = "Active" if first and "throttle" in options else "Not Active"
    limit = "{}.00 W".format(options.get("powercap", WATTS))
    errors = options.get("ecc", 0) if first else 0
    return [
        (1, "Performance State", "P0"),
        (1, "Clocks Event Reasons", None),
        (2, "Idle", "Active"),
        (2, "Applications Clocks Setting", "Not Active"),
        (2, "SW Power Cap", "Not Active"),
        (2, "HW Slowdown", hot),
        (3, "HW Thermal Slowdown", hot),
        (3, "HW Power Brake Slowdown", "Not Active"),
        (2, "Sync Boost", "Not Active"),
        (2, "SW Thermal Slowdown", "Not Active"),
        (2, "Display Clock Setting", "Not Active"),
        (1, "ECC Mode", None),
        (2, "Current", "Enabled"),
        (2, "Pending", "Enabled"),
        (1, "ECC Errors", None),
        (2, "Volatile", None),
        (3, "SRAM Correctable", 0),
        (3, "SRAM Uncorrectable Parity", 0),
        (3, "SRAM Uncorrectable SEC-DED", 0),
        (3, "DRAM Correctable", 0),
        (3, "DRAM Uncorrectable", errors),
        (2, "Aggregate", None),
        (3, "DRAM Correctable", 0),
        (3, "DRAM Uncorrectable", errors),
        (1, "GPU Power Readings", None),
        (2, "Average Power Draw", "76.25 W"),
        (2, "Current Power Limit", limit),
        (2, "Requested Power Limit", limit),
        (2, "Default Power Limit", f"{WATTS}.00 W"),
        (2, "Min Power Limit", "200.00 W"),
        (2, "Max Power Limit", f"{WATTS}.00 W"),
        (1, "Module Power Readings", None),
        (2, "Current Power Limit", "N/A"),
        (2, "Default Power Limit", "N/A"),
    ]


def long_query(gpus):
    """-q, shortened to the sections above."""
    print("\n==============NVSMI LOG==============\n")
    for name, value in (("Driver Version", STATE["driver"]), ("Attached GPUs", STATE["count"])):
        print(f"{name:<42}: {value}")
    for gpu in gpus:
        print("GPU " + bus_id(gpu))
        for depth, name, value in details(gpu):
            print(" " * 4 * depth + (name if value is None else f"{name:<{42 - 4 * depth}}: {value}"))
        print()


def refuse():
    """What the real one does where the driver hangs, and says where the module is not loaded, or is of another version than the library beside it."""
    if "hang" in STATE["options"]:
        time.sleep(3600)
    if "nodriver" in STATE["options"]:
        print(
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
            "NVIDIA driver is installed and running.\n"
        )
        sys.exit(9)
    library = ""
    if os.path.exists(LIBRARY):
        with open(LIBRARY) as handle:
            library = handle.read().split()[-1]
    if library and library != STATE["driver"]:
        print("Failed to initialize NVML: Driver/library version mismatch")
        print("NVML library version: {}".format(library.rsplit(".", 1)[0] if library.count(".") > 1 else library))
        sys.exit(18)


def main():
    refuse()
    words = sys.argv[1:]
    gpus = chosen(words)
    options = dict(word.split("=", 1) for word in words if "=" in word)
    formats = options.get("--format", "").split(",")
    if "-L" in words or "--list-gpus" in words:
        listing(gpus)
    elif "--query-gpu" in options:
        units = {name: unit for name, (_value, unit) in fields(STATE["gpus"][0]).items()}
        query(options["--query-gpu"], formats, units, [fields(gpu) for gpu in gpus], ALIASES)
    elif "--query-compute-apps" in options:
        rows = [app_fields(row) for row in held() if row[0] in gpus]
        query(options["--query-compute-apps"], formats, APP_UNITS, rows, APP_ALIASES)
    elif "--query-accounted-apps" in options:
        if "noheader" not in formats:
            print(options["--query-accounted-apps"].replace(",", ", "))
    elif "-q" in words:
        long_query(gpus)
    elif words in (["topo", "-m"], ["topo", "--matrix"]):
        matrix()
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
