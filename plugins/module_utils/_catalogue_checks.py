# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must be true of the catalogue's data: each entry by its JSON Schema, and what entries say of one another."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

from ansible_collections.sglang.fleet.plugins.module_utils._server_arg_rules import OWNED_ARGS, extra_arg_problem

#: section of the catalogue -> file that holds it
SECTIONS: t.Final[dict[str, str]] = {
    "vendors": "vendors",
    "gpus": "gpus",
    "architectures": "models",
    "models": "models",
    "images": "images",
    "drivers": "drivers",
    "container_tools": "container_tools",
    "patches": "patches",
    "container_profiles": "container_profiles",
    "known_issues": "known_issues",
    "references": "references",
    "benchmark_profiles": "benchmark_profiles",
    "accuracy_benchmarks": "accuracy_benchmarks",
}

#: where a checkout and an installed collection both keep it, seen from plugins/module_utils/
DEFAULT_DIRECTORY: t.Final = Path(__file__).parents[2] / "catalogue"

Data = t.Dict[str, t.Dict[str, t.Any]]  # noqa: UP006 (evaluated at run time, by Python 3.9 too)


class CatalogueError(ValueError):
    """The catalogue, or what an operator adds to it, is not right; the text says where and what to do."""


def check_schema(
    data: Data,
    directory: Path | None = None,
    template: str = "{path}: {message}",
    only: t.Mapping[str, t.Collection[str]] | None = None,
    variable: str = "fleet_catalogue",
) -> None:
    """Check ``data`` against the JSON Schemas; raises CatalogueError with every finding, one a line.

    ``only`` limits the check to the sections and entries that it names; ``variable`` is what the operator gave them in.
    Needs jsonschema on the controller.
    """
    try:
        import jsonschema
    except ImportError as exc:
        raise CatalogueError(
            f"{variable} needs the Python package jsonschema on the controller, beside ansible-core, and it is not "
            f"there; install it (pip install jsonschema), or leave {variable} out"
        ) from exc
    findings: list[str] = []
    for section, file in SECTIONS.items():
        entries = data.get(section, {})
        if only is not None:
            if section not in only:
                continue
            entries = {name: entry for name, entry in entries.items() if name in only[section]}
        schema = json.loads(((directory or DEFAULT_DIRECTORY) / "schema" / f"{file}.json").read_text("utf-8"))
        part = {**schema["properties"][section], "$defs": schema.get("$defs", {})}
        validator = jsonschema.Draft202012Validator(part)
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
        # A mapping is not meant to be the one value that another branch has.
        mapping = isinstance(error.instance, dict)
        best = min(
            branches.values(),
            key=lambda inner: (mapping and any(one.validator == "const" for one in inner), len(inner)),
        )
        return "; ".join(_plain(inner) for inner in best)
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = error.schema.get("properties", {})
        extra = [str(key) for key in error.instance if key not in known]
        if extra:
            return f"unknown key {', '.join(extra)}; known: {', '.join(known)}"
    if error.validator == "not" and "required" in error.validator_value:
        return f"{', '.join(error.validator_value['required'])} has no place beside the other values: remove it"
    return str(error.message)


def check_references(data: Data, prefix: str) -> None:
    """What entries say of one another; raises CatalogueError with every finding, one a line."""
    findings = [
        f"{user} names {name}, which is not in {section} ({', '.join(data[section])})"
        for user, section, name in _references(data)
        if name not in data[section]
    ]
    # What does not exist says nothing of itself.
    findings = findings or [text for check in (_hardware, _images, _names, _counts, _arguments) for text in check(data)]
    if findings:
        raise CatalogueError("\n".join(f"{prefix}{text}" for text in findings))


def _hardware(data: Data) -> t.Iterator[str]:
    """A PCI ID names one GPU; a virtual function is one of its GPU's."""
    owners: dict[str, str] = {}
    for name, gpu in data["gpus"].items():
        for pci_id in gpu["pci_ids"]:
            if owners.setdefault(pci_id, name) != name:
                yield f"gpus.{name} and gpus.{owners[pci_id]} both claim PCI ID {pci_id}"
        for pci_id in gpu.get("virtual_pci_ids", ()):
            if pci_id not in gpu["pci_ids"]:
                yield f"gpus.{name}.virtual_pci_ids has {pci_id}, which is not in its pci_ids"


def _images(data: Data) -> t.Iterator[str]:
    """An image runs on the hardware that it is given to, on its vendor's driver."""
    for name, model in data["models"].items():
        for image_class, image in model["images"].items():
            hardware = data["images"][image]["hardware"]
            if image_class not in hardware:
                yield f"models.{name}.images.{image_class} names {image}, whose hardware is {', '.join(hardware)}"
    known = sorted({gpu["image_class"] for gpu in data["gpus"].values()})
    for name, image in data["images"].items():
        for image_class in image["hardware"]:
            if image_class not in known:
                yield f"images.{name}.hardware has {image_class}, which is no GPU's image_class ({', '.join(known)})"
        for gpu, entry in data["gpus"].items():
            if entry["image_class"] in image["hardware"] and entry["vendor"] != image["vendor"]:
                yield (
                    f"images.{name} is for {image['vendor']}, and its hardware {entry['image_class']} is that of gpus.{gpu}, "
                    f"which is {entry['vendor']}'s"
                )
        driver = "amdgpu" if image["vendor"] == "amd" else "nvidia"
        if image["driver"]["name"] != driver:
            yield f"images.{name}.driver.name is {image['driver']['name']}: that of {image['vendor']} is {driver}"


def _names(data: Data) -> t.Iterator[str]:
    """No two models answer to one name."""
    owners: dict[str, str] = {}
    for name in data["models"]:
        if owners.setdefault(name.lower(), name) != name:
            yield f"models.{name} and models.{owners[name.lower()]} differ in case alone"
    for name, model in data["models"].items():
        for alias in model.get("aliases", ()):
            owner = owners.setdefault(alias.lower(), name)
            if owner != name:
                yield f"models.{name}.aliases has {alias}, which is models.{owner}'s"


def _counts(data: Data) -> t.Iterator[str]:
    """A generator picks one of the counts that it offers."""
    for section in ("gpus", "models"):
        for name, entry in data[section].items():
            generator = entry.get("generator")
            if isinstance(generator, dict) and generator["default"] not in generator["counts"]:
                yield f"{section}.{name}.generator has the default {generator['default']}, which is not in its counts"


def _arguments(data: Data) -> t.Iterator[str]:
    """Server arguments of the catalogue obey the rules of an operator's."""
    for name, model in data["models"].items():
        for vendor, args in model["server_args"].items():
            for arg, value in args.items():
                yield from _argument(f"models.{name}.server_args.{vendor}.{arg}", arg, value)
    for name, issue in data["known_issues"].items():
        for arg, value in issue.get("change", {}).get("server_args", {}).items():
            yield from _argument(f"known_issues.{name}.change.server_args.{arg}", arg, value)


def _argument(where: str, name: str, value: t.Any) -> t.Iterator[str]:
    if name in OWNED_ARGS:
        yield f"{where}: the plan sets --{name} itself; remove it"
    else:
        problem = extra_arg_problem(name, value)
        if problem is not None:
            yield where + problem[len(f"fleet_server_args.{name}") :]


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
