# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the page share: choices, the planner's own answer to them, and what the page shows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Locator, Page

from ansible_collections.sglang.fleet.plugins.module_utils import _render
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import Wishes, facts_for
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import PlanError
from ansible_collections.sglang.fleet.plugins.module_utils._planner import make_plan

ROOT = Path(__file__).resolve().parents[2]
URL = (ROOT / "docs" / "planner" / "index.html").as_uri()
CATALOGUE = load_catalogue()

LEVELS = ("gpu", "count", "model", "layout", "thinking", "tools", "profile")
COUNTS = range(1, 9)
ON_OFF = ("on", "off")
PROFILES = ("hardened", "cookbook")
OPTIONS = list(itertools.product(ON_OFF, ON_OFF, PROFILES))


@dataclass(frozen=True)
class Choice:
    """A choice as the page's address has it."""

    gpu: str = "H200"
    count: str = "8"
    model: str = "MiniMax-M2.7"
    layout: str = "auto"
    thinking: str = "on"
    tools: str = "on"
    profile: str = "hardened"

    def __str__(self) -> str:
        return "#" + urlencode(asdict(self))

    def but(self, **other: str) -> Choice:
        return replace(self, **other)

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(asdict(self).values())


@dataclass
class Visit:
    """A page with what it asked for and what it complained of."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self.complaints.append(message.text))


def layouts_within(count: int) -> Iterator[str]:
    """auto, and every NxT that has room on so many GPUs."""
    yield "auto"
    for servers, size in itertools.product(range(1, count + 1), repeat=2):
        if servers * size <= count:
            yield f"{servers}x{size}"


def wishes_of(choice: Choice) -> Wishes:
    """As an operator says it: only what differs from what the model does by itself."""
    model = CATALOGUE.models[choice.model]
    thinking, tools = choice.thinking == "on", choice.tools == "on"
    return Wishes(
        model=choice.model,
        layout=choice.layout,
        profile=choice.profile,
        reasoning_parser=None if thinking is model.reasoning_parser.default else thinking,  # type: ignore[union-attr]
        tool_call_parser=None if tools is model.tool_call_parser.default else tools,  # type: ignore[union-attr]
    )


def wanted(choice: Choice, facts: Mapping[str, Any] | None = None) -> dict[str, list[str]]:
    """What the page has to show, asked of the planner now: ``{"refusal": [why]}``, or the texts by what they are."""
    wishes = wishes_of(choice)
    try:
        plan = make_plan(CATALOGUE, facts or facts_for(CATALOGUE, choice.gpu, int(choice.count)), wishes).to_dict()
    except PlanError as error:
        return {"refusal": [str(error)]}
    instances, fit, image = plan["instances"], plan["instances"][0]["fit"], plan["image"]
    idle = plan["idle_gpus"]
    return {
        "command": [_render.command(plan, instance) for instance in instances],
        "docker": [_render.docker_run(plan, instance) for instance in instances],
        "inventory": [_render.inventory(plan, wishes)],
        "where": [
            f"Server {instance['name']}: GPU{'s' * (len(instance['gpus']) > 1)} "
            f"{', '.join(map(str, instance['gpus']))}, {instance['address']}:{instance['port']}, "
            f"tp {instance['tp']}, ep {instance['ep']}"
            for instance in instances
        ],
        "warnings": sorted(
            f"{warning['id']} {warning['severity']} {warning['message']} {warning['url']}"
            for warning in plan["warnings"]
        ),
        "reasons": plan["reasons"],
        "fit": [
            *(
                f"{number(fit[f'{part}_gib_per_gpu'])} {fit[f'{part}_gib_per_gpu']:.1f} GiB"
                for part in ("weights", "kv", "headroom", "reserved", "memory")
            ),
            *(f"{fit[part]} {fit[part]:,} tokens" for part in ("kv_tokens", "max_context")),
            f"{number(fit['full_length_sequences'])} {number(fit['full_length_sequences'])}",
        ],
        "image": [image["reference"], f"{image['sglang_version']} ({image['user_space']})"],
        "patches": [patch["name"] for patch in plan["patches"]],
        "layout": [plan["layout"]],
        "idle": [", ".join(map(str, idle)) or "none"],
    }


def number(value: float) -> str:
    """As JavaScript writes it."""
    return str(int(value)) if value == int(value) else repr(value)


#: Reads the page as it stands: the same keys and texts as wanted().
READ = """
() => {
  const all = (query, get = (node) => node.textContent) => [...document.querySelectorAll(query)].map(get);
  const hidden = (id) => document.getElementById(id).closest("[hidden]") !== null;
  if (hidden("plan") === hidden("refusal")) throw new Error("the page shows both a plan and a refusal, or neither");
  if (hidden("plan")) return { refusal: all("#reason") };
  const status = document.getElementById("status").textContent;
  const idle = /; idle: GPUs? ([\\d, ]+)[.;]/.exec(status);
  if ((idle === null) !== status.includes("no GPU idle")) throw new Error(`idle and not idle: ${status}`);
  return {
    command: all("code[id^=command]"),
    docker: all("code[id^=docker]"),
    inventory: all("#inventory"),
    where: all(".where"),
    warnings: all("#warnings li", (item) => [item.dataset.id, item.dataset.severity,
      item.querySelector(".message").textContent, item.querySelector("a") ? item.querySelector("a").getAttribute("href") : "None"].join(" ")).sort(),
    reasons: all("#reasons li"),
    fit: all("#shares data, #capacity data", (data) => `${data.value} ${data.textContent}`),
    image: all("#image div:nth-child(-n + 2) dd"),
    patches: all("#image [data-patch]", (patch) => patch.dataset.patch),
    layout: [/^Layout (\\S+):/.exec(status)[1]],
    idle: [idle ? idle[1] : "none"],
  };
}
"""


def shown(page: Page) -> dict[str, list[str]]:
    result: dict[str, list[str]] = page.evaluate(READ)
    return result


def radio(page: Page, level: str, value: str) -> Locator:
    return page.locator(f'input[name="{level}"][value="{value}"]')


def checked(page: Page) -> Choice:
    """What is chosen, by the state of the controls."""
    values = {level: page.locator(f'input[name="{level}"]:checked').get_attribute("value") or "" for level in LEVELS}
    return Choice(**values)
