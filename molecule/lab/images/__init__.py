"""Images of the lab: the real SGLang server on a CPU, under the names that production pulls."""

from __future__ import annotations

from .build import build_all

__all__ = ["build_all"]
