# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The catalogue: GPUs, models, images, drivers, patches, container profiles and known issues.

It is data (``catalogue/*.yml``, one JSON Schema each under ``catalogue/schema/``). This file reads it on the controller,
merges the operator's own entries over it and gives typed views. Hosts never load it: what they need of it they are told.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue_checks import (
    DEFAULT_DIRECTORY,
    SECTIONS,
    CatalogueError,
    Data,
    check_references,
    check_schema,
)


@dataclass(frozen=True)
class Generator:
    """GPU counts an instance that a published command generator offers, and the one that it picks."""

    counts: tuple[int, ...]
    default: int


@dataclass(frozen=True)
class Gpu:
    """Memory is of one GPU. What is reserved, more of it for each rank, is gone before weights and KV cache are counted."""

    name: str
    title: str
    vendor: str
    pci_ids: tuple[str, ...]
    memory_mib: int
    reserved_mib: int
    reserved_mib_per_rank: int
    render_nodes_per_gpu: int
    compute_capability: str | None
    image_class: str
    generator: Generator | None


@dataclass(frozen=True)
class Architecture:
    """A checkpoint's shape. weights_bytes is the size of all its weight files; of it, every rank holds the replicated.

    A dense model has no experts, weights that are not in FP8 blocks have no block size. model_class is what config.json
    names in its architectures, which SGLang has a class of.
    """

    name: str
    layers: int
    attention_heads: int
    kv_heads: int
    head_dim: int
    weights_bytes: int
    replicated_weights_bytes: int
    experts: int | None
    moe_intermediate_size: int | None
    fp8_block_size: int | None
    tp_above_kv_heads_since: str | None
    fp8_block_check_skipped_on_amd_since: str | None
    model_class: str | None


@dataclass(frozen=True)
class Parser:
    name: str
    default: bool


@dataclass(frozen=True)
class Model:
    name: str
    id: str
    aliases: tuple[str, ...]
    architecture: Architecture
    context_length: int
    licence: str
    trust_remote_code: bool
    mem_fraction_static: float
    tool_call_parser: Parser | None
    reasoning_parser: Parser | None
    images: t.Mapping[str, str]
    generator: Generator | None
    generator_of_gpu: bool
    ep_equals_tp_at: t.Mapping[str, tuple[int, ...]]
    server_args: t.Mapping[str, t.Mapping[str, t.Any]]


@dataclass(frozen=True)
class DriverFloor:
    """Host drivers that an image starts on: ``minimum`` or newer, or one of the older ``branches``."""

    name: str
    minimum: str
    minimum_title: str
    branches: tuple[str, ...]
    recommended: str


@dataclass(frozen=True)
class Image:
    name: str
    reference: str
    hardware: tuple[str, ...]
    sglang_version: str
    vendor: str
    user_space: str
    source_root: str
    driver: DriverFloor
    patches: tuple[t.Mapping[str, str], ...]


@dataclass(frozen=True)
class ContainerOptions:
    gpus_seen: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class KnownIssue:
    name: str
    severity: str
    when: t.Mapping[str, t.Any]
    message: str
    remedy: str
    source: str
    change_args: t.Mapping[str, t.Any]
    change_environment: t.Mapping[str, str]


@dataclass(frozen=True)
class Catalogue:
    """Everything by name. ``data`` is the merged mapping that it was made from.

    model_names: every lower-case name that a model answers to.
    """

    data: Data
    gpus: t.Mapping[str, Gpu]
    models: t.Mapping[str, Model]
    model_names: t.Mapping[str, Model]
    images: t.Mapping[str, Image]
    container_profiles: t.Mapping[str, t.Mapping[str, ContainerOptions]]
    known_issues: t.Mapping[str, KnownIssue]

    def known_gpus(self) -> dict[str, dict[str, t.Any]]:
        """PCI ID -> name, memory_mib, vendor and virtual: what a host is told, since it has no YAML parser.

        virtual: the ID is that of a virtual function, as a guest sees one.
        """
        return {
            pci_id: {
                "name": gpu.name,
                "memory_mib": gpu.memory_mib,
                "vendor": gpu.vendor,
                "virtual": pci_id in self.data["gpus"][gpu.name].get("virtual_pci_ids", ()),
            }
            for gpu in self.gpus.values()
            for pci_id in gpu.pci_ids
        }


def load_catalogue(overrides: t.Mapping[str, t.Any] | None = None, directory: Path | None = None) -> Catalogue:
    """The built-in catalogue with ``overrides`` (the variable fleet_catalogue, same shape) merged over it by name.

    A partial entry changes a known one; an entry of a new name must be complete. Lists are replaced, not joined.
    Raises CatalogueError. The built-in files are read once in a process and are checked against their schemas by the
    unit tests, not here; overrides are checked here.
    """
    where = directory or DEFAULT_DIRECTORY
    builtin = _builtin(where)
    if not overrides:
        return builtin
    merged, touched = _merge_overrides(builtin.data, overrides)
    check_schema(merged, where, "fleet_catalogue.{path}: {message}", only=touched)
    return _typed(merged, "fleet_catalogue: ")


def entries(data: Data, section: str, names: t.Iterable[str]) -> list[dict[str, t.Any]]:
    """The named entries of a section that operators choose from by the variable of the same name, in order, each with its name.

    Raises CatalogueError for a name that is not in it.
    """
    known, chosen = data[section], list(names)
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise CatalogueError(
            f"{section} names {', '.join(unknown)}; known: {', '.join(known)}. Add your own to fleet_catalogue.{section}"
        )
    return [{**known[name], "name": name} for name in chosen]


def _merge_overrides(base: Data, overrides: t.Mapping[str, t.Any]) -> tuple[Data, dict[str, set[str]]]:
    """The data with the overrides over it, and the names that those touch, by section."""
    if not isinstance(overrides, t.Mapping):
        raise CatalogueError(
            f"fleet_catalogue must be a mapping of {', '.join(SECTIONS)}, not {type(overrides).__name__}"
        )
    merged: Data = {section: dict(entries) for section, entries in base.items()}
    touched: dict[str, set[str]] = {}
    for section, entries in overrides.items():
        if section not in SECTIONS:
            raise CatalogueError(f"fleet_catalogue: unknown section {section}; known: {', '.join(SECTIONS)}")
        if not isinstance(entries, t.Mapping):
            raise CatalogueError(
                f"fleet_catalogue.{section} must be a mapping of name to entry, not {type(entries).__name__}"
            )
        aliases = {alias: name for name, known in merged[section].items() for alias in known.get("aliases", ())}
        for given, entry in entries.items():
            name = aliases.get(str(given), str(given))
            merged[section][name] = _merge(merged[section].get(name), entry)
            touched.setdefault(section, set()).add(name)
    return merged, touched


def _merge(old: t.Any, new: t.Any) -> t.Any:
    if isinstance(old, t.Mapping) and isinstance(new, t.Mapping):
        return {**old, **{key: _merge(old.get(key), value) for key, value in new.items()}}
    return new


@lru_cache(maxsize=8)
def _builtin(directory: Path) -> Catalogue:
    return _typed(read_data(directory), "")


def read_data(directory: Path | None = None) -> Data:
    """The built-in files as one mapping of section to entries."""
    import yaml  # on the controller only; a host's Python has it as little as it needs it

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    data: Data = {}
    where = directory or DEFAULT_DIRECTORY
    for file in dict.fromkeys(SECTIONS.values()):
        path = where / f"{file}.yml"
        try:
            data.update(yaml.load(path.read_text("utf-8"), Loader=loader))  # noqa: S506 (a safe loader either way)
        except (OSError, yaml.YAMLError) as exc:
            raise CatalogueError(f"cannot read the catalogue file {path}: {exc}; install the collection again") from exc
    return data


def _typed(data: Data, prefix: str) -> Catalogue:
    check_references(data, prefix)
    architectures = {
        name: Architecture(
            name=name,
            **{key: int(entry[key]) for key in _ARCHITECTURE_NUMBERS},
            replicated_weights_bytes=int(entry.get("replicated_weights_bytes", 0)),
            experts=entry.get("experts"),
            moe_intermediate_size=entry.get("moe_intermediate_size"),
            fp8_block_size=entry.get("fp8_block_size"),
            tp_above_kv_heads_since=entry.get("tp_above_kv_heads_since"),
            fp8_block_check_skipped_on_amd_since=entry.get("fp8_block_check_skipped_on_amd_since"),
            model_class=entry.get("model_class"),
        )
        for name, entry in data["architectures"].items()
    }
    models = {
        name: Model(
            name=name,
            id=entry["id"],
            aliases=tuple(entry.get("aliases", ())),
            architecture=architectures[entry["architecture"]],
            context_length=entry["context_length"],
            licence=entry["licence"],
            trust_remote_code=entry["trust_remote_code"],
            mem_fraction_static=float(entry["mem_fraction_static"]),
            tool_call_parser=_parser(entry.get("tool_call_parser")),
            reasoning_parser=_parser(entry.get("reasoning_parser")),
            images=entry["images"],
            generator=None if entry.get("generator") == "gpu" else _generator(entry.get("generator")),
            generator_of_gpu=entry.get("generator") == "gpu",
            ep_equals_tp_at={vendor: tuple(sizes) for vendor, sizes in entry["ep_equals_tp_at"].items()},
            server_args=entry["server_args"],
        )
        for name, entry in data["models"].items()
    }
    return Catalogue(
        data=data,
        gpus={
            name: Gpu(
                name=name,
                title=entry["title"],
                vendor=entry["vendor"],
                pci_ids=tuple(entry["pci_ids"]),
                memory_mib=entry["memory_mib"],
                reserved_mib=data["vendors"][entry["vendor"]]["reserved_mib"],
                reserved_mib_per_rank=data["vendors"][entry["vendor"]]["reserved_mib_per_rank"],
                render_nodes_per_gpu=data["vendors"][entry["vendor"]].get("render_nodes_per_gpu", 1),
                compute_capability=entry.get("compute_capability"),
                image_class=entry["image_class"],
                generator=_generator(entry.get("generator")),
            )
            for name, entry in data["gpus"].items()
        },
        models=models,
        model_names=_model_names(models),
        images={
            name: Image(
                name=name,
                reference=entry["reference"],
                hardware=tuple(entry["hardware"]),
                sglang_version=entry["sglang_version"],
                vendor=entry["vendor"],
                user_space=entry["user_space"],
                source_root=entry["source_root"],
                driver=DriverFloor(**{**entry["driver"], "branches": tuple(entry["driver"]["branches"])}),
                patches=tuple({"name": patch, **data["patches"][patch]} for patch in entry["patches"]),
            )
            for name, entry in data["images"].items()
        },
        container_profiles={
            name: {
                vendor: ContainerOptions(entry[vendor]["gpus_seen"], tuple(entry[vendor]["options"]))
                for vendor in ("amd", "nvidia")
            }
            for name, entry in data["container_profiles"].items()
        },
        known_issues={
            name: KnownIssue(
                name=name,
                severity=entry["severity"],
                when=entry["when"],
                message=entry["message"],
                remedy=entry["remedy"],
                source=entry["source"],
                change_args=entry.get("change", {}).get("server_args", {}),
                change_environment=entry.get("change", {}).get("environment", {}),
            )
            for name, entry in data["known_issues"].items()
        },
    )


def _model_names(models: t.Mapping[str, Model]) -> dict[str, Model]:
    names: dict[str, Model] = {}
    for model in models.values():
        for name in (*model.aliases, model.id, model.id.rsplit("/", 1)[-1]):
            names.setdefault(name.lower(), model)
    # An entry's own name counts before what another answers to besides.
    names.update((name.lower(), model) for name, model in models.items())
    return names


_ARCHITECTURE_NUMBERS: t.Final = (
    "layers",
    "attention_heads",
    "kv_heads",
    "head_dim",
    "weights_bytes",
)


def _generator(entry: t.Mapping[str, t.Any] | None) -> Generator | None:
    return None if entry is None else Generator(tuple(entry["counts"]), entry["default"])


def _parser(entry: t.Mapping[str, t.Any] | None) -> Parser | None:
    return None if entry is None else Parser(entry["name"], entry["default"])
