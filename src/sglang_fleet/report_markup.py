# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTML from Python, in which no text becomes markup by accident: what a server said stands in a report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TypeAlias

#: Elements without content.
_EMPTY = frozenset({"meta", "link", "br", "wbr"})
#: A verdict's sign, for those who do not see its colour.
_MARKS = {"good": "✓", "bad": "✗", "odd": "?"}


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


#: What an element holds: a text, markup, nothing, or such parts one after the other.
Part: TypeAlias = "str | Iterable[Part] | None"


def join(*parts: Part) -> Markup:
    """The parts one after the other; what is no Markup is escaped, None is left out."""
    return Markup("".join(_flat(parts)))


def _flat(parts: Iterable[Part]) -> Iterable[str]:
    for part in parts:
        if isinstance(part, Markup):
            yield part
        elif isinstance(part, str):
            yield escape(part)
        elif part is not None:
            yield from _flat(part)


def tag(name: str, /, *parts: Part, **attributes: str | bool | None) -> Markup:
    """An element: ``class_`` is class, ``data_label`` data-label; True is a bare attribute, False and None none."""
    words = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _EMPTY:
        return Markup(f"<{name}{words}>")
    return Markup(f"<{name}{words}>{join(*parts)}</{name}>")


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], class_: str = "") -> Markup:
    """A table whose rows become cards on a narrow screen: each cell knows its head. A row's first cell is its head."""
    body = [
        tag(
            "tr",
            tag("th", row[0], scope="row"),
            [tag("td", cell, data_label=head) for head, cell in zip(heads[1:], row[1:], strict=True)],
        )
        for row in rows
    ]
    return tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", [tag("th", head, scope="col") for head in heads])),
        tag("tbody", body),
        class_=class_ or None,
    )


def facts(pairs: Iterable[tuple[str, str | None]]) -> Markup:
    """A list of names and values; those without a value are left out."""
    return tag(
        "dl",
        [tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs if value],
    )


def mark(state: str, text: str) -> Markup:
    """A verdict by sign, word and colour."""
    return tag("span", tag("span", _MARKS[state], aria_hidden="true"), " ", text, class_=f"mark {state}")
