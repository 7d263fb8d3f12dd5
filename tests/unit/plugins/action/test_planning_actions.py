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

from ansible_collections.sglang.fleet.plugins.action.launch_plan import ARGUMENT_SPEC, gpu_facts
from ansible_collections.sglang.fleet.plugins.module_utils._catalogue import load_catalogue
from ansible_collections.sglang.fleet.plugins.module_utils._lock import lock_digest, make_lock, plan_entry, render_lock
from ansible_collections.sglang.fleet.plugins.module_utils._plan_input import Wishes, facts_for
from ansible_collections.sglang.fleet.plugins.module_utils._plan_rules import PlanError
from ansible_collections.sglang.fleet.plugins.module_utils._planner import make_plan
from tests.unit.plugins.module_utils.test__lock import IMAGES, MODELS

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
    assert set(ARGUMENT_SPEC) - set(Wishes.__dataclass_fields__) == {
        "gpu",
        "count",
        "gpu_memory_mib",
        "catalogue",
        "require_driver",
        "lock",
        "weights",
    }
    assert set(Wishes.__dataclass_fields__) <= set(ARGUMENT_SPEC)
    for name, field in Wishes.__dataclass_fields__.items():
        default = field.default_factory() if callable(field.default_factory) else field.default
        spec: t.Any = ARGUMENT_SPEC[name].get("default")
        assert (tuple(spec) if isinstance(default, tuple) else spec) == default, name


def test_role_launch_plan_takes_every_option_but_the_gpus() -> None:
    specs = yaml.safe_load((ROLES / "launch_plan/meta/argument_specs.yml").read_text("utf-8"))
    options = specs["argument_specs"]["main"]["options"]
    without_a_host = ("gpu", "count", "gpu_memory_mib")
    wanted = {f"launch_plan_{name}": spec for name, spec in ARGUMENT_SPEC.items() if name not in without_a_host}
    wanted["launch_plan_gather"] = {"type": "bool"}
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
        shown = {**json.loads(self._dump_results(result._result)), "warnings": list(result._result.get("warnings", ()))}
        self._display.display("RESULT " + json.dumps([result._task.name, shown]))
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
    instances = result["ansible_facts"]["fleet_plan"]["instances"]
    assert [one["port"] for one in instances] == [30000, 30001]
    assert result["commands"] == [one["command_line"] for one in instances]


def test_the_lock_file_beside_the_inventory(play: t.Callable[..., Run], tmp_path: Path) -> None:
    """It is found without being named, and a plan that differs from it, or a file that is no lock, fails the host."""
    catalogue = load_catalogue()
    entry = plan_entry(make_plan(catalogue, facts_for(catalogue, "H200", 8), Wishes()).to_dict())
    lock = make_lock({entry["image"]: next(iter(IMAGES.values()))}, MODELS, [entry])
    (tmp_path / "fleet.lock.yml").write_text(render_lock(lock), "utf-8")
    (tmp_path / "wrong.lock.yml").write_text("schema: 1", "utf-8")

    def planned(name: str, **variables: t.Any) -> dict[str, t.Any]:
        # On facts that no host has to give.
        facts = {"gpu": facts_for(catalogue, "H200", 8), "cacheable": True}
        return {
            "name": name,
            "block": [
                {"name": f"{name} facts", "ansible.builtin.set_fact": facts},
                {
                    "name": f"{name} role",
                    "ansible.builtin.import_role": {"name": "sglang.fleet.launch_plan"},
                    "vars": {"launch_plan_gather": False, **variables},
                },
            ],
            "rescue": [{"name": f"{name} failed", "ansible.builtin.debug": {"msg": "{{ ansible_failed_result.msg }}"}}],
        }

    done = play(
        [planned("same"), {"name": "same plan", "ansible.builtin.debug": {"msg": "{{ ansible_facts.fleet_plan }}"}}]
    )
    plan = done.result("same plan")["msg"]
    assert plan["lock"]["sha256"] == lock_digest(lock), done.text
    assert plan["instances"][0]["server_args"]["revision"] == plan["lock"]["weights"]["revision"]
    done = play(
        [
            planned("other", fleet_layout="2x4"),
            planned("wrong", fleet_lock_file="wrong.lock.yml"),
            planned("absent", fleet_lock_file="prod.lock.yml"),
            planned("without", fleet_lock_file="", fleet_layout="2x4"),
            {"name": "without a lock", "ansible.builtin.debug": {"msg": "{{ ansible_facts.fleet_plan.lock is none }}"}},
            {"name": "mapping", "sglang.fleet.launch_plan": {"gpu": "H200:8", "lock": lock, "weights": "server"}},
        ]
    )
    assert "layout 2x4, locked 1x8" in done.result("other failed")["msg"]
    assert "the lock wrong.lock.yml is not right" in done.result("wrong failed")["msg"]
    assert "there is no lock prod.lock.yml: correct fleet_lock_file" in done.result("absent failed")["msg"]
    given = done.result("mapping")["ansible_facts"]["fleet_plan"]["lock"]
    assert (given["sha256"], given["weights"]) == (lock_digest(lock), None)
    assert done.result("without a lock")["msg"] is True


def of_role(role: str, name: str) -> t.Any:
    return yaml.safe_load((ROLES / role / name).read_text("utf-8"))


LOCKED = {"repository": "MiniMaxAI/MiniMax-M2.7", "revision": "a" * 40}


@pytest.mark.parametrize(("weights", "token"), [(LOCKED, ""), (None, "hf_x")])
def test_servers_on_locked_weights_get_no_token(
    play: t.Callable[..., Run], weights: dict[str, str] | None, token: str
) -> None:
    """Nor does another token start servers anew, whatever they are on."""
    for name in ("before-start", "without-keys", "sglang@.service"):
        assert (ROLES / "sglang_server/files" / name).is_file()
    show = "{{ [__sglang_server_secrets.hf_token | default(''), __sglang_server_shared_paths | join(' ')] }}"
    done = play(
        [
            {"ansible.builtin.include_vars": {"file": str(ROLES / "sglang_server/vars/main.yml")}},
            {"name": "shown", "ansible.builtin.debug": {"msg": show}},
        ],
        {
            "sglang_server_plan": {"lock": {"weights": weights}},
            "sglang_server_hf_token": "hf_x",
            "sglang_server_api_key": "",
        },
    )
    given, shared = done.result("shown")["msg"]
    assert given == token
    assert "hf_token" not in shared


@pytest.mark.parametrize(
    ("weights", "found", "refused"),
    [
        (LOCKED, {}, True),
        (LOCKED, {"complete": False, "revision": "a" * 40}, True),
        (LOCKED, {"complete": True, "revision": "b" * 40}, True),
        (LOCKED, {"complete": True, "revision": "a" * 40}, False),
        (None, {}, False),
    ],
)
def test_no_server_is_configured_without_its_locked_weights(
    play: t.Callable[..., Run], weights: dict[str, str] | None, found: dict[str, t.Any], refused: bool
) -> None:
    [task] = [one for one in of_role("sglang_server", "tasks/main.yml") if "locked weights" in one["name"]]
    tasks = [
        {"ansible.builtin.include_vars": {"file": str(ROLES / "sglang_server/vars/main.yml")}},
        {"ansible.builtin.set_fact": {"fleet_weights": found, "cacheable": True}},
        task,
    ]
    defaults = yaml.safe_load((ROLES / "sglang_server/defaults/main.yml").read_text(encoding="utf-8"))
    plan = {
        "sglang_server_plan": {"lock": {"weights": weights}},
        "sglang_server_weights_dir": "/w",
        "sglang_server_weights": defaults["sglang_server_weights"],
    }
    done = play(tasks, plan)
    assert (done.rc != 0) is refused, done.text
    if refused:
        assert "has not found them whole in /w" in done.result(task["name"])["msg"]
    assert play(tasks, plan, check=True).rc == 0, "in check mode they are yet to come"


def test_a_tag_brings_along_what_it_needs() -> None:
    """Weights are fetched in the image, and a server's configuration names both."""
    tags = {
        role: [set(task["tags"]) for task in of_role(role, "tasks/main.yml")]
        for role in ("sglang_image", "sglang_patch", "model_weights", "sglang_server")
    }
    of_server, of_weights = set.union(*tags["sglang_server"]), set.union(*tags["model_weights"])
    assert all(of_server <= those for those in tags["model_weights"])
    assert all(of_weights <= those for role in ("sglang_image", "sglang_patch") for those in tags[role])
    applied = [
        set(task["ansible.builtin.include_tasks"]["apply"]["tags"])
        for task in of_role("model_weights", "tasks/main.yml")
    ]
    assert applied == tags["model_weights"]


@pytest.mark.parametrize(
    ("role", "image", "refused"), [("seed", "", True), ("seed", "sha256:a", False), ("none", "", False)]
)
def test_weights_are_not_fetched_in_no_image(play: t.Callable[..., Run], role: str, image: str, refused: bool) -> None:
    [task] = [one for one in of_role("model_weights", "tasks/locked.yml") if "without the image" in one["name"]]
    done = play(
        [{"ansible.builtin.set_fact": {"fleet_weights_plan": {"role": role}, "cacheable": True}}, task],
        {"model_weights_image": image},
    )
    assert (done.rc != 0) is refused, done.text


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
        {"fleet_catalogue": {"gpus": {"R100": {"vendor": "nvidia"}}}},
    )
    assert done.result("Plan | Find the GPUs")["msg"].splitlines()[0] == (
        "node-1: fleet_catalogue.gpus.R100: 'title' is a required property"
    )


EVERY_VARIABLE: dict[str, t.Any] = {
    "model": "M2.5",
    "layout": "2x4",
    "ep": 2,
    "profile": "cookbook",
    "address": "10.0.0.7",
    "port": 31000,
    "context_length": 65536,
    "mem_fraction_static": 0.9,
    "reasoning_parser": True,
    "tool_call_parser": False,
    "enable_metrics": True,
    "extra_args": {"schedule-policy": "lpm", "trust-remote-code": None},
    "image": "mirror.example:5000/sglang:v1",
    "sglang_version": "0.5.10.post1",
    "weights_dir": "/data/hf",
    "allow_known_issues": ["a100-fp8"],
    "patches": [
        {"name": "ours", "file": "a.py", "action": "replace", "old": "x\n", "new": "y\n", "why": "w", "source": "s"}
    ],
}


def test_role_carries_every_wish_to_the_plan(play: t.Callable[..., Run]) -> None:
    assert set(EVERY_VARIABLE) == set(Wishes.__dataclass_fields__)
    catalogue = load_catalogue()
    facts = facts_for(catalogue, "H200", 8)
    done = play(
        [
            {"name": "facts", "ansible.builtin.set_fact": {"gpu": facts, "cacheable": True}},
            {
                "name": "plan",
                "ansible.builtin.import_role": {"name": "sglang.fleet.launch_plan"},
                "vars": {"launch_plan_gather": False},
            },
        ],
        {f"fleet_{'server_args' if name == 'extra_args' else name}": value for name, value in EVERY_VARIABLE.items()},
    )
    tuples = {name: tuple(EVERY_VARIABLE[name]) for name in ("allow_known_issues", "patches")}
    wishes = Wishes(**{**EVERY_VARIABLE, **tuples})
    found = done.result("Plan | Plan the servers")["ansible_facts"]["fleet_plan"]
    assert found == json.loads(json.dumps(make_plan(catalogue, facts, wishes).to_dict()))


def test_a_plan_warns_of_what_is_more_than_a_note(play: t.Callable[..., Run]) -> None:
    done = play([{"name": "plan", "sglang.fleet.launch_plan": {"gpu": "MI300X:4", "layout": "1x4"}}])
    assert done.rc == 0, done.text
    what = "MiniMax-M2.7 on 4 x MI300X"
    assert done.result("plan")["warnings"] == [
        f"{what}: mi300x-tp4-decode-crash: decoding on 4 x MI300X with the published flags can crash or hang while /v1/models "
        "still answers 200; the aiter attention backend without the custom all-reduce was stable, so the plan has "
        "--attention-backend aiter --disable-custom-all-reduce; add mi300x-tp4-decode-crash to fleet_allow_known_issues for "
        "the published flags (https://github.com/sgl-project/sglang/issues/22714)",
        f"{what}: streaming-tool-calls: tool calls of streamed answers can be malformed; have clients that use tools ask for "
        "whole answers (stream false) (https://github.com/sgl-project/sglang/issues/23071)",
    ]
    assert [warning["id"] for warning in done.result("plan")["ansible_facts"]["fleet_plan"]["warnings"]] == [
        "licence",
        "assumed-devices",
        "mi300x-tp4-decode-crash",
        "streaming-tool-calls",
        "amd-vram-after-kill",
    ]


def test_what_is_set_aside_is_in_the_plan_alone(play: t.Callable[..., Run]) -> None:
    allowed = ["mi300x-tp4-decode-crash", "streaming-tool-calls"]
    gpus = {"gpu": "MI300X", "count": 4, "gpu_memory_mib": "150000"}
    done = play([{"name": "plan", "sglang.fleet.launch_plan": {**gpus, "allow_known_issues": allowed}}])
    assert done.result("plan")["warnings"] == []
    plan = done.result("plan")["ansible_facts"]["fleet_plan"]
    assert [warning["id"] for warning in plan["warnings"] if warning["severity"] == "override"] == allowed
    assert (plan["count"], plan["memory_mib"]) == (4, 150000)


FAILURES: list[tuple[dict[str, t.Any], str | None, str]] = [
    (
        {"gpu": "H200:8", "layout": "1x16"},
        "gpus",
        "node-1: fleet_layout 1x16 needs 16 GPUs, the host has 8 x H200; legal on this host: 1, 2, 4, 8 GPUs an instance (1 "
        "without the memory for it); set fleet_layout to 1x8",
    ),
    (
        {"gpu": "H200:8", "model": "M3"},
        None,
        "node-1: unknown model M3: set fleet_model to one of MiniMax-M2, MiniMax-M2.1, MiniMax-M2.5, MiniMax-M2.7",
    ),
    ({}, None, "node-1: there are no facts of its GPUs: run sglang.fleet.gpu_facts on it first, or give gpu"),
    (
        {"gpu": "H200:8", "catalogue": {"gpus": {"H200": {"memory": 1}}}},
        None,
        "node-1: fleet_catalogue.gpus.H200: unknown key memory; known: title, vendor, pci_ids, virtual_pci_ids, memory_mib, "
        "memory_source, compute_capability, gfx, image_class, generator",
    ),
]


def test_failures_name_the_host(play: t.Callable[..., Run]) -> None:
    tasks = [
        {"name": str(index), "sglang.fleet.launch_plan": arguments or None, "ignore_errors": True}
        for index, (arguments, _rule, _message) in enumerate(FAILURES)
    ]
    wrong = {"port": {"gpu": "H200:8", "port": "abc"}, "misspelt": {"modl": "M2.7"}}
    more = [{"name": name, "sglang.fleet.launch_plan": given, "ignore_errors": True} for name, given in wrong.items()]
    done = play([*tasks, *more])
    found = [done.result(str(index)) for index in range(len(FAILURES))]
    assert [(one["rule"], one["msg"]) for one in found] == [(rule, message) for _given, rule, message in FAILURES]
    assert done.result("port")["msg"].startswith("node-1: launch_plan: argument 'port' is of type ")
    assert done.result("misspelt")["msg"].startswith("node-1: launch_plan: unsupported option modl.")


FACTS = {"count": 3, "model": "H200"}
TAKEN: list[tuple[t.Any, int | None, int | None, str, int, int]] = [
    ("H200:3", None, None, "H200", 3, 143771),
    ("H200", 3, None, "H200", 3, 143771),
    ("h200:3", None, 100000, "H200", 3, 100000),
    # Without a count, the one that the published generator picks.
    ("H200", None, None, "H200", 8, 143771),
    ("H100", None, None, "H100", 4, 81559),
    ("MI300X", None, 150000, "MI300X", 2, 150000),
    ("A800", None, None, "A800", 8, 81920),
]


@pytest.mark.parametrize(("gpu", "count", "memory_mib", "name", "found", "memory"), TAKEN)
def test_gpus_by_name(gpu: str, count: int | None, memory_mib: int | None, name: str, found: int, memory: int) -> None:
    facts = gpu_facts(load_catalogue(), gpu, {}, "M2.7", count, memory_mib)
    assert (facts["model"], facts["count"], facts["memory_mib"]) == (name, found, memory)


def test_gpus_by_their_facts() -> None:
    catalogue = load_catalogue()
    assert gpu_facts(catalogue, FACTS, {"ansible_facts": {"gpu": {"count": 9}}}, "M2.7", None, None) is FACTS
    assert gpu_facts(catalogue, None, {"ansible_facts": {"gpu": FACTS}}, "M2.7", None, None) is FACTS


NO_GPUS: list[tuple[t.Any, int | None, int | None, str]] = [
    (None, None, None, "there are no facts of its GPUs: run sglang.fleet.gpu_facts on it first, or give gpu"),
    *[
        (
            gpu,
            count,
            memory,
            "count and gpu_memory_mib go with the name of a GPU: give gpu as a name, such as H200, too",
        )
        for gpu in (None, FACTS)
        for count, memory in ((8, None), (None, 100000))
    ],
    *[
        (
            gpu,
            count,
            None,
            f"gpu is {gpu!r}: give NAME:COUNT, such as H200:8, or NAME and count, or the facts of gpu_facts",
        )
        for gpu, count in (
            ("H200:", None),
            ("H200:x", None),
            ("H200:-1", None),
            ("H200:8:8", None),
            ("H200:8", 8),
            ("H200:\u00b2", None),
        )
    ],
    ("H200:0", None, None, "0 GPUs: give 1 to 64"),
    ("H200", 0, None, "0 GPUs: give 1 to 64"),
]


@pytest.mark.parametrize(("gpu", "count", "memory_mib", "message"), NO_GPUS)
def test_no_such_gpus(gpu: t.Any, count: int | None, memory_mib: int | None, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        gpu_facts(load_catalogue(), gpu, {"ansible_facts": {}}, "M2.7", count, memory_mib)
    assert str(caught.value) == message


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
