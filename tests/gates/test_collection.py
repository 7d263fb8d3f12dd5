# Copyright (c) 2026 the SGLang Fleet authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as others get it: built, installed, documented, importable by Galaxy."""

from __future__ import annotations

import json
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.gates.support import ROOT, Tool

# The kinds of plugin that carry documentation; an action's is that of its module.
DOCUMENTED = ("filter", "inventory", "lookup", "modules", "test")


def _plugins(kind: str) -> list[str]:
    """Names of the plugins of one kind, by file: filters and tests are documented in the .py or in a .yml beside it."""
    folder = ROOT / "plugins" / kind
    files = [path for suffix in ("*.py", "*.yml") for path in folder.glob(suffix)]
    return sorted({path.stem for path in files} - {"__init__"})


def test_tarball_holds_what_users_need_and_no_more(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        top = {name.split("/")[0] for name in archive.getnames()}
    assert {
        "plugins",
        "roles",
        "playbooks",
        "meta",
        "catalogue",
        "examples",
        "README.md",
        "LICENSE",
        "MANIFEST.json",
    } <= top
    allowed = {"changelogs", "docs", "FILES.json", "CHANGELOG.md"}
    extra = top - allowed - {"plugins", "roles", "playbooks", "meta", "catalogue", "examples", "README.md", "LICENSE"}
    assert extra == {"MANIFEST.json"}, "add what does not belong to users to build_ignore in galaxy.yml"


def test_ansible_doc_documents_every_plugin(tool: Tool, installed: Path) -> None:
    env = {"ANSIBLE_COLLECTIONS_PATH": str(installed)}
    for kind in DOCUMENTED:
        folder = ROOT / "plugins" / kind
        names = [f"sglang.fleet.{name}" for name in _plugins(kind)]
        if not any(path.is_file() and path.stem != "__init__" for path in folder.glob("*")):
            continue
        assert names, f"{folder} has files, and no plugin was found in them"
        output = tool(
            "ansible-doc", "--json", "--type", "module" if kind == "modules" else kind, *names, cwd=installed, env=env
        )
        found = json.loads(output[output.index("{") :])
        assert set(names) == {name for name, text in found.items() if text["doc"]["short_description"]}


def test_deploy_playbook_of_the_installed_collection_parses(tool: Tool, installed: Path) -> None:
    env = {"ANSIBLE_COLLECTIONS_PATH": str(installed)}
    tool("ansible-playbook", "--syntax-check", "-i", "localhost,", "sglang.fleet.deploy", cwd=installed, env=env)


def test_antsibull_docs(tool: Tool, collection: Path) -> None:
    tool(
        "antsibull-docs",
        "lint-collection-docs",
        "--plugin-docs",
        "--validate-collection-refs=self",
        "--skip-rstcheck",
        ".",
        cwd=collection,
    )


def test_antsibull_changelog(tool: Tool, collection: Path) -> None:
    tool("antsibull-changelog", "lint", cwd=collection)


@pytest.mark.slow
def test_galaxy_importer(tool: Tool, tarball: Path) -> None:
    config = Path(__file__).with_name("galaxy-importer.cfg")
    output = tool(
        "python", "-m", "galaxy_importer.main", tarball, cwd=tarball.parent, env={"GALAXY_IMPORTER_CONFIG": str(config)}
    )
    complaints = [line for line in output.splitlines() if line.startswith(("ERROR", "WARNING"))]
    assert not complaints, "\n".join(complaints)


def test_one_version_everywhere() -> None:
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == galaxy["version"]


def test_requirements_name_what_galaxy_yml_depends_on() -> None:
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text())
    listed = yaml.safe_load((ROOT / "collections" / "requirements.yml").read_text())["collections"]
    assert {entry["name"]: entry["version"] for entry in listed} == galaxy["dependencies"]


def test_lock_names_no_index_and_no_path() -> None:
    """The lock must install anywhere: what a package is comes from its hash, where from is the machine's matter."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    foreign = [line for line in lines if "://" in line or line.startswith(("-", "/", "."))]
    assert not foreign


def test_links_make_the_checkout_a_collection() -> None:
    """Whatever the tarball takes from the root is linked, relatively, into collections/."""
    links = ROOT / "collections" / "ansible_collections" / "sglang" / "fleet"
    linked = {link.name: link.readlink() for link in links.iterdir()}
    assert all(not target.is_absolute() and (links / name).exists() for name, target in linked.items())
    wanted = {"catalogue", "changelogs", "docs", "galaxy.yml", "meta", "playbooks", "plugins", "README.md", "roles"}
    assert wanted <= set(linked)
