# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The planner's KV cache against SGLang's: its formula with the numbers of real GPUs, and a real server's own figure."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from images import environment, host, worker

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._fit import GIB, MIB, memory_of
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import Wishes, facts_for
from ansible_collections.sglang.fleet.plugins.module_utils._planner import make_plan

pytestmark = pytest.mark.lab

VERSIONS = host.sglang_versions()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_formula_is_sglangs_for_every_gpu(version: str) -> None:
    catalogue = load_catalogue()
    shape = catalogue.models["MiniMax-M2.7"].architecture
    cases: list[dict[str, Any]] = []
    planned = []
    for gpu in catalogue.gpus.values():
        for tp in (1, 2, 4, 8, 16):
            for cache_type in ("auto", "fp8_e4m3"):
                for fraction in (0.8, 0.85, 0.9):
                    fit = memory_of(shape, gpu, gpu.memory_mib, tp, fraction, cache_type, 204800)
                    before = (fit.memory - fit.reserved) / GIB
                    after = before - fit.weights / GIB
                    cases.append(
                        {"before": before, "after": after, "fraction": fraction, "tp": tp, "cache_type": cache_type}
                    )
                    planned.append(fit.kv_tokens)
    parts = {"layers": shape.layers, "kv_heads": shape.kv_heads, "head_dim": shape.head_dim}
    found = worker.sglang(version).kv_tokens(cases, parts)
    # SGLang goes below nothing where the weights do not fit, and refuses to start then.
    different = [
        (case, tokens, ours)
        for case, tokens, ours in zip(cases, found, planned, strict=True)
        if abs(max(tokens, 0) - ours) > 1  # its arithmetic is in floating point
    ]
    assert not different
    assert sum(tokens > 0 for tokens in found) > 200


# Lines that servers on real GPUs have printed: MiniMax-M2 in 16-bit KV cache on one RTX PRO 6000, part of its experts in
# the machine's memory (https://github.com/kvcache-ai/ktransformers/issues/1757).
@pytest.mark.parametrize("version", VERSIONS)
def test_a_real_gpus_log(version: str) -> None:
    case = {"before": 24.30 + 69.77, "after": 24.30, "fraction": 0.8, "tp": 1, "cache_type": "auto"}
    [tokens] = worker.sglang(version).kv_tokens([case], {"layers": 62, "kv_heads": 8, "head_dim": 128})
    assert tokens == pytest.approx(23063, rel=0.01)


CONTEXT = 4096
MEMORY_MIB, RESERVED_MIB, FRACTION = 576, 64, 0.05

#: what a CPU serves with, as the lab's launcher has it, but for the limit of the KV cache
CPU_OPTIONS = (
    *("--device", "cpu", "--attention-backend", "torch_native", "--grammar-backend", "none"),
    *("--kv-cache-dtype", "auto", "--max-running-requests", "4", "--sleep-on-idle"),
)


def tiny_model(version: str, folder: Path) -> Path:
    """The lab's checkpoint with a short context: the rotary table of 204800 positions is larger than the weights."""
    shutil.copytree(host.checkpoint(version), folder, dirs_exist_ok=True)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "max_position_embeddings": CONTEXT}))
    return folder


def tiny_plan(model: Path, version: str, port: int) -> dict[str, Any]:
    """A plan for that checkpoint on one GPU of the size that the server will be told."""
    config = json.loads((model / "config.json").read_text())
    overrides = {
        "architectures": {
            "tiny-m2": {
                "source": "molecule/lab/images/files/make_tiny_m2.py",
                "hidden_size": config["hidden_size"],
                "layers": config["num_hidden_layers"],
                "attention_heads": config["num_attention_heads"],
                "kv_heads": config["num_key_value_heads"],
                "head_dim": config["head_dim"],
                "moe_intermediate_size": config["intermediate_size"],
                "fp8_block_size": config["intermediate_size"],  # the toy is in BF16: nothing is cut into blocks
                "weights_bytes": (model / "model.safetensors").stat().st_size,
            }
        },
        "models": {
            "tiny": {
                "id": "lab/tiny-m2",
                "source": "molecule/lab/images/files/make_tiny_m2.py",
                "architecture": "tiny-m2",
                "context_length": CONTEXT,
                "licence": "none",
                "trust_remote_code": True,
                "mem_fraction_static": FRACTION,
                "images": {"mi30x": "v0.5.7-rocm700-mi30x"},
                "ep_equals_tp_at": {},
                "server_args": {},
            }
        },
        "vendors": {"amd": {"reserved_mib": RESERVED_MIB, "reserved_mib_per_rank": 0}},
    }
    catalogue = load_catalogue(overrides)
    wishes = Wishes(model="tiny", layout="1x1", sglang_version=version, port=port)
    return make_plan(catalogue, facts_for(catalogue, "MI300X", 1, MEMORY_MIB), wishes).to_dict()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(version: str, words: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    command, settings = host.sglang_python(version)
    settings |= {"LAB_MEMORY_MIB": str(MEMORY_MIB - RESERVED_MIB), "HF_MODULES_CACHE": str(folder / "modules")}
    script = environment.FILES / "host" / "measured_server.py"
    with (folder / "log").open("wb") as log:
        # Its own session: the scheduler and the detokenizer end with it, whatever state it is in.
        server = subprocess.Popen(
            [*command, str(script), *words],
            env=settings,
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def server_info(server: subprocess.Popen[bytes], port: int, log: Path) -> dict[str, Any]:
    """What the server says of itself as soon as it answers; what it has printed when it never does."""
    for _attempt in range(360):
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5) as answer:
                document: dict[str, Any] = json.load(answer)
                return document
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"no answer from SGLang; its last words:\n{log.read_text()[-4000:]}")


@dataclass(frozen=True)
class Figure:
    """What was planned for a server, and what it found."""

    planned: int
    found: int
    weights: int


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Figure]:
    """One server of each version; they start side by side."""
    with contextlib.ExitStack() as stack:
        started = {}
        for version in VERSIONS:
            folder = tmp_path_factory.mktemp(f"sglang-{version}")
            port, model = free_port(), tiny_model(version, folder / "model")
            [instance] = tiny_plan(model, version, port)["instances"]
            words = [*instance["args"]]
            words[words.index("--model-path") + 1] = str(model)
            server = stack.enter_context(running(version, [*words, *CPU_OPTIONS], folder))
            started[version] = (instance, model, server, port, folder)
        return {
            version: Figure(
                planned=instance["fit"]["kv_tokens"],
                found=server_info(server, port, folder / "log")["max_total_num_tokens"],
                weights=(model / "model.safetensors").stat().st_size,
            )
            for version, (instance, model, server, port, folder) in started.items()
        }


@pytest.mark.parametrize("version", VERSIONS)
def test_a_real_servers_figure(figures: dict[str, Figure], version: str) -> None:
    figure = figures[version]
    assert figure.found > 0
    assert figure.planned == pytest.approx(figure.found, rel=0.1)
    # So near that each part of the formula shows: without the weights, or the fraction taken of all the memory.
    bytes_per_token = 2 * 2 * 32 * 2 * 2
    without_weights = FRACTION * (MEMORY_MIB - RESERVED_MIB) * MIB // bytes_per_token
    of_all_memory = (FRACTION * MEMORY_MIB * MIB - figure.weights) // bytes_per_token
    assert without_weights != pytest.approx(figure.found, rel=0.1)
    assert of_all_memory != pytest.approx(figure.found, rel=0.1)
