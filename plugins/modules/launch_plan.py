#!/usr/bin/python
# Copyright (c) 2026 SGLang Fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name. This file carries its documentation.

from __future__ import annotations

DOCUMENTATION = r"""
module: launch_plan
short_description: Plan how a host serves a model
version_added: 0.1.0
description:
  - Works out image, patches, GPUs and ports of each server instance, tensor and expert parallelism, server arguments and
    container options, from the host's GPU facts, the collection's catalogue and the wishes given here.
  - Refuses what the model's arithmetic does not allow or the GPUs have no memory for, and names what is allowed.
  - Runs on the controller. It needs no connection.
options:
  model:
    description: Name of a model in the catalogue, or its Hugging Face repository.
    type: str
    default: M2.7
  gpu:
    description:
      - The GPU facts to plan for, or V(NAME:COUNT) such as V(H200:8) to plan without a host.
      - Left out, the facts that M(sglang.fleet.gpu_facts) gathered for the host.
    type: raw
  layout:
    description:
      - V(auto), or V(NxT) for N instances of T GPUs each, such as V(2x4).
      - V(auto) is one instance of the published default for the GPU, or of what the host has and the model allows.
    type: str
    default: auto
  profile:
    description: Name of a container profile in the catalogue, V(hardened) or V(cookbook).
    type: str
    default: hardened
  address:
    description: Address that the servers bind.
    type: str
    default: 127.0.0.1
  port:
    description: Port of the first instance; the next ones follow it.
    type: int
    default: 30000
  context_length:
    description: Longest request in tokens that must fit. Left out, the model's own limit, as far as the memory goes.
    type: int
  mem_fraction_static:
    description: Share of the GPU memory for weights and KV cache. Left out, the model's published value.
    type: float
  reasoning_parser:
    description: Whether thinking is parsed. Left out, the published default of the model.
    type: bool
  tool_call_parser:
    description: Whether tool calls are parsed. Left out, the published default of the model.
    type: bool
  enable_metrics:
    description: Whether the servers offer Prometheus metrics.
    type: bool
    default: false
  extra_args:
    description:
      - Further server arguments, SGLang's long option names without dashes. V(true) is a bare flag.
      - V(false) or null takes an argument of the plan away.
      - Arguments that the plan sets itself, that change how many GPUs a server takes (data and pipeline parallelism, several
        nodes), TLS and secrets are refused.
    type: dict
    default: {}
  image:
    description: Image reference to use instead of the published one, for example a mirror's. All else stays.
    type: str
  weights_dir:
    description: Folder of the host that holds the weights.
    type: path
    default: /var/lib/sglang-fleet/huggingface
  allow_known_issues:
    description: Names of known issues that would refuse the plan and shall not.
    type: list
    elements: str
    default: []
  catalogue:
    description: Entries to add to or to change in the catalogue, of the same shape. Needs C(jsonschema) on the controller.
    type: dict
    default: {}
  require_driver:
    description: Whether a driver that is missing or too old for the image refuses the plan. If not, it is a warning.
    type: bool
    default: true
author:
  - SGLang Fleet contributors (@sglang-fleet)
attributes:
  action:
    description: Has an action plugin, which does the work on the controller.
    support: full
  check_mode:
    description: Runs the same in check mode, since it changes nothing.
    support: full
  connection:
    description: Uses no connection to the host.
    support: none
  diff_mode:
    description: There is nothing to show, since it changes nothing.
    support: none
  facts:
    description: Returns ansible_facts.
    support: full
seealso:
  - module: sglang.fleet.gpu_facts
"""

EXAMPLES = r"""
- name: Gather the facts of the GPUs
  sglang.fleet.gpu_facts:

- name: Plan two servers of four GPUs each
  sglang.fleet.launch_plan:
    model: M2.7
    layout: 2x4

- name: Plan for eight H200 without a host
  sglang.fleet.launch_plan:
    model: M2.7
    gpu: H200:8
"""

RETURN = r"""
ansible_facts:
  description: Facts to add to the host.
  returned: success
  type: dict
  contains:
    fleet_plan:
      description: The plan. No secret is in it.
      type: dict
      contains:
        model:
          description: Its C(name) and its Hugging Face C(id).
          type: dict
        gpu:
          description: The C(model), C(count), C(vendor) and C(memory_mib) of the GPUs.
          type: dict
        image:
          description: The C(reference), C(sglang_version) and C(source_root) of the image.
          type: dict
        patches:
          description: Changes to make in the image, with C(name), C(file), C(action), C(to) or C(line), C(why), C(source).
          type: list
          elements: dict
        profile:
          description: The container profile.
          type: str
          sample: hardened
        instances:
          description: The servers.
          type: list
          elements: dict
          contains:
            name:
              description: Name of the instance.
              type: str
              sample: "0"
            gpus:
              description: Indexes of its GPUs.
              type: list
              elements: int
            address:
              description: Address that it binds.
              type: str
            port:
              description: Port that it binds.
              type: int
            tp:
              description: Tensor parallel size.
              type: int
            ep:
              description: Expert parallel size.
              type: int
            server_args:
              description: SGLang's long option names without dashes, in order. V(true) is a bare flag.
              type: dict
            command_line:
              description: The command as a person would type it.
              type: str
            container_options:
              description: Options of C(docker run), one word each.
              type: list
              elements: str
        memory:
          description: The fit of one instance, with C(weights_gib_per_gpu), C(kv_tokens), C(longest_context), C(fits).
          type: dict
        warnings:
          description: What the operator should know before the plan is carried out.
          type: list
          elements: str
        notes:
          description: Why the plan is as it is.
          type: list
          elements: str
"""
