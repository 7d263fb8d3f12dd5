"""Import-only packages: every `import NAME.x.y` gives a module whose attributes exist and cannot be called.

For packages that PyPI has as CUDA builds only. SGLang imports them on a CPU, and calls none of them.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from typing import Any, ClassVar


def _special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


class _Class(type):
    """The metaclass of made-up classes: `InterpolationMode.NEAREST` is a text."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return f"{cls.__name__}.{name}"


class Attribute:
    """Can be named and dotted into, not called."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __getattr__(self, name: str) -> Any:
        if _special(name):
            raise AttributeError(name)
        return Attribute(f"{self.__name__}.{name}")

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        raise RuntimeError(f"{self.__name__} does not exist in this image: it needs a GPU")


class Module(types.ModuleType):
    __path__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        if _special(name):
            raise AttributeError(name)
        value = _Class(name, (), {}) if name[:1].isupper() else Attribute(f"{self.__name__}.{name}")
        setattr(self, name, value)
        return value


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds every module below a package, and makes each of the given class."""

    def __init__(self, package: str, module: type[Module] = Module) -> None:
        self.prefix = f"{package}."
        self.module = module

    def find_spec(self, fullname: str, _path: Any = None, _target: Any = None) -> Any:
        if fullname.startswith(self.prefix):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> Module:
        return self.module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def install(package: str) -> None:
    """Make the package that is being imported such a stub."""
    sys.meta_path.insert(0, Finder(package))
    sys.modules[package].__class__ = Module
