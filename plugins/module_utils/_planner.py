# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From GPU facts, the catalogue and the operator's wishes to a launch plan, or to an error that says what is allowed.

Pure: nothing is read or asked here. The rules are the model's arithmetic (heads, KV heads, FP8 blocks, memory) and the
published command generators' choices, both from the catalogue.
"""

from __future__ import annotations

import re
import shlex
import typing as t
from dataclasses import asdict, dataclass, field

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import (
    Architecture,
    Catalogue,
    ContainerOptions,
    Image,
    KnownIssue,
    Model,
)

GIB: t.Final = 2**30
MIB: t.Final = 2**20

#: A server whose KV cache holds less than this is of no use to this family of models (thinking alone takes more).
MIN_KV_TOKENS: t.Final = 8192

#: GPU counts of an instance that are looked at when legal ones are listed
COUNTS: t.Final = tuple(range(1, 17))

#: server arguments that the plan sets, with the variable to use in their stead
OWNED_ARGS: t.Final[t.Mapping[str, str]] = {
    "model-path": "fleet_model",
    "model": "fleet_model",
    "host": "fleet_address",
    "port": "fleet_port",
    "tp": "fleet_layout",
    "tp-size": "fleet_layout",
    "tensor-parallel-size": "fleet_layout",
    "ep": "fleet_layout",
    "ep-size": "fleet_layout",
    "expert-parallel-size": "fleet_layout",
    "base-gpu-id": "fleet_layout",
    "context-length": "fleet_context_length",
    "mem-fraction-static": "fleet_mem_fraction_static",
    "enable-metrics": "fleet_enable_metrics",
    "api-key": "fleet_api_key",
    "admin-api-key": "fleet_api_key",
    "config": "fleet_server_args",
}

#: server arguments that change how many GPUs an instance takes, or which
LAYOUT_ARGS: t.Final = frozenset(
    {
        "dp",
        "dp-size",
        "data-parallel-size",
        "pp",
        "pp-size",
        "pipeline-parallel-size",
        "nnodes",
        "node-rank",
        "dist-init-addr",
        "nccl-init-addr",
        "gpu-id-step",
    }
)
#: names of server arguments whose values are secrets; token ends such a name, and stands elsewhere in names of counts
_SECRET_ARG: t.Final = re.compile(r"(^|-)(password|secret|api-key)(-|$)|(^|-)token$")

ArgValue = t.Union[str, int, float, bool, t.List[t.Union[str, int, float]]]  # noqa: UP006


class PlanError(ValueError):
    """There is no such plan; the text says what was found, what is allowed and what to do."""


@dataclass(frozen=True)
class Wishes:
    """What the operator asks for; None leaves the choice to the model's entry in the catalogue."""

    model: str = "M2.7"
    layout: str = "auto"
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
    weights_dir: str = "/var/lib/sglang-fleet/huggingface"
    allow_known_issues: tuple[str, ...] = ()


@dataclass(frozen=True)
class Node:
    """The part of ``ansible_facts.gpu`` that a plan needs."""

    vendor: str
    model: str
    count: int
    memory_mib: int
    nodes: tuple[tuple[str, ...], ...]
    uuids: tuple[str | None, ...]
    control_nodes: tuple[str, ...]
    gids: tuple[int, ...]
    driver: t.Mapping[str, t.Any]
    unknown: tuple[t.Mapping[str, str], ...]


@dataclass(frozen=True)
class Layout:
    instances: int
    gpus: int

    def __str__(self) -> str:
        return f"{self.instances}x{self.gpus}"


@dataclass(frozen=True)
class Memory:
    """The fit of one instance. kv_tokens is what its KV cache holds, all requests together; sizes are per GPU."""

    weights_gib_per_gpu: float
    kv_tokens: int
    longest_context: int
    fits: bool


@dataclass(frozen=True)
class Instance:
    name: str
    gpus: list[int]
    address: str
    port: int
    tp: int
    ep: int
    server_args: dict[str, ArgValue]
    command_line: str
    container_options: list[str]


@dataclass(frozen=True)
class Plan:
    """``fleet_plan``; to_dict() gives it as the other roles read it."""

    model: dict[str, str]
    gpu: dict[str, t.Any]
    image: dict[str, str]
    patches: list[dict[str, str]]
    profile: str
    instances: list[Instance]
    memory: Memory
    warnings: list[str]
    notes: list[str]

    def to_dict(self) -> dict[str, t.Any]:
        return asdict(self)


def make_plan(catalogue: Catalogue, gpu: t.Mapping[str, t.Any], wishes: Wishes, *, require_driver: bool = True) -> Plan:
    """The plan for one host; raises PlanError.

    gpu: ``ansible_facts.gpu``. With require_driver false a driver that the image does not start on is a warning, for a
    plan that is made before the driver is installed.
    """
    warnings: list[str] = []
    notes: list[str] = []
    node = read_node(catalogue, gpu)
    model = pick_model(catalogue, wishes.model)
    image = pick_image(catalogue, model, node)
    profile = pick(catalogue.container_profiles, wishes.profile, "profile", "fleet_profile")[node.vendor]
    fraction = model.mem_fraction_static if wishes.mem_fraction_static is None else wishes.mem_fraction_static
    if not 0 < fraction < 1:
        raise PlanError(
            f"fleet_mem_fraction_static is {fraction:g}: it is the share of a GPU's memory for weights and KV cache; set "
            "it above 0 and below 1"
        )
    if wishes.context_length is not None and not 0 < wishes.context_length <= model.context_length:
        raise PlanError(
            f"fleet_context_length is {wishes.context_length}: {model.name} takes 1 to {model.context_length} tokens; "
            "set it within that, or leave it out"
        )
    notes.append(f"licence of {model.name}: {model.licence}")
    fit = Fit(catalogue, node, model, image, wishes, fraction)
    layout, notes_of_layout = choose_layout(fit, wishes.layout)
    notes += notes_of_layout
    last_port = wishes.port + layout.instances - 1
    if wishes.port < 1 or last_port > 65535:
        raise PlanError(
            f"fleet_port {wishes.port} with {layout.instances} instances takes the ports {wishes.port} to {last_port}: "
            f"set fleet_port between 1 and {65536 - layout.instances}"
        )

    memory = fit.memory(layout.gpus)
    wanted = wishes.context_length or model.context_length
    if memory.kv_tokens < wanted:
        warnings.append(
            f"the KV cache of an instance holds {memory.kv_tokens} tokens, less than the context of {wanted}: longer "
            "requests are refused"
        )
    used = layout.instances * layout.gpus
    if used < node.count:
        wider = Layout(node.count // layout.gpus, layout.gpus)
        remedy = f"; set fleet_layout to {wider} to use {wider.instances * wider.gpus}" if wider != layout else ""
        warnings.append(f"{_gpus(range(used, node.count))} of {node.count} idle with the layout {layout}{remedy}")
    warnings += [
        f"{device['pci_address']} ({device['pci_id']}) looks like a GPU, is not in the catalogue and is not used"
        for device in node.unknown
    ]
    driver_problem = check_driver(image, node.driver)
    if driver_problem is None and wishes.profile != "cookbook":
        bare = [index for index in range(used) if not node.nodes[index]]
        if bare:
            driver_problem = (
                f"{_gpus(bare)} without a device node: the driver made none; look at the kernel log (dmesg) of the host"
            )
    if driver_problem is not None:
        if require_driver:
            raise PlanError(driver_problem)
        warnings.append(driver_problem)
    elif node.driver.get("version") is None:
        warnings.append(
            f"the {image.driver.name} driver tells no version (the kernel's own does not), so it was not compared with "
            f"the {image.driver.minimum_title} that the image asks for"
        )

    reference = wishes.image or image.reference
    instances = [_instance(fit, profile, layout, number, reference, last_port) for number in range(layout.instances)]
    known_warnings, known_notes = known_issues(catalogue, fit, layout, instances[0].server_args)
    warnings += known_warnings
    notes += known_notes
    return Plan(
        model={"name": model.name, "id": model.id},
        gpu={"model": node.model, "count": node.count, "vendor": node.vendor, "memory_mib": node.memory_mib},
        image={"reference": reference, "sglang_version": image.sglang_version, "source_root": image.source_root},
        patches=[dict(patch) for patch in image.patches],
        profile=wishes.profile,
        instances=instances,
        memory=memory,
        warnings=warnings,
        notes=notes,
    )


def read_node(catalogue: Catalogue, gpu: t.Mapping[str, t.Any]) -> Node:
    """The GPU facts, or a PlanError where no plan can come of them."""
    unknown = tuple(gpu.get("unknown") or ())
    if not gpu.get("count"):
        if unknown:
            listed = ", ".join(f"{device['pci_id']} at {device['pci_address']}" for device in unknown)
            raise PlanError(
                f"no GPU that the catalogue knows, but {listed}: add it to fleet_catalogue (gpus), or take the host out "
                "of the play"
            )
        raise PlanError(
            "the host is in the play but has no GPU (no AMD Instinct or NVIDIA data-centre GPU on its PCI bus): take it "
            "out of the group, or look whether the GPU is passed through to it"
        )
    problems = list(gpu.get("problems") or ())
    if gpu.get("partitioned") and not problems:
        problems = ["the GPUs are partitioned: a plan needs whole GPUs"]
    if problems:
        raise PlanError("; ".join(str(problem) for problem in problems))
    name = str(gpu["model"])
    if name not in catalogue.gpus:
        raise PlanError(f"unknown GPU {name}: known are {', '.join(catalogue.gpus)}; add it to fleet_catalogue (gpus)")
    devices = gpu.get("devices") or []
    return Node(
        vendor=str(gpu["vendor"]),
        model=name,
        count=int(gpu["count"]),
        memory_mib=int(gpu["memory_mib"]),
        nodes=tuple(tuple(device["nodes"]) for device in devices) or ((),) * int(gpu["count"]),
        uuids=tuple(device.get("uuid") for device in devices) or (None,) * int(gpu["count"]),
        control_nodes=tuple(gpu.get("control_nodes") or ()),
        gids=tuple(gid for gid in (gpu.get("video_gid"), gpu.get("render_gid")) if gid is not None),
        driver=gpu.get("driver") or {},
        unknown=unknown,
    )


def facts_for(catalogue: Catalogue, name: str, count: int, memory_mib: int | None = None) -> dict[str, t.Any]:
    """``ansible_facts.gpu`` as a sound host with ``count`` such GPUs would give it, to plan without a host."""
    gpu = pick(catalogue.gpus, name, "GPU", "the GPU")
    if count < 1:
        raise PlanError(f"{count} GPUs: give 1 or more")
    amd = gpu.vendor == "amd"
    newest = max(
        (image.driver.minimum for image in catalogue.images.values() if image.vendor == gpu.vendor), key=_version
    )
    memory = memory_mib or gpu.memory_mib
    return {
        "vendor": gpu.vendor,
        "model": gpu.name,
        "count": count,
        "memory_mib": memory,
        "memory_source": "catalogue",
        "driver": {"name": "amdgpu" if amd else "nvidia", "version": newest, "loaded": True},
        "devices": [
            {
                "index": index,
                "pci_address": f"0000:{5 + index:02x}:00.0",
                "pci_id": gpu.pci_ids[0],
                "uuid": None,
                "numa_node": None,
                "memory_mib": memory,
                "nodes": [f"/dev/dri/renderD{128 + index}" if amd else f"/dev/nvidia{index}"],
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


_Entry = t.TypeVar("_Entry")


def pick(entries: t.Mapping[str, _Entry], name: str, what: str, variable: str) -> _Entry:
    """The entry, by any case of its name; a PlanError lists the names there are."""
    for known, entry in entries.items():
        if known.lower() == name.lower():
            return entry
    raise PlanError(f"unknown {what} {name}: set {variable} to one of {', '.join(entries)}")


def pick_model(catalogue: Catalogue, name: str) -> Model:
    """The model by its name, by its Hugging Face repository or by the last part of that."""
    for model in catalogue.models.values():
        if name.lower() in (model.id.lower(), model.id.lower().rsplit("/", 1)[-1]):
            return model
    return pick(catalogue.models, name, "model", "fleet_model")


def pick_image(catalogue: Catalogue, model: Model, node: Node) -> Image:
    """The published image of the model for this GPU."""
    image = model.images.get(catalogue.gpus[node.model].image_class)
    if image is None:
        models = [
            name for name, other in catalogue.models.items() if catalogue.gpus[node.model].image_class in other.images
        ]
        gpus = [name for name, gpu in catalogue.gpus.items() if gpu.image_class in model.images]
        raise PlanError(
            f"there is no published image of {model.name} for {node.model}: {model.name} runs on {', '.join(gpus)}; "
            f"set fleet_model to one of {', '.join(models) or '(none for this GPU)'}"
        )
    return catalogue.images[image]


def tp_problem(architecture: Architecture, vendor: str, sglang_version: str, tp: int, ep: int) -> str | None:
    """The rule that this parallelism breaks, or None. Source of the rules: SGLang's own checks (facts in the catalogue)."""
    if architecture.attention_heads % tp:
        return f"{architecture.attention_heads} attention heads are not divisible by tp {tp}"
    if architecture.kv_heads % tp and tp % architecture.kv_heads:
        return f"{architecture.kv_heads} KV heads and tp {tp} do not divide one another"
    since = architecture.tp_above_kv_heads_since
    if tp > architecture.kv_heads and (since is None or _version(sglang_version) < _version(since)):
        needs = f"needs SGLang {since} or newer" if since else "is not supported"
        return f"tp {tp} is above the {architecture.kv_heads} KV heads, which {needs} (the image has {sglang_version})"
    skipped = architecture.fp8_block_check_skipped_on_amd_since
    if vendor == "amd" and skipped is not None and _version(sglang_version) >= _version(skipped):
        return None
    # Each expert's intermediate size is cut into tp / ep slices of whole FP8 blocks.
    size = architecture.moe_intermediate_size * ep / tp
    if size % architecture.fp8_block_size:
        return (
            f"{architecture.moe_intermediate_size} / (tp {tp} / ep {ep}) = {size:g} is not a multiple of the FP8 block "
            f"size {architecture.fp8_block_size}"
        )
    return None


@dataclass(frozen=True)
class Fit:
    """What is legal and what fits, for one model, image and kind of GPU."""

    catalogue: Catalogue
    node: Node
    model: Model
    image: Image
    wishes: Wishes
    fraction: float

    def ep(self, tp: int) -> int:
        """The published generator's expert parallelism."""
        return tp if tp in self.model.ep_equals_tp_at.get(self.node.vendor, ()) else 1

    def problem(self, tp: int) -> str | None:
        return tp_problem(self.model.architecture, self.node.vendor, self.image.sglang_version, tp, self.ep(tp))

    def legal(self) -> list[int]:
        return [count for count in COUNTS if self.problem(count) is None]

    def memory(self, tp: int) -> Memory:
        """Weights and KV cache are spread evenly over the ranks; both live in mem_fraction_static of the memory."""
        shape = self.model.architecture
        weights = shape.weights_bytes / tp
        # Ranks beyond the KV heads hold copies of them.
        heads_per_gpu = max(shape.kv_heads / tp, 1)
        cache_type = str(self.server_args(tp, 0, 0).get("kv-cache-dtype", "auto"))
        bytes_per_token = 2 * heads_per_gpu * shape.head_dim * shape.layers * (1 if cache_type.startswith("fp8") else 2)
        tokens = max(int((self.budget_bytes() - weights) // bytes_per_token), 0)
        return Memory(
            weights_gib_per_gpu=round(weights / GIB, 1),
            kv_tokens=tokens,
            longest_context=min(tokens, self.wishes.context_length or self.model.context_length),
            fits=tokens >= self.tokens_needed(),
        )

    def budget_bytes(self) -> float:
        return self.fraction * self.node.memory_mib * MIB

    def tokens_needed(self) -> int:
        """An asked-for context must fit; else as much as makes a server useful."""
        return self.wishes.context_length or min(MIN_KV_TOKENS, self.model.context_length)

    def fitting(self) -> list[int]:
        return [count for count in self.legal() if self.memory(count).fits]

    def server_args(self, tp: int, first_gpu: int, port: int) -> dict[str, ArgValue]:
        """SGLang's long option names without dashes, in the published order; host and port last."""
        wishes, model = self.wishes, self.model
        args: dict[str, ArgValue] = {"model-path": model.id, "tp-size": tp}
        if self.ep(tp) > 1:
            args["ep-size"] = self.ep(tp)
        for name, parser, wish in (
            ("tool-call-parser", model.tool_call_parser, wishes.tool_call_parser),
            ("reasoning-parser", model.reasoning_parser, wishes.reasoning_parser),
        ):
            if parser is not None and (parser.default if wish is None else wish):
                args[name] = parser.name
        if model.trust_remote_code:
            args["trust-remote-code"] = True
        args["mem-fraction-static"] = self.fraction
        args.update(model.server_args.get(self.node.vendor, {}))
        if wishes.context_length is not None:
            args["context-length"] = wishes.context_length
        if wishes.enable_metrics:
            args["enable-metrics"] = True
        for name, value in wishes.extra_args.items():
            problem = extra_arg_problem(name, value)
            if problem:
                raise PlanError(problem)
            # SGLang's configuration file has no null, and false leaves a flag out: both take the argument away.
            if value is None or value is False:
                args.pop(name, None)
            else:
                args[name] = value
        if first_gpu:
            args["base-gpu-id"] = first_gpu
        return {**args, "host": wishes.address, "port": port}


def extra_arg_problem(name: t.Any, value: t.Any) -> str | None:
    """What is wrong with an entry of fleet_server_args, or None. Values are not shown: they may be secrets."""
    where = f"fleet_server_args.{name}"
    if not isinstance(name, str) or re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) is None:
        dashed = re.sub(r"[^a-z0-9]+", "-", str(name).lower()).strip("-")
        return f"{where}: use SGLang's long option name without the leading dashes, as in {dashed}"
    if name in OWNED_ARGS:
        return f"{where}: the plan sets --{name} itself; use {OWNED_ARGS[name]} instead"
    if name in LAYOUT_ARGS:
        return (
            f"{where}: --{name} changes how many GPUs a server takes, or which; the layout of one node is what is planned: "
            "remove it and use fleet_layout"
        )
    if re.search(r"(^|-)ssl(-|$)", name):
        return f"{where}: the servers speak plain HTTP; remove it and let a proxy or gateway in front of them do TLS"
    if _SECRET_ARG.search(name):
        return (
            f"{where}: its value is a secret, and would stand in the plan and in files that others read; remove it (keys "
            "of clients go to fleet_api_key, a Hugging Face token to fleet_hf_token)"
        )
    values = value if isinstance(value, list) else [value]
    if not all(item is None or isinstance(item, (str, int, float, bool)) for item in values):
        return f"{where} is a {type(value).__name__}: give a string, a number, true, or a list of strings and numbers"
    return None


def parse_layout(text: str) -> Layout | None:
    """``auto`` gives None. NxT: N instances of T GPUs each."""
    if text == "auto":
        return None
    match = re.fullmatch(r"([1-9]\d{0,2})x([1-9]\d{0,2})", text)
    if match is None:
        raise PlanError(
            f"fleet_layout is {text}: set it to auto, or to INSTANCESxGPUS such as 1x8 or 2x4 (two servers of four GPUs)"
        )
    return Layout(int(match[1]), int(match[2]))


def choose_layout(fit: Fit, text: str) -> tuple[Layout, list[str]]:
    """The layout and why; a PlanError names the rule broken and the legal counts."""
    asked = parse_layout(text)
    node, model = fit.node, fit.model
    generator = model.generator or fit.catalogue.gpus[node.model].generator
    if asked is None:
        fitting = [count for count in fit.fitting() if count <= node.count]
        if not fitting:
            legal = [count for count in fit.legal() if count <= node.count]
            raise PlanError(_does_not_fit(fit, max(legal)))
        default = generator.default if generator else min(fitting)
        if default in fitting:
            source = f"the published default for {model.name} on {node.model}" if generator else "the fewest that fit"
            return Layout(1, default), [f"layout auto chose 1x{default}: {source}"]
        larger = [count for count in fitting if count > default]
        chosen = min(larger) if larger else max(fitting)
        why = (
            f"the published default of {default} does not fit"
            if default <= node.count
            else f"the published default is {default}, the node has {node.count}"
        )
        return Layout(1, chosen), [f"layout auto chose 1x{chosen}: {why}"]

    rule = fit.problem(asked.gpus)
    if rule is not None:
        raise PlanError(
            f"{node.model} x {asked.gpus}: tp {asked.gpus} is not legal for {model.name}: {rule}; {_legal_counts(fit)}"
        )
    needed = asked.instances * asked.gpus
    if needed > node.count:
        raise PlanError(
            f"fleet_layout {asked} needs {needed} GPUs, the host has {node.count} x {node.model}; {_legal_counts(fit)}"
        )
    if not fit.memory(asked.gpus).fits:
        raise PlanError(_does_not_fit(fit, asked.gpus))
    notes = []
    if generator is None or asked.gpus not in generator.counts:
        offered = ", ".join(str(count) for count in generator.counts) if generator else "nothing"
        notes.append(
            f"{asked.gpus} x {node.model} follows the model's rules; the published generator for {model.name} offers "
            f"{offered} there"
        )
    return asked, notes


def _legal_counts(fit: Fit) -> str:
    """The legal GPU counts, those of them that do not fit, and a layout to set."""
    legal, fitting = fit.legal(), fit.fitting()
    tight = [count for count in legal if count not in fitting]
    text = f"legal: {_numbers(legal)}"
    if tight:
        text += f" ({_numbers(tight)} without the memory for it)"
    possible = [count for count in fitting if count <= fit.node.count]
    if possible:
        best = max(possible)
        return f"{text}; set fleet_layout to {fit.node.count // best}x{best}"
    return f"{text}; the host has too few GPUs for {fit.model.name}"


def _does_not_fit(fit: Fit, count: int) -> str:
    shape, node = fit.model.architecture, fit.node
    weights, budget, memory = shape.weights_bytes / count, fit.budget_bytes(), fit.memory(count)
    text = (
        f"{fit.model.name} does not fit on {count} x {node.model}: of {node.memory_mib / 1024:.1f} GiB a GPU, "
        f"mem_fraction_static {fit.fraction:g} leaves {budget / GIB:.1f} GiB, the weights take {weights / GIB:.1f} GiB"
    )
    if weights >= budget:
        text += f" ({(weights - budget) / GIB:.1f} GiB missing on each)"
    else:
        text += f" and the rest holds {memory.kv_tokens} tokens, {fit.tokens_needed()} are needed"
    fitting = fit.fitting()
    possible = [other for other in fitting if other <= node.count]
    if possible:
        return f"{text}; set fleet_layout to {node.count // min(possible)}x{min(possible)}"
    if fitting:
        return f"{text}; it takes {min(fitting)} x {node.model}, the host has {node.count}"
    if fit.wishes.context_length is not None:
        return f"{text}; set fleet_context_length lower"
    return f"{text}; use a GPU with more memory"


def check_driver(image: Image, driver: t.Mapping[str, t.Any]) -> str | None:
    """What keeps the image from starting on this driver, with the remedy, or None.

    driver: name, version and loaded, as in ``ansible_facts.gpu.driver``. A loaded driver that tells no version passes.
    """
    floor = image.driver
    wants = f"{image.reference} ({image.user_space}) needs {floor.minimum_title} or newer"
    if floor.branches:
        wants += f", or the branch {_any(floor.branches)}"
    if not driver.get("loaded"):
        if driver.get("name"):
            return (
                f"the {floor.name} driver is installed but not loaded: run `modprobe {floor.name}` or reboot the host"
            )
        return f"no {floor.name} driver on the host: {wants}; install {floor.recommended}"
    version = driver.get("version")
    if not version:
        return None
    if _version(str(version)) >= _version(floor.minimum):
        return None
    if any(str(version) == branch or str(version).startswith(f"{branch}.") for branch in floor.branches):
        return None
    return f"the {floor.name} driver is {version}: {wants}; install {floor.recommended}"


def known_issues(
    catalogue: Catalogue, fit: Fit, layout: Layout, args: t.Mapping[str, ArgValue]
) -> tuple[list[str], list[str]]:
    """Warnings and notes of the known issues that meet this plan; one that blocks raises PlanError unless it is allowed."""
    unheard = [name for name in fit.wishes.allow_known_issues if name not in catalogue.known_issues]
    if unheard:
        raise PlanError(
            f"fleet_allow_known_issues names {', '.join(unheard)}: known are {', '.join(catalogue.known_issues)}"
        )
    warnings: list[str] = []
    notes: list[str] = []
    for issue in catalogue.known_issues.values():
        if not _meets(issue, fit, layout, args):
            continue
        text = f"known issue {issue.name}: {issue.message} ({issue.source}); {issue.remedy}"
        if issue.severity == "block" and issue.name not in fit.wishes.allow_known_issues:
            raise PlanError(f"{text}, or add {issue.name} to fleet_allow_known_issues to go on all the same")
        (notes if issue.severity == "note" else warnings).append(text)
    return warnings, notes


def _meets(issue: KnownIssue, fit: Fit, layout: Layout, args: t.Mapping[str, ArgValue]) -> bool:
    having: dict[str, t.Any] = {
        "architectures": fit.model.architecture.name,
        "models": fit.model.name,
        "gpus": fit.node.model,
        "vendors": fit.node.vendor,
        "images": fit.image.name,
        "gpus_per_instance": layout.gpus,
    }
    return all(
        all(args.get(name) == value for name, value in wanted.items())
        if key == "server_args"
        else having[key] in wanted
        for key, wanted in issue.when.items()
    )


def _instance(
    fit: Fit, profile: ContainerOptions, layout: Layout, number: int, reference: str, last_port: int
) -> Instance:
    wishes, node = fit.wishes, fit.node
    gpus = list(range(number * layout.gpus, (number + 1) * layout.gpus))
    port = last_port - layout.instances + 1 + number
    # In a container that sees all GPUs the server is told which is its first.
    args = fit.server_args(layout.gpus, gpus[0] if profile.gpus_seen == "all" else 0, port)
    values: dict[str, list[str]] = {
        "gpu_node": [name for gpu in gpus for name in node.nodes[gpu]],
        "control_node": list(node.control_nodes),
        "gpu_gid": [str(gid) for gid in node.gids],
        "gpu_ids": [",".join(gpu_ids(node, gpus))] if any("{gpu_ids}" in option for option in profile.options) else [],
        "weights_dir": [wishes.weights_dir],
        "image": [reference],
    }
    return Instance(
        name=str(number),
        gpus=gpus,
        address=wishes.address,
        port=port,
        tp=layout.gpus,
        ep=fit.ep(layout.gpus),
        server_args=args,
        command_line=command_line(args),
        container_options=[word for option in profile.options for word in expand_option(option, values)],
    )


def gpu_ids(node: Node, gpus: t.Sequence[int]) -> list[str]:
    """What the NVIDIA container toolkit shall call these GPUs: UUIDs, for it counts GPUs that the catalogue does not know."""
    ids = [node.uuids[gpu] for gpu in gpus]
    known = [uuid for uuid in ids if uuid is not None]
    if len(known) == len(ids):
        return known
    others = [device for device in node.unknown if device["pci_id"].startswith("10de:")]
    if others:
        bare = [gpu for gpu in gpus if node.uuids[gpu] is None]
        listed = ", ".join(f"{device['pci_id']} at {device['pci_address']}" for device in others)
        raise PlanError(
            f"the driver tells no UUID of {_gpus(bare)}, and the host has {listed} besides, which the catalogue does not "
            "know: by number the wrong GPUs could be taken; run nvidia-smi on the host to see that its driver works, or add "
            "the others to fleet_catalogue (gpus), or take them out of the host"
        )
    return [str(gpu) for gpu in gpus]


def expand_option(option: str, values: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    """The option once for each value of the placeholder in it; as it is without one."""
    match = re.search(r"\{([a-z_]+)\}", option)
    if match is None:
        return [option]
    if match[1] not in values:
        raise PlanError(f"container option {option}: unknown placeholder {match[0]}; known: {', '.join(values)}")
    return [
        word
        for value in values[match[1]]
        for word in expand_option(option[: match.start()] + value + option[match.end() :], values)
    ]


def command_line(args: t.Mapping[str, ArgValue]) -> str:
    """The command as a person would type it."""
    words = ["python3", "-m", "sglang.launch_server"]
    for name, value in args.items():
        words.append(f"--{name}")
        if value is not True:
            words += [str(item) for item in value] if isinstance(value, list) else [str(value)]
    return " ".join(shlex.quote(word) for word in words)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text))


def _numbers(numbers: t.Iterable[int]) -> str:
    return ", ".join(str(number) for number in numbers)


def _any(words: t.Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _gpus(indexes: t.Sequence[int]) -> str:
    if len(indexes) == 1:
        return f"GPU {indexes[0]}"
    if len(indexes) > 2 and indexes[-1] - indexes[0] == len(indexes) - 1:
        return f"GPUs {indexes[0]} to {indexes[-1]}"
    return f"GPUs {_numbers(indexes)}"
