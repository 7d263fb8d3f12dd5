# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a plan is made from: the operator's wishes, the node as its GPU facts tell it, and the catalogue's entries."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import (
    Catalogue,
    Generator,
    Gpu,
    Image,
    Model,
)
from ansible_collections.sglang.fleet.plugins.module_utils._gpu_amd import RESET_PARTITIONS
from ansible_collections.sglang.fleet.plugins.module_utils._gpu_nvidia import RESET_MIG
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import PlanError, version_key

#: GPUs of a node at most: far more than any has, few enough to look through
MAX_GPUS: t.Final = 64


@dataclass(frozen=True)
class Wishes:
    """What the operator asks for; None leaves the choice to the model's entry in the catalogue."""

    model: str = "M2.7"
    layout: str = "auto"
    ep: int | None = None
    profile: str = "hardened"
    address: str = "127.0.0.1"
    port: int = 30000
    context_length: int | None = None
    mem_fraction_static: float | None = None
    reasoning_parser: bool | None = None
    tool_call_parser: bool | None = None
    enable_metrics: bool = False
    extra_args: t.Mapping[str, t.Any] = field(default_factory=dict)
    image: str | None = None
    sglang_version: str | None = None
    weights_dir: str = "/var/lib/sglang-fleet/huggingface"
    allow_known_issues: tuple[str, ...] = ()
    patches: tuple[t.Mapping[str, t.Any], ...] = ()


@dataclass(frozen=True)
class Node:
    """The part of ``ansible_facts.gpu`` that a plan needs; one item a GPU in the tuples.

    assumed: no host was asked, the facts are facts_for's.
    """

    vendor: str
    gpu: Gpu
    count: int
    memory_mib: int
    nodes: tuple[tuple[str, ...], ...]
    uuids: tuple[str | None, ...]
    numa: tuple[int | None, ...]
    links: tuple[frozenset[int], ...]
    control_nodes: tuple[str, ...]
    gids: tuple[int, ...]
    driver: t.Mapping[str, t.Any]
    unknown: tuple[t.Mapping[str, str], ...]
    holders: tuple[t.Mapping[str, t.Any], ...]
    hidden: tuple[t.Mapping[str, t.Any], ...]
    assumed: bool


_Entry = t.TypeVar("_Entry")


def pick(entries: t.Mapping[str, _Entry], name: str, what: str, variable: str) -> _Entry:
    """The entry, by any case of its name; a PlanError lists the names there are."""
    entry = entries.get(name)
    if entry is not None:
        return entry
    for known, other in entries.items():
        if known.lower() == name.lower():
            return other
    raise PlanError(f"unknown {what} {name}: set {variable} to one of {', '.join(entries)}")


def pick_model(catalogue: Catalogue, name: str) -> Model:
    """The model by its name, by an alias of it, by its Hugging Face repository or by the last part of that."""
    model = catalogue.model_names.get(name.lower())
    return model or pick(catalogue.models, name, "model", "fleet_model")


def published(model: Model, gpu: Gpu) -> Generator | None:
    """The GPU counts that a published command generator offers for the model on this GPU; None where none speaks."""
    if gpu.image_class not in model.images or gpu.generator is None:
        return None
    return gpu.generator if model.generator_of_gpu else model.generator


def pick_image(catalogue: Catalogue, model: Model, gpu: Gpu, sglang_version: str | None) -> tuple[Image, bool]:
    """The image for this model on this GPU, and whether it is the one published for the model.

    sglang_version: the version asked for, None for the published one. Without one, the newest for the hardware.
    """
    published = model.images.get(gpu.image_class)
    if published is not None and (
        sglang_version is None or catalogue.images[published].sglang_version == sglang_version
    ):
        return catalogue.images[published], True
    possible = [image for image in catalogue.images.values() if gpu.image_class in image.hardware]
    if sglang_version is not None:
        for image in possible:
            if image.sglang_version == sglang_version:
                return image, False
        versions = sorted({image.sglang_version for image in possible}, key=version_key)
        raise PlanError(
            f"there is no image of SGLang {sglang_version} for {gpu.name} in the catalogue: set fleet_sglang_version to one "
            f"of {', '.join(versions)}, or add the image to fleet_catalogue (images)"
            if versions
            else _no_image(gpu),
            "image",
        )
    if not possible:
        raise PlanError(_no_image(gpu), "image")
    return max(possible, key=lambda image: version_key(image.sglang_version)), False


def _no_image(gpu: Gpu) -> str:
    return (
        f"the catalogue has no image for {gpu.name} (hardware {gpu.image_class}): add one to fleet_catalogue (images), with "
        f"hardware [{gpu.image_class}]"
    )


_TOOLS: t.Final = ("nvidia-smi", "amd-smi")


def tool_problems(gpu: t.Mapping[str, t.Any]) -> list[str]:
    """Those of the host's problems that its driver's tool told, as between an installation and the reboot after it."""
    return [str(problem) for problem in gpu.get("problems") or () if str(problem).startswith(_TOOLS)]


def read_node(catalogue: Catalogue, gpu: t.Mapping[str, t.Any], *, require_driver: bool = True) -> Node:
    """The GPU facts, or a PlanError where no plan can come of them.

    Without require_driver, what the driver's tool complains of does not count.
    """
    unknown = tuple(gpu.get("unknown") or ())
    count = _whole(gpu.get("count"))
    if not count:
        if unknown:
            listed = ", ".join(f"{device['pci_id']} at {device['pci_address']}" for device in unknown)
            raise PlanError(
                f"no GPU that the catalogue knows, but {listed}: add it to fleet_catalogue (gpus), or take the host out "
                "of the play",
                "gpus",
            )
        raise PlanError(
            "the host is in the play but has no GPU (no AMD Instinct or NVIDIA data-centre GPU on its PCI bus): take it "
            "out of the group, or look whether the GPU is passed through to it",
            "gpus",
        )
    forgiven = [] if require_driver else tool_problems(gpu)
    problems = [problem for problem in gpu.get("problems") or () if problem not in forgiven]
    if gpu.get("partitioned") and not problems:
        remedy = RESET_PARTITIONS if gpu.get("vendor") == "amd" else RESET_MIG
        problems = [f"the GPUs are partitioned; a plan needs whole GPUs: {remedy}"]
    if problems:
        raise PlanError("; ".join(str(problem) for problem in problems), "gpus")
    memory_mib = _whole(gpu.get("memory_mib"))
    missing = [key for key in ("vendor", "model") if not gpu.get(key)] + ([] if memory_mib else ["memory_mib"])
    if missing:
        raise _malformed(f"no {', '.join(missing)}")
    if count > MAX_GPUS:
        raise PlanError(f"{count} GPUs: a plan is for 1 to {MAX_GPUS}")
    name = str(gpu["model"])
    if name not in catalogue.gpus:
        raise PlanError(f"unknown GPU {name}: known are {', '.join(catalogue.gpus)}; add it to fleet_catalogue (gpus)")
    if gpu["vendor"] != catalogue.gpus[name].vendor:
        raise _malformed(f"the vendor {gpu['vendor']} for {name}, which is {catalogue.gpus[name].vendor}'s")
    devices = gpu.get("devices") or [{}] * count
    if len(devices) != count:
        raise _malformed(f"{len(devices)} devices for {count} GPUs")
    return Node(
        vendor=str(gpu["vendor"]),
        gpu=catalogue.gpus[name],
        count=count,
        memory_mib=memory_mib,
        nodes=tuple([tuple(device.get("nodes") or ()) for device in devices]),
        uuids=tuple([device.get("uuid") for device in devices]),
        numa=tuple([device.get("numa_node") for device in devices]),
        links=tuple([frozenset(device.get("links") or ()) for device in devices]),
        control_nodes=tuple(gpu.get("control_nodes") or ()),
        gids=tuple([gid for gid in (gpu.get("video_gid"), gpu.get("render_gid")) if gid is not None]),
        driver=gpu.get("driver") or {},
        unknown=unknown,
        holders=tuple(gpu.get("holders") or ()),
        hidden=tuple(gpu.get("hidden") or ()),
        assumed=bool(gpu.get("assumed")),
    )


def _whole(value: t.Any) -> int:
    """A number of the facts; 0 where it is none."""
    return int(value) if str(value).isdecimal() else 0


def _malformed(found: str) -> PlanError:
    return PlanError(f"the facts of the GPUs have {found}: gather them again with sglang.fleet.gpu_facts")


def facts_for(catalogue: Catalogue, name: str, count: int, memory_mib: int | None = None) -> dict[str, t.Any]:
    """``ansible_facts.gpu`` as a sound host with ``count`` such GPUs would give it, to plan without a host.

    memory_mib: memory of one GPU in MiB; None for the catalogue's figure.
    """
    gpu = pick(catalogue.gpus, name, "GPU", "the GPU")
    if not 1 <= count <= MAX_GPUS:
        raise PlanError(f"{count} GPUs: give 1 to {MAX_GPUS}")
    if memory_mib is not None and memory_mib < 1:
        raise PlanError(f"{memory_mib} MiB of memory a GPU: give 1 or more")
    amd = gpu.vendor == "amd"
    newest = max(
        (image.driver.minimum for image in catalogue.images.values() if image.vendor == gpu.vendor), key=version_key
    )
    memory = memory_mib or gpu.memory_mib
    return {
        "vendor": gpu.vendor,
        "model": gpu.name,
        "count": count,
        "memory_mib": memory,
        "memory_source": "catalogue",
        "assumed": True,
        "driver": {"name": "amdgpu" if amd else "nvidia", "version": newest, "loaded": True},
        "devices": [
            {
                "index": index,
                "pci_address": f"0000:{5 + index:02x}:00.0",
                "pci_id": gpu.pci_ids[0],
                "uuid": None,
                "numa_node": None,
                "memory_mib": memory,
                "nodes": [
                    f"/dev/dri/renderD{128 + gpu.render_nodes_per_gpu * index}" if amd else f"/dev/nvidia{index}"
                ],
            }
            for index in range(count)
        ],
        "control_nodes": ["/dev/kfd"] if amd else ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"],
        "render_gid": None,
        "video_gid": None,
        "partitioned": False,
        "unknown": [],
        "problems": [],
    }


def default_count(catalogue: Catalogue, model: str, gpu: str) -> int:
    """The GPU count that the published generator picks for the model on this GPU; 8 where none speaks."""
    generator = published(pick_model(catalogue, model), pick(catalogue.gpus, gpu, "GPU", "the GPU"))
    return generator.default if generator else 8
