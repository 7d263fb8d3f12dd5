# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the server's parser of each SGLang version takes, to vet an operator's own arguments before a server starts.

The lists (``catalogue/server_flags/VERSION.json``) are written from SGLang's own parser. For a version without a list
nothing is known, so nothing is refused here.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
import types
import typing as t
from pathlib import Path

#: where a checkout and an installed collection both keep the lists, seen from plugins/module_utils/
DEFAULT_DIRECTORY: t.Final = Path(__file__).parents[2] / "catalogue" / "server_flags"

#: how many of an option's choices a message names
SHOWN_CHOICES: t.Final = 12

#: how many options an abbreviation's message names
SHOWN_OPTIONS: t.Final = 5

#: A word with a leading dash is an option to argparse, unless it is such a number or has a space in it.
_NEGATIVE_NUMBER: t.Final = re.compile(r"-\d+|-\d*\.\d+")

_SIZE: t.Final = re.compile(r"\d+(\.\d+)?[kMGT]|\d+[KMGT]i")

#: the parser's types whose values a message may show: a number is no secret
_NUMBERS: t.Final[t.Mapping[str, str]] = {
    "int": "an integer",
    "float": "a number",
    "size": "an integer, or one with a suffix such as 4k or 4Ki",
}

Flags = t.Mapping[str, t.Mapping[str, t.Any]]


def load_flags(version: str, directory: Path | None = None) -> Flags | None:
    """The options of this SGLang version by their long names without dashes; None when there is no list of it.

    Each has ``dest`` (shared by an option and its aliases), ``kind`` (flag, value, optional or list), and where they
    are known ``type`` (int, float, size, json, str), ``choices``, and ``config`` false where a configuration file
    cannot carry it.
    """
    if re.fullmatch(r"[0-9][0-9A-Za-z.+]*", version) is None:
        return None
    return _read(version, directory or DEFAULT_DIRECTORY)


@functools.cache
def _read(version: str, directory: Path) -> Flags | None:
    path = directory / f"{version}.json"
    try:
        flags = json.loads(path.read_text("utf-8"))["flags"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"cannot read the option list {path}: {error}; install the collection again") from error
    return types.MappingProxyType(flags)


def flag_problem(flags: Flags, version: str, name: str, value: t.Any) -> str | None:
    """Why this SGLang version refuses the entry of fleet_server_args, or None.

    None and false take an argument away, so they fit any option. Values are shown only where they cannot be secrets:
    those of options with choices and of numbers.
    """
    where = f"fleet_server_args.{name}"
    flag = flags.get(name)
    if flag is None:
        return f"{where}: {_unknown(flags, version, name)}"
    if flag.get("config") is False:
        return (
            f"{where}: SGLang {version} takes --{name} on the command line only, and the servers read a configuration "
            "file; remove it"
        )
    if value is None or value is False:
        return None
    if flag["kind"] == "flag":
        return (
            None if value is True else f"{where}: --{name} takes no value; set it to true, or to false to leave it out"
        )
    if value is True:
        if flag["kind"] == "optional":
            return None
        return f"{where}: --{name} needs a value; set it to {_wanted(flag)} instead of true"
    if isinstance(value, list):
        if flag["kind"] != "list":
            return f"{where} is a list: --{name} takes one value; set it to {_wanted(flag)}"
        if not value:
            return f"{where} is an empty list: set it to one value or more, or to false to leave it out"
    for item in value if isinstance(value, list) else [value]:
        problem = _value_problem(flag, version, name, item)
        if problem is not None:
            return where + problem
    return None


def _unknown(flags: Flags, version: str, name: str) -> str:
    # argparse would take any beginning that only one option has, until the next version adds another.
    longer = [known for known in flags if known.startswith(name)]
    if len(longer) == 1:
        return f"--{name} is an abbreviation of --{longer[0]}; write {longer[0]} in full"
    if longer:
        listed = ", ".join(f"--{known}" for known in longer[:SHOWN_OPTIONS])
        more = f" and {len(longer) - SHOWN_OPTIONS} more" if len(longer) > SHOWN_OPTIONS else ""
        return f"--{name} is the beginning of {listed}{more}; write one of them in full"
    text = f"SGLang {version} does not know --{name}"
    nearest = difflib.get_close_matches(name, flags, n=1, cutoff=0.7)
    return f"{text}; did you mean {nearest[0]}?" if nearest else f"{text}; remove it"


def _value_problem(flag: t.Mapping[str, t.Any], version: str, name: str, value: t.Any) -> str | None:
    """What is wrong with one value, to go behind the argument's name; None when the parser takes it."""
    kind = flag.get("type", "str")
    if isinstance(value, bool) or value is None:
        return f" holds {json.dumps(value)}: a list for --{name} holds strings and numbers"
    word = str(value)
    if word.startswith("-") and word != "-" and " " not in word and _NEGATIVE_NUMBER.fullmatch(word) is None:
        return ": its value begins with a dash, which SGLang reads as the next option; give it another form"
    if not _has_type(word, kind):
        if kind in _NUMBERS:
            return f" is {word}: --{name} takes {_NUMBERS[kind]}"
        return f": --{name} takes JSON, and its value is not"
    choices = flag.get("choices")
    if choices and word not in map(str, choices):
        return f" is {word}: SGLang {version} takes {_listed(choices, word)}"
    return None


def _has_type(word: str, kind: str) -> bool:
    if kind == "size" and _SIZE.fullmatch(word.strip()):
        return True
    try:
        if kind in ("int", "size"):
            int(word)
        elif kind == "float":
            float(word)
        elif kind == "json":
            json.loads(word)
    except ValueError:
        return False
    return True


def _wanted(flag: t.Mapping[str, t.Any]) -> str:
    if "choices" in flag:
        return _listed(flag["choices"])
    if flag.get("type") == "json":
        return "JSON"
    return _NUMBERS.get(flag.get("type", "str"), "a string")


def _listed(choices: t.Sequence[t.Any], near: str = "") -> str:
    """The choices, those nearest to what was given first when there are too many to name."""
    names = [str(choice) for choice in choices]
    if len(names) == 1:
        return names[0]
    if len(names) <= SHOWN_CHOICES:
        return f"{', '.join(names[:-1])} or {names[-1]}"
    nearest = difflib.get_close_matches(near, names)
    names = nearest + [name for name in names if name not in nearest]
    return f"{', '.join(names[:SHOWN_CHOICES])} or {len(names) - SHOWN_CHOICES} others"
