# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text of files with secrets in them: filling them in, and showing a difference without them."""

from __future__ import annotations

import re
from collections.abc import Mapping

HIDDEN = "(a secret)"

#: SGLang's options that hold a secret, as they stand in its configuration file.
SECRET_OPTIONS = ("api-key", "admin-api-key")

_SECRET_LINE = re.compile(rf"\s*({'|'.join(SECRET_OPTIONS)})\s*:\s*")


def placeholder(name: str) -> str:
    """What stands for the secret `name` in a file's text until it is on the node."""
    return f"@@{name}@@"


def fill(text: str, secrets: Mapping[str, str]) -> str:
    """The text with each secret in its place."""
    for name, value in secrets.items():
        text = text.replace(placeholder(name), value)
    return text


def veil(current: str, wanted: str, secrets: Mapping[str, str]) -> str:
    """`current`, a file's content on the node, made safe to show beside `wanted`, the text with placeholders.

    A line that is as it should be is shown with its placeholder, so that only a real difference shows. A line
    that starts like one with a placeholder, or that holds one of SGLang's secret options, holds a secret
    that is no longer wanted.
    """
    with_secret = [line for line in wanted.splitlines() if any(placeholder(name) in line for name in secrets)]
    unchanged = {fill(line, secrets): line for line in with_secret}
    prefixes = [line.split("@@", 1)[0] for line in with_secret]
    lines: list[str] = []
    for line in current.splitlines():
        option = _SECRET_LINE.match(line)
        prefix = next((p for p in prefixes if line.startswith(p)), None)
        if line in unchanged:
            line = unchanged[line]
        elif option:
            line = option.group(0) + HIDDEN
        elif prefix is not None:
            line = prefix + HIDDEN
        lines.append(line)
    return "\n".join(lines) + ("\n" if current.endswith("\n") else "")
