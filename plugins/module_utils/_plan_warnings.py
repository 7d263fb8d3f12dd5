# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an operator should know of a plan before it is carried out, and what keeps its image from starting on a driver. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import ContainerOptions, Image
from ansible_collections.sglang.fleet.plugins.module_utils._fit import GIB, MIN_HEADROOM
from ansible_collections.sglang.fleet.plugins.module_utils._known_issues import Warn
from ansible_collections.sglang.fleet.plugins.module_utils._layout import Layout
from ansible_collections.sglang.fleet.plugins.module_utils._plan_case import Case
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import Node, published
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import (
    PlanError,
    any_of,
    gpus_text,
    version_key,
)


def plan_warnings(case: Case, layout: Layout, idle: t.Sequence[int], is_published: bool) -> t.Iterator[Warn]:
    """Of model, image, memory, arguments and layout. idle: the GPUs that no instance has."""
    yield Warn("licence", "note", f"licence of {case.model.name}: {case.model.licence}")
    yield from _unpublished(case, is_published)
    yield from _fit_warnings(case, layout)
    yield from _arg_warnings(case)
    yield from _idle_warnings(case, layout, idle)


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
    # False and null take an argument away.
    given = {name for name, value in case.wishes.extra_args.items() if value is not None and value is not False}
    unknown = sorted(_MEMORY_ARGS & given)
    if unknown:
        yield Warn(
            "fit-unknown",
            "warn",
            f"what weights and KV cache take with {', '.join(f'--{name}' for name in unknown)} is not known: the memory "
            "figures are those without",
        )
    if case.wishes.extra_args and case.flags is None:
        yield Warn(
            "unchecked-args",
            "warn",
            f"fleet_server_args was not checked: the catalogue has no list of the arguments of SGLang "
            f"{case.image.sglang_version}",
        )


#: server arguments that change the memory, beyond kv-cache-dtype and max-total-tokens, which are counted
_MEMORY_ARGS: t.Final = frozenset(
    {
        "cpu-offload-gb",
        "enable-lora",
        "ep-num-redundant-experts",
        "lora-paths",
        "modelopt-quant",
        "offload-group-size",
        "quantization",
        "speculative-algorithm",
        "speculative-draft-model",
        "speculative-draft-model-path",
        "swa-full-tokens-ratio",
        "torchao-config",
    }
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


def node_warnings(node: Node, used: t.Collection[int]) -> t.Iterator[Warn]:
    """Of the host's devices, and of who is on those that are `used`."""
    if node.assumed:
        yield Warn(
            "assumed-devices",
            "note",
            "no host was asked: device nodes are the usual ones, and the numeric groups of a host's GPU devices are left "
            "out; a plan from a host's own facts has both",
        )
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


def driver_warnings(
    case: Case, profile: ContainerOptions, used: t.Collection[int], require_driver: bool
) -> t.Iterator[Warn]:
    """Of the driver; with require_driver PlanError where the image does not start on it. used: the GPUs of the instances."""
    node, image = case.node, case.image
    problem = check_driver(image, node.driver)
    if problem is None and any("{gpu_node}" in option for option in profile.options):
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
