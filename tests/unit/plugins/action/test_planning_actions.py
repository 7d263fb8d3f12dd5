# Copyright (c) 2026 SGLang Fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The actions and the module under a real ansible-playbook, and their documentation against what they take."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.sglang.fleet.plugins.action.launch_plan import ARGUMENT_SPEC
from ansible_collections.sglang.fleet.plugins.module_utils._planner import Wishes

ROOT = Path(__file__).resolve().parents[4]
ROLES = ROOT / "roles"


def documentation(module: str) -> dict[str, t.Any]:
    spec = importlib.util.spec_from_file_location(module, ROOT / "plugins" / "modules" / f"{module}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    parsed: dict[str, t.Any] = yaml.safe_load(loaded.DOCUMENTATION)
    assert yaml.safe_load(loaded.EXAMPLES)
    assert yaml.safe_load(loaded.RETURN)
    return parsed


def facts_of(options: dict[str, dict[str, t.Any]]) -> dict[str, dict[str, t.Any]]:
    keys = ("type", "elements", "default", "choices")
    return {name: {key: option[key] for key in keys if key in option} for name, option in options.items()}


def test_documentation_of_launch_plan_is_what_it_takes() -> None:
    assert facts_of(documentation("launch_plan")["options"]) == facts_of(ARGUMENT_SPEC)


def test_launch_plan_takes_every_wish() -> None:
    assert set(ARGUMENT_SPEC) - set(Wishes.__dataclass_fields__) == {"gpu", "catalogue", "require_driver"}


def test_role_launch_plan_takes_every_option_but_the_gpus() -> None:
    specs = yaml.safe_load((ROLES / "launch_plan/meta/argument_specs.yml").read_text("utf-8"))
    options = specs["argument_specs"]["main"]["options"]
    wanted = {f"launch_plan_{name}": spec for name, spec in ARGUMENT_SPEC.items() if name != "gpu"}
    assert {name: fact["type"] for name, fact in facts_of(options).items()} == {
        name: spec["type"] for name, spec in wanted.items()
    }
    defaults = yaml.safe_load((ROLES / "launch_plan/defaults/main.yml").read_text("utf-8"))
    assert set(defaults) == set(wanted)


def test_defaults_of_fleet_variables_have_one_value() -> None:
    """What the inventory's documentation says is what the role does without the variable."""
    specs = yaml.safe_load((ROLES / "validate_inventory/meta/argument_specs.yml").read_text("utf-8"))
    documented = specs["argument_specs"]["inventory"]["options"]
    for name, option in ARGUMENT_SPEC.items():
        fleet = documented.get("fleet_server_args" if name == "extra_args" else f"fleet_{name}")
        if fleet is not None:
            assert fleet.get("default") == option.get("default"), name


class Run(t.NamedTuple):
    rc: int
    results: dict[str, dict[str, t.Any]]
    text: str

    def result(self, task: str) -> dict[str, t.Any]:
        assert task in self.results, self.text
        return self.results[task]


#: A stdout callback that writes each task's result as one line of JSON, so that no other collection is needed for it.
CALLBACK = """
import json
from ansible.plugins.callback import CallbackBase
DOCUMENTATION = "name: lines\\ntype: stdout\\nshort_description: one JSON line a result\\ndescription: for tests"
class CallbackModule(CallbackBase):
    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME = 2.0, "stdout", "lines"
    def v2_runner_on_ok(self, result, **_):
        self._display.display("RESULT " + json.dumps([result._task.name, json.loads(self._dump_results(result._result))]))
    v2_runner_on_failed = v2_runner_on_ok
"""


@pytest.fixture
def play(tmp_path: Path) -> t.Callable[..., Run]:
    ansible = shutil.which("ansible-playbook", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert ansible is not None
    (tmp_path / "callbacks").mkdir()
    (tmp_path / "callbacks" / "lines.py").write_text(CALLBACK, "utf-8")

    def run(
        tasks: list[dict[str, t.Any]],
        variables: dict[str, t.Any] | None = None,
        connection: str = "local",
        check: bool = False,
    ) -> Run:
        host = {
            "ansible_connection": connection,
            "ansible_host": "192.0.2.1",
            "ansible_python_interpreter": sys.executable,
        }
        inventory = {"all": {"hosts": {"node-1": host}, "vars": variables or {}}}
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory), "utf-8")
        playbook = [{"hosts": "all", "gather_facts": False, "tasks": tasks}]
        (tmp_path / "play.yml").write_text(yaml.safe_dump(playbook), "utf-8")
        done = subprocess.run(
            [ansible, "-i", "hosts.yml", "play.yml", *(["--check"] if check else [])],
            cwd=tmp_path,
            env={
                **os.environ,
                "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
                "ANSIBLE_CALLBACK_PLUGINS": str(tmp_path / "callbacks"),
                "ANSIBLE_STDOUT_CALLBACK": "lines",
                "ANSIBLE_HOME": str(tmp_path / "home"),
                "ANSIBLE_CONFIG": str(tmp_path / "none.cfg"),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        lines = [line[7:] for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        return Run(done.returncode, dict(json.loads(line) for line in lines), done.stdout + done.stderr)

    return run


@pytest.mark.parametrize("check", [False, True])
def test_plan_without_a_connection(play: t.Callable[..., Run], check: bool) -> None:
    """The address is one that nothing answers at: neither action may connect."""
    done = play(
        [
            {"name": "validate", "sglang.fleet.validate_inventory": None},
            {
                "name": "plan",
                "sglang.fleet.launch_plan": {"gpu": "MI300X:8", "model": "{{ fleet_model }}", "layout": "2x4"},
            },
        ],
        {"fleet_model": "M2.1", "fleet_port": "{{ 30000 + 1 }}"},
        connection="ssh",
        check=check,
    )
    assert done.rc == 0, done.text
    assert done.result("validate")["changed"] is False
    result = done.result("plan")
    assert result["changed"] is False
    assert [one["port"] for one in result["ansible_facts"]["fleet_plan"]["instances"]] == [30000, 30001]


def test_roles_on_a_host_without_a_gpu(play: t.Callable[..., Run]) -> None:
    done = play(
        [
            {"name": "validate", "ansible.builtin.import_role": {"name": "sglang.fleet.validate_inventory"}},
            {"name": "plan", "ansible.builtin.import_role": {"name": "sglang.fleet.launch_plan"}},
        ]
    )
    assert done.result("Plan | Find the GPUs")["ansible_facts"]["gpu"]["vendor"] == "none", done.text
    assert done.result("Plan | Plan the servers")["msg"] == (
        "node-1: the host is in the play but has no GPU (no AMD Instinct or NVIDIA data-centre GPU on its PCI bus): take it "
        "out of the group, or look whether the GPU is passed through to it"
    )


def test_role_takes_the_fleet_variables(play: t.Callable[..., Run]) -> None:
    done = play(
        [{"name": "plan", "ansible.builtin.import_role": {"name": "sglang.fleet.launch_plan"}}],
        {"fleet_catalogue": {"gpus": {"H20": {"vendor": "nvidia"}}}},
    )
    assert done.result("Plan | Find the GPUs")["msg"].splitlines()[0] == (
        "node-1: fleet_catalogue.gpus.H20: 'title' is a required property"
    )


FAILURES: list[tuple[dict[str, t.Any], str]] = [
    ({"gpu": "H200:8", "model": "M3"}, "node-1: unknown model M3: set fleet_model to one of M2, M2.1, M2.5, M2.7"),
    (
        {"gpu": "H200"},
        "node-1: gpu is 'H200': give NAME:COUNT, such as H200:8, or the facts of sglang.fleet.gpu_facts",
    ),
    ({}, "node-1: there are no facts of its GPUs: run sglang.fleet.gpu_facts on it first, or give gpu"),
    (
        {"gpu": "H200:8", "port": "abc"},
        "node-1: launch_plan: argument 'port' is of type str and we were unable to convert to int: \"<class 'str'>\" cannot "
        "be converted to an int",
    ),
]


def test_failures_name_the_host(play: t.Callable[..., Run]) -> None:
    tasks = [
        {"name": str(index), "sglang.fleet.launch_plan": arguments or None, "ignore_errors": True}
        for index, (arguments, _message) in enumerate(FAILURES)
    ]
    done = play([*tasks, {"name": "misspelt", "sglang.fleet.launch_plan": {"modl": "M2.7"}, "ignore_errors": True}])
    assert [done.result(str(index))["msg"] for index in range(3)] == [message for _arguments, message in FAILURES[:3]]
    assert done.result("3")["msg"].startswith("node-1: launch_plan: argument 'port' is of type ")
    assert done.result("misspelt")["msg"].startswith("node-1: launch_plan: unsupported option modl.")


def test_validate_inventory_lists_every_problem_and_no_secret(play: t.Callable[..., Run]) -> None:
    done = play(
        [{"name": "validate", "sglang.fleet.validate_inventory": None}],
        {
            "fleet_modl": "M2.7",
            "fleet_port": "{{ 'abc' }}",
            "fleet_layout": "{{ no_such_variable }}",
            "fleet_api_key": "hunter2",
            "launch_plan_model": "{{ ansible_facts.nothing.there }}",
        },
    )
    assert done.rc == 2
    assert done.result("validate")["msg"] == "\n".join(
        [
            "node-1: 4 problems with its variables:",
            "- fleet_layout cannot be worked out: 'no_such_variable' is undefined; define what its template refers to",
            "- fleet_modl is not a variable of this collection: did you mean fleet_model?",
            "- fleet_port is 'abc', a string: it must be a whole number, for example 30000",
            "- fleet_api_key has 7 characters: set it to 16 or more",
        ]
    )
    assert "hunter2" not in done.text
