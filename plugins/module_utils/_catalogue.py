# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The catalogue: GPUs, models, images, patches, container profiles and known issues.

It is data (``catalogue/*.yml``, one JSON Schema each under ``catalogue/schema/``). This file reads it on the controller,
merges the operator's own entries over it and gives typed views. Hosts never load it: what they need of it they are told.
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

#: section of the catalogue -> file that holds it
SECTIONS: t.Final[dict[str, str]] = {
    "vendors": "vendors",
    "gpus": "gpus",
    "architectures": "models",
    "models": "models",
    "images": "images",
    "patches": "patches",
    "container_profiles": "container_profiles",
    "known_issues": "known_issues",
    "references": "references",
}

#: where a checkout and an installed collection both keep it, seen from plugins/module_utils/
DEFAULT_DIRECTORY: t.Final = Path(__file__).parents[2] / "catalogue"

Data = t.Dict[str, t.Dict[str, t.Any]]  # noqa: UP006 (evaluated at run time, by Python 3.9 too)


class CatalogueError(ValueError):
    """The catalogue, or what an operator adds to it, is not right; the text says where and what to do."""


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
    image_class: str
    generator: Generator | None


@dataclass(frozen=True)
class Architecture:
    """A checkpoint's shape. weights_bytes is the size of all its weight files; of it, every rank holds the replicated."""

    name: str
    layers: int
    attention_heads: int
    kv_heads: int
    head_dim: int
    moe_intermediate_size: int
    fp8_block_size: int
    weights_bytes: int
    replicated_weights_bytes: int
    experts: int | None
    tp_above_kv_heads_since: str | None
    fp8_block_check_skipped_on_amd_since: str | None


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
        """PCI ID -> name, memory_mib and vendor: what the gpu_facts module is told, since hosts have no YAML parser."""
        return {
            pci_id: {"name": gpu.name, "memory_mib": gpu.memory_mib, "vendor": gpu.vendor}
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
    merged = _merge_overrides(builtin.data, overrides)
    check_schema(merged, where, "fleet_catalogue.{path}: {message}", only=overrides)
    return _typed(merged, "fleet_catalogue: ")


def check_schema(
    data: Data,
    directory: Path | None = None,
    template: str = "{path}: {message}",
    only: t.Mapping[str, t.Any] | None = None,
) -> None:
    """Check ``data`` against the JSON Schemas; raises CatalogueError with every finding, one a line.

    ``only`` limits the check to the sections and entries that it names. Needs jsonschema on the controller.
    """
    try:
        import jsonschema
    except ImportError as exc:
        raise CatalogueError(
            "fleet_catalogue needs the Python package jsonschema on the controller, beside ansible-core, and it is not "
            "there; install it (pip install jsonschema), or leave fleet_catalogue out"
        ) from exc
    findings: list[str] = []
    for section, file in SECTIONS.items():
        entries = data.get(section, {})
        if only is not None:
            if section not in only:
                continue
            entries = {name: entry for name, entry in entries.items() if name in only.get(section, {})}
        schema = json.loads(((directory or DEFAULT_DIRECTORY) / "schema" / f"{file}.json").read_text("utf-8"))
        validator = jsonschema.Draft202012Validator(schema["properties"][section])
        for error in sorted(validator.iter_errors(entries), key=lambda e: [str(part) for part in e.absolute_path]):
            path = ".".join([section, *(str(part) for part in error.absolute_path)])
            findings.append(template.format(path=path, message=_plain(error)))
    if findings:
        raise CatalogueError("\n".join(findings))


def _plain(error: t.Any) -> str:
    """A jsonschema error in the operator's words, where its own are about schemas."""
    if error.validator == "oneOf" and error.context:
        # The branch that fits best has the fewest errors of its own.
        branches: dict[int, list[t.Any]] = {}
        for inner in error.context:
            branches.setdefault(inner.schema_path[0], []).append(inner)
        best = min(branches.values(), key=len)
        return "; ".join(_plain(inner) for inner in best)
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = error.schema.get("properties", {})
        extra = [str(key) for key in error.instance if key not in known]
        if extra:
            return f"unknown key {', '.join(extra)}; known: {', '.join(known)}"
    if error.validator == "not" and "required" in error.validator_value:
        return f"{', '.join(error.validator_value['required'])} has no place beside the other values: remove it"
    return str(error.message)


def _merge_overrides(base: Data, overrides: t.Mapping[str, t.Any]) -> Data:
    if not isinstance(overrides, t.Mapping):
        raise CatalogueError(
            f"fleet_catalogue must be a mapping of {', '.join(SECTIONS)}, not {type(overrides).__name__}"
        )
    merged: Data = {section: dict(entries) for section, entries in base.items()}
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
    return merged


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
    _check_references(data, prefix)
    architectures = {
        name: Architecture(
            name=name,
            **{key: int(entry[key]) for key in _ARCHITECTURE_NUMBERS},
            replicated_weights_bytes=int(entry.get("replicated_weights_bytes", 0)),
            experts=entry.get("experts"),
            tp_above_kv_heads_since=entry.get("tp_above_kv_heads_since"),
            fp8_block_check_skipped_on_amd_since=entry.get("fp8_block_check_skipped_on_amd_since"),
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
            generator=_generator(entry.get("generator")),
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
    "moe_intermediate_size",
    "fp8_block_size",
    "weights_bytes",
)


def _generator(entry: t.Mapping[str, t.Any] | None) -> Generator | None:
    return None if entry is None else Generator(tuple(entry["counts"]), entry["default"])


def _parser(entry: t.Mapping[str, t.Any] | None) -> Parser | None:
    return None if entry is None else Parser(entry["name"], entry["default"])


def _check_references(data: Data, prefix: str) -> None:
    """Names that one entry uses of another must exist, and a PCI ID may name one GPU only."""
    findings = [
        f"{prefix}{user} names {name}, which is not in {section} ({', '.join(data[section])})"
        for user, section, name in _references(data)
        if name not in data[section]
    ]
    owners: dict[str, str] = {}
    for name, gpu in data["gpus"].items():
        for pci_id in gpu["pci_ids"]:
            if owners.setdefault(pci_id, name) != name:
                findings.append(f"{prefix}gpus.{name} and gpus.{owners[pci_id]} both claim PCI ID {pci_id}")
    if findings:
        raise CatalogueError("\n".join(findings))


def _references(data: Data) -> t.Iterator[tuple[str, str, str]]:
    """Where a name is used, the section that must have it, the name."""
    for name, model in data["models"].items():
        yield f"models.{name}.architecture", "architectures", model["architecture"]
        for image_class, image in model["images"].items():
            yield f"models.{name}.images.{image_class}", "images", image
    for name, image in data["images"].items():
        for patch in image["patches"]:
            yield f"images.{name}.patches", "patches", patch
    for name, result in data["references"].items():
        for section in ("model", "gpu", "image"):
            yield f"references.{name}.{section}", f"{section}s", result[section]
    for name, issue in data["known_issues"].items():
        for section in ("architectures", "models", "gpus", "images"):
            for wanted in issue["when"].get(section, []):
                yield f"known_issues.{name}.when.{section}", section, wanted
