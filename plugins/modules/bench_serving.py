#!/usr/bin/python
# Copyright (c) 2026 the SGLang Fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: bench_serving
short_description: Measure a node's SGLang servers with sglang.bench_serving
version_added: 0.1.0
author:
  - SGLang Fleet authors (@sglang-fleet)
description:
  - Runs C(sglang.bench_serving) in each server's own container, so that it is of the deployed image and needs no package on
    the node, and no network. One server and one load at a time, each with a flushed cache.
  - The lengths of prompts and answers are drawn by the tool from a seed. The text is the collection's own, or O(dataset).
  - Takes the figures alone from the tool's output, which holds the server's whole configuration with its API key.
  - Needs the servers to itself. One that answers requests of others refuses to flush its cache, and nothing is measured.
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
  profiles:
    description: Names of loads of the catalogue (C(benchmark_profiles)), in order.
    type: list
    elements: str
    default: [low, medium, high]
  catalogue:
    description: Entries over the built-in catalogue, C(fleet_catalogue).
    type: dict
    default: {}
  loads:
    description: The loads themselves, each with its C(name). Set by the action plugin from O(profiles).
    type: list
    elements: dict
    default: []
  host:
    description: The host's name in the records. Set by the action plugin.
    type: str
  instances:
    description: Names of the servers to measure; empty for all of the plan.
    type: list
    elements: str
    default: []
  driver:
    description: The GPU driver as found, C(gpu.driver).
    type: dict
    default: {}
  api_key:
    description: The servers' API key, where they have one.
    type: str
  dataset:
    description: A file on the node in ShareGPT's form, in the place of the collection's own text.
    type: path
  records_file:
    description: Where the last good records are, for C(fleet_benchmarks_last_good).
    type: path
    default: /var/lib/sglang-fleet/records/speed.json
  state_file:
    description: What was applied last, for the image's digest and O(require_record).
    type: path
    default: /var/lib/sglang-fleet/state.json
  require_record:
    description: Refuse servers that are not recorded as applied by this plan, by whose name their figures would go.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Measure latency and throughput
  sglang.fleet.bench_serving:
    plan: "{{ ansible_facts.fleet_plan }}"
    profiles: [low, high]
    driver: "{{ ansible_facts.gpu.driver }}"
"""

RETURN = r"""
ansible_facts:
  description: The records.
  returned: success
  type: dict
  contains:
    fleet_benchmarks:
      description: For each server and load the settings, the metrics, the hardware, the image, the driver and the time.
      type: list
      elements: dict
      returned: always
    fleet_benchmarks_last_good:
      description: The content of O(records_file), the host's last good records; an empty mapping for none.
      type: dict
      returned: always
records:
  description: What had been measured before a load failed.
  returned: failure
  type: list
  elements: dict
"""

import datetime
import json
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.sglang.fleet.plugins.module_utils import _bench, _bench_corpus
from ansible_collections.sglang.fleet.plugins.module_utils._bench import BenchError
from ansible_collections.sglang.fleet.plugins.module_utils._docker import Docker, DockerError
from ansible_collections.sglang.fleet.plugins.module_utils._http import Client, base_url
from ansible_collections.sglang.fleet.plugins.module_utils._state import not_applied

#: where the prompts' text is in the container meanwhile
IN_CONTAINER = "/tmp/sglang-fleet-corpus.json"  # noqa: S108 (of the container)
#: seconds that a server may take to flush its cache
FLUSH_SECONDS = 30


def read_json(path: str) -> Any:
    """The file's content; {} where there is none, or where it is torn."""
    try:
        with open(path, encoding="utf-8") as handle:
            return json.load(handle)
    except (FileNotFoundError, ValueError):
        return {}


class Node:
    """The node's engine, and the text that prompts are made of."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module, self.params = module, module.params
        self.docker = Docker(module.run_command)
        self.containers = self.docker.containers("sglang-")
        self.text, self.corpus = self._corpus()

    def _corpus(self) -> tuple[str, dict[str, str]]:
        given = self.params["dataset"]
        if not given:
            text = _bench_corpus.corpus()
            return text, {"name": "sglang.fleet", "sha256": _bench_corpus.sha256(text)}
        try:
            with open(given, encoding="utf-8") as handle:
                text = handle.read()
            found = json.loads(text)
        except (OSError, ValueError) as error:
            raise BenchError(f"benchmark_dataset {given} cannot be read: {error}") from None
        if not isinstance(found, list):
            raise BenchError(f"benchmark_dataset {given} is no list of conversations, as ShareGPT's file is")
        return text, {"name": os.path.basename(given), "sha256": _bench_corpus.sha256(text)}

    def container(self, instance: dict[str, Any]) -> dict[str, Any]:
        """`docker inspect` of the instance's container. Raises BenchError where it does not run."""
        found = self.containers.get(f"sglang-{instance['name']}")
        if found is None or not found["State"]["Running"]:
            raise BenchError("its container does not run: run playbooks/deploy.yml, and see that the gates pass")
        return found

    def check_applied(self, names: list[str]) -> None:
        """Raises BenchError where the servers are not those of the plan, by whose name their figures would go."""
        why = not_applied(read_json(self.params["state_file"]) or {}, self.params["plan"], names)
        if why:
            raise BenchError(
                f"{why}: run playbooks/deploy.yml, or set the inventory to what runs. Nothing was measured"
            )

    def image(self, container: dict[str, Any]) -> dict[str, Any]:
        """reference, digest and sglang_version of what the container runs; the digest is none of an image built here."""
        planned = self.params["plan"]["image"]
        applied = (read_json(self.params["state_file"]) or {}).get("image") or {}
        if applied.get("id") == container["Image"]:
            digest = applied.get("digest")
        else:
            image = self.docker.image(container["Image"])
            digest = image.digests[0].rpartition("@")[2] if image and image.digests else None
        return {"reference": planned["reference"], "digest": digest, "sglang_version": planned["sglang_version"]}

    def about(self, instance: dict[str, Any]) -> dict[str, Any]:
        """What a record says besides its figures."""
        plan, driver = self.params["plan"], self.params["driver"]
        return {
            "host": self.params["host"] or os.uname().nodename,
            "instance": instance["name"],
            "model": plan["model"],
            "gpu": plan["gpu"],
            "count": len(instance["gpus"]),
            "tp": instance["tp"],
            "ep": instance["ep"],
            "image": self.image(self.container(instance)),
            "driver": {"name": driver.get("name"), "version": driver.get("version")},
            "corpus": self.corpus,
        }

    def put_corpus(self, container: str) -> None:
        path = os.path.join(self.module.tmpdir, "corpus.json")
        with open(path, "w", encoding="utf-8") as handle:
            handle.write(self.text)
        # Whatever user the server runs as must be able to read it.
        os.chmod(path, 0o644)
        self.docker.call("cp", path, f"{container}:{IN_CONTAINER}")

    def drop_corpus(self, container: str) -> None:
        """A server that has ended meanwhile took it along."""
        self.module.run_command(["docker", "exec", container, "rm", "-f", IN_CONTAINER])

    def left_behind(self, container: str) -> list[str]:
        """PIDs on the host of the tool in the container: a program that `docker exec` started outlives whoever started it."""
        code, out, _err = self.module.run_command(["docker", "top", container, "-eo", "pid,args"])
        lines = [line.split(None, 1) for line in out.splitlines()[1:]] if code == 0 else []
        return [line[0] for line in lines if len(line) > 1 and "sglang.bench_serving" in line[1]]

    def measure(self, instance: dict[str, Any], load: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
        """The record of one load. Raises BenchError."""
        key = self.params["api_key"]
        client = Client(instance["address"], instance["port"], key, FLUSH_SECONDS)
        flushed = client.call("/flush_cache", {})
        if flushed.status != 200:
            ours = self.left_behind(f"sglang-{instance['name']}")
            if ours:
                raise BenchError(
                    f"bench_serving of a run that was cut is still at work (pid {', '.join(ours)}): wait for it, or end it with"
                    f" `kill {' '.join(ours)}` on this host. Then run it again"
                )
            raise BenchError(
                f"/flush_cache answered {flushed.status or 'nothing'} ({flushed.excerpt()}), wanted 200: a server that is at"
                " work for others cannot be measured. Take it out of use first"
            )
        served = str(instance["server_args"].get("served-model-name") or self.params["plan"]["model_path"])
        path = str(instance["server_args"].get("tokenizer-path") or instance["server_args"]["model-path"])
        words = _bench.command(
            load,
            f"sglang-{instance['name']}",
            base_url(instance["address"], instance["port"]),
            {"path": path, "served": served},
            IN_CONTAINER,
            bool(key),
        )
        code, out, err = self.module.run_command(words, environ_update={"OPENAI_API_KEY": key} if key else {})
        if code != 0:
            raise BenchError(_bench.without_key(_bench.failure(code, out, err, load), key))
        settings, metrics = _bench.parse_output(out)
        _bench.check(load, settings, metrics)
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        return _bench.record(load["name"], _bench.settings_of(load), metrics, about, now)


def measure_all(node: Node, instances: list[dict[str, Any]], records: list[dict[str, Any]]) -> None:
    """Each load on each instance, one after the other; records grows by each. Raises BenchError that names the place."""
    for instance in instances:
        container, load = f"sglang-{instance['name']}", None
        try:
            about = node.about(instance)
            node.put_corpus(container)
            for load in node.params["loads"]:
                records.append(node.measure(instance, load, about))
        except (BenchError, DockerError) as error:
            which = f" profile {load['name']}:" if load else ""
            raise BenchError(f"instance {instance['name']}:{which} {error}") from None
        finally:
            node.drop_corpus(container)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "plan": {"type": "dict", "required": True},
            "profiles": {"type": "list", "elements": "str", "default": ["low", "medium", "high"]},
            "catalogue": {"type": "dict", "default": {}},
            "loads": {"type": "list", "elements": "dict", "default": []},
            "host": {"type": "str"},
            "instances": {"type": "list", "elements": "str", "default": []},
            "driver": {"type": "dict", "default": {}},
            "api_key": {"type": "str", "no_log": True},
            "dataset": {"type": "path"},
            "records_file": {"type": "path", "default": "/var/lib/sglang-fleet/records/speed.json"},
            "state_file": {"type": "path", "default": "/var/lib/sglang-fleet/state.json"},
            "require_record": {"type": "bool", "default": True},
        },
        supports_check_mode=False,
    )
    planned, wanted = module.params["plan"]["instances"], module.params["instances"]
    unknown = [name for name in wanted if name not in [instance["name"] for instance in planned]]
    if unknown:
        names = ", ".join(instance["name"] for instance in planned)
        module.fail_json(msg=f"benchmark_instances names {', '.join(unknown)}; the plan has {names}", records=[])
    records: list[dict[str, Any]] = []
    chosen = [instance for instance in planned if not wanted or instance["name"] in wanted]
    try:
        node = Node(module)
        if module.params["require_record"]:
            node.check_applied([instance["name"] for instance in chosen])
        measure_all(node, chosen, records)
    except (BenchError, DockerError) as error:
        module.fail_json(msg=str(error), records=records)
    module.exit_json(
        changed=False,
        ansible_facts={
            "fleet_benchmarks": records,
            "fleet_benchmarks_last_good": read_json(module.params["records_file"]),
        },
    )


if __name__ == "__main__":
    main()
