# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From GPU facts, the catalogue and the operator's wishes to a launch plan, or to an error that says what is allowed.

Pure: nothing is read or asked here. What goes into a plan is in _plan_input, SGLang's rules in _plan_rules, the memory in
_fit, both together in _plan_case, the layout in _layout, the command in _server_args, what a container gets in _container.
"""

from __future__ import annotations

import itertools
import typing as t
from dataclasses import dataclass

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import Catalogue, Image
from ansible_collections.sglang.fleet.plugins.module_utils._container import container_options
from ansible_collections.sglang.fleet.plugins.module_utils._fit import GIB, MIN_HEADROOM
from ansible_collections.sglang.fleet.plugins.module_utils._known_issues import Warn, check_allowed, warning_of
from ansible_collections.sglang.fleet.plugins.module_utils._layout import Groups, Layout, choose_layout, group_gpus
from ansible_collections.sglang.fleet.plugins.module_utils._plan_case import Case
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import (
    Node,
    Wishes,
    pick,
    pick_image,
    pick_model,
    published,
    read_node,
)
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import (
    PlanError,
    any_of,
    gpus_text,
    version_key,
)
from ansible_collections.sglang.fleet.plugins.module_utils._server_args import (
    ServerArgs,
    command_line,
    extra_arg_problem,
    words,
)
from ansible_collections.sglang.fleet.plugins.module_utils._server_flags import flag_problem, load_flags


@dataclass(frozen=True)
class Instance:
    """One server. args: the words after the command; server_args: the same by name, true being a bare flag."""

    name: str
    gpus: list[int]
    address: str
    port: int
    tp: int
    ep: int
    args: list[str]
    server_args: ServerArgs
    environment: dict[str, str]
    container_options: list[str]
    command_line: str
    fit: dict[str, float | int]


@dataclass(frozen=True)
class Plan:
    """``fleet_plan``; to_dict() gives it as the other roles, the command line and the page read it.

    memory_mib is of one GPU. reasons: a sentence for each choice that the planner made.
    """

    model: str
    model_path: str
    gpu: str
    count: int
    vendor: str
    memory_mib: int
    image: dict[str, str]
    patches: list[dict[str, str]]
    profile: str
    layout: str
    instances: list[Instance]
    idle_gpus: list[int]
    warnings: list[Warn]
    reasons: list[str]

    def to_dict(self) -> dict[str, t.Any]:
        plan = dict(vars(self))
        plan["instances"] = [dict(vars(instance)) for instance in self.instances]
        plan["warnings"] = [dict(vars(warning)) for warning in self.warnings]
        return plan


def make_plan(catalogue: Catalogue, gpu: t.Mapping[str, t.Any], wishes: Wishes, *, require_driver: bool = True) -> Plan:
    """The plan for one host; raises PlanError.

    gpu: ``ansible_facts.gpu``. With require_driver false a driver that the image does not start on is a warning, for a
    plan that is made before the driver is installed.
    """
    node = read_node(catalogue, gpu)
    model = pick_model(catalogue, wishes.model)
    image, is_published = pick_image(catalogue, model, node.gpu, wishes.sglang_version)
    profile = pick(catalogue.container_profiles, wishes.profile, "profile", "fleet_profile")[node.vendor]
    case = Case(catalogue, node, model, image, wishes)
    _check_wishes(case)
    layout, why = choose_layout(case, wishes.layout)
    _check_ports(wishes, layout)
    known = [warning_of(issue, wishes.allow_known_issues) for issue in case.issues(layout.gpus)]
    groups = group_gpus(layout, node.numa, node.links, profile.gpus_seen == "all")
    used = {index for group in groups for index in group}
    idle = [index for index in range(node.count) if index not in used]

    warnings = [Warn("licence", "note", f"licence of {model.name}: {model.licence}")]
    warnings += _unpublished(case, is_published)
    warnings += _fit_warnings(case, layout)
    warnings += _arg_warnings(case)
    warnings += _idle_warnings(case, layout, idle)
    warnings += _node_warnings(node, used)
    warnings += _driver_warnings(case, used, require_driver)
    warnings += known

    reference = wishes.image or image.reference
    environment = case.environment(layout.gpus)
    shared, fit = case.args(layout.gpus), case.memory(layout.gpus).to_dict()
    instances = []
    for number, group in enumerate(groups):
        args: ServerArgs = dict(shared)
        if profile.gpus_seen == "all" and group[0]:
            # In a container that sees all GPUs the server is told which is its first.
            args["base-gpu-id"] = group[0]
        args["host"] = wishes.address
        args["port"] = wishes.port + number
        listed = words(args)
        instances.append(
            Instance(
                name=str(number),
                gpus=list(group),
                address=wishes.address,
                port=wishes.port + number,
                tp=layout.gpus,
                ep=case.ep(layout.gpus),
                args=listed,
                server_args=args,
                environment=environment,
                container_options=container_options(profile, node, group, wishes.weights_dir, reference, environment),
                command_line=command_line(listed),
                fit=fit,
            )
        )
    return Plan(
        model=model.name,
        model_path=model.id,
        gpu=node.gpu.name,
        count=node.count,
        vendor=node.vendor,
        memory_mib=node.memory_mib,
        image={
            "name": image.name,
            "reference": reference,
            "sglang_version": image.sglang_version,
            "source_root": image.source_root,
            "user_space": image.user_space,
        },
        patches=[dict(patch) for patch in image.patches],
        profile=wishes.profile,
        layout=str(layout),
        instances=instances,
        idle_gpus=idle,
        warnings=warnings,
        reasons=_reasons(case, layout, why, groups, is_published),
    )


def _check_wishes(case: Case) -> None:
    wishes, model = case.wishes, case.model
    if not 0 < case.fraction < 1:
        raise PlanError(
            f"fleet_mem_fraction_static is {case.fraction:g}: it is the share of a GPU's memory for weights and KV cache; "
            "set it above 0 and below 1"
        )
    if wishes.context_length is not None and not 0 < wishes.context_length <= model.context_length:
        raise PlanError(
            f"fleet_context_length is {wishes.context_length}: {model.name} takes 1 to {model.context_length} tokens; "
            "set it within that, or leave it out",
            "context",
        )
    if wishes.ep is not None and wishes.ep < 1:
        raise PlanError(f"fleet_ep is {wishes.ep}: set it to 1 for no expert parallelism, or to a size that divides tp")
    check_allowed(case.catalogue, wishes.allow_known_issues)
    if wishes.extra_args:
        version = case.image.sglang_version
        flags = load_flags(version)
        for name, value in wishes.extra_args.items():
            problem = extra_arg_problem(name, value)
            # False and null take an argument away: what is taken must be known, the value is none.
            if problem is None and flags is not None:
                problem = flag_problem(flags, version, name, value)
            if problem is not None:
                raise PlanError(problem, "server-args")


def _check_ports(wishes: Wishes, layout: Layout) -> None:
    last = wishes.port + layout.instances - 1
    if wishes.port < 1 or last > 65535:
        raise PlanError(
            f"fleet_port {wishes.port} with {layout.instances} instances takes the ports {wishes.port} to {last}: "
            f"set fleet_port between 1 and {65536 - layout.instances}"
        )


def _unpublished(case: Case, is_published: bool) -> t.Iterator[Warn]:
    model, gpu, image = case.model, case.node.gpu, case.image
    name = model.images.get(gpu.image_class)
    if name is None:
        yield Warn(
            "unpublished-hardware",
            "warn",
            f"{model.name} is not published for {gpu.name}: the plan follows the model's rules and the memory, on "
            f"{image.reference}, the image for this hardware with SGLang {image.sglang_version}",
        )
    elif not is_published:
        yield Warn(
            "unpublished-version",
            "warn",
            f"SGLang {image.sglang_version} is not the version published for {model.name} on {gpu.name} "
            f"({case.catalogue.images[name].sglang_version})",
        )
    elif published(model, gpu) is None:
        yield Warn(
            "unpublished-hardware",
            "note",
            f"no published command for {model.name} speaks of {gpu.name}: the plan follows the model's rules and the "
            "memory, on the image of its kin",
        )


def _fit_warnings(case: Case, layout: Layout) -> t.Iterator[Warn]:
    memory = case.memory(layout.gpus)
    if memory.kv_tokens < case.longest:
        yield Warn(
            "kv-below-context",
            "warn",
            f"the KV cache of an instance holds {memory.kv_tokens} tokens, less than the context of {case.longest}: longer "
            "requests are refused",
        )
    if memory.headroom < MIN_HEADROOM:
        yield Warn(
            "small-headroom",
            "warn",
            f"mem_fraction_static {case.fraction:g} leaves {memory.headroom / GIB:.1f} GiB a GPU for activations, CUDA "
            f"graphs and the request table; below {MIN_HEADROOM / GIB:g} GiB the server may run out of memory under load: "
            "set fleet_mem_fraction_static lower",
        )


def _arg_warnings(case: Case) -> t.Iterator[Warn]:
    if case.wishes.extra_args and load_flags(case.image.sglang_version) is None:
        yield Warn(
            "unchecked-args",
            "warn",
            f"fleet_server_args was not checked: the catalogue has no list of the arguments of SGLang "
            f"{case.image.sglang_version}",
        )


def _idle_warnings(case: Case, layout: Layout, idle: t.Sequence[int]) -> t.Iterator[Warn]:
    if not idle:
        return
    count = case.node.count
    better = [tp for tp in case.fitting(count) if count // tp * tp > layout.used]
    remedy = ""
    if better:
        best = max(better, key=lambda tp: (count // tp * tp, tp))
        remedy = f"; fleet_layout {count // best}x{best} would use {count // best * best}"
    yield Warn("idle-gpus", "warn", f"{gpus_text(idle)} of {count} idle with the layout {layout}{remedy}")


def _node_warnings(node: Node, used: t.Collection[int]) -> t.Iterator[Warn]:
    for device in node.unknown:
        yield Warn(
            "unknown-gpu",
            "warn",
            f"{device['pci_address']} ({device['pci_id']}) looks like a GPU, is not in the catalogue and is not used",
        )
    for hidden in node.hidden:
        if hidden["index"] in used:
            yield Warn("hidden-gpu", "warn", f"GPU {hidden['index']} ({hidden['pci_address']}): {hidden['reason']}")
    for holder in node.holders:
        held = [index for index in holder["gpus"] if index in used]
        # Our own servers make way for one another.
        if held and not str(holder.get("container") or "").startswith("sglang-"):
            size = f"{holder['memory_mib']} MiB" if holder.get("memory_mib") else "memory"
            yield Warn(
                "memory-held",
                "warn",
                f"{holder['command']} (pid {holder['pid']}) holds {size} of {gpus_text(held)}: stop it before the server "
                "starts, which else has no room",
            )


def _driver_warnings(case: Case, used: t.Collection[int], require_driver: bool) -> t.Iterator[Warn]:
    node, image = case.node, case.image
    problem = check_driver(image, node.driver)
    if problem is None and case.wishes.profile.lower() != "cookbook":
        bare = [index for index in sorted(used) if not node.nodes[index]]
        if bare:
            problem = f"{gpus_text(bare)} without a device node: the driver made none; look at the kernel log (dmesg) of the host"
    if problem is not None:
        if require_driver:
            raise PlanError(problem, "driver")
        yield Warn("driver", "warn", problem)
    elif node.driver.get("version") is None:
        yield Warn(
            "driver-version",
            "warn",
            f"the {image.driver.name} driver tells no version (the kernel's own does not), so it was not compared with "
            f"the {image.driver.minimum_title} that the image asks for",
        )


def _reasons(case: Case, layout: Layout, why: str, groups: Groups, is_published: bool) -> list[str]:
    """A sentence for each choice."""
    ep, tp, model, gpu = case.ep(layout.gpus), layout.gpus, case.model, case.node.gpu
    result = [f"layout {layout}: {why}"]
    if case.wishes.ep is not None:
        result.append(f"ep {ep}: asked for")
    elif tp in model.ep_equals_tp_at.get(case.node.vendor, ()):
        result.append(f"ep {ep}: the published rule for {model.name} on {case.node.vendor} with {tp} GPUs")
    elif ep > 1:
        result.append(f"ep {ep}: without it a GPU's slice of an expert is no whole number of FP8 blocks")
    else:
        result.append(f"no ep: tp {tp} needs none")
    asked = " with the SGLang version asked for" if case.wishes.sglang_version else ""
    origin = f"published for {model.name} on {gpu.name}" if is_published else f"the one for this hardware{asked}"
    result.append(f"image {case.wishes.image or case.image.name}: {'asked for' if case.wishes.image else origin}")
    if list(itertools.chain(*groups)) != list(range(layout.used)):
        listed = "; ".join(f"instance {number} has {gpus_text(group)}" for number, group in enumerate(groups))
        result.append(f"GPUs by their links and NUMA nodes: {listed}")
    return result


def check_driver(image: Image, driver: t.Mapping[str, t.Any]) -> str | None:
    """What keeps the image from starting on this driver, with the remedy, or None.

    driver: name, version and loaded, as in ``ansible_facts.gpu.driver``. A loaded driver that tells no version passes.
    """
    floor = image.driver
    version = driver.get("version")
    if driver.get("loaded"):
        if not version or version_key(str(version)) >= version_key(floor.minimum):
            return None
        if any(str(version) == branch or str(version).startswith(f"{branch}.") for branch in floor.branches):
            return None
    elif driver.get("name"):
        return f"the {floor.name} driver is installed but not loaded: run `modprobe {floor.name}` or reboot the host"
    wants = f"{image.reference} ({image.user_space}) needs {floor.minimum_title} or newer"
    if floor.branches:
        wants += f", or the branch {any_of(floor.branches)}"
    if not driver.get("loaded"):
        return f"no {floor.name} driver on the host: {wants}; install {floor.recommended}"
    return f"the {floor.name} driver is {version}: {wants}; install {floor.recommended}"
