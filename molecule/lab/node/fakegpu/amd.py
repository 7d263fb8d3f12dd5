"""AMD Instinct GPUs: PCI and DRM entries, KFD topology, device nodes, amd-smi."""

import grp
import os

from sysfs import device_node, link, module, pci_device, tool, write

VENDOR = 0x1002
CLASS = 0x120000  # processing accelerator
TOPOLOGY = "/sys/class/kfd/kfd/topology/nodes"
CPU_NODES = 2
# amdgpu gives each GPU of the MI300 and MI350 families a DRM device for every partition that it could have, from the
# start and in every mode: GPU 1 is renderD136 (https://github.com/ROCm/rocDecode/pull/38). The first device is the PCI
# function's, the others are platform devices (https://github.com/ROCm/ROCm/issues/4261 lists them).
DRM_DEVICES = 8
WATTS = 750
RAS_BLOCKS = ("umc", "sdma", "gfx", "mmhub", "xgmi_wafl")


def build(state):
    """Everything that a node with these GPUs shows."""
    device = int(state["device"], 16)
    loaded = "nodriver" not in state["options"]
    partitions = 8 if "cpx" in state["options"] else 1
    render, video = grp.getgrnam("render").gr_gid, grp.getgrnam("video").gr_gid
    for gpu in state["gpus"]:
        folder = pci_device(gpu["bus"], VENDOR, device, CLASS, gpu["numa"], "amdgpu" if loaded else None, device)
        if loaded:
            describe(folder, state, gpu, partitions)
    if not loaded:
        return
    for node in range(CPU_NODES):
        write(f"{TOPOLOGY}/{node}/properties", "cpu_cores_count 96\nsimd_count 0\nvendor_id 0\ndevice_id 0\n")
        write(f"{TOPOLOGY}/{node}/gpu_id", "0\n")
    os.makedirs("/sys/class/kfd/kfd/proc")
    for gpu in state["gpus"]:
        for part in range(DRM_DEVICES):
            drm(gpu, part, render, video)
        for part in range(partitions):
            kfd(state, gpu, part, partitions, device)
    device_node("/dev/kfd", 0o660, render)
    module("amdgpu", None if "inbox" in state["options"] else state["driver"], state["count"])
    if "notools" not in state["options"] and not state.get("packaged"):
        tool("amd-smi")
        write("/opt/rocm/.info/version", state["rocm"] + "\n")


def describe(folder, state, gpu, partitions):
    """What amdgpu adds to the PCI device's folder."""
    whole = state["memory_mib"] << 20
    values = {
        "mem_info_vram_total": whole,
        "mem_info_vram_used": state["used_mib"] << 20,
        "mem_info_vram_vendor": "hynix",
        "unique_id": gpu["uuid"].replace("-", "")[:16],
        "product_name": state["name"],
        "available_compute_partition": "SPX, DPX, QPX, CPX",
        "current_compute_partition": "CPX" if partitions > 1 else "SPX",
        "current_memory_partition": "NPS1",
        "gpu_busy_percent": 0,
        "power_dpm_force_performance_level": "auto",
        "hwmon/hwmon0/power1_cap": int(state["options"].get("powercap", WATTS)) * 1_000_000,
        "hwmon/hwmon0/power1_cap_default": WATTS * 1_000_000,
    }
    errors = int(state["options"].get("ecc", 0)) if gpu["index"] == 0 else 0
    values.update({f"ras/{block}_err_count": f"ue: {errors if block == 'umc' else 0}\nce: 0" for block in RAS_BLOCKS})
    for name, value in values.items():
        write(os.path.join(folder, name), f"{value}\n")


def minor(gpu, part):
    """Number of a DRM device's card; its render node's is higher by 128."""
    return gpu["index"] * DRM_DEVICES + part


def drm(gpu, part, render, video):
    """The card and render nodes of a DRM device. A real render node without a partition refuses to be opened."""
    home = "/sys/bus/pci/devices/" + gpu["bus"]
    if part:
        # Real hosts have these under /sys/devices/platform; the path is the only difference.
        home = "/sys/bus/pci/xcp/amdgpu_xcp_{}".format(gpu["index"] * (DRM_DEVICES - 1) + part - 1)
    number = minor(gpu, part)
    for name, device, gid in ((f"card{number}", number, video), (f"renderD{128 + number}", 128 + number, render)):
        write(f"/sys/class/drm/{name}/dev", f"226:{device}\n")
        link(home, f"/sys/class/drm/{name}/device")
        link("/sys/class/drm/" + name, f"{home}/drm/{name}")
        device_node("/dev/dri/" + name, 0o660, gid)


def kfd(state, gpu, part, partitions, device):
    """The compute node of a whole GPU or of a partition in KFD's topology."""
    domain, bus = int(gpu["bus"][:4], 16), int(gpu["bus"][5:7], 16)
    agent = gpu["index"] * partitions + part
    home = f"{TOPOLOGY}/{CPU_NODES + agent}"
    links = io_links(state, gpu, partitions, agent)
    properties = {
        "cpu_cores_count": 0,
        "simd_count": state["simd_count"] // partitions,
        "mem_banks_count": 1,
        "io_links_count": len(links),
        "gfx_target_version": state["gfx_target_version"],
        "vendor_id": VENDOR,
        "device_id": device,
        "location_id": bus << 8 | part,
        "domain": domain,
        "drm_render_minor": 128 + minor(gpu, part),
        "local_mem_size": 0,
        "num_xcc": state["xcc"] // partitions,
    }
    write(home + "/properties", "".join("{} {}\n".format(*item) for item in properties.items()))
    write(home + "/gpu_id", f"{28000 + agent}\n")
    write(home + "/name", "ip discovery\n")
    write(
        home + "/mem_banks/0/properties",
        f"heap_type 1\nsize_in_bytes {state['memory_mib'] << 20}\nflags 0\nwidth 8192\n",
    )
    for number, text in enumerate(links):
        write(f"{home}/io_links/{number}/properties", text)


def io_links(state, gpu, partitions, agent):
    """PCIe to the GPU's CPU, and XGMI to every other agent of the hive, partitions of one GPU among them."""
    ends = [(2, gpu["numa"], 20, 312, 64000)]
    agents = state["count"] * partitions
    ends += [(11, CPU_NODES + other, 15, 64000, 64000) for other in range(agents) if other != agent]
    links = []
    for kind, end, weight, least, most in ends:
        properties = {
            "type": kind,
            "version_major": 0,
            "version_minor": 0,
            "node_from": CPU_NODES + agent,
            "node_to": end,
            "weight": weight,
            "min_latency": 0,
            "max_latency": 0,
            "min_bandwidth": least,
            "max_bandwidth": most,
            "recommended_transfer_size": 0,
            "recommended_sdma_engine_id_mask": 0,
            "flags": 1,
        }
        links.append("".join("{} {}\n".format(*item) for item in properties.items()))
    return links
