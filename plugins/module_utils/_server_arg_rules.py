# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which server arguments may be added to a plan's own, by an operator or by the catalogue. Pure."""

from __future__ import annotations

import re
import typing as t

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
