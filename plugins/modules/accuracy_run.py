#!/usr/bin/python
# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: accuracy_run
short_description: Measure how right a node's SGLang servers answer, with lm-eval and NeMo-Skills
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Runs where the tools are, which is another host than the servers' as a rule, and asks the servers over their API. The role
    P(sglang.fleet.accuracy#role) makes the tools' environments and runs this by C(delegate_to).
  - A run that was cut short goes on where it was when it is started again for the same server, image and questions. One that has
    ended is done - the next asks every question anew.
  - The API key and the hub's token reach the tools by their environment.
attributes:
  check_mode:
    support: none
    description: Skipped in check mode, because it is a load on the servers.
  diff_mode:
    support: none
    description: There is nothing to show a difference of.
extends_documentation_fragment:
  - sglang.fleet.attributes
  - sglang.fleet.attributes.facts
options:
  plan:
    description: The plan that the servers run, C(fleet_plan).
    type: dict
    required: true
  benchmarks:
    description: Names of benchmarks of the catalogue (C(accuracy_benchmarks)), in order.
    type: list
    elements: str
    default: [gsm8k]
  catalogue:
    description: Entries over the built-in catalogue, C(fleet_catalogue).
    type: dict
    default: {}
  jobs:
    description: The benchmarks themselves, each with its C(name). Set by the action plugin from O(benchmarks).
    type: list
    elements: dict
    default: []
  environments:
    description: The folder of each tool's virtual environment.
    type: dict
    required: true
    suboptions:
      lm_eval:
        description: That of lm-eval.
        type: path
      nemo_skills:
        description: That of NeMo-Skills.
        type: path
  work_dir:
    description: Where runs that go on, and the last one that ended, keep what they need.
    type: path
    required: true
  host:
    description: The servers' host in the records.
    type: str
    required: true
  node:
    description: The address of the servers' host for others; used where a server listens on every address.
    type: str
    required: true
  same_host:
    description: Whether the tools run on the servers' own host.
    type: bool
    default: false
  urls:
    description: Where a server is asked instead, C(http://HOST:PORT) by its name, as through a tunnel.
    type: dict
    default: {}
  instances:
    description: Names of the servers to measure; empty for all of the plan.
    type: list
    elements: str
    default: []
  data:
    description:
      - Files of JSON lines in the place of a data set, by benchmark. For benchmarks of lm-eval alone.
    type: dict
    default: {}
  limit:
    description: Ask the first questions alone, that many; V(0) for all.
    type: int
    default: 0
  state:
    description: What is recorded as applied on the servers' host, its C(state.json). Servers that are not so are refused; empty for no record.
    type: dict
    default: {}
  driver:
    description: The GPU driver as found, C(gpu.driver).
    type: dict
    default: {}
  api_key:
    description: The servers' API key, where they have one.
    type: str
  hf_token:
    description: The hub's token, for data sets that ask for one (GPQA).
    type: str
"""

EXAMPLES = r"""
- name: Measure accuracy from the controller
  sglang.fleet.accuracy_run:
    plan: "{{ ansible_facts.fleet_plan }}"
    benchmarks: [gsm8k]
    environments:
      lm_eval: /opt/lm-eval
    work_dir: /var/tmp/accuracy
    host: "{{ inventory_hostname }}"
    node: "{{ ansible_host }}"
  delegate_to: localhost
"""

RETURN = r"""
ansible_facts:
  description: The records.
  returned: success
  type: dict
  contains:
    fleet_accuracy:
      description: For each server and benchmark the settings, the metrics in percent, the hardware, the image and the time.
      type: list
      elements: dict
      returned: always
records:
  description: What had been measured before a benchmark failed.
  returned: failure
  type: list
  elements: dict
"""

import datetime
import fcntl
import glob
import hashlib
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.sglang.fleet.plugins.module_utils import _accuracy_lm_eval as lm_eval
from ansible_collections.sglang.fleet.plugins.module_utils import _accuracy_nemo_skills as nemo_skills
from ansible_collections.sglang.fleet.plugins.module_utils._accuracy import (
    AccuracyError,
    failure,
    record,
    run_key,
    server_url,
    without_key,
)
from ansible_collections.sglang.fleet.plugins.module_utils._state import not_applied

#: seconds that a data set may take to come
PREPARE_SECONDS = 3600
#: seconds in which a server has to tell its models
MODELS_SECONDS = 30
#: the folder of the records that have not reached the controller yet, by host; the role removes a host's when they have
UNTAKEN = "untaken"


def read_data(path: str, columns: list[str]) -> str:
    """The SHA-256 of a file of questions. Raises AccuracyError where it is none."""
    try:
        with open(path, "rb") as handle:
            content = handle.read()
        rows = [json.loads(line) for line in content.decode("utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise AccuracyError(f"accuracy_data {path} cannot be read as JSON lines: {error}") from None
    for number, row in enumerate(rows, 1):
        missing = [column for column in columns if not isinstance(row, dict) or not isinstance(row.get(column), str)]
        if missing:
            raise AccuracyError(f"accuracy_data {path}: row {number} has no text {', '.join(missing)}")
    if not rows:
        raise AccuracyError(f"accuracy_data {path} has no rows")
    return hashlib.sha256(content).hexdigest()


def write(path: str, text: str) -> None:
    """A file for our user alone."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as handle:
        handle.write(text)


def read(path: str) -> str:
    with open(path, encoding="utf-8") as handle:
        return handle.read()


def read_record(path: str) -> Any:
    """The record in a file; None where there is none."""
    try:
        return json.loads(read(path))
    except (FileNotFoundError, ValueError):
        return None


def drop_unless_held(folder: str) -> None:
    """Removes what a run left that will not go on: another image is served by now, or other questions were asked."""
    try:
        with open(f"{folder}/lock", "a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return


class Run:
    """One benchmark on one server."""

    def __init__(self, module: AnsibleModule, instance: dict[str, Any], job: dict[str, Any]) -> None:
        self.module, self.params, self.instance, self.job = module, module.params, instance, job
        self.name, self.tool = job["name"], job["tool"]
        self.url = server_url(
            instance, self.params["node"], self.params["same_host"], self.params["urls"].get(instance["name"], "")
        )
        plan = self.params["plan"]
        self.model = str(instance["server_args"].get("served-model-name") or plan["model_path"])
        self.environment = str(self.params["environments"].get(self.tool.replace("-", "_")) or "")
        self.data = (
            os.path.abspath(self.params["data"].get(self.name, "") or "") if self.name in self.params["data"] else ""
        )
        self.secrets = [key for key in (self.params["api_key"], self.params["hf_token"]) if key]
        self.folder = ""

    def about(self) -> dict[str, Any]:
        """What a record says besides its figures."""
        plan, driver = self.params["plan"], self.params["driver"]
        image = {key: plan["image"].get(key) for key in ("reference", "digest", "sglang_version")}
        applied = self.params["state"].get("image") or {}
        return {
            "host": self.params["host"],
            "instance": self.instance["name"],
            "model": plan["model"],
            "gpu": plan["gpu"],
            "count": len(self.instance["gpus"]),
            "tp": self.instance["tp"],
            "ep": self.instance["ep"],
            "image": {**image, "digest": applied.get("digest") or image["digest"]},
            "driver": {"name": driver.get("name"), "version": driver.get("version")},
        }

    def check_applied(self) -> None:
        """Raises AccuracyError where the server is not the plan's, by whose name its figures would go."""
        state = self.params["state"]
        why = not_applied(state, self.params["plan"], [self.instance["name"]]) if state else ""
        if why:
            raise AccuracyError(
                f"{why}: run playbooks/deploy.yml, or set the inventory to what runs. Nothing was asked"
            )

    def check_server(self) -> None:
        """Raises AccuracyError where the server does not serve the model: the tools would ask for hours, or say it worse."""
        key = self.params["api_key"]
        request = urllib.request.Request(
            f"{self.url}/v1/models", headers={"Authorization": f"Bearer {key}"} if key else {}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=MODELS_SECONDS) as answer:
                served = [model["id"] for model in json.load(answer)["data"]]
        except (OSError, ValueError, LookupError) as error:
            raise AccuracyError(
                f"{self.url}/v1/models does not answer as it should from here ({error}): wanted a list with {self.model}."
                " See that the server runs, that its API key is right and that this host reaches it (accuracy_host, accuracy_urls)"
            ) from None
        if self.model not in served:
            raise AccuracyError(f"{self.url} serves {', '.join(served)}, not {self.model}")

    def words(self, *command: str, seconds: int = 60, fd: int | None = None) -> tuple[int, str, str]:
        """Runs a program of the environment with nothing of Python's or a proxy's settings in its way."""
        path = os.pathsep.join([os.path.join(self.environment, "bin"), os.environ.get("PATH", "")])
        name = urllib.parse.urlsplit(self.url).hostname or ""
        direct = ",".join(word for word in (os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), name) if word)
        environment = {"PATH": path, "NO_PROXY": direct, "no_proxy": direct, "PYTHONPATH": "", "PYTHONUNBUFFERED": "1"}
        environment["NEMORUN_HOME"] = f"{self.folder}/nemo_run"
        # A tool that finds no key takes another of the caller's, which is not this server's to see.
        environment["OPENAI_API_KEY"] = self.params["api_key"] or ""
        if self.params["hf_token"]:
            environment["HF_TOKEN"] = self.params["hf_token"]
        if self.data:
            offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
            environment.update(offline, HF_DATASETS_CACHE=f"{self.folder}/datasets")
        code, out, err = self.module.run_command(
            ["timeout", "--kill-after=30", str(seconds), *command],
            environ_update=environment,
            cwd=self.folder or None,
            pass_fds=[fd] if fd is not None else None,
        )
        return code, out, err

    def program(self, name: str) -> str:
        path = os.path.join(self.environment, "bin", name)
        if not self.environment or not os.access(path, os.X_OK):
            raise AccuracyError(f"{path} is not there: the environment of {self.tool} was not made (role accuracy)")
        return path

    def tell(self, program: str) -> list[str]:
        """What a short Python program prints in the environment, line by line."""
        code, out, err = self.words(self.program("python"), "-c", program, seconds=600)
        if code:
            raise AccuracyError(f"the environment {self.environment} does not work: {err.strip().splitlines()[-1:]}")
        return out.split()

    def execute(self, command: list[str], seconds: int, fd: int) -> None:
        code, out, err = self.words(*command, seconds=seconds, fd=fd)
        log = f"{self.folder}/log"
        write(log, without_key(f"{out}\n{err}", self.secrets))
        if code:
            raise AccuracyError(without_key(failure(code, err or out, seconds, log), self.secrets))

    def lm_eval(self, package: str, fd: int) -> dict[str, Any]:
        write(f"{self.folder}/task/{lm_eval.TASK}.yaml", lm_eval.task_file(self.job, package, self.data))
        shutil.rmtree(f"{self.folder}/output", ignore_errors=True)
        server = {"url": self.url, "model": self.model}
        command = lm_eval.command(self.program("lm_eval"), self.job, server, self.folder, self.params["limit"])
        self.execute(command, self.job["seconds"], fd)
        found = [glob.glob(f"{self.folder}/output/*/{name}") for name in ("results_*.json", "samples_*.jsonl")]
        if [len(paths) for paths in found] != [1, 1]:
            raise AccuracyError(f"lm-eval left no results in {self.folder}/output; {self.folder}/log may say why")
        return lm_eval.read(read(found[0][0]), read(found[1][0]), self.job["extraction"])

    def nemo_skills(self, datasets: str, fd: int) -> dict[str, Any]:
        if not os.path.exists(f"{datasets}/{self.job['benchmark']}/{self.job['split']}.jsonl"):
            self.execute(nemo_skills.prepare_command(self.program("ns"), self.job), PREPARE_SECONDS, fd)
        server, key = {"url": self.url, "model": self.model}, bool(self.params["api_key"])
        command = nemo_skills.command(self.program("ns"), self.job, server, self.folder, self.params["limit"], key)
        self.execute(command, self.job["seconds"], fd)
        path = f"{self.folder}/{nemo_skills.metrics_file(self.job)}"
        if not os.path.exists(path):
            raise AccuracyError(f"NeMo-Skills left no {path}; {self.folder}/log may say why. Run it again: it goes on")
        return nemo_skills.read(read(path), self.job)

    def measure(self) -> dict[str, Any]:
        """The record. Raises AccuracyError."""
        if self.data and self.tool != "lm-eval":
            raise AccuracyError(
                f"accuracy_data has a file for {self.name}, which is of {self.tool}: only lm-eval takes one"
            )
        sha256 = read_data(self.data, self.job["columns"]) if self.data else ""
        self.check_applied()
        self.check_server()
        facts = self.tell(lm_eval.TASKS_PROGRAM if self.tool == "lm-eval" else nemo_skills.DATASETS_PROGRAM)
        about, work = self.about(), self.params["work_dir"]
        more = {"served": self.model, "data": sha256, "limit": self.params["limit"], "tool": facts}
        prefix = f"{about['host']}-{about['instance']}"
        key = run_key(self.name, self.job, about, more)
        # What an earlier call has measured and nobody has taken: it was cut in a later benchmark, or its playbook was gone.
        kept = os.path.join(work, UNTAKEN, str(about["host"]), f"{about['instance']}-{key}.json")
        self.folder = os.path.join(work, f"{prefix}-{key}")
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        with open(f"{self.folder}/lock", "a", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise AccuracyError(
                    f"a run of it is still at work in {self.folder}: wait for it to end, then run again to take its answers"
                ) from None
            found = read_record(kept)
            if found is not None:
                shutil.rmtree(self.folder, ignore_errors=True)
                return found
            began = time.monotonic()
            # The tool has the lock, too: it may outlive us.
            if self.tool == "lm-eval":
                result = self.lm_eval(facts[1], lock.fileno())
            else:
                result = self.nemo_skills(facts[0], lock.fileno())
            now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
            made = record(self.name, self.job, result, about, now, time.monotonic() - began, sha256)
            write(f"{self.folder}/record.json", json.dumps(made, indent=2) + "\n")
            write(f"{kept}.tmp", json.dumps(made, indent=2) + "\n")
            os.replace(f"{kept}.tmp", kept)
            # Its answers are of this run alone: the next must ask again.
            last = os.path.join(work, "last", f"{prefix}-{self.name}")
            shutil.rmtree(last, ignore_errors=True)
            os.makedirs(os.path.dirname(last), mode=0o700, exist_ok=True)
            os.rename(self.folder, last)
        # The end is run_key's: another benchmark's name may begin with this one's.
        for old in glob.glob(os.path.join(work, f"{prefix}-{self.name}-*")):
            if re.fullmatch(r"-[0-9a-f]{12}", old[len(os.path.join(work, f"{prefix}-{self.name}")) :]):
                drop_unless_held(old)
        return made


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "plan": {"type": "dict", "required": True},
            "benchmarks": {"type": "list", "elements": "str", "default": ["gsm8k"]},
            "catalogue": {"type": "dict", "default": {}},
            "jobs": {"type": "list", "elements": "dict", "default": []},
            "environments": {
                "type": "dict",
                "required": True,
                "options": {"lm_eval": {"type": "path"}, "nemo_skills": {"type": "path"}},
            },
            "work_dir": {"type": "path", "required": True},
            "host": {"type": "str", "required": True},
            "node": {"type": "str", "required": True},
            "same_host": {"type": "bool", "default": False},
            "urls": {"type": "dict", "default": {}},
            "instances": {"type": "list", "elements": "str", "default": []},
            "data": {"type": "dict", "default": {}},
            "limit": {"type": "int", "default": 0},
            "state": {"type": "dict", "default": {}},
            "driver": {"type": "dict", "default": {}},
            "api_key": {"type": "str", "no_log": True},
            "hf_token": {"type": "str", "no_log": True},
        },
        supports_check_mode=False,
    )
    planned, wanted = module.params["plan"]["instances"], module.params["instances"]
    unknown = [name for name in wanted if name not in [instance["name"] for instance in planned]]
    if unknown:
        names = ", ".join(instance["name"] for instance in planned)
        module.fail_json(msg=f"accuracy_instances names {', '.join(unknown)}; the plan has {names}", records=[])
    strangers = [name for name in module.params["urls"] if name not in [instance["name"] for instance in planned]]
    if strangers:
        names = ", ".join(instance["name"] for instance in planned)
        module.fail_json(
            msg=f"accuracy_urls has {', '.join(strangers)}; the plan has the instances {names}", records=[]
        )
    records: list[dict[str, Any]] = []
    for instance in planned:
        if wanted and instance["name"] not in wanted:
            continue
        for job in module.params["jobs"]:
            try:
                records.append(Run(module, instance, job).measure())
            except AccuracyError as error:
                module.fail_json(msg=f"instance {instance['name']}: {job['name']}: {error}", records=records)
    module.exit_json(changed=False, ansible_facts={"fleet_accuracy": records})


if __name__ == "__main__":
    main()
