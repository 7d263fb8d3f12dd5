"""Let SGLang judge the production command line, then serve with what a CPU can do.

This is the only stand-in in the lab's images. For each server launch it
1. gives the whole command line, `--config FILE` merged in, to SGLang's own `prepare_server_args`, with nothing
   taken out; what SGLang refuses ends here, with SGLang's message and exit status;
2. writes what was accepted to standard error and to /var/log/lab-launcher.jsonl, secrets blanked;
3. appends CPU values for the GPU-only options and lets the launch go on, in the same process and with SGLang's
   unchanged code. The last value of an option wins, so nothing of the production line is removed, and a key that
   came from a file never gets on the command line.

Exercised, by SGLang's own code and with the production values: the argument parser, the merging of the
configuration file, the choices of each option (parsers, KV cache types, attention backends), all of
`ServerArgs.__post_init__` with `device=cpu` (model configuration found and read, context length against the
model's, load-balancing, deprecated and conflicting options), `check_server_args`, and the FP8 block rule of
`Fp8MoEMethod.create_weights` with the shape of the real model.
Not exercised: whatever asks which GPU there is (`is_cuda`, `is_hip`, compute capability, GPU memory), so neither
the backend that SGLang would choose itself nor memory fit; NCCL or RCCL; kernels, CUDA graphs, the FP8 KV cache;
and tensor or expert parallel execution, as one process serves.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
import traceback
from typing import Any

RECORD = "/var/log/lab-launcher.jsonl"

# Without these SGLang looks for a GPU, for torch's compiler, and for the network.
ENVIRONMENT = {
    "SGLANG_USE_CPU_ENGINE": "1",
    "TORCHDYNAMO_DISABLE": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

# What a CPU serves with, whatever the production line says.
CPU_OPTIONS = {
    "device": "cpu",
    "tensor-parallel-size": "1",
    "expert-parallel-size": "1",
    "data-parallel-size": "1",
    "pipeline-parallel-size": "1",
    "kv-cache-dtype": "auto",
    "attention-backend": "torch_native",
    "grammar-backend": "none",
    "max-total-tokens": "16384",
}
# Without it an idle scheduler spins, and a few servers share one small machine.
CPU_FLAGS = ("--sleep-on-idle",)
# The same, where the production line sets the option at all.
CPU_OPTIONS_IF_SET = {
    "prefill-attention-backend": "torch_native",
    "decode-attention-backend": "torch_native",
    "sampling-backend": "pytorch",
    "moe-runner-backend": "auto",
    "moe-a2a-backend": "none",
}
# SGLang keeps one table row of the full context length per running request: 0.8 MB each.
MAX_RUNNING_REQUESTS = 64

SECRETS = ("api_key", "admin_api_key", "ssl_keyfile_password")

# The MoE layers of the models whose names the checkpoint answers to (their config.json on Hugging Face).
FP8_MODELS = ("MiniMaxAI/MiniMax-M2", "MiniMaxAI/MiniMax-M2.1", "MiniMaxAI/MiniMax-M2.5", "MiniMaxAI/MiniMax-M2.7")
HIDDEN, MOE_INTERMEDIATE, EXPERTS, FP8_BLOCK = 3072, 1536, 256, 128


def run(entry: str) -> None:
    """Judge this process's launch; on success sys.argv has the CPU options and the launch goes on."""
    first = 2 if entry == "serve" else 1
    arguments = sys.argv[first:]
    if "-h" in arguments or "--help" in arguments:
        return
    os.environ.update(ENVIRONMENT)
    # Imported before the fork, so that the server finds them loaded; everything with an effect is in the child.
    import sglang.srt.server_args  # noqa: I001
    import sglang.srt.configs.model_config  # noqa: F401

    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(entry, arguments, writer)
    os.close(writer)
    with os.fdopen(reader) as answer:
        options = answer.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status != 0:
        # site.py is running: an exception would be reported as its own failure.
        os._exit(status if status > 0 else 128 - status)
    sys.argv += json.loads(options)


def _child(entry: str, arguments: list[str], writer: int) -> None:
    """Never returns: exit status 0 with the options to append written to the pipe, or SGLang's own failure."""
    status = 1
    if entry == "launch_server":
        sys.argv[0] = "launch_server.py"  # what runpy will put there; it is in the parser's messages
    try:
        options = _judge(entry, arguments)
        os.write(writer, json.dumps(options).encode())
        status = 0
    except SystemExit as stop:  # argparse has printed its message
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _judge(entry: str, arguments: list[str]) -> list[str]:
    import logging

    from sglang.srt.server_args import ServerArgs, prepare_server_args
    from sglang.version import __version__

    logging.disable(logging.WARNING)  # the server says the same things again

    parsed: dict[str, Any] = {}
    parse_args = argparse.ArgumentParser.parse_args

    def recording_parse_args(self: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> Any:
        answer = parse_args(self, args, namespace)
        if hasattr(answer, "tensor_parallel_size"):
            parsed.update(parser=self, words=list(args), values=dict(vars(answer)))
        return answer

    argparse.ArgumentParser.parse_args = recording_parse_args  # type: ignore[method-assign]
    server_args: ServerArgs = prepare_server_args(_without_model_type(entry, arguments))
    argparse.ArgumentParser.parse_args = parse_args  # type: ignore[method-assign]

    server_args.check_server_args()
    if parsed["values"]["model_path"] in FP8_MODELS:
        check_fp8_blocks(parsed["values"]["tensor_parallel_size"], parsed["values"]["expert_parallel_size"])

    values = parsed["values"]
    set_values = {name: value for name, value in values.items() if value != parsed["parser"].get_default(name)}
    options = _cpu_options(set_values)
    secrets = {str(values[name]) for name in SECRETS if values.get(name)}
    words = [_blank(word, secrets) for word in parsed["words"]]
    print(f"lab-launcher: SGLang {__version__} ServerArgs accepted: {shlex.join(words)}", file=sys.stderr)
    print(f"lab-launcher: serving on the CPU with {shlex.join(options)}", file=sys.stderr, flush=True)
    record = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "sglang": __version__,
        "entry": entry,
        "accepted": words,
        "values": {name: "***" if name in SECRETS else value for name, value in set_values.items()},
        "cpu_options": options,
    }
    with open(RECORD, "a") as file:
        file.write(json.dumps(record, default=str) + "\n")
    return options


def _without_model_type(entry: str, arguments: list[str]) -> list[str]:
    """`sglang serve` takes --model-type for itself before ServerArgs sees the line."""
    if entry != "serve" or "--model-type" not in arguments:
        return arguments
    place = arguments.index("--model-type")
    return arguments[:place] + arguments[place + 2 :]


def _cpu_options(set_values: dict[str, Any]) -> list[str]:
    options = dict(CPU_OPTIONS)
    options.update({name: cpu for name, cpu in CPU_OPTIONS_IF_SET.items() if name.replace("-", "_") in set_values})
    options["max-running-requests"] = str(min(set_values.get("max_running_requests") or 64, MAX_RUNNING_REQUESTS))
    return [*(word for name, value in options.items() for word in (f"--{name}", value)), *CPU_FLAGS]


def _blank(word: str, secrets: set[str]) -> str:
    if word in secrets:
        return "***"
    option, equals, value = word.partition("=")
    return f"{option}=***" if equals and value in secrets else word


def check_fp8_blocks(tensor_parallel: int, expert_parallel: int) -> None:
    """Have SGLang create (without memory) the FP8 expert weights that one GPU would hold; ValueError if it cannot.

    On a GPU this happens while the model is loaded. SGLang shards an expert over tp / ep GPUs, and each shard must
    be whole 128 × 128 blocks: TP 8 without EP gives 192 and fails.
    """
    import torch
    from sglang.srt.layers.quantization import fp8

    fp8.get_tensor_model_parallel_world_size = lambda: tensor_parallel
    method = fp8.Fp8MoEMethod(
        fp8.Fp8Config(
            is_checkpoint_fp8_serialized=True,
            activation_scheme="dynamic",
            weight_block_size=[FP8_BLOCK, FP8_BLOCK],
        )
    )
    with torch.device("meta"):
        method.create_weights(
            layer=torch.nn.Module(),
            num_experts=EXPERTS // expert_parallel,
            hidden_size=HIDDEN,
            intermediate_size_per_partition=MOE_INTERMEDIATE // (tensor_parallel // expert_parallel),
            params_dtype=torch.bfloat16,
            weight_loader=None,
        )
