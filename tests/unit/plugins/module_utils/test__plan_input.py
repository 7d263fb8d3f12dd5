# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a plan is made from: names, images, the facts of a host, and facts made up for no host."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import Catalogue, Generator, load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._gpu import read_gpus
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import (
    default_count,
    facts_for,
    pick,
    pick_image,
    pick_model,
    published,
    read_node,
)
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import PlanError

CATALOGUE = load_catalogue()


def refusal(call: t.Callable[[], t.Any]) -> tuple[str | None, str]:
    with pytest.raises(PlanError) as caught:
        call()
    return caught.value.rule, str(caught.value)


NAMES: list[tuple[str, str]] = [
    ("MiniMax-M2", "MiniMax-M2"),
    ("M2", "MiniMax-M2"),
    ("m2", "MiniMax-M2"),
    ("MiniMaxAI/MiniMax-M2", "MiniMax-M2"),
    ("M2.1", "MiniMax-M2.1"),
    ("minimax-m2.1", "MiniMax-M2.1"),
    ("M2.5", "MiniMax-M2.5"),
    ("MINIMAXAI/MINIMAX-M2.5", "MiniMax-M2.5"),
    ("M2.7", "MiniMax-M2.7"),
    ("m2.7", "MiniMax-M2.7"),
    ("MiniMax-M2.7", "MiniMax-M2.7"),
    ("MiniMaxAI/MiniMax-M2.7", "MiniMax-M2.7"),
]


@pytest.mark.parametrize(("given", "name"), NAMES)
def test_names_of_a_model(given: str, name: str) -> None:
    assert pick_model(CATALOGUE, given).name == name


@pytest.mark.parametrize("given", ["M3", "", "MiniMax", "M2.", "MiniMaxAI"])
def test_unknown_model(given: str) -> None:
    assert refusal(lambda: pick_model(CATALOGUE, given)) == (
        None,
        f"unknown model {given}: set fleet_model to one of MiniMax-M2, MiniMax-M2.1, MiniMax-M2.5, MiniMax-M2.7",
    )


def test_any_case_of_a_name_will_do() -> None:
    assert pick({"One": 1, "Two": 2}, "tWO", "number", "x") == 2
    assert pick({"one": 1, "ONE": 2}, "ONE", "number", "x") == 2


def test_unknown_entry() -> None:
    assert refusal(lambda: pick({"One": 1, "Two": 2}, "three", "number", "fleet_number")) == (
        None,
        "unknown number three: set fleet_number to one of One, Two",
    )


#: model, GPU, version asked for, image, whether it is the published one
IMAGES: list[tuple[str, str, str | None, str, bool]] = [
    ("M2.7", "H200", None, "v0.5.10.post1", True),
    ("M2.7", "GB200", None, "v0.5.10.post1", True),
    ("M2.7", "B300", None, "v0.5.10.post1-cu130", True),
    ("M2.7", "GB300", None, "v0.5.10.post1-cu130", True),
    ("M2.7", "MI325X", None, "v0.5.10.post1-rocm720-mi30x", True),
    ("M2.7", "MI355X", None, "v0.5.10.post1-rocm720-mi35x", True),
    ("M2.5", "H100", None, "v0.5.9", True),
    ("M2.5", "MI300X", None, "v0.5.9-rocm720-mi30x", True),
    ("M2.1", "MI300X", None, "v0.5.7-rocm700-mi30x", True),
    # The version asked for, where it is the published one and where it is not.
    ("M2.7", "H200", "0.5.10.post1", "v0.5.10.post1", True),
    ("M2.7", "H200", "0.5.9", "v0.5.9", False),
    ("M2.7", "MI300X", "0.5.7", "v0.5.7-rocm700-mi30x", False),
    ("M2.1", "MI300X", "0.5.10.post1", "v0.5.10.post1-rocm720-mi30x", False),
    # Not published there: the newest for the hardware, or the version asked for.
    ("M2", "H200", None, "v0.5.10.post1", False),
    ("M2", "MI355X", None, "v0.5.10.post1-rocm720-mi35x", False),
    ("M2.5", "B300", None, "v0.5.10.post1-cu130", False),
    ("M2.5", "GB200", None, "v0.5.10.post1", False),
    ("M2", "H200", "0.5.9", "v0.5.9", False),
]


@pytest.mark.parametrize(("model", "gpu", "version", "image", "is_published"), IMAGES)
def test_which_image(model: str, gpu: str, version: str | None, image: str, is_published: bool) -> None:
    found = pick_image(CATALOGUE, pick_model(CATALOGUE, model), CATALOGUE.gpus[gpu], version)
    assert (found[0].name, found[1]) == (image, is_published)


def with_new_class() -> Catalogue:
    gpu = {**CATALOGUE.data["gpus"]["H200"], "pci_ids": ["10de:aaaa"], "image_class": "cuda14"}
    return load_catalogue({"gpus": {"R100": gpu}})


@pytest.mark.parametrize(
    ("gpu", "version", "message"),
    [
        (
            "H200",
            "0.5.8",
            "there is no image of SGLang 0.5.8 for H200 in the catalogue: set fleet_sglang_version to one of 0.5.9, "
            "0.5.10.post1, or add the image to fleet_catalogue (images)",
        ),
        (
            "MI300X",
            "latest",
            "there is no image of SGLang latest for MI300X in the catalogue: set fleet_sglang_version to one of 0.5.7, "
            "0.5.9, 0.5.10.post1, or add the image to fleet_catalogue (images)",
        ),
        *[
            (
                "R100",
                version,
                "the catalogue has no image for R100 (hardware cuda14): add one to fleet_catalogue (images), with hardware "
                "[cuda14]",
            )
            for version in (None, "0.5.9")
        ],
    ],
)
def test_no_such_image(gpu: str, version: str | None, message: str) -> None:
    catalogue = with_new_class()
    model = catalogue.models["MiniMax-M2.7"]
    assert refusal(lambda: pick_image(catalogue, model, catalogue.gpus[gpu], version)) == ("image", message)


#: model, GPU, the counts that a published generator offers, the count that it picks; 8 where none speaks
GENERATORS: list[tuple[str, str, tuple[int, ...] | None, int]] = [
    *[("M2.7", gpu, (2, 4, 8), 2) for gpu in ("MI300X", "MI325X", "MI355X")],
    *[("M2.7", gpu, (4, 8), 4) for gpu in ("A100", "A100-40GB", "H100", "H100-94GB")],
    *[("M2.7", gpu, (4, 8), 8) for gpu in ("H200", "B200", "B300")],
    *[("M2.7", gpu, (2, 4), 4) for gpu in ("GB200", "GB300")],
    *[("M2.5", gpu, (4, 8), 8) for gpu in ("H200", "B200")],
    *[("M2.5", gpu, None, 8) for gpu in ("B300", "GB200", "GB300")],
    ("M2.5", "MI300X", (2, 4, 8), 2),
    *[(model, gpu, (4,), 4) for model in ("M2", "M2.1") for gpu in ("MI300X", "MI325X")],
    *[(model, gpu, None, 8) for model in ("M2", "M2.1") for gpu in ("H200", "MI355X")],
    *[("M2.7", gpu, None, 8) for gpu in ("A800", "H800", "H20", "MI308X", "MI350X")],
    *[("M2", gpu, None, 8) for gpu in ("MI308X",)],
]


@pytest.mark.parametrize(("model", "gpu", "counts", "default"), GENERATORS)
def test_what_the_published_generators_offer(
    model: str, gpu: str, counts: tuple[int, ...] | None, default: int
) -> None:
    found = published(pick_model(CATALOGUE, model), CATALOGUE.gpus[gpu])
    assert found == (None if counts is None else Generator(counts, default))
    assert default_count(CATALOGUE, model, gpu) == default


def model_with(generator: t.Any) -> Catalogue:
    entry = {key: value for key, value in CATALOGUE.data["models"]["MiniMax-M2.7"].items() if key != "generator"}
    entry.update(id="me/own", aliases=[], **({} if generator is None else {"generator": generator}))
    return load_catalogue({"models": {"Own": entry}})


@pytest.mark.parametrize(
    ("generator", "counts", "default"),
    [("gpu", (4, 8), 8), ({"counts": [1, 2], "default": 1}, (1, 2), 1), (None, None, 8)],
)
def test_whose_counts_a_model_s_generator_offers(
    generator: t.Any, counts: tuple[int, ...] | None, default: int
) -> None:
    """The GPU's own, the model's, or none: no published command speaks of a model that names none."""
    catalogue = model_with(generator)
    model = catalogue.models["Own"]
    assert published(model, catalogue.gpus["H200"]) == (None if counts is None else Generator(counts, default))
    assert published(model, catalogue.gpus["H20"]) is None
    assert default_count(catalogue, "Own", "H200") == default


def test_default_count_of_an_unknown_gpu() -> None:
    assert refusal(lambda: default_count(CATALOGUE, "M2.7", "V100"))[1].startswith(
        "unknown GPU V100: set the GPU to one of "
    )


RESET_AMD = (
    "a plan needs whole GPUs: run `amd-smi set --gpu all --compute-partition SPX` and `amd-smi set --memory-partition NPS1` "
    "on the host"
)
NO_GPU = (
    "gpus",
    "the host is in the play but has no GPU (no AMD Instinct or NVIDIA data-centre GPU on its PCI bus): take it out of the "
    "group, or look whether the GPU is passed through to it",
)
FACTS: list[tuple[dict[str, t.Any], str | None, str]] = [
    ({"count": 0, "unknown": []}, *NO_GPU),
    (
        {"count": 0, "unknown": [{"pci_address": "0000:c1:00.0", "pci_id": "10de:ffff"}]},
        "gpus",
        "no GPU that the catalogue knows, but 10de:ffff at 0000:c1:00.0: add it to fleet_catalogue (gpus), or take the host "
        "out of the play",
    ),
    ({"problems": ["MIG is on; do this", "and that"]}, "gpus", "MIG is on; do this; and that"),
    (
        {"partitioned": True},
        "gpus",
        "the GPUs are partitioned; a plan needs whole GPUs: run `nvidia-smi -mig 0` on the host and reset the GPUs (or "
        "reboot)",
    ),
    ({"partitioned": True, "problems": ["CPX: reset them"]}, "gpus", "CPX: reset them"),
    (
        {"model": None, "problems": ["different GPU models in one node (1 x H100, 7 x H200): take the others out"]},
        "gpus",
        "different GPU models in one node (1 x H100, 7 x H200): take the others out",
    ),
    (
        {"model": "R100"},
        None,
        f"unknown GPU R100: known are {', '.join(CATALOGUE.gpus)}; add it to fleet_catalogue (gpus)",
    ),
    *[
        (facts, None, f"the facts of the GPUs have {found}: gather them again with sglang.fleet.gpu_facts")
        for facts, found in (
            ({"model": None}, "no model"),
            ({"vendor": "", "model": None, "memory_mib": 0}, "no vendor, model, memory_mib"),
            ({"memory_mib": None}, "no memory_mib"),
            ({"memory_mib": "141G"}, "no memory_mib"),
            ({"vendor": "amd"}, "the vendor amd for H200, which is nvidia's"),
            ({"count": 4}, "8 devices for 4 GPUs"),
        )
    ],
    ({"count": 65}, None, "65 GPUs: a plan is for 1 to 64"),
    *[({"count": count}, *NO_GPU) for count in (None, "8.0", "\u00b2", -1)],
]


@pytest.mark.parametrize(("facts", "rule", "message"), FACTS)
def test_hosts_that_give_no_plan(facts: dict[str, t.Any], rule: str | None, message: str) -> None:
    whole = {**facts_for(CATALOGUE, "H200", 8), **facts}
    assert refusal(lambda: read_node(CATALOGUE, whole)) == (rule, message)


def put(root: Path, files: t.Mapping[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, "utf-8")


def pci(address: str, pci_id: str) -> dict[str, str]:
    vendor, device = pci_id.split(":")
    folder = f"sys/bus/pci/devices/{address}"
    return {
        f"{folder}/vendor": f"0x{vendor}\n",
        f"{folder}/device": f"0x{device}\n",
        f"{folder}/class": "0x030200\n" if vendor == "10de" else "0x120000\n",
        f"{folder}/numa_node": "0\n",
    }


def on_host(root: Path) -> dict[str, t.Any]:
    facts: dict[str, t.Any] = read_gpus(CATALOGUE.known_gpus(), str(root)).to_dict()
    return facts


def test_a_host_with_two_kinds_of_gpu(tmp_path: Path) -> None:
    put(tmp_path, {**pci("0000:01:00.0", "10de:2335"), **pci("0000:02:00.0", "10de:2330")})
    assert refusal(lambda: read_node(CATALOGUE, on_host(tmp_path))) == (
        "gpus",
        "different GPU models in one node (1 x H100, 1 x H200): a plan needs one model, take the others out",
    )


def test_a_host_of_partitioned_gpus_is_refused_with_the_command_that_resets_them(tmp_path: Path) -> None:
    """CPX: one GPU that KFD shows as eight."""
    folder = "sys/bus/pci/devices/0000:05:00.0"
    put(
        tmp_path,
        {
            **pci("0000:05:00.0", "1002:74a1"),
            f"{folder}/current_compute_partition": "CPX\n",
            f"{folder}/current_memory_partition": "NPS1\n",
            f"{folder}/mem_info_vram_total": "206141652992\n",
            "sys/module/amdgpu/version": "6.16.13\n",
        },
    )
    (tmp_path / folder / "driver").symlink_to("../../../../bus/pci/drivers/amdgpu")
    rule, message = refusal(lambda: read_node(CATALOGUE, on_host(tmp_path)))
    assert rule == "gpus"
    assert "CPX" in message
    assert RESET_AMD in message


def test_a_host_with_mig_is_refused_with_the_command_that_resets_it(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            **pci("0000:05:00.0", "10de:2335"),
            "sys/module/nvidia/version": "580.65.06\n",
            "proc/driver/nvidia/capabilities/gpu0/mig/gi1/access": "DeviceFileMinor: 3\n",
        },
    )
    (tmp_path / "sys/bus/pci/devices/0000:05:00.0/driver").symlink_to("../../../../bus/pci/drivers/nvidia")
    assert refusal(lambda: read_node(CATALOGUE, on_host(tmp_path))) == (
        "gpus",
        "MIG is on; a plan needs whole GPUs: run `nvidia-smi -mig 0` on the host and reset the GPUs (or reboot)",
    )


def test_what_a_plan_reads_of_the_facts() -> None:
    facts = facts_for(CATALOGUE, "MI300X", 2)
    facts["devices"][0].update(numa_node=1, links=[1], uuid="GPU-1")
    facts.update(
        render_gid=992,
        video_gid=44,
        unknown=[{"pci_id": "1002:ffff"}],
        holders=[{"pid": 1}],
        hidden=[{"index": 1}],
    )
    del facts["assumed"]
    node = read_node(CATALOGUE, facts)
    assert node.assumed is False
    assert (node.vendor, node.gpu.name, node.count, node.memory_mib) == ("amd", "MI300X", 2, 196592)
    assert node.nodes == (("/dev/dri/renderD128",), ("/dev/dri/renderD136",))
    assert (node.numa, node.links, node.uuids) == ((1, None), (frozenset({1}), frozenset()), ("GPU-1", None))
    assert (node.control_nodes, node.gids) == (("/dev/kfd",), (44, 992))
    assert (node.unknown, node.holders, node.hidden) == (({"pci_id": "1002:ffff"},), ({"pid": 1},), ({"index": 1},))


def test_facts_of_an_older_collection_have_no_devices() -> None:
    facts = facts_for(CATALOGUE, "H200", 3)
    for key in ("devices", "control_nodes", "driver", "unknown", "problems", "partitioned", "render_gid", "video_gid"):
        del facts[key]
    node = read_node(CATALOGUE, facts)
    assert (node.nodes, node.uuids, node.numa) == (((), (), ()), (None, None, None), (None, None, None))
    assert (node.control_nodes, node.gids, node.driver) == ((), (), {})


def test_facts_without_a_host() -> None:
    assert facts_for(CATALOGUE, "h200", 1) == {
        "vendor": "nvidia",
        "model": "H200",
        "count": 1,
        "memory_mib": 143771,
        "memory_source": "catalogue",
        "assumed": True,
        "driver": {"name": "nvidia", "version": "580", "loaded": True},
        "devices": [
            {
                "index": 0,
                "pci_address": "0000:05:00.0",
                "pci_id": "10de:2335",
                "uuid": None,
                "numa_node": None,
                "memory_mib": 143771,
                "nodes": ["/dev/nvidia0"],
            }
        ],
        "control_nodes": ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"],
        "render_gid": None,
        "video_gid": None,
        "partitioned": False,
        "unknown": [],
        "problems": [],
    }
    amd = facts_for(CATALOGUE, "MI300X", 2, 100000)
    assert (amd["memory_mib"], amd["driver"]["name"], amd["control_nodes"]) == (100000, "amdgpu", ["/dev/kfd"])
    assert read_node(CATALOGUE, amd).assumed is True


def test_render_nodes_without_a_host_lie_as_far_apart_as_the_vendor_s_do() -> None:
    """An Instinct GPU has a render node and seven for partitions that are not there."""

    def nodes(catalogue: Catalogue) -> list[list[str]]:
        return [device["nodes"] for device in facts_for(catalogue, "MI300X", 8)["devices"]]

    assert nodes(CATALOGUE) == [[f"/dev/dri/renderD{minor}"] for minor in (128, 136, 144, 152, 160, 168, 176, 184)]
    dense = load_catalogue({"vendors": {"amd": {"render_nodes_per_gpu": 1}}})
    assert nodes(dense) == [[f"/dev/dri/renderD{minor}"] for minor in range(128, 136)]


@pytest.mark.parametrize("count", [1, 64])
def test_as_many_gpus_as_a_node_may_have(count: int) -> None:
    assert read_node(CATALOGUE, facts_for(CATALOGUE, "MI300X", count)).count == count


@pytest.mark.parametrize(
    ("gpu", "count", "memory_mib", "message"),
    [
        ("H200", 0, None, "0 GPUs: give 1 to 64"),
        ("H200", -1, None, "-1 GPUs: give 1 to 64"),
        ("H200", 65, None, "65 GPUs: give 1 to 64"),
        ("H200", 8, 0, "0 MiB of memory a GPU: give 1 or more"),
        ("V100", 8, None, f"unknown GPU V100: set the GPU to one of {', '.join(CATALOGUE.gpus)}"),
    ],
)
def test_no_such_facts(gpu: str, count: int, memory_mib: int | None, message: str) -> None:
    assert refusal(lambda: facts_for(CATALOGUE, gpu, count, memory_mib)) == (None, message)


def test_tool_that_complains_between_an_installation_and_the_reboot() -> None:
    """It is no reason against a plan where the driver is still being seen to; other problems stay one."""
    catalogue = load_catalogue()
    said = "nvidia-smi says: Failed to initialize NVML: Driver/library version mismatch"
    facts = {**facts_for(catalogue, "H200", 8), "problems": [said]}
    with pytest.raises(PlanError, match="version mismatch"):
        read_node(catalogue, facts)
    assert read_node(catalogue, facts, require_driver=False).count == 8
    facts["problems"] = [said, "different GPU models in one node"]
    with pytest.raises(PlanError, match=r"^different GPU models in one node$"):
        read_node(catalogue, facts, require_driver=False)
