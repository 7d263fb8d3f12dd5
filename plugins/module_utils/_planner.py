# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From GPU facts, the catalogue and the operator's wishes to a launch plan, or to an error that says what is allowed.

Pure: nothing is read or asked here. What goes into a plan is in _plan_input, SGLang's rules in _plan_rules, the memory in
_fit, both together in _plan_case, the layout in _layout, the command in _server_args, what a container gets in _container,
what an operator should know in _plan_warnings.
"""

from __future__ import annotations

import itertools
import typing as t
from dataclasses import dataclass

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import Catalogue, ContainerOptions
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue_checks import CatalogueError
from ansible_collections.sglang.fleet.plugins.module_utils._container import container_options
from ansible_collections.sglang.fleet.plugins.module_utils._drivers import accepted
from ansible_collections.sglang.fleet.plugins.module_utils._known_issues import Warn, check_allowed, warning_of
from ansible_collections.sglang.fleet.plugins.module_utils._layout import Groups, Layout, choose_layout, group_gpus
from ansible_collections.sglang.fleet.plugins.module_utils._plan_case import Case
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import (
    Node,
    Wishes,
    pick,
    pick_image,
    pick_model,
    read_node,
    tool_problems,
)
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import (
    PlanError,
    gpus_text,
    version_key,
)
from ansible_collections.sglang.fleet.plugins.module_utils._plan_warnings import (
    driver_warnings,
    node_warnings,
    plan_warnings,
)
from ansible_collections.sglang.fleet.plugins.module_utils._plan_wishes import (
    address_problem,
    ep_problem,
    folder_problem,
    fraction_problem,
    image_problem,
    port_problem,
)
from ansible_collections.sglang.fleet.plugins.module_utils._server_arg_rules import extra_arg_problem
from ansible_collections.sglang.fleet.plugins.module_utils._server_args import ServerArgs, command_line, words
from ansible_collections.sglang.fleet.plugins.module_utils._user_patches import user_patches


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

    memory_mib is of one GPU. driver: the floor of the image. reasons: a sentence for each choice that the planner made.
    lock: what the lock says of it, where there is one (_plan_lock).
    """

    model: str
    model_path: str
    model_class: str | None
    gpu: str
    count: int
    vendor: str
    memory_mib: int
    image: dict[str, str]
    driver: dict[str, str]
    patches: list[dict[str, str]]
    profile: str
    layout: str
    instances: list[Instance]
    idle_gpus: list[int]
    warnings: list[Warn]
    reasons: list[str]
    lock: dict[str, t.Any] | None = None

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
    node = read_node(catalogue, gpu, require_driver=require_driver)
    model = pick_model(catalogue, wishes.model)
    image, is_published = pick_image(catalogue, model, node.gpu, wishes.sglang_version)
    vendors = pick(catalogue.container_profiles, wishes.profile, "profile", "fleet_profile")
    profile = vendors[node.vendor]
    case = Case(catalogue, node, model, image, wishes)
    _check_wishes(case)
    layout, why = choose_layout(case, wishes.layout)
    _check_layout(case, layout)
    known = [warning_of(issue, wishes.allow_known_issues) for issue in case.issues(layout.gpus)]
    _check_numbers(node, profile)
    groups = group_gpus(layout, node.numa, node.links, profile.gpus_seen == "all")
    used = {index for group in groups for index in group}
    idle = [index for index in range(node.count) if index not in used]

    warnings = [
        *plan_warnings(case, layout, idle, is_published),
        *node_warnings(node, used),
        *driver_warnings(case, profile, used, require_driver),
        *([] if require_driver else [Warn("driver-tool", "warn", problem) for problem in tool_problems(gpu)]),
        *known,
    ]

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
        model_class=model.architecture.model_class,
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
        driver={"name": image.driver.name, "minimum": image.driver.minimum},
        patches=[dict(patch) for patch in (*image.patches, *wishes.patches)],
        profile=next(name for name, entry in catalogue.container_profiles.items() if entry is vendors),
        layout=str(layout),
        instances=instances,
        idle_gpus=idle,
        warnings=warnings,
        reasons=_reasons(case, layout, why, groups, is_published),
    )


def _check_wishes(case: Case) -> None:
    """The wishes that hang on no layout."""
    wishes, model = case.wishes, case.model
    for problem in (
        fraction_problem(case.fraction),
        ep_problem(wishes.ep) if wishes.ep is not None else None,
        address_problem(wishes.address),
        folder_problem(wishes.weights_dir),
        image_problem(wishes.image) if wishes.image else None,
    ):
        if problem is not None:
            raise PlanError(problem)
    if wishes.context_length is not None and not 0 < wishes.context_length <= model.context_length:
        raise PlanError(
            f"fleet_context_length is {wishes.context_length}: {model.name} takes 1 to {model.context_length} tokens; "
            "set it within that, or leave it out",
            "context",
        )
    check_allowed(case.catalogue, wishes.allow_known_issues)
    try:
        user_patches(wishes.patches, case.image.patches)
    except CatalogueError as error:
        raise PlanError(str(error)) from error
    for name, value in wishes.extra_args.items():
        problem = extra_arg_problem(name, value) or case.unlisted(name, value)
        if problem is not None:
            raise PlanError(problem, "server-args")


def _check_layout(case: Case, layout: Layout) -> None:
    """What hangs on the layout: the ports, and the catalogue's own server arguments."""
    problem = port_problem(case.wishes.port, layout.instances)
    if problem is not None:
        raise PlanError(problem)
    for name, value in case.args(layout.gpus).items():
        problem = case.unlisted(name, value)
        if problem is not None:
            # The operator's own were checked before: this one is of the model's entry, or of a known issue's.
            said = problem[len("fleet_server_args.") :]
            raise PlanError(f"the catalogue gives {case.model.name} the server argument {said}", "server-args")


def _check_numbers(node: Node, profile: ContainerOptions) -> None:
    """A server that sees every GPU takes them by number, from 0 or from its base-gpu-id on, and counts unknown ones too."""
    others = [device for device in node.unknown if device["pci_id"].startswith(_PCI_VENDORS[node.vendor])]
    if profile.gpus_seen == "all" and others:
        listed = ", ".join(f"{device['pci_id']} at {device['pci_address']}" for device in others)
        raise PlanError(
            f"a server that sees every GPU takes its own by number, and the host has {listed} besides, which the catalogue "
            "does not know: the wrong GPUs could be taken; set fleet_profile to hardened, or take the others out of the host",
            "gpus",
        )


_PCI_VENDORS: t.Final = {"amd": "1002:", "nvidia": "10de:"}


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
    version, floor = str(case.node.driver.get("version") or ""), case.image.driver
    if version and version_key(version) < version_key(floor.minimum) and (accepts := accepted(floor, version)):
        result.append(f"driver {version} is left alone, though older than {floor.minimum_title}: {accepts}")
    if list(itertools.chain(*groups)) != list(range(layout.used)):
        listed = "; ".join(f"instance {number} has {gpus_text(group)}" for number, group in enumerate(groups))
        result.append(f"GPUs by their links and NUMA nodes: {listed}")
    return result
