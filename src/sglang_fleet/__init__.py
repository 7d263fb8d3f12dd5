# SPDX-FileCopyrightText: the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleet rollouts for SGLang, on top of the ``sglang.fleet`` Ansible collection."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("sglang-fleet")
