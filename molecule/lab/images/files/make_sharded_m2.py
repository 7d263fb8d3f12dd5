#!/usr/bin/env python3
"""Write a MiniMax-M2 checkpoint in shards: make_sharded_m2.py FOLDER CONTEXT_LENGTH.

make_tiny_m2.py's model with more and wider experts: about 126 MB in SHARDS files, so that a download takes time and
has parts that can be damaged one by one. It answers as the tiny one does, for the experts still add zero. The bytes
are the same wherever they are made: whole numbers are drawn, which a processor's vector unit does not change.

Beside what a server needs there is what a model's repository has too: a README, a licence, a picture, git's settings.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import make_tiny_m2 as tiny
import torch
from safetensors.torch import save_file

SHARDS = 16
EXPERTS, INTERMEDIATE = 16, 1280

BESIDE = {
    ".gitattributes": "*.safetensors filter=lfs diff=lfs merge=lfs -text\n",
    "README.md": "---\npipeline_tag: text-generation\n---\nA toy of the lab.\n",
    "LICENSE": "As the lab itself.\n",
    "figures/bench.svg": '<svg xmlns="http://www.w3.org/2000/svg"/>\n',
}


def whole(*shape: int) -> torch.Tensor:
    """Small numbers around 0."""
    return ((torch.randint(0, 2048, shape) - 1024) / 51200).to(torch.bfloat16)


def shards_of(weights: dict[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    """The tensors in their order, in SHARDS parts of about the same size."""
    total = sum(value.numel() * value.element_size() for value in weights.values())
    parts: list[dict[str, torch.Tensor]] = [{}]
    done = 0
    for name, value in weights.items():
        if done >= total * len(parts) / SHARDS and len(parts) < SHARDS:
            parts.append({})
        parts[-1][name] = value
        done += value.numel() * value.element_size()
    return parts


def main(folder: Path, context_length: int) -> None:
    tiny.EXPERTS, tiny.INTERMEDIATE = EXPERTS, INTERMEDIATE
    tiny.main(folder, context_length)
    (folder / "model.safetensors").unlink()
    torch.manual_seed(0)
    weights = tiny.make_weights(tiny.make_tokenizer())
    for name, value in weights.items():
        if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight", "gate.weight", "w1.weight", "w3.weight")):
            weights[name] = whole(*value.shape)
    places = {}
    for number, part in enumerate(shards_of(weights), start=1):
        file = f"model-{number:05}-of-{SHARDS:05}.safetensors"
        save_file(part, folder / file, metadata={"format": "pt"})
        places.update(dict.fromkeys(part, file))
    index = {
        "metadata": {"total_size": sum(value.numel() * value.element_size() for value in weights.values())},
        "weight_map": places,
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))
    for file, text in BESIDE.items():
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
