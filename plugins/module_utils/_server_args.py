# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SGLang's server arguments: those that a plan sets, and what an operator may add to them. Pure."""

from __future__ import annotations

import re
import shlex
import typing as t

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import Model
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import Wishes

ArgValue = t.Union[str, int, float, bool, t.List[t.Union[str, int, float]]]  # noqa: UP006
ServerArgs = t.Dict[str, ArgValue]  # noqa: UP006

COMMAND: t.Final = ("python3", "-m", "sglang.launch_server")

#: server arguments that the plan sets, with the variable to use in their stead
OWNED_ARGS: t.Final[t.Mapping[str, str]] = {
    "model-path": "fleet_model",
    "model": "fleet_model",
    "host": "fleet_address",
    "port": "fleet_port",
    "tp": "fleet_layout",
    "tp-size": "fleet_layout",
    "tensor-parallel-size": "fleet_layout",
    "ep": "fleet_ep",
    "ep-size": "fleet_ep",
    "expert-parallel-size": "fleet_ep",
    "base-gpu-id": "fleet_layout",
    "context-length": "fleet_context_length",
    "mem-fraction-static": "fleet_mem_fraction_static",
    "enable-metrics": "fleet_enable_metrics",
    "api-key": "fleet_api_key",
    "admin-api-key": "fleet_api_key",
    "config": "fleet_server_args",
}

#: server arguments that change how many GPUs an instance takes, or which, or how the model is cut over them
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
        "attn-cp-size",
        "attention-context-parallel-size",
        "moe-dp-size",
        "moe-data-parallel-size",
    }
)
#: names of server arguments whose values are secrets; token ends such a name, and stands elsewhere in names of counts
_SECRET_ARG: t.Final = re.compile(r"(^|-)(password|secret|api-key)(-|$)|(^|-)token$")
_NAME: t.Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


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


def extra_arg_problem(name: t.Any, value: t.Any) -> str | None:
    """What is wrong with an entry of fleet_server_args, whatever the version; None when nothing is.

    Values are not shown: they may be secrets.
    """
    where = f"fleet_server_args.{name}"
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        dashed = re.sub(r"[^a-z0-9]+", "-", str(name).lower()).strip("-")
        return f"{where}: use SGLang's long option name without the leading dashes, as in {dashed}"
    if name in OWNED_ARGS:
        return f"{where}: the plan sets --{name} itself; use {OWNED_ARGS[name]} instead"
    if name in LAYOUT_ARGS:
        return (
            f"{where}: --{name} changes how many GPUs a server takes, or what each holds; the layout of one node is what is "
            "planned: remove it and use fleet_layout"
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
