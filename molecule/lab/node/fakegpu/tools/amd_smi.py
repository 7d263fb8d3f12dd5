#!/usr/bin/python3 -IES
"""A stand-in for amd-smi: list, static, version, metric and process, as JSON in the real tool's shapes."""

import json
import os
import sys

with open("/run/fakegpu/state.json") as handle:
    STATE = json.load(handle)
PARTITIONS = 8 if "cpx" in STATE["options"] else 1
NEWER = STATE["rocm"].split(".")[0] >= "7"  # from ROCm 7 on, lists come wrapped as {"gpu_data": […]}
# Without a version file amd-smi gives the kernel's release.
DRIVER = os.uname().release if "inbox" in STATE["options"] else STATE["driver"]


def devices():
    """(number, GPU, partition) of each device."""
    return [(gpu["index"] * PARTITIONS + part, gpu, part) for gpu in STATE["gpus"] for part in range(PARTITIONS)]


def bdf(gpu, part):
    return gpu["bus"][:-1] + str(part)


def listing():
    return [
        {
            "gpu": number,
            "bdf": bdf(gpu, part),
            "uuid": gpu["uuid"],
            "kfd_id": 28000 + number,
            "node_id": 2 + number,
            "partition_id": part,
        }
        for number, gpu, part in devices()
    ]


def static(wanted):
    """The sections asked for, all of them when none is named."""
    rows = []
    for number, gpu, part in devices():
        sections = {
            "asic": {
                "market_name": STATE["name"],
                "vendor_id": "0x1002",
                "vendor_name": "Advanced Micro Devices Inc. [AMD/ATI]",
                "subvendor_id": "0x1002",
                "device_id": STATE["device"],
                "subsystem_id": STATE["device"],
                "rev_id": "0x00",
                "asic_serial": "0x" + gpu["uuid"].replace("-", "")[:16].upper(),
                "oam_id": gpu["index"],
                "num_compute_units": STATE["simd_count"] // 4 // PARTITIONS,
                "target_graphics_version": STATE["gfx"],
            },
            "bus": {"bdf": bdf(gpu, part), "max_pcie_width": 16, "pcie_interface_version": "Gen 5", "slot_type": "OAM"},
            "driver": {"name": "amdgpu", "version": DRIVER},
            "vram": {
                "type": "HBM3",
                "vendor": "HYNIX",
                "size": {"value": STATE["memory_mib"], "unit": "MB"},
                "bit_width": 8192,
            },
            "partition": {
                "accelerator_partition" if NEWER else "compute_partition": "CPX" if PARTITIONS > 1 else "SPX",
                "memory_partition": "NPS1",
                "partition_id": part,
            },
            "numa": {"node": gpu["numa"], "affinity": gpu["numa"]},
        }
        rows.append({"gpu": number, **{key: sections[key] for key in sections if not wanted or key in wanted}})
    return {"gpu_data": rows} if NEWER else rows


def metric():
    rows = []
    for number, gpu, _part in devices():
        with open("/sys/bus/pci/devices/{}/mem_info_vram_used".format(gpu["bus"])) as handle:
            used = int(handle.read()) >> 20
        sizes = {"total_vram": STATE["memory_mib"], "used_vram": used, "free_vram": STATE["memory_mib"] - used}
        usage = {name: {"value": value, "unit": "MB"} for name, value in sizes.items()}
        rows.append({"gpu": number, "mem_usage": usage})
    return {"gpu_data": rows} if NEWER else rows


def process():
    idle = [{"process_info": "No running processes detected"}]
    return [{"gpu": number, "process_list": idle} for number, _gpu, _part in devices()]


def version():
    tool = "26.2.1+fake" if NEWER else "25.5.1+fake"
    return [
        {
            "tool": "AMDSMI Tool",
            "version": tool,
            "amdsmi_library_version": tool.split("+")[0],
            "rocm_version": STATE["rocm"],
            "amdgpu_version": DRIVER,
        }
    ]


def show(data, indent=0):
    """amd-smi's output for people: indented keys in capitals."""
    for key, value in data.items():
        if isinstance(value, dict) and set(value) != {"value", "unit"}:
            print("{}{}:".format(" " * indent, key.upper()))
            show(value, indent + 4)
        else:
            text = "{value} {unit}".format(**value) if isinstance(value, dict) else value
            print("{}{}: {}".format(" " * indent, key.upper(), text))


def main():
    words = sys.argv[1:]
    as_json = "--json" in words
    command = next((word for word in words if not word.startswith("-")), "")
    short = {"-a": "asic", "-b": "bus", "-d": "driver", "-v": "vram", "-p": "partition", "-u": "numa"}
    wanted = {short.get(word, word.lstrip("-")) for word in words if word.startswith("-")} - {"json"}
    if command == "version":
        rows = version()
        if not as_json:
            row = rows[0]
            print(
                "AMDSMI Tool: {} | AMDSMI Library version: {} | ROCm version: {} | amdgpu version: {}".format(
                    row["version"], row["amdsmi_library_version"], row["rocm_version"], row["amdgpu_version"]
                )
            )
            return
    elif command in ("list", "static", "metric", "process"):
        rows = (
            {"list": listing, "metric": metric, "process": process}[command]()
            if command != "static"
            else static(wanted)
        )
    else:
        print(
            "AMD-SMI stand-in: {} x {}. Commands: list, static, metric, process, version.".format(
                STATE["count"], STATE["name"]
            )
        )
        return
    if as_json:
        print(json.dumps(rows, indent=4))
    else:
        for row in rows["gpu_data"] if isinstance(rows, dict) else rows:
            show(row)
            print()


main()
