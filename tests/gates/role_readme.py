# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role README files from their argument specs: ``make docs`` writes them, a gate checks them.

What stands between the two marks is made from ``meta/argument_specs.yml``; everything
else in a README is written by people and stays as it is.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.gates.support import ROOT

BEGIN = "<!-- variables: made from meta/argument_specs.yml by `make docs` -->"
END = "<!-- end of variables -->"
ROLES = sorted(path.parent for path in (ROOT / "roles").glob("*/tasks"))

_LINK = re.compile(r"\bL\(([^,]+),\s*([^)]+)\)")
_REFERENCE = re.compile(r"\b[MP]\(([\w.]+)(?:#\w+)?\)")
_LITERAL = re.compile(r"\b[CVOEI]\(([^)]*)\)")
_BOLD = re.compile(r"\bB\(([^)]*)\)")
_URL = re.compile(r"\bU\(([^)]*)\)")


def specs(role: Path) -> dict[str, Any]:
    """Return the entry points of a role's argument specs, by name."""
    text = (role / "meta" / "argument_specs.yml").read_text()
    entries: dict[str, Any] = yaml.safe_load(text)["argument_specs"]
    return entries


def defaults(role: Path) -> dict[str, Any]:
    """Return a role's defaults as written, templates and all."""
    path = role / "defaults" / "main.yml"
    return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


def markdown(text: str | list[str]) -> str:
    """Turn Ansible's documentation markup into Markdown; paragraphs of a list become one."""
    joined = " ".join([text] if isinstance(text, str) else text)
    joined = _LINK.sub(r"[\1](\2)", joined)
    joined = _REFERENCE.sub(r"`\1`", joined)
    joined = _LITERAL.sub(r"`\1`", joined)
    joined = _BOLD.sub(r"**\1**", joined)
    return _URL.sub(r"<\1>", joined).strip()


def _rows(options: dict[str, Any], given: dict[str, Any], prefix: str = "") -> list[str]:
    """Return table rows for options and, named after their parent, their suboptions.

    A template as a default cannot stand in the specs (the type would not fit), so it comes from ``given``.
    """
    rows = []
    for name, option in options.items():
        kind = option.get("type", "str")
        if "elements" in option:
            kind += f" of {option['elements']}"
        value = option.get("default", given.get(name))
        if option.get("required"):
            default = "required"
        else:
            default = "" if value is None else f"`{value if _is_template(value) else json.dumps(value)}`"
        text = markdown(option.get("description", ""))
        if "choices" in option:
            text += " One of " + ", ".join(f"`{choice}`" for choice in option["choices"]) + "."
        cells = [f"`{prefix}{name}`", kind, default, text]
        rows.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
        rows += _rows(option.get("options", {}), {}, f"{prefix}{name}.")
    return rows


def _is_template(value: Any) -> bool:
    return isinstance(value, str) and "{{" in value


def variables(role: Path) -> str:
    """Return the block between the marks, marks included."""
    lines = [BEGIN]
    for name, entry in specs(role).items():
        options = entry.get("options") or {}
        heading = "## Variables" if name == "main" else f"## Variables of `tasks_from: {name}`"
        lines += ["", heading, ""]
        if options:
            lines += ["| name | type | default | what it does |", "|---|---|---|---|", *_rows(options, defaults(role))]
        else:
            lines.append("None.")
    return "\n".join([*lines, "", END])


def rendered(role: Path) -> str:
    """Return the README as it should be: the present one with its block replaced, or a first one."""
    readme = role / "README.md"
    block = variables(role)
    if readme.exists() and BEGIN in (text := readme.read_text()) and END in text:
        return text[: text.index(BEGIN)] + block + text[text.index(END) + len(END) :]
    main = specs(role)["main"]
    title = f"# sglang.fleet.{role.name}\n\n{markdown(main['short_description'])}.\n"
    about = "\n".join(markdown(line) + "\n" for line in _as_list(main.get("description", [])))
    example = (
        "```yaml\n- name: Apply the role\n  hosts: gpu_nodes\n  tasks:\n"
        f"    - name: {main['short_description']}\n      ansible.builtin.include_role:\n"
        f"        name: sglang.fleet.{role.name}\n```\n"
    )
    return "\n".join([title, about, example, block, ""])


def _as_list(text: str | list[str]) -> list[str]:
    return [text] if isinstance(text, str) else text


def main() -> None:
    """Write every README that is not as it should be."""
    for role in ROLES:
        wanted = rendered(role)
        readme = role / "README.md"
        if not readme.exists() or readme.read_text() != wanted:
            readme.write_text(wanted)
            sys.stdout.write(f"wrote {readme.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
