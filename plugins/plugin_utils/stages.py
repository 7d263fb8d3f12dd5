# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells the stages of a rollout: a line on the terminal, an event for programs."""

from __future__ import annotations

import json
import os
import typing as t

from ansible_collections.sglang.fleet.plugins.plugin_utils.progress import EVENTS


def line(event: t.Mapping[str, t.Any]) -> str:
    """A stage for people."""
    who = f"{event['host']} [{event['instance']}]" if event["instance"] else str(event["host"])
    what = str(event["stage"]).replace("_", " ")
    flight = f", {event['running']} requests in flight" if event.get("running") is not None else ""
    return f"{who}: {what}{flight}{': ' + event['detail'] if event['detail'] else ''}"


def tell(event: t.Mapping[str, t.Any]) -> None:
    """Append the event to the file that is named for it."""
    path = os.environ.get(EVENTS)
    if not path:
        return
    try:
        # Opened for each line and written in one piece: several forks share the file.
        with open(path, "a", encoding="utf-8") as handle:
            handle.write(json.dumps(event) + "\n")
    except OSError:
        pass  # a rollout does not fail for want of a spectator
