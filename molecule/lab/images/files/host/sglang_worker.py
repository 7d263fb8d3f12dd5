"""Answers questions about one SGLang version out of its own code: run in that version's environment by worker.py.

One JSON document a line, on standard input and output: {"do": NAME, …} gives {"answer": …} or {"error": TEXT}.
Standard output belongs to the answers alone; what SGLang prints goes to standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import json
import linecache
import logging
import os
import sys
import time
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "launcher"))

#: parser types by name; what is not here is a string to the parser
TYPES = {"int": "int", "float": "float", "human_readable_int": "size", "loads": "json", "json_list_type": "json"}


class RefusedError(Exception):
    """The parser's message."""


class Parser(argparse.ArgumentParser):
    """argparse's own, but that a refusal is an exception: writing the usage of 350 options takes longer than all else."""

    def error(self, message: str) -> Any:
        raise RefusedError(message)


def new_parser() -> argparse.ArgumentParser:
    from sglang.srt.server_args import ServerArgs

    parser = Parser(prog="launch_server.py")
    ServerArgs.add_cli_args(parser)
    return parser


def merged(parser: argparse.ArgumentParser, words: list[str]) -> list[str]:
    """The command line with `--config FILE` merged in, as prepare_server_args does it."""
    if "--config" not in words:
        return words
    return list(config_merger(parser).merge_config_with_args(words))


def config_merger(parser: argparse.ArgumentParser) -> Any:
    from sglang.srt.server_args_config_parser import ConfigArgumentMerger

    if "parser" in inspect.signature(ConfigArgumentMerger).parameters:
        return ConfigArgumentMerger(parser)
    # 0.5.7's prepare_server_args looks for an attribute that no argparse action has: its list is always empty.
    return ConfigArgumentMerger(boolean_actions=[])


def flags() -> dict[str, dict[str, Any]]:
    """Every long option of the parser, in the parser's order."""
    parser = new_parser()
    merger = config_merger(parser)
    found = {}
    for action in parser._actions:
        if action.dest == "help":
            continue
        for option in action.option_strings:
            if option.startswith("--"):
                found[option[2:]] = {
                    **described(action),
                    **({} if in_config(parser, merger, action, option[2:]) else {"config": False}),
                }
    return found


def described(action: argparse.Action) -> dict[str, Any]:
    if action.nargs == 0:
        return {"dest": action.dest, "kind": "flag"}
    kind = {None: "value", "?": "optional"}.get(action.nargs, "list")  # type: ignore[call-overload]
    described: dict[str, Any] = {"dest": action.dest, "kind": kind}
    described["type"] = TYPES.get(getattr(action.type, "__name__", "str"), "str")
    if action.choices:
        # A set has another order in each process.
        unordered = isinstance(action.choices, (set, frozenset))
        described["choices"] = sorted(action.choices) if unordered else list(action.choices)
    return described


def in_config(parser: argparse.ArgumentParser, merger: Any, action: argparse.Action, name: str) -> bool:
    """Whether a configuration file may carry the option: SGLang's merger has no way for some kinds of options."""
    required = [word for other in parser._actions if other.required for word in (other.option_strings[0], "x")]
    samples = {"int": 1, "size": 1, "float": 0.5, "json": "[]", "str": "x"}
    value: Any = True if action.nargs == 0 else samples[described(action)["type"]]
    if action.choices:
        value = next(iter(action.choices))
    try:
        words = merger._convert_config_to_args({name: [value] if described(action)["kind"] == "list" else value})
        return isinstance(parse(parser, [*required, *words]), argparse.Namespace)
    except ValueError:
        return False


def parse(parser: argparse.ArgumentParser, words: list[str]) -> argparse.Namespace | str:
    """What the parser makes of the words, or its message."""
    try:
        return parser.parse_args(merged(parser, words))
    except RefusedError as refused:
        return str(refused)
    except Exception as error:  # what a type or an action raises, SGLang does not catch either
        return f"{type(error).__name__}: {error}"


def parse_all(vectors: list[list[str]], whole: bool) -> list[dict[str, Any] | str]:
    """For each vector the values of the options that it names (whole: of all), or the parser's message."""
    parser = new_parser()
    by_option = {option: action.dest for action in parser._actions for option in action.option_strings}
    answers: list[dict[str, Any] | str] = []
    for words in vectors:
        answer = parse(parser, words)
        if isinstance(answer, str):
            answers.append(answer)
            continue
        values = vars(answer)
        named = values if whole else {by_option[word] for word in words if word in by_option}
        answers.append({name: values[name] for name in named if name in values})
    return answers


def prepare_all(vectors: list[list[str]]) -> list[str | None]:
    """For each vector None, or why SGLang's `prepare_server_args` (all of `__post_init__`) and its checks refuse it.

    device=cpu, as the launcher's docstring says: nothing that asks for a GPU is exercised.
    """
    from sglang.srt.server_args import prepare_server_args

    answers: list[str | None] = []
    for words in vectors:
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said), _no_waiting():
                prepare_server_args(words).check_server_args()
            answers.append(None)
        except SystemExit:
            answers.append(said.getvalue().rpartition("error: ")[2].strip())
        except Exception as error:
            answers.append(f"{type(error).__name__}: {error}")
    return answers


@contextlib.contextmanager
def _no_waiting() -> Any:
    """SGLang asks the network for a file that the checkpoint lacks, three times with a second or two in between."""
    sleep, time.sleep = time.sleep, lambda _seconds: None
    try:
        yield
    finally:
        time.sleep = sleep


def fp8_blocks(sizes: list[list[int]]) -> list[str | None]:
    """For each [tp, ep] what `Fp8MoEMethod.create_weights` says to the experts of the real model, or None."""
    import lab_launcher

    answers: list[str | None] = []
    for tensor_parallel, expert_parallel in sizes:
        try:
            lab_launcher.check_fp8_blocks(tensor_parallel, expert_parallel)
            answers.append(None)
        except ValueError as error:
            answers.append(str(error))
    return answers


def heads(sizes: list[int], config: dict[str, Any]) -> list[dict[str, int] | str]:
    """For each tensor parallel size the shape of one rank's `MiniMaxM2Attention`, or the line that refuses it.

    The layer is SGLang's own, made on the meta device, which holds no memory. "k_norm" is how many weights the
    normalisation of the keys has, "keys" how wide the keys are that it is multiplied with.
    """
    import torch
    from sglang.srt.models import minimax_m2
    from sglang.srt.server_args import ServerArgs, set_global_server_args_for_scheduler

    set_global_server_args_for_scheduler(ServerArgs(model_path="dummy"))
    answers: list[dict[str, int] | str] = []
    for size in sizes:
        told = {
            "get_tensor_model_parallel_world_size": lambda size=size: size,
            "get_tensor_model_parallel_rank": lambda: 0,
        }
        with _told(told), torch.device("meta"):
            try:
                layer = minimax_m2.MiniMaxM2Attention(argparse.Namespace(**config))
            except (AssertionError, ValueError) as error:
                answers.append(_where(error))
                continue
        answers.append(
            {
                "heads": layer.num_heads,
                "kv_heads": layer.num_kv_heads,
                "keys": layer.kv_size,
                "k_norm": layer.k_norm.weight.numel(),
            }
        )
    return answers


def experts(count: int, sizes: list[int]) -> list[str | None]:
    """For each expert parallel size the line of SGLang's `FusedMoE` that refuses so many experts, or None."""
    import torch
    from sglang.srt.layers.moe.fused_moe_triton.layer import FusedMoE

    answers: list[str | None] = []
    for size in sizes:
        told = {
            "get_moe_expert_parallel_world_size": lambda size=size: size,
            "get_moe_expert_parallel_rank": lambda: 0,
            "get_moe_tensor_parallel_world_size": lambda: 1,
            "get_moe_tensor_parallel_rank": lambda: 0,
        }
        with _told(told), torch.device("meta"):
            try:
                FusedMoE(num_experts=count, hidden_size=3072, intermediate_size=1536, layer_id=0, top_k=8)
                answers.append(None)
            except AssertionError as error:
                answers.append(_where(error))
    return answers


def _where(error: BaseException) -> str:
    """The file and the line that raised it: SGLang's assertions have no message."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}: {linecache.getline(frame.filename, frame.lineno or 0).strip()}"


@contextlib.contextmanager
def _told(functions: dict[str, Callable[[], int]]) -> Any:
    """These functions in every module of SGLang that has them: there is no process group to ask for sizes and ranks."""
    kept = []
    for name, module in list(sys.modules.items()):
        if name.startswith("sglang.") and module is not None:
            for function, replacement in functions.items():
                if function in vars(module):
                    kept.append((module, function, vars(module)[function]))
                    setattr(module, function, replacement)
    try:
        yield
    finally:
        for module, function, original in kept:
            setattr(module, function, original)


def kv_tokens(cases: list[dict[str, Any]], shape: dict[str, int]) -> list[int]:
    """For each case what `profile_max_num_token` makes of a GPU's memory, for a model of this shape.

    A case: before and after (GiB that a GPU has left before and after the weights are loaded), fraction, tp and
    cache_type ("auto" being 16 bits). The method is SGLang's own; the model runner that it belongs to is a stand-in
    with the attributes that it reads.
    """
    import torch
    from sglang.srt.configs.model_config import ModelConfig
    from sglang.srt.model_executor import model_runner_kv_cache_mixin as module

    answers = []
    for case in cases:
        config = argparse.Namespace(
            head_dim=shape["head_dim"],
            v_head_dim=shape["head_dim"],
            is_hybrid_swa=False,
            full_attention_layer_ids=None,
            hf_config=argparse.Namespace(architectures=["MiniMaxM2ForCausalLM"]),
            get_total_num_kv_heads=lambda: shape["kv_heads"],
        )
        config.get_num_kv_heads = types.MethodType(ModelConfig.get_num_kv_heads, config)
        runner = argparse.Namespace(
            device="cuda",
            gpu_id=0,
            use_mla_backend=False,
            is_draft_worker=False,
            mambaish_config=None,
            num_effective_layers=shape["layers"],
            model_config=config,
            mem_fraction_static=case["fraction"],
            kv_cache_dtype=torch.bfloat16 if case["cache_type"] == "auto" else torch.float8_e4m3fn,
        )
        runner.get_cell_size_per_token = types.MethodType(
            module.ModelRunnerKVCacheMixin.get_cell_size_per_token, runner
        )
        module.get_available_gpu_memory = lambda *_, after=case["after"], **__: after
        module.get_attention_tp_size = lambda tp=case["tp"]: tp
        module.get_world_group = lambda: argparse.Namespace(world_size=1, cpu_group=None)
        answers.append(module.ModelRunnerKVCacheMixin.profile_max_num_token(runner, case["before"]))
    return answers


QUESTIONS: dict[str, Callable[..., Any]] = {
    "flags": flags,
    "parse_all": parse_all,
    "prepare_all": prepare_all,
    "fp8_blocks": fp8_blocks,
    "heads": heads,
    "experts": experts,
    "kv_tokens": kv_tokens,
}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    logging.disable(logging.ERROR)
    for line in sys.stdin:
        question = json.loads(line)
        try:
            document = {"answer": QUESTIONS[question.pop("do")](**question)}
        except Exception:
            document = {"error": traceback.format_exc()}
        print(json.dumps(document, default=str), file=answers, flush=True)


if __name__ == "__main__":
    main()
