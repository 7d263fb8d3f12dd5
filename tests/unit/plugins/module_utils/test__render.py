# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The texts to copy, to the letter, and what becomes of them in a shell and in YAML."""

from __future__ import annotations

import os
import shlex
import subprocess
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._patch import apply_patches
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import Wishes, facts_for
from ansible_collections.sglang.fleet.plugins.module_utils._planner import make_plan
from ansible_collections.sglang.fleet.plugins.module_utils._render import (
    command,
    docker_run,
    inventory,
    patch_command,
)

CATALOGUE = load_catalogue()


def plan_for(gpu: str, count: int, **wishes: t.Any) -> dict[str, t.Any]:
    return make_plan(CATALOGUE, facts_for(CATALOGUE, gpu, count), Wishes(**wishes)).to_dict()


def test_command() -> None:
    plan = plan_for("H200", 8)
    assert command(plan, plan["instances"][0]) == (
        "python3 -m sglang.launch_server \\\n"
        "  --model-path MiniMaxAI/MiniMax-M2.7 \\\n"
        "  --tp-size 8 \\\n"
        "  --ep-size 8 \\\n"
        "  --tool-call-parser minimax-m2 \\\n"
        "  --reasoning-parser minimax-append-think \\\n"
        "  --trust-remote-code \\\n"
        "  --mem-fraction-static 0.85 \\\n"
        "  --host 127.0.0.1 \\\n"
        "  --port 30000"
    )


def test_command_of_the_second_instance_with_lists_quotes_and_environment() -> None:
    plan = plan_for(
        "H200", 8, layout="2x4", extra_args={"cuda-graph-bs": [1, 2], "json-model-override-args": '{"a": 1}'}
    )
    instance = {**plan["instances"][1], "environment": {"A": "1", "B": "x y"}}
    assert command(plan, instance) == (
        "# where the server sees GPUs 4 to 7 only, as in its container; else CUDA_VISIBLE_DEVICES=4,5,6,7\n"
        "A=1 B='x y' python3 -m sglang.launch_server \\\n"
        "  --model-path MiniMaxAI/MiniMax-M2.7 \\\n"
        "  --tp-size 4 \\\n"
        "  --tool-call-parser minimax-m2 \\\n"
        "  --reasoning-parser minimax-append-think \\\n"
        "  --trust-remote-code \\\n"
        "  --mem-fraction-static 0.85 \\\n"
        "  --cuda-graph-bs 1 2 \\\n"
        "  --json-model-override-args '{\"a\": 1}' \\\n"
        "  --host 127.0.0.1 \\\n"
        "  --port 30001"
    )


def test_what_a_command_says_that_the_container_does_for_it() -> None:
    def comments(plan: dict[str, t.Any], number: int = 0) -> list[str]:
        lines = command(plan, plan["instances"][number]).splitlines()
        return [line for line in lines if line.startswith("#")]

    assert comments(plan_for("H200", 8)) == []
    assert comments(plan_for("MI300X", 8, layout="4x2"), 1) == [
        "# where the server sees GPUs 2, 3 only, as in its container; else HIP_VISIBLE_DEVICES=2,3"
    ]
    # A server that sees every GPU is told its first.
    assert comments(plan_for("H200", 8, layout="2x4", profile="cookbook"), 1) == []
    assert comments(plan_for("MI300X", 4, model="M2.1")) == [
        "# in an image with the patches transformers-module-name, minimax-m2-torch-compile, which the docker run line applies"
    ]


def test_docker_run() -> None:
    plan = plan_for("H200", 8, layout="2x4")
    assert docker_run(plan, plan["instances"][1]) == (
        "docker run --detach --name sglang-1 \\\n"
        "  --network=host \\\n"
        "  --ipc=private \\\n"
        "  --shm-size=32g \\\n"
        "  --ulimit=memlock=-1 \\\n"
        "  --ulimit=stack=67108864 \\\n"
        "  --init \\\n"
        "  '--gpus=\"device=4,5,6,7\"' \\\n"
        "  --device=/dev/nvidiactl \\\n"
        "  --device=/dev/nvidia-uvm \\\n"
        "  --device=/dev/nvidia-uvm-tools \\\n"
        "  --device=/dev/nvidia4 \\\n"
        "  --device=/dev/nvidia5 \\\n"
        "  --device=/dev/nvidia6 \\\n"
        "  --device=/dev/nvidia7 \\\n"
        "  --security-opt=no-new-privileges \\\n"
        "  --volume=/var/lib/sglang-fleet/huggingface:/root/.cache/huggingface \\\n"
        "  --label=sglang.fleet.reference=lmsysorg/sglang:v0.5.10.post1 \\\n"
        "  lmsysorg/sglang:v0.5.10.post1 \\\n"
        "  python3 -m sglang.launch_server \\\n"
        "  --model-path MiniMaxAI/MiniMax-M2.7 \\\n"
        "  --tp-size 4 \\\n"
        "  --tool-call-parser minimax-m2 \\\n"
        "  --reasoning-parser minimax-append-think \\\n"
        "  --trust-remote-code \\\n"
        "  --mem-fraction-static 0.85 \\\n"
        "  --host 127.0.0.1 \\\n"
        "  --port 30001"
    )


def test_docker_run_of_an_image_that_needs_patches() -> None:
    plan = plan_for("MI300X", 4, model="M2.1", profile="cookbook")
    models = "/sgl-workspace/sglang/python/sglang/srt/models"
    script = (
        f"mv {models}/transformers.py {models}/hf_transformers_model.py"
        r" && grep -qx '[[:space:]]*@torch\.compile(dynamic=True, backend=get_compiler_backend())[[:space:]]*'"
        f" {models}/minimax_m2.py"
        r" && sed -i 's/^\([[:space:]]*\)\(@torch\.compile(dynamic=True, backend=get_compiler_backend())[[:space:]]*\)$/\1#\2/'"
        f" {models}/minimax_m2.py"
        " && exec python3 -m sglang.launch_server --model-path MiniMaxAI/MiniMax-M2.1 --tp-size 4 --trust-remote-code"
        " --mem-fraction-static 0.85 --host 127.0.0.1 --port 30000"
    )
    assert docker_run(plan, plan["instances"][0]) == (
        "docker run --detach --name sglang-0 \\\n"
        "  --ipc=host \\\n"
        "  --network=host \\\n"
        "  --privileged \\\n"
        "  --cap-add=CAP_SYS_ADMIN \\\n"
        "  --device=/dev/kfd \\\n"
        "  --device=/dev/dri \\\n"
        "  --device=/dev/mem \\\n"
        "  --group-add=video \\\n"
        "  --cap-add=SYS_PTRACE \\\n"
        "  --security-opt=seccomp=unconfined \\\n"
        "  --volume=/:/work \\\n"
        "  --env=SHELL=/bin/bash \\\n"
        "  --volume=/var/lib/sglang-fleet/huggingface:/root/.cache/huggingface \\\n"
        "  --label=sglang.fleet.reference=lmsysorg/sglang:v0.5.7-rocm700-mi30x \\\n"
        "  lmsysorg/sglang:v0.5.7-rocm700-mi30x \\\n"
        f"  bash -c {shlex.quote(script)}"
    )


NASTY: dict[str, t.Any] = {
    "served-model-name": 'it\'s $(date) `x` \\ "q"',
    "json-model-override-args": '{"a": [1, "b c"]}',
    "chat-template": "--dashed $HOME",
    "cuda-graph-bs": [1, 2],
}


@pytest.mark.parametrize("model", ["M2.1", "M2.7"])
def test_a_shell_reads_back_the_plan_s_own_words(model: str) -> None:
    """Whatever stands in the arguments: nothing is split, expanded or run."""
    plan = plan_for("MI300X", 8, model=model, layout="2x4")
    server_args = {**plan["instances"][1]["server_args"], **NASTY}
    args = [
        word
        for name, value in server_args.items()
        for word in (f"--{name}", *([] if value is True else map(str, value if isinstance(value, list) else [value])))
    ]
    instance = {**plan["instances"][1], "args": args}
    whole = ["python3", "-m", "sglang.launch_server", *args]
    assert in_shell(command(plan, instance)) == whole
    started = in_shell(docker_run(plan, instance))
    at = started.index(plan["image"]["reference"])
    assert started[:at] == ["docker", "run", "--detach", "--name", "sglang-1", *instance["container_options"]]
    if model == "M2.7":
        assert started[at + 1 :] == whole
    else:
        assert started[at + 1 : at + 3] == ["bash", "-c"]
        assert len(started) == at + 4
        assert in_shell(started[at + 3].rpartition(" && exec ")[2]) == whole


def in_shell(text: str) -> list[str]:
    """The words as bash makes them of the text."""
    script = f"words=({text})\nprintf '%s\\0' \"${{words[@]}}\""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.split("\0")[:-1]


# The patches, in a real shell.
LINE = "@torch.compile(dynamic=True, backend=get_compiler_backend())"
SOURCE = f"""import torch


class Norm:
    {LINE}
    def forward(self):
        return "{LINE}"


# {LINE}
{LINE.replace(".", "x")}
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The two files as the image has them: the decorator stands in a class."""
    models = tmp_path / "sglang root" / "srt" / "models"
    models.mkdir(parents=True)
    (models / "transformers.py").write_text("x = 1\n", "utf-8")
    (models / "minimax_m2.py").write_text(SOURCE, "utf-8")
    return tmp_path / "sglang root"


def run_container(root: Path, tmp_path: Path) -> tuple[int, list[str] | None]:
    """The container's command line of a patched plan, with a python3 that notes what it is started with."""
    plan = plan_for("MI300X", 4, model="M2.1")
    plan["image"]["source_root"] = str(root)
    text = docker_run(plan, plan["instances"][0])
    words = in_shell(text)
    (tmp_path / "bin").mkdir(exist_ok=True)
    python, started = tmp_path / "bin" / "python3", tmp_path / "started"
    python.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > {shlex.quote(str(started))}\n", "utf-8")
    python.chmod(0o755)
    done = subprocess.run(
        words[words.index("bash") :],
        env={"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert plan["instances"][0]["args"][:2] == ["--model-path", "MiniMaxAI/MiniMax-M2.1"]
    return done.returncode, started.read_text("utf-8").split("\n")[:-1] if started.exists() else None


def contents(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text("utf-8") for path in root.rglob("*.py")}


def test_the_patched_image_s_command_patches_and_starts(tree: Path, tmp_path: Path) -> None:
    rc, started = run_container(tree, tmp_path)
    assert (rc, started) == (
        0,
        [
            "-m",
            "sglang.launch_server",
            "--model-path",
            "MiniMaxAI/MiniMax-M2.1",
            "--tp-size",
            "4",
            "--trust-remote-code",
            "--mem-fraction-static",
            "0.85",
            "--host",
            "127.0.0.1",
            "--port",
            "30000",
        ],
    )
    assert contents(tree) == {
        "srt/models/hf_transformers_model.py": "x = 1\n",
        "srt/models/minimax_m2.py": SOURCE.replace(f"    {LINE}\n", f"    #{LINE}\n"),
    }


def test_the_shell_s_patch_is_the_image_s_own(tree: Path, tmp_path: Path) -> None:
    """The same tree, patched as a derived image is."""
    other = tmp_path / "other"
    other.mkdir()
    for name, text in contents(tree).items():
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_text(text.replace(LINE.replace(".", "x"), ""), "utf-8")
        (tree / name).write_text(text.replace(LINE.replace(".", "x"), ""), "utf-8")
    run_container(tree, tmp_path)
    apply_patches(str(other), CATALOGUE.images["v0.5.7-rocm700-mi30x"].patches)
    assert contents(tree) == contents(other)


@pytest.mark.parametrize("missing", ["the line", "the file of the line", "the file to rename"])
def test_nothing_starts_where_there_is_nothing_to_patch(tree: Path, tmp_path: Path, missing: str) -> None:
    models = tree / "srt" / "models"
    if missing == "the line":
        (models / "minimax_m2.py").write_text(SOURCE.replace(f"    {LINE}\n", ""), "utf-8")
    else:
        (models / ("minimax_m2.py" if missing == "the file of the line" else "transformers.py")).unlink()
    rc, started = run_container(tree, tmp_path)
    assert rc != 0
    assert started is None


ODD_LINES = ["a[0] = b.c * d^2 $", "x = r'\\n' / y", "f(a | b) + {c}?", "it's & that"]


@pytest.mark.parametrize("line", ODD_LINES)
def test_a_line_is_taken_to_the_letter(tmp_path: Path, line: str) -> None:
    file = tmp_path / "a.py"
    near = f"z{line[1:]}"
    file.write_text(f"{line}\n\t{line} \n{near}\n{line} # more\n", "utf-8")
    shell = patch_command({"name": "p", "file": "a.py", "action": "comment_line", "line": line}, str(tmp_path))
    subprocess.run(["bash", "-c", shell], check=True)
    assert file.read_text("utf-8") == f"#{line}\n\t#{line} \n{near}\n{line} # more\n"


def test_a_text_is_replaced_to_the_letter(tmp_path: Path) -> None:
    """The same as in a derived image, over lines and whatever a shell makes of the characters."""
    old, new = "if a:\n    return 'it\\'s $x'\n", "# `b` \\1 &\n"
    patch = {"name": "p", "file": "a.py", "action": "replace", "old": old, "new": new}
    for folder in ("shell", "image"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.py").write_text(f"x = 1\n{old}y = 2\r\n", "utf-8")
    done = subprocess.run(["bash", "-c", patch_command(patch, str(tmp_path / "shell"))], check=False)
    assert done.returncode == 0
    apply_patches(str(tmp_path / "image"), [patch])
    assert contents(tmp_path / "shell") == contents(tmp_path / "image") == {"a.py": f"x = 1\n{new}y = 2\n"}


@pytest.mark.parametrize("text", ["z = 1\n", "x = 1\nx = 1\n"])
def test_a_text_that_is_not_there_once_stops_the_shell(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.py").write_text(text, "utf-8")
    patch = {"name": "p", "file": "a.py", "action": "replace", "old": "x = 1", "new": "x = 2"}
    done = subprocess.run(
        ["bash", "-c", patch_command(patch, str(tmp_path))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "the text to replace is there" in done.stderr
    assert (tmp_path / "a.py").read_text("utf-8") == text


def test_an_unknown_action_is_no_command() -> None:
    with pytest.raises(ValueError, match=r"^patch p: unknown action wipe$"):
        patch_command({"name": "p", "file": "a.py", "action": "wipe"}, "/x")


# The inventory.
def test_inventory_of_the_defaults_is_the_model() -> None:
    assert inventory(plan_for("H200", 8), Wishes()) == (
        "# 8 x H200: layout 1x8, lmsysorg/sglang:v0.5.10.post1\nfleet_model: MiniMax-M2.7"
    )


EVERY_WISH: dict[str, t.Any] = {
    "model": "M2.5",
    "layout": "2x4",
    "ep": 2,
    "profile": "cookbook",
    "address": "10.0.0.7",
    "port": 31000,
    "context_length": 65536,
    "mem_fraction_static": 0.9,
    "reasoning_parser": True,
    "tool_call_parser": False,
    "enable_metrics": True,
    "extra_args": {"schedule-policy": "lpm", "log-requests": True},
    "image": "mirror.example:5000/sglang:v1",
    "sglang_version": "0.5.10.post1",
    "weights_dir": "/data/hf",
    "allow_known_issues": ("a100-fp8",),
    "patches": ({"name": "ours", "file": "a.py", "action": "comment_line", "line": "@x", "why": "w", "source": "s"},),
}


def test_inventory_of_every_wish() -> None:
    assert set(EVERY_WISH) == set(Wishes.__dataclass_fields__)
    assert inventory(plan_for("H200", 8, **EVERY_WISH), Wishes(**EVERY_WISH)) == (
        "# 8 x H200: layout 2x4, mirror.example:5000/sglang:v1\n"
        "fleet_model: MiniMax-M2.5\n"
        'fleet_layout: "2x4"\n'
        "fleet_ep: 2\n"
        "fleet_profile: cookbook\n"
        'fleet_address: "10.0.0.7"\n'
        "fleet_port: 31000\n"
        "fleet_context_length: 65536\n"
        "fleet_mem_fraction_static: 0.9\n"
        "fleet_reasoning_parser: true\n"
        "fleet_tool_call_parser: false\n"
        "fleet_enable_metrics: true\n"
        'fleet_server_args: {"schedule-policy": "lpm", "log-requests": true}\n'
        "fleet_image: mirror.example:5000/sglang:v1\n"
        'fleet_sglang_version: "0.5.10.post1"\n'
        "fleet_weights_dir: /data/hf\n"
        'fleet_allow_known_issues: ["a100-fp8"]\n'
        'fleet_patches: [{"name": "ours", "file": "a.py", "action": "comment_line", "line": "@x", "why": "w", "source": "s"}]'
    )


def read_back(text: str) -> Wishes:
    """The inventory's variables as wishes, as an operator's group_vars would be read."""
    values = {name.removeprefix("fleet_"): value for name, value in yaml.safe_load(text).items()}
    if "server_args" in values:
        values["extra_args"] = values.pop("server_args")
    for name in {"allow_known_issues", "patches"} & set(values):
        values[name] = tuple(values[name])
    return Wishes(**values)


ROUND: list[dict[str, t.Any]] = [
    {},
    EVERY_WISH,
    {"layout": "2x4", "tool_call_parser": False, "reasoning_parser": True},
    {"model": "m2.7", "ep": 1, "layout": "2x4"},
    {"address": "fd00::"},
    {"address": "::1"},
    {"address": "gpu-01.example.org", "image": "a@sha256:" + "0" * 64},
    {"address": "on", "weights_dir": "/a@b/2026-01-01"},
    {"sglang_version": "0.5.9", "mem_fraction_static": 0.8},
    {
        "extra_args": {
            "served-model-name": 'it\'s: "x" # y\n\u00e9 \U0001f600\u2028\x85',
            "trust-remote-code": None,
            "cuda-graph-bs": [1, 2],
        }
    },
    {"allow_known_issues": ("a100-fp8", "streaming-tool-calls")},
]


@pytest.mark.parametrize("wishes", ROUND)
def test_inventory_read_back_gives_the_same_plan(wishes: dict[str, t.Any]) -> None:
    plan = plan_for("H200", 8, **wishes)
    again = read_back(inventory(plan, Wishes(**wishes)))
    assert make_plan(CATALOGUE, facts_for(CATALOGUE, "H200", 8), again).to_dict() == plan


@pytest.mark.parametrize("name", ["2.5", "yes", "null", "1e3", "a: b", "x:", "~", "1_000", "- a", "2026-01-01", "é"])
def test_a_model_of_any_name_stays_a_text(name: str) -> None:
    text = inventory({**plan_for("H200", 8), "model": name}, Wishes())
    assert yaml.safe_load(text) == {"fleet_model": name}
