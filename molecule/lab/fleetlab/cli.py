"""The command line of the lab."""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from . import doctor
from .engine import ensure_engine, ensure_tools
from .hub import description as hub_description
from .hub import hub_answers
from .inventory import write_inventory
from .keys import private_key
from .network import ensure_network, ensure_registry, lab_things, registry_answers
from .nodes import AS_IT_WAS, check, node_down, node_up, remove_all, spec
from .packages import description as packages_description
from .packages import packages_answer
from .roots import node_image, remove_images
from .settings import AUTO, HUB, LABEL, PACKAGES, REGISTRY, REGISTRY_FOR_HOST, SYSTEMS, Node, demo_nodes
from .shell import LAB_DIR, LabError, docker, fail, parallel, say, stop


def _base() -> None:
    """Engine, tools, network: quick when they are there."""
    version = ensure_engine()
    if tuple(int(part) for part in version.split(".")[:2]) < (20, 10):
        raise LabError(f"Docker {version} is too old: the nodes need private cgroup namespaces, from 20.10 on")
    ensure_tools(building=False)
    ensure_network()


def _supply() -> None:
    """The registry, then the SGLang images in it."""
    address = ensure_registry()
    if not (LAB_DIR / "images" / "build.py").exists():
        say("SGLang images", "skipped: molecule/lab/images is not there")
        return
    from images.build import build_all  # the images' code loads only where it is needed

    start = time.monotonic()
    try:
        references = build_all(address)
    except subprocess.CalledProcessError as error:
        raise LabError(f"the SGLang images could not be built: {error}") from error
    except (OSError, RuntimeError, ValueError) as error:
        raise LabError(f"the SGLang images could not be built: {error}") from error
    say("SGLang images", f"{len(references)} in the registry ({time.monotonic() - start:.1f} s)")


def _node(node: Node) -> tuple[Node, str]:
    node_image(node.os)  # says itself how long a build took
    start = time.monotonic()
    node, done = node_up(node)
    say(node.name, f"{node.ip}  {node.os}  {node.gpu}  {done} ({time.monotonic() - start:.1f} s)")
    return node, done


def up(_arguments: argparse.Namespace) -> int:
    """Everything the demo needs."""
    start = time.monotonic()
    nodes = demo_nodes()
    for node in nodes:
        check(node)
    _base()
    private_key()
    parallel(_supply, *(functools.partial(_node, node) for node in nodes), workers=len(nodes) + 1)
    say("inventory", f"inventories/lab/hosts.yml {write_inventory(nodes)}")
    say("the lab is up", f"({time.monotonic() - start:.1f} s)")
    return 0


def images(arguments: argparse.Namespace) -> int:
    """Everything that scenarios share: node images, the registry and what it serves."""
    systems = arguments.os or list(SYSTEMS)
    _base()
    jobs = [functools.partial(node_image, system) for system in systems]
    parallel(ensure_registry if arguments.no_sglang else _supply, *jobs)
    return 0


def down(arguments: argparse.Namespace) -> int:
    """Remove what `up` and the scenarios made; what is slow to build stays unless asked."""
    ensure_engine()
    removed = remove_all(arguments.owner)
    say("removed", f"{removed} containers, volumes and networks" if removed else "nothing: the lab was down")
    if arguments.images:
        say("removed", f"{remove_images()} images of nodes and registry")
    return 0


def node_up_command(arguments: argparse.Namespace) -> int:
    """One node."""
    node = Node(arguments.name, arguments.os, arguments.gpu, arguments.ip, owner=arguments.owner)
    check(node)
    _base()
    ensure_registry()
    _node(node)
    return 0


def scenario_up(arguments: argparse.Namespace) -> int:
    """A scenario's nodes, from Molecule's platforms on standard input; Molecule's instance config as JSON."""
    try:
        rows: list[dict[str, Any]] = json.load(sys.stdin)
        wanted = [Node(row["name"], row["os"], row.get("gpu", "none"), AUTO, owner=arguments.owner) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise LabError(f"a platform needs name and os, and may have gpu: {error!r} is wrong") from error
    for node in wanted:
        check(node)
    with contextlib.redirect_stdout(sys.stderr):
        _base()
        jobs = [functools.partial(_node, node) for node in wanted]
        _nothing, *made = parallel(_supply, *jobs, workers=len(jobs) + 1)
    login = {"user": "ansible", "port": 22, "identity_file": str(private_key())}
    instances = [{"instance": node.name, "address": node.ip, **login} for node, _done in made]
    print(json.dumps({"changed": any(done != AS_IT_WAS for _node, done in made), "instances": instances}))
    return 0


def node_down_command(arguments: argparse.Namespace) -> int:
    """Remove one node."""
    ensure_engine()
    say(arguments.name, "removed" if node_down(arguments.name, arguments.owner) else "was not there")
    return 0


def packages_up(_arguments: argparse.Namespace) -> int:
    """The vendors' package repositories; their addresses and keys as JSON."""
    with contextlib.redirect_stdout(sys.stderr):
        _base()
        text = packages_description()
    print(text)
    return 0


def hub_up(_arguments: argparse.Namespace) -> int:
    """The stand-in for Hugging Face's hub; its address and what it has as JSON."""
    with contextlib.redirect_stdout(sys.stderr):
        _base()
        text = hub_description()
    print(text)
    return 0


def status(_arguments: argparse.Namespace) -> int:
    """What runs."""
    ensure_engine()
    say("registry", f"answers at {REGISTRY_FOR_HOST}" if registry_answers() else "does not run")
    say("package repositories", "served" if packages_answer() else "not served; start them with: lab.py packages-up")
    say("hub", "served" if hub_answers() else "not served; start it with: lab.py hub-up")
    names = [name for name in lab_things("container") if name not in (REGISTRY, PACKAGES, HUB)]
    rows = json.loads(docker("inspect", *names).stdout) if names else []
    rows = [row for row in rows if f"{LABEL}.node" in row["Config"]["Labels"]]
    for row in sorted(rows, key=lambda row: str(row["Name"])):
        labels = row["Config"]["Labels"]
        _image, system, gpu, ip = spec(row)
        say(
            labels[f"{LABEL}.node"],
            f"{ip:<13} {system:<9} {gpu:<10} {row['State']['Status']}  {labels[f'{LABEL}.owner']}",
        )
    if not rows:
        say("nodes", "none; start the demo's with: lab.py up")
    return 0


def main(words: Sequence[str] | None = None) -> int:
    """Parse the command line and run it; errors end in one line and exit status 1."""
    parser = argparse.ArgumentParser(prog="lab.py", description="Simulated GPU nodes with a real Docker engine.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("up", help="start everything the demo needs").set_defaults(run=up)
    removing = commands.add_parser("down", help="remove all nodes, the registry and the network")
    removing.add_argument("--images", action="store_true", help="the images of nodes and registry too")
    removing.add_argument("--owner", default="", help="only what this owner has, e.g. demo")
    removing.set_defaults(run=down)
    commands.add_parser("status", help="show what runs").set_defaults(run=status)
    one = commands.add_parser("node-up", help="start one node")
    one.add_argument("name")
    one.add_argument("--os", choices=SYSTEMS, default="trixie")
    one.add_argument("--gpu", default="none", help="KIND:COUNT[,option…] or none (default)")
    one.add_argument("--ip", default="auto", help="its address, or auto for a free one from .100 up (default)")
    gone = commands.add_parser("node-down", help="remove one node")
    gone.add_argument("name")
    for command in (one, gone):
        command.add_argument("--owner", default="demo", help="whose node it is (default: demo)")
    one.set_defaults(run=node_up_command)
    gone.set_defaults(run=node_down_command)
    scenario = commands.add_parser("scenario-up", help="start a Molecule scenario's platforms (JSON on standard input)")
    scenario.add_argument("--owner", required=True)
    scenario.set_defaults(run=scenario_up)
    repositories = commands.add_parser("packages-up", help="serve the vendors' package repositories; JSON")
    repositories.set_defaults(run=packages_up)
    hub = commands.add_parser("hub-up", help="serve the stand-in for Hugging Face's hub; JSON")
    hub.set_defaults(run=hub_up)
    commands.add_parser("doctor", help="check this machine").set_defaults(run=doctor.main)
    building = commands.add_parser("images", help="build all images and fill the registry")
    building.add_argument("--os", action="append", choices=SYSTEMS, help="only this node image (may be repeated)")
    building.add_argument("--no-sglang", action="store_true", help="leave the SGLang images out")
    building.set_defaults(run=images)
    arguments = parser.parse_args(words)
    try:
        return int(arguments.run(arguments))
    except LabError as error:
        return fail(str(error))
    except BrokenPipeError:
        return 141  # whoever read our output has read enough
    except KeyboardInterrupt:
        fail("interrupted; run the same command again to go on")
        stop()
