# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accuracy, whichever tool asks: the settings of a benchmark, where a server is asked, what a run is known by, and its record.

Pure; the calls are in `accuracy_run`, the tools in `_accuracy_lm_eval` and `_accuracy_nemo_skills`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.sglang.fleet.plugins.module_utils._http import base_url

#: what of a benchmark is a setting that a result depends on, in the order of catalogue/references.yml
SETTINGS = ("prompt", "shots", "seeds", "temperature", "top_p", "max_tokens", "parse_reasoning", "extraction")
_LOOPBACK = ("127.", "::1", "localhost")
_WILDCARDS = ("0.0.0.0", "::")


class AccuracyError(ValueError):
    """A run has no result that counts; the text says what was found and what to do."""


def settings_of(benchmark: Mapping[str, Any], questions: int, data_sha256: str = "") -> dict[str, Any]:
    """A benchmark's settings with the keys of catalogue/references.yml. data_sha256: of a file in the place of the data set."""
    dataset = f"{benchmark['dataset']} from a file, sha256 {data_sha256}" if data_sha256 else benchmark["dataset"]
    return {
        "dataset": dataset,
        "questions": questions,
        **{key: benchmark[key] for key in SETTINGS if key in benchmark},
    }


def server_url(instance: Mapping[str, Any], node: str, same_host: bool, given: str = "") -> str:
    """Where the instance's API is asked, without a slash at the end. Raises AccuracyError where nothing reaches it.

    node: the address of its host for others. same_host: whether the tools run there. given: the operator's own, a tunnel
    for instance.
    """
    if given:
        if not given.startswith(("http://", "https://")):
            raise AccuracyError(f"accuracy_urls has {given!r} for it: wanted http://HOST:PORT")
        return given.rstrip("/")
    address, port = str(instance["address"]), int(instance["port"])
    if address in _WILDCARDS:
        return base_url("127.0.0.1" if same_host else node, port)
    if address.startswith(_LOOPBACK) and not same_host:
        raise AccuracyError(
            f"it listens on {address}, which its own host alone reaches: name that host in"
            " accuracy_host, give the way there in accuracy_urls, or have the server listen elsewhere (fleet_address)"
        )
    return base_url(address, port)


def run_key(name: str, benchmark: Mapping[str, Any], about: Mapping[str, Any], more: Mapping[str, Any]) -> str:
    """What a run's folder is called: the answers in it are to these questions, of this server, and of no other.

    about: the record's model, host, instance and image. more: served name, data, limit, the tool. How many requests go at
    a time is left out: a run may go on with another number.
    """
    asked = {key: value for key, value in benchmark.items() if key not in _NO_ANSWER_CHANGES}
    text = json.dumps([asked, about, more], sort_keys=True)
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


_NO_ANSWER_CHANGES = ("description", "floor", "concurrency", "seconds", "request_seconds")


def percent(share: float) -> float:
    """A share as percent, as exact as is shown anywhere."""
    return round(100 * share, 4)


def record(
    name: str,
    benchmark: Mapping[str, Any],
    result: Mapping[str, Any],
    about: Mapping[str, Any],
    taken_at: str,
    seconds: float,
    data_sha256: str = "",
) -> dict[str, Any]:
    """What is kept of one benchmark on one instance.

    result: {"questions", "metrics", "tool_version"}. about: host, instance, model, gpu, count, tp, ep, image, driver.
    seconds: that the last part of the run took; one that was cut short took more.
    """
    return {
        "schema": 1,
        "kind": "accuracy",
        "benchmark": name,
        "tool": benchmark["tool"],
        "tool_version": result["tool_version"],
        "settings": settings_of(benchmark, result["questions"], data_sha256),
        "questions": result["questions"],
        "metrics": result["metrics"],
        "seconds": round(seconds, 1),
        **about,
        "taken_at": taken_at,
    }


def without_key(text: str, keys: Sequence[str]) -> str:
    """The text with the secrets taken out, for a message."""
    for key in keys:
        text = text.replace(key, "********") if key else text
    return text


#: What the tools' libraries say where they do not reach the hub.
_NO_HUB = ("Couldn't reach '", "LocalEntryNotFoundError", "OfflineModeIsEnabled")


def failure(code: int, said: str, seconds: int, log: str) -> str:
    """Why a tool ended with that status, from the end of what it printed. log: where all of it is."""
    again = "Run it again: it goes on where it was"
    if code in (124, 137):
        return f"it did not end within {seconds} s, or it was killed. {again}; the benchmark's seconds may be too few ({log})"
    if code < 0:
        return f"it was ended by signal {-code}. {again} ({log})"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    told = f"it ended with status {code}: {lines[-1] if lines else 'it said nothing'}"
    if any(word in line for line in lines for word in _NO_HUB):
        return f"{told}. This host does not reach the hub: give the questions as a file, accuracy_data (of lm-eval's), or a way there ({log})"
    return f"{told}. {again} ({log})"
