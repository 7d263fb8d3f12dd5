# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SGLang's server arguments: those that a plan sets, and what an operator may add to them. Pure."""

from __future__ import annotations

import shlex
import typing as t

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import Model
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import Wishes

ArgValue = t.Union[str, int, float, bool, t.List[t.Union[str, int, float]]]  # noqa: UP006
ServerArgs = t.Dict[str, ArgValue]  # noqa: UP006

COMMAND: t.Final = ("python3", "-m", "sglang.launch_server")


def planned_args(model: Model, vendor: str, wishes: Wishes, tp: int, ep: int, fraction: float) -> ServerArgs:
    """SGLang's long option names without dashes, in the order of the published commands."""
    args: ServerArgs = {"model-path": model.id, "tp-size": tp}
    if ep > 1:
        args["ep-size"] = ep
    for name, parser, wish in (
        ("tool-call-parser", model.tool_call_parser, wishes.tool_call_parser),
        ("reasoning-parser", model.reasoning_parser, wishes.reasoning_parser),
    ):
        if parser is not None and (parser.default if wish is None else wish):
            args[name] = parser.name
    if model.trust_remote_code:
        args["trust-remote-code"] = True
    args["mem-fraction-static"] = fraction
    args.update(model.server_args.get(vendor, {}))
    if wishes.context_length is not None:
        args["context-length"] = wishes.context_length
    if wishes.enable_metrics:
        args["enable-metrics"] = True
    return args


def with_extra(args: ServerArgs, extra: t.Mapping[str, t.Any]) -> ServerArgs:
    """The operator's arguments over the plan's. SGLang's configuration file has no null, and false leaves a flag out: both
    take the argument away."""
    merged: dict[str, t.Any] = {**args, **extra}
    return {name: value for name, value in merged.items() if value is not None and value is not False}


def words(args: t.Mapping[str, ArgValue]) -> list[str]:
    """The arguments as words of a command line."""
    result: list[str] = []
    for name, value in args.items():
        result.append(f"--{name}")
        if isinstance(value, list):
            result += [str(item) for item in value]
        elif value is not True:
            result.append(str(value))
    return result


def command_line(args: t.Sequence[str]) -> str:
    """The command as a person would type it. args: its words after the module."""
    return " ".join([*COMMAND, *map(shlex.quote, args)])
