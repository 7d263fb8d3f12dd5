# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's files, and the command that writes them."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from sglang_fleet import cli, report_host
from sglang_fleet.planning import FleetError
from sglang_fleet.report import NAMES, changes_of, write_report
from sglang_fleet.report_html import page
from sglang_fleet.report_markdown import markdown, plain
from sglang_fleet.report_markup import Markup, join, tag
from tests.unit.sglang_fleet.report_runs import HOSTILE, everything, gate, host, mi300x, run_of

BEFORE = run_of(mi300x("a"), mi300x("gone"), run_id="before")
NOW = run_of(mi300x("a", "failed", high=0.5), mi300x("new"), run_id="now", previous="before")


class Seen(HTMLParser):
    """What a page holds: elements, ids, links within it, addresses that it names."""

    EMPTY = ("meta", "link", "br", "wbr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: set[str] = set()
        self.others: set[str] = set()
        self.feed(text)
        assert self.open == [], "elements that are not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in self.EMPTY:
            self.open.append(tag)
        self._note(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._note(attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def _note(self, attributes: list[tuple[str, str | None]]) -> None:
        for key, value in attributes:
            assert not key.startswith("on"), f"a handler: {key}"
            if key == "id":
                self.ids.append(value or "")
            elif key in ("href", "src"):
                (self.links if (value or "").startswith("#") else self.others).add(value or "")


@pytest.fixture(scope="module")
def text() -> str:
    return page(everything(), *changes_of(everything()))


def test_the_page_is_whole_and_alone(text: str) -> None:
    seen = Seen(text)
    assert len(seen.ids) == len(set(seen.ids)), "an id is there twice"
    assert {link.removeprefix("#") for link in seen.links} <= set(seen.ids)
    assert seen.others == {"data:,"}
    assert not {"script", "img", "iframe", "object", "form"} & seen.tags
    assert not re.search(r"@import|url\((?!#)", text)


def test_what_a_server_said_is_no_markup(text: str) -> None:
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "&amp;lt;" in text


def test_every_host_gate_and_figure_is_there(text: str) -> None:
    run = everything()
    for entry in run["hosts"]:
        assert text.count(f">{entry['host']}") >= 2
        for result in entry["gates"]:
            assert f'<th scope="row">{result["gate"]}</th>' in text
    for figure in ("37,602", "84.9 %", "92.5 % ± 5.56", "12,032", "sha256:0123456789abcdef", "1,818,430 tokens"):
        assert figure in text, figure
    assert "Not like for like: tp 8, not 4" in text
    assert "3 of 5 hosts did not pass." in text


def test_a_comparison_with_something_worse_is_open(text: str) -> None:
    opened = re.findall(r"<details open><summary>([^<]+)<", text)
    assert opened == [
        "medium (16 at once, 1000/1000 tokens) against minimax-m2.1-4xmi300x-speed-c16: 7 of 27 worse",
        "high (100 at once, 1000/1000 tokens) against minimax-m2.1-4xmi300x-speed-c100: 9 of 27 worse",
    ]


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (run_of(), "The run had no hosts."),
        (run_of(host("a")), "The host has passed."),
        (run_of(host("a"), host("b")), "Every host has passed."),
        (run_of(host("a"), host("b", "unreachable")), "1 of 2 hosts did not pass."),
    ],
)
def test_the_verdict(run: dict[str, Any], said: str) -> None:
    shown = page(run, {})
    assert f'id="verdict">{said}</h2>' in shown
    assert ('class="panel verdict good"' in shown) is ("passed" in said and "not" not in said)
    Seen(shown)


def test_of_many_hosts_those_with_findings_are_plotted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_host, "PLOTTED_HOSTS", 1)
    monkeypatch.setattr("sglang_fleet.report_html.PLOTTED_HOSTS", 1)
    shown = page(run_of(mi300x("a"), mi300x("b", "failed", high=0.5), mi300x("c")), {})
    assert shown.count("Plots are drawn for 1 hosts") == 2
    assert re.findall(r'id="(host-\d)-0-t-', shown)[0] == "host-1"
    assert not re.search(r'id="host-[02]-0-t-', shown)
    assert "Of more hosts, the 1 furthest behind." in shown


def test_what_has_changed_is_told_once_for_all_hosts() -> None:
    run = run_of(
        mi300x("a") | {"changed_since": ["driver: 1 → 2"]}, mi300x("b") | {"changed_since": ["driver: 1 → 2"]}, previous="p"
    )  # fmt: skip
    shown = page(run, *changes_of(run))
    assert re.search(r"<li>driver: 1 → 2 \(<a[^>]+>a</a>, <a[^>]+>b</a>\)</li>", shown)
    assert "Changed since p" in shown
    assert "Changed since" not in page(run_of(mi300x("a")), {})
    assert "Nothing that this report knows of." in page(run_of(mi300x("a"), previous="p"), {})


def test_changes_come_from_the_run_and_from_the_previous_one() -> None:
    now = json.loads(json.dumps(NOW))
    now["hosts"][0]["changed_since"] = ["kernel: 1 → 2", "status: passed → failed"]
    found, notes = changes_of(now, BEFORE)
    assert set(found) == {"a"}
    assert found["a"][:2] == ["kernel: 1 → 2", "status: passed → failed"]
    assert len(found["a"]) == len(set(found["a"])) > 2
    assert notes == ["not in the previous run: new", "not in this run any more: gone"]


def test_another_previous_run_is_refused() -> None:
    with pytest.raises(FleetError) as raised:
        changes_of(NOW, run_of(run_id="older"))
    told = "run now names before as its previous one, and this is older: give the file of the one it names"
    assert str(raised.value) == told
    with pytest.raises(FleetError, match="run older names no run as its previous one"):
        changes_of(run_of(run_id="older"), BEFORE)


def test_json_has_the_run_and_what_is_wrong(tmp_path: Path) -> None:
    write_report(NOW, tmp_path, BEFORE)
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert (found["schema"], found["passed"], found["run"]) == (1, False, NOW)
    assert [(entry["host"], entry["where"]) for entry in found["findings"]] == [
        ("a", "high (100 at once, 1000/1000 tokens)")
    ]
    assert "status: passed → failed" in found["changes"]["a"]
    assert found["fleet_changes"][0] == "not in the previous run: new"
    write_report(BEFORE, tmp_path / "more" / "deep")
    assert json.loads((tmp_path / "more" / "deep" / "report.json").read_text(encoding="utf-8"))["passed"] is True


def test_the_same_run_gives_the_same_files(tmp_path: Path) -> None:
    one, other = (write_report(NOW, tmp_path / name, BEFORE) for name in ("one", "other"))
    assert [path.name for path in one] == list(NAMES)
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


def test_markdown_has_what_is_wrong_first() -> None:
    lines = markdown(NOW, *changes_of(NOW, BEFORE)).splitlines()
    assert lines[0] == "# 1 of 2 hosts passed"
    heads = [line for line in lines if line.startswith("#")]
    assert heads[1:] == ["## What is wrong", "## Changed since the previous run", "## a: failed", "## new: passed"]
    assert "| 0 | high (100 at once, 1000/1000 tokens) | 821 | 365 | 3,632 | 115 | 140 | 0.50×, worse |" in lines
    assert "- not in this run any more: gone" in lines


def test_markdown_tables_have_as_many_cells_as_heads() -> None:
    rows = [line for line in markdown(everything(), {}).splitlines() if line.startswith("|")]
    assert len(rows) > 40
    widths: list[int] = []
    for before, line in zip(["", *rows], rows, strict=False):
        cells = len(re.findall(r"(?<!\\)\|", line))
        if line.startswith("| ---"):
            assert cells == widths[-1]
        elif before and not line.startswith(("| Gate |", "| Instance |", "| Benchmark |")):
            assert cells == widths[-1], line
        widths.append(cells)


def test_markdown_takes_nothing_for_its_own() -> None:
    told = plain(HOSTILE)
    assert told.startswith(r"\<script\>alert(1)\</script\>")
    assert re.findall(r"(?<!\\)[|*_`\[\]<>#&!]", told) == []
    assert plain("two\nlines") == "two lines"
    failed = run_of(host("a", "failed", gates=[gate("chat", False, "a | b\nc")]))
    assert r"| chat | FAILED | 800" in markdown(failed, {})
    assert r"| a \| b c |" in markdown(failed, {})


def test_markup_escapes_all_that_is_none() -> None:
    assert tag("p", "a < b & 'c'", Markup("<b>d</b>"), None, ["<", [tag("i", ">")]]) == (
        "<p>a &lt; b &amp; &#x27;c&#x27;<b>d</b>&lt;<i>&gt;</i></p>"
    )
    assert tag("a", class_='"x"', hidden=True, open=False, title=None, data_label="<") == (
        '<a class="&quot;x&quot;" hidden data-label="&lt;"></a>'
    )
    assert join("<", tag("br")) == "&lt;<br>"


# --- The command ----------------------------------------------------------------------------------------------------


def run(*words: str) -> Result:
    return CliRunner().invoke(cli.app, ["report", *words])


def test_the_command_writes_the_files_and_says_where(tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.json" for name in ("before", "now")}
    files["before"].write_text(json.dumps(BEFORE))
    files["now"].write_text(json.dumps(NOW))
    out = tmp_path / "out"
    done = run(str(files["now"]), "-o", str(out), "--previous", str(files["before"]))
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.split() == [str(out / name) for name in NAMES]
    assert "not in the previous run: new" in (out / "report.html").read_text(encoding="utf-8")


def test_the_command_refuses_what_is_no_run(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text("{}")
    done = run(str(file), "-o", str(tmp_path / "out"))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        f"sglang-fleet: {file}: no run: it has neither run_id nor hosts. playbooks/benchmark.yml writes a run's file, and "
        "says where (Run recorded)\n"
    )
    assert not (tmp_path / "out").exists()


def test_the_command_says_where_it_cannot_write(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(json.dumps(run_of(host("a"))))
    done = run(str(file), "-o", str(file))
    assert done.exit_code == 1
    assert done.stderr == f"sglang-fleet: {file}: cannot be written: File exists\n"


def test_a_skipped_gate_is_neither_passed_nor_failed() -> None:
    run = run_of(mi300x("a"))
    run["hosts"][0]["gates"] = [gate("chat"), {**gate("context", evidence="the plan does not say"), "skipped": True}]
    html, text = page(run, {}), markdown(run, {})
    assert re.search(r"skipped</span>.*the plan does not say", html, re.DOTALL)
    assert "<b>1\u00a0of\u00a01</b> gates passed" in html
    assert "<b>1</b> gates skipped" in html
    assert "| context | skipped |" in text


def test_no_tile_of_figures_where_none_was_compared() -> None:
    assert "figures as good as their reference" not in page(run_of(host("a", gates=[gate("chat")])), {})


@pytest.mark.parametrize(
    ("path", "value", "kind"),
    [
        (("plan", "instances", 0, "fit", "memory_gib_per_gpu"), 0, "ZeroDivisionError"),
        (("benchmarks", 0, "settings", "max_concurrency"), "abc", "ValueError"),
        (("benchmarks", 0, "metrics", "median_ttft_ms"), 1e308, "OverflowError"),
    ],
)
def test_figures_that_no_measurement_gives(tmp_path: Path, path: tuple[Any, ...], value: Any, kind: str) -> None:
    run = run_of(mi300x("a"))
    place = run["hosts"][0]
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(FleetError, match=rf"^run {run['run_id']} has figures that no measurement gives \({kind}: "):
        write_report(run, tmp_path / "report")
    assert not (tmp_path / "report").exists()
