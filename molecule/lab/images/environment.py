"""The Python environments: wheels installed by pip, trimmed, compiled, and the tiny checkpoint.

Two layers: `common` is what both SGLang versions share (torch above all), `sglang-<version>` is the rest and
SGLang's own source tree, unchanged but for the folders that TRIMMED names.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

from . import versions
from .rootfs import EPOCH

HERE = Path(__file__).parent
FILES = HERE / "files"
REQUIREMENTS = HERE / "requirements"

# PyPI's torch is a CUDA build; a machine whose pip finds no CPU build falls back on PyTorch's own index.
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"

TRIMMED = (
    "bin",
    "torch/include",
    "torch/share",
    "torch/test",
    "torch/bin",
    "sglang/multimodal_gen",
)
_TRIMMED_NAMES = ("tests", "__pycache__")
# No bytecode for what the AMD patches change: what runs is what the source says.
PATCHED = ("srt/models/transformers.py", "srt/models/minimax_m2.py")


def build_common(folder: Path) -> None:
    packages = folder / versions.PACKAGES
    _pip(REQUIREMENTS / "common.txt", packages)
    torch_helper = packages / "torch/bin/torch_shm_manager"
    kept = torch_helper.read_bytes() if torch_helper.exists() else None
    _trim(packages)
    if kept is not None:
        torch_helper.parent.mkdir()
        torch_helper.write_bytes(kept)
        torch_helper.chmod(0o755)
    _strip(packages / "torch/lib")
    checkpoint = folder / versions.HF_HOME
    _checkpoint(packages, checkpoint)
    _compile(folder, packages)


def build_sglang(version: str, folder: Path) -> None:
    packages = folder / versions.PACKAGES
    _pip(REQUIREMENTS / f"sglang-{version}.txt", packages)
    _trim(packages)
    shutil.copyfile(FILES / "stubs/lab_stub.py", packages / "lab_stub.py")
    for stub in versions.STUBS[version]:
        shutil.copytree(FILES / "stubs" / stub, packages / stub, ignore=shutil.ignore_patterns("__pycache__"))
    source = folder / versions.SOURCE_ROOT
    source.mkdir(parents=True)
    (packages / "sglang").rename(source / "sglang")
    _compile(folder, packages, source)
    for name in PATCHED:
        path = source / "sglang" / name
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            compiled.unlink()


def build_launcher(folder: Path) -> None:
    """The one stand-in: files/launcher/lab_launcher.py says what it does."""
    source = FILES / "launcher"
    launcher = folder / versions.LAUNCHER
    site = folder / "usr/local/lib/python3.11/dist-packages"
    programs = folder / "usr/local/bin"
    for target in (launcher, site, programs):
        target.mkdir(parents=True)
    for name in ("lab_hook.py", "lab_launcher.py"):
        shutil.copyfile(source / name, launcher / name)
    paths = (versions.SOURCE_ROOT, versions.PACKAGES, versions.LAUNCHER)
    (site / "sglang-lab.pth").write_text("".join(f"/{path}\n" for path in paths) + "import lab_hook\n")
    shutil.copyfile(source / "sglang", programs / "sglang")
    (programs / "sglang").chmod(0o755)
    _compile(folder, launcher)


@functools.cache
def python() -> str:
    """A Python 3.11 that has pip: the wheels and the bytecode are for that version."""
    probe = "import sys, pip; raise SystemExit(sys.version_info[:2] != (3, 11))"
    for candidate in (sys.executable, shutil.which("python3.11"), "/usr/bin/python3"):
        if candidate and subprocess.run([candidate, "-c", probe], capture_output=True, check=False).returncode == 0:
            return candidate
    raise RuntimeError(f"the lab images need a Python 3.11 with pip to build; {sys.executable} is not one")


def _pip(requirements: Path, target: Path) -> None:
    command = [python(), "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--no-compile"]
    command += ["--disable-pip-version-check", "--root-user-action=ignore"]
    command += ["--target", str(target), "--requirement", str(requirements)]
    first = subprocess.run(command, capture_output=True, text=True, check=False)
    if first.returncode == 0:
        return
    if "torch==" not in first.stderr:
        raise RuntimeError(f"pip could not install {requirements.name}:\n{first.stderr}")
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run([*command, "--extra-index-url", TORCH_INDEX], check=True)


def _trim(packages: Path) -> None:
    for name in TRIMMED:
        shutil.rmtree(packages / name, ignore_errors=True)
    for parent, folders, files in os.walk(packages):
        for name in list(folders):
            if name in _TRIMMED_NAMES:
                shutil.rmtree(Path(parent) / name)
                folders.remove(name)
        for name in files:
            if name.endswith((".pyi", ".a", ".lib")):
                (Path(parent) / name).unlink()


def _strip(folder: Path) -> None:
    """Take the symbols off torch's libraries: a fifth of the image. Only a matter of size, so no need of `strip`."""
    if shutil.which("strip"):
        subprocess.run(["strip", "--strip-unneeded", *map(str, folder.glob("*.so"))], check=True)


def _checkpoint(packages: Path, hf_home: Path) -> None:
    """One checkpoint of toy size under each model's name, as Hugging Face's cache lays it out.

    A snapshot is a real folder with the name of a commit: a link, or any other name, makes transformers fail.
    """
    commit = f"{0x1AB:040x}"
    environment = {**os.environ, "PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1"}
    for model, context in versions.MODELS.items():
        repository = hf_home / "hub" / f"models--MiniMaxAI--{model}"
        command = [python(), str(FILES / "make_tiny_m2.py"), str(repository / "snapshots" / commit), str(context)]
        subprocess.run(command, check=True, env=environment)
        (repository / "refs").mkdir()
        (repository / "refs/main").write_text(commit)


def _compile(folder: Path, *trees: Path) -> None:
    """Bytecode by time stamp: a source file that a patch changes is compiled anew, as anywhere else."""
    for parent, _, files in os.walk(folder):
        for name in files:
            path = Path(parent) / name
            if not path.is_symlink():
                os.utime(path, (EPOCH, EPOCH))
    command = [python(), "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "timestamp"]
    command += ["-s", str(folder), "-p", "/", *map(str, trees)]
    # A wheel may hold templates that are no valid Python; they are never imported.
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
