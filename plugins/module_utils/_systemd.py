# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd's text formats: words in an EnvironmentFile, and what `systemctl show` prints."""

from __future__ import annotations

from collections.abc import Sequence


def environment_words(words: Sequence[str]) -> str:
    """An EnvironmentFile value that an unbraced `$NAME` in ExecStart splits into exactly `words`.

    systemd unquotes twice: once when it reads the file (double quotes, backslash escapes), once when
    it splits the expanded value (systemd.exec(5), systemd.service(5)).

    Raises:
        ValueError: a word that the second splitting cannot carry (backslash, line break, or both kinds of quote).

    Examples:
        >>> environment_words(["--gpus", '"device=0,1"'])
        '"--gpus \\'\\\\"device=0,1\\\\"\\'"'
    """
    inner = []
    for word in words:
        if any(c in word for c in "\\\n\r\0") or ("'" in word and '"' in word):
            raise ValueError(
                f"the word {word!r} cannot stand in a systemd environment file: it has a backslash, a line break"
                " or both kinds of quote. Take it out of the container options or server arguments."
            )
        if "'" in word:
            inner.append(f'"{word}"')
        elif not word or any(c.isspace() or c == '"' for c in word):
            inner.append(f"'{word}'")
        else:
            inner.append(word)
    value = " ".join(inner)
    for char in ("\\", '"', "`", "$"):
        value = value.replace(char, "\\" + char)
    return f'"{value}"'


def parse_show(text: str) -> dict[str, str]:
    """`systemctl show -p A,B` output (A=x lines) as a mapping."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
