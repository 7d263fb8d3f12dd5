"""Which images the lab holds, and where everything lies inside them."""

from __future__ import annotations

from dataclasses import dataclass, field

REPOSITORY = "lmsysorg/sglang"

# Same paths as in the images that SGLang publishes.
SOURCE_ROOT = "sgl-workspace/sglang/python"
# Everything of the lab's own is under one folder that production never mounts over.
PACKAGES = "opt/lab/python"
LAUNCHER = "opt/lab/launcher"
HF_HOME = "opt/lab/hf"

# The names that the checkpoint answers to and the context length that each real model declares
# (M2.5's is taken to be that of M2.1).
MODELS = {"MiniMax-M2": 196608, "MiniMax-M2.1": 196608, "MiniMax-M2.5": 196608, "MiniMax-M2.7": 204800}

# The AMD images that SGLang publishes carry these three.
AMD_ENVIRONMENT = {
    "SGLANG_USE_AITER": "1",
    "HSA_NO_SCRATCH_RECLAIM": "1",
    "HIP_FORCE_DEV_KERNARG": "1",
}

COMMON_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    # Production mounts its weights at /root/.cache/huggingface; the checkpoint of the lab is elsewhere and both
    # variables are needed so that neither that mount nor an HF_HOME given to the container hides it.
    "HF_HOME": f"/{HF_HOME}",
    "HF_HUB_CACHE": f"/{HF_HOME}/hub",
    "HF_HUB_OFFLINE": "1",
    # Several servers share few cores in the lab.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True)
class Image:
    """One published tag and the SGLang version that it holds."""

    tag: str
    sglang: str
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        return f"{REPOSITORY}:{self.tag}"


IMAGES = (
    Image("v0.5.10.post1", "0.5.10.post1"),
    Image("v0.5.10.post1-cu130", "0.5.10.post1"),
    Image("v0.5.10.post1-rocm720-mi30x", "0.5.10.post1", AMD_ENVIRONMENT),
    Image("v0.5.10.post1-rocm720-mi35x", "0.5.10.post1", AMD_ENVIRONMENT),
    Image("v0.5.9", "0.5.9"),
    Image("v0.5.9-rocm720-mi30x", "0.5.9", AMD_ENVIRONMENT),
    Image("v0.5.9-rocm720-mi35x", "0.5.9", AMD_ENVIRONMENT),
    Image("v0.5.7-rocm700-mi30x", "0.5.7", AMD_ENVIRONMENT),
)

# The stand-ins for packages that PyPI has as CUDA builds only; see files/stubs.
STUBS = {
    "0.5.10.post1": ("datasets", "sgl_kernel", "torchvision", "triton"),
    "0.5.9": ("datasets", "sgl_kernel", "torchvision", "triton", "vllm"),
    "0.5.7": ("datasets", "sgl_kernel", "torchvision", "triton", "vllm"),
}


def select(only: tuple[str, ...] | list[str]) -> list[Image]:
    """The images with these tags, all of them when none is named. An unknown tag is a ValueError."""
    known = {image.tag: image for image in IMAGES}
    wanted = [name.removeprefix(f"{REPOSITORY}:") for name in only]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(f"no lab image {', '.join(unknown)}; the lab has {', '.join(known)}")
    return [known[name] for name in wanted] or list(IMAGES)
