# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan as texts to copy: the server's command, a ``docker run`` line, inventory variables. Pure.

Each takes the plan as a mapping (Plan.to_dict()).
"""

from __future__ import annotations

import json
import re
import shlex
import typing as t
from dataclasses import fields

from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import Wishes
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import gpus_text, numbers
from ansible_collections.sglang.fleet.plugins.module_utils._server_args import COMMAND

_Plan = t.Mapping[str, t.Any]
#: what narrows the GPUs that a process sees
_VISIBLE: t.Final = {"amd": "HIP_VISIBLE_DEVICES", "nvidia": "CUDA_VISIBLE_DEVICES"}
#: a wish -> its inventory variable, where that is not fleet_<wish>
_VARIABLES: t.Final = {"extra_args": "fleet_server_args"}


def command(plan: _Plan, instance: _Plan) -> str:
    """The server's command, an argument a line, as it is typed in the container of the plan's image.

    Comments above it say what the container does for it: which GPUs it sees, and the patches.
    """
    settings = [f"{name}={shlex.quote(value)}" for name, value in instance["environment"].items()]
    comments = []
    # A server takes the first GPUs that it sees.
    first = instance["server_args"].get("base-gpu-id", 0)
    if instance["gpus"] != list(range(first, first + len(instance["gpus"]))):
        variable = _VISIBLE[plan["vendor"]]
        listed = numbers(instance["gpus"]).replace(" ", "")
        comments.append(
            f"# where the server sees {gpus_text(instance['gpus'])} only, as in its container; else {variable}={listed}\n"
        )
    if plan["patches"]:
        names = ", ".join(patch["name"] for patch in plan["patches"])
        comments.append(f"# in an image with the patches {names}, which the docker run line applies\n")
    return "".join(comments) + _lines(" ".join([*settings, *COMMAND]), _options(instance["args"]))


def docker_run(plan: _Plan, instance: _Plan) -> str:
    """``docker run`` with the plan's container options; an image that needs patches gets them before the server starts."""
    options = [*instance["container_options"], plan["image"]["reference"]]
    start = f"docker run --detach --name sglang-{instance['name']}"
    patches = [patch_command(patch, plan["image"]["source_root"]) for patch in plan["patches"]]
    if not patches:
        return _lines(start, [*map(shlex.quote, options), " ".join(COMMAND), *_options(instance["args"])])
    script = " && ".join([*patches, "exec " + " ".join([*COMMAND, *map(shlex.quote, instance["args"])])])
    return _lines(start, [*map(shlex.quote, options), f"bash -c {shlex.quote(script)}"])


def patch_command(patch: t.Mapping[str, str], source_root: str) -> str:
    """A patch as a shell command in a container of the unpatched image, which fails where there is nothing to patch."""
    file = f"{source_root}/{patch['file']}"
    if patch["action"] == "rename":
        return f"mv {shlex.quote(file)} {shlex.quote(source_root + '/' + patch['to'])}"
    if patch["action"] == "comment_line":
        # The line stands indented in its file, and stays so.
        line = re.sub(r"([][\\.*^$/])", r"\\\1", patch["line"])
        found = f"grep -qx {shlex.quote(f'[[:space:]]*{line}[[:space:]]*')} {shlex.quote(file)}"
        change = shlex.quote(f"s/^\\([[:space:]]*\\)\\({line}[[:space:]]*\\)$/\\1#\\2/")
        return f"{found} && sed -i {change} {shlex.quote(file)}"
    if patch["action"] == "replace":
        words = " ".join(shlex.quote(word) for word in (file, patch["old"], patch["new"]))
        return f"python3 -c {shlex.quote(_REPLACE)} {words}"
    raise ValueError(f"patch {patch['name']}: unknown action {patch['action']}")


#: Python for a shell: a text of several lines to the letter is beyond sed.
_REPLACE: t.Final = (
    "import sys; path, old, new = sys.argv[1:]; text = open(path, newline='').read(); "
    "text.count(old) == 1 or sys.exit(f'{path}: the text to replace is there {text.count(old)} times'); "
    "open(path, 'w', newline='').write(text.replace(old, new))"
)


def inventory(plan: _Plan, wishes: Wishes) -> str:
    """The group variables that give this plan on hosts with these GPUs: the model, and what was not left to the defaults."""
    lines = [f"# {plan['count']} x {plan['gpu']}: layout {plan['layout']}, {plan['image']['reference']}"]
    lines.append(f"fleet_model: {_scalar(plan['model'])}")
    for field in fields(Wishes):
        value = getattr(wishes, field.name)
        default = field.default_factory() if callable(field.default_factory) else field.default
        if field.name == "model" or value == default:
            continue
        value = list(value) if isinstance(value, tuple) else value
        lines.append(f"{_VARIABLES.get(field.name, f'fleet_{field.name}')}: {_scalar(value)}")
    return "\n".join(lines)


_YAML_WORDS: t.Final = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


def _scalar(value: t.Any) -> str:
    """A value as YAML: plain text where it stays text, else JSON, which is YAML and quotes what needs it."""
    # A colon at the end would make it a key.
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z/]([A-Za-z0-9._/@:-]*[A-Za-z0-9._/@-])?", value)
    if plain and value.lower() not in _YAML_WORDS:
        return str(value)
    # JSON's pairs of escapes for characters beyond 16 bits are no YAML; what YAML takes for a line's end is escaped.
    text = json.dumps(value, ensure_ascii=False)
    return re.sub("[\x7f-\xa0\u2028\u2029\ufeff]", lambda match: f"\\u{ord(match[0]):04x}", text)


def _options(args: t.Sequence[str]) -> list[str]:
    """An option with its values, quoted for a shell, in one piece each."""
    pieces: list[str] = []
    for word in args:
        if word.startswith("--"):
            pieces.append(shlex.quote(word))
        else:
            pieces[-1] += f" {shlex.quote(word)}"
    return pieces


def _lines(first: str, others: t.Sequence[str]) -> str:
    return " \\\n  ".join([first, *others])
