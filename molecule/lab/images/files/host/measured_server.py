"""`python -m sglang.launch_server` on a CPU whose memory is LAB_MEMORY_MIB and is taken by this process's tensors only.

On a CPU SGLang asks psutil how much memory the machine has left, before and after it loads the weights. A toy's weights
drown there in what everything else on the machine does meanwhile, and a machine's memory would make a KV cache of
gigabytes. So psutil answers as a GPU's driver does for a GPU that nothing else uses; all else is SGLang's own.

multiprocessing's children import this file too: the scheduler, which asks, is one of them.
"""

from __future__ import annotations

import gc
import os
import runpy
from typing import Any

import psutil

MEMORY = int(os.environ["LAB_MEMORY_MIB"]) << 20

_virtual_memory = psutil.virtual_memory


def tensor_bytes() -> int:
    import torch

    storages = {}
    for thing in gc.get_objects():
        if isinstance(thing, torch.Tensor) and thing.device.type == "cpu":
            storage = thing.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def virtual_memory() -> Any:
    from sglang.srt.utils import get_cpu_ids_by_node

    # SGLang serves from one NUMA node and takes its even share of the memory.
    available = (MEMORY - tensor_bytes()) * len(get_cpu_ids_by_node())
    return _virtual_memory()._replace(available=available)


psutil.virtual_memory = virtual_memory

if __name__ == "__main__":
    runpy.run_module("sglang.launch_server", run_name="__main__")
