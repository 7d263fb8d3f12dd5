"""Stand-in for triton: its decorators work, so SGLang's kernels are defined; launching one is an error."""

from __future__ import annotations

import importlib
import sys
from typing import Any, ClassVar

import lab_stub

__version__ = "3.5.1"


class _Base:
    """The base of made-up classes: takes any arguments, and can be subclassed with any keywords."""

    def __init_subclass__(cls, **_kwargs: Any) -> None:
        pass

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        pass


class _Attribute(lab_stub.Attribute):
    """As a decorator it gives the function back; an empty collection otherwise ("cpu" in triton.backends.backends)."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        value = _Attribute(f"{self.__name__}.{name}")
        setattr(self, name, value)
        return value

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return args[0] if len(args) == 1 and callable(args[0]) and not kwargs else None

    def __contains__(self, item: Any) -> bool:
        return False

    def __iter__(self) -> Any:
        return iter(())


class _Module(lab_stub.Module):
    __path__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        if name[:1].isupper():
            value: Any = type(name, (_Base,), {"__module__": self.__name__})
        else:
            value = _Attribute(f"{self.__name__}.{name}")
        setattr(self, name, value)
        return value


class _Kernel:
    """What @triton.jit makes of a function."""

    def __init__(self, function: Any) -> None:
        self.fn = function
        self.__name__ = getattr(function, "__name__", "kernel")
        self.__doc__ = getattr(function, "__doc__", None)
        self.__module__ = getattr(function, "__module__", "")

    def __getitem__(self, grid: Any) -> Any:
        return self

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        raise RuntimeError(f"the Triton kernel {self.__name__} does not run in this image: it needs a GPU")


def _decorate(*args: Any, **kwargs: Any) -> Any:
    """Both `@jit` and `@autotune(...)`; stacked decorators make one kernel."""

    def wrap(function: Any) -> _Kernel:
        return function if isinstance(function, _Kernel) else _Kernel(function)

    return wrap(args[0]) if len(args) == 1 and callable(args[0]) and not kwargs else wrap


jit = autotune = heuristics = _decorate


class Config(_Base):
    def __init__(self, kwargs: dict[str, Any] | None = None, **extra: Any) -> None:
        self.kwargs = kwargs or {}
        self.__dict__.update(extra)


class _Constexpr:
    def __init__(self, value: Any = None) -> None:
        self.value = value


def cdiv(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


def next_power_of_2(number: int) -> int:
    return 1 << (number - 1).bit_length() if number > 0 else 1


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    if name[:1].isupper():
        return type(name, (_Base,), {})
    return importlib.import_module(f"{__name__}.{name}")


sys.meta_path.insert(0, lab_stub.Finder(__name__, _Module))
for _name in ("compiler.compiler", "language", "runtime.jit", "runtime.autotuner", "runtime.cache", "testing"):
    importlib.import_module(f"{__name__}.{_name}")
sys.modules[f"{__name__}.language"].constexpr = _Constexpr  # type: ignore[attr-defined]
sys.modules[f"{__name__}.runtime.jit"].JITFunction = _Kernel  # type: ignore[attr-defined]
